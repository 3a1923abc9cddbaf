"""What a change costs in files: of each commit whose message says `Cost: step` (or fact, resource), the hand-written production files that it touched.

`python -m tests.cost`: prints them beside the goal, newest commit first, and how many lines the gateway takes for each page and operation that it serves;
fails when one is above its goal. The example of docs/contributing.md is found by the trailer and not by its hash, so that it may be rebased.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GOALS = {"step": 7, "fact": 5, "resource": 13}
"""At most so many files; the tests, the words in other languages and what is printed come on top."""
LINES_A_ROUTE = 33.4
"""Of the gateway's Python, its words and the server itself included. The aim was 4,500 for 63 pages and 76 operations, 32.4 (decision 22)."""
_ROUTE = re.compile(r"^@\w+\.(?:get|post|form|route)\(", re.MULTILINE)
_BESIDE = ("docs/", "tests/", "demo/", "bench/")
_PRINTED = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi", "protos/comments.json", "protos/stubs.py")


@dataclass(frozen=True)
class Cost:
    """One commit: what kind of change it is an example of, its subject, and the files that count."""

    kind: str
    subject: str
    files: tuple[str, ...]

    @property
    def goal(self) -> int:
        """How many files are allowed."""
        return GOALS[self.kind]


def is_counted(path: str) -> bool:
    """Written by hand, and part of what runs: no test, page of documentation, demo or measure, nothing generated, no translation."""
    return not path.startswith(_BESIDE) and not path.endswith((*_PRINTED, ".md", ".po"))


def counted(paths: Iterable[str]) -> tuple[str, ...]:
    """Those of a commit's files that count."""
    return tuple(sorted({path for path in paths if is_counted(path)}))


def known() -> list[Cost]:
    """The examples that the history has and docs/contributing.md names, newest first; none where there is no history, or only its end.

    A commit that did more than one thing may say what it cost too; it is no example of how to do one.
    """
    examples, page = [], " ".join((ROOT / "docs" / "contributing.md").read_text(encoding="utf-8").split())
    for line in _git("log", "--no-merges", "--grep=^Cost: ", "--format=%H%x00%s%x00%(trailers:key=Cost,valueonly,separator=%x2C)"):
        commit, subject, kind = line.split("\0")
        if kind in GOALS and subject in page:
            examples.append(Cost(kind, subject, counted(_git("show", "--no-renames", "--name-only", "--format=", commit))))
    return examples


def table(costs: Iterable[Cost]) -> str:
    """As it is printed."""
    lines = []
    for cost in costs:
        lines += [f"{cost.kind}: {len(cost.files)} of {cost.goal} files · {cost.subject}", *(f"  {file}" for file in cost.files)]
    return "\n".join(lines)


@dataclass(frozen=True)
class Gateway:
    """How large it is, and for what: the routes of its pages and of open data, and the operations of REST."""

    lines: int
    pages: int
    operations: int

    @property
    def lines_a_route(self) -> float:
        """As the goal counts them."""
        return round(self.lines / (self.pages + self.operations), 1)


def gateway() -> Gateway:
    """As it is now."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "services" / "gateway").rglob("*.py")]
    paths = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))["paths"]
    operations = sum(method in ("get", "post", "put", "patch", "delete") for path in paths.values() for method in path)
    return Gateway(sum(len(source.splitlines()) for source in sources), sum(len(_ROUTE.findall(source)) for source in sources), operations)


def _git(*words: str) -> list[str]:
    try:
        said = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [line for line in said.splitlines() if line]


if __name__ == "__main__":
    costs = known()
    print(table(costs) or "The history here has no commit whose message says what it is an example of.")
    size = gateway()
    print(
        f"gateway: {size.lines_a_route} of {LINES_A_ROUTE} lines a route · {size.lines} for {size.pages} pages and {size.operations} operations"
    )
    sys.exit(any(len(cost.files) > cost.goal for cost in costs) or size.lines_a_route > LINES_A_ROUTE)
