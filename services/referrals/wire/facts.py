"""What is told of referrals and of what belongs to them: the facts of
protos/referrals/v1/facts.proto that are still to be told.
"""

from collections.abc import Iterable
from datetime import datetime

from chassis.outbox import Fact
from chassis.wire import moment, number, timestamp
from protos.referrals.v1 import enquiries_pb2, facts_pb2
from services.referrals.domain.anomaly import Anomaly
from services.referrals.domain.callback import Callback
from services.referrals.domain.consent import Receipt
from services.referrals.domain.contact import Contact
from services.referrals.domain.emergency import EmergencyAccess
from services.referrals.domain.enquiry import Enquiry, EnquiryEvent
from services.referrals.domain.erasure import Erasure
from services.referrals.domain.lifecycle import Side
from services.referrals.domain.referral import Actor, Event, Referral
from services.referrals.wire import CLOCKS, STATES, URGENCIES

TOPIC = "enlace.referrals.v1"
ERASED = "enlace.erasure.done.v1"


def referral_facts(referral: Referral, events: Iterable[Event]) -> list[Fact]:
    """One fact an event."""
    facts = []
    for event in events:
        due = next(
            (
                clock.due_time
                for clock in referral.clocks
                if clock.kind is event.clock and clock.stop_time is None
            ),
            None,
        )
        message = facts_pb2.ReferralFact(
            referral_id=referral.id,
            state=STATES.number(event.to_state),
            urgency=URGENCIES.number(referral.urgency),
            need_code=referral.need_code,
            sender_organization_id=referral.sender_organization_id,
            sender_worker_id=referral.sender_worker_id,
            receiver_organization_id=referral.receiver_organization_id,
            service_id=referral.service_id,
            reason_code=event.reason_code,
            clock=CLOCKS.number(event.clock),
            due_time=timestamp(due),
            actor_organization_id=event.actor.organization_id,
            override_used=bool(referral.override_reason_code),
            responsible_worker_id=referral.responsible_worker_id,
            actor_worker_id=event.actor.id if event.actor.kind == "worker" else "",
            changed_field_codes=event.changed_field_codes,
            people=1 + (referral.coarse.dependants or 0) if event.verb == "accepted" else 0,
            reminded_organization_id=_whose_turn(referral, event.actor)
            if event.verb == "reminded"
            else "",
        )
        facts.append(
            Fact(
                referral.id,
                event.version,
                f"enlace.referral.{event.verb}.v1",
                message.SerializeToString(),
                event.time,
            )
        )
    return facts


def _whose_turn(referral: Referral, actor: Actor) -> str:
    return (
        referral.sender_organization_id
        if referral.turn(actor) is Side.SENDER
        else referral.receiver_organization_id
    )


def contact_fact(contact: Contact, verb: str) -> Fact:
    """recorded, changed, told, waiting or escalated."""
    message = facts_pb2.ContactFact(
        contact_id=contact.id,
        organization_id=contact.organization_id,
        line_country_code=contact.line_country,
        kind_code=contact.kind_code,
        urgency=URGENCIES.number(contact.triage.urgency()),
    )
    return Fact(
        contact.id,
        contact.version,
        f"enlace.contact.{verb}.v1",
        message.SerializeToString(),
        contact.update_time,
    )


def enquiry_facts(enquiry: Enquiry, events: Iterable[EnquiryEvent]) -> list[Fact]:
    """One fact an event: of whom it is about neither attribute nor id."""
    facts = []
    for event in events:
        offer = event.offer
        message = facts_pb2.EnquiryFact(
            enquiry_id=enquiry.id,
            state=number(enquiries_pb2.EnquiryState, enquiry.state.value),
            urgency=URGENCIES.number(enquiry.content.urgency),
            need_code=enquiry.content.need_code,
            organization_id=enquiry.organization_id,
            worker_id=enquiry.worker_id,
            asked_organization_ids=sorted({each.organization_id for each in enquiry.offers})
            if event.verb == "opened"
            else [],
            service_id=offer.service_id if offer else "",
            service_organization_id=offer.organization_id if offer else "",
            answer=number(enquiries_pb2.OfferAnswer, offer.answer if offer else ""),
            reason_code=offer.reason_code if offer else enquiry.reason_code,
            due_time=timestamp(enquiry.due_time),
            actor_organization_id=event.actor_organization_id,
            first_offer=event.first_offer,
        )
        facts.append(
            Fact(
                enquiry.id,
                event.version,
                f"enlace.enquiry.{event.verb}.v1",
                message.SerializeToString(),
                event.time,
            )
        )
    return facts


def callback_fact(callback: Callback, verb: str) -> Fact:
    """asked, changed, waiting, escalated or settled."""
    message = facts_pb2.CallbackFact(
        callback_id=callback.id,
        organization_id=callback.organization_id,
        due_time=timestamp(callback.clock.due_time),
        outcome_code=callback.outcome_code,
    )
    return Fact(
        callback.id,
        callback.version,
        f"enlace.callback.{verb}.v1",
        message.SerializeToString(),
        callback.update_time,
    )


def receipt_fact(receipt: Receipt, verb: str, time: datetime) -> Fact:
    """given, proposed, confirmed, ended or withdrawn."""
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


def erasure_fact(erasure: Erasure, verb: str) -> Fact:
    """proposed or done."""
    message = facts_pb2.ErasureFact(
        erasure_id=erasure.id,
        person_id=erasure.person_id,
        organization_id=erasure.organization_id,
        proposed_by_worker_id=erasure.proposed_by_worker_id,
        propose_time=timestamp(erasure.propose_time),
        confirmed_by_worker_id=erasure.confirmed_by_worker_id,
        erase_time=timestamp(erasure.erase_time),
    )
    time = erasure.erase_time if verb == "done" else erasure.propose_time
    assert time is not None
    return Fact(
        erasure.id, erasure.version, f"enlace.erasure.{verb}.v1", message.SerializeToString(), time
    )


def erasure_of(fact: Fact) -> Erasure:
    """What was said of one that was done."""
    said = facts_pb2.ErasureFact.FromString(fact.payload)
    propose_time = moment(said, "propose_time")
    assert propose_time is not None
    return Erasure(
        said.erasure_id,
        said.person_id,
        said.organization_id,
        said.proposed_by_worker_id,
        propose_time,
        confirmed_by_worker_id=said.confirmed_by_worker_id,
        erase_time=moment(said, "erase_time"),
    )


def anomaly_fact(anomaly: Anomaly) -> Fact:
    """noted: it is told once."""
    message = facts_pb2.AnomalyFact(
        anomaly_id=anomaly.id,
        kind_code=anomaly.kind.value,
        worker_id=anomaly.worker_id,
        organization_id=anomaly.organization_id,
        count=anomaly.count,
    )
    return Fact(
        anomaly.id, 1, "enlace.anomaly.noted.v1", message.SerializeToString(), anomaly.create_time
    )


def export_fact(
    export_id: str, person_id: str, organization_id: str, worker_id: str, time: datetime
) -> Fact:
    """made: it is told once."""
    message = facts_pb2.ExportFact(
        export_id=export_id,
        person_id=person_id,
        organization_id=organization_id,
        worker_id=worker_id,
    )
    return Fact(export_id, 1, "enlace.export.made.v1", message.SerializeToString(), time)


def emergency_fact(emergency: EmergencyAccess, verb: str, time: datetime) -> Fact:
    """opened, ended, reviewed or review_overdue."""
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
