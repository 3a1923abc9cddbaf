"""Figures counted over the whole network; they leave this file only as counts."""

from datetime import datetime
from typing import Any

from chassis.db import Row, Transaction

ANSWERS = ["acknowledged", "info_requested", "accepted", "waitlisted", "declined"]
"""What a receiver says first to who asks it for help."""


def assisted(tx: Transaction, start: datetime, end: datetime) -> dict[str, Any]:
    """People whose file was opened in [start, end) and who got help: in all, by department of origin, by country they were taken to, by need group, by month."""
    row = tx.execute(
        "WITH helped AS (SELECT p.* FROM people p WHERE p.create_time >= %(start)s AND p.create_time < %(end)s"
        "   AND EXISTS (SELECT 1 FROM referrals r WHERE r.person_id = p.id AND r.state IN ('completed', 'closed'))),"
        " needs AS (SELECT DISTINCT r.person_id, left(r.need_code, 3) AS need FROM referrals r JOIN helped h ON h.id = r.person_id"
        "   WHERE r.state IN ('completed', 'closed'))"
        " SELECT (SELECT count(*) FROM helped) AS assisted,"
        " (SELECT coalesce(jsonb_object_agg(k, n), '{}') FROM (SELECT department AS k, count(*) AS n FROM helped GROUP BY 1) t) AS by_department,"
        " (SELECT coalesce(jsonb_object_agg(k, n), '{}') FROM (SELECT exploitation_country AS k, count(*) AS n FROM helped GROUP BY 1) t) AS by_country,"
        " (SELECT coalesce(jsonb_object_agg(k, n), '{}') FROM (SELECT to_char(create_time AT TIME ZONE 'UTC', 'YYYY-MM') AS k, count(*) AS n"
        "   FROM helped GROUP BY 1) t) AS by_month,"
        " (SELECT coalesce(jsonb_object_agg(need, n), '{}') FROM (SELECT need, count(*) AS n FROM needs GROUP BY 1) t) AS by_need",
        {"start": start, "end": end},
    ).fetchone()
    assert row is not None
    return row


def response_times(tx: Transaction, since: datetime) -> list[Row]:
    """For each organisation to which something was sent since then: how many, how many it answered, and the median of the seconds until it did."""
    return tx.execute(
        "WITH asked AS (SELECT r.receiver_organization_id AS organization_id, (SELECT extract(epoch FROM min(e.time) - r.send_time)"
        "   FROM referral_events e WHERE e.referral_id = r.id AND e.organization_id = r.receiver_organization_id AND e.verb = ANY(%(answers)s)) AS seconds"
        "   FROM referrals r WHERE r.send_time >= %(since)s AND r.state <> 'entered_in_error')"
        " SELECT organization_id, count(*)::int AS sent, count(seconds)::int AS answered,"
        " coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds), 0)::int AS median_seconds"
        " FROM asked GROUP BY 1 ORDER BY count(seconds) = 0, median_seconds DESC, 1",
        {"since": since, "answers": ANSWERS},
    ).fetchall()
