"""Consent receipts with their facts."""

from dataclasses import fields
from typing import Any

from chassis import outbox
from chassis.db import Row, Transaction
from chassis.errors import NotFound
from services.referrals import wire
from services.referrals.domain.consent import Receipt
from services.referrals.domain.person import FieldGroup

_COLUMNS = [each.name for each in fields(Receipt)]
_INSERT = f"INSERT INTO receipts ({', '.join(_COLUMNS)}) VALUES ({', '.join(f'%({c})s' for c in _COLUMNS)})"


def add(tx: Transaction, receipt: Receipt) -> None:
    """Records a consent."""
    values: dict[str, Any] = {name: getattr(receipt, name) for name in _COLUMNS}
    values |= {
        "field_groups": sorted(group.value for group in receipt.field_groups),
        "purpose_codes": list(receipt.purpose_codes),
        "explained_codes": list(receipt.explained_codes),
    }
    tx.execute(_INSERT, values)
    outbox.keep(tx, [wire.receipt_fact(receipt, "given", receipt.create_time)])


def get(tx: Transaction, identifier: str, *, for_update: bool = False) -> Receipt:
    """One receipt in the scope; NotFound otherwise."""
    row = tx.execute("SELECT * FROM receipts WHERE id = %s" + (" FOR UPDATE" if for_update else ""), (identifier,)).fetchone()
    if row is None:
        raise NotFound
    return _read(row)


def of_person(tx: Transaction, person_id: str) -> list[Receipt]:
    """The receipts of a person in the scope, newest first."""
    return [_read(row) for row in tx.execute("SELECT * FROM receipts WHERE person_id = %s ORDER BY create_time DESC, id", (person_id,))]


def withdraw(tx: Transaction, receipt: Receipt) -> None:
    """Keeps the withdrawal."""
    assert receipt.withdraw_time is not None
    receipt.version += 1
    tx.execute("UPDATE receipts SET withdraw_time = %s, version = %s WHERE id = %s", (receipt.withdraw_time, receipt.version, receipt.id))
    outbox.keep(tx, [wire.receipt_fact(receipt, "withdrawn", receipt.withdraw_time)])


def _read(row: Row) -> Receipt:
    values = dict(row)
    values["field_groups"] = frozenset(FieldGroup(group) for group in values["field_groups"])
    values["purpose_codes"] = tuple(values["purpose_codes"])
    values["explained_codes"] = tuple(values["explained_codes"])
    return Receipt(**values)
