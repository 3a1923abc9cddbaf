"""The deadlines of stored referrals, and the loop that fires them.

The loop also fires after a pause, and never fires the same level twice.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from typing import Any

import pytest

from chassis import metrics
from chassis.supervisor import State
from chassis.tokens import SYSTEM
from facts import outbox
from facts.outbox import Fact
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.network.usecases.deadlines import (
    PUT_ASIDE,
    PUT_ASIDE_LATE,
    DeadlineScheduler,
)
from services.referrals.referrals.store import deadlines as deadline_store
from tests.builders import NOON, NOT_FOUND, refusal
from tests.parts.loops import eventually, running
from tests.referrals.conftest import Service, Story, history, open_identity, read

H, M = timedelta(hours=1), timedelta(minutes=1)
REMINDED = ["acknowledge/clock_reminded"]


def test_deadlines_follow_the_published_policy(story: Story) -> None:
    policy = {
        # the tests begin on a Wednesday, so that two working days last 48 hours
        (deadline.urgency, deadline.clock): timedelta(seconds=deadline.seconds)
        + deadline.working_days * 24 * H
        for deadline in story.ngo.GetDeadlinePolicy().deadlines
    }

    def spans(clocks: Iterable[pb.Clock]) -> dict[Any, timedelta]:
        return {
            clock.kind: clock.due_time.ToDatetime() - clock.start_time.ToDatetime()
            for clock in clocks
        }

    for urgency in (
        pb.URGENCY_NORMAL,
        pb.URGENCY_URGENT,
        pb.URGENCY_EMERGENCY,
        pb.URGENCY_IMMEDIATE,
    ):
        accepted, sent = story.accepted(urgency=urgency), story.sent(urgency=urgency)
        story.shelter.NotDeliverReferral(
            id=accepted.id, etag=accepted.etag, reason_code=pb.NOT_DELIVERED_REASON_CAPACITY_LOST
        )
        answer = [clock for clock in ask(story, sent).clocks if clock.kind == pb.CLOCK_KIND_ANSWER]
        assert spans([*read(story.ngo, accepted.id).clocks, *answer]) == {
            kind: span
            for (policy_urgency, kind), span in policy.items()
            if policy_urgency == urgency and kind != pb.CLOCK_KIND_CONTACT
        }
    override_spans = spans(story.overridden().clocks)
    for kind in (pb.CLOCK_KIND_OVERRIDE_CONFIRM, pb.CLOCK_KIND_OVERRIDE_END):
        assert override_spans[kind] == policy[pb.URGENCY_UNSPECIFIED, kind]


def test_a_question_pauses_the_time_to_decide_and_the_answer_resumes_it(
    story: Story, service: Service
) -> None:
    sent = story.sent()
    question = ask(story, sent)
    assert decide_deadline(question).stop_time.ToDatetime(tzinfo=UTC) == NOON
    assert question.next_due_time.ToDatetime(tzinfo=UTC) == NOON + 1 * H, (
        "the deadline of the answer"
    )
    service.clock.advance(5 * H)
    referral = story.ngo.AnswerReferral(id=question.id, etag=question.etag, note="on Monday")
    former, current = decide_deadline(sent), decide_deadline(referral)
    assert not current.HasField("stop_time")
    assert current.due_time.ToDatetime() - former.due_time.ToDatetime() == 5 * H


def ask(story: Story, sent: pb.Referral) -> pb.Referral:
    question: pb.Referral = story.shelter.AskReferral(
        id=sent.id, etag=sent.etag, question_code=pb.QUESTION_DATES
    )
    return question


def decide_deadline(referral: pb.Referral) -> pb.Clock:
    return next(clock for clock in referral.clocks if clock.kind == pb.CLOCK_KIND_DECIDE)


@pytest.fixture
def no_earlier_deadlines(service: Service) -> None:
    """Fires the deadlines of earlier tests, so that only those of this test remain."""
    service.scheduler().fire()


def fired_levels(service: Service, referral_id: str) -> list[str]:
    """Returns "deadline/verb" of each deadline fact of a referral in the outbox."""
    rows = service.rows(
        "SELECT e.clock || '/' || e.verb AS level FROM referral_events e"
        " JOIN outbox o ON o.subject = e.referral_id AND o.version = e.version"
        " WHERE e.referral_id = %s AND e.clock <> '' ORDER BY e.version",
        referral_id,
    )
    return [row["level"] for row in rows]


def test_a_scheduler_catches_up_after_a_pause_and_a_second_start_repeats_nothing(
    story: Story, service: Service, no_earlier_deadlines: None
) -> None:
    referral = story.sent()
    service.clock.advance(61 * M)  # no loop ran: level 50 was missed, level 100 is reached
    with running(service.scheduler().loop()):
        assert eventually(lambda: fired_levels(service, referral.id) != [])
    assert fired_levels(service, referral.id) == ["acknowledge/clock_breached"]
    with running(service.scheduler().loop()):
        later_referral = story.sent()
        service.clock.advance(31 * M)
        assert eventually(
            lambda: (
                fired_levels(service, later_referral.id) != []
                and len(fired_levels(service, referral.id)) > 1
            )
        )
    assert fired_levels(service, referral.id) == [
        "acknowledge/clock_breached",
        "acknowledge/clock_escalated",
    ]
    assert fired_levels(service, later_referral.id) == REMINDED


def test_concurrent_schedulers_fire_each_level_once(
    story: Story, service: Service, no_earlier_deadlines: None
) -> None:
    referrals = [story.sent().id for _ in range(12)]
    service.clock.advance(31 * M)
    start = threading.Barrier(4)

    def fire(scheduler: DeadlineScheduler) -> None:
        start.wait()
        scheduler.fire()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fire, [service.scheduler() for _ in range(4)]))
    service.scheduler().fire()  # rows that were locked wait for the next run
    assert [fired_levels(service, referral_id) for referral_id in referrals] == [REMINDED] * 12


def test_the_most_urgent_referrals_fire_first_and_replicas_share_them(
    story: Story, service: Service, no_earlier_deadlines: None
) -> None:
    urgencies = [
        pb.URGENCY_NORMAL,
        pb.URGENCY_IMMEDIATE,
        pb.URGENCY_URGENT,
        pb.URGENCY_EMERGENCY,
    ] * 2
    urgency_of = {story.sent(urgency=urgency).id: urgency for urgency in urgencies}
    later_time = NOON + timedelta(days=10)
    with (
        service.database.transaction(SYSTEM) as first_replica,
        service.database.transaction(SYSTEM) as second_replica,
    ):
        # Two deadlines of each urgency are due.
        first_ids = deadline_store.due(first_replica, later_time, 4)
        second_ids = deadline_store.due(second_replica, later_time, 100)
    assert [urgency_of[referral_id] for referral_id in first_ids] == [pb.URGENCY_IMMEDIATE] * 2
    assert {*first_ids, *second_ids} >= urgency_of.keys()
    assert not {*first_ids} & {*second_ids}
    service.clock.set(later_time)
    service.scheduler().fire()
    rows = service.rows(
        "SELECT object_id FROM audit WHERE action = 'fire_clock' AND object_id = ANY(%s)"
        " ORDER BY sequence",
        list(urgency_of),
    )
    fired_urgencies = [urgency_of[row["object_id"]] for row in rows]
    assert {*fired_urgencies} == {*urgencies}
    assert fired_urgencies == sorted(fired_urgencies, reverse=True)


def test_no_deadline_of_an_ended_referral_fires(
    story: Story, service: Service, no_earlier_deadlines: None
) -> None:
    sent = story.sent()
    story.ngo.WithdrawReferral(id=sent.id, etag=sent.etag, reason_code=pb.WITHDRAW_REASON_MOVED)
    service.fire_after(100 * H)
    assert fired_levels(service, sent.id) == []


def test_a_deadline_that_fires_changes_the_queue_version_but_leaves_the_etag_valid(
    story: Story, service: Service, no_earlier_deadlines: None
) -> None:
    sent = story.sent()
    version = story.shelter.GetQueueVersion().version
    service.fire_after(31 * M)
    assert fired_levels(service, sent.id) == REMINDED
    current = read(story.shelter, sent.id)
    assert current.etag == sent.etag
    assert [
        clock.fired_percent for clock in current.clocks if clock.kind == pb.CLOCK_KIND_ACKNOWLEDGE
    ] == [50]
    assert story.shelter.GetQueueVersion().version != version, "open pages are refreshed"
    acknowledged_referral = story.shelter.AcknowledgeReferral(id=sent.id, etag=sent.etag)
    assert int(acknowledged_referral.etag[1:]) == int(sent.etag[1:]) + 2
    assert refusal(lambda: story.accept(sent)) == ("ABORTED", "stale_etag")


def test_an_unanswered_referral_expires_and_becomes_the_senders_turn(
    story: Story, service: Service, no_earlier_deadlines: None
) -> None:
    sent = story.sent()
    for hours in (36, 11):
        service.fire_after(hours * H)
    assert read(story.shelter, sent.id).state == pb.STATE_SENT
    for hours in (1, 0):
        service.fire_after(hours * H)
    referral = read(story.ngo, sent.id)
    assert (referral.state, referral.unanswered, referral.main_step) == (
        pb.STATE_EXPIRED,
        True,
        "refer_again",
    )
    assert [clock.kind for clock in referral.clocks if not clock.HasField("stop_time")] == [
        pb.CLOCK_KIND_REPLACE
    ]
    [end_event] = [event for event in history(story.ngo, sent.id) if event.verb == "expired"]
    assert (end_event.to_state, end_event.attribution) == (pb.STATE_EXPIRED, pb.ATTRIBUTION_SYSTEM)
    assert refusal(lambda: open_identity(story.shelter, sent.person_id, sent.id)) == NOT_FOUND
    assert refusal(lambda: story.accept(referral)) == ("FAILED_PRECONDITION", "illegal_transition")


# Rows that can't be processed.


def damage(service: Service, referral_id: str) -> None:
    """Sets the kind of a deadline to a value that the code does not know.

    A bug or a manual change of the database might do the same.
    """
    service.as_owner(
        "UPDATE clocks SET kind = 'unknown_' || kind WHERE referral_id = %s", referral_id
    )


def put_aside_count() -> float:
    return float(metrics.ROWS_PUT_ASIDE.labels("clocks")._value.get())


def test_an_unreadable_deadline_does_not_delay_others_and_is_retried_after_a_pause(
    story: Story, service: Service, no_earlier_deadlines: None, capsys: pytest.CaptureFixture[str]
) -> None:
    broken_referral, intact_referral = story.sent(), story.sent()
    damage(service, broken_referral.id)
    service.clock.advance(31 * M)
    scheduler, count_before = service.scheduler(), put_aside_count()
    assert scheduler.fire() == 1
    assert fired_levels(service, broken_referral.id) == []
    assert fired_levels(service, intact_referral.id) == REMINDED
    assert broken_referral.id in capsys.readouterr().out
    for _ in range(3):  # the deadline is not retried at once
        scheduler.fire()
    assert put_aside_count() == count_before + 1
    service.clock.advance(PUT_ASIDE)
    scheduler.fire()
    assert put_aside_count() == count_before + 2
    repair = "UPDATE clocks SET kind = replace(kind, 'unknown_', '') WHERE referral_id = %s"
    service.as_owner(repair, broken_referral.id)
    service.clock.advance(PUT_ASIDE)
    assert scheduler.fire() == 1
    assert fired_levels(service, broken_referral.id) == REMINDED


def test_a_deadline_whose_fact_is_already_in_the_outbox_does_not_delay_others(
    story: Story, service: Service, no_earlier_deadlines: None
) -> None:
    """The outbox already has this version of the fact, so that every attempt raises Stale."""
    broken, intact = story.sent(), story.sent()
    type_ = "enlace.referral.clock_reminded.v1"
    fact = Fact(broken.id, int(broken.etag[1:]) + 1, type_, b"", service.clock.now())
    service.in_transaction(outbox.save, [fact])
    assert service.fire_after(31 * M) == 1
    assert fired_levels(service, broken.id) == []
    assert fired_levels(service, intact.id) == REMINDED


def test_a_failing_deadline_in_the_middle_of_a_batch_is_the_only_one_put_aside(
    story: Story, service: Service, no_earlier_deadlines: None
) -> None:
    """One statement saves all deadlines of a batch, and fails for all of them."""
    ids = [story.sent().id for _ in range(5)]
    broken_id = ids[2]
    service.as_owner(
        "ALTER TABLE clocks ADD CONSTRAINT bad CHECK"
        f" (referral_id <> '{broken_id}' OR fired_percent = 0) NOT VALID"
    )
    service.clock.advance(31 * M)
    scheduler, count_before = service.scheduler(), put_aside_count()
    try:
        assert scheduler.fire() == 4
    finally:
        service.as_owner("ALTER TABLE clocks DROP CONSTRAINT bad")
    assert put_aside_count() == count_before + 1
    intact_ids = [referral_id for referral_id in ids if referral_id != broken_id]
    assert fired_levels(service, broken_id) == []
    assert [fired_levels(service, referral_id) for referral_id in intact_ids] == [REMINDED] * 4
    trail = service.rows(
        "SELECT object_id FROM audit WHERE action = 'fire_clock' AND object_id = ANY(%s)", ids
    )
    assert sorted(row["object_id"] for row in trail) == sorted(intact_ids)
    service.clock.advance(PUT_ASIDE)
    assert scheduler.fire() == 1
    assert fired_levels(service, broken_id) == REMINDED


def test_a_whole_batch_of_unreadable_deadlines_does_not_delay_the_next_batch(
    story: Story, service: Service, no_earlier_deadlines: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.referrals.network.usecases.deadlines._BATCH", 2)
    for _ in range(5):
        damage(service, story.sent().id)
    service.clock.advance(M)
    intact_referral = story.sent()
    service.clock.advance(31 * M)
    loop = service.scheduler().loop()
    with running(loop):
        assert eventually(lambda: fired_levels(service, intact_referral.id) != [])
        assert loop.state is State.RUNNING


@pytest.fixture
def hang_on_change(service: Service) -> Iterator[Callable[[str], None]]:
    """Returns a function that makes the database hang at each change of a referral.

    The effect is the same as that of a lock that is never released.
    """

    def hang(referral_id: str) -> None:
        service.as_owner(
            "CREATE OR REPLACE FUNCTION stand_still() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END';"
            "CREATE OR REPLACE TRIGGER stand_still BEFORE UPDATE ON referrals FOR EACH ROW"
            f" WHEN (NEW.id = '{referral_id}' AND NEW.version > OLD.version) EXECUTE FUNCTION"
            " stand_still()"
        )

    yield hang
    service.as_owner(
        "DROP TRIGGER IF EXISTS stand_still ON referrals; DROP FUNCTION IF EXISTS stand_still()"
    )


def test_a_deadline_that_exceeds_the_time_limit_does_not_delay_others(
    story: Story,
    service: Service,
    no_earlier_deadlines: None,
    hang_on_change: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("services.referrals.network.usecases.deadlines._LIMIT", 1.0)
    slow_referral, intact_referral = story.sent(), story.sent()
    hang_on_change(slow_referral.id)
    service.clock.advance(31 * M)
    scheduler = service.scheduler()
    scheduler.fire()
    assert fired_levels(service, slow_referral.id) == []
    assert fired_levels(service, intact_referral.id) == REMINDED
    assert slow_referral.id in capsys.readouterr().out
    scheduler.fire()
    assert slow_referral.id not in capsys.readouterr().out, "the deadline is not retried at once"
    service.clock.advance(PUT_ASIDE_LATE)
    scheduler.fire()
    assert slow_referral.id in capsys.readouterr().out


# Drafts.


def test_the_deadline_of_a_draft_reminds_only_its_sender(
    story: Story, service: Service, no_earlier_deadlines: None
) -> None:
    draft = story.draft(urgency=pb.URGENCY_URGENT)
    [deadline] = draft.clocks
    assert (deadline.kind, deadline.due_time.ToDatetime(tzinfo=UTC)) == (
        pb.CLOCK_KIND_DRAFT,
        NOON + 24 * H,
    )
    urgent_draft = story.ngo.UpdateReferral(
        referral=pb.Referral(id=draft.id, etag=draft.etag, urgency=pb.URGENCY_EMERGENCY),
        update_mask={"paths": ["urgency"]},
    )
    assert urgent_draft.clocks[0].due_time.ToDatetime(tzinfo=UTC) == NOON + 1 * H
    service.fire_after(2 * H)
    assert fired_levels(service, draft.id) == ["draft/clock_escalated"]
    late_referrals = story.ngo.ListReferrals(
        filter=pb.ReferralFilter(box=pb.BOX_MINE, waiting_for_me=True, late=True)
    )
    assert draft.id in {referral.id for referral in late_referrals.referrals}
    sent = story.send(urgent_draft)
    assert [
        clock.HasField("stop_time") for clock in sent.clocks if clock.kind == pb.CLOCK_KIND_DRAFT
    ] == [True]
    assert pb.CLOCK_KIND_DRAFT not in {clock.kind for clock in read(story.shelter, draft.id).clocks}
    assert pb.CLOCK_KIND_DRAFT not in {event.clock for event in history(story.shelter, draft.id)}


def test_the_sender_can_end_an_abandoned_draft_at_any_time(
    story: Story, service: Service, no_earlier_deadlines: None
) -> None:
    draft = story.draft()
    service.clock.advance(100 * H)
    ended_draft = story.ngo.EnterReferralInError(id=draft.id, etag=draft.etag)
    assert ended_draft.state == pb.STATE_ENTERED_IN_ERROR
    assert not ended_draft.HasField("next_due_time")
