"""Reads a file in a separate process.

The process is ended when reading takes much more time or memory than the largest genuine file
needs, so that a malicious file can't delay calls. The child process has no settings, no keys and no
database. It sets its own limits before it reads the file.
"""

import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from chassis.errors import Invalid
from services.partners.directory.domain.imports import Encoding, ParsedFile
from services.partners.directory.wire.imports import parse
from services.partners.directory.wire.imports.drafts import CellReader

_LIMITS = (30, 250_000_000)
"""The limits of the child: seconds of processor time, and bytes of address space.

The largest genuine spreadsheet takes three seconds, ten on a slow machine, and half of the memory.
"""
# seconds within which the child must finish; long, because on a machine with a load of forty, a
# process gets a twentieth of a processor
_MAX_SECONDS = 900.0
_CHECK_INTERVAL = 0.5  # seconds between two checks whether the file is still wanted
_ROOT = Path(__file__).resolve().parents[5]
_NO_MEMORY = 3  # the exit code for a lack of memory


class TooMuchWork(Exception):
    """Reading the file takes more time or memory than a file may take."""


class ReadingInterrupted(Exception):
    """The process was ended from outside or did not finish, so nothing is known about the file."""


def parse_in_child_process(
    content: bytes, reader: CellReader, encoding: Encoding | None, on_progress: Callable[[], None]
) -> ParsedFile:
    """Parses a file in another process.

    Calls `on_progress` from time to time; an exception that it raises ends the process. Raises
    Invalid for `content`, TooMuchWork or ReadingInterrupted.
    """
    end = time.monotonic() + _MAX_SECONDS
    request = pickle.dumps((_LIMITS, content, reader, encoding))
    with subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=_ROOT,
        env={},
    ) as child:
        try:
            # Sends from a thread, because communicate() loses unsent data when it times out.
            threading.Thread(target=_send, args=(child.stdin, request), daemon=True).start()
            child.stdin = None
            while True:
                try:
                    answer, _ = child.communicate(timeout=_CHECK_INTERVAL)
                    break
                except subprocess.TimeoutExpired:
                    on_progress()
                    if time.monotonic() > end:
                        raise ReadingInterrupted from None
        finally:
            child.kill()
    if child.returncode in (_NO_MEMORY, -signal.SIGXCPU):
        raise TooMuchWork
    if child.returncode != 0:
        raise ReadingInterrupted
    # The data comes from a child of this process.
    result: ParsedFile | list[tuple[str, str]] = pickle.loads(answer)  # noqa: S301
    if not isinstance(result, ParsedFile):
        raise Invalid(*result)
    return result


def _send(pipe: IO[bytes], request: bytes) -> None:
    with suppress(OSError), pipe:  # a child that has ended closes the pipe
        pipe.write(request)


def main() -> int:
    """Answers the request on standard input with a ParsedFile, or with the file's violations.

    Returns the exit code.
    """
    os.nice(10)  # calls go first
    # If memory runs short, the system ends this process and not the service. Systems without /proc
    # have no such setting.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    # The data comes from the parent process.
    (seconds, memory), content, reader, encoding = pickle.load(sys.stdin.buffer)  # noqa: S301
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        try:
            answer: ParsedFile | list[tuple[str, str]] = parse(content, reader, encoding)
        except Invalid as error:
            answer = error.violations
        pickle.dump(answer, sys.stdout.buffer)
    except MemoryError:
        return _NO_MEMORY
    return 0


if __name__ == "__main__":
    sys.exit(main())
