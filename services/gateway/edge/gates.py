"""Who may ask a service just now: one gate per service, a bulkhead and a circuit breaker in one.

Bulkhead: so many calls at once and as many waiting, so that a service that is away or slow holds
its own share of the threads and no more; one caller is inside with a few calls at most and its
others wait, so that another waits behind few of them and there is always room for it. Circuit
breaker: when a call failed as calls to the absent do, the service's health is asked in the
background, and newcomers wait a moment for what it says. While it says no, calls are refused at
once; when it says yes, or after failures in a row that health knows nothing of, one call goes
alone, and all follow when it is answered.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import Gauge

from chassis import log
from chassis.errors import Refusal, Unavailable

# Calls at once. A call takes 5 to 20 ms, so this is several hundred a second, more than one process
# can make pages of.
ROOMS = {"partners": 8, "referrals": 8, "notifications": 4}
SPARE = 4  # threads that no gate can take
THREADS = sum(2 * room for room in ROOMS.values()) + SPARE  # those inside and those waiting
PATIENCE = 0.5  # seconds that a call waits to be let in
# seconds for which a call that failed by the service's fault is remembered, unless the same one
# succeeds
LATELY = 300.0
FAILURES = 3  # in a row, after which one goes alone
# seconds between two questions after health: back within two seconds, asked after by nobody's call
PAUSE = 0.5
AWAY_REASONS = frozenset({"service_unreachable", "store_unavailable", "deadline_exceeded"})
BACKEND_AWAY = Gauge(
    "enlace_backend_away",
    "1 while a service is known to be away and calls to it are refused at once.",
    ["backend"],
)


class Gate:
    """The gate before one service; safe for all threads."""

    def __init__(
        self,
        name: str,
        healthy: Callable[[], bool],
        room: int,
        patience: float = PATIENCE,
        pause: float = PAUSE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`healthy` asks the service whether it is ready; it is called from a thread of its own and
        comes back within a second.
        """
        self._clock = clock
        self._failed_at = dict[str, float]()  # by what was asked
        self._name = name
        self._healthy = healthy
        self._room = room
        self._patience = patience
        self._pause = pause
        self._turn = threading.Condition()
        self._inside = self._waiting = self._failures = 0
        # several: a page is read in two tabs, and a ministry's system asks for more than one at a
        # time
        self._share = max(2, room // 4)
        self._inside_by, self._waiting_by = Counter[str](), Counter[str]()
        self._away = self._watched = False
        self._closed = threading.Event()
        BACKEND_AWAY.labels(name).set(0)

    @contextmanager
    def passage(self, who: str = "", what: str = "") -> Iterator[None]:
        """Around a call of a caller.

        Raises Unavailable service_away | service_busy instead of letting it in; then nothing was
        sent.
        """
        self._enter(who)
        failed = broken = False
        try:
            yield
        except Refusal as refusal:
            failed = isinstance(refusal, Unavailable) and refusal.reason in AWAY_REASONS
            broken = isinstance(refusal, Unavailable)
            raise
        except Exception:
            broken = True
            raise
        finally:
            self._leave(who, failed)
            self._remember(what, broken)

    def fails(self) -> bool:
        """Whether something that was asked lately failed, by no fault of who asked, and has not
        succeeded since: health knows nothing of that.
        """
        with self._turn:
            return any(self._clock() - at < LATELY for at in self._failed_at.values())

    def _remember(self, what: str, broken: bool) -> None:
        with self._turn:
            if broken:
                self._failed_at[what] = self._clock()
            else:
                self._failed_at.pop(what, None)

    def close(self) -> None:
        """Asks after nobody's health any more."""
        self._closed.set()

    def _full(self, who: str) -> bool:
        # While health is asked, newcomers wait for what it says, instead of following one that
        # failed into the same wait.
        if who and self._inside_by[who] >= self._share:
            return True
        return self._watched or self._inside >= (1 if self._failures >= FAILURES else self._room)

    def _enter(self, who: str) -> None:
        with self._turn:
            if self._full(who) and not self._away:
                if self._waiting >= self._room or (
                    who and self._waiting_by[who] >= self._room - self._share
                ):
                    raise Unavailable("service_busy")
                self._waiting += 1
                self._waiting_by[who] += 1
                try:
                    if not self._turn.wait_for(
                        lambda: self._away or not self._full(who), self._patience
                    ):
                        raise Unavailable("service_busy")
                finally:
                    self._waiting -= 1
                    self._take_off(self._waiting_by, who)
            if self._away:
                raise Unavailable("service_away")
            self._inside += 1
            self._inside_by[who] += 1

    def _leave(self, who: str, failed: bool) -> None:
        with self._turn:
            self._inside -= 1
            self._take_off(self._inside_by, who)
            self._failures = self._failures + 1 if failed else 0
            if failed and not self._watched:
                threading.Thread(
                    target=self._watch, name=f"health-{self._name}", daemon=True
                ).start()
                self._watched = True
            self._turn.notify_all()

    @staticmethod
    def _take_off(counts: Counter[str], who: str) -> None:
        counts[who] -= 1
        if not counts[who]:
            del counts[who]

    def _watch(self) -> None:
        while not self._closed.is_set():
            here = self._answers()
            with self._turn:
                changed, self._away = self._away == here, not here
                if here:
                    self._watched = False
                    if changed:  # it was away, as its health had said: that is over
                        self._failed_at.clear()
                else:
                    # the first after its return goes alone
                    self._failures = max(self._failures, FAILURES)
                self._turn.notify_all()
            if changed:
                BACKEND_AWAY.labels(self._name).set(int(not here))
                log.get().warning("backend_back" if here else "backend_away", where=self._name)
            if here:
                return
            self._closed.wait(self._pause)

    def _answers(self) -> bool:
        try:
            return self._healthy()
        except (
            Exception
        ) as error:  # whatever it is: newcomers wait for a verdict, so there is always one
            if not self._closed.is_set():
                log.get().error("health", where=self._name, fault=log.fault(error))
            return False
