"""Pages for anybody, and for a person who looks up her own referral."""
