"""What somebody who applies for a membership says beside the entry: whom to speak to, and why."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Application:
    """Kept sealed, and only as long as somebody needs it. The reference opens nothing."""

    reference: str
    contact_name: str
    contact_email: str
    statement: str
    language: str
    time: datetime
