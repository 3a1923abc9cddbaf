"""The supervisor of child processes: what dies comes back, what never comes up is given up, the last level is stopped first."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chassis.embedded.process import Failed, Process
from chassis.embedded.supervisor import LIMIT, Part, Supervisor

SLEEP = "import time; time.sleep(60)"


class Lines(list[str]):
    """What the supervisor said."""


@pytest.fixture
def said() -> Lines:
    return Lines()


@pytest.fixture
def supervisor(said: Lines) -> Iterator[Supervisor]:
    made = Supervisor(said.append)
    yield made
    made.stop(timeout=0.1)


def test_what_dies_is_started_again_and_said_in_one_line(supervisor: Supervisor, said: Lines, tmp_path: Path) -> None:
    part = _part("worker", SLEEP, tmp_path)
    supervisor.begin([part])
    supervisor.wait()
    assert part.process
    first = part.process
    first.kill()
    _until(supervisor, lambda: part.process is not first and part.up)
    assert said == ["worker was killed by signal 9; starting it again"]


def test_what_dies_again_and_again_waits_longer_each_time(supervisor: Supervisor, said: Lines, tmp_path: Path) -> None:
    supervisor.begin([_part("broken", "raise SystemExit(3)", tmp_path, ready=lambda: False)])
    with pytest.raises(Failed, match="broken does not become ready"):
        supervisor.wait()
    assert len(said) == LIMIT
    assert said[-1] == "broken ended with 3; starting it again in 2 s"


def test_a_part_that_was_up_long_enough_is_started_again_at_once(said: Lines, tmp_path: Path) -> None:
    supervisor = Supervisor(said.append, calm=0)
    part = _part("worker", SLEEP, tmp_path)
    supervisor.begin([part])
    supervisor.wait()
    for _ in range(3):
        assert part.process
        killed = part.process
        killed.kill()
        _until(supervisor, lambda: part.process is not killed and part.up)  # noqa: B023
    supervisor.stop(timeout=0.1)
    assert said == ["worker was killed by signal 9; starting it again"] * 3


def test_a_part_that_runs_and_does_nothing_is_killed_and_started_again_but_not_for_a_moment(said: Lines, tmp_path: Path) -> None:
    supervisor = Supervisor(said.append, examine=0.01, patience=0.5)
    part = _part("worker", SLEEP, tmp_path)
    idle = {"pid": 0, "until": 0.0}
    part.works = lambda: part.process is None or part.process.pid != idle["pid"] or time.monotonic() > idle["until"]
    supervisor.begin([part])
    supervisor.wait()
    assert part.process
    first = part.process
    idle |= {"pid": first.pid or 0, "until": time.monotonic() + 0.2}
    _until(supervisor, lambda: time.monotonic() > idle["until"] + 0.4)
    assert part.process is first
    idle["until"] = time.monotonic() + 60
    _until(supervisor, lambda: part.process is not first and part.up)
    supervisor.stop(timeout=0.1)
    assert said == ["worker runs and does nothing; killing it", "worker was killed by signal 9; starting it again"]


def test_a_part_that_is_late_is_named_when_the_time_is_over(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.begin([_part("late", SLEEP, tmp_path, ready=lambda: False)])
    with pytest.raises(Failed, match="late"):
        supervisor.wait(timeout=0.2)


def test_the_higher_level_has_ended_before_the_lower_is_asked_to(tmp_path: Path) -> None:
    supervisor, order = Supervisor(lambda line: None), tmp_path / "order"
    script = (
        "import signal, sys, time\n"
        "def bye(*_):\n    time.sleep({pause}); open({order!r}, 'a').write('{name} '); sys.exit()\n"
        "signal.signal(signal.SIGTERM, bye); print('listening', flush=True); time.sleep(60)"
    )
    for level, name, pause in ((0, "ground", 0), (1, "roof", 0.3)):
        log = tmp_path / f"{name}.log"
        code = script.format(pause=pause, order=str(order), name=name)
        supervisor.begin([_part(name, code, tmp_path, level=level, ready=lambda log=log: "listening" in log.read_text())])  # type: ignore[misc]
    supervisor.wait()
    supervisor.stop()
    assert order.read_text() == "roof ground "


def _part(name: str, code: str, folder: Path, ready: Callable[[], bool] = lambda: True, level: int = 0) -> Part:
    def begin() -> Process:
        process = Process(name, [sys.executable, "-c", code], folder / f"{name}.log")
        process.start()
        return process

    return Part(name, level, begin, ready)


def _until(supervisor: Supervisor, reached: Callable[[], bool], timeout: float = 10) -> None:
    end = time.monotonic() + timeout
    while not reached():
        assert time.monotonic() < end
        supervisor.tick()
        time.sleep(0.01)
