"""Stores the notes that callers add with their reference after a contact.

If the caller has a file, a note is sealed with her own key, otherwise with the service's key.
"""

from datetime import datetime

from chassis.db import Transaction
from chassis.errors import Conflict
from keys.sealing import CannotOpen, Keyring, SealingKey
from services.referrals.files.store.people import People
from services.referrals.line.domain.contact import LaterNote

MOST_READ = 200
"""The maximum number of a contact's notes that are read: that many fit into an answer of 4 MiB."""


class ContactNotes:
    """The store of later notes; each of a caller's contacts has its own copy of a note."""

    def __init__(self, keyring: Keyring, people: People) -> None:
        self._keyring = keyring
        self._people = people

    def add(
        self, tx: Transaction, contact_id: str, person_id: str, note: str, now: datetime
    ) -> None:
        """Saves a note for a contact, which this transaction must have locked.

        `person_id` is the caller's file, if she has one. If that file is erased, the note is sealed
        with the service's key, like the note of a caller without a file.
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
        """Returns the latest notes of a contact that were not erased, oldest first.

        The calling code must record the access.
        """
        rows = tx.execute(
            "SELECT * FROM (SELECT * FROM contact_notes WHERE contact_id = %s"
            " ORDER BY number DESC LIMIT %s) AS latest ORDER BY number",
            (contact_id, MOST_READ),
        ).fetchall()
        keys = {
            person_id: self._key(tx, person_id) if person_id else self._keyring
            for person_id in {row["person_id"] for row in rows}
        }
        return [
            LaterNote(row["time"], _open(key, row["sealed"], _context(contact_id, row["number"])))
            for row in rows
            if (key := keys[row["person_id"]])
        ]

    def _key(self, tx: Transaction, person_id: str) -> SealingKey | None:
        try:
            return self._people.key(tx, person_id) if person_id else None
        except Conflict:  # the person was erased
            return None


def count_between(tx: Transaction, contact_id: str, start: datetime, end: datetime) -> int:
    """Returns the number of notes that were added to a contact between these times."""
    row = tx.execute(
        "SELECT count(*) AS count FROM contact_notes WHERE contact_id = %s AND time > %s"
        " AND time < %s",
        (contact_id, start, end),
    ).fetchone()
    return int(row["count"]) if row else 0


def _open(key: SealingKey, sealed_note: bytes, context: str) -> str | None:
    try:
        return key.open(sealed_note, context)
    except CannotOpen as error:
        error.alarm()
        return None


def _context(contact_id: str, number: int) -> str:
    return f"contact_notes/{contact_id}/{number}/note"
