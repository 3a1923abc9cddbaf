"""`make profile`: the processor time of a transition by process and thread, and a flame graph of
each service (py-spy) in build/profile.

The time that the threads take while nothing happens is subtracted. The flame graphs come from a
second run, since py-spy pauses the processes that it examines.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from bench.local_stack import process_tree
from bench.transitions import ReferralRunner
from tests.parts.local_stack import ROOT, SERVICES, LocalStack
from tests.parts.stories import Cast

OUT = ROOT / "build" / "profile"
PY_SPY = Path(sys.prefix) / "bin" / "py-spy"
WARM_UP, RATE = 10, 200  # referrals; samples per second
PYTHON_PARTS = (*SERVICES, "gateway")
_MS = 1000 / os.sysconf("SC_CLK_TCK")

Times = dict[tuple[str, str], float]
"""Milliseconds of processor time by process and thread."""


class Threads:
    """The threads of a stack's processes."""

    def __init__(self, stack: LocalStack) -> None:
        state = stack.state
        self.pids = {name: part["pid"] for name, part in state["parts"].items()}
        self._parts: dict[int, str] = {
            pid: name for name, parent in self.pids.items() for pid in process_tree(parent)
        }
        self._root = int(state["pid"])
        self._names = {
            thread["os_thread_id"]: str(thread["thread_name"])
            for name in PYTHON_PARTS
            for thread in _dump(self.pids[name])
            if thread["thread_name"]
        }

    def times(self) -> Times:
        """Returns the processor time that each thread has taken so far."""
        times: Times = defaultdict(float)
        for pid in process_tree(self._root):
            for task in Path(f"/proc/{pid}/task").glob("*"):
                with suppress(OSError):  # the thread has ended
                    head, _, words = (task / "stat").read_text().rpartition(")")
                    name = self._names.get(int(task.name)) or head.partition("(")[2]
                    ticks = sum(int(word) for word in words.split()[11:13])
                    times[self._part(pid), re.sub(r"[-_ ]?[\d.]*$", "", name)] += ticks * _MS
        return times

    def _part(self, pid: int) -> str:
        """Returns the name of a process; for a process of PostgreSQL, with its task or user."""
        title = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
        if title.startswith("postgres: "):
            return " ".join(title.split()[:2])
        return self._parts.get(pid, "stack")


def _dump(pid: int) -> list[dict[str, Any]]:
    """Returns the threads of a process as py-spy sees them. Fails if py-spy can't attach."""
    process = subprocess.run(
        [PY_SPY, "dump", "--json", "--nonblocking", "--pid", str(pid)],
        capture_output=True,
        text=True,
    )
    if process.returncode:
        raise click.ClickException(
            f"py-spy can't attach (it needs root or CAP_SYS_PTRACE): {process.stderr.strip()}"
        )
    threads: list[dict[str, Any]] = json.loads(process.stdout)
    return threads


def profile(stack: LocalStack, count: int) -> Times:
    """Returns the milliseconds of each thread per transition, without its time at rest."""
    runner = ReferralRunner(Cast(stack))
    for _ in range(WARM_UP):
        runner.run_one()
    time.sleep(5)
    threads = Threads(stack)
    begin, before_rest = time.monotonic(), threads.times()
    time.sleep(10)
    rest_seconds, after_rest = time.monotonic() - begin, threads.times()
    runner.milliseconds.clear()
    begin = time.monotonic()
    for _ in range(count):
        runner.run_one()
    time.sleep(2)
    work_seconds, after_work = time.monotonic() - begin, threads.times()
    return {
        key: (
            after_work[key]
            - after_rest[key]
            - (after_rest[key] - before_rest[key]) * work_seconds / rest_seconds
        )
        / len(runner.milliseconds)
        for key in after_work
    }


def draw(stack: LocalStack, count: int) -> list[Path]:
    """Writes a flame graph of each service while referrals take their steps; returns the files."""
    runner, files = ReferralRunner(Cast(stack)), []
    OUT.mkdir(parents=True, exist_ok=True)
    spies = []
    for name, part in stack.state["parts"].items():
        if name in PYTHON_PARTS:
            files.append(OUT / f"{name}.svg")
            options = ["record", "--threads", "--nonblocking", "--rate", str(RATE)]
            spies.append(
                subprocess.Popen(
                    [PY_SPY, *options, "--output", files[-1], "--pid", str(part["pid"])],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
    for _ in range(count):
        runner.run_one()
    for spy in spies:
        spy.send_signal(2)  # makes it write the graph
        spy.wait(60)
    return [file for file in files if file.exists()]


def table(times: Times, at_least: float = 0.02) -> str:
    """Returns the times as text: each process, and its threads that take `at_least` ms or more."""
    lines, parts = [], defaultdict[str, float](float)
    for (part, _), value in times.items():
        parts[part] += value
    for part, total in sorted(parts.items(), key=lambda item: -item[1]):
        lines.append(f"{total:8.2f} ms  {part}")
        lines += [
            f"{value:8.2f}       {name}"
            for (owner, name), value in sorted(times.items(), key=lambda item: -item[1])
            if owner == part and value >= at_least
        ]
    return "\n".join([*lines, f"{sum(parts.values()):8.2f} ms  in total"])


@click.command(help="Show the processor time of a transition, and draw flame graphs.")
@click.option("--lives", default=60, show_default=True, help="Referrals of nine transitions each.")
def main(lives: int) -> None:
    stack = LocalStack()
    try:
        click.echo(table(profile(stack.start(), lives)))
        for file in draw(stack, lives):
            click.echo(file.relative_to(ROOT))
    finally:
        stack.stop()


if __name__ == "__main__":
    main()
