"""Contacts of the line, and the references by which callers are known."""

import json
from dataclasses import asdict

from chassis import outbox
from chassis.db import Row, Transaction
from chassis.errors import NotFound, Stale
from chassis.sealing import Keyring
from chassis.wire import Position
from services.referrals import wire
from services.referrals.domain.contact import Contact, Triage


class Contacts:
    """Notes are sealed with the service's key: a contact may have no person yet."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def add(self, tx: Transaction, contact: Contact, note: str) -> None:
        """Records a contact."""
        tx.execute(
            "INSERT INTO contacts (id, organization_id, version, line_country, campaign_code, kind_code, speaker_code, language, triage, outcome_code,"
            " department, need_code, person_id, reference_hint, note_sealed, create_time, update_time) VALUES (%(id)s, %(organization_id)s, %(version)s,"
            " %(line_country)s, %(campaign_code)s, %(kind_code)s, %(speaker_code)s, %(language)s, %(triage)s::jsonb, %(outcome_code)s, %(department)s,"
            " %(need_code)s, %(person_id)s, %(reference_hint)s, %(note)s, %(create_time)s, %(update_time)s)",
            self._values(contact, note),
        )
        outbox.keep(tx, [wire.contact_fact(contact, "recorded")])

    def change(self, tx: Transaction, contact: Contact, note: str | None) -> None:
        """Writes a new version; the note only if given."""
        changed = tx.execute(
            "UPDATE contacts SET version = %(version)s, campaign_code = %(campaign_code)s, kind_code = %(kind_code)s,"
            " speaker_code = %(speaker_code)s, language = %(language)s,"
            " triage = %(triage)s::jsonb, outcome_code = %(outcome_code)s, department = %(department)s, need_code = %(need_code)s,"
            " person_id = %(person_id)s, update_time = %(update_time)s, note_sealed = coalesce(%(note)s, note_sealed)"
            " WHERE id = %(id)s AND version = %(version)s - 1",
            self._values(contact, note),
        ).rowcount
        if changed != 1:
            raise Stale
        outbox.keep(tx, [wire.contact_fact(contact, "changed")])

    def get(self, tx: Transaction, identifier: str, *, for_update: bool = False) -> tuple[Contact, str]:
        """A contact and its note; NotFound outside the scope."""
        row = tx.execute("SELECT * FROM contacts WHERE id = %s" + (" FOR UPDATE" if for_update else ""), (identifier,)).fetchone()
        if row is None:
            raise NotFound
        note = self._keyring.open_bytes(row["note_sealed"], _note_context(identifier)).decode() if row["note_sealed"] else ""
        return _read(row), note

    def page(
        self, tx: Transaction, organization_id: str, outcome_code: str, limit: int, after: Position | None
    ) -> tuple[list[Contact], Position | None]:
        """The contacts of an organisation, with one outcome where it is given, newest first, and where the next page goes on."""
        time, identifier = after or ("infinity", "")
        rows = tx.execute(
            "SELECT *, create_time::text AS key FROM contacts WHERE organization_id = %s"
            f"{' AND outcome_code = %s' if outcome_code else ''}"
            " AND (create_time < %s::timestamptz OR (create_time = %s::timestamptz AND id > %s)) ORDER BY create_time DESC, id LIMIT %s",
            (organization_id, *([outcome_code] if outcome_code else []), time, time, identifier, limit + 1),
        ).fetchall()
        return [_read(row) for row in rows[:limit]], [rows[limit - 1]["key"], rows[limit - 1]["id"]] if len(rows) > limit else None

    def add_reference(self, tx: Transaction, reference: str, contact_id: str, pin_hash: str) -> None:
        """Keeps the fingerprint of a reference with the hash of its PIN."""
        tx.execute(
            "INSERT INTO contact_references (fingerprint, contact_id, pin_hash) VALUES (%s, %s, %s)",
            (self._fingerprint(reference), contact_id, pin_hash),
        )

    def by_reference(self, tx: Transaction, reference: str) -> tuple[str, str] | None:
        """(contact id, PIN hash), or None for an unknown reference. In every scope: reference and PIN are the credential."""
        row = tx.execute(
            "SELECT contact_id, pin_hash FROM contact_references WHERE fingerprint = %s", (self._fingerprint(reference),)
        ).fetchone()
        return (row["contact_id"], row["pin_hash"]) if row else None

    def _fingerprint(self, reference: str) -> bytes:
        return self._keyring.fingerprint(reference.encode(), "references")

    def _values(self, contact: Contact, note: str | None) -> dict[str, object]:
        values = asdict(contact)
        values["triage"] = json.dumps(values["triage"])
        values["note"] = None if note is None else self._keyring.seal_bytes(note.encode(), _note_context(contact.id))
        return values


def hold(tx: Transaction, identifier: str) -> Contact:
    """A contact without its note, for this transaction to change; NotFound outside the scope."""
    row = tx.execute("SELECT * FROM contacts WHERE id = %s FOR UPDATE", (identifier,)).fetchone()
    if row is None:
        raise NotFound
    return _read(row)


def keep_outcome(tx: Transaction, contact: Contact) -> None:
    """Writes how a held contact stands, as a new version of it."""
    tx.execute(
        "UPDATE contacts SET outcome_code = %s, version = %s, update_time = %s WHERE id = %s",
        (contact.outcome_code, contact.version, contact.update_time, contact.id),
    )
    outbox.keep(tx, [wire.contact_fact(contact, "changed")])


def check_known(tx: Transaction, identifier: str) -> None:
    """NotFound when there is no such contact in the scope."""
    if tx.execute("SELECT 1 FROM contacts WHERE id = %s", (identifier,)).fetchone() is None:
        raise NotFound


def _note_context(contact_id: str) -> str:
    return f"contacts/{contact_id}/note"


def _read(row: Row) -> Contact:
    values = {name: value for name, value in row.items() if name not in ("note_sealed", "key")}
    return Contact(**values | {"triage": Triage(**row["triage"])})
