"""Passwords as Argon2id hashes: slow and hungry for memory on purpose, and as slow for an e-mail that nobody has."""

import secrets
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from services.partners.domain.worker import MAX_PASSWORD, same_password

# 32 MiB twice: 30 to 50 ms on a machine of 2024; OWASP's least is 19 MiB twice.
_HASHER = PasswordHasher(time_cost=2, memory_cost=32 * 1024, parallelism=1)


def hashed(password: str) -> str:
    """The hash to be kept."""
    return _HASHER.hash(same_password(password))


def holds(password_hash: str | None, password: str) -> bool:
    """Whether it is the password. Without a hash it does the same work and says no."""
    try:
        right = _HASHER.verify(password_hash or nobodys(), same_password(password[:MAX_PASSWORD]))
    except (VerificationError, InvalidHashError):
        return False
    return right and password_hash is not None and len(password) <= MAX_PASSWORD


@cache
def nobodys() -> str:
    """A hash that belongs to no password anybody knows."""
    return hashed(secrets.token_hex(16))
