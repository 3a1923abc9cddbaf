"""Stores contacts of the line, and the references of callers."""

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime

from chassis.db import Row, Transaction
from chassis.errors import Conflict, NotFound, Stale
from chassis.locks import advisory_lock
from chassis.wire import Cursor
from facts import outbox
from keys.sealing import CannotOpen, Keyring
from services.referrals.line.domain.contact import HERSELF, Contact
from services.referrals.line.domain.triage import Triage
from services.referrals.line.wire.facts import contact_fact
from services.referrals.network.domain.deadline import (
    CLOCK_FIELDS,
    Deadline,
    DeadlineKind,
    Urgency,
)
from services.referrals.network.store.deadlines import announce

_PLAIN_COLUMNS = [field.name for field in fields(Contact) if field.name not in ("triage", "clock")]
_COLUMNS = [
    *_PLAIN_COLUMNS,
    "triage",
    *(f"clock_{name}" for name in CLOCK_FIELDS),
    "clock_next_time",
]
_NO_CLOCK = {f"clock_{name}": None for name in CLOCK_FIELDS} | {
    "clock_fired_percent": 0,
    "clock_policy_version": 1,
}
# Column names, joined once; no value ever becomes part of the text of a statement.
_INSERT = (
    f"INSERT INTO contacts ({', '.join(_COLUMNS)}, note_sealed)"
    f" VALUES ({', '.join(f'%({c})s' for c in _COLUMNS)}, %(note)s)"
)
_UPDATE = (
    "UPDATE contacts SET"
    f" {', '.join(f'{c} = %({c})s' for c in _COLUMNS if c not in ('id', 'create_time'))},"
    " note_sealed = coalesce(%(note)s, note_sealed) WHERE id = %(id)s AND version = %(version)s - 1"
)


def answers_of(tx: Transaction, identifier: str) -> tuple[Triage, str]:
    """Returns the answers and the need of a contact; raises NotFound outside the scope."""
    row = tx.execute(
        "SELECT triage, need_code FROM contacts WHERE id = %s", (identifier,)
    ).fetchone()
    if row is None:
        raise NotFound
    return Triage(**row["triage"]), row["need_code"]


def urgency_of(tx: Transaction, identifier: str) -> Urgency | None:
    """Returns the urgency that follows from a contact's answers; None for "" or no answers.

    Raises NotFound outside the scope.
    """
    return answers_of(tx, identifier)[0].urgency() if identifier else None


