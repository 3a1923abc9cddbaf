"""Figures that are safe to publish."""

from datetime import UTC, datetime
from typing import Any

from chassis.db import Transaction, elevate_to_system_scope
from services.referrals.store import figures

PILOT_START = datetime(2006, 1, 1, tzinfo=UTC)
PILOT_END = datetime(2006, 11, 1, tzinfo=UTC)
SMALLEST = 10
"""A count below it could point to a person; the pilot's two totals were published by IOM in 2006 and are given as they are."""


def pilot(tx: Transaction) -> dict[str, Any]:
    """The pilot's figures, counted from the files: January to October 2006."""
    elevate_to_system_scope(tx)
    counted = figures.assisted(tx, PILOT_START, PILOT_END)
    return {
        "assisted": counted["assisted"],
        "from_chinandega": counted["by_department"].get("NI-CI", 0),
        **{name: _safe(counted[name]) for name in ("by_country", "by_department", "by_need", "by_month")},
    }


def _safe(counts: dict[str, int]) -> list[tuple[str, int]]:
    return [(code, count if count >= SMALLEST else -1) for code, count in sorted(counts.items()) if code and count]
