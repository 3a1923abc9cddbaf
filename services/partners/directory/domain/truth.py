"""How far a service's statement about its room can be relied on.

It depends on the age of the figure, and on whether there was room when the service had stated so.
Limit: only people who came through the network count. A service to which nobody is referred has
only the age of its figure.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from services.partners.directory.domain.service import Capacity, Intake, stale_time

REMEMBERED = timedelta(days=183)
"""The time for which results count: older ones say little of those who work there now."""
YES_HOLDS = timedelta(hours=24)
"""The time for which a positive answer to an enquiry counts like a figure."""
# promises that a new service is taken to have kept, so that one refusal does not put it last
_BENEFIT = 2
_TRUSTED, _DOUBTED = 80, 50  # of 100


@dataclass(frozen=True)
class Truth:
    """The data on which a score is based, and the score: 0 to 100."""

    kept: int
    broken: int
    capacity: Capacity
    need_codes: tuple[str, ...]

    @property
    def reliability(self) -> int:
        """Returns how often of 100 times there was room when the service had stated so."""
        return reliability(self.kept, self.broken)

    def freshness(self, now: datetime) -> int:
        """Returns the freshness of the figure, 0 to 100.

        It is 100 until the figure is stale and falls to 0 at four times that age; 0 for no figure,
        and for one in doubt.
        """
        stated, stale = self.capacity.update_time, stale_time(self.capacity, self.need_codes)
        if stated is None or stale is None or self.capacity.declined_time is not None:
            return 0
        fresh = stale - stated
        return round(100 * min(1.0, max(0.0, 1 - (now - stale) / (3 * fresh))))

    def score(self, now: datetime) -> int:
        """Returns the reliability, half of which depends on the freshness of the figure."""
        return round(self.reliability * (100 + self.freshness(now)) / 200)


def reliability(kept: int, broken: int) -> int:
    """Returns the kept promises in 100, with the benefit of the doubt."""
    return round(100 * (kept + _BENEFIT) / (kept + broken + _BENEFIT))


def rank(kept: int, broken: int) -> int:
    """Returns its rank among services with the same statement: 0 is trusted, 2 comes last."""
    percentage = reliability(kept, broken)
    return 0 if percentage >= _TRUSTED else 1 if percentage >= _DOUBTED else 2


def has_promised(
    capacity: Capacity, need_codes: tuple[str, ...], yes_time: datetime | None, at: datetime
) -> bool:
    """Tells whether a person who came at this time had been promised room."""
    if yes_time is not None and yes_time <= at < yes_time + YES_HOLDS:
        return True
    stale = stale_time(capacity, need_codes)
    return (
        capacity.intake is Intake.OPEN
        and capacity.available != 0
        and capacity.declined_time is None
        and capacity.update_time is not None
        and stale is not None
        and capacity.update_time <= at < stale
    )
