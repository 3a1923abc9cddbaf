"""Proofs of identity beside a password.

They are another provider (OpenID Connect), passkeys (WebAuthn) and codes by the clock (TOTP). Each
module knows its protocol and its library. Limit: none of them knows accounts or stores anything;
the use cases do.
"""
