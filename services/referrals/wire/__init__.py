"""Between what it is here and what is said of it to others: messages of the protos, and back."""

from collections.abc import Iterable
from datetime import datetime
from enum import Enum
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from chassis.ids import object_id
from chassis.tokens import Caller
from chassis.wire import EnumCodec, etag, number, numbers, optional_id, timestamp, word, word_list
from protos.referrals.v1 import (
    audit_pb2,
    contacts_pb2,
    emergencies_pb2,
    erasures_pb2,
    people_pb2,
    referrals_pb2,
)
from services.referrals.domain.anomaly import Anomaly, AnomalyKind
from services.referrals.domain.callback import Callback
from services.referrals.domain.chain import Link
from services.referrals.domain.codes import short_code
from services.referrals.domain.consent import Receipt
from services.referrals.domain.contact import Contact, LaterNote
from services.referrals.domain.deadline import Deadline, DeadlineKind, Urgency
from services.referrals.domain.emergency import EmergencyAccess
from services.referrals.domain.erasure import Erasure
from services.referrals.domain.lifecycle import CAME_BACK, LIVE, Side, State
from services.referrals.domain.person import (
    GROUP_OF,
    Arrival,
    Coarse,
    FieldGroup,
    Identity,
    Person,
    SafeContact,
)
from services.referrals.domain.referral import Actor, Event, Referral
from services.referrals.domain.triage import Triage
from services.referrals.domain.unsafe import UNSAID, Unsafe

STATES, URGENCIES = EnumCodec(referrals_pb2.State, State), EnumCodec(referrals_pb2.Urgency, Urgency)
ANOMALIES = EnumCodec(audit_pb2.AnomalyKind, AnomalyKind)
CLOCKS, GROUPS = (
    EnumCodec(referrals_pb2.ClockKind, DeadlineKind),
    EnumCodec(people_pb2.FieldGroup, FieldGroup),
)


def actor_of(caller: Caller) -> Actor:
    """Who acts, in the words of the domain."""
    return Actor(
        caller.kind,
        caller.id,
        caller.organization_id,
        caller.has("COORDINATOR"),
        caller.has("MANAGER"),
        caller.kin,
    )


def coarse_message(coarse: Coarse) -> referrals_pb2.CoarsePerson:
    """What may be said of her."""
    return referrals_pb2.CoarsePerson(
        age_band=number(referrals_pb2.AgeBand, coarse.age_band),
        gender_code=number(referrals_pb2.PersonGender, coarse.gender_code),
        language=coarse.language,
        dependants=coarse.dependants,
        country=coarse.country,
        department=coarse.department,
    )


def coarse(message: referrals_pb2.CoarsePerson) -> Coarse:
    """Parses CoarsePerson."""
    dependants = message.dependants if message.HasField("dependants") else None
    age_band = word(referrals_pb2.AgeBand, message.age_band, "coarse.age_band")
    gender = word(referrals_pb2.PersonGender, message.gender_code, "coarse.gender_code")
    return Coarse(
        age_band, gender, message.language, dependants, message.country, message.department
    )


def clock_message(clock: Deadline) -> referrals_pb2.Clock:
    """A paused clock shows as stopped since its pause: nobody is late by it now."""
    return referrals_pb2.Clock(
        kind=CLOCKS.number(clock.kind),
        start_time=timestamp(clock.start_time),
        due_time=timestamp(clock.due_time),
        stop_time=timestamp(clock.stop_time or clock.pause_time),
        fired_percent=clock.fired_percent,
    )


def leg_message(link: Link, actor: Actor) -> referrals_pb2.Leg:
    """A leg as this actor may see it: of a draft only its sender knows."""
    referral = link.referral
    sides = referral.sides(actor) if referral else frozenset()
    shown = (
        referral
        if referral and (referral.state is not State.DRAFT or Side.SENDER in sides)
        else None
    )
    return referrals_pb2.Leg(
        key=link.step.key,
        names=link.step.names,
        need_code=link.step.need_code,
        kind=number(referrals_pb2.LegKind, link.step.leg.value if link.step.leg else ""),
        state=STATES.number(shown.state if shown else None),
        settled=link.settled,
        organization_id=shown.receiver_organization_id if shown else "",
        country=link.country if shown else "",
        planned_first_contact_time=timestamp(shown.planned_first_contact_time if shown else None),
        acting_organization_id=link.acting_organization_id,
        waits_for_keys=link.waits_for_keys,
        referral_id=shown.id if shown and sides else "",
    )


