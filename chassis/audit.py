"""The trail: who did or read what, for which purpose, and whether it was allowed; ids and codes
only, each row chained to the one before.

Written in the transaction of what it records: no row, no change, and no answer. The service's role
can add rows, and neither choose their place nor change or remove any. Who owns the database can;
then the chain does not fit any more, or not what others have witnessed of it (trail.heads). Each
row carries a mark (HMAC-SHA256) by a key that only the service's processes have, over what it says
and the token that it was said by: a role of the database alone adds no row that fits. Limit: a
service that was taken over has that key; it can write false rows from then on, not other ones in
their place.
"""

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from google.protobuf.message import Message

from chassis.db import Bounded, Transaction
from chassis.ids import is_id
from chassis.tokens import Caller
from keys.sealing import Keyring


@dataclass(frozen=True)
class Entry:
    """One act on one object.

    `action` is a verb of the business, `object_id` opaque, `detail_codes` e.g. field groups.
    """

    action: str
    object_id: str
    purpose_code: str = ""
    detail_codes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Head:
    """A row's place in the chain: its sequence and its hash."""

    sequence: int
    hash: bytes


START = Head(0, sha256(b"enlace.audit.v1").digest())
"""What the first row is chained to."""

_NONCE = 8  # bytes before the hash of a mark: two rows that say the same have two marks
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Marker:
    """Makes the marks of a service's rows.

    Its key is derived from the secret that the service's keyring keeps for ever, at the first use.
    """

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._key = b""

    def __call__(self, said: bytes) -> bytes:
        """A new mark of what a row says.

        Raises Unavailable while a key service that has the secret has not answered once.
        """
        return self._mark(secrets.token_bytes(_NONCE), said)

    def holds(self, mark: bytes, said: bytes) -> bool:
        """Whether this service made the mark, for a row that says this."""
        return hmac.compare_digest(self._mark(mark[:_NONCE], said), mark)

    def _mark(self, nonce: bytes, said: bytes) -> bytes:
        self._key = self._key or self._keyring.fingerprint(b"rows", "audit")
        return nonce + hmac.digest(self._key, nonce + said, "sha256")


def record(
    tx: Transaction, caller: Caller, time: datetime, entries: Sequence[Entry], *, refused: str = ""
) -> None:
    """Adds entries to the trail; `refused` is the reason when they were not allowed.

    The last act of a transaction: from here on nobody else can write to the trail until it ends.
    """
    marker = tx.marker if isinstance(tx, Bounded) else None
    token = caller.token
    rows = [
        (
            time,
            caller.kind,
            caller.id,
            caller.organization_id,
            e.action,
            e.object_id,
            e.purpose_code,
            list(e.detail_codes),
            not refused,
            refused,
            token.hash if token else None,
            token.end if token else None,
        )
        for e in entries
    ]
    with tx.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO audit (time, actor_kind, actor_id, organization_id, action, object_id,"
            " purpose_code, detail_codes, allowed, reason,"
            " token_hash, token_end, mark) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s,"
            " %s)",
            [(*row, marker and marker(_said(*row))) for row in rows],
        )


def _said(
    time: datetime,
    kind: str,
    id: str,
    organization_id: str,
    action: str,
    object_id: str,
    purpose_code: str,
    detail_codes: Sequence[str],
    allowed: bool,
    reason: str,
    token_hash: str | None,
    token_end: datetime | None,
) -> bytes:
    """All that the service says in a row, as the mark covers it and as _LINES has it."""
    end = str(_micros(token_end)) if token_end else ""
    codes = ",".join(detail_codes)
    fields = (
        str(_micros(time)),
        kind,
        id,
        organization_id,
        action,
        object_id,
        purpose_code,
        codes,
        str(int(allowed)),
        reason,
    )
    return "\t".join((*fields, token_hash or "", end)).encode()


def _micros(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)


def is_append_only(tx: Transaction) -> bool:
    """Whether the tables that say so of themselves are closed to changes by the service's role."""
    row = tx.execute(
        "SELECT count(*) > 0 AND bool_and(NOT has_table_privilege(oid, 'UPDATE, DELETE, TRUNCATE')"
        " AND (obj_description(oid, 'pg_class') NOT LIKE 'owner only%'"
        " OR NOT has_table_privilege(oid, 'INSERT'))) AS closed"
        " FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        " AND obj_description(oid, 'pg_class') ~ '^(owner|append) only'"
    ).fetchone()
    return bool(row and row["closed"])


def readings(
    tx: Transaction,
    object_id: str,
    actions: Sequence[str],
    *,
    limit: int,
    before: int | None = None,
) -> list[dict[str, Any]]:
    """Returns who did these actions on an object, newest first; `before` is a sequence to go on
    from.

    Somebody who does the same several times within an hour by the clock did it once; each refusal
    is listed.
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
    """Rows of the trail, newest first; what is empty does not narrow it.

    `before` is a sequence to go on from.
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


def head(tx: Transaction) -> Head:
    """The last row, as the database keeps it apart."""
    row = tx.execute("SELECT sequence, hash FROM audit_head").fetchone()
    return Head(row["sequence"], bytes(row["hash"])) if row else Head(-1, b"")


class Trail(list[Entry]):
    """What is to be put on record of a call: what its method says, or else the usual."""

    def __init__(self, action: str) -> None:
        super().__init__()
        self._action = action

    def usual(self, caller: Caller, *messages: Message) -> Entry:
        """The rpc, and the first id in these messages; of a list that names none, whose it is."""
        return Entry(
            self._action, next(filter(None, map(_object, messages)), caller.organization_id)
        )


def _object(message: Message) -> str:
    """The id that a message is about: its own, that of a resource in it, or the first that it
    names.
    """
    fields = [field for field in message.DESCRIPTOR.fields if not field.is_repeated]
    inner = [
        getattr(message, field.name)
        for field in fields
        if field.message_type and message.HasField(field.name)
    ]
    own = [message, *(one for one in inner if "id" in one.DESCRIPTOR.fields_by_name)]
    named = [
        getattr(one, field.name)
        for one in own
        for field in one.DESCRIPTOR.fields
        if field.name == "id"
    ]
    named += [
        getattr(one, field.name)
        for one in own
        for field in one.DESCRIPTOR.fields
        if field.name.endswith("_id") and field.name != "request_id"
    ]
    return next((value for value in named if isinstance(value, str) and is_id(value)), "")
