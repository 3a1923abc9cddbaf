"""Subscription to the facts about referrals and enquiries.

When a service declines for lack of room, takes in a person, or no longer houses her, the directory
updates the service's room figure. It also counts kept and broken promises, and gives the sender of
an accepted referral access to the address.
"""

import re
from datetime import datetime

from chassis.clock import Clock
from chassis.contract import words_of
from chassis.db import Transaction
from chassis.wire import words
from facts.envelope import NewerKind
from facts.outbox import Fact
from protos.referrals.v1 import enquiries_pb2, facts_pb2, referrals_pb2
from services.partners.directory.usecases.locations import end_address, grant_address
from services.partners.directory.usecases.services import (
    doubt_capacity,
    leave_places,
    note_yes,
    take_places,
)

TOPIC = "enlace.referrals.v1"
ERASURES, ERASED = "enlace.erasures.v1", "enlace.erasure.done.v1"
"""The topic and type of the facts that this service witnesses.

It stores these facts as the referrals service signed them.
"""
# The subjects of facts. Each has a message in the contract.
_NOUNS = "|".join(
    words_of(name.removesuffix("Fact")) for name in facts_pb2.DESCRIPTOR.message_types_by_name
)
_TYPE = re.compile(rf"enlace\.({_NOUNS})\.[a-z_]+\.v1")
_DECLINED = "enlace.referral.declined.v1"
_ANSWERED = "enlace.enquiry.answered.v1"
_TAKING_FACTS = ("enlace.referral.accepted.v1", "enlace.referral.reopened.v1")
_LEAVING_FACTS = tuple(
    f"enlace.referral.{verb}.v1"
    for verb in (
        "completed",
        "not_delivered",
        "withdrawn",
        "consent_withdrawn",
        "rerouted",
        "entered_in_error",
    )
)
_NO_ROOM = words(referrals_pb2.DeclineReason.DESCRIPTOR)[referrals_pb2.DECLINE_REASON_NO_CAPACITY]


def consume(clock: Clock, tx: Transaction, fact: Fact) -> None:
    """Handles one fact from the referrals service.

    Raises NewerKind for a fact about an unknown kind of subject, which only a newer version can
    handle; ignores other facts that don't concern the directory. A room figure changes when the
    fact is handled, not when the person came. Other members see a shelter's new figure from the
    next time step on.
    """
    now = clock.now()
    if fact.type == _DECLINED:
        referral = facts_pb2.ReferralFact.FromString(fact.payload)
        if referral.reason_code == _NO_ROOM:
            _mark_room_as_doubtful(tx, now, fact, referral, referral.sender_organization_id)
    elif fact.type == _ANSWERED:
        enquiry = facts_pb2.EnquiryFact.FromString(fact.payload)
        if enquiry.reason_code == _NO_ROOM:
            _mark_room_as_doubtful(tx, now, fact, enquiry, enquiry.organization_id)
        elif enquiry.answer == enquiries_pb2.OFFER_ANSWER_YES:
            note_yes(tx, enquiry.service_id, enquiry.actor_organization_id, fact.time)
    elif fact.type in _TAKING_FACTS:
        referral = facts_pb2.ReferralFact.FromString(fact.payload)
        take_places(
            tx,
            now,
            referral.referral_id,
            referral.service_id,
            referral.receiver_organization_id,
            referral.people,
            fact.time,
            asker_organization_id=referral.sender_organization_id,
        )
        grant_address(
            tx,
            referral.referral_id,
            referral.service_id,
            referral.receiver_organization_id,
            referral.sender_organization_id,
            fact.time,
        )
    elif fact.type in _LEAVING_FACTS:
        referral = facts_pb2.ReferralFact.FromString(fact.payload)
        leave_places(tx, now, referral.referral_id, fact.time)
        end_address(tx, referral.referral_id, fact.time)
    elif not _TYPE.fullmatch(fact.type):
        raise NewerKind


def _mark_room_as_doubtful(
    tx: Transaction,
    now: datetime,
    fact: Fact,
    subject: facts_pb2.ReferralFact | facts_pb2.EnquiryFact,
    asker_organization_id: str,
) -> None:
    doubt_capacity(
        tx,
        now,
        subject.service_id,
        subject.actor_organization_id,
        fact.time,
        subject_id=fact.subject,
        asker_organization_id=asker_organization_id,
    )
