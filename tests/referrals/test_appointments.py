"""Appointments while help is given.

Only one appointment is open at a time, its history is stored, and a referral with an appointment is
still followed up.
"""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.network.domain.deadline import SILENCE_AFTER_NEWS, Deadline, DeadlineKind
from services.referrals.referrals.domain.lifecycle import Side, State
from services.referrals.referrals.domain.referral import Referral
from tests.builders import NOON, conflict_of, refusal, violations_of, wrong_fields
from tests.referrals.conftest import ORG, Client, Service, Story, history, read
from tests.referrals.test_lifecycle import ACTORS, DAYS, draft
from tests.referrals.test_requests import started

SILENCE = timedelta(days=7)

H, D = timedelta(hours=1), timedelta(days=1)
RECEIVER = ACTORS[Side.RECEIVER]
OUTCOME_STEPS = {"attend_appointment", "miss_appointment", "cancel_appointment"}
ILLEGAL = "illegal_transition"


def started_referral() -> Referral:
    """Returns a referral whose help started at noon, without an open appointment."""
    referral = draft()
    referral.state = State.IN_PROGRESS
    referral.deadlines = [Deadline(DeadlineKind.SILENCE, NOON, NOON + SILENCE)]
    return referral


def silence(referral: Referral) -> Deadline:
    [deadline] = [deadline for deadline in referral.deadlines if deadline.running]
    assert deadline.kind is DeadlineKind.SILENCE
    return deadline


def referral_with_appointment(time: datetime) -> Referral:
    """Returns a referral whose receiver has made an appointment at noon for this time."""
    referral = started_referral()
    referral.take("schedule_appointment", RECEIVER, NOON, DAYS, appointment_time=time)
    return referral


def offered_steps(referral: Referral, now: datetime) -> set[str]:
    return OUTCOME_STEPS & set(referral.allowed_verbs(RECEIVER, now))


def test_the_receiver_is_asked_for_news_only_after_the_appointment() -> None:
    time = NOON + 30 * D
    referral = referral_with_appointment(time)
    assert [
        (days, event.verb)
        for days in range(3, 14)
        for event in referral.fire_deadlines(time + days * D, DAYS)
    ] == [(4, "clock_reminded"), (7, "clock_breached"), (11, "clock_escalated")]
    assert silence(referral).due_time == time + SILENCE


@pytest.mark.parametrize(
    ("verb", "reason", "span"),
    [
        ("attend_appointment", "", SILENCE_AFTER_NEWS),
        ("miss_appointment", "ill", SILENCE),
        ("cancel_appointment", "by_provider", SILENCE),
    ],
)
def test_recording_the_outcome_of_an_appointment_ends_it_and_counts_as_news(
    verb: str, reason: str, span: timedelta
) -> None:
    time = NOON + 2 * D
    referral = referral_with_appointment(time)
    referral.take(verb, RECEIVER, time, DAYS, **({"reason_code": reason} if reason else {}))
    assert referral.events[-1].reason_code == reason
    assert (referral.state, referral.appointment_time, referral.reason_code) == (
        State.IN_PROGRESS,
        None,
        "",
    )
    assert (silence(referral).start_time, silence(referral).due_time) == (time, time + span)
    assert offered_steps(referral, time) == set()


def test_a_new_appointment_replaces_the_open_one() -> None:
    referral = referral_with_appointment(NOON + 2 * D)
    referral.take("schedule_appointment", RECEIVER, NOON + H, DAYS, appointment_time=NOON + D)
    assert referral.appointment_time == silence(referral).start_time == NOON + D
    assert [event.verb for event in referral.events[-2:]] == ["appointment_scheduled"] * 2


def test_an_appointment_is_at_most_ninety_days_ahead_and_not_long_past() -> None:
    for time in (NOON - H, NOON + 90 * D):
        assert referral_with_appointment(time).appointment_time == time
    for time in (NOON - H - timedelta(seconds=1), NOON + 90 * D + H):
        assert violations_of(partial(referral_with_appointment, time)) == [
            ("appointment_time", "out_of_range")
        ]


def test_appointments_are_attended_or_missed_from_an_hour_before_and_cancelled_anytime() -> None:
    referral = referral_with_appointment(NOON + D)
    too_early = NOON + D - H - timedelta(seconds=1)
    assert offered_steps(referral, too_early) == {"cancel_appointment"}
    for verb, content in (("attend_appointment", {}), ("miss_appointment", {"reason_code": "ill"})):
        take = partial(referral.take, verb, RECEIVER, too_early, DAYS, **content)
        assert conflict_of(take) == ILLEGAL
    for time in (NOON + D - H, NOON + 30 * D):
        assert offered_steps(referral, time) == OUTCOME_STEPS


