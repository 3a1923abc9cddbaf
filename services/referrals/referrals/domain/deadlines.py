"""The deadlines of a referral: how they start, move and stop. `Referral` fires them."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from chassis.errors import Invalid
from services.referrals.network.domain.deadline import (
    BY_URGENCY,
    HEALTH,
    LONGEST,
    LONGEST_IN_DANGER,
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
        """Stops the deadlines of these kinds that are not stopped yet."""
        for deadline in self.unstopped_deadlines(*kinds):
            deadline.stop(now)

    def start_deadline(
        self, kind: DeadlineKind, now: datetime, calendar: Calendar, *, news: bool
    ) -> None:
        """Starts a deadline.

        SILENCE begins at the open appointment, if the appointment is in the future; otherwise it
        begins now, like any other deadline. If no appointment is open and `news` is True (there is
        news about the person), SILENCE lasts for SILENCE_AFTER_NEWS.
        """
        is_silence = kind is DeadlineKind.SILENCE
        start = max(now, self.appointment_time or now) if is_silence else now
        due = (
            start + SILENCE_AFTER_NEWS
            if is_silence and news and self.appointment_time is None
            else self._due(kind, start, calendar)
        )
        self.deadlines.append(Deadline(kind, start, due, policy_version=calendar.policy().version))

    def update_need_deadlines(self, now: datetime) -> None:
        """Stops or continues the replacement and health deadlines, if the referral came back.

        The deadlines stop once the need is no longer open. They run again if the need is open
        again because the following referral was entered in error. A health deadline that was
        stopped before or when the referral came back stays stopped.
        """
        if self.state not in CAME_BACK:
            return
        return_time = self.return_time or now
        for deadline in self.deadlines:
            if deadline.kind in (DeadlineKind.REPLACE, *HEALTH):
                if not self.need_is_open:
                    deadline.stop(now)
                elif deadline.stop_time is not None and (
                    deadline.kind is DeadlineKind.REPLACE or deadline.stop_time > return_time
                ):
                    deadline.undo_stop()

    def postpone_first_contact(self, now: datetime) -> None:
        """Moves the first-contact deadline of a leg that was accepted before the person arrives.

        The deadline then begins at the planned time, so that nobody is late before her arrival, but
        at most LONGEST from now. Otherwise a receiver could put her off for a year, unnoticed.
        """
        start_time = min(self.planned_first_contact_time or now, now + LONGEST)
        for deadline in self.unstopped_deadlines(DeadlineKind.FIRST_CONTACT):
            delay = start_time - deadline.start_time
            if self.planned_first_contact_time is not None and delay > timedelta(0):
                deadline.restart(start_time, deadline.due_time + delay)
                self.update_time = now

    def _restart_health_deadlines(self, now: datetime) -> None:
        # these count from the time of the assault that was stated earlier
        for deadline in self.unstopped_deadlines(*HEALTH):
            deadline.stop(now)
        for kind, span in HEALTH.items():
            if self.assault_time and now < self.assault_time + span:
                self.deadlines.append(Deadline(kind, self.assault_time, self.assault_time + span))

    def _change_urgency(self, urgency: Urgency, now: datetime, calendar: Calendar) -> None:
        self.urgency = urgency
        for deadline in self.deadlines:
            if deadline.stop_time is None and deadline.kind in BY_URGENCY:
                deadline.adapt(now, urgency, calendar)
        for deadline in self.unstopped_deadlines(DeadlineKind.REVIEW):
            if (
                self.review_time
                and (due := self._due(deadline.kind, now, calendar)) < deadline.due_time
            ):
                deadline.restart(now, due)

    def _due(self, kind: DeadlineKind, now: datetime, calendar: Calendar) -> datetime:
        """Returns when a deadline that starts now is due.

        A review is due at the receiver's time, but no later than the longest deadline that a policy
        may set. Otherwise a receiver could put off an emergency for a year, unnoticed.
        """
        if self.urgency is None:
            raise Invalid(("urgency", "required"))
        if kind is DeadlineKind.REVIEW and self.review_time is not None:
            return min(self.review_time, now + LONGEST_IN_DANGER.get(self.urgency, LONGEST))
        return due_time(kind, self.urgency, now, calendar)
