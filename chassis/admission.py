"""Thread pool for calls, with a bounded queue and a fair share for each caller.

grpc submits every call to the pool. An exception from the pool would break the server's own loop,
so excess calls run on a small second pool, where `check_admitted` refuses them at once. Each caller
has a lane (`set_lane`): its calls occupy at most a share of the threads and three quarters of the
queue, so that a caller who floods the service delays mostly itself.
"""

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic
from typing import Any, ParamSpec, TypeVar

from chassis.errors import Exhausted, Unavailable

P = ParamSpec("P")
T = TypeVar("T")

_local = threading.local()


def set_lane(caller: str) -> None:
    """Sets the caller of the next call that this thread submits; "" for an unknown caller."""
    _local.lane = caller


class CallPool(ThreadPoolExecutor):
    """Runs `threads` calls at once and holds at most `most` calls, running and waiting. `share` is
    the number of threads that one caller may occupy; 0 means no limit.
    """

    def __init__(self, threads: int, most: int, *, share: int = 0) -> None:
        super().__init__(threads, thread_name_prefix="rpc", initializer=self._bind_thread)
        self._most = most
        self._share = share
        self._running = 0
        self._count_by_caller = Counter[str]()  # running and waiting calls by caller
        # calls, by caller, that wait because their caller's share of threads is in use
        self._waiting = defaultdict[str, deque[Callable[[], object]]](deque)
        self._counting = threading.Lock()
        self._refusing_pool = ThreadPoolExecutor(
            2, thread_name_prefix="rpc-full", initializer=_mark_full
        )
        self.stopping = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Accepts a call, or hands it to the threads that refuse it."""
        lane, _local.lane = getattr(_local, "lane", "") if self._share else "", ""
        done, submitted_at = Future[T](), monotonic()

        def begin() -> object:
            return super(CallPool, self).submit(_work, done, submitted_at, fn, *args, **kwargs)

        with self._counting:
            full = self._running >= self._most or (
                lane != "" and self._count_by_caller[lane] >= self._most - self._most // 4
            )
            if full:
                return self._refusing_pool.submit(fn, *args, **kwargs)
            self._running += 1
            if lane:
                self._count_by_caller[lane] += 1
            waits = lane != "" and self._count_by_caller[lane] > self._share
            if waits:
                self._waiting[lane].append(begin)
        done.add_done_callback(lambda _: self._done(lane))
        if not waits:
            begin()
        return done

    def refuse_waiting(self) -> None:
        """Refuses all calls that have not started yet, including calls that wait for their caller's
        share. Running calls go on.
        """
        self.stopping = True
        with self._counting:
            waiting = [begin for calls in self._waiting.values() for begin in calls]
            self._waiting.clear()
        for begin in waiting:
            begin()

    def _bind_thread(self) -> None:
        _local.pool = self

    def _done(self, lane: str) -> None:
        """Counts a call as ended, and starts the caller's next call if one waits for the share."""
        following: Callable[[], object] | None = None
        with self._counting:
            self._running -= 1
            if lane:
                self._count_by_caller[lane] -= 1
                if waiting := self._waiting.get(lane):
                    following = waiting.popleft()
                else:
                    self._waiting.pop(lane, None)
                if not self._count_by_caller[lane]:
                    del self._count_by_caller[lane]
        if following is not None:
            following()


def _work(
    done: Future[Any], submitted_at: float, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> None:
    _local.waited = monotonic() - submitted_at
    try:
        done.set_result(fn(*args, **kwargs))
    except BaseException as error:  # as ThreadPoolExecutor does
        done.set_exception(error)


def waited() -> float:
    """Returns the seconds that the current call waited for its thread; 0 outside of a pool."""
    return getattr(_local, "waited", 0.0)


def _mark_full() -> None:
    _local.full = True


def check_admitted() -> None:
    """Raises Exhausted if the pool is full and this thread only refuses calls, or Unavailable if
    the pool is stopping.
    """
    if getattr(_local, "full", False):
        raise Exhausted("too_many_requests", 1)
    pool = getattr(_local, "pool", None)
    if pool is not None and pool.stopping:
        raise Unavailable("service_unreachable")
