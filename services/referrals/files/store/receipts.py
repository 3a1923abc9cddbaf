"""Stores receipts with their facts.

A receipt is signed when it is saved, and its signature is verified when it is read. A receipt that
fails the verification opens nothing, and raises an alarm.
"""

import base64
import binascii
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime
from typing import Any

from chassis import log, metrics
from chassis.db import Row, Transaction
from chassis.errors import NotFound
from chassis.wire import Cursor
from facts import outbox
from keys.sealing import Signer
from services.referrals.files.domain.consent import BEST_INTEREST, Circumstances, Receipt
from services.referrals.files.domain.person import FieldGroup
from services.referrals.files.wire.facts import receipt_fact
from services.referrals.network.store import members

# Creates the counter before the first event, as metrics.publish_loop_state does.
_UNVERIFIED = metrics.ROWS_UNVERIFIED.labels("receipts")
_GROUNDS = ("adult_ground_code", "giver_ground_code")
_COLUMNS = [
    field.name
    for field in fields(Receipt)
    if field.name not in ("genuine", "circumstances", *_GROUNDS)
]
_CHANGEABLE = (
    "until_time",
    "confirm_time",
    "confirmed_by_worker_id",
    "withdraw_time",
    "version",
    "signature",
)
_INSERT = (
    f"INSERT INTO receipts ({', '.join(_COLUMNS)})"
    f" VALUES ({', '.join(f'%({c})s' for c in _COLUMNS)})"
)
_UPDATE = (
    f"UPDATE receipts SET {', '.join(f'{c} = %({c})s' for c in _CHANGEABLE)} WHERE id = %(id)s"
    " AND version = %(version)s - 1"
)
_RECORDER_SUSPENDED = members.suspended_condition("r.recorded_by_worker_id")
_ABOUT = (
    "SELECT (SELECT age_band FROM people WHERE people.id = {person}) AS age_band,"
    " (SELECT type FROM members WHERE members.id = {recipient}"
    " AND kind = 'organization') AS recipient_type"
)
# `published_version` reveals an older row that somebody put back with its valid signature, since
# the outbox still has the newer version.
_SELECT = (
    f"SELECT {', '.join(f'r.{c}' for c in _COLUMNS)}, {', '.join(f'g.{c}' for c in _GROUNDS)},"
    f" about.*, {_RECORDER_SUSPENDED} AS recorder_suspended,"
    " (SELECT max(o.version) FROM outbox o WHERE o.subject = r.id) AS published_version"
    " FROM receipts r LEFT JOIN receipt_grounds g ON g.receipt_id = r.id"
    " CROSS JOIN LATERAL"
    f" ({_ABOUT.format(person='r.person_id', recipient='r.recipient_organization_id')}) about"
)


