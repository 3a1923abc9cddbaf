"""Reads the service's audit trail (chassis.audit)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from chassis.db import Transaction


def accesses(
    tx: Transaction,
    object_id: str,
    actions: Sequence[str],
    *,
    limit: int,
    before: int | None = None,
) -> list[dict[str, Any]]:
    """Returns who did these actions on an object, newest first; at most `limit` rows.

    `before` continues a list: only rows with a lower sequence are returned. If a caller repeats an
    action for the same purpose within a clock hour, only the first time is listed; each refusal is
    listed.
    """
    return tx.execute(
        "SELECT sequence, time, actor_kind, actor_id, organization_id, action, purpose_code,"
        " detail_codes, allowed FROM ("
        " SELECT *, row_number() OVER (PARTITION BY actor_id, action, purpose_code, detail_codes,"
        " date_trunc('hour', time),"
        " CASE WHEN allowed THEN 0 ELSE sequence END ORDER BY sequence) AS times FROM audit"
        " WHERE object_id = %s AND action = ANY(%s)) AS acts"
        " WHERE times = 1 AND (%s::bigint IS NULL OR sequence < %s) ORDER BY sequence DESC"
        " LIMIT %s",
        (object_id, list(actions), before, before, limit),
    ).fetchall()


def search(
    tx: Transaction,
    *,
    object_id: str = "",
    actor_id: str = "",
    organization_id: str = "",
    action: str = "",
    start: datetime | None = None,
    end: datetime | None = None,
    refused: bool = False,
    limit: int,
    before: int | None = None,
) -> list[dict[str, Any]]:
    """Returns at most `limit` rows of the trail, newest first. An argument that is empty or None
    does not narrow the search; `refused` narrows it to refusals. `end` is exclusive.

    `before` continues a list: only rows with a lower sequence are returned.
    """
    return tx.execute(
        "SELECT sequence, time, actor_kind, actor_id, organization_id, action, object_id,"
        " purpose_code, detail_codes, allowed, reason FROM audit"
        " WHERE (%(object_id)s = '' OR object_id = %(object_id)s) AND (%(actor_id)s = ''"
        " OR actor_id = %(actor_id)s)"
        " AND (%(organization_id)s = '' OR organization_id = %(organization_id)s)"
        " AND (%(action)s = '' OR action = %(action)s)"
        " AND (%(start)s::timestamptz IS NULL OR time >= %(start)s)"
        " AND (%(end)s::timestamptz IS NULL OR time < %(end)s)"
        " AND (NOT %(refused)s OR NOT allowed) AND (%(before)s::bigint IS NULL"
        " OR sequence < %(before)s) ORDER BY sequence DESC LIMIT %(limit)s",
        {
            "object_id": object_id,
            "actor_id": actor_id,
            "organization_id": organization_id,
            "action": action,
            "start": start,
            "end": end,
            "refused": refused,
            "limit": limit,
            "before": before,
        },
    ).fetchall()
