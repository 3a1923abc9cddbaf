"""What the trail says of who looked at what. The acts stand in the statements, for an index goes by them."""

from datetime import datetime

from chassis.db import Transaction, take_turn
from services.referrals.domain.openings import READING

_READING = ", ".join(f"'{action}'" for action in READING)


def hold(tx: Transaction, worker_id: str) -> None:
    """Whoever looks at something takes her own turn until that is on record, in whichever process: many at once are all counted."""
    take_turn(tx, f"openings/{worker_id}")


def opened_since(tx: Transaction, worker_id: str, time: datetime) -> dict[str, datetime]:
    """What a worker has looked at since then, and when last. A person's contact is one thing, though it is on record with both."""
    rows = tx.execute(
        f"SELECT object_id, max(time) AS time FROM audit WHERE actor_id = %s AND time > %s AND allowed AND action IN ({_READING})"
        " AND NOT (action = 'read_contact' AND cardinality(detail_codes) > 1) GROUP BY object_id",
        (worker_id, time),
    )
    return {row["object_id"]: row["time"] for row in rows}
