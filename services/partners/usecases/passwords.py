"""Passwords as Argon2id hashes: slow and hungry for memory on purpose, and as slow for an e-mail that nobody has."""

import re
import secrets
from collections.abc import Iterable
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from chassis.errors import Invalid
from services.partners.domain.worker import MAX_PASSWORD, check_password, same_password

# 32 MiB twice: 30 to 50 ms on a machine of 2024; OWASP's least is 19 MiB twice.
_HASHER = PasswordHasher(time_cost=2, memory_cost=32 * 1024, parallelism=1)


_LONGEST = 72  # characters that are looked at: more take long, and make none easier to guess
_EASY = 2  # zxcvbn's scale of 0 to 4: below it lie those that a million guesses find, of which lists of stolen ones are made
# What it does not know: its lists of common words are of English.
_OURS = ("enlace", "contraseña", "clave", "llamayvive", "nicaragua")


def check_new(password: str, about: Iterable[str], path: str = "password") -> None:
    """Refuses one that is too short, or is found soon by who tries what people choose: known passwords, words, names, rows of keys (NIST SP 800-63B,
    5.1.1.2). `about`: words that belong to her; `path` is how a refusal names it."""
    check_password(password, path)
    from zxcvbn import zxcvbn  # 14 MB that only this needs

    words = [*_OURS, *(part for said in about for part in re.split(r"\W+", said.casefold()) if len(part) > 2)]
    if zxcvbn(same_password(password)[:_LONGEST], user_inputs=words)["score"] < _EASY:
        raise Invalid((path, "too_easy"))


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
