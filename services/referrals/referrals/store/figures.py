"""Reads figures across the whole network; only counts leave this module."""

from datetime import datetime
from typing import Any

from chassis.db import Row, Transaction
from services.referrals.referrals.domain.fields import NOT_MET
from services.referrals.referrals.domain.figures import Cell
from services.referrals.referrals.domain.lifecycle import LIVE
from services.referrals.referrals.store.boxes import MINE

ANSWERS = "'acknowledged', 'info_requested', 'accepted', 'waitlisted', 'declined'"
"""The first answers of a receiver, written as in the index of answers."""
_HELPED = f"r.state IN ('completed', 'closed') AND r.outcome_code <> '{NOT_MET}'"


def count_assisted(tx: Transaction, start: datetime, end: datetime) -> dict[str, Any]:
    """Counts people whose file was opened in [start, end) and who got help.

    The counts are the total, and the counts by the department in the file, by the country that the
    people had been taken to, by need group and by the month in which the file was opened. Help that
    resolved nothing does not count.
    """
    row = tx.execute(
        "WITH helped AS (SELECT p.* FROM people p WHERE p.create_time >= %(start)s"
        " AND p.create_time < %(end)s"
        "   AND EXISTS (SELECT 1 FROM referrals r WHERE r.person_id = p.id"
        f" AND {_HELPED})),"
        " needs AS (SELECT DISTINCT r.person_id, left(r.need_code, 3) AS need FROM referrals r"
        " JOIN helped h ON h.id = r.person_id"
        f"   WHERE {_HELPED})"
        " SELECT (SELECT count(*) FROM helped) AS assisted,"
        " (SELECT coalesce(jsonb_object_agg(k, n), '{}')"
        " FROM (SELECT department AS k, count(*) AS n FROM helped GROUP BY 1) t) AS by_department,"
        " (SELECT coalesce(jsonb_object_agg(k, n), '{}')"
        " FROM (SELECT exploitation_country AS k, count(*) AS n FROM helped"
        " GROUP BY 1) t) AS by_country,"
        " (SELECT coalesce(jsonb_object_agg(k, n), '{}')"
        " FROM (SELECT to_char(create_time AT TIME ZONE 'UTC', 'YYYY-MM') AS k, count(*) AS n"
        "   FROM helped GROUP BY 1) t) AS by_month,"
        " (SELECT coalesce(jsonb_object_agg(need, n), '{}') FROM (SELECT need, count(*) AS n"
        " FROM needs GROUP BY 1) t) AS by_need",
        {"start": start, "end": end},
    ).fetchone()
    assert row is not None
    return row


def count_open_work(
    tx: Transaction, organization_id: str, due_before: datetime, step: datetime
) -> dict[str, int]:
    """Counts the open work of an organisation.

    Open work is live referrals, work that is due before `due_before` (referrals in which it is the
    organisation's turn to act, open contacts and owed calls of a line), open enquiries that it
    made, open enquiries that it has not answered, and files and running plans as of the time
    `step`. The counts of files and plans are at least 1 once the organisation has had any, so that
    zero can't be distinguished from a few.
    """
    row = tx.execute(
        "SELECT (SELECT count(*) FROM referrals WHERE receiver_organization_id = %(organization)s"
        " AND state = ANY(%(live)s)) AS received_count,"
        " (SELECT count(*) FROM referrals WHERE sender_organization_id = %(organization)s"
        " AND state = ANY(%(live)s)) AS sent_count,"
        f" (SELECT count(*) FROM referrals WHERE {MINE}"
        " AND (next_due_time < %(due)s OR deletion_due_time < %(due)s))"
        " + (SELECT count(*) FROM contacts WHERE organization_id = %(organization)s"
        " AND outcome_code = 'open' AND clock_due_time < %(due)s)"
        " + (SELECT count(*) FROM callbacks WHERE organization_id = %(organization)s"
        " AND outcome_code = '' AND clock_due_time < %(due)s) AS due_count,"
        " (SELECT count(*) FROM enquiries WHERE organization_id = %(organization)s"
        " AND state = 'open') AS asking_count,"
        " (SELECT count(DISTINCT enquiry_id) FROM enquiry_offers"
        " WHERE organization_id = %(organization)s AND state = 'open'"
        " AND answer = '') AS asked_count,"
        " (SELECT greatest(count(*) FILTER (WHERE NOT erased), least(count(*), 1)) FROM people"
        "   WHERE organization_id = %(organization)s AND create_time < %(step)s) AS most_people,"
        " (SELECT greatest(count(*) FILTER (WHERE close_time IS NULL"
        " OR close_time >= %(step)s), least(count(*), 1)) FROM plans"
        "   WHERE organization_id = %(organization)s AND create_time < %(step)s) AS most_plans",
        {
            "organization": organization_id,
            "due": due_before,
            "step": step,
            "live": [state.value for state in LIVE],
        },
    ).fetchone()
    assert row is not None
    return dict(row)