class Contacts:
    """The store of contacts.

    Notes are sealed with the service's key, since a contact may have no person yet.
    """

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def add(self, tx: Transaction, contact: Contact, note: str) -> None:
        """Inserts a contact and its fact."""
        tx.execute(_INSERT, _values(contact) | {"note": self._seal(contact, note)})
        outbox.save(tx, [contact_fact(contact, "recorded")])
        _announce(tx, contact)

    def change(self, tx: Transaction, contact: Contact, note: str | None) -> None:
        """Saves a new version of a contact, and the note unless it is None. Raises Stale."""
        save(tx, contact, "changed", None if note is None else self._seal(contact, note))

    def get(
        self, tx: Transaction, identifier: str, *, for_update: bool = False
    ) -> tuple[Contact, str | None]:
        """Returns a contact and its note; raises NotFound outside the scope.

        If the note can't be opened, it is None, and an alarm is raised.
        """
        row = tx.execute(
            "SELECT * FROM contacts WHERE id = %s" + (" FOR UPDATE" if for_update else ""),
            (identifier,),
        ).fetchone()
        if row is None:
            raise NotFound
        if not row["note_sealed"]:
            return _read(row), ""
        try:
            return _read(row), self._keyring.open(row["note_sealed"], _note_context(identifier))
        except CannotOpen as error:
            error.alarm()
            return _read(row), None

    def page(
        self,
        tx: Transaction,
        organization_id: str,
        outcome_code: str,
        limit: int,
        after: Cursor | None,
    ) -> tuple[list[Contact], Cursor | None]:
        """Returns a page of an organisation's contacts, newest first, and the next page's cursor.

        `outcome_code` selects contacts with this outcome; "" selects all.
        """
        time, identifier = after or ("infinity", "")
        rows = tx.execute(
            "SELECT *, create_time::text AS key FROM contacts WHERE organization_id = %s"
            f"{' AND outcome_code = %s' if outcome_code else ''}"
            " AND (create_time < %s::timestamptz OR (create_time = %s::timestamptz AND id > %s))"
            " ORDER BY create_time DESC, id LIMIT %s",
            (
                organization_id,
                *([outcome_code] if outcome_code else []),
                time,
                time,
                identifier,
                limit + 1,
            ),
        ).fetchall()
        return [_read(row) for row in rows[:limit]], [
            rows[limit - 1]["key"],
            rows[limit - 1]["id"],
        ] if len(rows) > limit else None

    def add_reference(
        self, tx: Transaction, reference: str, contact_id: str, pin_hash: str
    ) -> None:
        """Saves the fingerprint of a reference with the hash of its PIN."""
        tx.execute(
            "INSERT INTO contact_references (fingerprint, contact_id, pin_hash)"
            " VALUES (%s, %s, %s)",
            (self._fingerprint(reference), contact_id, pin_hash),
        )

    def by_reference(self, tx: Transaction, reference: str) -> tuple[str, str] | None:
        """Returns (contact id, PIN hash), or None for an unknown reference.

        This works in every scope, since the reference and its PIN are credentials of their own.
        """
        row = tx.execute(
            "SELECT contact_id, pin_hash FROM contact_references WHERE fingerprint = %s",
            (self._fingerprint(reference),),
        ).fetchone()
        return (row["contact_id"], row["pin_hash"]) if row else None

    def item_key(self, first_id: str, referral_id: str) -> str:
        """Returns the key that a caller sends to name one of her referrals.

        The key tells her referrals apart, but nobody can find the referral by the key alone.
        """
        return self._keyring.fingerprint(
            f"{first_id}/{referral_id}".encode(), "reference items"
        ).hex()[:12]

    def _fingerprint(self, reference: str) -> bytes:
        return self._keyring.fingerprint(reference.encode(), "references")

    def _seal(self, contact: Contact, note: str) -> bytes:
        return self._keyring.seal_bytes(note.encode(), _note_context(contact.id))


def of_caller(tx: Transaction, first_id: str, *, for_update: bool = False) -> list[Contact]:
    """Returns the first contact of a reference and the contacts tied to it, oldest first."""
    rows = tx.execute(
        (
            "SELECT * FROM contacts WHERE id = %s OR (tied_to_id = %s AND tied_to_id <> '')"
            " ORDER BY create_time, id"
        )
        + (" FOR UPDATE" if for_update else ""),
        (first_id, first_id),
    )
    return [_read(row) for row in rows]


def lock_caller(tx: Transaction, identifier: str) -> None:
    """Locks the caller of a contact while a transaction records a callback for her.

    A transaction must take this lock before it locks any of her contacts. Raises NotFound outside
    the scope.
    """
    row = tx.execute(
        "SELECT coalesce(nullif(tied_to_id, ''), id) AS first FROM contacts WHERE id = %s",
        (identifier,),
    ).fetchone()
    if row is None:
        raise NotFound
    advisory_lock(tx, f"caller/{row['first']}")


def person_ids_of(tx: Transaction, contacts: Sequence[Contact]) -> list[str]:
    """Returns the ids of the files that belong to a caller's contacts.

    These are the files named in the contacts, and the files with a referral made for the contacts.
    The ids are sorted, since files must be locked in this order.
    """
    rows = tx.execute(
        "SELECT DISTINCT person_id FROM referrals WHERE contact_id = ANY(%s)",
        ([contact.id for contact in contacts],),
    )
    return sorted(
        {*(contact.person_id for contact in contacts), *(row["person_id"] for row in rows)} - {""}
    )


def ids_of_same_person(tx: Transaction, contact_ids: Sequence[str]) -> list[str]:
    """Returns the ids of other contacts in which the same person spoke.

    The same person spoke in two contacts if they name the same file, or have referrals for it.
    Contacts in which somebody else spoke for the person are ignored.
    """
    rows = tx.execute(
        "WITH spoken AS (SELECT id, person_id FROM contacts WHERE id = ANY(%(ids)s)"
        " AND speaker_code = %(herself)s), files AS (SELECT person_id FROM spoken UNION"
        " SELECT person_id FROM referrals WHERE contact_id IN (SELECT id FROM spoken))"
        " SELECT id FROM contacts WHERE speaker_code = %(herself)s AND id <> ALL(%(ids)s)"
        " AND id IN (SELECT id FROM contacts WHERE person_id <> ''"
        " AND person_id IN (SELECT person_id FROM files) UNION"
        " SELECT contact_id FROM referrals WHERE person_id IN (SELECT person_id FROM files))",
        {"ids": list(contact_ids), "herself": HERSELF},
    )
    return [row["id"] for row in rows]


