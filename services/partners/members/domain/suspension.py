"""How a member's access ends: two coordinators of different member organisations agree, and one
alone stops it for a day.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

from chassis.errors import Conflict
from chassis.second import Second
from services.partners.members.domain.network_roles import check_second_coordinator

HOLD = timedelta(hours=24)
"""How long one coordinator alone stops a member: a front organisation at midnight, until a second
one is awake.
"""
PROPOSAL = timedelta(days=7)
"""How long a proposal waits for a second coordinator."""
HOLD_AGAIN = timedelta(days=30)
"""After a hold to which nobody agreed, nobody kin of its maker holds the member again for so long:
one person alone would suspend it day by day.
"""


class SuspensionReason(StrEnum):
    """Why a member's access ends."""

    FRONT = "FRONT"
    HARM = "HARM"
    DATA_MISUSED = "DATA_MISUSED"
    ACCOUNTS_TAKEN = "ACCOUNTS_TAKEN"
    AGREEMENT_BROKEN = "AGREEMENT_BROKEN"
    NO_ANSWER = "NO_ANSWER"
    OWN_WISH = "OWN_WISH"


@dataclass(frozen=True)
class Coordinator:
    """A coordinator who asks for a step that takes two, and whether there is one of another member
    who could agree.
    """

    person: Second
    organization_id: str
    has_second: bool


@dataclass(frozen=True)
class First:
    """The coordinator who asked first."""

    worker_id: str
    organization_id: str
    time: datetime

    @classmethod
    def of(cls, by: Coordinator, now: datetime) -> Self:
        """Notes who asks. Raises Conflict no_second_coordinator where nobody could agree."""
        if not by.has_second:
            raise Conflict("no_second_coordinator")
        return cls(by.person.id, by.organization_id, now)

    def check(self, second: Coordinator) -> None:
        """Refuses whoever is no second coordinator beside this one."""
        check_second_coordinator(
            second.person, second.organization_id, self.worker_id, self.organization_id
        )

    def is_agreed_by(self, second: Coordinator) -> bool:
        """Whether she may be the second one."""
        try:
            self.check(second)
        except Conflict:
            return False
        return True


@dataclass(frozen=True)
class Suspension:
    """Why access ends, and who asked for it.

    `expire_time` is until when a second coordinator may agree; None: one has.
    """

    reason: SuspensionReason
    first: First
    expire_time: datetime | None
    second_worker_id: str = ""

    def is_over(self, now: datetime) -> bool:
        """Whether nobody agreed in time."""
        return self.expire_time is not None and now >= self.expire_time
