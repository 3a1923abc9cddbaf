"""Notes between the two sides of a referral; a receiver whose news is due gives it in a note."""

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from datetime import timedelta
from typing import cast

import pytest

from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.network.domain.deadline import SILENCE_AFTER_NEWS
from services.referrals.referrals.domain.lifecycle import Side, State
from services.referrals.referrals.domain.referral import Referral
from services.referrals.referrals.usecases import referrals
from tests.builders import NOON, NOT_FOUND, refusal, wrong_fields
from tests.referrals.conftest import Client, Service, Story, history, read
from tests.referrals.test_appointments import (
    D,
    referral_with_appointment,
    silence,
    started_referral,
)
from tests.referrals.test_lifecycle import ACTORS, DAYS
from tests.referrals.test_requests import started

SILENCE = timedelta(days=7)

SENDER, RECEIVER = ACTORS[Side.SENDER], ACTORS[Side.RECEIVER]


def test_a_note_counts_as_news_only_if_the_receiver_wrote_it() -> None:
    referral = started_referral()
    referral.take("add_note", SENDER, NOON + D, DAYS, note="her sister asks")
    assert (silence(referral).start_time, silence(referral).due_time) == (NOON, NOON + SILENCE)
    referral.take("add_note", RECEIVER, NOON + 2 * D, DAYS, note="she is well")
    news_time = NOON + 2 * D
    assert (silence(referral).start_time, silence(referral).due_time) == (
        news_time,
        news_time + SILENCE_AFTER_NEWS,
    )
    assert (referral.state, [event.verb for event in referral.events[-2:]]) == (
        State.IN_PROGRESS,
        ["note_added", "note_added"],
    )


def test_a_note_does_not_postpone_the_question_about_a_coming_appointment() -> None:
    referral = referral_with_appointment(NOON + 3 * D)
    referral.take("add_note", RECEIVER, NOON + D, DAYS, note="she is well")
    assert (referral.appointment_time, silence(referral).due_time) == (
        NOON + 3 * D,
        NOON + 3 * D + SILENCE,
    )


def test_a_note_after_the_help_is_completed_changes_no_deadline() -> None:
    referral = started_referral()
    referral.state = State.COMPLETED
    deadlines = deepcopy(referral.deadlines)
    referral.take("add_note", RECEIVER, NOON + D, DAYS, note="she left her coat")
    assert (referral.deadlines, referral.deadlines[0].running) == (deadlines, True)


def main_steps(referral: Referral, days: int) -> tuple[str, str]:
    """Returns the main step of the receiver, which is offered first, and that of the sender."""
    now = NOON + days * D
    step = referral.main_step(RECEIVER, now)
    assert referral.allowed_verbs(RECEIVER, now)[0] == step
    return step, referral.main_step(SENDER, now)


def test_after_too_long_a_silence_a_note_is_the_receivers_main_step() -> None:
    referral = started_referral()
    assert main_steps(referral, 6) == ("complete", "")
    assert main_steps(referral, 7) == ("add_note", "")
    referral.take("add_note", RECEIVER, NOON + 7 * D, DAYS, note="she is well")
    assert main_steps(referral, 36) == ("complete", "")
    assert main_steps(referral, 37) == ("add_note", "")
    assert main_steps(referral_with_appointment(NOON + D), 8) == ("attend_appointment", ""), (
        "the outcome of the appointment counts as news"
    )


# By rpc, with the database and the scheduler.


def write(client: Client, referral: pb.Referral, note: str = "she is well") -> pb.Referral:
    return cast(pb.Referral, client.AddNote(id=referral.id, etag=referral.etag, note=note))


def notes(story: Story, referral: pb.Referral) -> list[str]:
    """Returns the texts of the notes in the history of a referral."""
    return [event.note for event in history(story.ngo, referral.id) if event.verb == "note_added"]


