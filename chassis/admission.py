"""Which calls get a thread: so many at once, so many waiting, and beyond that a thread that only says no.

grpc hands every call to the pool's `submit`; a pool that refuses there would break the server's own loop, so a call that is too many is given to a
small second pool, where `turned_away` refuses it before anything is done. `waited` says how long the call of this thread had to wait for it.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic
from typing import ParamSpec, TypeVar

from chassis.errors import Exhausted, Unavailable

P = ParamSpec("P")
T = TypeVar("T")

_here = threading.local()


class CallPool(ThreadPoolExecutor):
    """Works on `threads` calls at once and keeps no more than `most` under way and waiting together."""

    def __init__(self, threads: int, most: int) -> None:
        super().__init__(threads, thread_name_prefix="rpc", initializer=self._belong)
        self._most = most
        self._under_way = 0
        self._counting = threading.Lock()
        self._full = ThreadPoolExecutor(2, thread_name_prefix="rpc-full", initializer=_say_full)
        self.stopping = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Takes a call in, or has it refused."""
        with self._counting:
            full = self._under_way >= self._most
            self._under_way += not full
        if full:
            return self._full.submit(fn, *args, **kwargs)
        future = super().submit(_begun, monotonic(), fn, *args, **kwargs)
        future.add_done_callback(self._done)
        return future

    def turn_away(self) -> None:
        """From now on calls that begin are refused; those under way go on."""
        self.stopping = True

    def _belong(self) -> None:
        _here.pool = self

    def _done(self, _: object) -> None:
        with self._counting:
            self._under_way -= 1


def _begun(came_at: float, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    _here.waited = monotonic() - came_at
    return fn(*args, **kwargs)


def waited() -> float:
    """Returns the seconds that the call under way had waited for this thread when it began; 0 outside of a pool."""
    return getattr(_here, "waited", 0.0)


def _say_full() -> None:
    _here.full = True


def turned_away() -> None:
    """Refuses the call that this thread has been given if it is one too many, or came too late to be begun."""
    if getattr(_here, "full", False):
        raise Exhausted("too_many_requests", 1)
    pool = getattr(_here, "pool", None)
    if pool is not None and pool.stopping:
        raise Unavailable("service_unreachable")
