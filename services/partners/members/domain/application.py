"""The contact and the reason of an application for membership, which the entry does not contain."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Application:
    """An application. It is stored sealed, and only as long as needed.

    The reference only identifies it, and gives no access.
    """

    reference: str
    contact_name: str
    contact_email: str
    statement: str
    language: str
    time: datetime
