"""Public figures about the network: which counts are published, and how questions are answered.

A cell is a quarter, a route (the country that people had been taken to, the country where they are)
and a need group. Its count is published when it is `SMALLEST` or more, rounded down to a
multiple of `STEP`; every other figure is a sum of published cells. So no two answers can be
subtracted to find an unpublished count: see
docs/decisions/0025-figures-are-sums-of-published-cells.md.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from services.referrals.network.domain.codes import NEED_GROUPS, Check
from services.referrals.network.domain.counts import FEW, SMALLEST, published_count

SETTLING_TIME = timedelta(days=7)
"""The shortest time between the end of a quarter and its count.

During this time, mistakes made in the last days of the quarter can be corrected.
"""
Key = TypeVar("Key")
CellCounts = Mapping["Cell", int]


@dataclass(frozen=True, order=True)
class Cell:
    """The smallest unit of counting.

    Its count is the number of people for whom help with a need of this group was completed in this
    quarter (such as 2026-Q3).
    """

    quarter: str
    exploitation_country: str
    country: str
    need_group: str


@dataclass(frozen=True)
class Question:
    """A question about the figures; an empty field stands for all.

    The period is a year or a quarter; the country is where a route begins or ends.
    """

    period: str = ""
    country: str = ""
    need_group: str = ""

    def check(self) -> None:
        """Refuses an unknown need group; the contract checks the form of the period."""
        check = Check()
        check.require(
            not self.need_group or self.need_group in NEED_GROUPS, "need_group_code", "unknown_code"
        )
        check.done()

    def covers(self, cell: Cell) -> bool:
        """Returns whether the question includes a cell."""
        return (
            self.covers_quarter(cell.quarter)
            and self.country in ("", cell.exploitation_country, cell.country)
            and self.need_group in ("", cell.need_group)
        )

    def covers_quarter(self, quarter: str) -> bool:
        """Returns whether the period includes a quarter."""
        return quarter.startswith(self.period)


@dataclass(frozen=True)
class Answer:
    """The answer to a question: sums of published cells.

    An answer has the total, the sums by quarter (every quarter, in order), the sums by the other
    attributes (greatest first, without zeros), and the values that can be used in further
    questions. A total, or a sum for a quarter, without a published cell is FEW.
    """

    total: int
    by_quarter: list[tuple[str, int]]
    by_exploitation_country: list[tuple[str, int]]
    by_country: list[tuple[str, int]]
    by_need_group: list[tuple[str, int]]
    routes: list[tuple[tuple[str, str], int]]
    years: list[str]
    countries: list[str]
    need_groups: list[str]


def published_cells(counts: CellCounts) -> dict[Cell, int]:
    """Returns the published cells, with their rounded counts.

    Other cells are dropped here, so no later answer can depend on them.
    """
    return {cell: published_count(count) for cell, count in counts.items() if count >= SMALLEST}


def answer(published_counts: CellCounts, until: str, question: Question) -> Answer:
    """Answers a question from published cells; `until` is the last quarter that was counted."""
    cells = {cell: count for cell, count in published_counts.items() if question.covers(cell)}
    by_quarter = _sums(cells, lambda cell: cell.quarter)
    first = min((cell.quarter for cell in published_counts), default=until)
    return Answer(
        total=sum(cells.values()) or FEW,
        by_quarter=[
            (quarter, by_quarter[quarter] or FEW)
            for quarter in _quarters(first, until)
            if question.covers_quarter(quarter)
        ],
        by_exploitation_country=_ranked(_sums(cells, lambda cell: cell.exploitation_country)),
        by_country=_ranked(_sums(cells, lambda cell: cell.country)),
        by_need_group=_ranked(_sums(cells, lambda cell: cell.need_group)),
        routes=_ranked(_sums(cells, lambda cell: (cell.exploitation_country, cell.country))),
        years=sorted({cell.quarter[:4] for cell in published_counts}),
        countries=sorted(
            {
                country
                for cell in published_counts
                for country in (cell.exploitation_country, cell.country)
            }
        ),
        need_groups=sorted({cell.need_group for cell in published_counts}),
    )


def quarter_of(moment: datetime) -> str:
    """Returns the quarter that a time falls in, such as 2026-Q3, in UTC."""
    utc = moment.astimezone(UTC)
    return f"{utc.year}-Q{(utc.month + 2) // 3}"


def last_settled_quarter(now: datetime) -> str:
    """Returns the last quarter that may be counted."""
    settled_until = now.astimezone(UTC) - SETTLING_TIME
    start = settled_until.replace(month=(settled_until.month - 1) // 3 * 3 + 1, day=1)
    return quarter_of(start - timedelta(days=1))


def end_of(quarter: str) -> datetime:
    """Returns the first moment after a quarter."""
    year, number = int(quarter[:4]), int(quarter[-1])
    return datetime(year + number // 4, number % 4 * 3 + 1, 1, tzinfo=UTC)


def _sums(cells: CellCounts, key: Callable[[Cell], Key]) -> Counter[Key]:
    sums = Counter[Key]()
    for cell, count in cells.items():
        sums[key(cell)] += count
    return sums


def _ranked(sums: Counter[Key]) -> list[tuple[Key, int]]:
    return sorted(sums.items(), key=lambda item: (-item[1], str(item[0])))


def _quarters(first: str, last: str) -> Iterator[str]:
    years = range(int(first[:4]), int(last[:4]) + 1)
    return (
        quarter
        for year in years
        for number in (1, 2, 3, 4)
        if first <= (quarter := f"{year}-Q{number}") <= last
    )
