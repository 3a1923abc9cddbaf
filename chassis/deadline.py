"""The deadline of the current call: set when the call arrives, it limits all work for the call,
however many statements or transactions that takes.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_end: ContextVar[float | None] = ContextVar("deadline", default=None)


@contextmanager
def until(end: float) -> Iterator[None]:
    """Sets the deadline for the block; `end` is a value of time.monotonic()."""
    token = _end.set(end)
    try:
        yield
    finally:
        _end.reset(token)


def current() -> float | None:
    """Returns the deadline of the current call as a value of time.monotonic(); None outside of a
    call.
    """
    return _end.get()


def left(seconds: float) -> float:
    """Returns the seconds left until the deadline, at most `seconds`, and never below 0."""
    return max(0.0, after(seconds) - time.monotonic())


def after(seconds: float) -> float:
    """Returns the time `seconds` from now, or the deadline if that is earlier."""
    end, moment = _end.get(), time.monotonic() + seconds
    return moment if end is None else min(moment, end)
