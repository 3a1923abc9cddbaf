"""Keeps a set of child processes running: starts them, waits until they are ready, starts again
what died or does nothing, stops them in reverse order.

One thread, one loop: a child's life is tied to the thread that started it (local.process), so there
is only that one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from local import logs
from local.process import Failed, Process

# seconds before the first, second, … start after a death; the last for all that follow
BACK_OFF = (0.0, 0.5, 1.0, 2.0, 5.0)
CALM = 30.0  # seconds after which a running part has outlived its earlier deaths
# seconds between two looks at whether a part is ready: each look is a call, and a line in the
# part's log
LOOK = 0.1
EXAMINE = 5.0  # seconds between two examinations of whether a part that runs does anything
# seconds' worth of examinations that failed one after the other, after which a part is killed;
# longer than a machine stalls that writes a lot
PATIENCE = 30.0
REMIND = 15.0  # seconds after which it is said, again and again, which parts are waited for
TRIM = 5.0  # seconds between two looks at how large the logs are
LIMIT = 4  # deaths before it was ever ready, then the start is given up


@dataclass
class Part:
    """One child: how it is begun (returning at once), and how one sees that it is ready.

    Those of a higher level are stopped earlier.

    `works` says of one that runs whether it does what it is for; one that does not for long is
    killed and started again.
    """

    name: str
    level: int
    begin: Callable[[], Process]
    ready: Callable[[], bool]
    works: Callable[[], bool] = lambda: True
    process: Process | None = field(default=None, init=False)
    up: bool = field(default=False, init=False)
    ever_up: bool = field(default=False, init=False)
    deaths: int = field(default=0, init=False)
    since: float = field(default=0.0, init=False)
    again_at: float | None = field(default=None, init=False)
    look_at: float = field(default=0.0, init=False)
    failures: int = field(default=0, init=False)  # examinations, since the last that did not fail
    trouble: str = field(default="", init=False)  # why it could not be started


class Supervisor:
    """`say` is told each death in one line; `changed` is called whenever a part was begun or became
    ready.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        changed: Callable[[], None] = lambda: None,
        calm: float = CALM,
        examine: float = EXAMINE,
        patience: float = PATIENCE,
        remind: float = REMIND,
    ) -> None:
        self.parts: list[Part] = []
        self._say = say
        self._changed = changed
        self._calm = calm
        self._examine_every = examine
        self._patience = patience
        self._remind = remind
        self._trim_at = 0.0

    def begin(self, parts: Sequence[Part]) -> None:
        """Begin these side by side, and keep them running from now on."""
        self.parts += parts
        for part in parts:
            self._begin(part)

    def wait(self) -> None:
        """Returns when all that were begun are ready.

        However long a slow machine takes, a part that runs is waited for, and named.

        Raises Failed when a part ends again and again before it ever was ready.
        """
        said_at = time.monotonic()
        while late := [part for part in self.parts if not part.up]:
            self.tick()
            for part in late:
                if part.deaths >= LIMIT and not part.ever_up:
                    raise Failed(f"{part.name} does not become ready{_why(part)}")
            if time.monotonic() - said_at > self._remind:
                said_at = time.monotonic()
                self._say(
                    "still starting: " + ", ".join(f"{part.name}{_log(part)}" for part in late)
                )
            time.sleep(0.02)

    def tick(self) -> None:
        """Look at each part once: call it often."""
        self._trim_logs()
        for part in self.parts:
            process = part.process
            if process is not None and process.alive:
                if time.monotonic() < part.look_at:
                    continue
                part.look_at = time.monotonic() + LOOK
                if part.up:
                    self._examine(part, process)
                elif part.ready():
                    part.up = part.ever_up = True
                    part.since, part.failures = time.monotonic(), 0
                    self._changed()
            elif part.again_at is None:
                self._died(part)
            elif time.monotonic() >= part.again_at:
                self._begin(part)

    def stop(self, timeout: float = 10) -> None:
        """All of them, level by level; each has the time to end by itself, then it is killed."""
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
        part.again_at = None
        try:
            part.process = part.begin()
        except (Failed, OSError) as failure:
            if part.trouble != str(failure):
                part.trouble = str(failure)
                self._say(f"{part.name} could not be started: {failure}")
            part.process = None
        self._changed()

    def _trim_logs(self) -> None:
        if time.monotonic() < self._trim_at:
            return
        self._trim_at = time.monotonic() + TRIM
        for part in self.parts:
            if part.process:
                logs.trim(part.process.log)

    def _examine(self, part: Part, process: Process) -> None:
        part.look_at = time.monotonic() + self._examine_every
        # counted, since a machine that stalls looks seldom
        part.failures = 0 if part.works() else part.failures + 1
        if part.failures * self._examine_every > self._patience:
            self._say(f"{part.name} runs and does nothing; killing it")
            process.kill()

    def _died(self, part: Part) -> None:
        if part.up and time.monotonic() - part.since > self._calm:
            part.deaths = 0
        pause = BACK_OFF[min(part.deaths, len(BACK_OFF) - 1)]
        part.deaths += 1
        part.up = False
        part.again_at = time.monotonic() + pause
        if part.process:
            code = part.process.returncode
            how = (
                f"was killed by signal {-code}"
                if code is not None and code < 0
                else f"ended with {code}"
            )
            self._say(
                f"{part.name} {how}; starting it again" + (f" in {pause:g} s" if pause else "")
            )
            part.process.kill()  # what it may have left in its group


def _log(part: Part) -> str:
    return f" (its log: {part.process.log})" if part.process else ""


def _why(part: Part) -> str:
    return f"{_log(part)}\n{part.process.last_words()}" if part.process else f": {part.trouble}"
