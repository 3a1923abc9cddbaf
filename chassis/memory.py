"""Protects the memory of the process: no core dump is written, and no other process of the same
user can read it.
"""

import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4


def forbid_dumps() -> None:
    """Forbids core dumps and, on Linux, access by debuggers of the same user.

    Each process of a service, even a command for operators, calls this at its start.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
