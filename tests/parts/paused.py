"""Processes that are paused: they accept connections and never answer.

The kernel still accepts connections for a paused process and acknowledges the data sent to it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.parts.processes import stat


@contextmanager
def paused_process(pid: int | None) -> Iterator[None]:
    """Pauses a process and all of its children with SIGSTOP until the block ends.

    PostgreSQL has one child for each connection.
    """
    assert pid
    paused_pids = [pid]
    os.kill(pid, signal.SIGSTOP)  # first, so that the process starts no more children
    try:
        for child in _children(pid):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGSTOP)
                paused_pids.append(child)
        yield
    finally:
        for process in reversed(paused_pids):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)


def _children(pid: int) -> list[int]:
    pids = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                if int(stat(int(folder.name))[1]) == pid:
                    pids.append(int(folder.name))
    return pids
