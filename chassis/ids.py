"""Opaque ids: 128 random bits as 32 hexadecimal digits, never sequential, never a hint of time."""

import secrets

from chassis.errors import NotFound


def new_id() -> str:
    """A fresh id."""
    return secrets.token_hex(16)


def is_id(text: str) -> bool:
    """Whether a text has the shape of an id; what has not can't exist, so it need not be looked
    for.
    """
    return len(text) == 32 and all(character in "0123456789abcdef" for character in text)


def object_id(text: str) -> str:
    """The id of what is asked for; refuses with NotFound what has not the shape of one."""
    if not is_id(text):
        raise NotFound
    return text
