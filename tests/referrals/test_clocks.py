"""Deadlines, and the loop that fires them: after a pause of the loop, too, and never twice."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis import audit, metrics
from chassis.local_time import zone_of
from chassis.public_holidays import is_public_holiday
from chassis.supervisor import State
from chassis.tokens import SYSTEM
from facts import outbox
from facts.outbox import Fact
from protos.referrals.v1 import people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.network.domain.deadline import (
    FIRST_POLICY,
    Deadline,
    DeadlineKind,
    Policy,
    Urgency,
    assault_to_the_hour,
    check_urgency,
    due_time,
    recent_assault_time,
)
from services.referrals.network.usecases.deadlines import (
    PUT_ASIDE,
    PUT_ASIDE_LATE,
    DeadlineScheduler,
)
from services.referrals.network.usecases.policies import PlaceCalendar
from services.referrals.referrals.store import deadlines as deadline_store
from services.referrals.referrals.store.deadlines import next_time
from tests.builders import NOON, refusal, violations_of
from tests.referrals.conftest import Service, Story

NICARAGUA = PlaceCalendar("NI")
K, H, M = DeadlineKind, timedelta(hours=1), timedelta(minutes=1)


@pytest.mark.parametrize(
    ("urgency", "acknowledge", "decide", "first_contact"),
    [
        (Urgency.IMMEDIATE, 15 * M, 1 * H, 12 * H),
        (Urgency.EMERGENCY, 1 * H, 24 * H, 24 * H),
        (Urgency.URGENT, 24 * H, 72 * H, 72 * H),
        # two working days from a Wednesday are 48 hours
        (Urgency.NORMAL, 48 * H, 14 * 24 * H, 14 * 24 * H),
    ],
)
def test_the_urgency_sets_the_deadlines(
    urgency: Urgency, acknowledge: timedelta, decide: timedelta, first_contact: timedelta
) -> None:
    assert due_time(K.ACKNOWLEDGE, urgency, NOON, NICARAGUA) - NOON == acknowledge
    assert due_time(K.DECIDE, urgency, NOON, NICARAGUA) - NOON == decide
    assert due_time(K.FIRST_CONTACT, urgency, NOON, NICARAGUA) - NOON == first_contact
    assert due_time(K.SILENCE, urgency, NOON, NICARAGUA) - NOON == timedelta(days=7)
    assert due_time(K.CLOSE, urgency, NOON, NICARAGUA) - NOON == timedelta(days=14)


def test_deadlines_follow_the_published_policy(story: Story) -> None:
    policy = {
        # from a Wednesday, as above
        (deadline.urgency, deadline.clock): timedelta(seconds=deadline.seconds)
        + deadline.working_days * 24 * H
        for deadline in story.ngo.GetDeadlinePolicy(pb.GetDeadlinePolicyRequest()).deadlines
    }
    for urgency in (
        pb.URGENCY_NORMAL,
        pb.URGENCY_URGENT,
        pb.URGENCY_EMERGENCY,
        pb.URGENCY_IMMEDIATE,
    ):
        accepted = story.accepted(urgency=urgency)
        clocks = story.ngo.GetReferral(
            pb.GetReferralRequest(
                id=story.shelter.NotDeliverReferral(
                    pb.NotDeliverReferralRequest(
                        id=accepted.id,
                        etag=accepted.etag,
                        reason_code=pb.NOT_DELIVERED_REASON_CAPACITY_LOST,
                    )
                ).id
            )
        ).clocks
        sent = story.sent(urgency=urgency)
        question = story.shelter.AskReferral(
            pb.AskReferralRequest(id=sent.id, etag=sent.etag, question_code=pb.QUESTION_DATES)
        )
        clocks.extend(clock for clock in question.clocks if clock.kind == pb.CLOCK_KIND_ANSWER)
        assert {clock.kind for clock in clocks} | {pb.CLOCK_KIND_CONTACT} == {
            kind for policy_urgency, kind in policy if policy_urgency == urgency
        }
        for clock in clocks:
            assert (
                clock.due_time.ToDatetime() - clock.start_time.ToDatetime()
                == policy[urgency, clock.kind]
            )
    for clock in story.overridden().clocks:
        if clock.kind in (pb.CLOCK_KIND_OVERRIDE_CONFIRM, pb.CLOCK_KIND_OVERRIDE_END):
            assert (
                clock.due_time.ToDatetime() - clock.start_time.ToDatetime()
                == policy[pb.URGENCY_UNSPECIFIED, clock.kind]
            )


@pytest.mark.parametrize(
    ("start", "due", "reason"),
    [
        (
            datetime(2026, 3, 5, 18, tzinfo=UTC),
            datetime(2026, 3, 9, 18, tzinfo=UTC),
            "Thursday to Monday, over a weekend",
        ),
        (
            datetime(2026, 3, 6, 18, tzinfo=UTC),
            datetime(2026, 3, 10, 18, tzinfo=UTC),
            "Friday to Tuesday",
        ),
        (
            datetime(2026, 3, 7, 2, tzinfo=UTC),
            datetime(2026, 3, 11, 2, tzinfo=UTC),
            "Friday at eight in the evening there, to Tuesday at eight",
        ),
        (
            datetime(2026, 3, 7, 18, tzinfo=UTC),
            datetime(2026, 3, 10, 18, tzinfo=UTC),
            "Saturday counts from Monday",
        ),
        # 14 and 15 September are San Jacinto and Independence; in 2026 a Monday and a Tuesday.
        (
            datetime(2026, 9, 11, 18, tzinfo=UTC),
            datetime(2026, 9, 17, 18, tzinfo=UTC),
            "a weekend and two holidays",
        ),
        (
            datetime(2026, 12, 24, 18, tzinfo=UTC),
            datetime(2026, 12, 29, 18, tzinfo=UTC),
            "Christmas and a weekend",
        ),
    ],
)
def test_two_working_days_follow_the_calendar_of_nicaragua(
    start: datetime, due: datetime, reason: str
) -> None:
    assert due_time(K.ACKNOWLEDGE, Urgency.NORMAL, start, NICARAGUA) == due, reason


def test_holidays_follow_the_persons_country() -> None:
    monday, day = datetime(2026, 9, 14, 18, tzinfo=UTC), timedelta(days=1)
    assert NICARAGUA.after_working_days(monday, 1) == monday + 2 * day  # after Independence
    assert PlaceCalendar("MX").after_working_days(monday, 1) == monday + day
    unknown = PlaceCalendar("??")  # only weekends
    assert unknown.after_working_days(monday, 1) == monday + day
    assert unknown.after_working_days(monday - 3 * day, 1) == monday


@pytest.mark.parametrize(
    ("department", "start", "end"),
    [
        ("ES-MD", "2026-03-27 23:30", "2026-03-30 23:30"),  # the Sunday has 23 hours
        ("ES-MD", "2026-10-23 00:30", "2026-10-26 00:30"),  # the Sunday has 25 hours
        ("MX-BCN", "2026-10-16 22:30", "2026-10-19 22:30"),  # Saturday in Mexico City
    ],
)
def test_a_working_day_after_a_friday_is_the_monday_at_the_same_local_time(
    department: str, start: str, end: str
) -> None:
    country = department[:2]
    first, last = (
        datetime.fromisoformat(text).replace(tzinfo=zone_of(country, department)).astimezone(UTC)
        for text in (start, end)
    )
    assert PlaceCalendar(country, department).after_working_days(first, 1) == last


@given(
    st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC)),
    st.integers(1, 10),
    st.sampled_from(["ES", "ES-CN", "US", "US-AZ", "MX", "MX-BCN", "NI"]),
)
def test_every_working_day_counts_once_in_every_zone(
    start: datetime, count: int, place: str
) -> None:
    zone, country = zone_of(place[:2], place), place[:2]
    end = PlaceCalendar(country, place).after_working_days(start, count)
    days = (end.astimezone(zone).date() - start.astimezone(zone).date()).days
    passed = [start.astimezone(zone).date() + timedelta(days=n) for n in range(1, days + 1)]
    working = [d for d in passed if d.weekday() < 5 and not is_public_holiday(country, d)]
    assert (len(working), working[-1]) == (count, passed[-1])


def test_each_level_of_a_deadline_fires_once() -> None:
    clock = Deadline(K.DECIDE, NOON, NOON + 10 * H)
    levels = [clock.fire(NOON + hours * H) for hours in range(22)]
    assert [level for level in levels if level] == [50, 100, 150, 200]
    assert (levels[5], levels[10], levels[15], levels[20]) == (50, 100, 150, 200)
    assert clock.next_time is None


@pytest.mark.parametrize(
    ("hours", "level"),
    [(4, None), (5, 50), (9, 50), (10, 100), (14, 100), (15, 150), (19, 150), (1_000, 200)],
)
def test_a_level_missed_during_a_pause_of_the_loop_does_not_fire_late(
    hours: int, level: int | None
) -> None:
    clock = Deadline(K.DECIDE, NOON, NOON + 10 * H)
    assert clock.fire(NOON + hours * H) == level
    assert clock.fire(NOON + hours * H) is None


def test_resuming_a_deadline_adds_the_time_of_the_pause() -> None:
    clock = Deadline(K.DECIDE, NOON, NOON + 10 * H)
    clock.fire(NOON + 5 * H)
    clock.pause(NOON + 6 * H)
    assert clock.next_time is None
    assert clock.fire(NOON + 100 * H) is None
    clock.resume(NOON + 106 * H)
    assert (clock.start_time, clock.due_time) == (NOON + 100 * H, NOON + 110 * H)
    assert clock.next_time == NOON + 110 * H
    assert clock.fire(NOON + 109 * H) is None
    assert clock.fire(NOON + 110 * H) == 100


def test_a_stopped_deadline_neither_fires_nor_resumes() -> None:
    clock = Deadline(K.DECIDE, NOON, NOON + 10 * H)
    clock.stop(NOON + 1 * H)
    clock.stop(NOON + 2 * H)
    clock.pause(NOON + 2 * H)
    clock.resume(NOON + 3 * H)
    assert (clock.stop_time, clock.due_time) == (NOON + 1 * H, NOON + 10 * H)
    assert clock.fire(NOON + 100 * H) is None


@pytest.mark.parametrize(
    ("urgency", "now", "start", "due"),
    [
        # three days until the decision; longer from the start on, shorter from now on
        (Urgency.NORMAL, 10 * H, 0 * H, 14 * 24 * H),
        (Urgency.URGENT, 10 * H, 0 * H, 72 * H),
        (Urgency.EMERGENCY, 10 * H, 10 * H, 34 * H),
        (Urgency.EMERGENCY, 47 * H, 47 * H, 71 * H),
        (Urgency.EMERGENCY, 48 * H, 0 * H, 72 * H),
        (Urgency.EMERGENCY, 60 * H, 0 * H, 72 * H),
    ],
)
@pytest.mark.parametrize("paused", [False, True])
def test_another_urgency_prolongs_a_deadline_from_its_start_and_shortens_it_from_now_on(
    urgency: Urgency, now: timedelta, start: timedelta, due: timedelta, paused: bool
) -> None:
    clock = Deadline(K.DECIDE, NOON, NOON + 72 * H, fired_percent=50)
    if paused:  # the deadline is recounted as of the start of the pause
        clock.pause(NOON + now)
        now += 1_000 * H
    clock.recount(NOON + now, urgency, NICARAGUA)
    assert (clock.start_time, clock.due_time) == (NOON + start, NOON + due)
    assert clock.fired_percent == (0 if start else 50)


@pytest.mark.parametrize(
    ("fired", "now", "stored"),
    [
        # from one hour to one day: due after 24 hours, and escalated after 36
        (0, 2 * H, 0),
        (50, 2 * H, 50),
        (100, 2 * H, 50),
        (150, 2 * H, 50),
        (100, 24 * H, 100),
        (150, 24 * H, 100),
        (150, 36 * H, 150),
    ],
)
@pytest.mark.parametrize("paused", [False, True])
def test_a_prolonged_deadline_reports_again_that_it_passed_and_repeats_no_reminder(
    fired: int, now: timedelta, stored: int, paused: bool
) -> None:
    clock = Deadline(K.ACKNOWLEDGE, NOON, NOON + H, fired_percent=fired)
    if paused:
        clock.pause(NOON + now)
        now += 1_000 * H
    clock.recount(NOON + now, Urgency.URGENT, NICARAGUA)
    assert (clock.due_time, clock.fired_percent) == (NOON + 24 * H, stored)


def test_a_deadline_that_has_not_begun_is_shortened_from_its_beginning() -> None:
    clock = Deadline(K.FIRST_CONTACT, NOON + 100 * H, NOON + 436 * H, fired_percent=0)
    clock.recount(NOON, Urgency.EMERGENCY, NICARAGUA)
    assert (clock.start_time, clock.due_time) == (NOON + 100 * H, NOON + 124 * H)


class TwoPolicies:
    """A calendar of a network that had a first policy, and then one with longer deadlines."""

    def after_working_days(self, start: datetime, count: int) -> datetime:
        return start + timedelta(days=count)

    def policy(self, version: int = 0) -> Policy:
        slower = {(Urgency.URGENT, K.DECIDE): 96 * H, (Urgency.EMERGENCY, K.DECIDE): 36 * H}
        return {1: FIRST_POLICY, 2: Policy(2, dict(FIRST_POLICY.spans) | slower)}[version or 2]


@pytest.mark.parametrize(
    ("urgency", "version", "due"),
    [
        (Urgency.URGENT, 1, 72 * H),
        (Urgency.URGENT, 2, 96 * H),
        (Urgency.EMERGENCY, 1, 25 * H),
        (Urgency.EMERGENCY, 2, 37 * H),
    ],
)
def test_another_urgency_adapts_a_deadline_by_the_policy_under_which_the_deadline_began(
    urgency: Urgency, version: int, due: timedelta
) -> None:
    clock = Deadline(K.DECIDE, NOON, NOON + 48 * H, policy_version=version)
    clock.recount(NOON + H, urgency, TwoPolicies())
    assert (clock.due_time, clock.policy_version) == (NOON + due, version)


@pytest.mark.parametrize(
    ("urgency", "answered", "reason", "accepted"),
    [
        (Urgency.NORMAL, None, "", True),
        (Urgency.URGENT, Urgency.URGENT, "", True),
        (Urgency.EMERGENCY, Urgency.URGENT, "", True),
        (Urgency.NORMAL, Urgency.URGENT, "safe_now", True),
        (Urgency.NORMAL, Urgency.URGENT, "", False),
    ],
)
def test_an_urgency_below_what_the_answers_say_needs_a_reason(
    urgency: Urgency, answered: Urgency | None, reason: str, accepted: bool
) -> None:
    if accepted:
        check_urgency(urgency, answered, reason)
        return
    assert violations_of(lambda: check_urgency(urgency, answered, reason)) == [
        ("urgency_reason_code", "required")
    ]


@pytest.mark.parametrize(
    ("ago", "counts"), [(0 * H, True), (120 * H - M, True), (120 * H, False), (121 * H, False)]
)
def test_an_assault_is_recent_for_five_days(ago: timedelta, counts: bool) -> None:
    assert recent_assault_time(NOON - ago, NOON) == (NOON - ago if counts else None)
    assert recent_assault_time(None, NOON) is None


@pytest.mark.parametrize(
    ("ago", "stored"),
    [(0 * H, 0 * H), (timedelta(minutes=59, microseconds=1), 1 * H), (120 * H, 120 * H)],
)
def test_the_time_of_an_assault_is_rounded_down_to_the_hour(
    ago: timedelta, stored: timedelta
) -> None:
    assert assault_to_the_hour("time", NOON - ago, NOON, None) == NOON - stored


def test_an_assault_in_the_future_or_long_ago_is_refused_unless_its_time_is_stored() -> None:
    for assault_time in (NOON + M, NOON - 120 * H - M):
        assert violations_of(
            partial(assault_to_the_hour, "time", assault_time, NOON, NOON - H)
        ) == [("time", "out_of_range")]
    stored = NOON - 500 * H
    assert assault_to_the_hour("time", stored + M, NOON, stored) == stored


def test_a_question_pauses_the_time_to_decide_and_the_answer_resumes_it(
    story: Story, service: Service
) -> None:
    sent = story.sent()
    before = decide(sent)
    question = story.shelter.AskReferral(
        pb.AskReferralRequest(id=sent.id, etag=sent.etag, question_code=pb.QUESTION_DATES)
    )
    assert decide(question).stop_time.ToDatetime(tzinfo=UTC) == NOON
    assert question.next_due_time.ToDatetime(tzinfo=UTC) == NOON + 1 * H, (
        "the deadline of the answer"
    )
    service.clock.advance(5 * H)
    answered = story.ngo.AnswerReferral(
        pb.AnswerReferralRequest(id=question.id, etag=question.etag, note="on Monday")
    )
    after = decide(answered)
    assert not after.HasField("stop_time")
    assert after.due_time.ToDatetime() - before.due_time.ToDatetime() == 5 * H


def decide(referral: pb.Referral) -> pb.Clock:
    return next(clock for clock in referral.clocks if clock.kind == pb.CLOCK_KIND_DECIDE)


# The scheduler, on a real database.


@pytest.fixture
def no_earlier_deadlines(service: Service) -> None:
    """Fires the deadlines of earlier tests, so that only those of this test remain."""
    DeadlineScheduler(
        service.made.lives, service.database, service.clock, next_time, "clocks"
    ).fire()


def fired_levels(service: Service, referral_id: str) -> list[str]:
    """Returns "deadline/verb" of each deadline fact of a referral in the outbox."""
    with service.database.transaction(SYSTEM) as tx:
        rows = tx.execute(
            "SELECT e.clock || '/' || e.verb AS said FROM referral_events e"
            " JOIN outbox o ON o.subject = e.referral_id AND o.version = e.version"
            " WHERE e.referral_id = %s AND e.clock <> '' ORDER BY e.version",
            (referral_id,),
        ).fetchall()
    return [row["said"] for row in rows]


def wait_until(condition: Callable[[], bool]) -> None:
    """Waits up to about five seconds until the condition is true."""
    for _ in range(250):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("the condition did not become true")


def test_a_scheduler_catches_up_after_a_pause_and_a_second_start_repeats_nothing(
    story: Story, service: Service, no_earlier_deadlines: None
) -> None:
    referral = story.sent()
    service.clock.advance(61 * M)  # no loop ran: level 50 was missed, level 100 is reached
    first = DeadlineScheduler(
        service.made.lives, service.database, service.clock, next_time, "clocks"
    ).loop()
    first.start()
    wait_until(lambda: fired_levels(service, referral.id) != [])
    first.stop()
    first.join(5)
    assert fired_levels(service, referral.id) == ["acknowledge/clock_breached"]

    second = DeadlineScheduler(
        service.made.lives, service.database, service.clock, next_time, "clocks"
    ).loop()
    second.start()
    later = story.sent()
    service.clock.advance(31 * M)
    wait_until(
        lambda: (
            len(fired_levels(service, later.id)) > 0 and len(fired_levels(service, referral.id)) > 1
        )
    )
    second.stop()
    second.join(5)
    assert fired_levels(service, referral.id) == [
        "acknowledge/clock_breached",
        "acknowledge/clock_escalated",
    ]
    assert fired_levels(service, later.id) == ["acknowledge/clock_reminded"]


def test_concurrent_schedulers_fire_each_level_once(
    story: Story, service: Service, no_earlier_deadlines: None
) -> None:
    referrals = [story.sent().id for _ in range(12)]
    service.clock.advance(31 * M)
    schedulers = [
        DeadlineScheduler(service.made.lives, service.database, service.clock, next_time, "clocks")
        for _ in range(4)
    ]
    begin = threading.Barrier(len(schedulers))
    counts: list[int] = []

    def fire(scheduler: DeadlineScheduler) -> None:
        begin.wait()
        counts.append(scheduler.fire())

    threads = [threading.Thread(target=fire, args=(scheduler,)) for scheduler in schedulers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(counts) == len(schedulers)
    schedulers[0].fire()  # rows that were locked wait for the next run
    counts_by_level = Counter(
        level for referral in referrals for level in fired_levels(service, referral)
    )
    assert counts_by_level == {"acknowledge/clock_reminded": len(referrals)}


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
    later = NOON + timedelta(days=10)
    with (
        service.database.transaction(SYSTEM) as first_replica,
        service.database.transaction(SYSTEM) as second_replica,
    ):
        # Two deadlines of each urgency are due.
        first, second = (
            deadline_store.due(first_replica, later, 4),
            deadline_store.due(second_replica, later, 100),
        )
    assert [urgency_of[identifier] for identifier in first] == [pb.URGENCY_IMMEDIATE] * 2
    assert {*first, *second} >= urgency_of.keys()
    assert not {*first} & {*second}
    service.clock.set(later)
    with service.database.transaction(SYSTEM) as tx:
        before = audit.head(tx).sequence
    DeadlineScheduler(
        service.made.lives, service.database, service.clock, next_time, "clocks"
    ).fire()
    with service.database.transaction(SYSTEM) as tx:
        rows = tx.execute(
            "SELECT object_id FROM audit WHERE sequence > %s AND action = 'fire_clock'"
            " ORDER BY sequence",
            (before,),
        ).fetchall()
    fired = [urgency_of[row["object_id"]] for row in rows if row["object_id"] in urgency_of]
    assert {*fired} == {*urgencies}
    assert fired == sorted(fired, reverse=True)


def test_no_deadline_of_an_ended_referral_fires(
    story: Story, service: Service, no_earlier_deadlines: None
) -> None:
    sent = story.sent()
    story.ngo.WithdrawReferral(
        pb.WithdrawReferralRequest(id=sent.id, etag=sent.etag, reason_code=pb.WITHDRAW_REASON_MOVED)
    )
    service.clock.advance(100 * H)
    DeadlineScheduler(
        service.made.lives, service.database, service.clock, next_time, "clocks"
    ).fire()
    assert fired_levels(service, sent.id) == []


def test_a_fired_deadline_makes_a_version_but_no_etag_stale(
    story: Story, service: Service, no_earlier_deadlines: None
) -> None:
    sent = story.sent()
    lists = story.shelter.GetQueueVersion(pb.GetQueueVersionRequest()).version
    service.clock.advance(31 * M)
    DeadlineScheduler(
        service.made.lives, service.database, service.clock, next_time, "clocks"
    ).fire()
    assert fired_levels(service, sent.id) == ["acknowledge/clock_reminded"]
    now = story.shelter.GetReferral(pb.GetReferralRequest(id=sent.id))
    assert now.etag == sent.etag
    assert [
        clock.fired_percent for clock in now.clocks if clock.kind == pb.CLOCK_KIND_ACKNOWLEDGE
    ] == [50]
    assert story.shelter.GetQueueVersion(pb.GetQueueVersionRequest()).version != lists, (
        "open pages are refreshed"
    )
    acknowledged = story.shelter.AcknowledgeReferral(
        pb.AcknowledgeReferralRequest(id=sent.id, etag=sent.etag)
    )
    assert int(acknowledged.etag[1:]) == int(sent.etag[1:]) + 2
    assert refusal(lambda: story.shelter.AcceptReferral(accepting(sent, service))) == (
        "ABORTED",
        "stale_etag",
    )


def test_an_unanswered_referral_expires_and_becomes_the_senders_turn(
    story: Story, service: Service, no_earlier_deadlines: None
) -> None:
    sent = story.sent()
    scheduler = DeadlineScheduler(
        service.made.lives, service.database, service.clock, next_time, "clocks"
    )
    for hours in (36, 11):
        service.clock.advance(hours * H)
        scheduler.fire()
    assert story.shelter.GetReferral(pb.GetReferralRequest(id=sent.id)).state == pb.STATE_SENT
    service.clock.advance(1 * H)
    scheduler.fire()
    scheduler.fire()
    mine = story.ngo.GetReferral(pb.GetReferralRequest(id=sent.id))
    assert (mine.state, mine.unanswered, mine.main_step) == (pb.STATE_EXPIRED, True, "refer_again")
    assert [clock.kind for clock in mine.clocks if not clock.HasField("stop_time")] == [
        pb.CLOCK_KIND_REPLACE
    ]
    events = story.ngo.ListReferralEvents(pb.ListReferralEventsRequest(referral_id=sent.id)).events
    [end] = [event for event in events if event.verb == "expired"]
    assert (end.to_state, end.attribution) == (pb.STATE_EXPIRED, pb.ATTRIBUTION_SYSTEM)
    request = people_pb2.OpenPersonRequest(
        id=sent.person_id, purpose_code="HOU", referral_id=sent.id
    )
    request.field_groups.append(people_pb2.FIELD_GROUP_IDENTITY)
    assert refusal(lambda: story.shelter.OpenPerson(request)) == ("NOT_FOUND", "not_found")
    stale = accepting(sent, service)
    stale.etag = mine.etag
    assert refusal(lambda: story.shelter.AcceptReferral(stale)) == (
        "FAILED_PRECONDITION",
        "illegal_transition",
    )


def accepting(referral: pb.Referral, service: Service) -> pb.AcceptReferralRequest:
    request = pb.AcceptReferralRequest(id=referral.id, etag=referral.etag)
    request.planned_first_contact_time.FromDatetime(service.clock.now())
    return request


# Rows that can't be processed.


def damage(service: Service, referral_id: str, kind: str) -> None:
    """Sets a deadline's kind to a value that the code does not know.

    A bug or a manual change of the database might do the same.
    """
    with service.database.transaction(SYSTEM) as tx:
        tx.execute(
            "UPDATE clocks SET kind = %s || kind WHERE referral_id = %s", (kind, referral_id)
        )


def put_aside() -> float:
    return float(metrics.ROWS_PUT_ASIDE.labels("clocks")._value.get())


def test_an_unreadable_deadline_does_not_delay_others_and_is_retried_after_a_pause(
    story: Story, service: Service, no_earlier_deadlines: None, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, intact = story.sent(), story.sent()
    damage(service, broken.id, "unknown_")
    service.clock.advance(31 * M)
    scheduler, before = (
        DeadlineScheduler(service.made.lives, service.database, service.clock, next_time, "clocks"),
        put_aside(),
    )
    assert scheduler.fire() == 1
    assert (fired_levels(service, broken.id), fired_levels(service, intact.id)) == (
        [],
        ["acknowledge/clock_reminded"],
    )
    assert put_aside() == before + 1
    assert broken.id in capsys.readouterr().out
    for _ in range(3):  # it is not retried at once
        scheduler.fire()
    assert put_aside() == before + 1
    service.clock.advance(PUT_ASIDE)
    scheduler.fire()
    assert put_aside() == before + 2
    with service.database.transaction(SYSTEM) as tx:  # repaired
        tx.execute(
            "UPDATE clocks SET kind = replace(kind, 'unknown_', '') WHERE referral_id = %s",
            (broken.id,),
        )
    service.clock.advance(PUT_ASIDE)
    assert scheduler.fire() == 1
    assert fired_levels(service, broken.id) == ["acknowledge/clock_reminded"]


def test_a_deadline_whose_fact_is_already_in_the_outbox_does_not_delay_others(
    story: Story, service: Service, no_earlier_deadlines: None
) -> None:
    """The outbox already has this version of the fact, so that every attempt raises Stale."""
    broken, intact = story.sent(), story.sent()
    version = int(broken.etag[1:]) + 1
    with service.database.transaction(SYSTEM) as tx:
        outbox.save(
            tx,
            [
                Fact(
                    broken.id,
                    version,
                    "enlace.referral.clock_reminded.v1",
                    b"",
                    service.clock.now(),
                )
            ],
        )
    service.clock.advance(31 * M)
    assert (
        DeadlineScheduler(
            service.made.lives, service.database, service.clock, next_time, "clocks"
        ).fire()
        == 1
    )
    assert (fired_levels(service, broken.id), fired_levels(service, intact.id)) == (
        [],
        ["acknowledge/clock_reminded"],
    )


def test_a_failing_deadline_in_the_middle_of_a_batch_is_the_only_one_put_aside(
    story: Story, service: Service, no_earlier_deadlines: None
) -> None:
    """One statement saves all deadlines of a batch, and fails for all of them."""
    sent = [story.sent() for _ in range(5)]
    broken = sent[2]
    with psycopg.connect(service.migration_url) as owner:
        owner.execute(
            "ALTER TABLE clocks ADD CONSTRAINT bad CHECK"
            f" (referral_id <> '{broken.id}' OR fired_percent = 0) NOT VALID"
        )
    service.clock.advance(31 * M)
    scheduler, before = (
        DeadlineScheduler(service.made.lives, service.database, service.clock, next_time, "clocks"),
        put_aside(),
    )
    try:
        assert scheduler.fire() == 4
    finally:
        with psycopg.connect(service.migration_url) as owner:
            owner.execute("ALTER TABLE clocks DROP CONSTRAINT bad")
    assert put_aside() == before + 1
    assert {referral.id: fired_levels(service, referral.id) for referral in sent} == {
        referral.id: [] if referral is broken else ["acknowledge/clock_reminded"]
        for referral in sent
    }
    with service.database.transaction(SYSTEM) as tx:
        trail = tx.execute(
            "SELECT object_id FROM audit WHERE action = 'fire_clock' AND object_id = ANY(%s)",
            ([referral.id for referral in sent],),
        ).fetchall()
    assert sorted(row["object_id"] for row in trail) == sorted(
        referral.id for referral in sent if referral is not broken
    )
    service.clock.advance(PUT_ASIDE)
    assert scheduler.fire() == 1
    assert fired_levels(service, broken.id) == ["acknowledge/clock_reminded"]


def test_a_whole_batch_of_unreadable_deadlines_does_not_delay_the_next_batch(
    story: Story, service: Service, no_earlier_deadlines: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.referrals.network.usecases.deadlines._BATCH", 2)
    for _ in range(5):
        damage(service, story.sent().id, "unknown_")
    service.clock.advance(M)
    good = story.sent()
    service.clock.advance(31 * M)
    loop = DeadlineScheduler(
        service.made.lives, service.database, service.clock, next_time, "clocks"
    ).loop()
    loop.start()
    wait_until(lambda: fired_levels(service, good.id) != [])
    assert loop.state is State.RUNNING
    loop.stop()
    assert loop.join(5)


@pytest.fixture
def hang_on_change(service: Service) -> Iterator[Callable[[str], None]]:
    """Returns a function that makes the database hang at each change of a referral.

    The effect is the same as that of a lock that is never released.
    """

    def hang(referral_id: str) -> None:
        with psycopg.connect(service.migration_url) as owner:
            owner.execute(
                "CREATE OR REPLACE FUNCTION stand_still() RETURNS trigger LANGUAGE plpgsql AS"
                " 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END';"
                "CREATE OR REPLACE TRIGGER stand_still BEFORE UPDATE ON referrals FOR EACH ROW"
                f" WHEN (NEW.id = '{referral_id}' AND NEW.version > OLD.version) EXECUTE FUNCTION"
                " stand_still()"
            )

    yield hang
    with psycopg.connect(service.migration_url) as owner:
        owner.execute(
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
    broken, intact = story.sent(), story.sent()
    hang_on_change(broken.id)
    service.clock.advance(31 * M)
    scheduler = DeadlineScheduler(
        service.made.lives, service.database, service.clock, next_time, "clocks"
    )
    scheduler.fire()
    assert (fired_levels(service, broken.id), fired_levels(service, intact.id)) == (
        [],
        ["acknowledge/clock_reminded"],
    )
    assert broken.id in capsys.readouterr().out
    scheduler.fire()
    assert broken.id not in capsys.readouterr().out, "it is not retried at once"
    service.clock.advance(PUT_ASIDE_LATE)
    scheduler.fire()
    assert broken.id in capsys.readouterr().out


# Drafts.


def test_the_deadline_of_a_draft_reminds_only_its_sender(
    story: Story, service: Service, no_earlier_deadlines: None
) -> None:
    draft = story.draft(urgency=pb.URGENCY_URGENT)
    [clock] = draft.clocks
    assert (clock.kind, clock.due_time.ToDatetime(tzinfo=UTC)) == (
        pb.CLOCK_KIND_DRAFT,
        NOON + 24 * H,
    )
    change = pb.UpdateReferralRequest(
        referral=pb.Referral(id=draft.id, etag=draft.etag, urgency=pb.URGENCY_EMERGENCY)
    )
    change.update_mask.paths.append("urgency")
    more_urgent = story.ngo.UpdateReferral(change)
    assert more_urgent.clocks[0].due_time.ToDatetime(tzinfo=UTC) == NOON + 1 * H
    service.clock.advance(2 * H)
    scheduler = DeadlineScheduler(
        service.made.lives, service.database, service.clock, next_time, "clocks"
    )
    scheduler.fire()
    assert fired_levels(service, draft.id) == ["draft/clock_escalated"]
    mine = story.ngo.ListReferrals(
        pb.ListReferralsRequest(
            filter=pb.ReferralFilter(box=pb.BOX_MINE, waiting_for_me=True, late=True)
        )
    )
    assert draft.id in {row.id for row in mine.referrals}
    receipt = story.receipt(draft.person_id)
    sent = story.ngo.SendReferral(
        pb.SendReferralRequest(id=draft.id, etag=more_urgent.etag, receipt_id=receipt.id)
    )
    assert [
        clock.HasField("stop_time") for clock in sent.clocks if clock.kind == pb.CLOCK_KIND_DRAFT
    ] == [True]
    copy = story.shelter.GetReferral(pb.GetReferralRequest(id=draft.id))
    assert pb.CLOCK_KIND_DRAFT not in {clock.kind for clock in copy.clocks}
    events = story.shelter.ListReferralEvents(
        pb.ListReferralEventsRequest(referral_id=draft.id)
    ).events
    assert pb.CLOCK_KIND_DRAFT not in {event.clock for event in events}


def test_the_sender_can_end_an_abandoned_draft_at_any_time(
    story: Story, service: Service, no_earlier_deadlines: None
) -> None:
    draft = story.draft()
    service.clock.advance(100 * H)
    ended = story.ngo.EnterReferralInError(
        pb.EnterReferralInErrorRequest(id=draft.id, etag=draft.etag)
    )
    assert ended.state == pb.STATE_ENTERED_IN_ERROR
    assert not ended.HasField("next_due_time")
