"""Translates events of referrals and enquiries into facts."""

from collections.abc import Iterable

from chassis.wire import number, timestamp
from facts.outbox import Fact
from protos.referrals.v1 import enquiries_pb2, facts_pb2
from services.referrals.network.wire.messages import CLOCKS, URGENCIES
from services.referrals.referrals.domain.enquiry import Enquiry, EnquiryEvent
from services.referrals.referrals.domain.lifecycle import Side, State
from services.referrals.referrals.domain.record import Actor, Event
from services.referrals.referrals.domain.referral import Referral
from services.referrals.referrals.wire.messages import STATES


def referral_facts(referral: Referral, events: Iterable[Event]) -> list[Fact]:
    """Returns one fact for each event.

    A draft that was entered in error names no receiver, since nobody else knew of the draft.
    """
    facts = []
    for event in events:
        due = next(
            (
                clock.due_time
                for clock in referral.deadlines
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
            receiver_organization_id=referral.receiver_organization_id
            if referral.send_time or event.to_state is State.DRAFT
            else "",
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
        if referral.side_to_act(actor) is Side.SENDER
        else referral.receiver_organization_id
    )


def enquiry_facts(enquiry: Enquiry, events: Iterable[EnquiryEvent]) -> list[Fact]:
    """Returns one fact for each event, without the person's id and attributes."""
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
            asked_organization_ids=sorted({copy.organization_id for copy in enquiry.offers})
            if event.verb == "opened"
            else [],
            service_id=offer.service_id if offer else "",
            service_organization_id=offer.organization_id if offer else "",
            answer=number(enquiries_pb2.OfferAnswer, offer.answer if offer else ""),
            reason_code=offer.reason_code
            if offer and event.verb == "answered"
            else enquiry.reason_code,
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
