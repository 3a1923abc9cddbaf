"""The supervisor of child processes.

It restarts a process that dies, gives up a process that never becomes ready, and stops the highest
level first.
"""

from __future__ import annotations

import itertools
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest

from local import logs, stack
from local.process import Process, StackFailure
from local.stack import say
from local.supervisor import MAX_DEATHS, Part, Supervisor
from tests.parts.local_stack import until

SLEEP = "import time; time.sleep(60)"


@pytest.fixture
def lines() -> list[str]:
    """The supervisor's output."""
    return []


@pytest.fixture
def make_supervisor(lines: list[str]) -> Iterator[Callable[..., Supervisor]]:
    """A function that makes supervisors; at the end of the test they stop without a report."""
    created: list[Supervisor] = []

    def make(**options: Any) -> Supervisor:
        created.append(Supervisor(lines.append, **options))
        return created[-1]

    yield make
    before = list(lines)
    for supervisor in created:
        supervisor.stop(timeout=0.1)
    assert lines == before


def start(supervisor: Supervisor, part: Part) -> Process:
    """Returns the process of a part once the supervisor has started it and it is up."""
    supervisor.begin([part])
    supervisor.wait()
    assert part.process
    return part.process


@pytest.mark.parametrize(
    ("options", "deaths"),
    [
        pytest.param({}, 1, id="it dies once"),
        pytest.param({"calm": 0}, 3, id="it was up long enough each time"),
    ],
)
def test_a_part_that_dies_is_started_again_at_once_and_reported_in_one_line(
    make_supervisor: Callable[..., Supervisor],
    lines: list[str],
    tmp_path: Path,
    options: dict[str, float],
    deaths: int,
) -> None:
    supervisor, part = make_supervisor(**options), _part("worker", SLEEP, tmp_path)
    process: Process | None = start(supervisor, part)
    for _ in range(deaths):
        assert process
        process.kill()
        _until(supervisor, lambda: part.process is not process and part.up)  # noqa: B023
        process = part.process
    assert lines == ["worker was killed by signal 9 (Killed); starting it again"] * deaths


def test_a_part_that_keeps_dying_waits_longer_before_each_start(
    make_supervisor: Callable[..., Supervisor], lines: list[str], tmp_path: Path
) -> None:
    supervisor, code = make_supervisor(), "print('no luck'); raise SystemExit(3)"
    supervisor.begin([_part("broken", code, tmp_path, ready=lambda: False)])
    with pytest.raises(StackFailure, match="broken does not become ready"):
        supervisor.wait()
    assert len(lines) == MAX_DEATHS
    assert lines[-1] == "broken ended with 3; starting it again in 2 s\nno luck"


def test_a_part_that_stops_working_is_restarted_but_not_after_a_short_pause(
    make_supervisor: Callable[..., Supervisor], lines: list[str], tmp_path: Path
) -> None:
    supervisor = make_supervisor(examine_every=0.01, patience=0.5)
    part = _part("worker", SLEEP, tmp_path)
    idle = {"pid": 0, "until": 0.0}
    part.works = lambda: (
        part.process is None or part.process.pid != idle["pid"] or time.monotonic() > idle["until"]
    )
    first = start(supervisor, part)
    idle |= {"pid": first.pid or 0, "until": time.monotonic() + 0.2}
    _until(supervisor, lambda: time.monotonic() > idle["until"] + 0.4)
    assert part.process is first
    idle["until"] = time.monotonic() + 60
    _until(supervisor, lambda: part.process is not first and part.up)
    assert lines == [
        "worker hangs; killing it",
        "worker was killed by signal 9 (Killed); starting it again",
    ]


def test_a_part_that_hangs_while_it_starts_is_killed_and_started_again(
    make_supervisor: Callable[..., Supervisor], lines: list[str], tmp_path: Path
) -> None:
    supervisor = make_supervisor(examine_every=0.01, patience=0.1)
    pids = list[int | None]()

    def is_later_process() -> bool:
        assert part.process
        if part.process.pid not in pids:
            pids.append(part.process.pid)
        return len(pids) > 1

    part = _part("hung", SLEEP, tmp_path, ready=is_later_process)
    part.works, part.start_limit = is_later_process, 0.1
    supervisor.begin([part])
    _until(supervisor, lambda: part.up)
    assert lines == [
        "hung hangs; killing it",
        "hung was killed by signal 9 (Killed); starting it again",
    ]


def test_a_part_that_hangs_stops_the_restarts_of_others_for_three_seconds_at_most() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hung:  # accepts connections, and never answers
        address = f"127.0.0.1:{hung.getsockname()[1]}"
        begin = time.monotonic()
        assert stack._health(address, "") == [None]
        assert not stack._serves_http(address, "/readyz")
    assert time.monotonic() - begin < 8


def test_a_part_that_works_is_not_killed_while_it_starts(
    make_supervisor: Callable[..., Supervisor], lines: list[str], tmp_path: Path
) -> None:
    supervisor, checks = make_supervisor(examine_every=0.01, patience=0.1), itertools.count(1)
    part = _part("late", SLEEP, tmp_path, ready=lambda: next(checks) > 20)
    part.works, part.start_limit = lambda: next(checks) > 0, 0.0
    supervisor.begin([part])
    _until(supervisor, lambda: part.up)
    assert lines == []


def test_the_start_waits_for_a_part_that_is_late_and_names_it(
    make_supervisor: Callable[..., Supervisor], lines: list[str], tmp_path: Path
) -> None:
    """Checks that the wait has no limit, because a part that runs may be on a slow machine."""
    supervisor = make_supervisor(remind_every=0.01)
    part = _part("late", SLEEP, tmp_path, ready=lambda: len(lines) >= 3)
    supervisor.begin([part])
    supervisor.wait()
    assert part.ever_up
    assert set(lines) == {f"still starting: late (its log: {tmp_path / 'late.log'})"}


