"""Codes by time, as every app makes them (TOTP, RFC 6238): SHA-1, six digits, 30 seconds."""

import base64

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

STEP = 30
"""Seconds that a code is shown."""


def code(secret: bytes, step: int) -> bytes:
    """The six digits of a step since 1970."""
    return _codes(secret).generate(step * STEP)


def words(secret: bytes, account: str) -> tuple[str, str]:
    """The secret in base 32, and with the account as an app reads it from a QR symbol."""
    return base64.b32encode(secret).decode(), _codes(secret).get_provisioning_uri(account, "Enlace")


def _codes(secret: bytes) -> TOTP:
    # what apps know; nothing of its collisions matters in an HMAC
    return TOTP(secret, 6, SHA1(), STEP)  # noqa: S303
