"""The deadlines of a referral, and the events that the system records.

The tests use no database and no ports.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from services.referrals.network.domain.deadline import HEALTH, Deadline, DeadlineKind, Urgency
from services.referrals.referrals.domain.lifecycle import CAME_BACK, LIVE, REFER_AGAIN, Side, State
from services.referrals.referrals.domain.record import Actor, Event
from services.referrals.referrals.domain.referral import Referral
from tests.builders import NOON
from tests.referrals.test_lifecycle import (
    ACTORS,
    DAYS,
    LATER,
    STEPS,
    draft,
    in_state,
    referral_after,
    running_kinds,
)


def test_an_open_need_has_a_deadline_that_its_receiver_does_not_see() -> None:
    for verb, state in (("decline", State.SENT), ("not_deliver", State.ACCEPTED)):
        referral, day_after = in_state(state), NOON + timedelta(hours=24)
        STEPS[verb](referral, ACTORS[Side.RECEIVER], NOON)
        assert set(running_kinds(referral)) == {DeadlineKind.REPLACE, *HEALTH}
        [deadline] = referral.unstopped_deadlines(DeadlineKind.REPLACE)
        assert (deadline.start_time, deadline.due_time) == (NOON, day_after)
        assert [event.verb for event in referral.fire_deadlines(day_after, DAYS)] == [
            "clock_breached"
        ]
        STEPS["close_need"](referral, ACTORS[Side.COORDINATOR], NOON)
        assert running_kinds(referral) == []
        for side in (Side.SENDER, Side.COORDINATOR):
            assert referral.events_for(ACTORS[side], referral.events) == referral.events
            assert referral.deadlines_for(ACTORS[side])
        hidden_events = set(referral.events) - set(
            referral.events_for(ACTORS[Side.RECEIVER], referral.events)
        )
        assert {event.verb for event in hidden_events} == {"clock_breached", "need_closed"}
        assert DeadlineKind.REPLACE not in {
            deadline.kind for deadline in referral.deadlines_for(ACTORS[Side.RECEIVER])
        }


@pytest.mark.parametrize(
    ("verb", "former_state", "is_seen"),
    [
        ("need_closed", State.DECLINED, False),
        ("leg_lost", State.IN_PROGRESS, False),
        ("reminded", State.DECLINED, False),
        ("reminded", State.SENT, True),
        ("entered_in_error", State.DECLINED, True),
        ("declined", State.SENT, True),
    ],
)
def test_a_receiver_sees_no_event_about_the_persons_need_unless_it_also_sent_the_referral(
    verb: str, former_state: State, is_seen: bool
) -> None:
    event = Event(2, verb, former_state, former_state, NOON, ACTORS[Side.SENDER])
    referral = in_state(State.DECLINED)
    for side in (Side.SENDER, Side.COORDINATOR):
        assert referral.events_for(ACTORS[side], [event]) == [event]
    assert referral.events_for(ACTORS[Side.RECEIVER], [event]) == [event] * is_seen
    referral.receiver_organization_id = referral.sender_organization_id
    assert referral.events_for(ACTORS[Side.SENDER], [event]) == [event]


SENDER_KINDS = {DeadlineKind.REPLACE, DeadlineKind.DRAFT}


@pytest.mark.parametrize(
    ("side", "state", "hidden_kinds"),
    [
        (Side.SENDER, State.ACCEPTED, set()),
        (Side.SENDER, State.DECLINED, set()),
        (Side.RECEIVER, State.ACCEPTED, SENDER_KINDS),
        (Side.RECEIVER, State.DECLINED, {*SENDER_KINDS, *HEALTH}),
        (Side.COORDINATOR, State.ACCEPTED, set(HEALTH)),
    ],
)
def test_each_side_sees_the_deadlines_that_concern_it_and_their_events(
    side: Side, state: State, hidden_kinds: set[DeadlineKind]
) -> None:
    referral, actor = in_state(state), ACTORS[side]
    events = [
        Event(2, "clock_reminded", state, state, NOON, ACTORS[Side.SYSTEM], clock=kind)
        for kind in DeadlineKind
    ]
    visible_kinds = set(DeadlineKind) - hidden_kinds
    assert {deadline.kind for deadline in referral.deadlines_for(actor)} == visible_kinds
    assert {event.clock for event in referral.events_for(actor, events)} == visible_kinds


def test_running_deadlines_are_listed_first_and_each_group_by_due_time() -> None:
    referral, minute = draft(), timedelta(minutes=1)
    referral.deadlines = [
        Deadline(DeadlineKind.CLOSE, NOON, NOON + 1 * minute, stop_time=NOON),
        Deadline(DeadlineKind.SILENCE, NOON, NOON + 4 * minute),
        Deadline(DeadlineKind.DECIDE, NOON, NOON + 2 * minute, pause_time=NOON),
        Deadline(DeadlineKind.REVIEW, NOON, NOON + 3 * minute),
    ]
    assert [deadline.kind for deadline in referral.deadlines_for(ACTORS[Side.SENDER])] == [
        DeadlineKind.REVIEW,
        DeadlineKind.SILENCE,
        DeadlineKind.CLOSE,
        DeadlineKind.DECIDE,
    ]


def test_every_wait_has_a_deadline_of_the_side_whose_turn_it_is() -> None:
    verbs_by_state: dict[str, list[str]] = {
        "draft": [],
        "sent": ["send"],
        "acknowledged": ["send", "acknowledge"],
        "info_requested": ["send", "ask"],
        "accepted": ["send", "accept"],
        "waitlisted": ["send", "waitlist"],
        "in_progress": ["send", "accept", "start"],
        "completed": ["send", "accept", "start", "complete"],
        "declined": ["send", "decline"],
        "expired": ["send", "expire"],
        "not_delivered": ["send", "accept", "not_deliver"],
        "rerouted": ["send", "reroute"],
        "consent_withdrawn": ["send", "withdraw_consent"],
    }
    assert verbs_by_state.keys() == {
        state.value for state in LIVE | CAME_BACK | {State.DRAFT, State.CONSENT_WITHDRAWN}
    }, "a new waiting state needs an entry here"
    for state, verbs in verbs_by_state.items():
        referral = referral_after(*verbs)
        assert referral.state.value == state
        assert referral.side_to_act(ACTORS[Side.SENDER]) in (Side.SENDER, Side.RECEIVER), state
        assert referral.next_due_time is not None, state


@pytest.mark.parametrize(
    ("urgency", "review_days", "due_days"),
    [
        (Urgency.IMMEDIATE, 364, 1),
        (Urgency.EMERGENCY, 364, 3),
        (Urgency.EMERGENCY, 2, 2),
        (Urgency.URGENT, 364, 90),
        (Urgency.NORMAL, 60, 60),
    ],
)
def test_no_receiver_puts_off_the_review_of_its_waiting_list_without_a_deadline(
    urgency: Urgency, review_days: int, due_days: int
) -> None:
    referral, review_time = referral_after("send"), NOON + timedelta(days=review_days)
    referral.urgency = urgency
    referral.take(
        "waitlist",
        ACTORS[Side.RECEIVER],
        NOON,
        DAYS,
        expected_wait_days=review_days,
        review_time=review_time,
    )
    [deadline] = referral.unstopped_deadlines(DeadlineKind.REVIEW)
    due_time = NOON + timedelta(days=due_days)
    assert (deadline.due_time, referral.review_time) == (due_time, review_time)


def test_the_review_of_a_waiting_list_comes_sooner_once_the_referral_is_immediate() -> None:
    referral = referral_after("send", "waitlist")
    assert referral.next_due_time == NOON + timedelta(days=2)
    STEPS["amend"](referral, ACTORS[Side.SENDER], NOON)
    assert (referral.urgency, referral.next_due_time) == (
        Urgency.IMMEDIATE,
        NOON + timedelta(days=1),
    )


def test_each_level_that_a_deadline_reaches_is_an_event_and_makes_nothing_stale() -> None:
    referral = in_state(State.IN_PROGRESS)
    referral.deadlines = [
        Deadline(kind, NOON, NOON + timedelta(hours=10))
        for kind in (DeadlineKind.SILENCE, DeadlineKind.HIV_PROPHYLAXIS)
    ]
    step_version, version = referral.step_version, referral.version
    for hours, verb in (
        (4, ""),
        (5, "clock_reminded"),
        (10, "clock_breached"),
        (14, ""),
        (15, "clock_escalated"),
        (99, ""),
    ):
        now = NOON + timedelta(hours=hours)
        version += bool(verb)
        event = Event(
            version,
            verb,
            State.IN_PROGRESS,
            State.IN_PROGRESS,
            now,
            Actor("system", "clock", ""),
            attribution="system",
            clock=DeadlineKind.SILENCE,
        )
        assert referral.fire_deadlines(now, DAYS) == [event] * bool(verb)
        assert (referral.version, referral.step_version) == (version, step_version)


def test_an_unanswered_referral_expires_at_twice_the_time_to_decide() -> None:
    referral = referral_after("send")
    verbs = [
        [event.verb for event in referral.fire_deadlines(NOON + timedelta(hours=hours), DAYS)]
        for hours in (36, 47, 48, 400)
    ]
    assert verbs[:3] == [["clock_escalated", "clock_escalated"], [], ["expired"]], (
        "the deadline of the need starts when the referral expires"
    )
    [expired_event] = [event for event in referral.events if event.verb == "expired"]
    assert (expired_event.actor, expired_event.to_state, referral.state) == (
        Actor("system", "clock", ""),
        State.EXPIRED,
        State.EXPIRED,
    )
    assert referral.main_step(ACTORS[Side.SENDER], NOON) == REFER_AGAIN
    assert "accept" not in referral.allowed_verbs(ACTORS[Side.RECEIVER], NOON)


def test_a_question_stops_the_time_to_decide_and_starts_the_senders_deadline() -> None:
    referral = referral_after("send", "ask")
    assert running_kinds(referral) == [DeadlineKind.ANSWER]
    assert referral.next_due_time == NOON + timedelta(hours=1)
    assert [event.verb for event in referral.fire_deadlines(NOON + timedelta(days=60), DAYS)] == [
        "clock_escalated"
    ], "the question never expires"
    STEPS["answer"](referral, ACTORS[Side.SENDER], NOON + timedelta(days=60))
    assert running_kinds(referral) == [DeadlineKind.DECIDE]


def test_the_deadline_of_a_need_stops_at_a_follow_up_and_resumes_if_that_was_an_error() -> None:
    referral = referral_after("send", "decline")
    due_time = referral.next_due_time
    for followed_up, hours, next_due_time in ((True, 1, None), (False, 2, due_time)):
        referral.followed_up = followed_up
        referral.update_need_deadlines(NOON + timedelta(hours=hours))
        assert referral.next_due_time == next_due_time
    STEPS["enter_in_error"](referral, ACTORS[Side.COORDINATOR], NOON)
    referral.update_need_deadlines(NOON + timedelta(hours=3))
    assert referral.next_due_time is None


@pytest.mark.parametrize("state", [State.SENT, State.DECLINED])
def test_a_follow_up_stops_the_deadlines_of_a_need_only_if_the_referral_came_back(
    state: State,
) -> None:
    referral = in_state(state)
    referral.followed_up = True
    referral.update_need_deadlines(LATER)
    stopped_kinds = {
        deadline.kind for deadline in referral.deadlines if deadline.stop_time == LATER
    }
    assert stopped_kinds == ({DeadlineKind.REPLACE, *HEALTH} if state in CAME_BACK else set())


def test_the_deadline_of_a_need_that_was_followed_up_at_once_resumes_after_an_error() -> None:
    referral = in_state(State.DECLINED)
    for followed_up in (True, False):
        referral.followed_up = followed_up
        referral.update_need_deadlines(NOON)  # the time of the return
    assert referral.unstopped_deadlines(DeadlineKind.REPLACE)


def test_a_health_deadline_that_stopped_with_the_return_stays_stopped() -> None:
    referral = in_state(State.DECLINED)
    [deadline] = referral.unstopped_deadlines(DeadlineKind.HIV_PROPHYLAXIS)
    deadline.stop(NOON)
    referral.update_need_deadlines(LATER)
    assert deadline.stop_time == NOON


def test_a_follow_up_in_error_resumes_no_health_deadline_that_was_over_before_the_return() -> None:
    def health_due_times(referral: Referral) -> list[datetime]:
        return sorted(deadline.due_time for deadline in referral.unstopped_deadlines(*HEALTH))

    def set_assault_time(referral: Referral, hours_ago: int) -> None:
        time = NOON - timedelta(hours=hours_ago)
        referral.change_draft(ACTORS[Side.SENDER], NOON, DAYS, assault_time=time)

    def follow_up_in_error(referral: Referral) -> None:
        for followed_up, hours in ((True, 2), (False, 3)):
            referral.followed_up = followed_up
            referral.update_need_deadlines(NOON + timedelta(hours=hours))

    started_referral = draft()
    set_assault_time(started_referral, 3)
    for verb, side in (("send", Side.SENDER), ("accept", Side.RECEIVER), ("start", Side.RECEIVER)):
        STEPS[verb](started_referral, ACTORS[side], NOON)
    assert health_due_times(started_referral) == [], "help has begun"
    STEPS["not_deliver"](started_referral, ACTORS[Side.RECEIVER], NOON + timedelta(hours=1))
    follow_up_in_error(started_referral)
    assert health_due_times(started_referral) == []

    corrected_referral = draft()
    set_assault_time(corrected_referral, 3)
    set_assault_time(corrected_referral, 5)
    corrected_times = health_due_times(corrected_referral)
    STEPS["send"](corrected_referral, ACTORS[Side.SENDER], NOON)
    STEPS["decline"](corrected_referral, ACTORS[Side.RECEIVER], NOON + timedelta(hours=1))
    follow_up_in_error(corrected_referral)
    assert health_due_times(corrected_referral) == corrected_times != []


@pytest.mark.parametrize(
    ("planned_time", "start_time"),
    [
        (None, None),
        (NOON - timedelta(hours=1), None),
        (NOON, None),
        (NOON + timedelta(microseconds=1), NOON + timedelta(microseconds=1)),
        (LATER, LATER),
        (NOON + timedelta(days=364), NOON + timedelta(days=90)),
    ],
)
def test_the_time_to_the_first_contact_of_a_leg_begins_when_the_person_is_expected(
    planned_time: datetime | None, start_time: datetime | None
) -> None:
    referral = in_state(State.ACCEPTED)
    referral.planned_first_contact_time = planned_time
    [deadline] = referral.unstopped_deadlines(DeadlineKind.FIRST_CONTACT)
    deadline.fired_percent = 50
    referral.deadlines.append(replace(deadline, stop_time=NOON))
    expected_deadlines = deepcopy(referral.deadlines)
    if start_time:
        expected_deadlines[expected_deadlines.index(deadline)].restart(
            start_time, start_time + timedelta(hours=1)
        )
    referral.postpone_first_contact(NOON)
    assert referral.deadlines == expected_deadlines


@pytest.mark.parametrize(
    ("record", "verb", "actor"),
    [
        (Referral.note_leg_lost, "leg_lost", Actor("system", "chain", "")),
        (Referral.note_consent_ending, "consent_ending", Actor("system", "consent", "")),
        (
            lambda referral, now: referral.note_standing("receiver", now, is_out=True),
            "side_out",
            Actor("system", "members", "receiver"),
        ),
        (
            lambda referral, now: referral.note_standing("receiver", now, is_out=False),
            "side_back",
            Actor("system", "members", "receiver"),
        ),
    ],
)
def test_a_record_of_the_system_is_an_event_of_the_system_and_changes_no_state(
    record: Callable[[Referral, datetime], None], verb: str, actor: Actor
) -> None:
    referral = in_state(State.SENT)
    original = deepcopy(referral)
    record(referral, LATER)
    assert referral.events[len(original.events) :] == [
        Event(
            original.version + 1, verb, State.SENT, State.SENT, LATER, actor, attribution="system"
        )
    ]
    assert (referral.version, referral.update_time) == (original.version + 1, LATER)
    assert (referral.state, referral.deadlines) == (original.state, original.deadlines)
    assert referral.step_version == original.step_version, "no decision becomes stale"


def test_a_referral_lists_the_sides_that_are_suspended_or_gone_until_they_return() -> None:
    referral = in_state(State.SENT)
    sides_out = []
    for side, is_out in (
        ("sender", True),
        ("receiver", True),
        ("sender", False),
        ("receiver", False),
    ):
        referral.note_standing(side, NOON, is_out=is_out)
        sides_out.append(list(referral.sides_out))
    assert sides_out == [["sender"], ["sender", "receiver"], ["receiver"], []]
