"""Telephone numbers, normalised to E.164.

A number is refused if its length is impossible in its country's numbering plan.
"""

from functools import lru_cache

import phonenumbers

from chassis.errors import Invalid


def phone(path: str, text: str, country: str = "") -> str:
    """Returns the number in E.164; "" if the text is empty or blank.

    A number without a country code is read as dialled in `country`. Raises Invalid if the number is
    impossible, or has no country code and `country` is empty.
    """
    number = _e164(text, "" if text.startswith("+") else country) if text.strip() else ""
    if number is None:
        raise Invalid((path, "malformed"))
    return number


@lru_cache(maxsize=1024)
def _e164(text: str, country: str) -> str | None:
    """Returns the number in E.164; None if it is impossible.

    Cached, because many rows of an imported file may have the same number.
    """
    try:
        parsed = phonenumbers.parse(text, country or None)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(parsed):
        return None
    return str(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164))
