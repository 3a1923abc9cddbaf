"""Figures that are safe to publish."""

from datetime import UTC, datetime, timedelta
from typing import Any

from chassis.db import Transaction, elevate_to_system_scope, take_turn
from services.referrals.domain.figures import SMALLEST, Answer, Question, answer, at_most, end_of, last_settled, published, step_of
from services.referrals.store import figures

PILOT_START = datetime(2006, 1, 1, tzinfo=UTC)
PILOT_END = datetime(2006, 11, 1, tzinfo=UTC)
BEFORE_ALL = datetime(1970, 1, 1, tzinfo=UTC)

RECENT = timedelta(days=30)
"""How far back the time to answer is looked at: what stands there is about how things go now."""


def pilot(tx: Transaction) -> dict[str, Any]:
    """The pilot's figures, counted from the files: January to October 2006. Its two totals were published by IOM then, and are given as they are."""
    elevate_to_system_scope(tx)
    counted = figures.assisted(tx, PILOT_START, PILOT_END)
    return {
        "assisted": counted["assisted"],
        "from_chinandega": counted["by_department"].get("NI-CI", 0),
        **{name: _safe(counted[name]) for name in ("by_country", "by_department", "by_need", "by_month")},
    }


def network(tx: Transaction, now: datetime, question: Question) -> tuple[Answer, str]:
    """What is published of the network, as far as it is asked for, and the last quarter that was counted. Whoever asks first after one has settled has it counted."""
    question.check()
    if figures.counted_until(tx) < last_settled(now):
        _count(tx, now)
    until = figures.counted_until(tx)
    return answer(figures.kept(tx), until, question), until


def _count(tx: Transaction, now: datetime) -> None:
    """Counts what ended since the last time, once: who comes at the same moment waits, and finds it done."""
    take_turn(tx, "figures")
    before, until = figures.counted_until(tx), last_settled(now)
    if before < until:
        elevate_to_system_scope(tx)
        counts = figures.completed(tx, end_of(before) if before else BEFORE_ALL, end_of(until))
        figures.keep(tx, published(counts), until, now)


def response_times(tx: Transaction, now: datetime) -> list[dict[str, Any]]:
    """How soon each organisation answered what was sent to it lately, the slowest first: organization_id, sent, answered, median_seconds."""
    elevate_to_system_scope(tx)
    return figures.response_times(tx, now - RECENT)


def of_member(tx: Transaction, now: datetime, organization_id: str) -> dict[str, int]:
    """Counts what waits for a member or is waited for by it; what tells of persons' files and plans in steps of five, as of the last full six hours."""
    elevate_to_system_scope(tx)
    counts = figures.of_member(tx, organization_id, now + timedelta(days=1), step_of(now))
    return {**counts, "most_people": at_most(counts["most_people"]), "most_plans": at_most(counts["most_plans"])}


def _safe(counts: dict[str, int]) -> list[tuple[str, int]]:
    return [(code, count if count >= SMALLEST else -1) for code, count in sorted(counts.items()) if code and count]
