"""`make bench` measures the figures that docs/figures.md names.

Measuring takes minutes and is not part of the tests.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench import compare, quiet
from bench.figures import FIGURES, Measurement, percentile, table
from tests.parts.local_stack import LocalStack

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_list_of_figures_is_the_documented_one() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (\w+) \| (?:([\d.]+) \S+ )?\|",
        (ROOT / "docs" / "figures.md").read_text(),
        re.MULTILINE,
    )
    documented = [(name, float(limit) if limit else None) for name, _, limit in rows]
    assert documented == [(figure.name, figure.limit) for figure in FIGURES]
    process = subprocess.run(
        [sys.executable, "-m", "bench", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert {part for _, part, _ in rows} <= set(re.findall(r"\w+", process.stdout))


def test_a_table_marks_a_figure_that_missed_its_limit() -> None:
    text = table(
        [Measurement("ready_s", 20.0, "", beside=10.0), Measurement("page_ms_p99", 12.3, "")]
    )
    assert re.search(r"ready_s +20 +s +10 +2 +≤ 15 +MISSED", text)
    assert re.search(r"page_ms_p99 +12\.3 +ms +≤ 50 +ok", text)


def test_percentiles() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [percentile(values, share) for share in (50, 99, 100)] == [50, 99, 100]
    assert percentile([7.0], 99) == 7


def test_a_comparison_has_medians_their_ratio_and_the_spread() -> None:
    text = compare.table(
        ("aaaa", "bbbb"), {"page_ms_p50": [10.0, 30.0, 20.0]}, {"page_ms_p50": [5.0, 4.0, 9.0]}
    )
    assert re.search(r"page_ms_p50 +20 +5 +0\.25 +10…30 +4…9", text)
    assert 0 <= quiet.busy_percent(0.1) <= 100


def test_a_busy_stack_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "_activity", lambda stack: "facts of partners wait")
    stack = LocalStack()
    with pytest.raises(quiet.Busy, match="facts of partners wait"):
        quiet.wait_for_silence(stack, patience=0.0)
    stack.stop()
