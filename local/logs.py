"""Limits the size of child processes' logs.

A log is a child's standard output, and the child can't be told to open another file, so the log is
emptied in place. Limitation: a line written between the copy and the truncation (microseconds) is
lost.
"""

import contextlib
import itertools
import os
import shutil
from pathlib import Path

MAX_BYTES = 4 * 2**20  # maximum bytes of a log, enough for 1,000 referrals
_TRIES = 10  # maximum number of times that the end of a log is read; it may lack a line break
OLDER_COPIES = 3  # older copies, in addition to the current file


def trim(log: Path, max_bytes: int = MAX_BYTES, older_copies: int = OLDER_COPIES) -> None:
    """Empties a log that is larger than `max_bytes`, after copying it to NAME.1 and moving the
    previous copies to NAME.2 and so on, up to `older_copies`.

    The log's writers opened it for appending, so they continue at the new end. If the disk is full,
    the log stays as it is, but the oldest copy may have been deleted.
    """
    with contextlib.suppress(OSError):
        if log.stat().st_size <= max_bytes:
            return
        copies = [log.with_name(f"{log.name}.{number}") for number in range(1, older_copies + 1)]
        for newer, copy in reversed(list(itertools.pairwise(copies))):
            with contextlib.suppress(FileNotFoundError):
                newer.replace(copy)
        try:
            with (
                log.open("rb") as source,
                os.fdopen(
                    os.open(copies[0], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb"
                ) as target,
            ):
                # A line that is being written may be visible only in part: its rest is copied, too.
                for _ in range(_TRIES):
                    shutil.copyfileobj(source, target, 2**20)
                    source.seek(-1, os.SEEK_CUR)
                    if source.read(1) == b"\n":
                        break
        except OSError:
            copies[0].unlink(missing_ok=True)
            raise
        os.truncate(log, 0)