def referral_message(
    referral: Referral, actor: Actor, now: datetime, legs: Iterable[Link] = ()
) -> referrals_pb2.Referral:
    """A referral as this actor may see it."""
    sides = referral.sides(actor)
    side = (
        referrals_pb2.SIDE_SENDER
        if Side.SENDER in sides
        else referrals_pb2.SIDE_RECEIVER
        if Side.RECEIVER in sides
        else referrals_pb2.SIDE_NETWORK
    )
    party = side != referrals_pb2.SIDE_NETWORK
    turn, clocks = referral.turn(actor), referral.clocks_for(actor)
    shown: dict[str, Any] = {
        "etag": etag(referral.step_version),
        "code": short_code(referral.id),
        "person_id": referral.person_id if party else "",
        "contact_id": referral.contact_id if side == referrals_pb2.SIDE_SENDER else "",
        "receipt_id": referral.receipt_id if party else "",
        **_unsafe(referral.unsafe if side == referrals_pb2.SIDE_SENDER else UNSAID),
        "person": coarse_message(referral.coarse),
        "assault_time": timestamp(referral.assault_time) if party else None,
        "clocks": [clock_message(clock) for clock in clocks],
        "next_due_time": timestamp(
            min((clock.due_time for clock in clocks if clock.running), default=None)
        ),
        "allowed_verbs": referral.allowed_verbs(actor, now),
        "side": side,
        "turn": referrals_pb2.Turn.Value(f"TURN_{turn.name}")
        if turn
        else referrals_pb2.TURN_UNSPECIFIED,
        "main_step": referral.main_step(actor, now),
        "unanswered": referral.is_unanswered(actor),
        "need_close_reason_code": 0
        if referral.is_receiver_alone(actor)
        else number(referrals_pb2.NeedCloseReason, referral.need_close_reason_code),
        "following_id": ""
        if referral.is_receiver_alone(actor) or not (referral.followed_up or Side.SENDER in sides)
        else referral.following_id,
        "live": referral.state in LIVE,
        "legs": [leg_message(link, actor) for link in legs],
        "remind_time": None
        if referral.is_receiver_alone(actor) and referral.state in CAME_BACK
        else timestamp(referral.remind_time),
    }
    plain = [each for each in referrals_pb2.Referral.DESCRIPTOR.fields if each.name not in shown]
    return referrals_pb2.Referral(
        **shown, **{each.name: _said(each, getattr(referral, each.name)) for each in plain}
    )


def _unsafe(unsafe: Unsafe) -> dict[str, Any]:
    return {
        "unsafe_code": number(referrals_pb2.UnsafeAnswer, unsafe.code),
        "unsafe_organization_ids": unsafe.organization_ids,
        "unsafe_departments": unsafe.departments,
    }


def unsafe_organizations(given: Iterable[str], path: str) -> tuple[str, ...]:
    """Returns whom she named.

    What is no id would leave somebody in whom she wants left out, and is refused.
    """
    return tuple(
        dict.fromkeys(optional_id(each, f"{path}.{number}") for number, each in enumerate(given))
    )


def _said(field: FieldDescriptor, value: Any) -> Any:
    """What is called alike here and in the message, as the message says it: a time, a word of a
    code list, or as it is.
    """
    if isinstance(value, datetime):
        return timestamp(value)
    if field.enum_type is None or value is None:
        return value
    return numbers(field.enum_type).get(value.value if isinstance(value, Enum) else value, 0)


