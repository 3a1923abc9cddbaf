"""Telephone numbers, normalised (E.164) and refused if no such number can exist in their country's
plan.
"""

from functools import lru_cache

import phonenumbers

from chassis.errors import Invalid


def phone(path: str, text: str, country: str = "") -> str:
    """The number in E.164, as it is dialled in this country if it does not say its own; empty stays
    empty.
    """
    number = _e164(text, "" if text.startswith("+") else country) if text.strip() else ""
    if number is None:
        raise Invalid((path, "malformed"))
    return number


@lru_cache(maxsize=1024)
def _e164(text: str, country: str) -> str | None:
    """Remembered: a file's are read once from its cells and once more with the rest of the
    entry.
    """
    try:
        parsed = phonenumbers.parse(text, country or None)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(parsed):
        return None
    return str(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164))
