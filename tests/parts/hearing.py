"""The beginning of a command to which tests send signals.

A command that starts with `HEARING` receives the signals again that the parent of the tests has set
to be ignored. A script's `&` makes its child ignore SIGINT, and nohup SIGHUP; exec inherits that,
and a stack that was started so rightly goes on ignoring them. (`subprocess` restores other signals,
not these; its `preexec_fn` is not safe beside the threads of gRPC.)
"""

import sys

_PROGRAM = """\
import os, signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""
HEARING = (sys.executable, "-I", "-S", "-c", _PROGRAM)
