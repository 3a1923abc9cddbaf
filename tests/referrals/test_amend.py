"""Amending urgency and coarse data of a sent referral; an event names the changed fields."""

from datetime import timedelta
from functools import partial

import pytest

from chassis.errors import Invalid
from protos.referrals.v1 import people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.files.domain.person import Coarse
from services.referrals.network.domain.deadline import DeadlineKind, Urgency
from services.referrals.referrals.domain.lifecycle import Side
from services.referrals.referrals.domain.referral import Referral
from tests.builders import NOON, NOT_FOUND, conflict_of, refusal, refusal_with_fields
from tests.referrals.conftest import Client, Story, history, read
from tests.referrals.test_lifecycle import ACTORS, DAYS, STEPS, draft

H = timedelta(hours=1)
SENDER = ACTORS[Side.SENDER]


def sent_referral(urgency: Urgency = Urgency.URGENT) -> Referral:
    referral = draft()
    referral.urgency = urgency
    STEPS["send"](referral, SENDER, NOON)
    return referral


def amend(
    referral: Referral,
    urgency: Urgency | None,
    delay: timedelta = timedelta(),
    coarse: Coarse | None = None,
) -> None:
    referral.amend(
        SENDER, NOON + delay, DAYS, urgency=urgency, coarse=coarse or referral.coarse, note=""
    )


def running_deadlines(referral: Referral) -> dict[DeadlineKind, timedelta]:
    """Returns the due time of each running deadline, counted from noon."""
    return {
        deadline.kind: deadline.due_time - NOON
        for deadline in referral.deadlines
        if deadline.stop_time is None
    }


def test_a_raised_urgency_restarts_the_deadlines_and_their_notices() -> None:
    referral = sent_referral()
    referral.fire_deadlines(NOON + 13 * H, DAYS)
    amend(referral, Urgency.EMERGENCY, 14 * H)
    assert running_deadlines(referral) == {
        DeadlineKind.ACKNOWLEDGE: 15 * H,
        DeadlineKind.DECIDE: 38 * H,
    }
    assert referral.events[-1].changed_field_codes == ("urgency",)
    assert [event.verb for event in referral.fire_deadlines(NOON + 14.5 * H, DAYS)] == [
        "clock_reminded"
    ]


def test_a_raised_urgency_never_postpones_a_deadline() -> None:
    referral = sent_referral()
    amend(referral, Urgency.EMERGENCY, 71 * H)
    assert running_deadlines(referral)[DeadlineKind.DECIDE] == 72 * H


def test_a_lowered_urgency_extends_the_deadlines_and_repeats_their_reports() -> None:
    referral = sent_referral(Urgency.EMERGENCY)
    referral.fire_deadlines(NOON + 1.5 * H, DAYS)
    amend(referral, Urgency.URGENT, 2 * H)
    assert running_deadlines(referral) == {
        DeadlineKind.ACKNOWLEDGE: 24 * H,
        DeadlineKind.DECIDE: 72 * H,
    }
    assert [
        (hours, event.verb, event.clock)
        for hours in (22, 23, 24, 36)
        for event in referral.fire_deadlines(NOON + hours * H, DAYS)
    ] == [
        (24, "clock_breached", DeadlineKind.ACKNOWLEDGE),
        (36, "clock_escalated", DeadlineKind.ACKNOWLEDGE),
        (36, "clock_reminded", DeadlineKind.DECIDE),
    ]


def test_a_raised_urgency_does_not_make_a_leg_late_before_the_person_arrives() -> None:
    referral = sent_referral(Urgency.NORMAL)
    STEPS["accept"](referral, ACTORS[Side.RECEIVER], NOON)
    referral.planned_first_contact_time = NOON + 120 * H
    referral.postpone_first_contact(NOON)
    amend(referral, Urgency.EMERGENCY, 2 * H)
    assert running_deadlines(referral) == {DeadlineKind.FIRST_CONTACT: 144 * H}
    assert referral.fire_deadlines(NOON + 120 * H, DAYS) == []


