"""Translates referrals and their history between the domain and the messages."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any

from chassis.ids import short_code
from chassis.tokens import Caller
from chassis.wire import EnumCodec, etag, number, numbers, timestamp
from protos.referrals.v1 import referrals_pb2
from services.referrals.files.domain.person import Arrival, Coarse
from services.referrals.files.domain.unsafe import NOT_STATED
from services.referrals.files.wire.messages import coarse_message, unsafe_fields
from services.referrals.network.wire.messages import CLOCKS, clock_message
from services.referrals.referrals.domain.lifecycle import LIVE, Side, State
from services.referrals.referrals.domain.record import Actor, Event
from services.referrals.referrals.domain.referral import Referral

STATES = EnumCodec(referrals_pb2.State, State)
_TURNS = {
    None: referrals_pb2.TURN_UNSPECIFIED,
    Side.SENDER: referrals_pb2.TURN_SENDER,
    Side.RECEIVER: referrals_pb2.TURN_RECEIVER,
}


def actor_of(caller: Caller) -> Actor:
    """Returns the caller as an actor of the domain."""
    return Actor(
        caller.kind,
        caller.id,
        caller.organization_id,
        caller.has("COORDINATOR"),
        caller.has("MANAGER"),
        caller.kin,
    )


def referral_message(
    referral: Referral, actor: Actor, now: datetime, legs: Iterable[referrals_pb2.Leg] = ()
) -> referrals_pb2.Referral:
    """Returns a referral as this actor may see it."""
    sides = referral.sides(actor)
    side = (
        referrals_pb2.SIDE_SENDER
        if Side.SENDER in sides
        else referrals_pb2.SIDE_RECEIVER
        if Side.RECEIVER in sides
        else referrals_pb2.SIDE_NETWORK
    )
    is_party, is_only_receiver = (
        side != referrals_pb2.SIDE_NETWORK,
        referral.is_only_receiver(actor),
    )
    turn, deadlines = referral.side_to_act(actor), referral.deadlines_for(actor)
    allowed_verbs = referral.allowed_verbs(actor, now)
    fields: dict[str, Any] = {
        "etag": etag(referral.step_version),
        "update_time": timestamp(referral.over_since(actor) or referral.update_time),
        "code": short_code(referral.id),
        "person_id": referral.person_id if is_party else "",
        "contact_id": referral.contact_id if side == referrals_pb2.SIDE_SENDER else "",
        "receipt_id": referral.receipt_id if is_party else "",
        **unsafe_fields(referral.unsafe if side == referrals_pb2.SIDE_SENDER else NOT_STATED),
        # empty for a receiver that has confirmed that it deleted the person's data
        "person": coarse_message(
            Coarse()
            if side == referrals_pb2.SIDE_RECEIVER
            and referral.deletion
            and not referral.deletion.running
            else referral.coarse
        ),
        # the receiver needs the time of the assault only while the referral is live
        "assault_time": timestamp(referral.assault_time)
        if side == referrals_pb2.SIDE_SENDER
        or (side == referrals_pb2.SIDE_RECEIVER and referral.state in LIVE)
        else None,
        "clocks": [clock_message(deadline) for deadline in deadlines],
        "next_due_time": timestamp(
            min((deadline.due_time for deadline in deadlines if deadline.running), default=None)
        ),
        "allowed_verbs": allowed_verbs,
        "side": side,
        "turn": _TURNS[turn],
        "main_step": referral.main_step(actor, now, allowed_verbs),
        "unanswered": referral.shows_open_need(actor),
        "need_close_reason_code": 0
        if is_only_receiver
        else number(referrals_pb2.NeedCloseReason, referral.need_close_reason_code),
        "based_on_id": "" if is_only_receiver else referral.based_on_id,
        "following_id": ""
        if is_only_receiver or not (referral.followed_up or Side.SENDER in sides)
        else referral.following_id,
        "live": referral.state in LIVE,
        "legs": legs,
        "remind_time": timestamp(
            None if is_only_receiver and referral.was_reminded_of_need else referral.remind_time
        ),
    }
    for name, number_by_word in _common_fields(tuple(fields)):
        fields[name] = _convert(getattr(referral, name), number_by_word)
    return referrals_pb2.Referral(**fields)


@cache
def _common_fields(excluded: tuple[str, ...]) -> list[tuple[str, Mapping[str, int] | None]]:
    """Returns the fields that the message and the domain have in common, except `excluded`.

    A field with a code list has a map from word to enum number, any other field has None.
    """
    return [
        (field.name, numbers(field.enum_type) if field.enum_type else None)
        for field in referrals_pb2.Referral.DESCRIPTOR.fields
        if field.name not in excluded
    ]


def _convert(value: Any, number_by_word: Mapping[str, int] | None) -> Any:
    """Returns the value of a field that the message and the domain have in common.

    Times, and words from a code list, are converted; other values stay.
    """
    if isinstance(value, datetime):
        return timestamp(value)
    if number_by_word is None or value is None:
        return value
    return number_by_word.get(value.value if isinstance(value, Enum) else value, 0)


def event_message(event: Event) -> referrals_pb2.ReferralEvent:
    """Returns an event as a message."""
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


def read_arrival(message: referrals_pb2.Arrival) -> Arrival:
    """Parses the planned arrival of the person."""
    return Arrival(message.expected, message.way, message.company, message.sign)


def change_message(
    referral: Referral, event: Event, step_version: int, resume_token: str
) -> referrals_pb2.WatchReferralsResponse:
    """Returns an event as a stream sends it, with the referral's state at the time of the event."""
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
