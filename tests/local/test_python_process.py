"""A process that is forked from a template behaves like a new interpreter.

The template has loaded all libraries.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local import python_process
from local.process import Process, StackFailure
from local.python_process import PythonProcess
from tests.parts.local_stack import ROOT, until
from tests.parts.processes import runs, stat

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks")
PRINT_ITS_SURROUNDINGS = """
import os, sys
print(__name__, sys.argv[1:], os.getcwd(), os.environ.get("COLOR"), os.environ.get("PATH"))
print(os.getsid(0) == os.getpid(), sys.stdin.read() == "", "grpc" in sys.modules)
print("trouble", file=sys.stderr)
"""
WAIT_FOR_SIGTERM = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("waits")
time.sleep(60)
"""

Run = Callable[[str], Process]


@pytest.fixture(params=[pytest.param(True, marks=LINUX), False], ids=["forked", "interpreter"])
def forks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(python_process, "_FORKS", request.param)
    return bool(request.param)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """A function that starts a module with this text."""
    started: list[Process] = []

    def start(text: str) -> Process:
        (tmp_path / "module_of_a_test.py").write_text(text)
        started.append(_process(tmp_path))
        started[-1].start()
        return started[-1]

    yield start
    for process in started:
        process.kill()


def _process(folder: Path) -> PythonProcess:
    environment = {"COLOR": "blue", "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)}
    return PythonProcess(
        "it", ["module_of_a_test", "one", "two"], folder / "log", environment, folder
    )


def test_a_module_runs_with_its_own_arguments_environment_folder_session_and_log(
    run: Run, forks: bool, tmp_path: Path
) -> None:
    process = run(PRINT_ITS_SURROUNDINGS)
    until(lambda: not process.alive)
    assert process.returncode == 0
    assert process.last_words().splitlines() == [
        f"__main__ ['one', 'two'] {tmp_path} blue None",
        f"True True {forks}",
        "trouble",
    ]


@pytest.mark.parametrize(
    ("end", "code", "words"),
    [
        ("raise SystemExit(3)", 3, ""),
        ("import sys; sys.exit('no luck')", 1, "no luck"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero"),
        ("import os; os.abort()", -signal.SIGABRT, ""),
    ],
)
def test_a_process_ends_with_the_exit_code_and_the_last_words_of_its_module(
    run: Run, forks: bool, end: str, code: int, words: str
) -> None:
    process = run(end)
    until(lambda: not process.alive)
    assert process.returncode == code
    assert words in process.last_words()


def test_a_module_that_fails_writes_only_what_its_own_hook_writes(run: Run, forks: bool) -> None:
    hook = "sys.excepthook = lambda kind, *_: print('DIED', kind.__name__)"
    process = run(f"import sys; {hook}; raise ValueError('Ximena')")
    until(lambda: not process.alive)
    assert (process.returncode, process.last_words()) == (1, "DIED ValueError")


def test_a_process_that_is_asked_to_stop_ends_by_itself_and_starts_again(
    run: Run, forks: bool
) -> None:
    process = run(WAIT_FOR_SIGTERM)
    for _ in range(2):
        process.start()
        until(lambda: "waits" in process.last_words())
        assert process.stop() == 7


def test_a_process_can_be_killed_at_any_moment_of_its_start(run: Run, forks: bool) -> None:
    for _ in range(20):
        process = run(WAIT_FOR_SIGTERM)
        process.kill()
        assert process.returncode == -signal.SIGKILL


@LINUX
def test_a_killed_template_ends_its_processes_and_the_next_process_has_a_new_one(
    run: Run,
) -> None:
    process = run(WAIT_FOR_SIGTERM)
    until(lambda: "waits" in process.last_words())
    os.kill(_parent_of(process), signal.SIGKILL)
    until(lambda: not process.alive)
    process.kill()
    until(_can_start(process))
    until(lambda: "waits" in process.last_words())
    assert process.stop() == 7


@LINUX
def test_a_start_from_a_template_that_hangs_fails_in_time_and_the_next_start_succeeds(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = run(WAIT_FOR_SIGTERM)
    until(lambda: "waits" in process.last_words())
    template = _parent_of(process)
    assert process.stop() == 7
    os.kill(template, signal.SIGSTOP)
    monkeypatch.setattr(python_process, "START_LIMIT", 0.1)
    with pytest.raises(StackFailure, match=r"did not respond for 0\.1 s, and was killed"):
        process.start()
    monkeypatch.undo()
    until(_can_start(process))
    until(lambda: "waits" in process.last_words())
    assert process.stop() == 7


@LINUX
def test_a_process_can_be_killed_while_its_template_hangs(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(python_process, "REPORT_LIMIT", 0.1)
    process = run(WAIT_FOR_SIGTERM)
    until(lambda: "waits" in process.last_words())
    os.kill(_parent_of(process), signal.SIGSTOP)
    process.kill()
    assert not process.alive


@LINUX
def test_the_processes_and_their_template_end_with_a_killed_parent(tmp_path: Path) -> None:
    (tmp_path / "module_of_a_test.py").write_text(WAIT_FOR_SIGTERM)
    script = (
        "import time; from pathlib import Path; from tests.local import test_python_process as t;"
        f"p = t._process(Path({str(tmp_path)!r})); p.start();"
        "print(p.pid, t._parent_of(p), flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    parent.kill()
    parent.wait()
    until(lambda: not any(runs(pid) for pid in pids))


def _parent_of(process: Process) -> int:
    """Returns the pid of the template that a process was forked from."""
    return int(stat(process.pid)[1])


def _can_start(process: Process) -> Callable[[], bool]:
    """Returns a function that starts the process, and returns False if the template has ended."""

    def started() -> bool:
        try:
            process.start()
        except (StackFailure, OSError):
            return False
        return True

    return started
