"""Turns this process into the template of a stack's processes (local.python_process), which the
libraries have been loaded into. Imported by nothing else, and last.
"""

import gc
import os
import signal

from local.process import tie_to_parent

# Ctrl-C and the end of the terminal reach only the stack's process, which stops its parts in order.
os.setsid()
tie_to_parent(signal.SIGKILL, os.getppid())
PID = os.getpid()
gc.freeze()  # a collection in a child would write to each object, and so copy the memory
