"""The reliability of room figures, the figures that services state about their free room.

The score depends on how old the figure is, and on how often the service had the room that it had
promised. Limitation: only people who came through the network are counted. So the score of a
service to which nobody is referred depends only on the age of its figure.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from services.partners.directory.domain.service import Capacity, Intake, stale_time

RESULT_LIFE = timedelta(days=183)
"""How long the result of a promise counts.

Older results say little about the people who now work at the service.
"""
YES_VALIDITY = timedelta(hours=24)
"""How long a positive answer to an enquiry counts as a promise of room."""
# number of kept promises that is added for each service, so that a new service is not ranked last
# because of one refusal
_HEAD_START = 2
_TRUSTED, _DOUBTED = 80, 50  # minimum reliability for rank 0, and for rank 1


@dataclass(frozen=True)
class ReliabilityScore:
    """A service's score, 0 to 100, and the data on which it is based."""

    kept: int
    broken: int
    capacity: Capacity
    need_codes: tuple[str, ...]

    @property
    def reliability(self) -> int:
        """Returns the percentage of kept promises of room; see the function `reliability`."""
        return reliability(self.kept, self.broken)

    def freshness(self, now: datetime) -> int:
        """Returns the freshness of the figure, 0 to 100.

        It is 100 until the figure becomes stale, and then falls evenly until the figure is four
        times that old. From then on it is 0. It is also 0 if there is no figure, or if the figure
        is in doubt.
        """
        stated_time, end = self.capacity.update_time, stale_time(self.capacity, self.need_codes)
        if stated_time is None or end is None or self.capacity.declined_time is not None:
            return 0
        validity = end - stated_time
        return round(100 * min(1.0, max(0.0, 1 - (now - end) / (3 * validity))))

    def score(self, now: datetime) -> int:
        """Returns the score: the reliability, reduced by up to half if the figure is not fresh."""
        return round(self.reliability * (100 + self.freshness(now)) / 200)


def reliability(kept: int, broken: int) -> int:
    """Returns the percentage of kept promises, after adding _HEAD_START to the kept promises."""
    return round(100 * (kept + _HEAD_START) / (kept + broken + _HEAD_START))


def rank(kept: int, broken: int) -> int:
    """Returns the rank on the criterion "truth": 0 (trusted), 1, or 2 (last)."""
    percentage = reliability(kept, broken)
    return 0 if percentage >= _TRUSTED else 1 if percentage >= _DOUBTED else 2


def has_promised(
    capacity: Capacity, need_codes: tuple[str, ...], yes_time: datetime | None, at: datetime
) -> bool:
    """Returns whether a person who came at the time `at` had been promised room.

    `yes_time`: when the service last answered an enquiry with yes; None if it never did.
    """
    if yes_time is not None and yes_time <= at < yes_time + YES_VALIDITY:
        return True
    end = stale_time(capacity, need_codes)
    return (
        capacity.intake is Intake.OPEN
        and capacity.available != 0
        and capacity.declined_time is None
        and capacity.update_time is not None
        and end is not None
        and capacity.update_time <= at < end
    )
