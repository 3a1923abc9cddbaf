"""A child process that runs a Python module, forked from a process that has loaded the libraries.

Four services, the migrations and the demo load the same libraries; so these are loaded once, and
the processes share their memory.

Limitation: processes are forked only on Linux. Elsewhere a new interpreter runs the module, because
system libraries may not work after a fork (macOS, for example).
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from pathlib import Path

from local.process import Child, Process, StackFailure, tie_to_parent

# The modules that import the libraries that several processes use. The last one turns the process
# into the template: the process from which others are forked.
SHARED = (
    "runtime.commands",
    "runtime.service",
    "chassis.addresses",
    "chassis.egress",
    "chassis.public_holidays",
    "local.template",
)
# Seconds after which the template is killed if it starts no process, or does not report the end of
# a killed process; long enough for a machine with a load of 40.
START_LIMIT = 120.0
REPORT_LIMIT = 30.0
_FORKS = sys.platform == "linux"
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(list(SHARED))


class PythonProcess(Process):
    """A child process that runs `python -m` with `command`, a module and its arguments."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
        directory: Path,
    ) -> None:
        super().__init__(name, [sys.executable, "-m", *command], log, environment, directory)
        self._run = (list(command), log, dict(environment), directory)

    def _spawn(self, output: int) -> Child:
        return _ForkedChild(*self._run) if _FORKS else super()._spawn(output)


class _ForkedChild:
    """A forked child, with the methods of subprocess.Popen that Process uses."""

    def __init__(
        self, command: list[str], log: Path, environment: dict[str, str], directory: Path
    ) -> None:
        # A daemon, so that a parent that ends unexpectedly ends its children instead of waiting.
        self._process = _CONTEXT.Process(
            target=_run, args=(command, log, environment, directory), daemon=True
        )
        timer = threading.Timer(START_LIMIT, _kill_template)
        timer.start()
        try:
            self._process.start()
        except EOFError as error:  # the template was killed at this moment
            raise StackFailure(
                "the process to fork from has ended"
                if timer.is_alive()
                else f"the process to fork from did not respond for {START_LIMIT:g} s, and was"
                " killed"
            ) from error
        finally:
            timer.cancel()
        assert self._process.pid
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the end of the process. Call without a timeout only after killing the process:
        it waits until the template reports the end, and kills a template that does not.
        """
        self._process.join(REPORT_LIMIT if timeout is None else timeout)
        if self._process.exitcode is None and timeout is None:
            _kill_template()
            self._process.join()
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def _kill_template() -> None:
    """Kills a template that hangs (it was stopped, for example). The processes that were forked
    from it end, and the next process is forked from a new template.
    """
    if pid := forkserver._forkserver._forkserver_pid:  # type: ignore[attr-defined]
        os.kill(pid, signal.SIGKILL)


def _run(command: list[str], log: Path, environment: dict[str, str], directory: Path) -> None:
    """Runs the module in the child. Its log, environment, folder, session and arguments are those
    that a new interpreter would have.
    """
    from local import template  # loaded before the fork

    os.setsid()
    tie_to_parent(signal.SIGTERM, template.PID)
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    sys.path.insert(0, str(directory))
    sys.argv = command
    try:
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)
    except Exception:
        # multiprocessing would print the message of the exception, which may contain personal data
        sys.excepthook(*sys.exc_info())
        sys.exit(1)
