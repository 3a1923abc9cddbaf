"""How an organisation's desk is told: in which language, and at which e-mail address beside the
inbox.
"""

import re
from dataclasses import dataclass

from chassis.errors import Invalid
from services.notifications.domain.texts import LANGUAGES

# One address as a mail server takes it, and nothing that could start a second header or recipient.
_EMAIL = re.compile(
    r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)+$"
)


@dataclass(frozen=True)
class Desk:
    """An empty e-mail: the inbox only."""

    organization_id: str
    language: str
    email: str
    version: int = 0  # its etag; 0: nobody has set it


def is_address(text: str) -> bool:
    """Whether this is one e-mail address."""
    return bool(_EMAIL.fullmatch(text))


def check(desk: Desk) -> None:
    """Refuses an unknown language and what is no e-mail address."""
    wrong = []
    if desk.language not in LANGUAGES:
        wrong.append(("desk.language", "unknown_code"))
    if desk.email and not is_address(desk.email):
        wrong.append(("desk.email", "malformed"))
    if wrong:
        raise Invalid(*wrong)
