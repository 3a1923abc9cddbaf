"""Figures that are safe to publish."""

from datetime import UTC, datetime, timedelta
from typing import Any

from chassis.db import Transaction, elevate_to_system_scope
from services.referrals.store import figures

PILOT_START = datetime(2006, 1, 1, tzinfo=UTC)
PILOT_END = datetime(2006, 11, 1, tzinfo=UTC)
SMALLEST = 10
"""A count below it could point to a person; the pilot's two totals were published by IOM in 2006 and are given as they are."""

RECENT = timedelta(days=30)
"""How far back the time to answer is looked at: what stands there is about how things go now."""


def pilot(tx: Transaction) -> dict[str, Any]:
    """The pilot's figures, counted from the files: January to October 2006."""
    elevate_to_system_scope(tx)
    counted = figures.assisted(tx, PILOT_START, PILOT_END)
    return {
        "assisted": counted["assisted"],
        "from_chinandega": counted["by_department"].get("NI-CI", 0),
        **{name: _safe(counted[name]) for name in ("by_country", "by_department", "by_need", "by_month")},
    }


def response_times(tx: Transaction, now: datetime) -> list[dict[str, Any]]:
    """How soon each organisation answered what was sent to it lately, the slowest first: organization_id, sent, answered, median_seconds."""
    elevate_to_system_scope(tx)
    return figures.response_times(tx, now - RECENT)


def _safe(counts: dict[str, int]) -> list[tuple[str, int]]:
    return [(code, count if count >= SMALLEST else -1) for code, count in sorted(counts.items()) if code and count]
