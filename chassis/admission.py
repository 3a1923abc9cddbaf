"""Thread pool for calls, with a short queue and a fair share for each caller.

The server calls `is_full` before it submits a call, and refuses the call if the pool is full. Once
the first call in a queue has waited too long, no call is added to that queue, so that an accepted
call starts soon even on a slow machine. The calls of one caller form a lane (`set_lane`).
A lane gets at most a share of the threads and three quarters of the capacity, so that a caller who
floods the service mostly delays its own calls.
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

# Longest time, in seconds, that the first call in a queue may wait before calls are refused. A page
# waits for its calls, and a gateway gives up after five seconds.
LONGEST_WAIT = 0.8

_local = threading.local()


def set_lane(caller: str) -> None:
    """Sets the lane of the next call that this thread submits: its caller's id, or "" if the caller
    is unknown.
    """
    _local.lane = caller


class CallPool(ThreadPoolExecutor):
    """Runs up to `threads` calls at once, and accepts up to `capacity` calls, running and waiting.
    `share` is the number of threads that one caller may occupy; 0 means no limit.
    """

    def __init__(self, threads: int, capacity: int, *, share: int = 0) -> None:
        super().__init__(threads, thread_name_prefix="rpc", initializer=self._bind_thread)
        self._capacity = capacity
        self._share = share
        self._call_count = 0  # running and waiting calls
        self._count_by_caller = Counter[str]()  # the same by caller
        # for each call that no thread has taken yet: when it was handed to the threads
        self._queued_since = deque[float]()
        # Calls, by caller, that wait because the caller's share of threads is in use: for each
        # call, when it started to wait, and the function that hands it to the threads.
        self._waiting_calls = defaultdict[str, deque[tuple[float, Callable[[], object]]]](deque)
        self._lock = threading.Lock()
        self.stopping = False

    def is_full(self, lane: str = "") -> bool:
        """Returns whether the pool has no room for a call of this lane; without a lane, whether it
        has no room for any call.
        """
        now = monotonic()
        with self._lock:
            if self._call_count >= self._capacity or (
                self._queued_since and now - self._queued_since[0] > LONGEST_WAIT
            ):
                return True
            waiting = self._waiting_calls.get(lane)
            return bool(lane and self._share) and (
                self._count_by_caller[lane] >= self._capacity - self._capacity // 4
                or (waiting is not None and now - waiting[0][0] > LONGEST_WAIT)
            )

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Accepts a call, whether or not the pool is full."""
        lane, _local.lane = getattr(_local, "lane", "") if self._share else "", ""
        future, submitted_at = Future[T](), monotonic()

        def hand_over() -> object:
            with self._lock:
                self._queued_since.append(monotonic())
            return super(CallPool, self).submit(
                self._work, future, submitted_at, fn, *args, **kwargs
            )

        with self._lock:
            self._call_count += 1
            if lane:
                self._count_by_caller[lane] += 1
            must_wait = lane != "" and self._count_by_caller[lane] > self._share
            if must_wait:
                self._waiting_calls[lane].append((submitted_at, hand_over))
        future.add_done_callback(lambda _: self._end_call(lane))
        if not must_wait:
            hand_over()
        return future

    def refuse_waiting(self) -> None:
        """Hands all waiting calls to the threads, which refuse them (`check_not_stopping`). Running
        calls continue.
        """
        self.stopping = True
        with self._lock:
            waiting = [
                hand_over for calls in self._waiting_calls.values() for _, hand_over in calls
            ]
            self._waiting_calls.clear()
        for hand_over in waiting:
            hand_over()

    def _bind_thread(self) -> None:
        _local.pool = self

    def _work(
        self,
        future: Future[Any],
        submitted_at: float,
        fn: Callable[..., Any],
        /,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        with self._lock:
            self._queued_since.popleft()
        _local.seconds_waited = monotonic() - submitted_at
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # as ThreadPoolExecutor does
            future.set_exception(error)

    def _end_call(self, lane: str) -> None:
        """Counts a call as ended. Hands the caller's next call to the threads if one waits for the
        caller's share.
        """
        next_call: Callable[[], object] | None = None
        with self._lock:
            self._call_count -= 1
            if lane:
                self._count_by_caller[lane] -= 1
                if waiting := self._waiting_calls.get(lane):
                    next_call = waiting.popleft()[1]
                if not waiting:
                    self._waiting_calls.pop(lane, None)
                if not self._count_by_caller[lane]:
                    del self._count_by_caller[lane]
        if next_call is not None:
            next_call()


def seconds_waited() -> float:
    """Returns the seconds that the current call waited for its thread; 0 outside of a CallPool."""
    return getattr(_local, "seconds_waited", 0.0)


def check_not_stopping() -> None:
    """Raises Unavailable if this thread's pool is stopping."""
    pool = getattr(_local, "pool", None)
    if pool is not None and pool.stopping:
        raise Unavailable("service_unreachable")
