"""What callers said later: sealed with her own key where she has a file, else with the
service's.
"""

from datetime import datetime

from chassis.db import Transaction
from chassis.errors import Conflict
from keys.sealing import CannotOpen, Key, Keyring
from services.referrals.files.store.people import People
from services.referrals.line.domain.contact import LaterNote


class ContactNotes:
    """A copy for each contact."""

    def __init__(self, keyring: Keyring, people: People) -> None:
        self._keyring = keyring
        self._people = people

    def add(
        self, tx: Transaction, contact_id: str, person_id: str, note: str, now: datetime
    ) -> None:
        """Keeps a note of a contact, which is this transaction's; `person_id`: her file, if she has
        one.

        What she says after that was erased is the line's to keep, like that of who has none.
        """
        row = tx.execute(
            "SELECT count(*) AS count FROM contact_notes WHERE contact_id = %s", (contact_id,)
        ).fetchone()
        number = row["count"] if row else 0
        key = self._key(tx, person_id)
        tx.execute(
            "INSERT INTO contact_notes (contact_id, number, person_id, time, sealed)"
            " VALUES (%s, %s, %s, %s, %s)",
            (
                contact_id,
                number,
                person_id if key else "",
                now,
                (key or self._keyring).seal(note, _context(contact_id, number)),
            ),
        )

    def of(self, tx: Transaction, contact_id: str) -> list[LaterNote]:
        """Those of a contact, oldest first, but for what was erased.

        Whoever calls this has recorded the reading.
        """
        rows = tx.execute(
            "SELECT * FROM contact_notes WHERE contact_id = %s ORDER BY number", (contact_id,)
        ).fetchall()
        keys = {
            person_id: self._key(tx, person_id) if person_id else self._keyring
            for person_id in {row["person_id"] for row in rows}
        }
        return [
            LaterNote(row["time"], _opened(key, row["sealed"], _context(contact_id, row["number"])))
            for row in rows
            if (key := keys[row["person_id"]])
        ]

    def _key(self, tx: Transaction, person_id: str) -> Key | None:
        try:
            return self._people.key(tx, person_id) if person_id else None
        except Conflict:  # erased
            return None


def count_between(tx: Transaction, contact_id: str, start: datetime, end: datetime) -> int:
    """How many there are of a contact in this time."""
    row = tx.execute(
        "SELECT count(*) AS count FROM contact_notes WHERE contact_id = %s AND time > %s"
        " AND time < %s",
        (contact_id, start, end),
    ).fetchone()
    return int(row["count"]) if row else 0


def _opened(key: Key, sealed: bytes, context: str) -> str | None:
    try:
        return key.open(sealed, context)
    except CannotOpen as damaged:
        damaged.alarm()
        return None


def _context(contact_id: str, number: int) -> str:
    return f"contact_notes/{contact_id}/{number}/note"
