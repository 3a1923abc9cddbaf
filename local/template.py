"""Turns a process that has loaded the libraries into the template that the processes of a stack are
forked from (local.python_process). It is the last module that such a process imports.
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
