"""The audit trail: who did or read something, for which purpose, and whether it was allowed. Each
row holds ids and codes only, and is chained to the row before.

A row is written in the transaction of the call that it records, so neither a change nor an answer
exists without its row. The service's role can only add rows; the database numbers the rows. The
database's owner can change rows; then the chain (trail/chain.py) or the heads that other
services store (trail/heads.py) no longer match.

Each row carries a mark: an HMAC-SHA256 over its contents and the caller's token, with a key that
only the service's processes have. So the database password is not enough to add a valid row.
Limitation: an attacker who takes over a service has that key, and can then write false rows, but
not replace earlier ones.
"""

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from chassis.db import BoundedConnection, Transaction
from chassis.ids import is_id
from chassis.tokens import Caller
from keys.sealing import Keyring


@dataclass(frozen=True)
class Entry:
    """An action on an object.

    `action` is a business verb, `object_id` an opaque id; `detail_codes` lists, for example, field
    groups.
    """

    action: str
    object_id: str
    purpose_code: str = ""
    detail_codes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Head:
    """The sequence and hash of a row: a position in the chain."""

    sequence: int
    hash: bytes


START = Head(0, sha256(b"enlace.audit.v1").digest())
"""The position before the first row."""
NO_HEAD = Head(-1, b"")
"""The result of `head` if the row of the table `audit_head` was removed."""

_NONCE_BYTES = 8  # random bytes before the hash in a mark, so that equal rows have different marks
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Marker:
    """Computes the marks of a service's rows.

    The key is derived on first use from the permanent secret of the service's keyring.
    """

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._key = b""

    def __call__(self, contents: bytes) -> bytes:
        """Returns a new mark for the contents of a row.

        Raises Unavailable if the secret is in a key service that has not answered yet.
        """
        return self._mark(secrets.token_bytes(_NONCE_BYTES), contents)

    def is_valid(self, mark: bytes, contents: bytes) -> bool:
        """Returns True if this service made this mark for these contents."""
        return hmac.compare_digest(self._mark(mark[:_NONCE_BYTES], contents), mark)

    def _mark(self, nonce: bytes, contents: bytes) -> bytes:
        self._key = self._key or self._keyring.fingerprint(b"rows", "audit")
        return nonce + hmac.digest(self._key, nonce + contents, "sha256")


def record(
    tx: Transaction, caller: Caller, time: datetime, entries: Sequence[Entry], *, reason: str = ""
) -> None:
    """Adds entries to the trail. `reason` is why the action was refused; "" if it was allowed.

    Call it last in a transaction: it locks the trail until the transaction ends.
    """
    marker = tx.marker if isinstance(tx, BoundedConnection) else None
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
            not reason,
            reason,
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
            [(*row, marker and marker(_row_contents(*row))) for row in rows],
        )


def _row_contents(
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
    """Returns the part of a row that its mark covers, in the format of trail.chain._LINES."""
    end = str(_microseconds(token_end)) if token_end else ""
    codes = ",".join(detail_codes)
    fields = (
        str(_microseconds(time)),
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


def _microseconds(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)


def head(tx: Transaction) -> Head:
    """Returns the last row's sequence and hash, which a separate table holds; NO_HEAD if that table
    is empty.
    """
    row = tx.execute("SELECT sequence, hash FROM audit_head").fetchone()
    return Head(row["sequence"], bytes(row["hash"])) if row else NO_HEAD


class Trail(list[Entry]):
    """The trail entries of one call: the entries that its method adds, or else a default entry."""

    def __init__(self, action: str) -> None:
        super().__init__()
        self._action = action

    def default_entry(self, caller: Caller, *messages: Message) -> Entry:
        """Returns an entry for this rpc. Its object is the first id found in these messages, or the
        caller's organisation if they contain none.
        """
        return Entry(
            self._action, next(filter(None, map(_object_id, messages)), caller.organization_id)
        )


def _object_id(message: Message) -> str:
    """Returns the id of the object that a message is about: the message's own id, the id of a
    resource in the message, or the first id that the message names; "" if there is none.
    """
    resources = _id_names(message.DESCRIPTOR).resources
    parts = [message, *(getattr(message, name) for name in resources if message.HasField(name))]
    names = [_id_names(part.DESCRIPTOR) for part in parts]
    ids = [
        getattr(part, name)
        for part, id_names in zip(parts, names, strict=True)
        for name in id_names.own_ids
    ]
    ids += [
        getattr(part, name)
        for part, id_names in zip(parts, names, strict=True)
        for name in id_names.other_ids
    ]
    return next((value for value in ids if isinstance(value, str) and is_id(value)), "")


@dataclass(frozen=True)
class _IdNames:
    """The names of a message's fields that may hold ids: its own id, other ids, and resources with
    an id of their own.
    """

    own_ids: list[str]
    other_ids: list[str]
    resources: list[str]


@cache
def _id_names(message: Descriptor) -> _IdNames:
    fields = message.fields
    names = [field.name for field in fields]
    return _IdNames(
        [name for name in names if name == "id"],
        [name for name in names if name.endswith("_id") and name != "request_id"],
        [
            field.name
            for field in fields
            if field.message_type
            and not field.is_repeated
            and "id" in field.message_type.fields_by_name
        ],
    )
