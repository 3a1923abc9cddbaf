"""Time-based codes that every app can make (TOTP, RFC 6238): SHA-1, six digits, 30 seconds."""

import base64

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

STEP = 30
"""How many seconds an app shows a code."""


def code(secret: bytes, step: int) -> bytes:
    """Returns the six digits for the time step with this number, counted from 1970."""
    return _codes(secret).generate(step * STEP)


def secret_and_uri(secret: bytes, account: str) -> tuple[str, str]:
    """Returns the secret in base 32, and the URI with the account's name that an app scans."""
    return base64.b32encode(secret).decode(), _codes(secret).get_provisioning_uri(account, "Enlace")


def _codes(secret: bytes) -> TOTP:
    # the algorithm that apps support; SHA-1's collisions don't matter in an HMAC
    return TOTP(secret, 6, SHA1(), STEP)  # noqa: S303
