"""Which calls get a thread: so many at once, so many waiting, and beyond that a thread that only
says no.

grpc hands every call to the pool's `submit`; a pool that refuses there would break the server's own
loop, so a call that is too many is given to a small second pool, where `turned_away` refuses it
before anything is done. `waited` says how long the call of this thread had to wait for it. Each
caller has a lane (`announce`): a share of the threads at most, and three quarters of all that wait,
so that another's call waits behind few of one that floods, and there is room for it.
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

_here = threading.local()


def announce(caller: str) -> None:
    """Says whose the call is that this thread hands to the pool next; "" for nobody's."""
    _here.lane = caller


class CallPool(ThreadPoolExecutor):
    """Works on `threads` calls at once and keeps no more than `most` under way and waiting
    together; of one caller on `share` at once, if that is said.
    """

    def __init__(self, threads: int, most: int, *, share: int = 0) -> None:
        super().__init__(threads, thread_name_prefix="rpc", initializer=self._belong)
        self._most = most
        self._share = share
        self._under_way = 0
        self._of = Counter[str]()  # under way and waiting, by caller
        # of callers whose share is in work
        self._waiting = defaultdict[str, deque[Callable[[], object]]](deque)
        self._counting = threading.Lock()
        self._full = ThreadPoolExecutor(2, thread_name_prefix="rpc-full", initializer=_say_full)
        self.stopping = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Takes a call in, or has it refused."""
        lane, _here.lane = getattr(_here, "lane", "") if self._share else "", ""
        done, came_at = Future[T](), monotonic()

        def begin() -> object:
            return super(CallPool, self).submit(_work, done, came_at, fn, *args, **kwargs)

        with self._counting:
            full = self._under_way >= self._most or (
                lane != "" and self._of[lane] >= self._most - self._most // 4
            )
            if full:
                return self._full.submit(fn, *args, **kwargs)
            self._under_way += 1
            if lane:
                self._of[lane] += 1
            waits = lane != "" and self._of[lane] > self._share
            if waits:
                self._waiting[lane].append(begin)
        done.add_done_callback(lambda _: self._done(lane))
        if not waits:
            begin()
        return done

    def turn_away(self) -> None:
        """From now on calls that begin are refused, also those that wait behind their caller's
        others; those under way go on.
        """
        self.stopping = True
        with self._counting:
            waiting = [begin for calls in self._waiting.values() for begin in calls]
            self._waiting.clear()
        for begin in waiting:
            begin()

    def _belong(self) -> None:
        _here.pool = self

    def _done(self, lane: str) -> None:
        """Begins the next call of this caller, if one waits for its share."""
        following: Callable[[], object] | None = None
        with self._counting:
            self._under_way -= 1
            if lane:
                self._of[lane] -= 1
                if waiting := self._waiting.get(lane):
                    following = waiting.popleft()
                else:
                    self._waiting.pop(lane, None)
                if not self._of[lane]:
                    del self._of[lane]
        if following is not None:
            following()


def _work(
    done: Future[Any], came_at: float, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> None:
    _here.waited = monotonic() - came_at
    try:
        done.set_result(fn(*args, **kwargs))
    except BaseException as error:  # as an executor's own future has it
        done.set_exception(error)


def waited() -> float:
    """Returns the seconds that the call under way had waited for this thread when it began; 0
    outside of a pool.
    """
    return getattr(_here, "waited", 0.0)


def _say_full() -> None:
    _here.full = True


def turned_away() -> None:
    """Refuses the call that this thread has been given if it is one too many, or came too late to
    be begun.
    """
    if getattr(_here, "full", False):
        raise Exhausted("too_many_requests", 1)
    pool = getattr(_here, "pool", None)
    if pool is not None and pool.stopping:
        raise Unavailable("service_unreachable")
