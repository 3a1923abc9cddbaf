"""A child process: started, waited for until it is ready, stopped, killed, its words in a log file
of its own.

Its limit: it does not restart anything; who owns the child decides that. Linux only ties the
child's life to ours (elsewhere a `kill -9` of the parent leaves the child running); everything else
works on any Unix.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from local import logs

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class Failed(Exception):
    """A child that did not become ready: what it was, what became of it, and the last lines that it
    said.
    """


@dataclass(frozen=True)
class Account:
    """The system account that a child runs as; only root can choose another than its own."""

    uid: int
    gid: int


class Process:
    """One child.

    Its group is its own, so Ctrl-C in a terminal reaches the parent alone, which stops its children
    in its own order.

    `farewell` is the signal that asks it to stop, and that the kernel sends it when the *thread*
    that started it ends: so start children only from a thread that lives as long as they shall.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        account: Account | None = None,
        farewell: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._environment = environment
        self._directory = directory
        self._account = account
        self._farewell = farewell
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def returncode(self) -> int | None:
        return self._child.poll() if self._child else None

    def start(self) -> None:
        if self.alive:
            return
        self.log.parent.mkdir(parents=True, exist_ok=True)
        logs.trim(self.log)
        output = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        who = self._account
        try:
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
                cwd=self._directory,
                start_new_session=True,
                preexec_fn=_tied_to_parent(self._farewell),
                user=who.uid if who else None,
                group=who.gid if who else None,
                extra_groups=[] if who else None,
            )
        finally:
            os.close(output)

    def wait_until(self, ready: Callable[[], bool], timeout: float, every: float = 0.02) -> None:
        """Return when it is ready.

        Raises Failed when it ends before, or when the time is over (it is left running then).
        """
        end = time.monotonic() + timeout
        while True:
            if not self.alive:
                raise Failed(
                    f"{self.name} ended with {self.returncode} before it was"
                    f" ready\n{self.last_words()}"
                )
            if ready():
                return
            if time.monotonic() > end:
                raise Failed(f"{self.name} was not ready within {timeout:g} s\n{self.last_words()}")
            time.sleep(every)

    def ask_to_stop(self) -> None:
        """Send the farewell and return at once."""
        if self.alive and self._child:
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(self._farewell)

    def stop(self, timeout: float = 10) -> int | None:
        """Ask it to stop; kill it with all of its group when it has not within the time.

        Its exit code.
        """
        self.ask_to_stop()
        if self._child:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout)
        self.kill()
        return self.returncode

    def kill(self) -> None:
        """kill -9 of the child and of every process still in its group."""
        if self._child:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()

    def last_words(self, lines: int = 12) -> str:
        try:
            text = self.log.read_text(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])


# A stack asks for its nine ports before any part listens: of fifty stacks, one in seven runs would
# give one port to two parts.
_given: set[int] = set()


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on now, and that this process was not given before.

    Another process may take it before we do: rare, and then the start fails loudly.

    It lies below the range from which systems take the ports of outgoing connections: a client that
    tries again and again to reach a dead server on a port of that range will sooner or later be
    given that very port, and so connect to itself and keep the server out.
    """
    for _ in range(200):
        port = 20_000 + secrets.randbelow(12_000)
        if claim_port(host, port):
            return port
    raise Failed(f"no free port on {host}")


def claim_port(host: str, port: int) -> bool:
    """Whether a server could listen there now and nobody in this process was given it before; from
    now on it is given.
    """
    if port in _given or not is_free(host, port):
        return False
    _given.add(port)
    return True


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def accepts(host: str, port: int) -> bool:
    """Whether somebody takes TCP connections there now."""
    try:
        with socket.create_connection((host, port), timeout=0.5):
            return True
    except OSError:
        return False


def _tied_to_parent(farewell: signal.Signals) -> Callable[[], None] | None:
    """Runs in the child between fork and exec, after the account was changed (a change of account
    undoes the tie).
    """
    libc = _LIBC
    if libc is None:
        return None
    parent = os.getpid()

    def tie() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, farewell.value, 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the tie was made
            os._exit(1)

    return tie
