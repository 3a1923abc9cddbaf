"""Notes between the two sides: where news is due, writing a note is the step that gives it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from chassis.tokens import SYSTEM
from protos.referrals.v1 import people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.network.domain.deadline import SILENCE_AFTER_NEWS
from services.referrals.network.usecases.deadlines import DeadlineScheduler
from services.referrals.referrals.domain.lifecycle import Side, State
from services.referrals.referrals.domain.referral import Referral
from services.referrals.referrals.store.deadlines import next_time
from tests.builders import NOON, refusal, refusal_with_fields
from tests.referrals.conftest import Client, Service, Story
from tests.referrals.test_appointments import D, begun, planned, silence
from tests.referrals.test_lifecycle import ACTORS, DAYS
from tests.referrals.test_requests import started

SILENCE = timedelta(days=7)

SENDER, RECEIVER = ACTORS[Side.SENDER], ACTORS[Side.RECEIVER]


def test_a_note_counts_as_news_only_if_the_receiver_wrote_it() -> None:
    referral = begun()
    referral.take("add_note", SENDER, NOON + D, DAYS, note="her sister asks")
    assert (silence(referral).start_time, silence(referral).due_time) == (NOON, NOON + SILENCE)
    referral.take("add_note", RECEIVER, NOON + 2 * D, DAYS, note="she is well")
    assert (silence(referral).start_time, silence(referral).due_time) == (
        NOON + 2 * D,
        NOON + 2 * D + SILENCE_AFTER_NEWS,
    )
    assert (referral.state, [event.verb for event in referral.events[-2:]]) == (
        State.IN_PROGRESS,
        ["note_added", "note_added"],
    )


def test_a_note_does_not_postpone_the_question_about_a_coming_appointment() -> None:
    referral = planned(NOON + 3 * D)
    referral.take("add_note", RECEIVER, NOON + D, DAYS, note="she is well")
    assert (referral.appointment_time, silence(referral).due_time) == (
        NOON + 3 * D,
        NOON + 3 * D + SILENCE,
    )


def test_a_note_after_the_help_is_completed_changes_no_deadline() -> None:
    referral = begun()
    referral.state = State.COMPLETED
    clocks = list(referral.deadlines)
    referral.take("add_note", RECEIVER, NOON + D, DAYS, note="she left her coat")
    assert (referral.deadlines, referral.deadlines[0].running) == (clocks, True)


def main_steps(referral: Referral, days: int) -> tuple[str, str]:
    now = NOON + days * D
    step = referral.main_step(RECEIVER, now)
    assert referral.allowed_verbs(RECEIVER, now)[0] == step
    return step, referral.main_step(SENDER, now)


def test_after_too_long_a_silence_a_note_is_the_receivers_main_step() -> None:
    referral = begun()
    assert main_steps(referral, 6) == ("complete", "")
    assert main_steps(referral, 7) == ("add_note", "")
    referral.take("add_note", RECEIVER, NOON + 7 * D, DAYS, note="she is well")
    assert main_steps(referral, 36) == ("complete", "")
    assert main_steps(referral, 37) == ("add_note", "")
    assert main_steps(planned(NOON + D), 8) == ("attend_appointment", ""), (
        "the outcome of the appointment counts as news"
    )


# By rpc, with the database and the scheduler.


def write(client: Client, referral: pb.Referral, note: str = "she is well") -> pb.Referral:
    created: pb.Referral = client.AddNote(
        pb.AddNoteRequest(id=referral.id, etag=referral.etag, note=note)
    )
    return created


def test_a_note_answers_the_request_for_news_and_both_sides_read_it(
    story: Story, service: Service
) -> None:
    watch = DeadlineScheduler(
        service.made.lives, service.database, service.clock, next_time, "clocks"
    )
    referral = started(story)
    service.clock.advance(SILENCE)
    watch.fire()
    late = story.shelter.GetReferral(pb.GetReferralRequest(id=referral.id))
    assert (late.main_step, late.allowed_verbs[0]) == ("add_note", "add_note")
    after = write(story.shelter, late)
    assert (after.state, after.main_step) == (pb.STATE_IN_PROGRESS, "complete")
    answered = write(story.ngo, after, "thank you")
    assert answered.next_due_time == after.next_due_time
    service.clock.advance(SILENCE_AFTER_NEWS / 2 - timedelta(seconds=1))
    watch.fire()
    assert story.ngo.GetReferral(pb.GetReferralRequest(id=referral.id)).etag == answered.etag
    events = story.ngo.ListReferralEvents(
        pb.ListReferralEventsRequest(referral_id=referral.id)
    ).events[-2:]
    assert [(event.verb, event.note) for event in events] == [
        ("note_added", "she is well"),
        ("note_added", "thank you"),
    ]


def test_a_note_is_sealed_and_published_with_ids_only(story: Story, service: Service) -> None:
    created = write(story.shelter, started(story), "at the side door")
    with service.database.transaction(SYSTEM) as tx:
        row = tx.execute(
            "SELECT note_sealed FROM referral_events WHERE referral_id = %s ORDER BY version DESC"
            " LIMIT 1",
            (created.id,),
        ).fetchone()
        fact = tx.execute(
            "SELECT type, payload FROM outbox WHERE subject = %s ORDER BY version DESC LIMIT 1",
            (created.id,),
        ).fetchone()
    assert row is not None
    assert fact is not None
    assert b"side door" not in row["note_sealed"]
    assert fact["type"] == "enlace.referral.note_added.v1"
    assert b"side door" not in fact["payload"]
    events = story.coordinator.ListReferralEvents(
        pb.ListReferralEventsRequest(referral_id=created.id)
    ).events[-1]
    assert (events.note, events.note_withheld) == ("", True)


def test_only_sender_and_receiver_write_notes(story: Story) -> None:
    referral = started(story)
    clinic = story.service.as_("clinic", "WORKER")
    assert refusal(lambda: write(clinic, referral)) == ("NOT_FOUND", "not_found")
    assert refusal(lambda: write(story.coordinator, referral)) == (
        "PERMISSION_DENIED",
        "right_missing",
    )


def test_an_empty_note_or_one_after_the_end_is_refused(story: Story) -> None:
    referral = started(story)
    assert refusal_with_fields(lambda: write(story.shelter, referral, "")) == (
        "INVALID_ARGUMENT",
        "invalid_fields",
        {"note": "required"},
    )
    story.ngo.WithdrawReceipt(people_pb2.WithdrawReceiptRequest(id=referral.receipt_id))
    ended = story.ngo.GetReferral(pb.GetReferralRequest(id=referral.id))
    assert refusal(lambda: write(story.ngo, ended)) == ("FAILED_PRECONDITION", "illegal_transition")


# D26
def test_d26_a_note_is_saved_even_with_a_stale_etag(story: Story) -> None:
    seen = started(story)
    write(story.ngo, seen, "her sister asks")
    for etag in (seen.etag, "v1", "", "of no version"):
        story.shelter.AddNote(
            pb.AddNoteRequest(
                id=seen.id, etag=etag, note=f"she is well {etag}", request_id=story.request_id()
            )
        )
    events = story.ngo.ListReferralEvents(pb.ListReferralEventsRequest(referral_id=seen.id)).events
    notes = [event.note for event in events if event.verb == "note_added"]
    assert notes == [
        "her sister asks",
        f"she is well {seen.etag}",
        "she is well v1",
        "she is well ",
        "she is well of no version",
    ]


# D26
def test_d26_concurrent_notes_are_all_saved_exactly_once(story: Story) -> None:
    seen = started(story)
    values = [
        pb.AddNoteRequest(
            id=seen.id, etag=seen.etag, note=f"note {number}", request_id=story.request_id()
        )
        for number in range(6)
    ]
    sides = [story.ngo, story.shelter] * 3
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda side, request: side.AddNote(request), sides, values))
        list(threads.map(lambda side, request: side.AddNote(request), sides, values))
    events = story.ngo.ListReferralEvents(pb.ListReferralEventsRequest(referral_id=seen.id)).events
    assert sorted(event.note for event in events if event.verb == "note_added") == [
        request.note for request in values
    ]


# D26
def test_d26_a_note_on_an_ended_referral_is_refused_as_before(story: Story) -> None:
    sent = story.sent()
    in_error = story.ngo.EnterReferralInError(
        pb.EnterReferralInErrorRequest(id=sent.id, etag=sent.etag)
    )
    request = pb.AddNoteRequest(id=in_error.id, note="she is well")
    assert refusal(lambda: story.ngo.AddNote(request)) == (
        "FAILED_PRECONDITION",
        "illegal_transition",
    )
