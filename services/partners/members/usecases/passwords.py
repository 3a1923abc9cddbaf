"""Hashes of secrets.

Passwords are hashed with Argon2id, which is slow and needs much memory on purpose. A check takes
just as long if the e-mail address has no account. Random secrets are hashed with SHA-256, because
nobody can guess them.
"""

import hashlib
import re
import secrets
from collections.abc import Iterable
from datetime import datetime
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from chassis.db import Transaction
from chassis.errors import Invalid, Unauthenticated
from chassis.guesses import Guesses, Origin
from chassis.tokens import Caller
from services.partners.members.domain.worker import (
    MAX_PASSWORD,
    Worker,
    check_password,
    normalized_email,
    normalized_password,
)
from services.partners.members.store import workers

# Two passes over 32 MiB take 30 to 50 ms on a machine from 2024; OWASP's minimum is two passes over
# 19 MiB.
_HASHER = PasswordHasher(time_cost=2, memory_cost=32 * 1024, parallelism=1)


# maximum number of characters that are checked: a check of more characters would take long, and
# further characters would not make a password easier to guess
_MAX_CHECKED = 72
# The lowest accepted score on zxcvbn's scale of 0 to 4. A million guesses find passwords with a
# lower score, such as those in lists of stolen passwords.
_MIN_SCORE = 2
# Words that zxcvbn does not know: its lists of common words are English.
_OWN_WORDS = ("enlace", "contraseña", "clave", "llamayvive", "nicaragua")


def check_new_password(
    password: str, personal_words: Iterable[str], path: str = "password"
) -> None:
    """Raises Invalid if a password is too short, too long or easy to guess.

    Known passwords, words, names and adjacent keys are easy to guess (NIST SP 800-63B, 5.1.1.2).
    `personal_words`: words about the worker; `path`: the field that a refusal names.
    """
    check_password(password, path)
    from zxcvbn import zxcvbn  # loads 14 MB that only this function needs

    words = [
        *_OWN_WORDS,
        *(
            part
            for text in personal_words
            for part in re.split(r"\W+", text.casefold())
            if len(part) > 2
        ),
    ]
    if (
        zxcvbn(normalized_password(password)[:_MAX_CHECKED], user_inputs=words)["score"]
        < _MIN_SCORE
    ):
        raise Invalid((path, "too_easy"))


def own_account(tx: Transaction, caller: Caller) -> tuple[Worker, str]:
    """Returns the caller's account, locked, and the hash of its password."""
    account = workers.with_hash(tx, caller.id)
    if account is None:
        raise Unauthenticated("token_invalid")
    return account


def check_own_password(
    guesses: Guesses,
    worker: Worker,
    password_hash: str,
    password: str,
    now: datetime,
    origin: Origin,
) -> None:
    """Checks a password and counts the guess.

    Raises Invalid for a wrong password, and Exhausted after too many guesses.

    A session alone proves little: anybody may use an unattended screen.
    """
    guess = guesses.begin(normalized_email(worker.entry.email), origin, now)
    matches = matches_hash(password_hash, password)
    guesses.settle(guess, matches, now)
    if not matches:
        raise Invalid(("password", "wrong"))


def mark_of(secret: str) -> bytes:
    """Returns the hash under which a random secret is stored."""
    return hashlib.sha256(secret.encode()).digest()


def hash_of(password: str) -> str:
    """Returns the hash of a password, to be stored."""
    return _HASHER.hash(normalized_password(password))


def matches_hash(password_hash: str | None, password: str) -> bool:
    """Returns whether the password matches this hash.

    Without a hash, the function takes just as long and returns False.
    """
    try:
        matches = _HASHER.verify(
            password_hash or unknown_hash(), normalized_password(password[:MAX_PASSWORD])
        )
    except (VerificationError, InvalidHashError):
        return False
    return matches and password_hash is not None and len(password) <= MAX_PASSWORD


@cache
def unknown_hash() -> str:
    """Returns a hash of a password that nobody knows."""
    return hash_of(secrets.token_hex(16))
