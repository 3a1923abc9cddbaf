"""Keeps child processes running: starts them, waits until they are ready, restarts those that die
or hang, and stops them in reverse order.

There is one thread and one loop, because a child's life is tied to the thread that started it
(local.process).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from local import logs
from local.process import Process, StackFailure, how_it_ended

# seconds before the restart after the first, second, … death; the last value repeats
BACK_OFF = (0.0, 0.5, 1.0, 2.0, 5.0)
CALM = 30.0  # seconds that a part must be up before its earlier deaths no longer count
# seconds between two readiness checks, each of which is a call and a line in the part's log
READY_CHECK_PAUSE = 0.1
EXAMINE = 5.0  # seconds between two checks of a running part
# seconds of failed checks in a row after which a part is killed; longer than heavy writes can stall
# a machine
PATIENCE = 30.0
REMIND = 15.0  # seconds between two lines that name the parts that are not ready
TRIM = 5.0  # seconds between two checks of the logs' sizes
MAX_DEATHS = 4  # the start fails once a part that was never ready has died this often


@dataclass
class Part:
    """A supervised child: `begin` starts it and returns at once, `ready` returns True once it is
    ready.

    Parts of a higher level are stopped earlier. `works` checks a running part; a part that fails
    the check for too long is killed and restarted. A part that is not ready is checked, too, once
    its start has taken `start_limit` seconds; None means never, since the recovery of some parts
    may take hours.
    """

    name: str
    level: int
    begin: Callable[[], Process]
    ready: Callable[[], bool]
    works: Callable[[], bool] = lambda: True
    start_limit: float | None = None
    process: Process | None = field(default=None, init=False)
    up: bool = field(default=False, init=False)
    ever_up: bool = field(default=False, init=False)
    deaths: int = field(default=0, init=False)
    up_since: float = field(default=0.0, init=False)
    begun_at: float = field(default=0.0, init=False)
    restart_at: float | None = field(default=None, init=False)
    check_at: float = field(default=0.0, init=False)
    failures: int = field(default=0, init=False)  # failed checks in a row
    problem: str = field(default="", init=False)  # the reason why the part could not be started


class Supervisor:
    """Supervises parts. `say` receives a line for each death, failed start and slow start;
    `on_change` is called after each attempt to start a part, and when a part becomes ready.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        on_change: Callable[[], None] = lambda: None,
        calm: float = CALM,
        examine_every: float = EXAMINE,
        patience: float = PATIENCE,
        remind_every: float = REMIND,
    ) -> None:
        self.parts: list[Part] = []
        self._say = say
        self._on_change = on_change
        self._calm = calm
        self._examine_every = examine_every
        self._patience = patience
        self._remind_every = remind_every
        self._trim_at = 0.0

    def begin(self, parts: Sequence[Part]) -> None:
        """Starts these parts side by side, and keeps them running from now on."""
        self.parts += parts
        for part in parts:
            self._begin(part)

    def wait(
        self, parts: Sequence[Part] | None = None, meanwhile: Callable[[], object] = lambda: None
    ) -> None:
        """Returns when these parts are ready (all parts, if None); calls `meanwhile` often until
        then.

        Waits without a limit for a part that keeps running, and names the part from time to time.

        Raises StackFailure if a part has died MAX_DEATHS times and was never ready.
        """
        reminded_at = time.monotonic()
        while unready := [part for part in (self.parts if parts is None else parts) if not part.up]:
            self.tick()
            meanwhile()
            for part in unready:
                if part.deaths >= MAX_DEATHS and not part.ever_up:
                    raise StackFailure(f"{part.name} does not become ready{_why(part)}")
            if time.monotonic() - reminded_at > self._remind_every:
                reminded_at = time.monotonic()
                self._say(
                    "still starting: "
                    + ", ".join(f"{part.name}{_its_log(part)}" for part in unready)
                )
            time.sleep(0.02)

    def tick(self) -> None:
        """Checks each part whose check is due, and restarts parts that died. Call it often."""
        self._trim_logs()
        for part in self.parts:
            process = part.process
            if process is not None and process.alive:
                if time.monotonic() < part.check_at:
                    continue
                part.check_at = time.monotonic() + READY_CHECK_PAUSE
                if part.up:
                    self._examine(part, process)
                elif part.ready():
                    part.up = part.ever_up = True
                    part.up_since, part.failures = time.monotonic(), 0
                    self._on_change()
                elif part.start_limit is not None and (
                    time.monotonic() - part.begun_at > part.start_limit
                ):
                    self._examine(part, process)
            elif part.restart_at is None:
                self._handle_death(part)
            elif time.monotonic() >= part.restart_at:
                self._begin(part)

    def stop(self, timeout: float = 10) -> None:
        """Stops all parts, level by level, the highest first. The parts of a level have `timeout`
        seconds to end, then they are killed.
        """
        for level in sorted({part.level for part in self.parts}, reverse=True):
            processes = [
                part.process for part in self.parts if part.level == level and part.process
            ]
            for process in processes:
                process.ask_to_stop()
            end = time.monotonic() + timeout
            for process in processes:
                process.stop(max(0.0, end - time.monotonic()))
        self.parts = []

    def _begin(self, part: Part) -> None:
        part.restart_at, part.failures, part.begun_at = None, 0, time.monotonic()
        try:
            part.process = part.begin()
        except (StackFailure, OSError) as failure:
            if part.problem != str(failure):
                part.problem = str(failure)
                self._say(f"{part.name} could not be started: {failure}")
            part.process = None
        self._on_change()

    def _trim_logs(self) -> None:
        if time.monotonic() < self._trim_at:
            return
        self._trim_at = time.monotonic() + TRIM
        for part in self.parts:
            if part.process:
                logs.trim(part.process.log)

    def _examine(self, part: Part, process: Process) -> None:
        part.check_at = time.monotonic() + self._examine_every
        # counts checks instead of time, since a stalled machine makes few checks
        part.failures = 0 if part.works() else part.failures + 1
        if part.failures * self._examine_every > self._patience:
            self._say(f"{part.name} hangs; killing it")
            process.kill()

    def _handle_death(self, part: Part) -> None:
        if part.up and time.monotonic() - part.up_since > self._calm:
            part.deaths = 0
        pause = BACK_OFF[min(part.deaths, len(BACK_OFF) - 1)]
        part.deaths += 1
        part.up = False
        part.restart_at = time.monotonic() + pause
        if part.process:
            code = part.process.returncode or 0
            cause = part.process.last_words(1) if code > 0 else ""
            self._say(
                f"{part.name} {how_it_ended(code)}; starting it again"
                + (f" in {pause:g} s" if pause else "")
                + (f"\n{cause}" if cause else "")
            )
            part.process.kill()  # remaining processes of its group


def _its_log(part: Part) -> str:
    return f" (its log: {part.process.log})" if part.process else ""


def _why(part: Part) -> str:
    return f"{_its_log(part)}\n{part.process.last_words()}" if part.process else f": {part.problem}"
