"""Erasures of files: one worker proposes, a second worker confirms, and a proof is kept."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from chassis.errors import Conflict
from chassis.second import Second, check_second

PROPOSED_FOR = timedelta(days=7)
"""How long a proposal can be confirmed.

The second person is to judge the present situation, not to confirm an old opinion.
"""


@dataclass(frozen=True)
class DestroyedCounts:
    """The numbers of items that an erasure destroyed or ended."""

    sealed_parts: int = 0
    notes: int = 0
    name_marks: int = 0
    plans: int = 0
    receipts: int = 0
    referrals: int = 0


@dataclass
class Erasure:
    """The erasure of a file; a file has at most one.

    An erasure has only ids, times and counts, since it outlives the file.
    """

    id: str
    person_id: str
    organization_id: str
    proposed_by_worker_id: str
    propose_time: datetime
    version: int = 1
    confirmed_by_worker_id: str = ""
    erase_time: datetime | None = None
    witness_time: datetime | None = None  # when the erasure was read back from the topic
    lapsed: bool = False  # whether a fact reports that nobody confirmed the proposal in time
    destroyed_counts: DestroyedCounts = field(default_factory=DestroyedCounts)
    # whether the first person's account has been suspended since
    proposer_suspended: bool = False

    @property
    def confirm_until(self) -> datetime:
        """Returns the time until which a second person can confirm the erasure."""
        return self.propose_time + PROPOSED_FOR

    def may_be_confirmed(self, now: datetime) -> bool:
        """Returns whether a second person can still confirm the erasure."""
        return self.erase_time is None and now < self.confirm_until and not self.proposer_suspended

    def propose_again(self, worker_id: str, now: datetime) -> None:
        """Replaces this proposal with a newer one. Raises Conflict if the file is erased."""
        if self.erase_time is not None:
            raise Conflict("person_erased")
        self.proposed_by_worker_id = worker_id
        self.propose_time = now
        self.proposer_suspended = self.lapsed = False
        self.version += 1

    def confirm(self, second: Second, now: datetime) -> None:
        """Records the confirmation by a second person; from then on the file counts as erased."""
        if not self.may_be_confirmed(now):
            raise Conflict("nothing_to_confirm")
        check_second(second, self.proposed_by_worker_id, self.propose_time)
        self.confirmed_by_worker_id, self.erase_time = second.id, now
        self.version += 1
