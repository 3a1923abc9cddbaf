"""Where referrals, people, consents and contacts are kept, together with the facts still to be
told; the only SQL of the service.
"""
