"""Callbacks: calls that a line owes within agreed hours; a deadline watches each call."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo

from chassis.errors import Conflict, Invalid
from services.referrals.line.domain.contact import ESCALATED, WAITING
from services.referrals.network.domain.deadline import Deadline, DeadlineKind

DAYS = {"today": 0, "tomorrow": 1, "in_two_days": 2, "in_three_days": 3}
HOURS = {"morning": (8, 12), "afternoon": (12, 17), "evening": (17, 20), "night": (20, 23)}
MIN_REMAINDER = timedelta(minutes=30)
"""The minimum remainder of the requested hours, so that a call is still possible."""
REACHED, AGAIN = "reached", "again"
GIVEN_UP, NOT_SAFE = "given_up", "not_safe"


@dataclass(frozen=True)
class RequestedHours:
    """The day and the hours that a caller asked for.

    `path` is the prefix of the paths of these two fields in the request. `counted_from` is the date
    when the caller chose the day; None means today. She may have chosen it before midnight.
    """

    day_code: str
    hour_code: str
    path: str = ""
    counted_from: date | None = None

    def hours(self, now: datetime, zone: tzinfo) -> tuple[datetime, datetime]:
        """Returns the start and end of the hours, which are local hours in the time zone `zone`.

        The start is now if the hours have begun. Refuses missing codes, a day counted from neither
        today nor yesterday, and hours with less than MIN_REMAINDER left.
        """
        missing = [name for name in ("day_code", "hour_code") if not getattr(self, name)]
        if missing:
            raise Invalid(*((self.path + name, "required") for name in missing))
        today = now.astimezone(zone).date()
        counted_from = self.counted_from or today
        if not timedelta(0) <= today - counted_from <= timedelta(days=1):
            raise Invalid((f"{self.path}day_code", "out_of_range"))
        day = counted_from + timedelta(days=DAYS[self.day_code])
        start, end = (datetime.combine(day, time(hour), zone) for hour in HOURS[self.hour_code])
        if end - max(start, now) < MIN_REMAINDER:
            raise Invalid((f"{self.path}hour_code", "out_of_range"))
        return max(start, now), end


def past_hours(now: datetime, zone: tzinfo) -> list[str]:
    """Returns the hours of today, local in `zone`, that leave no time for a call any more."""
    today = now.astimezone(zone).date()
    return [
        hour_code
        for hour_code, (_start, end) in HOURS.items()
        if datetime.combine(today, time(end), zone) - now < MIN_REMAINDER
    ]


@dataclass
class Callback:
    """A call that a line owes; a contact can have only one at a time."""

    id: str
    contact_id: str
    organization_id: str
    create_time: datetime
    update_time: datetime
    clock: Deadline
    version: int = 1
    step_version: int = 1  # version of the last change other than a fired deadline
    asked_by_herself: bool = False
    tries: int = 0
    outcome_code: str = ""  # empty while the call is owed
    worker_id: str = ""  # the worker who settled the callback

    @classmethod
    def create(
        cls,
        identifier: str,
        contact_id: str,
        organization_id: str,
        now: datetime,
        hours: tuple[datetime, datetime],
        *,
        by_herself: bool,
    ) -> "Callback":
        """Returns a new callback for these hours."""
        clock = Deadline(DeadlineKind.CALLBACK, *hours)
        return cls(
            identifier, contact_id, organization_id, now, now, clock, asked_by_herself=by_herself
        )

    def move(self, now: datetime, hours: tuple[datetime, datetime], *, by_herself: bool) -> None:
        """Moves the callback to other hours."""
        self.check_owed()
        self.asked_by_herself = by_herself
        self.clock.restart(*hours)
        self._change(now)

    def try_again(self, now: datetime, hours: tuple[datetime, datetime]) -> None:
        """Moves the callback to other hours after the caller was not reached."""
        self.check_owed()
        self.tries += 1
        self.clock.restart(*hours)
        self._change(now)

    def settle(self, now: datetime, outcome_code: str, worker_id: str) -> None:
        """Settles the callback, so that no call is owed any more."""
        self.check_owed()
        self.outcome_code, self.worker_id = outcome_code, worker_id
        self.tries += outcome_code == GIVEN_UP
        self.clock.stop(now)
        self._change(now)

    def fire_deadline(self, now: datetime) -> str:
        """Records a level that the deadline has reached; returns the verb of the fact.

        Returns "" if no new level has been reached.
        """
        percent = self.clock.fire(now)
        if percent is None:
            return ""
        self.version, self.update_time = self.version + 1, now
        return ESCALATED if percent >= 150 else WAITING

    def check_owed(self) -> None:
        """Refuses a change of a callback that was settled already."""
        if self.outcome_code:
            raise Conflict("callback_settled")

    def _change(self, now: datetime) -> None:
        self.version, self.update_time = self.version + 1, now
        self.step_version = self.version
