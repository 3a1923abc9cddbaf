"""Begins a command that tests send signals to.

In front of it, `HEARING` gives back to it the signals that whoever started the tests has them
ignore.

A script's `&` makes its child deaf to SIGINT, nohup to SIGHUP; exec hands that on, and a stack that
was started deaf rightly stays so. (`subprocess` restores other signals, not these; its `preexec_fn`
is not safe beside the threads of gRPC.)
"""

import sys

_PROGRAM = """\
import os, signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""
HEARING = (sys.executable, "-I", "-S", "-c", _PROGRAM)
