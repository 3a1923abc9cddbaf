"""How often one caller may ask: a quota that refills steadily (GCRA, the "leaky bucket as a
meter"), counted in this process for each caller.

One number a caller is kept, the time at which its quota is whole again; whoever has not asked for a
while is forgotten. Limit: each process counts alone, so several processes of a service allow
several quotas.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

# seconds' worth of calls that may come at once: a page, or a system that sends what waited, asks in
# bursts
WINDOW = 2
# callers; beyond that those whose quota is whole are forgotten, and then those who asked longest
# ago
_KEPT = 20_000


@dataclass(frozen=True)
class Quota:
    """How a caller stands after asking: `left` of `all` may come at once, in `reset` seconds all of
    them; `wait` is above 0 if this call is one too many.
    """

    all: int
    left: int
    reset: float
    wait: float = 0.0


class Limiter:
    """Counts calls; safe for all threads."""

    def __init__(self, rate: int, now: Callable[[], float] = time.monotonic) -> None:
        """`rate`: calls a second in the long run."""
        self.quota = max(1, rate * WINDOW)
        self._step = 1 / max(1, rate)
        self._now = now
        self._whole_at: dict[str, float] = {}  # in the order in which they asked last
        self._lock = threading.Lock()

    def take(self, who: str) -> Quota:
        """Counts a call, unless it is one too many."""
        with self._lock:
            now = self._now()
            quota, whole_at = self._look(who, now)
            if not quota.wait:
                self._whole_at.pop(who, None)
                self._whole_at[who] = whole_at
                if len(self._whole_at) > _KEPT:
                    self._forget(now)
            return quota

    def look(self, who: str) -> Quota:
        """What `take` would say, without counting."""
        with self._lock:
            return self._look(who, self._now())[0]

    def _look(self, who: str, now: float) -> tuple[Quota, float]:
        before = max(self._whole_at.get(who, now), now)
        after = before + self._step
        late = after - now - self.quota * self._step
        if late > 1e-9:
            return Quota(self.quota, 0, before - now, late), before
        return Quota(self.quota, int((-late + 1e-9) / self._step), after - now), after

    def _forget(self, now: float) -> None:
        self._whole_at = {who: at for who, at in self._whole_at.items() if at > now}
        for who in list(self._whole_at)[: max(0, len(self._whole_at) - _KEPT // 2)]:
            del self._whole_at[who]
