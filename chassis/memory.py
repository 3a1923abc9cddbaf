"""What a process leaves of its memory for others to read: nothing.

Its core is never written, and no other process of the same user may look into it.
"""

import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4


def forbid_dumps() -> None:
    """At the start of a process that holds keys or names.

    On Linux also against a debugger of the same user; elsewhere only the core.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
