"""The deadlines of a referral: how they start, move and stop. `Referral` fires them."""

from dataclasses import dataclass
from datetime import datetime

from chassis.errors import Invalid
from services.referrals.network.domain.deadline import (
    BY_URGENCY,
    HEALTH,
    SILENCE_AFTER_NEWS,
    Calendar,
    Deadline,
    DeadlineKind,
    Urgency,
    due_time,
)
from services.referrals.referrals.domain.lifecycle import CAME_BACK
from services.referrals.referrals.domain.record import ReferralRecord


@dataclass
class ReferralWithDeadlines(ReferralRecord):
    """A referral that keeps its deadlines in step with what happens to it."""

    def stop_deadlines(self, now: datetime, *kinds: DeadlineKind) -> None:
        """Stops the running deadlines of these kinds."""
        for deadline in self.running(*kinds):
            deadline.stop(now)

    def start_deadline(
        self, kind: DeadlineKind, now: datetime, calendar: Calendar, *, news: bool
    ) -> None:
        """Starts a deadline.

        SILENCE begins at the open appointment, if the appointment is in the future; otherwise it
        begins now, like any other deadline. If no appointment is open and `news` is True (there is
        news about the person), SILENCE lasts for SILENCE_AFTER_NEWS.
        """
        silence = kind is DeadlineKind.SILENCE
        start = max(now, self.appointment_time or now) if silence else now
        due = (
            start + SILENCE_AFTER_NEWS
            if silence and news and self.appointment_time is None
            else self._due(kind, start, calendar)
        )
        self.deadlines.append(Deadline(kind, start, due, policy_version=calendar.policy().version))

    def watch_need(self, now: datetime) -> None:
        """Stops or continues the replacement and health deadlines, if the referral came back.

        The deadlines stop once the need is no longer open. They run again if the need is open
        again, since the following referral was entered in error; a health deadline that was stopped
        before or when the referral came back stays stopped.
        """
        if self.state not in CAME_BACK:
            return
        replacing = [other for other in self.deadlines if other.kind is DeadlineKind.REPLACE]
        returned_at = replacing[-1].start_time if replacing else now  # starts with the return
        for deadline in self.deadlines:
            if deadline.kind in (DeadlineKind.REPLACE, *HEALTH):
                if not self.need_is_open:
                    deadline.stop(now)
                elif deadline.stop_time is not None and (
                    deadline.kind is DeadlineKind.REPLACE or deadline.stop_time > returned_at
                ):
                    deadline.undo_stop()

    def wait_for_her(self) -> None:
        """Moves the first-contact deadline of a leg that was accepted in advance.

        The deadline begins when the person is expected, so that nobody is late before her arrival.
        """
        planned = self.planned_first_contact_time
        for deadline in self.running(DeadlineKind.FIRST_CONTACT):
            if planned is not None and planned > deadline.start_time:
                deadline.restart(planned, deadline.due_time + (planned - deadline.start_time))

    def _watch_health(self, now: datetime) -> None:
        for deadline in self.running(*HEALTH):  # they count from the time that was stated before
            deadline.stop(now)
        for kind, span in HEALTH.items():
            if self.assault_time and now < self.assault_time + span:
                self.deadlines.append(Deadline(kind, self.assault_time, self.assault_time + span))

    def _change_urgency(self, urgency: Urgency, now: datetime, calendar: Calendar) -> None:
        self.urgency = urgency
        for deadline in self.deadlines:
            if deadline.stop_time is None and deadline.kind in BY_URGENCY:
                deadline.recount(now, urgency, calendar)

    def _due(self, kind: DeadlineKind, now: datetime, calendar: Calendar) -> datetime:
        if kind is DeadlineKind.REVIEW and self.review_time is not None:
            return self.review_time
        if self.urgency is None:
            raise Invalid(("urgency", "required"))
        return due_time(kind, self.urgency, now, calendar)
