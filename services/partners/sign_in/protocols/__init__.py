"""Proofs of identity other than a password.

They are sign-in providers (OpenID Connect), passkeys (WebAuthn) and time-based codes (TOTP). Each
module contains one protocol, with the library for it. The modules know no accounts and store
nothing; the use cases do that.
"""