def event_message(event: Event) -> referrals_pb2.ReferralEvent:
    """One line of the history."""
    return referrals_pb2.ReferralEvent(
        version=event.version,
        verb=event.verb,
        from_state=STATES.number(event.from_state),
        to_state=STATES.number(event.to_state),
        time=timestamp(event.time),
        actor_kind=number(referrals_pb2.ActorKind, event.actor.kind),
        actor_id=event.actor.id,
        actor_organization_id=event.actor.organization_id,
        reason_code=event.reason_code,
        attribution=number(referrals_pb2.Attribution, event.attribution),
        clock=CLOCKS.number(event.clock),
        note=event.note,
        note_withheld=event.note_withheld,
        changed_field_codes=event.changed_field_codes,
        arrival=referrals_pb2.Arrival(**vars(event.arrival)) if event.arrival else None,
    )


def arrival(message: referrals_pb2.Arrival) -> Arrival:
    """How she arrives, of a request."""
    return Arrival(message.expected, message.way, message.company, message.sign)


def change_message(
    referral: Referral, event: Event, step_version: int, resume_token: str
) -> referrals_pb2.WatchReferralsResponse:
    """What happened, as a stream tells it: as it was then, also when more has happened since."""
    return referrals_pb2.WatchReferralsResponse(
        resume_token=resume_token,
        referral_id=referral.id,
        version=event.version,
        etag=etag(step_version),
        state=STATES.number(event.to_state),
        verb=event.verb,
        clock=CLOCKS.number(event.clock),
        time=timestamp(event.time),
    )


def identity(message: people_pb2.Identity) -> Identity:
    """The sealed part of a request."""
    return Identity(**{name: getattr(message, name) for name in GROUP_OF})


def identity_message(identity: Identity, opened: frozenset[FieldGroup]) -> people_pb2.Identity:
    """Only what was opened is filled."""
    return people_pb2.Identity(
        **{name: getattr(identity, name) for name in GROUP_OF},
        opened=sorted(map(GROUPS.number, opened)),
    )


def safe_contact(message: people_pb2.SafeContact) -> SafeContact:
    """The plan of a request."""
    channel = word(people_pb2.SafeChannel, message.channel_code, "safe_contact.channel_code")
    return SafeContact(
        channel, message.hours, message.code_word, message.never_say, message.message_may_be_left
    )


def safe_contact_message(plan: SafeContact) -> people_pb2.SafeContact:
    """How she may be contacted."""
    return people_pb2.SafeContact(
        channel_code=number(people_pb2.SafeChannel, plan.channel_code),
        hours=plan.hours,
        code_word=plan.code_word,
        never_say=plan.never_say,
        message_may_be_left=plan.message_may_be_left,
    )


def person_message(person: Person, plan: SafeContact | None = None) -> people_pb2.Person:
    """The file's coarse part; the plan for its own organisation only.

    Of an erased one nothing but that it was: what is left is for counting.
    """
    message = people_pb2.Person(
        id=person.id,
        etag=etag(person.version),
        code=short_code(person.id),
        organization_id=person.organization_id,
        coarse=coarse_message(Coarse() if person.erased else person.coarse),
        trafficking_status_code=number(
            people_pb2.TraffickingStatus, person.trafficking_status_code
        ),
        exploitation_country="" if person.erased else person.exploitation_country,
        has_identity=person.has_identity,
        erased=person.erased,
        create_time=timestamp(person.create_time),
        update_time=timestamp(person.update_time),
    )
    if plan is not None:
        message.safe_contact.CopyFrom(safe_contact_message(plan))
    return message


def erasure_message(erasure: Erasure, now: datetime) -> erasures_pb2.Erasure:
    """The proposal, or the proof."""
    return erasures_pb2.Erasure(
        id=erasure.id,
        person_id=erasure.person_id,
        person_code=short_code(erasure.person_id),
        organization_id=erasure.organization_id,
        proposed_by_worker_id=erasure.proposed_by_worker_id,
        propose_time=timestamp(erasure.propose_time),
        confirm_until_time=timestamp(erasure.confirm_until if erasure.waits(now) else None),
        confirmed_by_worker_id=erasure.confirmed_by_worker_id,
        erase_time=timestamp(erasure.erase_time),
        witness_time=timestamp(erasure.witness_time),
        destroyed=erasures_pb2.Destroyed(**vars(erasure.destroyed)) if erasure.erase_time else None,
    )


