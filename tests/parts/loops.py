"""Background loops that a test runs for a while."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chassis.supervisor import Loop

NEVER = 3600.0
"""Seconds between two reads, for tests that may pass only because of announcements."""
OFTEN = 0.2
"""Seconds between two reads, for tests whose announcements are lost."""


@contextmanager
def running(*loops: Loop) -> Iterator[None]:
    """Runs loops in their threads until the block ends."""
    for loop in loops:
        loop.start()
    try:
        yield
    finally:
        for loop in loops:
            loop.stop()
        for loop in loops:
            assert loop.join(10), loop.name


def turn_until_stopped(loop: Loop) -> None:
    """Takes short turns without any work until the loop is stopped."""
    while loop.turn():
        loop.wait(0.01)


def eventually(condition: Callable[[], bool], seconds: float = 50) -> bool:
    """Returns True once the condition holds; False if it does not hold in time.

    The limit allows for a busy machine, and is below the minute after which a loop reads again
    without an announcement.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
