"""The prefix of a command to which tests send signals.

A command that starts with `WITH_DEFAULT_SIGNALS` does not inherit ignored signals from the parent
of the tests. A script's `&` makes its child ignore SIGINT, and nohup makes it ignore SIGHUP; a
program inherits this through exec, and a stack that was started in this way rightly ignores these
signals. (`subprocess` restores other signals, but not these; its `preexec_fn` is not
safe in a process with the threads of gRPC.)
"""

import sys

_PROGRAM = """\
import os, signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""
WITH_DEFAULT_SIGNALS = (sys.executable, "-I", "-S", "-c", _PROGRAM)
