"""The end of the call under way: set once when the call comes in, it bounds everything that is done
for it, however many statements or transactions.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_end: ContextVar[float | None] = ContextVar("deadline", default=None)


@contextmanager
def until(end: float) -> Iterator[None]:
    """What is done inside has time until `end`, a moment of time.monotonic()."""
    token = _end.set(end)
    try:
        yield
    finally:
        _end.reset(token)


def current() -> float | None:
    """The moment by which the call under way must have ended; None outside of a call."""
    return _end.get()


def left(seconds: float) -> float:
    """So many seconds, or what the call under way has left if that is less; never below 0."""
    return max(0.0, after(seconds) - time.monotonic())


def after(seconds: float) -> float:
    """The moment in so many seconds, or the end of the call under way if that is earlier."""
    end, moment = _end.get(), time.monotonic() + seconds
    return moment if end is None else min(moment, end)
