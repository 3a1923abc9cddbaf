"""The command `python -m services`: runs one stack in one folder until a signal (see SIGNALS)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO, Any

import click

from local.process import StackFailure
from local.stack import HOST, ROOT, LocalStack, say
from local.supervisor import CALM

_TICK = 0.25  # seconds between two checks of the parts
# The errors that another folder may avoid.
_UNSUITABLE_FOLDER = {
    getattr(errno, name) for name in "EACCES EPERM EROFS ENOSPC EDQUOT EFBIG ENOTDIR EEXIST".split()
}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop(BaseException):
    """Raised when the stack is asked to stop (Ctrl-C, SIGTERM, SIGHUP)."""


@click.command(
    help="Run the whole stack on this machine: PostgreSQL, broker, services and a demo network."
)
@click.option(
    "--var",
    type=click.Path(file_okay=False, path_type=Path),
    default=ROOT / "var",
    show_default="var",
    help="The folder for all data of the stack.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8080,
    show_default=True,
    help="The port of the pages; if it is in use, the next free port.",
)
@click.option(
    "--demo/--no-demo",
    default=True,
    show_default=True,
    help="Fill an empty stack with a demo network.",
)
@click.option(
    "--only-postgres",
    is_flag=True,
    help="Start only PostgreSQL with the databases, for a restore.",
)
@click.option(
    "--calm",
    default=CALM,
    show_default=True,
    help="A part that dies after at least this many seconds is restarted without a pause.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    envvar="ENLACE_WORKERS",
    default=max(1, (os.cpu_count() or 1) // 2),
    show_default="half of the processors",
    help="Number of processes that answer the calls of each service; if it is above 1, one more"
    " process runs the service's loops.",
)
def main(var: Path, port: int, demo: bool, calm: float, only_postgres: bool, workers: int) -> None:
    # Under root, PostgreSQL's account must reach its folder; secret files have modes of their own.
    os.umask(0o022)
    with contextlib.ExitStack() as cleanup:
        _handle_signals()
        try:
            with _explaining_errors(var):
                _refuse_settings_of_a_service()
                cleanup.enter_context(_folder_lock(var))
                stack = LocalStack(var, port, calm, workers)
                cleanup.callback(stack.stop)
                # called before `stack.stop`, so that a second signal does not interrupt the stop
                cleanup.callback(_ignore_signals)
                if only_postgres:
                    stack.start_postgres()
                    say(
                        f"Only PostgreSQL is up, at {HOST}:{stack.postgres.port}\nStop    Ctrl-C",
                        sys.stdout,
                    )
                else:
                    stack.start(demo)
                    _print_summary(stack, demo)
            while True:
                stack.tick()
                time.sleep(_TICK)
        except Stop:
            say("stopping…")
        except StackFailure as failure:
            raise click.ClickException(str(failure)) from failure


def _refuse_settings_of_a_service() -> None:
    """Raises StackFailure in a shell that has read `var/environment/NAME`: the stack would use the
    broker of the stack that wrote this file, and would not start its own.
    """
    if "ENLACE_MIGRATION_URL" in os.environ:
        raise StackFailure(
            "this shell has the settings of a service (it has read var/environment/NAME): start"
            " the stack in another shell"
        )


@contextlib.contextmanager
def _explaining_errors(var: Path) -> Iterator[None]:
    """Converts an OSError in the block to StackFailure, whose message names the cause, and the file
    or folder.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _UNSUITABLE_FOLDER:
            raise StackFailure(
                f"{error.filename or var} can't be written: {error.strerror} (choose another folder"
                " with --var)"
            ) from error
        file = f"{error.filename}: " if error.filename else ""
        raise StackFailure(f"the stack can't start: {file}{error.strerror}") from error


def _print_summary(stack: LocalStack, demo: bool) -> None:
    """Prints the last lines of the start: the address, the accounts to sign in with, the logs."""
    if stack.ready_after is None:
        lines = [
            f"not ready: {stack.demo_failure}\n",
            (
                "The demo network is incomplete, so nobody can sign in. Stop, and start again: the"
                " next start continues where this one ended (--no-demo: no demo network)."
            ),
        ]
    else:
        lines = [f"ready in {stack.ready_after:.1f} s\n"]
    lines.append(f"Open    {stack.url}")
    accounts: list[dict[str, Any]] = []
    if demo and stack.demo and stack.ready_after is not None:
        accounts = json.loads(stack.demo_file.read_text()).get("accounts", [])
    if accounts:
        lines.append(
            "Sign in with a demo account (all accounts: " + _short_path(stack.demo_file) + ")"
        )
        account_by_role: dict[str, dict[str, Any]] = {}
        for account in accounts:
            account_by_role.setdefault(str(account.get("role", "")), account)
        for role, account in account_by_role.items():
            totp = f"   code from {account['totp_secret']}" if account.get("totp_secret") else ""
            lines.append(
                f"        {account['email']:<36} {account['password']:<24} {role.lower()},"
                f" {account.get('organization', '')}{totp}"
            )
    lines += [
        f"Logs    {_short_path(stack.logs)}",
        "Stop    Ctrl-C (the data stays for the next start)",
    ]
    say("\n".join(lines), sys.stdout)


def _short_path(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _handle_signals() -> None:
    for number in SIGNALS:
        # A signal that is ignored already, because of nohup or a shell's `&`, stays ignored.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _raise_stop)


def _raise_stop(number: int, frame: FrameType | None) -> None:
    _ignore_signals()
    raise Stop


def _ignore_signals() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def _folder_lock(var: Path) -> Iterator[IO[str]]:
    """Locks the folder, since two stacks may run side by side, but not in one folder. Raises
    StackFailure if another stack has locked it.
    """
    var.mkdir(parents=True, exist_ok=True)
    with (var / "stack.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StackFailure(
                f"a stack is already running in {_short_path(var.resolve())} (choose another"
                " folder with --var)"
            ) from None
        yield lock
