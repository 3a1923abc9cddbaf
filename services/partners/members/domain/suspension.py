"""The suspension of a member, which ends the access of its workers and keys.

Two coordinators of different member organisations must agree to a suspension. One coordinator alone
can stop access for a day.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

from chassis.errors import Conflict
from chassis.second import Second
from services.partners.members.domain.network_roles import check_second_coordinator

HOLD = timedelta(hours=24)
"""How long one coordinator alone can stop a member's access.

If a member turns out at midnight to be a front, a second coordinator is awake before the hold ends.
"""
PROPOSAL = timedelta(days=7)
"""The longest time that a proposal waits; later, its reasons may be out of date."""
HOLD_AGAIN = timedelta(days=30)
"""The minimum time between the starts of two holds if no second coordinator agreed to the first.

The wait applies to the same member, and to every coordinator who could not have been the second
coordinator of the first hold. Otherwise one person alone could stop a member's access day after
day.
"""


class SuspensionReason(StrEnum):
    """The reason why a member's access ends."""

    FRONT = "FRONT"
    HARM = "HARM"
    DATA_MISUSED = "DATA_MISUSED"
    ACCOUNTS_TAKEN = "ACCOUNTS_TAKEN"
    AGREEMENT_BROKEN = "AGREEMENT_BROKEN"
    NO_ANSWER = "NO_ANSWER"
    OWN_WISH = "OWN_WISH"


@dataclass(frozen=True)
class Coordinator:
    """A coordinator who takes part in a step that needs two coordinators.

    `has_second`: whether another member has a coordinator who could agree.
    """

    person: Second
    organization_id: str
    has_second: bool


@dataclass(frozen=True)
class FirstCoordinator:
    """The first of the two coordinators of a step, and the time of her request.

    The ids are "" for a hold by a coordinator whose account has been suspended since.
    """

    worker_id: str
    organization_id: str
    time: datetime

    @classmethod
    def of(cls, by: Coordinator, now: datetime) -> Self:
        """Returns the record of the coordinator. Raises Conflict if nobody else could agree."""
        if not by.has_second:
            raise Conflict("no_second_coordinator")
        return cls(by.person.id, by.organization_id, now)

    def is_over(self, now: datetime) -> bool:
        """Returns whether the time for a second coordinator to agree has passed."""
        return now >= self.time + PROPOSAL

    def check(self, second: Coordinator) -> None:
        """Raises Conflict if `second` can't be the second coordinator for this step."""
        check_second_coordinator(
            second.person, second.organization_id, self.worker_id, self.organization_id
        )

    def allows_second(self, second: Coordinator) -> bool:
        """Returns whether `second` can be the second coordinator."""
        try:
            self.check(second)
        except Conflict:
            return False
        return True


@dataclass(frozen=True)
class Suspension:
    """The reason why access ends, and the coordinator who first requested that it end.

    `expire_time`: until when a second coordinator may agree; None if one has agreed.
    """

    reason: SuspensionReason
    first: FirstCoordinator
    expire_time: datetime | None
    second_worker_id: str = ""

    def is_over(self, now: datetime) -> bool:
        """Returns whether the time for a second coordinator to agree has passed."""
        return self.expire_time is not None and now >= self.expire_time
