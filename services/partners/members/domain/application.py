"""The part of an application for membership beside the entry: the contact, and the reason."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Application:
    """An application. It is stored sealed, and only as long as needed.

    The reference opens nothing.
    """

    reference: str
    contact_name: str
    contact_email: str
    statement: str
    language: str
    time: datetime
