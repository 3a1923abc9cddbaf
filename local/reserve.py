"""A reserve of disk space: a file that is deleted when the disk is full, and created again once
there is room.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

SIZE = 64 << 20  # bytes of the reserve
LOW = 32 << 20  # free bytes below which the disk counts as full


class Reserve:
    """Keeps the file while the disk has room. `update` must be called often."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def update(self) -> bool:
        """Deletes the file, or creates it again; returns True if the disk is full. The disk counts
        as full once less than 32 MB are free, until 128 MB are free again, of which the file then
        takes 64 MB.
        """
        free = self.free()
        if self._is_allocated():
            if free >= LOW:
                return False
            self._file.unlink()
            return True
        return free < SIZE + 2 * LOW or not self.make()

    def make(self) -> bool:
        """Creates the file, or completes a sparse copy; returns False if there is no room."""
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

    def _is_allocated(self) -> bool:
        """Returns True if the disk has allocated the whole file. A copy may be sparse."""
        try:
            return self._file.stat().st_blocks * 512 >= SIZE
        except FileNotFoundError:
            return False

    def free(self) -> int:
        """Returns the bytes that are free for an account without privileges."""
        disk = os.statvfs(self._file.parent)
        return disk.f_bavail * disk.f_frsize
