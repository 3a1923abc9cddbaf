"""Limits how long a thread holds the GIL (Python's global lock) while other threads wait."""

import sys

# Seconds that a thread may compute while others wait for the GIL. A single thread receives all
# calls or requests, and takes its turn among all threads that compute. With Python's default of 5
# ms, a service whose threads were all at work took 265 ms to refuse a call; with this value it took
# 23 ms (bench overload, one run each), with the same processor time per call.
_TURN = 0.0005


def shorten_turns() -> None:
    """Makes a busy thread hand the GIL to waiting threads sooner."""
    sys.setswitchinterval(_TURN)
