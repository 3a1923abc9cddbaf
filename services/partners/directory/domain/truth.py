"""How far one can rely on what a service says of its room: how old the figure is, and whether there
was room when it had said so.

Limit: it knows of those who came through the network. A service that nobody is sent to has only the
age of its figure.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from services.partners.directory.domain.service import Capacity, Intake, stale_time

REMEMBERED = timedelta(days=183)
"""What was longer ago says little of those who work there now."""
YES_HOLDS = timedelta(hours=24)
"""So long an answer to an enquiry stands as if it were a figure."""
# promises that a service nobody knows yet is taken to have kept: one refusal does not put it last
_BENEFIT = 2
_TRUSTED, _DOUBTED = 80, 50  # of 100


@dataclass(frozen=True)
class Truth:
    """What it is made of, and what it comes to: 0 to 100."""

    kept: int
    broken: int
    capacity: Capacity
    need_codes: tuple[str, ...]

    @property
    def reliability(self) -> int:
        """How often of 100 there was room when it had said so."""
        return reliability(self.kept, self.broken)

    def freshness(self, now: datetime) -> int:
        """100 until the figure is stale, falling to 0 at four times that age; 0 for none, and for
        one in doubt.
        """
        said, stale = self.capacity.update_time, stale_time(self.capacity, self.need_codes)
        if said is None or stale is None or self.capacity.declined_time is not None:
            return 0
        fresh = stale - said
        return round(100 * min(1.0, max(0.0, 1 - (now - stale) / (3 * fresh))))

    def score(self, now: datetime) -> int:
        """Reliability; half of it hangs on the figure being fresh."""
        return round(self.reliability * (100 + self.freshness(now)) / 200)


def reliability(kept: int, broken: int) -> int:
    """Kept of all promises, in 100, with the benefit of the doubt."""
    return round(100 * (kept + _BENEFIT) / (kept + broken + _BENEFIT))


def rank(kept: int, broken: int) -> int:
    """Its place among services that say the same: 0 is relied on, 2 comes last."""
    said = reliability(kept, broken)
    return 0 if said >= _TRUSTED else 1 if said >= _DOUBTED else 2


def has_promised(
    capacity: Capacity, need_codes: tuple[str, ...], yes_time: datetime | None, at: datetime
) -> bool:
    """Whether whoever came at this time had been told that there is room."""
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
