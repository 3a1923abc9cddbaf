"""Counts the cost of changes from git's log: `make cost`.

Reads every commit whose message ends with a trailer `Cost: KIND` (step, resource, fact …), and
prints how many files it changed and how many lines it added, in three groups: production code
written by hand; tests, docs, demo and benchmarks written by hand; and files that a program
generates or a translator writes.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
GROUPS = ("code", "support", "generated")
_FORMAT = "%x01%h%x00%s%x00%(trailers:key=Cost,valueonly,separator=%x20)"
_SUPPORT = ("docs/", "tests/", "demo/", "bench/")
_GENERATED = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi", ".po", ".mo")
_GENERATED_FILES = {
    "docs/openapi.json",
    "docs/codes.md",
    "docs/lifecycle.md",
    "protos/comments.json",
    "protos/stubs.py",
}


@dataclass(frozen=True)
class Size:
    """A number of files, and the number of lines added to them."""

    files: int = 0
    lines: int = 0

    def __str__(self) -> str:
        return f"{self.files:3} files {self.lines:5} lines"


@dataclass(frozen=True)
class Cost:
    """One commit with a trailer: its kinds, its subject, and its size by group."""

    commit: str
    subject: str
    kinds: tuple[str, ...]
    sizes: dict[str, Size] = field(default_factory=dict)


def group(path: str) -> str:
    """Returns the group (see GROUPS) that a file belongs to."""
    if path in _GENERATED_FILES or path.endswith(_GENERATED):
        return "generated"
    return "support" if path.startswith(_SUPPORT) or path.endswith(".md") else "code"


def costs(repository: Path = ROOT) -> list[Cost]:
    """Returns the commits with a trailer, newest first."""
    log = subprocess.run(
        [
            "git",
            "log",
            "--no-merges",
            "--no-renames",
            "--numstat",
            "--grep=^Cost: ",
            f"--format={_FORMAT}",
        ],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [cost for entry in log.split("\x01")[1:] if (cost := _cost(entry)).kinds]


def _cost(entry: str) -> Cost:
    head, *stats = entry.splitlines()
    commit, subject, kinds = head.split("\0")
    sizes = dict.fromkeys(GROUPS, Size())
    for line in filter(None, stats):
        added, _, path = line.split("\t")
        size = sizes[group(path)]
        # "-" stands for a binary file
        sizes[group(path)] = Size(size.files + 1, size.lines + (int(added) if added != "-" else 0))
    return Cost(commit, subject, tuple(dict.fromkeys(kinds.replace(",", " ").split())), sizes)


def table(commits: Iterable[Cost]) -> str:
    """Returns the commits by kind, each kind with its medians."""
    commits, lines = list(commits), []
    for kind in sorted({kind for cost in commits for kind in cost.kinds}):
        kind_costs = [cost for cost in commits if kind in cost.kinds]
        for cost in kind_costs:
            lines.append(f"{kind}  {_columns(cost.sizes)}  {cost.commit} {cost.subject}")
        medians = {
            name: Size(
                round(median(cost.sizes[name].files for cost in kind_costs)),
                round(median(cost.sizes[name].lines for cost in kind_costs)),
            )
            for name in GROUPS
        }
        lines += [f"{kind}  {_columns(medians)}  median of {len(kind_costs)}", ""]
    return "\n".join(lines)


def _columns(sizes: dict[str, Size]) -> str:
    return "  ".join(f"{name} {sizes[name]}" for name in GROUPS)


if __name__ == "__main__":
    print(table(costs()) or "This history has no commit with a trailer `Cost:`.")
