"""Figures counted over the whole network; they leave this file only as counts."""

from datetime import datetime
from typing import Any

from chassis.db import Transaction


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
