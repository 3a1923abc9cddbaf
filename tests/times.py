"""How long each file of tests takes: measured by `make times`, kept in times.json, so that `make check` knows what runs in its minute."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TABLE = Path(__file__).with_name("times.json")
UNKNOWN = 20.0
"""Seconds, for a file that was not measured yet."""

_taken: dict[str, float] = defaultdict(float)


def known() -> dict[str, float]:
    """Seconds by file, as it was last measured."""
    return dict(json.loads(TABLE.read_text())) if TABLE.exists() else {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Adds up; what is set up for several files counts for the first."""
    _taken[report.nodeid.partition("::")[0]] += report.duration


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Files that did not run now keep their time; one that is gone loses it."""
    if hasattr(session.config, "workerinput") or session.config.option.collectonly:
        return
    seconds = {file: round(taken, 1) for file, taken in (known() | _taken).items() if (ROOT / file).exists()}
    TABLE.write_text(json.dumps(dict(sorted(seconds.items())), indent=1) + "\n")
