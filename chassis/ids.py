"""Opaque ids: 128 random bits as 32 hexadecimal digits, which reveal no order and no time."""

import secrets

from chassis.errors import NotFound

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # base 32: no I, L, O, U


def new_id() -> str:
    """Returns a fresh id."""
    return secrets.token_hex(16)


def is_id(text: str) -> bool:
    """Returns True if a text has the format of an id. Any other text names no object, so no query
    is needed.
    """
    return len(text) == 32 and all(character in "0123456789abcdef" for character in text)


def short_code(identifier: str) -> str:
    """Returns six characters for an id, to be read out on the phone.

    The characters are enough to tell the rows of a page apart, but two ids can have the same code.
    """
    number = int(identifier[:8], 16)
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(0, 30, 5))


def object_id(text: str) -> str:
    """Returns the id of a requested object. Raises NotFound if the text does not have the format of
    an id.
    """
    if not is_id(text):
        raise NotFound
    return text
