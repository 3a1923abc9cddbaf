"""The stack as a whole: how long until it answers, and how much memory it takes."""

from __future__ import annotations

from pathlib import Path

import requests

from bench.figures import Measured
from bench.transitions import Lives
from tests.parts.local_stack import LocalStack
from tests.parts.stories import Cast


def measure(stack: LocalStack) -> list[Measured]:
    """Memory after a little work, so that what is loaded when first needed is there."""
    lives = Lives(Cast(stack))
    for _ in range(10):
        lives.one()
    for path in ("/", "/sign-in", "/healthz", "/readyz") * 10:
        requests.get(stack.gateway + path, timeout=10)
    ours = family(int(stack.state["pid"]))
    pss = sum(memory(pid, "Pss:") for pid in ours) / 1024
    rss = sum(memory(pid, "Rss:") for pid in ours) / 1024
    return [
        Measured(
            "ready_s",
            float(stack.state["ready_s"]),
            "from the start of the process in an empty folder until all services answer and the"
            " demo network is there",
        ),
        Measured(
            "memory_mb",
            pss,
            f"proportional set size of all {len(ours)} processes after a little work; beside:"
            " resident, shared pages counted each time",
            rss,
        ),
    ]


def by_process(stack: LocalStack) -> dict[str, float]:
    """MB of each part with all of its processes, for whoever looks for what is large."""
    pids = {name: part["pid"] for name, part in stack.state["parts"].items()}
    return {
        name: sum(memory(pid, "Pss:") for pid in family(pid)) / 1024 for name, pid in pids.items()
    }


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    pids = [pid]
    for one in pids:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            pids += [int(child) for child in task.read_text().split()]
    return pids


def memory(pid: int, what: str) -> int:
    """kB; 0 for a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(what))
