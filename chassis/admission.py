"""Thread pool for calls, with a short queue and a fair share for each caller.

The server calls `is_full` before it submits a call, and refuses the call if there is no room for
it. A queue that is not emptied in time takes no further calls, so a call that is accepted is
answered in time however slow the machine is. Each caller has a lane (`set_lane`): its calls occupy
at most a share of the threads and three quarters of the room for calls, so that a caller who floods
the service delays mostly itself.
"""

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic
from typing import Any, ParamSpec, TypeVar

from chassis.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")

# Seconds that the first call of a queue may have waited; beyond that, no call is added to the
# queue. A page waits for its calls, and a gateway gives up after five seconds.
LONGEST_WAIT = 0.8

_local = threading.local()


def set_lane(caller: str) -> None:
    """Sets the caller of the next call that this thread submits; "" for an unknown caller."""
    _local.lane = caller


class CallPool(ThreadPoolExecutor):
    """Runs `threads` calls at once and has room for `most` calls, running and waiting. `share` is
    the number of threads that one caller may occupy; 0 means no limit.
    """

    def __init__(self, threads: int, most: int, *, share: int = 0) -> None:
        super().__init__(threads, thread_name_prefix="rpc", initializer=self._bind_thread)
        self._most = most
        self._share = share
        self._running = 0
        self._count_by_caller = Counter[str]()  # running and waiting calls by caller
        self._queued = deque[float]()  # the times since which calls wait for a thread, in order
        # Calls, by caller, that wait because the caller's share of threads is in use: for each
        # call, the time since which it waits, and the function that hands it to the threads.
        self._waiting = defaultdict[str, deque[tuple[float, Callable[[], object]]]](deque)
        self._counting = threading.Lock()
        self.stopping = False

    def is_full(self, lane: str = "") -> bool:
        """Returns True if there is no room for a call from this caller or, without a lane, for a
        call from any caller.
        """
        now = monotonic()
        with self._counting:
            if self._running >= self._most or (
                self._queued and now - self._queued[0] > LONGEST_WAIT
            ):
                return True
            waiting = self._waiting.get(lane)
            return bool(lane and self._share) and (
                self._count_by_caller[lane] >= self._most - self._most // 4
                or (waiting is not None and now - waiting[0][0] > LONGEST_WAIT)
            )

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Accepts a call, whether or not the pool is full."""
        lane, _local.lane = getattr(_local, "lane", "") if self._share else "", ""
        done, submitted_at = Future[T](), monotonic()

        def begin() -> object:
            with self._counting:
                self._queued.append(monotonic())
            return super(CallPool, self).submit(self._work, done, submitted_at, fn, *args, **kwargs)

        with self._counting:
            self._running += 1
            if lane:
                self._count_by_caller[lane] += 1
            waits = lane != "" and self._count_by_caller[lane] > self._share
            if waits:
                self._waiting[lane].append((submitted_at, begin))
        done.add_done_callback(lambda _: self._done(lane))
        if not waits:
            begin()
        return done

    def refuse_waiting(self) -> None:
        """Makes the pool refuse all calls that have not started yet (`check_not_stopping`),
        including calls that wait for their caller's share. Running calls continue.
        """
        self.stopping = True
        with self._counting:
            waiting = [begin for calls in self._waiting.values() for _, begin in calls]
            self._waiting.clear()
        for begin in waiting:
            begin()

    def _bind_thread(self) -> None:
        _local.pool = self

    def _work(
        self,
        done: Future[Any],
        submitted_at: float,
        fn: Callable[..., Any],
        /,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        with self._counting:
            self._queued.popleft()
        _local.waited = monotonic() - submitted_at
        try:
            done.set_result(fn(*args, **kwargs))
        except BaseException as error:  # as ThreadPoolExecutor does
            done.set_exception(error)

    def _done(self, lane: str) -> None:
        """Counts a call as ended; if another call of its caller waits for the share, hands that
        other call to the threads.
        """
        following: Callable[[], object] | None = None
        with self._counting:
            self._running -= 1
            if lane:
                self._count_by_caller[lane] -= 1
                if waiting := self._waiting.get(lane):
                    following = waiting.popleft()[1]
                if not waiting:
                    self._waiting.pop(lane, None)
                if not self._count_by_caller[lane]:
                    del self._count_by_caller[lane]
        if following is not None:
            following()


def seconds_waited() -> float:
    """Returns the seconds that the current call waited for its thread; 0 outside of a CallPool."""
    return getattr(_local, "waited", 0.0)


def check_not_stopping() -> None:
    """Raises Unavailable if this thread's pool is stopping."""
    pool = getattr(_local, "pool", None)
    if pool is not None and pool.stopping:
        raise Unavailable("service_unreachable")
