"""Which referrals somebody asks for: the words of a list, a count, the board."""

from dataclasses import dataclass
from datetime import datetime

from services.referrals.domain.deadline import Urgency
from services.referrals.domain.lifecycle import State


@dataclass(frozen=True)
class Filter:
    """Which referrals: `box` is inbox, outbox, mine or network."""

    box: str
    organization_id: str
    now: datetime
    states: tuple[State, ...] = ()
    need_code: str = ""
    urgency: Urgency | None = None
    due_before: datetime | None = None
    due_after: datetime | None = None
    modified_after: datetime | None = None
    live: bool = False
    waiting_for_me: bool = False
    waiting_for_other: bool = False
    person_id: str = ""
    contact_id: str = ""
    late: bool = False
    due_soon: bool = False
    unanswered: bool = False
    pressing: bool = False
    code: str = ""
