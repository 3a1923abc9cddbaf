"""Figures of the last seven quarters, as if the network had been at work for years.

The figures are made up; there are no case files behind them. Counts too small to be published are
left out.
"""

import random
from datetime import datetime, timedelta

from chassis.db import Transaction
from services.referrals.referrals.domain.figures import (
    Cell,
    end_of,
    last_settled_quarter,
    published_cells,
    quarter_of,
)
from services.referrals.referrals.store import figures

QUARTERS = 7
_ROUTES = {
    ("SV", "NI"): 24,
    ("CR", "NI"): 19,
    ("GT", "NI"): 12,
    ("MX", "HN"): 16,
    ("GT", "HN"): 9,
    ("MX", "SV"): 13,
    ("MX", "MX"): 7,
}
_NEEDS = {"HOU": 1.0, "PSS": 1.1, "MED": 0.9, "RET": 0.7, "LEG": 0.5, "FAM": 0.3}
"""People per quarter by route (_ROUTES), and the factor for each kind of help (_NEEDS)."""


def counts(now: datetime) -> dict[Cell, int]:
    """Returns the count of each cell, whether or not it may be published. The counts are the same
    in every run within a quarter.
    """
    count_by_cell, quarter = dict[Cell, int](), last_settled_quarter(now)
    for age in range(QUARTERS):
        for (taken_to, country), people in _ROUTES.items():
            for need, factor in _NEEDS.items():
                chance = random.Random(f"{quarter} {taken_to} {country} {need}")
                count_by_cell[Cell(quarter, taken_to, country, need)] = round(
                    people * factor * (1.1 - age * 0.07) * chance.uniform(0.7, 1.3)
                )
        quarter = quarter_of(end_of(quarter) - timedelta(days=100))
    return count_by_cell


def fill(tx: Transaction, now: datetime) -> None:
    """Saves the figures, unless a quarter was counted already."""
    if not figures.counted_until(tx):
        figures.save(tx, published_cells(counts(now)), last_settled_quarter(now), now)
