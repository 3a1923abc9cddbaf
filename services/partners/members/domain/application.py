"""An application for membership: the data that is not part of the organisation's entry."""

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