def test_a_part_that_cannot_be_started_is_given_up_and_the_reason_reported_once(
    make_supervisor: Callable[..., Supervisor], lines: list[str]
) -> None:
    def begin() -> Process:
        raise StackFailure("no Java runtime")

    supervisor = make_supervisor()
    supervisor.begin([Part("broker", 0, begin, lambda: True)])
    with pytest.raises(StackFailure, match="broker does not become ready: no Java runtime"):
        supervisor.wait()
    assert lines == ["broker could not be started: no Java runtime"]


def test_one_failed_check_after_a_long_gap_between_checks_kills_no_part(
    make_supervisor: Callable[..., Supervisor], lines: list[str], tmp_path: Path
) -> None:
    supervisor, works = make_supervisor(examine_every=0.01, patience=0.1), iter([True, False])
    part = _part("worker", SLEEP, tmp_path)
    part.works = lambda: next(works, True)
    first = start(supervisor, part)
    for _ in range(5):
        time.sleep(0.2)  # this process did not run meanwhile
        supervisor.tick()
    assert (part.process, lines) == (first, [])


def test_the_last_words_of_a_child_contain_no_lines_of_an_earlier_start(tmp_path: Path) -> None:
    process = Process("child", ["bash", "-c", "echo hello"], tmp_path / "log")
    for _ in range(2):
        process.start()
        until(lambda: not process.alive, 10)
        assert process.last_words() == "hello"
    logs.trim(process.log, max_bytes=1)
    assert process.last_words() == ""


def test_a_line_that_is_being_written_is_copied_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, parts, copy = tmp_path / "part.log", iter([b"line\n"]), shutil.copyfileobj
    log.write_bytes(b"a line\nhalf a ")

    def copy_while_written(source: Any, copied: Any, size: int) -> None:
        copy(source, copied, size)
        with log.open("ab") as writer:
            writer.write(next(parts, b""))

    monkeypatch.setattr(shutil, "copyfileobj", copy_while_written)
    logs.trim(log, max_bytes=1)
    assert log.with_name("part.log.1").read_bytes() == b"a line\nhalf a line\n"
    assert log.read_bytes() == b""


def test_a_log_without_a_line_break_at_its_end_is_trimmed(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    log.write_bytes(b"a line\nhalf")
    logs.trim(log, max_bytes=1)
    assert log.with_name("part.log.1").read_bytes() == b"a line\nhalf"
    assert log.read_bytes() == b""


def test_a_log_stays_small_while_its_writer_keeps_writing(tmp_path: Path) -> None:
    writer = (
        "import os, time\nfor number in range(50_000):\n    os.write(1, b'%08d\\n' %"
        " number)\ntime.sleep(0.2); os.write(1, b'the end')"
    )
    process = Process("writer", [sys.executable, "-c", writer], tmp_path / "writer.log")
    process.start()
    while process.alive:
        logs.trim(process.log, max_bytes=50_000, older_copies=2)
        time.sleep(0.001)
    logs.trim(process.log, max_bytes=1, older_copies=2)
    files = sorted(tmp_path.iterdir(), reverse=True)
    assert [file.name for file in files] == ["writer.log.2", "writer.log.1", "writer.log"]
    *numbers, end = "".join(file.read_text() for file in files).split("\n")
    assert end == "the end"
    assert len(numbers) > 5_000  # the lines of three files
    assert numbers == sorted(set(numbers))
    assert process.log.stat().st_size == 0
    assert all(file.stat().st_size < 500_000 for file in files)


def test_a_log_that_cannot_be_copied_is_left_unchanged(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_text("lines\n" * 100)
    (tmp_path / "worker.log.1" / "in the way").mkdir(parents=True)
    logs.trim(log, max_bytes=100, older_copies=1)
    assert log.read_text() == "lines\n" * 100


def test_a_higher_level_ends_before_the_lower_level_is_asked_to_stop(tmp_path: Path) -> None:
    supervisor, order = Supervisor(lambda line: None), tmp_path / "order"
    script = (
        "import signal, sys, time\n"
        "def bye(*_):\n    time.sleep({pause}); open({order!r}, 'a').write('{name} '); sys.exit()\n"
        "signal.signal(signal.SIGTERM, bye); print('listening', flush=True); time.sleep(60)"
    )
    for level, name, pause in ((0, "ground", 0), (1, "roof", 0.3)):
        log = tmp_path / f"{name}.log"
        code = script.format(pause=pause, order=str(order), name=name)
        supervisor.begin(
            [
                _part(
                    name,
                    code,
                    tmp_path,
                    level=level,
                    ready=lambda log=log: "listening" in log.read_text(),  # type: ignore[misc]
                )
            ]
        )
    supervisor.wait()
    supervisor.stop()
    assert order.read_text() == "roof ground "


def _part(
    name: str, code: str, folder: Path, ready: Callable[[], bool] = lambda: True, level: int = 0
) -> Part:
    def begin() -> Process:
        process = Process(name, [sys.executable, "-c", code], folder / f"{name}.log")
        process.start()
        return process

    return Part(name, level, begin, ready)


def _until(supervisor: Supervisor, condition: Callable[[], bool], timeout: float = 10) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end
        supervisor.tick()
        time.sleep(0.01)


def test_a_line_is_printed_even_if_the_terminal_lacks_some_of_its_letters() -> None:
    terminal = TextIOWrapper(BytesIO(), encoding="ascii", write_through=True)
    say("Asociación Puentes", terminal)
    assert terminal.buffer.getvalue() == b"Asociaci?n Puentes\n"