def response_times(tx: Transaction, since: datetime) -> list[Row]:
    """Returns how soon organisations answered the referrals sent to them since `since`.

    Each row has the number of referrals sent, the number answered, and the median time to answer in
    seconds. The slowest come first; organisations that answered no referral come last, with 0
    seconds.
    """
    return tx.execute(
        # A referral that was sent since `since` can only have been answered since then, so both
        # tables are read only from that time on.
        "WITH answered AS (SELECT referral_id, organization_id, min(time) AS time"
        " FROM referral_events"
        f"   WHERE time >= %(since)s AND verb IN ({ANSWERS}) GROUP BY 1, 2),"
        " asked AS (SELECT r.receiver_organization_id AS organization_id, extract(epoch FROM a.time"
        " - r.send_time) AS seconds"
        "   FROM referrals r LEFT JOIN answered a ON a.referral_id = r.id"
        " AND a.organization_id = r.receiver_organization_id"
        "   WHERE r.send_time >= %(since)s AND r.state <> 'entered_in_error')"
        " SELECT organization_id, count(*)::int AS sent, count(seconds)::int AS answered,"
        " coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds), 0)::int AS median_seconds"
        " FROM asked GROUP BY 1 ORDER BY count(seconds) = 0, median_seconds DESC, 1",
        {"since": since},
    ).fetchall()


def counted_until(tx: Transaction) -> str:
    """Returns the last quarter that was counted; "" before the first count."""
    row = tx.execute("SELECT coalesce(max(until), '') AS until FROM figure_counts").fetchone()
    assert row is not None
    return str(row["until"])


def count_completed(tx: Transaction, start: datetime, end: datetime) -> dict[Cell, int]:
    """Counts the people for whom help was completed in [start, end), by cell.

    Help that resolved nothing is not counted, and neither is help after which the referral was
    reopened, since that help had not come. A person is in no cell if her country, or the country
    that she had been taken to, is not known.
    """
    rows = tx.execute(
        "SELECT to_char(e.time AT TIME ZONE 'UTC', 'YYYY-\"Q\"Q') AS quarter,"
        " p.exploitation_country, p.country,"
        " left(r.need_code, 3) AS need_group, count(DISTINCT p.id)::int AS people"
        " FROM referral_events e JOIN referrals r ON r.id = e.referral_id"
        " JOIN people p ON p.id = r.person_id"
        " WHERE e.verb = 'completed' AND e.time >= %s AND e.time < %s"
        f" AND e.reason_code <> '{NOT_MET}'"
        " AND NOT EXISTS (SELECT FROM referral_events later WHERE later.referral_id = r.id"
        " AND later.version > e.version AND later.verb = 'reopened')"
        " AND r.state <> 'entered_in_error'"
        " AND p.country <> '' AND p.exploitation_country <> '' GROUP BY 1, 2, 3, 4",
        (start, end),
    )
    return {_cell(row): row["people"] for row in rows}


def save(tx: Transaction, cells: dict[Cell, int], until: str, now: datetime) -> None:
    """Saves published cells, and the last quarter that was counted."""
    for cell, people in cells.items():
        tx.execute(
            "INSERT INTO published_figures (quarter, exploitation_country, country, need_group,"
            " people) VALUES (%s, %s, %s, %s, %s)",
            (cell.quarter, cell.exploitation_country, cell.country, cell.need_group, people),
        )
    tx.execute("INSERT INTO figure_counts (until, count_time) VALUES (%s, %s)", (until, now))


def stored_cells(tx: Transaction) -> dict[Cell, int]:
    """Returns all published cells."""
    rows = tx.execute("SELECT * FROM published_figures")
    return {_cell(row): row["people"] for row in rows}


def _cell(row: Row) -> Cell:
    return Cell(row["quarter"], row["exploitation_country"], row["country"], row["need_group"])