def lock(tx: Transaction, identifier: str) -> Contact:
    """Locks and returns a contact without its note; raises NotFound outside the scope."""
    row = tx.execute("SELECT * FROM contacts WHERE id = %s FOR UPDATE", (identifier,)).fetchone()
    if row is None:
        raise NotFound
    return _read(row)


def save(tx: Transaction, contact: Contact, verb: str, note: bytes | None = None) -> None:
    """Saves a new version of a contact and its fact, and `note` unless it is None. Raises Stale."""
    if tx.execute(_UPDATE, _values(contact) | {"note": note}).rowcount != 1:
        raise Stale
    outbox.save(tx, [contact_fact(contact, verb)])
    _announce(tx, contact)


def due(tx: Transaction, now: datetime, limit: int) -> list[str]:
    """Returns the ids of contacts whose deadline has reached a level, the earliest first.

    The contacts are locked for this transaction, so that two processes take different contacts.
    """
    rows = tx.execute(
        "SELECT id FROM contacts WHERE clock_next_time <= %s ORDER BY clock_next_time"
        " LIMIT %s FOR UPDATE SKIP LOCKED",
        (now, limit),
    )
    return [row["id"] for row in rows]


def put_aside(tx: Transaction, identifier: str, now: datetime, until: datetime) -> None:
    """Postpones a deadline that could not be fired."""
    tx.execute(
        "UPDATE contacts SET clock_next_time = %s WHERE id = %s AND clock_next_time <= %s",
        (until, identifier, now),
    )


def next_time(tx: Transaction) -> datetime | None:
    """Returns when a deadline of any contact or callback next reaches a level, or None."""
    row = tx.execute(
        "SELECT least((SELECT min(clock_next_time) FROM contacts"
        " WHERE clock_next_time IS NOT NULL),"
        " (SELECT min(clock_next_time) FROM callbacks WHERE clock_next_time IS NOT NULL)) AS next"
    ).fetchone()
    return row["next"] if row else None


def _announce(tx: Transaction, contact: Contact) -> None:
    announce(tx, "contacts", contact.clock.next_time if contact.clock else None)


def check_known(tx: Transaction, identifier: str) -> None:
    """Checks that a contact exists in the scope, and prevents its erasure during the transaction.

    Raises NotFound if there is no such contact, and Conflict if its person was erased.
    """
    _lock_known(tx, identifier)


def assault_time(tx: Transaction, identifier: str) -> datetime | None:
    """Returns the time of the assault, or None if unknown; raises what `check_known` raises."""
    time: datetime | None = _lock_known(tx, identifier)["assault_time"]
    return time


def _lock_known(tx: Transaction, identifier: str) -> Row:
    row = tx.execute(
        "SELECT assault_time, erased FROM contacts WHERE id = %s FOR SHARE", (identifier,)
    ).fetchone()
    if row is None:
        raise NotFound
    if row["erased"]:
        raise Conflict("person_erased")
    return row


def _note_context(contact_id: str) -> str:
    return f"contacts/{contact_id}/note"


def _values(contact: Contact) -> dict[str, object]:
    clock = contact.clock
    return {
        **{name: getattr(contact, name) for name in _PLAIN_COLUMNS},
        "triage": json.dumps(asdict(contact.triage)),
        **(
            {f"clock_{name}": getattr(clock, name) for name in CLOCK_FIELDS} if clock else _NO_CLOCK
        ),
        "clock_next_time": clock.next_time if clock else None,
    }


def _read(row: Row) -> Contact:
    clock = (
        Deadline(DeadlineKind.CONTACT, **{name: row[f"clock_{name}"] for name in CLOCK_FIELDS})
        if row["clock_due_time"]
        else None
    )
    return Contact(
        **{name: row[name] for name in _PLAIN_COLUMNS}, triage=Triage(**row["triage"]), clock=clock
    )
