"""Bounds the logs of child processes.

A log is a child's standard output, so the child can't be told to write elsewhere: its file is
emptied in place.

Its limit: a line that is written between the copy and the emptying, microseconds, is lost.
"""

import contextlib
import itertools
import os
import shutil
from pathlib import Path

MOST = 4 * 2**20  # bytes: 1,000 referrals
OLDER = 3  # files beside the one that is written to


def trim(log: Path, most: int = MOST, older: int = OLDER) -> None:
    """Copies a log that is larger than `most` bytes to NAME.1, and what was there to NAME.2 and so
    on up to `older`; then empties it.

    Its writers have opened it to append, so they go on at its new end. Does nothing where the disk
    has no room; the oldest copy has made some then.
    """
    with contextlib.suppress(OSError):
        if log.stat().st_size <= most:
            return
        copies = [log.with_name(f"{log.name}.{number}") for number in range(1, older + 1)]
        for newer, copy in reversed(list(itertools.pairwise(copies))):
            with contextlib.suppress(FileNotFoundError):
                newer.replace(copy)
        try:
            with (
                log.open("rb") as source,
                os.fdopen(
                    os.open(copies[0], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb"
                ) as copied,
            ):
                shutil.copyfileobj(source, copied, 2**20)
        except OSError:
            copies[0].unlink(missing_ok=True)
            raise
        os.truncate(log, 0)
