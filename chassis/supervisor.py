"""Runs background work: one supervised loop that starts, stops, begins again after a failure with
growing pauses, and says when its last turn was.

`work(loop)` makes what it needs, does one turn for each `while loop.turn():`, and may end by any
exception: it is called again. A part that is away (`waits_for`, Unavailable, Exhausted) is waited
for and is no failure; any other refusal would be said again at every try, so it is one. Limit: a
turn that hangs can't be interrupted from here; it shows as STUCK, and whoever watches the loops
ends the process.
"""

import threading
import time
from collections.abc import Callable
from enum import Enum

from tenacity import (
    RetryCallState,
    Retrying,
    retry_always,
    stop_when_event_set,
    wait_random_exponential,
)

from chassis import log, metrics
from chassis.errors import Exhausted, Refusal, Unavailable

LIMIT = 60.0
"""Seconds without a turn after which a loop is stuck.

Above any honest turn: the longest is a batch that the broker does not acknowledge (15 s).
"""

_LONGEST_PAUSE = 5.0  # seconds between two tries: what is back is noticed within that time
# seconds of turning after which a try counts as one that works: what fails at once must not clear
# its own trouble
_PROVEN = 0.5


class State(Enum):
    """How a loop stands."""

    RUNNING = "running"
    WAITING = "waiting"  # for a part that is away
    FAILING = "failing"  # the last try ended with a fault
    STUCK = "stuck"  # no turn for longer than its limit
    DEAD = "dead"  # its thread has ended without being asked to


WELL = frozenset({State.RUNNING, State.WAITING})
"""The states of a loop that needs nobody's attention: what it waits for is said elsewhere."""


class Loop:
    """One thread that turns until it is stopped."""

    def __init__(
        self,
        name: str,
        work: Callable[["Loop"], None],
        *,
        waits_for: tuple[type[Exception], ...] = (),
        limit: float = LIMIT,
        longest_pause: float = _LONGEST_PAUSE,
        workers: int = 1,
    ) -> None:
        """`longest_pause` is between two tries; `workers` is how many threads it lets work in
        transactions, its own included.
        """
        self.name = name
        self.limit = limit
        self.workers = workers
        self._longest_pause = longest_pause
        self._work = work
        self._waits_for: tuple[type[Exception], ...] = (Unavailable, Exhausted, *waits_for)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._turned_at = time.monotonic()  # while it waits: when it will be awake again
        self._began_at = self._turned_at  # the try under way
        self._try: RetryCallState | None = None
        self._trouble: State | None = None

    def start(self) -> None:
        """Begins, or begins anew when the thread has died; one that runs is left alone."""
        if self._thread is not None and self._thread.is_alive():
            return
        if self._thread is not None:
            log.get().error("loop_died", loop=self.name)
            metrics.LOOP_FAILURES.labels(self.name).inc()
        self._turned_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Asks it to end after the turn under way; a wait ends at once."""
        self._stopping.set()

    def join(self, timeout: float | None = None) -> bool:
        """Waits until it has ended, at most `timeout` seconds; says whether it has."""
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def stopping(self) -> bool:
        """Whether it was asked to end."""
        return self._stopping.is_set()

    @property
    def age(self) -> float:
        """Seconds since its last turn began; a wait does not count."""
        return max(0.0, time.monotonic() - self._turned_at)

    @property
    def state(self) -> State:
        """How it stands now."""
        if self._thread is not None and not self._thread.is_alive() and not self.stopping:
            return State.DEAD
        if self.age > self.limit:
            return State.STUCK
        return self._trouble or State.RUNNING

    def turn(self) -> bool:
        """Notes that a turn begins; False when it is time to stop."""
        self._turned_at = time.monotonic()
        if self._try is not None and self._turned_at - self._began_at > _PROVEN:
            self._try.attempt_number = 1  # the next pauses begin small
            self._trouble = None
        return not self.stopping

    def wait(self, seconds: float) -> bool:
        """Waits, but not when somebody asks to stop; says whether somebody did."""
        self._turned_at = time.monotonic() + seconds
        stopped = self._stopping.wait(seconds)
        self._turned_at = time.monotonic()
        return stopped

    def _run(self) -> None:
        tries = Retrying(
            retry=retry_always,
            stop=stop_when_event_set(self._stopping),
            wait=wait_random_exponential(multiplier=0.2, max=self._longest_pause),
            sleep=self._pause,
            retry_error_callback=lambda _: None,
        )
        for attempt in tries:
            self._try = attempt.retry_state
            self._began_at = self._turned_at = time.monotonic()
            with attempt:
                self._once()

    def _pause(self, seconds: float) -> None:
        self.wait(seconds)

    def _once(self) -> None:
        try:
            self._work(self)
        except self._waits_for as error:
            known, self._trouble = self._trouble is State.WAITING, State.WAITING
            if not known:  # what is away for an hour is said once, not at every try
                reason = error.reason if isinstance(error, Refusal) else ""
                log.get().info(
                    "loop_waits", loop=self.name, error=type(error).__name__, reason=reason
                )
        except (
            BaseException
        ) as error:  # whatever it is, also a SystemExit: the work must go on, and it must show
            self._trouble = State.FAILING
            metrics.LOOP_FAILURES.labels(self.name).inc()
            log.get().error("loop_failed", loop=self.name, fault=log.fault(error))