def receipt_values(message: people_pb2.Receipt) -> dict[str, Any]:
    """Parses a consent, but for its end."""
    return {
        "person_id": object_id(message.person_id),
        "recipient_organization_id": optional_id(
            message.recipient_organization_id, "receipt.recipient_organization_id"
        ),
        "field_groups": frozenset(GROUPS.members(message.field_groups, "receipt.field_groups")),
        "purpose_codes": tuple(message.purpose_codes),
        "giver_code": word(people_pb2.Giver, message.giver_code, "receipt.giver_code"),
        "manner_code": word(people_pb2.Manner, message.manner_code, "receipt.manner_code"),
        "assent_code": word(people_pb2.Assent, message.assent_code, "receipt.assent_code"),
        "in_private": message.in_private,
        "interpreter": message.interpreter,
        "explained_codes": word_list(
            people_pb2.Explained, message.explained_codes, "receipt.explained_codes"
        ),
        "adult_ground_code": word(
            people_pb2.AdultGround, message.adult_ground_code, "receipt.adult_ground_code"
        ),
        "giver_ground_code": word(
            people_pb2.GiverGround, message.giver_ground_code, "receipt.giver_ground_code"
        ),
    }


def receipt_message(receipt: Receipt, now: datetime) -> people_pb2.Receipt:
    """A consent as it was recorded and signed, and whether it opens anything now."""
    return people_pb2.Receipt(
        id=receipt.id,
        person_id=receipt.person_id,
        recipient_organization_id=receipt.recipient_organization_id,
        field_groups=sorted(map(GROUPS.number, receipt.field_groups)),
        purpose_codes=receipt.purpose_codes,
        until_time=timestamp(receipt.until_time),
        giver_code=number(people_pb2.Giver, receipt.giver_code),
        assent_code=number(people_pb2.Assent, receipt.assent_code),
        manner_code=number(people_pb2.Manner, receipt.manner_code),
        in_private=receipt.in_private,
        interpreter=receipt.interpreter,
        explained_codes=[number(people_pb2.Explained, code) for code in receipt.explained_codes],
        recorded_by_worker_id=receipt.recorded_by_worker_id,
        create_time=timestamp(receipt.create_time),
        withdraw_time=timestamp(receipt.withdraw_time),
        signature=receipt.signature,
        reason_code=number(referrals_pb2.OverrideReason, receipt.reason_code),
        confirm_time=timestamp(receipt.confirm_time),
        confirmed_by_worker_id=receipt.confirmed_by_worker_id,
        confirm_until_time=timestamp(receipt.confirm_until),
        genuine=receipt.genuine,
        live=receipt.is_live(now),
        adult_ground_code=number(people_pb2.AdultGround, receipt.adult_ground_code),
        giver_ground_code=number(people_pb2.GiverGround, receipt.giver_ground_code),
    )


def triage(message: contacts_pb2.Triage, path: str = "contact.triage") -> Triage:
    """The answers of a request; `path` is how a refusal names them."""
    names = [each.name for each in message.DESCRIPTOR.fields]
    return Triage(
        **{
            name: word(contacts_pb2.Answer, getattr(message, name), f"{path}.{name}")
            for name in names
        }
    )


def triage_message(said: Triage) -> contacts_pb2.Triage:
    """Answers of a caller."""
    answers: dict[str, Any] = {
        name: number(contacts_pb2.Answer, each) for name, each in vars(said).items()
    }
    return contacts_pb2.Triage(**answers)


