"""Room on a disk that is held for the time when there is none: a file that is given up then, and
made again once there is room.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

SIZE = 64 << 20
LOW = 32 << 20  # bytes free below which the disk counts as full


class Reserve:
    """`short` says whether the disk is full.

    Ask it often: it gives the file up and makes it again.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def short(self) -> bool:
        """True from when less than 32 MB are free until there are 128 MB, of which the file then
        takes 64.
        """
        free = self.free()
        if self._is_held():
            if free >= LOW:
                return False
            self._file.unlink()
            return True
        return free < SIZE + 2 * LOW or not self.make()

    def make(self) -> bool:
        """Make the file, or what a copy of it left out; False if there is no room for it."""
        try:
            with self._file.open("ab") as file:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, SIZE)
                else:
                    file.write(bytes(SIZE - file.tell()))
        except OSError:
            with contextlib.suppress(OSError):
                self._file.unlink()
            return False
        return True

    def _is_held(self) -> bool:
        """Whether the disk has set all of it aside: a copy may have left its zeros out."""
        try:
            return self._file.stat().st_blocks * 512 >= SIZE
        except FileNotFoundError:
            return False

    def free(self) -> int:
        """Bytes that are free for an account without privileges."""
        room = os.statvfs(self._file.parent)
        return room.f_bavail * room.f_frsize
