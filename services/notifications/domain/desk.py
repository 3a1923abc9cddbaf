"""An organisation's desk: its language, and its e-mail address, if it has one."""

import re
from dataclasses import dataclass

from chassis.errors import Invalid
from chassis.languages import LANGUAGES

# One address as a mail server accepts it, without a character that could start a second header or
# recipient.
_EMAIL = re.compile(
    r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)+$"
)


@dataclass(frozen=True)
class Desk:
    """A desk. `email` is empty if the desk gets no e-mails."""

    organization_id: str
    language: str
    email: str
    version: int = 0  # the desk's etag; 0: the desk has never been set


def is_address(text: str) -> bool:
    """Returns whether the text is one e-mail address."""
    return bool(_EMAIL.fullmatch(text))


def check_desk(desk: Desk) -> None:
    """Raises Invalid for an unknown language, and for an invalid address that is not empty."""
    violations = []
    if desk.language not in LANGUAGES:
        violations.append(("desk.language", "unknown_code"))
    if desk.email and not is_address(desk.email):
        violations.append(("desk.email", "malformed"))
    if violations:
        raise Invalid(*violations)
