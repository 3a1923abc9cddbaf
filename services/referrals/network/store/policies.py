"""Stores the published versions of the network's deadline policy."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache

from chassis.db import Transaction
from services.referrals.network.domain.deadline import DeadlineKind, Policy, Urgency


def query_newest(tx: Transaction) -> Callable[[], int]:
    """Requests the number of the last published version; returns a function that waits for it.

    The number is 0 if no version was published.
    """
    cursor = tx.execute("SELECT coalesce(max(version), 0) AS version FROM deadline_policies")

    @cache
    def version() -> int:
        row = cursor.fetchone()
        assert row is not None
        return int(row["version"])

    return version


def get(tx: Transaction, version: int) -> Policy | None:
    """Returns one version; None if it does not exist."""
    row = tx.execute(
        "SELECT version, spans FROM deadline_policies WHERE version = %s", (version,)
    ).fetchone()
    if row is None:
        return None
    spans = {
        (Urgency(urgency) if urgency else None, DeadlineKind(kind)): days
        or timedelta(seconds=seconds)
        for urgency, kind, seconds, days in row["spans"]
    }
    return Policy(row["version"], spans)


def add(tx: Transaction, policy: Policy, worker_id: str, now: datetime) -> None:
    """Saves a version of the policy. A version never changes."""
    spans = [
        [
            urgency.value if urgency else "",
            kind.value,
            *((0, span) if isinstance(span, int) else (int(span.total_seconds()), 0)),
        ]
        for (urgency, kind), span in policy.spans.items()
    ]
    tx.execute(
        "INSERT INTO deadline_policies (version, spans, published_by_worker_id, publish_time)"
        " VALUES (%s, %s, %s, %s)",
        (policy.version, json.dumps(spans), worker_id, now),
    )
