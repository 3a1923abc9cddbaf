"""An application for membership: the contact and the reason, which are not part of the entry."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Application:
    """An application. It is stored sealed, and only as long as needed.

    The reference only identifies the application; it gives no access.
    """

    reference: str
    contact_name: str
    contact_email: str
    statement: str
    language: str
    time: datetime
