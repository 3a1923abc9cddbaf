"""Something that outlasts a session, and that an account made: a key, an invitation, another
account.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class MadeKind(StrEnum):
    """What it is."""

    API_KEY = "API_KEY"
    INVITATION = "INVITATION"
    ACCOUNT = "ACCOUNT"
    SIGN_IN_PROVIDER = "SIGN_IN_PROVIDER"
    SECOND_FACTOR = "SECOND_FACTOR"
    PASSKEY = "PASSKEY"


@dataclass(frozen=True)
class Made:
    """One thing that was made. `can_end`: whether its maker ends it by herself."""

    id: str
    kind: MadeKind
    create_time: datetime
    label: str = ""
    can_end: bool = True