def test_amending_does_not_resume_the_time_to_decide_while_a_question_is_open() -> None:
    referral = sent_referral()
    STEPS["ask"](referral, ACTORS[Side.RECEIVER], NOON + 2 * H)
    amend(referral, Urgency.EMERGENCY, 3 * H)
    [decide] = [deadline for deadline in referral.deadlines if deadline.kind is DeadlineKind.DECIDE]
    assert (decide.pause_time, decide.due_time) == (NOON + 2 * H, NOON + 26 * H)
    assert running_deadlines(referral)[DeadlineKind.ANSWER] == 4 * H
    STEPS["answer"](referral, SENDER, NOON + 4 * H)
    assert running_deadlines(referral)[DeadlineKind.DECIDE] == 28 * H


def test_an_amendment_without_a_change_or_after_the_end_is_refused() -> None:
    referral = sent_referral()
    former = (referral.version, list(referral.events))
    with pytest.raises(Invalid):
        amend(referral, Urgency.URGENT)
    assert (referral.version, referral.events) == former
    STEPS["withdraw"](referral, SENDER, NOON)
    assert conflict_of(lambda: amend(referral, Urgency.IMMEDIATE)) == "illegal_transition"


def amend_request(
    referral: pb.Referral, urgency: pb.Urgency.ValueType = pb.URGENCY_UNSPECIFIED
) -> pb.AmendReferralRequest:
    return pb.AmendReferralRequest(id=referral.id, etag=referral.etag, urgency=urgency)


def test_the_receiver_sees_the_current_coarse_data_once_the_sender_has_amended_the_referral(
    story: Story,
) -> None:
    sent = story.sent(urgency=pb.URGENCY_URGENT)
    file = story.ngo.GetPerson(people_pb2.GetPersonRequest(id=sent.person_id))
    identity = people_pb2.Identity(given_name="Ximena", birth_date="1996-05-04")
    story.ngo.UpdateIdentity(
        people_pb2.UpdateIdentityRequest(id=file.id, etag=file.etag, identity=identity)
    )
    assert read(story.shelter, sent.id).person.age_band == pb.AGE_BAND_18_TO_24
    amended_referral = story.ngo.AmendReferral(amend_request(sent, pb.URGENCY_EMERGENCY))
    referral = read(story.shelter, sent.id)
    assert (referral.person.age_band, referral.urgency, referral.state) == (
        pb.AGE_BAND_25_TO_59,
        pb.URGENCY_EMERGENCY,
        sent.state,
    )
    assert referral.next_due_time.ToDatetime() - sent.send_time.ToDatetime() == 1 * H
    last_event = history(story.shelter, sent.id)[-1]
    assert (last_event.verb, list(last_event.changed_field_codes)) == (
        "amended",
        ["age_band", "urgency"],
    )
    assert refusal_with_fields(
        lambda: story.ngo.AmendReferral(amend_request(amended_referral))
    ) == ("INVALID_ARGUMENT", "invalid_fields", {"urgency": "required"})


def test_only_the_sender_amends_a_referral_and_only_with_the_current_etag(
    story: Story, clinic: Client
) -> None:
    sent = story.sent(urgency=pb.URGENCY_URGENT)
    request = amend_request(sent, pb.URGENCY_IMMEDIATE)
    assert [
        refusal(partial(client.AmendReferral, request))
        for client in (story.shelter, clinic, story.coordinator)
    ] == [
        ("FAILED_PRECONDITION", "illegal_transition"),
        NOT_FOUND,
        ("PERMISSION_DENIED", "right_missing"),
    ]
    story.shelter.AcknowledgeReferral(pb.AcknowledgeReferralRequest(id=sent.id, etag=sent.etag))
    assert refusal(lambda: story.ngo.AmendReferral(request)) == ("ABORTED", "stale_etag")