class Receipts:
    """The store of receipts.

    Receipts are signed with the key that signs the service's facts, so that everybody who can
    verify the facts can verify the receipts.
    """

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self._verifier = signer.verifier()

    def add(self, tx: Transaction, receipt: Receipt) -> None:
        """Signs and inserts a receipt.

        If a receipt opens nothing until a second person confirms it, its fact is "proposed" instead
        of "given".
        """
        tx.execute(_INSERT, self._signed(receipt))
        if receipt.adult_ground_code or receipt.giver_ground_code:
            tx.execute(
                "INSERT INTO receipt_grounds (receipt_id, adult_ground_code, giver_ground_code)"
                " VALUES (%s, %s, %s)",
                (receipt.id, receipt.adult_ground_code, receipt.giver_ground_code),
            )
        verb = "proposed" if receipt.needs_second else "given"
        outbox.save(tx, [receipt_fact(receipt, verb, receipt.create_time)])

    def change(self, tx: Transaction, receipt: Receipt, verb: str) -> None:
        """Signs and saves a receipt that was withdrawn, confirmed or ended.

        The calling code must have locked the row.
        """
        tx.execute(_UPDATE, self._signed(receipt))
        time = (
            receipt.withdraw_time
            if verb == "withdrawn"
            else receipt.confirm_time
            if verb == "confirmed"
            else receipt.until_time
        )
        assert time is not None
        outbox.save(tx, [receipt_fact(receipt, verb, time)])

    def get(self, tx: Transaction, identifier: str, *, for_update: bool = False) -> Receipt:
        """Returns one receipt; raises NotFound outside the scope."""
        return self.query(tx, identifier, for_update=for_update)()

    def query(
        self, tx: Transaction, identifier: str, *, for_update: bool = False
    ) -> Callable[[], Receipt]:
        """Starts `get`; returns a function that waits for its result."""
        result = tx.execute(
            f"{_SELECT} WHERE r.id = %s" + (" FOR UPDATE OF r" if for_update else ""), (identifier,)
        )

        def wait() -> Receipt:
            row = result.fetchone()
            if row is None:
                raise NotFound
            return self._read(row)

        return wait

    def of_person(
        self, tx: Transaction, person_id: str, *, for_update: bool = False
    ) -> list[Receipt]:
        """Returns a person's receipts, newest first, as far as the scope shows them."""
        lock = " FOR UPDATE OF r" if for_update else ""
        rows = tx.execute(
            f"{_SELECT} WHERE r.person_id = %s ORDER BY r.create_time DESC, r.id{lock}",
            (person_id,),
        )
        return [self._read(row) for row in rows]

    def open_proposals(
        self,
        tx: Transaction,
        organization_id: str,
        now: datetime,
        limit: int,
        after: Cursor | None,
    ) -> tuple[list[Receipt], Cursor | None]:
        """Returns the receipts, other than overrides, that a second person must still confirm.

        Only receipts for the organisation's own files are returned, oldest first. The second value
        is the cursor of the next page.
        """
        time, identifier = after or ("-infinity", "")
        rows = tx.execute(
            f"{_SELECT} WHERE r.id IN ("
            "SELECT id FROM receipts WHERE organization_id = %(organization)s"
            f" AND giver_code = '{BEST_INTEREST}' AND confirm_time IS NULL"
            " AND withdraw_time IS NULL"
            " UNION ALL SELECT receipt_id FROM receipt_grounds WHERE giver_ground_code <> '')"
            " AND r.organization_id = %(organization)s AND r.confirm_time IS NULL"
            f" AND r.withdraw_time IS NULL AND r.until_time > %(now)s AND NOT {_RECORDER_SUSPENDED}"
            " AND (r.create_time, r.id) > (%(time)s::timestamptz, %(id)s)"
            " ORDER BY r.create_time, r.id LIMIT %(limit)s",
            {
                "organization": organization_id,
                "now": now,
                "time": time,
                "id": identifier,
                "limit": limit + 1,
            },
        ).fetchall()
        last_row = rows[limit - 1] if len(rows) > limit else None
        return [self._read(row) for row in rows[:limit]], [
            last_row["create_time"].isoformat(),
            last_row["id"],
        ] if last_row else None

    def circumstances(
        self, tx: Transaction, person_id: str, recipient_organization_id: str
    ) -> Circumstances:
        """Returns the circumstances of a person and a recipient, for checking a new receipt.

        The scope must include the person's file.
        """
        row = tx.execute(
            (
                f"{_ABOUT}, EXISTS (SELECT 1 FROM receipts WHERE person_id = {{person}}"
                " AND withdraw_time IS NOT NULL) AS has_withdrawn"
            ).format(person="%(person)s", recipient="%(recipient)s"),
            {"person": person_id, "recipient": recipient_organization_id},
        ).fetchone()
        assert row is not None
        return Circumstances(
            row["age_band"] or "", row["recipient_type"] or "", row["has_withdrawn"]
        )

    def _signed(self, receipt: Receipt) -> dict[str, Any]:
        receipt.signature = (
            base64.urlsafe_b64encode(self._signer.sign(receipt.canonical())).decode().rstrip("=")
        )
        values: dict[str, Any] = {name: getattr(receipt, name) for name in _COLUMNS}
        return values | {
            "field_groups": sorted(group.value for group in receipt.field_groups),
            "purpose_codes": list(receipt.purpose_codes),
            "explained_codes": list(receipt.explained_codes),
        }

    def _read(self, row: Row) -> Receipt:
        values = dict(row)
        published_version = values.pop("published_version")
        values["circumstances"] = Circumstances(
            values.pop("age_band") or "",
            values.pop("recipient_type") or "",
            recorder_suspended=values.pop("recorder_suspended"),
        )
        values |= {name: values[name] or "" for name in _GROUNDS}
        values["field_groups"] = frozenset(
            group for group in FieldGroup if group.value in values["field_groups"]
        )
        values["purpose_codes"] = tuple(values["purpose_codes"])
        values["explained_codes"] = tuple(values["explained_codes"])
        receipt = Receipt(**values)
        receipt.genuine = published_version == receipt.version and self._verifier.is_valid(
            _bytes(receipt.signature), receipt.canonical()
        )
        if not receipt.genuine:
            _UNVERIFIED.inc()
            log.get().error("row_unverified", table="receipts", receipt_id=receipt.id)
        return receipt


def _bytes(signature: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
    except (binascii.Error, ValueError):
        return b""
