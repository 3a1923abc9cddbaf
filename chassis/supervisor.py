"""Supervised background loops: a loop starts, stops, restarts after a failure with growing pauses,
and reports when its last turn began.

`work(loop)` creates what it needs, does one turn per `while loop.turn():`, and may end with any
exception; then it is called again. If a part is unavailable (`waits_for`, Unavailable, Exhausted),
the loop waits for it, and this does not count as a failure. Any other refusal counts as a failure,
since it would recur at every try. Limitation: a turn that hangs can't be interrupted from here. The
loop's state is then STUCK, and the process that watches its loops reports this.
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
from chassis.errors import Exhausted, Unavailable

LIMIT = 60.0
"""Seconds without a turn after which a loop counts as stuck.

The longest normal turn is a batch that the broker does not acknowledge (15 s).
"""

# Maximum seconds between two tries, so that a part that is back is noticed within that time.
_LONGEST_PAUSE = 5.0
# Seconds after which a try counts as working, so that a try that fails at once does not
# reset the state and the pauses.
_WORKING_AFTER = 0.5


class State(Enum):
    """The state of a loop."""

    RUNNING = "running"
    WAITING = "waiting"  # for a part that is unavailable
    FAILING = "failing"  # the last try ended with a fault
    STUCK = "stuck"  # no turn for longer than the limit
    DEAD = "dead"  # the thread has ended without being asked to


WELL = frozenset({State.RUNNING, State.WAITING})
"""The states that need no attention. A part that a loop waits for is reported elsewhere."""


class Loop:
    """A thread that works in turns until it is stopped."""

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
        """`longest_pause` limits the pause between two tries, in seconds. `workers` is the number
        of the loop's threads that may hold a transaction, including its main thread.
        """
        self.name = name
        self.limit = limit
        self.workers = workers
        self._longest_pause = longest_pause
        self._work = work
        self._waits_for: tuple[type[Exception], ...] = (Unavailable, Exhausted, *waits_for)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        # when the last turn began; during a wait, when the wait ends
        self._turn_began_at = time.monotonic()
        self._began_at = self._turn_began_at  # when the current try began
        self._try: RetryCallState | None = None
        self._problem_state: State | None = None

    def start(self) -> None:
        """Starts the thread, or a new one if it has died; does nothing if it runs."""
        if self._thread is not None and self._thread.is_alive():
            return
        if self._thread is not None:
            log.get().error("loop_died", loop=self.name)
            metrics.LOOP_FAILURES.labels(self.name).inc()
        self._turn_began_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Asks the loop to end after the current turn; a wait ends at once."""
        self._stopping.set()

    def join(self, timeout: float | None = None) -> bool:
        """Waits until the thread has ended, at most `timeout` seconds; returns True if it has."""
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def stopping(self) -> bool:
        """True once the loop was asked to end."""
        return self._stopping.is_set()

    @property
    def age(self) -> float:
        """Seconds since the last turn began, without waits."""
        return max(0.0, time.monotonic() - self._turn_began_at)

    @property
    def state(self) -> State:
        """The current state."""
        if self._thread is not None and not self._thread.is_alive() and not self.stopping:
            return State.DEAD
        if self.age > self.limit:
            return State.STUCK
        return self._problem_state or State.RUNNING

    def turn(self) -> bool:
        """Records that a turn begins; returns False when it is time to stop."""
        self._turn_began_at = time.monotonic()
        if self._try is not None and self._turn_began_at - self._began_at > _WORKING_AFTER:
            self._try.attempt_number = 1  # resets the pauses
            self._problem_state = None
        return not self.stopping

    def wait(self, seconds: float) -> bool:
        """Waits `seconds`, or until the loop is asked to stop; returns True if it was asked."""
        self._turn_began_at = time.monotonic() + seconds
        stopped = self._stopping.wait(seconds)
        self._turn_began_at = time.monotonic()
        return stopped

    def _run(self) -> None:
        attempts = Retrying(
            retry=retry_always,
            stop=stop_when_event_set(self._stopping),
            wait=wait_random_exponential(multiplier=0.2, max=self._longest_pause),
            sleep=self._pause,
            retry_error_callback=lambda _: None,
        )
        for attempt in attempts:
            self._try = attempt.retry_state
            self._began_at = self._turn_began_at = time.monotonic()
            with attempt:
                self._once()

    def _pause(self, seconds: float) -> None:
        self.wait(seconds)

    def _once(self) -> None:
        try:
            self._work(self)
        except self._waits_for as error:
            was_waiting, self._problem_state = self._problem_state is State.WAITING, State.WAITING
            if not was_waiting:  # logged once, not at every try
                cause = type(error.__cause__).__name__ if error.__cause__ else ""
                reason = getattr(error, "reason", "") or cause
                log.get().info(
                    "loop_waits", loop=self.name, error=type(error).__name__, reason=reason
                )
        # Any exception, even SystemExit, is logged, and the work continues.
        except BaseException as error:
            self._problem_state = State.FAILING
            metrics.LOOP_FAILURES.labels(self.name).inc()
            log.get().error("loop_failed", loop=self.name, fault=log.fault(error))