def contact_message(
    contact: Contact, note: str | None = "", later: Iterable[LaterNote] = ()
) -> contacts_pb2.Contact:
    """A contact of the line."""
    return contacts_pb2.Contact(
        id=contact.id,
        etag=etag(contact.step_version),
        organization_id=contact.organization_id,
        line_country=contact.line_country,
        campaign_code=number(contacts_pb2.Campaign, contact.campaign_code),
        placement_code=contact.placement_code,
        kind_code=number(contacts_pb2.ContactKind, contact.kind_code),
        speaker_code=number(contacts_pb2.Speaker, contact.speaker_code),
        language=contact.language,
        triage=triage_message(contact.triage),
        urgency=URGENCIES.number(contact.triage.urgency()),
        pathway_code=number(contacts_pb2.Pathway, contact.triage.pathway()),
        outcome_code=number(contacts_pb2.ContactOutcome, contact.outcome_code),
        department=contact.department,
        need_code=contact.need_code,
        person_id=contact.person_id,
        note=note or "",
        note_withheld=note is None,
        reference_hint=contact.reference_hint,
        create_time=timestamp(contact.create_time),
        update_time=timestamp(contact.update_time),
        clocks=[clock_message(contact.clock)] if contact.clock else [],
        assault_time=timestamp(contact.assault_time),
        later_notes=[
            contacts_pb2.LaterNote(
                time=timestamp(each.time), note=each.note or "", note_withheld=each.note is None
            )
            for each in later
        ],
        unheard=contact.unheard,
        called_before=bool(contact.tied_to_id),
        connected_live=number(contacts_pb2.Answer, contact.connected_live),
        handed_over_organization_id=contact.handed_over_organization_id,
        emergency_number_code=number(contacts_pb2.EmergencyNumber, contact.emergency_number_code),
        medicine_codes=[CLOCKS.number(kind) for kind in contact.triage.health()],
        open_question_count=len(contact.triage.unanswered()),
    )


def callback_message(
    callback: Callback, reference_hint: str, person_id: str
) -> contacts_pb2.Callback:
    """A call that is owed; its contact says by which reference and file."""
    return contacts_pb2.Callback(
        id=callback.id,
        etag=etag(callback.step_version),
        contact_id=callback.contact_id,
        asked_by_herself=callback.asked_by_herself,
        clocks=[clock_message(callback.clock)],
        tries=callback.tries,
        outcome_code=number(contacts_pb2.CallbackOutcome, callback.outcome_code),
        reference_hint=reference_hint,
        person_id=person_id,
    )


def anomaly_message(anomaly: Anomaly) -> audit_pb2.Anomaly:
    """Something unusual, as the auditor has it."""
    return audit_pb2.Anomaly(
        id=anomaly.id,
        etag=etag(anomaly.version),
        kind=ANOMALIES.number(anomaly.kind),
        worker_id=anomaly.worker_id,
        organization_id=anomaly.organization_id,
        day=anomaly.day.isoformat(),
        count=anomaly.count,
        create_time=timestamp(anomaly.create_time),
        review_time=timestamp(anomaly.review_time),
        reviewed_by_worker_id=anomaly.reviewed_by_worker_id,
        review_code=number(audit_pb2.ReviewOutcome, anomaly.review_code),
    )


def emergency_message(
    emergency: EmergencyAccess, caller: Caller, now: datetime, note: str = ""
) -> emergencies_pb2.Emergency:
    """An emergency access as this caller may see it: who steers or checks the network hears no
    person's id.
    """
    party = caller.organization_id in (emergency.organization_id, emergency.file_organization_id)
    return emergencies_pb2.Emergency(
        id=emergency.id,
        etag=etag(emergency.version),
        person_id=emergency.person_id
        if party and not (caller.has("COORDINATOR") or caller.has("AUDITOR"))
        else "",
        referral_id=emergency.referral_id,
        organization_id=emergency.organization_id,
        worker_id=emergency.worker_id,
        file_organization_id=emergency.file_organization_id,
        reason_code=number(referrals_pb2.OverrideReason, emergency.reason_code),
        note=note,
        create_time=timestamp(emergency.create_time),
        end_time=timestamp(emergency.end_time),
        live=not emergency.ended and emergency.is_live(now),
        review_due_time=timestamp(emergency.review_due_time),
        review_time=timestamp(emergency.review_time),
        reviewed_by_worker_id=emergency.reviewed_by_worker_id,
        review_code=number(audit_pb2.ReviewOutcome, emergency.review_code),
    )
