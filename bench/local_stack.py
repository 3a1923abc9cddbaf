"""The stack as a whole: the time until it answers, and its memory."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import requests

from bench.figures import Measurement
from bench.transitions import ReferralRunner
from tests.parts.local_stack import LocalStack
from tests.parts.stories import Cast


def measure(stack: LocalStack) -> list[Measurement]:
    """Measures the memory after a little work, so that everything loaded on first use is included.
    Also returns the time that the stack took to start.
    """
    runner = ReferralRunner(Cast(stack))
    for _ in range(10):
        runner.run_one()
    for path in ("/", "/sign-in", "/healthz", "/readyz") * 10:
        requests.get(stack.gateway + path, timeout=10)
    processes = process_tree(int(stack.state["pid"]))
    pss = sum(memory(pid, "Pss:") for pid in processes) / 1024
    rss = sum(memory(pid, "Rss:") for pid in processes) / 1024
    return [
        Measurement(
            "ready_s",
            float(stack.state["ready_s"]),
            "from the start of the process in an empty folder until all services answer and the"
            " demo network is there",
        ),
        Measurement(
            "memory_mb",
            pss,
            f"proportional set size of all {len(processes)} processes after a little work;"
            " second figure: resident set size, which counts shared pages in each process",
            rss,
        ),
    ]


def memory_by_part(stack: LocalStack) -> dict[str, float]:
    """Returns the MB of each part with all of its processes, to find the large ones."""
    pids = {name: part["pid"] for name, part in stack.state["parts"].items()}
    return {
        name: sum(memory(pid, "Pss:") for pid in process_tree(pid)) / 1024
        for name, pid in pids.items()
    }


def process_tree(pid: int) -> list[int]:
    """Returns the ids of a process and all its descendants; a process may end meanwhile."""
    pids = [pid]
    for parent in pids:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            with suppress(OSError):
                pids += [int(child) for child in task.read_text().split()]
    return pids


def memory(pid: int, figure: str) -> int:
    """Returns a figure of a process's memory in kB, by its name, such as "Pss:"; 0 if the process
    has ended.
    """
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(figure))