def test_once_an_appointment_is_due_recording_its_outcome_is_the_main_step() -> None:
    referral = referral_with_appointment(NOON + D)
    assert referral.main_step(RECEIVER, NOON) == "complete"
    assert referral.main_step(RECEIVER, NOON + D) == "attend_appointment"
    assert referral.allowed_verbs(RECEIVER, NOON)[0] == "complete"
    assert referral.allowed_verbs(RECEIVER, NOON + D)[:3] == [
        "attend_appointment",
        "miss_appointment",
        "complete",
    ]


def test_without_an_open_appointment_no_outcome_can_be_recorded() -> None:
    referral = started_referral()
    assert offered_steps(referral, NOON) == set()
    cancel = partial(referral.take, "cancel_appointment", RECEIVER, NOON, DAYS)
    assert conflict_of(partial(cancel, reason_code="by_person")) == ILLEGAL


def test_an_appointment_ends_with_the_help_and_is_not_restored_on_reopening() -> None:
    referral = referral_with_appointment(NOON + D)
    referral.take("complete", RECEIVER, NOON, DAYS, outcome_code="fully_met")
    assert referral.appointment_time is None
    referral.take("close", ACTORS[Side.SENDER], NOON + H, DAYS, help_came_code="no")
    assert (referral.state, referral.appointment_time, silence(referral).start_time) == (
        State.IN_PROGRESS,
        None,
        NOON + H,
    )


# By rpc, with the database and the scheduler.


def schedule(client: Client, referral: pb.Referral, time: datetime, **values: Any) -> Any:
    return client.ScheduleAppointment(
        id=referral.id, etag=referral.etag, appointment_time=time, **values
    )


def test_sender_and_receiver_see_the_open_appointment_and_its_outcome(
    story: Story, service: Service
) -> None:
    scheduled_referral = schedule(story.shelter, started(story), NOON + D)
    referral = read(story.ngo, scheduled_referral.id)
    assert referral.appointment_time.ToDatetime(tzinfo=UTC) == NOON + D
    assert (referral.state, referral.etag) == (pb.STATE_IN_PROGRESS, scheduled_referral.etag)
    service.clock.advance(D)
    missed_referral = story.shelter.MissAppointment(
        id=scheduled_referral.id,
        etag=scheduled_referral.etag,
        reason_code=pb.MISS_REASON_NO_TRANSPORT,
        note="the bus did not run",
    )
    assert not missed_referral.HasField("appointment_time")
    assert [
        (event.verb, event.reason_code, event.note)
        for event in history(story.ngo, scheduled_referral.id)[-2:]
    ] == [
        ("appointment_scheduled", "", ""),
        ("appointment_missed", "no_transport", "the bus did not run"),
    ]


def test_the_note_of_an_appointment_is_sealed_like_any_other(
    story: Story, service: Service
) -> None:
    referral = schedule(story.shelter, started(story), NOON + D, note="at the side door")
    [row] = service.rows(
        "SELECT note_sealed FROM referral_events WHERE referral_id = %s ORDER BY version DESC"
        " LIMIT 1",
        referral.id,
    )
    assert row["note_sealed"]
    assert b"side door" not in row["note_sealed"]
    event = history(story.coordinator, referral.id)[-1]
    assert (event.note, event.note_withheld) == ("", True)


def test_the_scheduler_waits_for_the_appointment_and_asks_for_news_after_it(
    story: Story, service: Service
) -> None:
    service.scheduler().fire()
    referral = schedule(story.shelter, started(story), NOON + 20 * D)
    service.fire_after(20 * D)
    assert read(story.ngo, referral.id).etag == referral.etag
    service.fire_after(SILENCE)
    last_event = history(story.ngo, referral.id)[-1]
    assert (last_event.verb, last_event.clock) == ("clock_breached", pb.CLOCK_KIND_SILENCE)


def test_only_the_receiver_makes_appointments_and_only_within_ninety_days(story: Story) -> None:
    referral = started(story)
    assert refusal(lambda: schedule(story.ngo, referral, NOON + D)) == (
        "FAILED_PRECONDITION",
        "illegal_transition",
    )
    assert wrong_fields(lambda: schedule(story.shelter, referral, NOON + 91 * D)) == [
        ("appointment_time", "out_of_range")
    ]


def test_a_withdrawn_consent_ends_the_appointment(story: Story) -> None:
    scheduled_referral = schedule(story.shelter, started(story), NOON + D)
    story.ngo.WithdrawReceipt(id=scheduled_referral.receipt_id)
    referral = read(story.ngo, scheduled_referral.id)
    assert (referral.state, referral.HasField("appointment_time")) == (
        pb.STATE_CONSENT_WITHDRAWN,
        False,
    )
    assert referral.receiver_organization_id == ORG["shelter"]
