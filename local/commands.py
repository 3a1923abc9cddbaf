"""Commands that run to their end, side by side, while the parts of a stack run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType

from local.process import Process, StackFailure, how_it_ended

PROGRESS = 2.0  # seconds between two progress lines of a command


class Commands:
    """Child processes that are started together; the last line of a command's log is its progress.

    `say` receives the progress lines. As a context manager, starts the commands, and stops those
    that still run at the end of the block.
    """

    def __init__(self, processes: Sequence[Process], say: Callable[[str], None]) -> None:
        self._processes = processes
        self._say = say
        self._last_lines = dict.fromkeys(self._processes, "")
        self._report_at = 0.0

    def __enter__(self) -> Commands:
        try:
            for process in self._processes:
                process.start()
        except BaseException:
            self._stop()
            raise
        self._report_at = time.monotonic() + PROGRESS
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def report(self) -> None:
        """Reports the last log line of each command, every PROGRESS seconds, if that line has
        changed. Call it often.
        """
        if time.monotonic() < self._report_at:
            return
        self._report_at = time.monotonic() + PROGRESS
        for process in self._processes:
            if (line := process.last_words(1)) != self._last_lines[process]:
                self._last_lines[process] = line
                self._say(f"{process.name}: {line}")

    def wait(self, meanwhile: Callable[[], object]) -> None:
        """Returns when all commands have ended; calls `meanwhile` often until then.

        Raises StackFailure with the last log lines of a command that failed.
        """
        while any(process.alive for process in self._processes):
            meanwhile()
            time.sleep(0.01)
            self.report()
        for process in self._processes:
            if process.returncode:
                raise StackFailure(
                    f"{process.name} {how_it_ended(process.returncode)} (its log:"
                    f" {process.log})\n{process.last_words()}"
                )

    def _stop(self) -> None:
        for process in self._processes:
            process.stop(timeout=5)
