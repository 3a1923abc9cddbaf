"""Telephone numbers, normalised to E.164.

A number is refused if it can't exist in its country's plan.
"""

from functools import lru_cache

import phonenumbers

from chassis.errors import Invalid


def phone(path: str, text: str, country: str = "") -> str:
    """Returns the number in E.164; empty stays empty. Raises Invalid.

    A number without a country code is read as dialled in `country`.
    """
    number = _e164(text, "" if text.startswith("+") else country) if text.strip() else ""
    if number is None:
        raise Invalid((path, "malformed"))
    return number


@lru_cache(maxsize=1024)
def _e164(text: str, country: str) -> str | None:
    """Parses a number, with a cache.

    The numbers of a file are read once from its cells and once more with the rest of the entry.
    """
    try:
        parsed = phonenumbers.parse(text, country or None)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(parsed):
        return None
    return str(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164))
