"""Pages for anybody, and for somebody who asks for her own referral."""