def test_a_note_answers_the_request_for_news_and_both_sides_read_it(
    story: Story, service: Service
) -> None:
    referral = started(story)
    service.fire_after(SILENCE)
    due_referral = read(story.shelter, referral.id)
    assert (due_referral.main_step, due_referral.allowed_verbs[0]) == ("add_note", "add_note")
    after = write(story.shelter, due_referral)
    assert (after.state, after.main_step) == (pb.STATE_IN_PROGRESS, "complete")
    answered = write(story.ngo, after, "thank you")
    assert answered.next_due_time == after.next_due_time
    service.fire_after(SILENCE_AFTER_NEWS / 2 - timedelta(seconds=1))
    assert read(story.ngo, referral.id).etag == answered.etag
    assert notes(story, referral) == ["she is well", "thank you"]


def test_a_note_is_sealed_and_published_with_ids_only(story: Story, service: Service) -> None:
    created = write(story.shelter, started(story), "at the side door")
    *_, row = service.rows(
        "SELECT note_sealed FROM referral_events WHERE referral_id = %s ORDER BY version",
        created.id,
    )
    *_, fact = service.rows(
        "SELECT type, payload FROM outbox WHERE subject = %s ORDER BY version", created.id
    )
    assert fact["type"] == "enlace.referral.note_added.v1"
    assert b"side door" not in row["note_sealed"] + fact["payload"]
    event = history(story.coordinator, created.id)[-1]
    assert (event.note, event.note_withheld) == ("", True)


def test_a_history_with_more_notes_than_fit_into_an_answer_has_the_latest(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such an answer was once refused as too large: neither side could open the referral."""
    monkeypatch.setattr(referrals, "MOST_TEXT", 20)
    referral = started(story)
    for note in ("older", "ten bytes", "más bytes"):
        write(story.shelter, referral, note)
    assert notes(story, referral) == ["", "ten bytes", "más bytes"]
    *_, oldest, _, _ = history(story.ngo, referral.id)
    assert oldest.note_withheld


def test_only_sender_and_receiver_write_notes(story: Story) -> None:
    referral = started(story)
    assert refusal(lambda: write(story.service.as_("clinic", "WORKER"), referral)) == NOT_FOUND
    assert refusal(lambda: write(story.coordinator, referral)) == (
        "PERMISSION_DENIED",
        "right_missing",
    )


def test_an_empty_note_and_a_note_after_the_end_are_refused(story: Story) -> None:
    referral, sent = started(story), story.sent()
    assert wrong_fields(lambda: write(story.shelter, referral, "")) == [("note", "required")]
    story.ngo.WithdrawReceipt(id=referral.receipt_id)
    story.ngo.EnterReferralInError(id=sent.id, etag=sent.etag)
    for ended_id in (referral.id, sent.id):
        assert refusal(lambda: story.ngo.AddNote(id=ended_id, note="she is well")) == (  # noqa: B023
            "FAILED_PRECONDITION",
            "illegal_transition",
        )


def test_a_note_is_saved_even_with_a_stale_etag(story: Story) -> None:
    referral = started(story)
    write(story.ngo, referral, "her sister asks")
    etags = (referral.etag, "v1", "", "of no version")
    for etag in etags:
        story.shelter.AddNote(id=referral.id, etag=etag, note=f"with the etag {etag}")
    assert notes(story, referral) == [
        "her sister asks",
        *(f"with the etag {etag}" for etag in etags),
    ]


def test_concurrent_notes_are_all_saved_exactly_once(story: Story) -> None:
    referral = started(story)
    requests = [
        pb.AddNoteRequest(
            id=referral.id, etag=referral.etag, note=f"note {number}", request_id=story.request_id()
        )
        for number in range(6)
    ]
    sides = [story.ngo, story.shelter] * 3
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda side, request: side.AddNote(request), sides, requests))
        list(threads.map(lambda side, request: side.AddNote(request), sides, requests))
    assert sorted(notes(story, referral)) == [request.note for request in requests]
