"""A child process with a log file of its own, which its owner starts, waits for, stops or kills.

Limitations: this module restarts no child; the owner of a child decides that. Only on Linux does a
child end with its parent (elsewhere a `kill -9` of the parent leaves the child running); everything
else works on any Unix.
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
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from local import logs

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class StackFailure(Exception):
    """Raised when the stack, or a part of it, can't be prepared or started. For a child that did
    not become ready, the message names the child, says whether it ended, and quotes the last lines
    of its log.
    """


@dataclass(frozen=True)
class Account:
    """The system account of a child; only root can choose an account other than its own."""

    uid: int
    gid: int


class Child(Protocol):
    """The part of subprocess.Popen that a Process uses."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, number: int, /) -> None: ...


class Process:
    """A child process in a process group of its own.

    Therefore Ctrl-C in a terminal reaches only the parent, which stops its children in the right
    order. `stop_signal` asks the child to stop. On Linux, the kernel also sends this signal when
    the *thread* that started the child ends, so start a child only from a thread that lives as long
    as the child should.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        account: Account | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._environment = environment
        self._directory = directory
        self._account = account
        self._stop_signal = stop_signal
        self._child: Child | None = None
        self._log_start = 0  # the length of the log at the last start

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
        self._log_start = os.lseek(output, 0, os.SEEK_END)
        try:
            self._child = self._spawn(output)
        finally:
            os.close(output)

    def _spawn(self, output: int) -> Child:
        account = self._account
        return subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=self._environment,
            cwd=self._directory,
            start_new_session=True,
            # runs after the change of account, which would untie the child from its parent
            preexec_fn=partial(tie_to_parent, self._stop_signal, os.getpid()) if _LIBC else None,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )

    def wait_until(self, ready: Callable[[], bool], timeout: float, every: float = 0.02) -> None:
        """Returns when the child is ready.

        Raises StackFailure if the child ends before it is ready, or if it is not ready in time (it
        then keeps running).
        """
        end = time.monotonic() + timeout
        while True:
            if not self.alive:
                raise StackFailure(
                    f"{self.name} {how_it_ended(self.returncode or 0)} before it was"
                    f" ready\n{self.last_words()}"
                )
            if ready():
                return
            if time.monotonic() > end:
                raise StackFailure(
                    f"{self.name} was not ready within {timeout:g} s\n{self.last_words()}"
                )
            time.sleep(every)

    def ask_to_stop(self) -> None:
        """Sends the stop signal and returns at once."""
        if self.alive and self._child:
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(self._stop_signal)

    def stop(self, timeout: float = 10) -> int | None:
        """Asks the child to stop, waits for its end at most `timeout` seconds, and kills what is
        left of its group. Returns the child's exit code; None if it was never started.
        """
        self.ask_to_stop()
        if self._child:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout)
        self.kill()
        return self.returncode

    def kill(self) -> None:
        """Kills the child and each process in its group with SIGKILL, and waits for the child's
        end.
        """
        if self._child:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, signal.SIGKILL)
            # A child that was just forked has no group yet.
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(signal.SIGKILL)
            self._child.wait()

    def last_words(self, line_count: int = 12) -> str:
        """Returns the last lines that the child has written since its start."""
        try:
            log = self.log.read_bytes()
        except OSError:
            return ""
        if self._log_start <= len(log):  # otherwise the log was emptied meanwhile
            log = log[self._log_start :]
        return "\n".join(log.decode(errors="replace").splitlines()[-line_count:])


def how_it_ended(code: int) -> str:
    """Returns a phrase that tells how a process with this return code ended."""
    if code >= 0:
        return f"ended with {code}"
    return f"was killed by signal {-code} ({signal.strsignal(-code)})"


# A stack reserves its ports before any part listens. Without this set, one in seven runs of fifty
# stacks would give the same port to two parts.
_claimed_ports: set[int] = set()
# Sockets that are bound to the ports returned last, and never listen: on Linux a server may then
# listen on such a port (SO_REUSEADDR), but `free_port` does not return it in another process.
_holders: deque[socket.socket] = deque(maxlen=200)


def free_port(host: str = "127.0.0.1") -> int:
    """Returns a TCP port that is free now, and that this process has not returned before.

    On Linux, another stack on this machine does not get the port meanwhile.

    The port lies below the range of ephemeral ports. A client that keeps trying to reach a dead
    server on a port of that range would sooner or later be given the same port for its own end of
    the connection, connect to itself, and so block the server's port.
    """
    for _ in range(200):
        port = 20_000 + secrets.randbelow(12_000)
        if _hold(host, port) and claim_port(host, port):
            return port
    raise StackFailure(f"no free port on {host}")


def _hold(host: str, port: int) -> bool:
    """Binds a socket to the port; on Linux, where a server may listen beside it, keeps the socket.
    Returns False if another socket is bound to the port.
    """
    holder = socket.socket()
    try:
        holder.bind((host, port))
    except OSError:
        holder.close()
        return False
    if sys.platform == "linux":
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _holders.append(holder)
    else:
        holder.close()
    return True


def claim_port(host: str, port: int) -> bool:
    """Returns True and reserves the port if it is free and was not claimed in this process
    before.
    """
    if port in _claimed_ports or not is_free(host, port):
        return False
    _claimed_ports.add(port)
    return True


def is_free(host: str, port: int) -> bool:
    """Returns True if a server could listen on the port now. Raises PermissionError if this account
    may never listen on it.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError:
            raise
        except OSError:
            return False
        return True


def accepts(host: str, port: int) -> bool:
    """Returns True if a server accepts TCP connections on the port now."""
    try:
        with socket.create_connection((host, port), timeout=0.5):
            return True
    except OSError:
        return False


def tie_to_parent(stop_signal: signal.Signals, parent: int) -> None:
    """On Linux, makes the kernel send `stop_signal` to this process when its parent ends, and ends
    this process if `parent` has ended already. Does nothing on other systems.
    """
    if _LIBC is None:
        return
    _LIBC.prctl(_PR_SET_PDEATHSIG, stop_signal.value, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
