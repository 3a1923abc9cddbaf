"""Telephone numbers, normalised (E.164) and refused if no such number can exist in their country's plan."""

import phonenumbers

from chassis.errors import Invalid


def phone(path: str, text: str, country: str = "") -> str:
    """The number in E.164, as it is dialled in this country if it does not say its own; empty stays empty."""
    if not text.strip():
        return ""
    try:
        parsed = phonenumbers.parse(text, country or None)
    except phonenumbers.NumberParseException as error:
        raise Invalid((path, "malformed")) from error
    if not phonenumbers.is_possible_number(parsed):
        raise Invalid((path, "malformed"))
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
