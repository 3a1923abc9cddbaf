"""Results that outlast the session in which they were made, such as a key or an invitation."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class MadeKind(StrEnum):
    """The kind of a result."""

    API_KEY = "API_KEY"
    INVITATION = "INVITATION"
    ACCOUNT = "ACCOUNT"
    SIGN_IN_PROVIDER = "SIGN_IN_PROVIDER"
    SECOND_FACTOR = "SECOND_FACTOR"
    PASSKEY = "PASSKEY"


@dataclass(frozen=True)
class LastingResult:
    """A result that outlasts the session. `can_end`: the worker who made it can end it herself."""

    id: str
    kind: MadeKind
    create_time: datetime
    label: str = ""
    can_end: bool = True
