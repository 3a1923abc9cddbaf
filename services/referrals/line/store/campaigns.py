"""Stores campaigns of the line with their codes, and counts the contacts that named each code."""

from chassis.db import Row, Transaction
from chassis.errors import NotFound
from chassis.wire import Cursor
from services.referrals.line.domain.campaign import Campaign, Placement

_SELECT = (
    "SELECT p.code, p.medium_code, p.campaign_id, c.country, c.end_time IS NULL AS active"
    " FROM placements p JOIN campaigns c ON c.id = p.campaign_id"
)


def add(tx: Transaction, campaign: Campaign, worker_id: str) -> None:
    """Inserts a campaign without its codes."""
    tx.execute(
        "INSERT INTO campaigns (id, name, country, created_by_worker_id, create_time)"
        " VALUES (%s, %s, %s, %s, %s)",
        (campaign.id, campaign.name, campaign.country, worker_id, campaign.create_time),
    )


def add_placement(tx: Transaction, placement: Placement) -> bool:
    """Inserts a placement with its code; returns False if the code is already in use."""
    result = tx.execute(
        "INSERT INTO placements (code, campaign_id, medium_code) VALUES (%s, %s, %s)"
        " ON CONFLICT (code) DO NOTHING",
        (placement.code, placement.campaign_id, placement.medium_code),
    )
    return result.rowcount == 1


def get(tx: Transaction, identifier: str) -> Campaign:
    """Locks and returns one campaign; raises NotFound if there is none."""
    row = tx.execute("SELECT * FROM campaigns WHERE id = %s FOR UPDATE", (identifier,)).fetchone()
    if row is None:
        raise NotFound
    return _campaigns(tx, [row])[0]


def end(tx: Transaction, campaign: Campaign) -> None:
    """Saves the end of a campaign."""
    tx.execute("UPDATE campaigns SET end_time = %s WHERE id = %s", (campaign.end_time, campaign.id))


def page(tx: Transaction, limit: int, after: Cursor | None) -> tuple[list[Campaign], Cursor | None]:
    """Returns a page of campaigns, newest first, and the cursor of the next page."""
    time, identifier = after or ("infinity", "")
    rows = tx.execute(
        "SELECT *, create_time::text AS key FROM campaigns WHERE create_time < %s::timestamptz"
        " OR (create_time = %s::timestamptz AND id > %s)"
        " ORDER BY create_time DESC, id LIMIT %s",
        (time, time, identifier, limit + 1),
    ).fetchall()
    return _campaigns(tx, rows[:limit]), [rows[limit - 1]["key"], rows[limit - 1]["id"]] if len(
        rows
    ) > limit else None


def placement(tx: Transaction, code: str) -> Placement | None:
    """Returns the placement with this code; None if there is none."""
    row = tx.execute(f"{_SELECT} WHERE p.code = %s", (code,)).fetchone()
    return Placement(**row) if row else None


def count_contacts(tx: Transaction, campaign: Campaign) -> list[Row]:
    """Counts the contacts that named a code of the campaign, within the scope.

    Each row has placement_code, triage, outcome_code and count.
    """
    return tx.execute(
        "SELECT placement_code, triage, outcome_code, count(*) AS count FROM contacts"
        " WHERE placement_code = ANY(%s) GROUP BY 1, 2, 3",
        ([placement.code for placement in campaign.placements],),
    ).fetchall()


def _campaigns(tx: Transaction, rows: list[Row]) -> list[Campaign]:
    placements: dict[str, list[Placement]] = {row["id"]: [] for row in rows}
    for placement in tx.execute(
        f"{_SELECT} WHERE p.campaign_id = ANY(%s) ORDER BY p.number", (list(placements),)
    ):
        placements[placement["campaign_id"]].append(Placement(**placement))
    return [
        Campaign(
            row["id"],
            row["name"],
            row["country"],
            row["create_time"],
            row["end_time"],
            placements[row["id"]],
        )
        for row in rows
    ]
