"""Erasure of a file: one person proposes it, another confirms it, and what is kept is the proof."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from chassis.errors import Conflict
from chassis.second import Second, check_second

PROPOSED_FOR = timedelta(days=7)
"""So long a proposal can be confirmed: a second person agrees with what is so now, not with what
somebody thought a year ago.
"""


@dataclass(frozen=True)
class Destroyed:
    """How much was destroyed, or ended by it."""

    sealed_parts: int = 0
    notes: int = 0
    name_marks: int = 0
    plans: int = 0
    receipts: int = 0
    referrals: int = 0


@dataclass
class Erasure:
    """One a file, with ids and times only: it outlives what it is about."""

    id: str
    person_id: str
    organization_id: str
    proposed_by_worker_id: str
    propose_time: datetime
    version: int = 1
    confirmed_by_worker_id: str = ""
    erase_time: datetime | None = None
    witness_time: datetime | None = None  # when it was heard back from outside of the database
    destroyed: Destroyed = field(default_factory=Destroyed)

    @property
    def confirm_until(self) -> datetime:
        """Until when a second person can confirm it."""
        return self.propose_time + PROPOSED_FOR

    def waits(self, now: datetime) -> bool:
        """Whether a second person can still confirm it."""
        return self.erase_time is None and now < self.confirm_until

    def propose_again(self, worker_id: str, now: datetime) -> None:
        """A newer proposal takes the place of this one."""
        if self.erase_time is not None:
            raise Conflict("person_erased")
        self.proposed_by_worker_id, self.propose_time = worker_id, now
        self.version += 1

    def confirm(self, second: Second, now: datetime) -> None:
        """A second person agrees: from now on it is done."""
        if not self.waits(now):
            raise Conflict("nothing_to_confirm")
        check_second(second, self.proposed_by_worker_id, self.propose_time)
        self.confirmed_by_worker_id, self.erase_time = second.id, now
        self.version += 1
