"""The filter for referrals: the criteria of a list, of a count or of the board."""

from dataclasses import dataclass
from datetime import datetime

from services.referrals.network.domain.deadline import Urgency
from services.referrals.referrals.domain.lifecycle import LIVE, State


@dataclass(frozen=True)
class Filter:
    """The criteria that referrals must meet; `box` is inbox, outbox, mine or network."""

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

    @property
    def is_open(self) -> bool:
        """Returns whether the filter can match only open referrals.

        Such a filter names only states of open referrals, or a criterion that only an open referral
        can meet: a deadline, or a side that has to act.
        """
        open_only = (
            self.live
            or self.waiting_for_me
            or self.waiting_for_other
            or self.late
            or self.due_soon
            or self.unanswered
            or self.pressing
        )
        return bool(
            open_only
            or self.due_before
            or self.due_after
            or (self.states and set(self.states) <= LIVE | {State.DRAFT})
        )
