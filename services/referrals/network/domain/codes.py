"""Checks of codes, and the few code lists on which rules depend.

The checks cover the form of a code; the .proto files list the valid words.
"""

import re
import secrets
from datetime import datetime

from chassis.errors import Invalid

# The kinds of member to which data may go on an override. Kinds that may detain, charge or expel a
# person (police, prosecution, migration, consulates) are never in the list, and neither is a kind
# that this version does not know.
REACHED_BY_OVERRIDE = frozenset(
    "NGO HEALTH_SERVICE CENTRAL_GOVERNMENT LOCAL_GOVERNMENT LEGAL_SERVICE CORPORATE_BUSINESS"
    " SCHOOL_OR_COLLEGE RELIGIOUS SHELTER HOTLINE INTERNATIONAL "
    "COMMUNITY_GROUP".split()
)

NEED_GROUPS = frozenset("HOU MED PSS PRO LEG DOC RET FAM MAT EDU LIV LNG INF COM".split())

MAX_FAULTS = 20  # maximum number of faults in a refusal, which travels in a trailer of 8 KiB

# Used with fullmatch only: `$` would accept a final line break.
_NEED = re.compile(r"[A-Z]{3}(\.[A-Z]{3,5})?")


class Check:
    """Collects the faults of a request, so that one refusal reports all of them."""

    def __init__(self) -> None:
        self._faults: list[tuple[str, str]] = []

    def need(self, path: str, value: str, *, required: bool = False) -> None:
        """Checks the form and group of a need code; only the directory knows the sub-codes."""
        self._check_code(
            path,
            value,
            bool(_NEED.fullmatch(value)) and value[:3] in NEED_GROUPS,
            "unknown_code",
            required,
        )

    def require(self, holds: bool, path: str, reason: str) -> None:
        """Adds a fault with this reason unless the condition holds."""
        if not holds:
            self._faults.append((path, reason))

    def done(self) -> None:
        """Raises Invalid if there are faults, with as many of them as a refusal can carry."""
        if self._faults:
            raise Invalid(*self._faults[:MAX_FAULTS])

    def _check_code(self, path: str, value: str, holds: bool, reason: str, required: bool) -> None:
        if not value:
            if required:
                self._faults.append((path, "required"))
        elif not holds:
            self._faults.append((path, reason))


ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford base 32: no I, L, O, U


def normalize_code(text: str) -> str:
    """Returns a code in its normal form.

    Case, spaces and hyphens don't matter; I and L are read as 1, and O is read as 0.
    """
    return text.upper().translate(
        {ord("I"): "1", ord("L"): "1", ord("O"): "0", ord("-"): None, ord(" "): None}
    )


def new_checked_code(length: int) -> str:
    """Returns a code of this length: random characters, then a check character."""
    body = "".join(secrets.choice(ALPHABET) for _ in range(length - 1))
    return body + check_character(body)


def checked_code(text: str, length: int) -> str:
    """Returns a code in its normal form, with its check character; "" if it is not valid.

    Because of the check character, a typing error hardly ever yields a different valid code.
    """
    normalized = normalize_code(text)
    is_valid = (
        len(normalized) == length
        and all(character in ALPHABET for character in normalized)
        and check_character(normalized[:-1]) == normalized[-1]
    )
    return normalized if is_valid else ""


def check_character(body: str) -> str:
    """Returns the check character by Luhn modulo 32.

    The check detects every single wrong character, and nearly every swap of neighbours.
    """
    total = 0
    for position, character in enumerate(reversed(body)):
        value = ALPHABET.index(character) * (2 if position % 2 == 0 else 1)
        total += value // 32 + value % 32
    return ALPHABET[-total % 32]


def beginnings_of(code: str) -> list[str]:
    """Returns the possible first eight characters of an id with this short code (chassis.ids).

    Four beginnings are possible, since the code holds 30 of their 32 bits. The list is empty for an
    invalid code.
    """
    normalized = normalize_code(code)
    if len(normalized) != 6 or any(character not in ALPHABET for character in normalized):
        return []
    number = sum(
        ALPHABET.index(character) << shift
        for character, shift in zip(normalized, range(0, 30, 5), strict=True)
    )
    return [f"{number | high << 30:08x}" for high in range(4)]


def check_between(path: str, earliest: datetime, time: datetime | None, latest: datetime) -> None:
    """Refuses a time that is missing or out of range."""
    if time is None or not earliest <= time <= latest:
        raise Invalid((path, "out_of_range"))
