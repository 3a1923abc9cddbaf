"""The figures by name: the unit of each, and the limit that the design sets.

docs/figures.md describes them in sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A figure that the benchmarks measure.

    `limit` is the highest accepted value; None if the design sets no limit.
    """

    name: str
    unit: str
    limit: float | None = None


@dataclass(frozen=True)
class Measurement:
    """A measured value.

    `beside` is another value to compare it with, if there is any. `conditions` describes how it was
    measured.
    """

    name: str
    value: float
    conditions: str
    beside: float | None = None

    @property
    def ratio(self) -> float | None:
        """Returns the value divided by `beside`, or None without one."""
        return self.value / self.beside if self.beside else None


FIGURES = (
    Figure("ready_s", "s", 15),
    Figure("memory_mb", "MB", 600),
    Figure("transition_per_s", "1/s"),
    Figure("transition_ms_p50", "ms"),
    Figure("transition_ms_p99", "ms"),
    Figure("rest_transition_ms_p99", "ms", 250),
    Figure("commit_to_webhook_ms_p50", "ms", 15),
    Figure("commit_to_webhook_ms_p99", "ms", 60),
    Figure("relay_per_s", "1/s", None),
    Figure("audit_verify_rows_per_s", "1/s"),
    Figure("readings_ms_p99", "ms", 1000),
    Figure("page_ms_p99", "ms", 50),
    Figure("page_kb_max", "kB", 30),
    Figure("live_core_percent", "%", 10),
    Figure("live_changes_core_percent", "%"),
    Figure("rotation_s", "s", 60),
    Figure("fair_ms_p99", "ms"),
    Figure("overload_step_lost_percent", "%", 20),
    Figure("overload_step_refused_ms_p90", "ms", 100),
    Figure("overload_read_lost_percent", "%", 20),
    Figure("overload_read_refused_ms_p90", "ms", 100),
    Figure("overload_rest_lost_percent", "%", 20),
    Figure("overload_rest_refused_ms_p90", "ms", 100),
    Figure("overload_memory_mb", "MB", 300),
    Figure("overload_normal_s", "s", 5),
    Figure("growth_transition_p99", "×", 1.5),
    Figure("growth_inbox_p99", "×", 1.5),
    Figure("growth_today_p99", "×", 1.5),
    Figure("growth_board_p99", "×", 1.5),
    Figure("clocks_due_10k_s", "s", 30),
    Figure("import_rows_per_s", "1/s"),
    Figure("search_100k_ms_p99", "ms", 10),
    Figure("match_100k_ms_p99", "ms", 25),
    Figure("search_per_s", "1/s"),
)
BY_NAME = {figure.name: figure for figure in FIGURES}


def percentile(values: Sequence[float], percent: float) -> float:
    """Returns a percentile of the values, by the nearest-rank method."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100).__trunc__() - 1)]


def table(measurements: Sequence[Measurement]) -> str:
    """Returns the figures as a text table."""
    rows = [("figure", "value", "unit", "beside", "ratio", "limit", "")]
    for measurement in measurements:
        figure = BY_NAME[measurement.name]
        verdict = (
            "" if figure.limit is None else "ok" if measurement.value <= figure.limit else "MISSED"
        )
        limit = "" if figure.limit is None else f"≤ {figure.limit:g}"
        rows.append(
            (
                measurement.name,
                short(measurement.value),
                figure.unit,
                short(measurement.beside),
                short(measurement.ratio),
                limit,
                verdict,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    left_aligned = (0, 2, 5, 6)
    lines = [
        "  ".join(
            cell.ljust(width) if n in left_aligned else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def short(value: float | None) -> str:
    """Returns the value with three significant digits, or as a whole number if it is 100 or more;
    "" for None.
    """
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
