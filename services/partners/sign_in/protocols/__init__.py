"""Ways to prove who one is, beside a password: another provider (OpenID Connect), passkeys
(WebAuthn), codes by the clock (TOTP).

Each module knows its protocol and its library. Limit: none of them knows accounts or keeps
anything; the use cases do.
"""
