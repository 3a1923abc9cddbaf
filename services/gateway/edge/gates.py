"""The gate in front of a service: bulkhead and circuit breaker in one.

Bulkhead: only a limited number of calls may be under way at once, and the same number may wait. A
service that is down or slow therefore holds only its own share of the threads. Each caller may have
only a few calls under way, and its further calls wait, so that there is always room for other
callers.

Circuit breaker: when a call fails in a way that suggests that the service is down, the gate checks
the service's health in the background, and new calls wait a moment for the result. While the check
fails, calls are refused at once. When the check succeeds again, or after several calls in a row
have failed although the check passes, calls go out one at a time until one succeeds; then the gate
opens fully.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import Gauge

from chassis import log
from chassis.errors import Refusal, Unavailable

# Calls that may be under way at once. A call takes 5 to 20 ms, so this allows several hundred calls
# a second, more than one process needs for all the pages that it can render.
CAPACITIES = {"partners": 8, "referrals": 8, "notifications": 4}
SPARE_THREADS = 4  # threads that no gate can occupy
THREADS = (
    sum(2 * capacity for capacity in CAPACITIES.values()) + SPARE_THREADS
)  # calls under way and waiting, and SPARE_THREADS
PATIENCE = 0.5  # seconds that a call waits at the gate
# seconds for which a failure caused by the service counts as recent, unless the same method
# succeeds in the meantime
RECENT_SECONDS = 300.0
FAILURES = 3  # failed calls in a row after which calls go out one at a time
# seconds between two health checks, so short that the recovery of a service is noticed within two
# seconds, without risking a real call
PAUSE = 0.5
AWAY_REASONS = frozenset({"service_unreachable", "store_unavailable", "deadline_exceeded"})
BACKEND_AWAY = Gauge(
    "enlace_backend_away",
    "1 while a service is known to be away and calls to it are refused at once.",
    ["backend"],
)


class Gate:
    """The gate in front of one service; thread-safe."""

    def __init__(
        self,
        name: str,
        healthy: Callable[[], bool],
        capacity: int,
        patience: float = PATIENCE,
        pause: float = PAUSE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Creates an open gate.

        `healthy` asks the service whether it is ready. It is called from a thread of its own and
        must return within a second.
        """
        self._clock = clock
        self._failed_at = dict[str, float]()  # by method
        self._name = name
        self._healthy = healthy
        self._capacity = capacity
        self._patience = patience
        self._pause = pause
        self._condition = threading.Condition()
        self._inside = self._waiting = self._failures = 0
        # calls that one caller may have under way: at least two, because somebody may open pages in
        # two tabs, and a ministry's system makes more than one call at a time
        self._share = max(2, capacity // 4)
        self._inside_by, self._waiting_by = Counter[str](), Counter[str]()
        self._away = self._is_checking = False
        self._closed = threading.Event()
        BACKEND_AWAY.labels(name).set(0)

    @contextmanager
    def passage(self, caller_mark: str = "", method: str = "") -> Iterator[None]:
        """Runs one call to `method` inside the gate; `caller_mark` identifies the caller.

        If the call may not pass, raises Unavailable service_away or service_busy before anything is
        sent.
        """
        self._enter(caller_mark)
        seems_down = service_at_fault = False
        try:
            yield
        except Refusal as refusal:
            seems_down = isinstance(refusal, Unavailable) and refusal.reason in AWAY_REASONS
            service_at_fault = isinstance(refusal, Unavailable)
            raise
        except Exception:
            service_at_fault = True
            raise
        finally:
            self._leave(caller_mark, method, seems_down, service_at_fault)

    def failed_recently(self) -> bool:
        """Returns whether a call failed recently through the service's fault.

        A failure no longer counts once the service has answered a call to the same method, or has
        recovered after it was down. The health check does not show such failures.
        """
        with self._condition:
            return any(
                self._clock() - failed_at < RECENT_SECONDS for failed_at in self._failed_at.values()
            )

    def close(self) -> None:
        """Ends the health checks."""
        self._closed.set()

    def _is_full(self, caller_mark: str) -> bool:
        if caller_mark and self._inside_by[caller_mark] >= self._share:
            return True
        # During a health check new calls wait for its result, so that they don't all run into the
        # same timeout as the failed call.
        return self._is_checking or self._inside >= (
            1 if self._failures >= FAILURES else self._capacity
        )

    def _enter(self, caller_mark: str) -> None:
        with self._condition:
            if self._is_full(caller_mark) and not self._away:
                if self._waiting >= self._capacity or (
                    caller_mark and self._waiting_by[caller_mark] >= self._capacity - self._share
                ):
                    raise Unavailable("service_busy")
                self._waiting += 1
                self._waiting_by[caller_mark] += 1
                try:
                    if not self._condition.wait_for(
                        lambda: self._away or not self._is_full(caller_mark), self._patience
                    ):
                        raise Unavailable("service_busy")
                finally:
                    self._waiting -= 1
                    self._waiting_by -= Counter([caller_mark])
            if self._away:
                raise Unavailable("service_away")
            self._inside += 1
            self._inside_by[caller_mark] += 1

    def _leave(
        self, caller_mark: str, method: str, seems_down: bool, service_at_fault: bool
    ) -> None:
        with self._condition:
            if service_at_fault:
                self._failed_at[method] = self._clock()
            else:
                self._failed_at.pop(method, None)
            self._inside -= 1
            self._inside_by -= Counter([caller_mark])
            self._failures = self._failures + 1 if seems_down else 0
            if seems_down and not self._is_checking:
                threading.Thread(
                    target=self._check_health, name=f"health-{self._name}", daemon=True
                ).start()
                self._is_checking = True
            self._condition.notify_all()

    def _check_health(self) -> None:
        while not self._closed.is_set():
            is_ready = self._is_ready()
            with self._condition:
                has_changed, self._away = self._away == is_ready, not is_ready
                if is_ready:
                    self._is_checking = False
                    if has_changed:
                        # the service was down, so its earlier failures no longer matter
                        self._failed_at.clear()
                else:
                    # after the recovery, calls go out one at a time at first
                    self._failures = max(self._failures, FAILURES)
                self._condition.notify_all()
            if has_changed:
                BACKEND_AWAY.labels(self._name).set(int(not is_ready))
                log.get().warning("backend_back" if is_ready else "backend_away", where=self._name)
            if is_ready:
                return
            self._closed.wait(self._pause)

    def _is_ready(self) -> bool:
        try:
            return self._healthy()
        except Exception as error:  # always return a result, because new calls wait for it
            if not self._closed.is_set():
                log.get().error("health", where=self._name, fault=log.fault(error))
            return False
