"""Codes by time, as every app makes them (TOTP, RFC 6238): SHA-1, six digits, 30 seconds."""

import base64

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

STEP = 30
"""The seconds for which a code is shown."""


def code(secret: bytes, step: int) -> bytes:
    """Returns the six digits of a step since 1970."""
    return _codes(secret).generate(step * STEP)


def words(secret: bytes, account: str) -> tuple[str, str]:
    """Returns the secret in base 32, and the address with the account that an app scans."""
    return base64.b32encode(secret).decode(), _codes(secret).get_provisioning_uri(account, "Enlace")


def _codes(secret: bytes) -> TOTP:
    # the algorithm that apps know; its collisions don't matter in an HMAC
    return TOTP(secret, 6, SHA1(), STEP)  # noqa: S303
