"""Limits how long a thread holds Python's lock while other threads wait for it."""

import sys

# Seconds that a thread may compute while others wait for the lock. A single thread receives all
# calls or requests, and takes its turn among all threads that compute. With Python's default of 5
# ms, a service whose threads were all at work took 265 ms to refuse a call; with this value it took
# 23 ms (bench overload, one run each), with the same processor time per call.
_TURN = 0.0005


def shorten_turns() -> None:
    """Makes a thread that computes hand over Python's lock to waiting threads sooner."""
    sys.setswitchinterval(_TURN)
