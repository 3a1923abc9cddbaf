"""Facts about receipts, emergency accesses and exports."""

from datetime import datetime

from chassis.wire import timestamp
from facts.outbox import Fact
from protos.referrals.v1 import facts_pb2
from services.referrals.files.domain.consent import Receipt
from services.referrals.files.domain.emergency import EmergencyAccess


def receipt_fact(receipt: Receipt, verb: str, time: datetime) -> Fact:
    """Returns the fact about a receipt.

    `verb` is "given", "proposed", "confirmed", "ended" or "withdrawn".
    """
    message = facts_pb2.ReceiptFact(
        receipt_id=receipt.id,
        person_id=receipt.person_id,
        recipient_organization_id=receipt.recipient_organization_id,
        until_time=timestamp(receipt.until_time),
        reason_code=receipt.reason_code,
        organization_id=receipt.organization_id,
    )
    return Fact(
        receipt.id, receipt.version, f"enlace.receipt.{verb}.v1", message.SerializeToString(), time
    )


def emergency_fact(emergency: EmergencyAccess, verb: str, time: datetime) -> Fact:
    """Returns the fact about an emergency access.

    `verb` is "opened", "ended", "reviewed" or "review_overdue".
    """
    message = facts_pb2.EmergencyFact(
        emergency_id=emergency.id,
        person_id=emergency.person_id,
        referral_id=emergency.referral_id,
        organization_id=emergency.file_organization_id,
        opened_by_organization_id=emergency.organization_id,
        opened_by_worker_id=emergency.worker_id,
        reason_code=emergency.reason_code,
        end_time=timestamp(emergency.end_time),
        review_due_time=timestamp(emergency.review_due_time),
    )
    return Fact(
        emergency.id,
        emergency.version,
        f"enlace.emergency.{verb}.v1",
        message.SerializeToString(),
        time,
    )


def export_fact(
    export_id: str, person_id: str, organization_id: str, worker_id: str, time: datetime
) -> Fact:
    """Returns the fact about an export; an export has only one fact, "made"."""
    message = facts_pb2.ExportFact(
        export_id=export_id,
        person_id=person_id,
        organization_id=organization_id,
        worker_id=worker_id,
    )
    return Fact(export_id, 1, "enlace.export.made.v1", message.SerializeToString(), time)
