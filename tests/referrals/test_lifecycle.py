"""The life of a referral: each cell of the table, and random lives against a small model.

The tests use no database and no ports.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import fields, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from chassis.errors import Conflict, Invalid, Refusal
from chassis.second import NONE, Kin, mark_of
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.files.domain.consent import Circumstances, Receipt
from services.referrals.files.domain.person import Arrival, Coarse, FieldGroup
from services.referrals.files.domain.unsafe import NOT_STATED, Unsafe
from services.referrals.network.domain.deadline import (
    FIRST_POLICY,
    HEALTH,
    Deadline,
    DeadlineKind,
    Policy,
    Urgency,
)
from services.referrals.referrals.domain.fields import check_note
from services.referrals.referrals.domain.lifecycle import (
    BY_VERB,
    CAME_BACK,
    LIVE,
    REFER_AGAIN,
    TRANSITIONS,
    WAITS_FOR_RECEIVER,
    WAITS_FOR_SENDER,
    Side,
    State,
)
from services.referrals.referrals.domain.record import Actor, Event
from services.referrals.referrals.domain.referral import Referral
from services.referrals.referrals.wire.referrals import VERB_OF
from tests.builders import NOON, violations_of
from tests.referrals import lifecycle_page

ACTORS = {
    Side.SENDER: Actor("worker", "manager-of-sender", "sender", manages=True, kin=NONE),
    Side.RECEIVER: Actor("worker", "worker-of-receiver", "receiver"),
    Side.COORDINATOR: Actor("worker", "coordinator", "coalition", coordinates=True, kin=NONE),
    Side.PERSON: Actor("person", "contact", ""),
    Side.SYSTEM: Actor("system", "clock", ""),
    None: Actor("worker", "stranger", "elsewhere"),
}
TERMINAL = frozenset(State) - LIVE - {State.DRAFT}


class EveryDay:
    def after_working_days(self, start: datetime, count: int) -> datetime:
        return start + timedelta(days=count)

    def policy(self, version: int = 0) -> Policy:
        return FIRST_POLICY


DAYS = EveryDay()
LATER = NOON + timedelta(days=2)
RECEIPT = Receipt(
    "receipt",
    "person",
    "sender",
    "receiver",
    frozenset({FieldGroup.IDENTITY}),
    ("HOU",),
    NOON + timedelta(days=90),
    "person",
    "spoken",
    NOON,
    about=Circumstances("18-24", "NGO"),
)
OVERRIDE = Receipt.override(
    "override", "person", "sender", "rescuer", "receiver", "HOU.EMG", "life_at_risk", NOON
)
RESCUER = Actor("worker", "rescuer", "sender", manages=True, kin=NONE)

Step = Callable[[Referral, Actor, datetime], None]
STEPS: dict[str, Step] = {
    "send": lambda r, a, now: r.send(a, now, DAYS, RECEIPT, safe_contact_known=True),
    "acknowledge": lambda r, a, now: r.take("acknowledge", a, now, DAYS),
    "ask": lambda r, a, now: r.take("ask", a, now, DAYS, question_code="dates"),
    "answer": lambda r, a, now: r.take("answer", a, now, DAYS, note="tomorrow"),
    "accept": lambda r, a, now: r.take("accept", a, now, DAYS, planned_first_contact_time=now),
    "waitlist": lambda r, a, now: r.take(
        "waitlist", a, now, DAYS, expected_wait_days=3, review_time=now + timedelta(days=2)
    ),
    "decline": lambda r, a, now: r.take("decline", a, now, DAYS, reason_code="no_capacity"),
    "start": lambda r, a, now: r.take("start", a, now, DAYS, first_contact_time=now),
    "schedule_appointment": lambda r, a, now: r.take(
        "schedule_appointment", a, now, DAYS, appointment_time=now + timedelta(days=2)
    ),
    "attend_appointment": lambda r, a, now: r.take("attend_appointment", a, now, DAYS),
    "miss_appointment": lambda r, a, now: r.take(
        "miss_appointment", a, now, DAYS, reason_code="did_not_come"
    ),
    "cancel_appointment": lambda r, a, now: r.take(
        "cancel_appointment", a, now, DAYS, reason_code="by_person"
    ),
    "add_note": lambda r, a, now: r.take("add_note", a, now, DAYS, note="she is well"),
    "complete": lambda r, a, now: r.take(
        "complete", a, now, DAYS, outcome_code="fully_met", delivered_need_codes=("HOU.EMG",)
    ),
    "not_deliver": lambda r, a, now: r.take(
        "not_deliver", a, now, DAYS, reason_code="capacity_lost"
    ),
    "close_need": lambda r, a, now: r.take("close_need", a, now, DAYS, reason_code="met_elsewhere"),
    "close": lambda r, a, now: r.take("close", a, now, DAYS, help_came_code="yes"),
    "reopen": lambda r, a, now: r.take("close", a, now, DAYS, help_came_code="no"),
    "confirm_override": lambda r, a, now: r.take("confirm_override", a, now, DAYS),
    "attach_consent": lambda r, a, now: r.attach_consent(a, now, DAYS, RECEIPT),
    "expire": lambda r, a, now: r.take("expire", a, now, DAYS),
    "assign": lambda r, a, now: r.take("assign", a, now, DAYS, responsible_worker_id="another"),
    "amend": lambda r, a, now: r.amend(
        a, now, DAYS, urgency=Urgency.IMMEDIATE, coarse=Coarse(), note=""
    ),
    "confirm_deletion": lambda r, a, now: r.take("confirm_deletion", a, now, DAYS),
    "withdraw": lambda r, a, now: r.take("withdraw", a, now, DAYS, reason_code="moved"),
    "reroute": lambda r, a, now: rerouted(r, a, now),
    "remind": lambda r, a, now: r.take("remind", a, now, DAYS),
    "enter_in_error": lambda r, a, now: r.take("enter_in_error", a, now, DAYS),
}
UNREFUSED = {"withdraw_consent"}  # has a test of its own below


def rerouted(referral: Referral, actor: Actor, now: datetime) -> None:
    referral.reroute(
        actor, now, DAYS, service=("other", "elsewhere"), following_id="1" * 32, note=""
    )


def draft() -> Referral:
    referral = Referral.draft("0" * 32, ACTORS[Side.SENDER], "person", Coarse(), NOON, DAYS)
    referral.change_draft(
        ACTORS[Side.SENDER],
        NOON,
        DAYS,
        need_code="HOU.EMG",
        urgency=Urgency.EMERGENCY,
        service=("service", "receiver"),
    )
    referral.unsafe = Unsafe("nothing")
    return referral


def in_state(state: State) -> Referral:
    """Returns a referral in this state.

    The referral has a running deadline of every kind, and an appointment at the present time.
    """
    referral = draft()
    referral.appointment_time = NOON
    referral.state = state
    referral.deadlines = [Deadline(kind, NOON, NOON + timedelta(hours=1)) for kind in DeadlineKind]
    return referral


def test_every_verb_of_the_table_is_tested_or_listed_as_an_exception() -> None:
    assert STEPS.keys() | UNREFUSED == BY_VERB.keys()
    assert len(BY_VERB) == len(TRANSITIONS)


def test_each_row_carries_the_fields_of_its_request() -> None:
    for request, verb in VERB_OF.items():
        fields = {field.name for field in request.DESCRIPTOR.fields} - {"id", "etag", "request_id"}
        assert {field.name for field in BY_VERB[verb].carries} == fields, verb
    assert BY_VERB.keys() - VERB_OF.values() == {"expire", "reopen", "withdraw_consent"}


def test_each_stored_field_is_an_attribute_of_a_referral_and_a_field_of_its_message() -> None:
    attributes = {attribute.name for attribute in fields(Referral)}
    for step in TRANSITIONS:
        for stored_as in filter(None, (field.stored_as for field in step.carries)):
            assert stored_as in attributes, f"{step.verb}: no {stored_as} in record.py"
            assert stored_as in pb.Referral.DESCRIPTOR.fields_by_name, f"{step.verb}: {stored_as}"


@pytest.mark.parametrize("verb", STEPS)
def test_a_step_succeeds_exactly_where_the_table_allows_it_and_changes_nothing_elsewhere(
    verb: str,
) -> None:
    row = BY_VERB[verb]
    for state in State:
        for side, actor in ACTORS.items():
            referral = in_state(state)
            if verb == "enter_in_error":  # refused while a deletion is expected
                referral.stop_deadlines(NOON, DeadlineKind.DELETION)
            before = deepcopy(referral)
            allowed = state in row.sources and side in row.by
            cell = f"{verb} in {state.value} by {side.value if side else 'a stranger'}"
            if not allowed:
                with pytest.raises(Conflict) as caught:
                    STEPS[verb](referral, actor, NOON)
                assert caught.value.reason == "illegal_transition", cell
                assert referral == before, cell
                continue
            STEPS[verb](referral, actor, NOON)
            assert referral.state is (row.target or state), cell
            assert referral.version == before.version + 1, cell
            event = referral.events[-1]
            assert (event.verb, event.from_state, event.to_state, event.actor) == (
                row.event_verb,
                state,
                row.target or state,
                actor,
            ), cell
            running = {clock.kind for clock in referral.deadlines if clock.running}
            assert running >= set(row.starts), cell
            assert not (running & set(row.stops)) - set(row.starts), cell


@pytest.mark.parametrize("side", ACTORS)
def test_the_offered_steps_are_the_allowed_ones(side: Side | None) -> None:
    for state in State:
        referral = in_state(state)
        offered = {t.verb for t in TRANSITIONS if t.offered and state in t.sources and side in t.by}
        if state is State.CONSENT_WITHDRAWN:  # in which a deletion is expected
            offered -= {"enter_in_error"}
        assert set(referral.allowed_verbs(ACTORS[side], NOON)) == offered


def test_a_withdrawn_consent_ends_all_that_is_still_asked_for_whoever_records_it() -> None:
    for state in State:
        for actor in ACTORS.values():
            referral = in_state(state)
            before = deepcopy(referral)
            referral.withdraw_consent(actor, NOON, DAYS)
            if state in LIVE:
                assert referral.state is State.CONSENT_WITHDRAWN
                assert referral.events[-1].attribution == "person"
                assert [clock.kind for clock in referral.deadlines if clock.running] == [
                    DeadlineKind.DELETION
                ]
                assert referral.side_to_act(ACTORS[Side.SENDER]) is Side.RECEIVER
            elif state is State.DRAFT:
                assert referral.state is State.CONSENT_WITHDRAWN
                assert not any(clock.running for clock in referral.deadlines), "nothing to delete"
            elif state in CAME_BACK:
                assert (referral.state, referral.need_is_open) == (state, False)
                assert referral.need_close_reason_code == "person_declined"
            else:
                assert referral == before


def test_a_terminal_state_is_left_only_by_an_entry_in_error() -> None:
    for row in TRANSITIONS:
        assert row.verb == "enter_in_error" or row.target is None or not row.sources & TERMINAL, (
            row.verb
        )
    assert not [row.verb for row in TRANSITIONS if State.ENTERED_IN_ERROR in row.sources]


def test_every_state_waits_for_one_side_or_is_terminal() -> None:
    assert not WAITS_FOR_RECEIVER & WAITS_FOR_SENDER
    assert frozenset(State) == WAITS_FOR_RECEIVER | WAITS_FOR_SENDER | TERMINAL
    assert LIVE | {State.DRAFT} == WAITS_FOR_RECEIVER | WAITS_FOR_SENDER


@pytest.mark.parametrize("side", ACTORS)
def test_everybody_sees_the_same_turn_except_the_receiver_of_a_returned_referral(
    side: Side | None,
) -> None:
    for state in State:
        turn = in_state(state).side_to_act(ACTORS[side])
        deleting = state is State.CONSENT_WITHDRAWN
        waits = (
            Side.SENDER
            if state in WAITS_FOR_SENDER
            else Side.RECEIVER
            if state in WAITS_FOR_RECEIVER or deleting
            else None
        )
        assert turn is (
            Side.SENDER if state in CAME_BACK and side is not Side.RECEIVER else waits
        ), state


@pytest.mark.parametrize("side", ACTORS)
def test_the_main_step_is_allowed_and_advances_the_referral(side: Side | None) -> None:
    moving = {
        "send",
        "acknowledge",
        "answer",
        "accept",
        "start",
        "attend_appointment",
        "miss_appointment",
        "complete",
        "close",
        "confirm_deletion",
    }
    for state in State:
        referral = in_state(state)
        allowed, main = (
            referral.allowed_verbs(ACTORS[side], NOON),
            referral.main_step(ACTORS[side], NOON),
        )
        if state in CAME_BACK and side is Side.SENDER:
            assert main == REFER_AGAIN
        elif main:
            assert main in moving
            assert allowed[0] == main, "the main step is offered first"
        else:
            assert not moving & set(allowed)


def test_the_side_whose_turn_it_is_has_a_main_step() -> None:
    for state in State:
        referral = in_state(state)
        for actor in (ACTORS[Side.SENDER], ACTORS[Side.RECEIVER]):
            if referral.side_to_act(actor) in referral.sides(actor):
                assert referral.main_step(actor, NOON), state


@pytest.mark.parametrize("state", [state for state in State if state in CAME_BACK])
@pytest.mark.parametrize("end", ["followed up", "closed by name"])
def test_a_returned_referral_is_the_senders_turn_until_it_is_followed_up_or_closed(
    state: State, end: str
) -> None:
    sender, receiver = ACTORS[Side.SENDER], ACTORS[Side.RECEIVER]
    referral = in_state(state)
    assert (referral.shows_open_need(sender), referral.side_to_act(sender)) == (True, Side.SENDER)
    assert (referral.shows_open_need(receiver), referral.side_to_act(receiver)) == (False, None)
    years = NOON + timedelta(days=700)
    assert referral.main_step(sender, years) == REFER_AGAIN, "it never ends by time"
    assert "close_need" in referral.allowed_verbs(sender, years)
    if end == "followed up":
        referral.followed_up = True
    else:
        STEPS["close_need"](referral, sender, years)
    assert (
        referral.shows_open_need(sender),
        referral.side_to_act(sender),
        referral.main_step(sender, NOON),
    ) == (False, None, "")
    with pytest.raises(Conflict, match=r"^illegal_transition$"):
        STEPS["close_need"](referral, sender, years)


def test_an_open_need_has_a_deadline_that_its_receiver_does_not_see() -> None:
    for verb, state in (("decline", State.SENT), ("not_deliver", State.ACCEPTED)):
        referral = in_state(state)
        STEPS[verb](referral, ACTORS[Side.RECEIVER], NOON)
        [clock] = [
            clock for clock in referral.deadlines if clock.running and clock.kind not in HEALTH
        ]
        assert (clock.kind, clock.start_time, clock.due_time) == (
            DeadlineKind.REPLACE,
            NOON,
            NOON + timedelta(hours=24),
        )
        assert [
            event.verb for event in referral.fire_deadlines(NOON + timedelta(hours=24), DAYS)
        ] == ["clock_breached"]
        STEPS["close_need"](referral, ACTORS[Side.COORDINATOR], NOON)
        assert not [clock for clock in referral.deadlines if clock.running]
        for side in (Side.SENDER, Side.COORDINATOR):
            assert referral.events_for(ACTORS[side], referral.events) == referral.events
            assert referral.deadlines_for(ACTORS[side])[-1].kind in {
                clock.kind for clock in referral.deadlines
            }
        known = referral.events_for(ACTORS[Side.RECEIVER], referral.events)
        assert {event.verb for event in referral.events} - {event.verb for event in known} == {
            "clock_breached",
            "need_closed",
        }
        assert DeadlineKind.REPLACE not in {
            clock.kind for clock in referral.deadlines_for(ACTORS[Side.RECEIVER])
        }


@pytest.mark.parametrize(
    ("verb", "before", "seen"),
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
    verb: str, before: State, seen: bool
) -> None:
    event = Event(2, verb, before, before, NOON, ACTORS[Side.SENDER])
    referral = in_state(State.DECLINED)
    for side in (Side.SENDER, Side.COORDINATOR):
        assert referral.events_for(ACTORS[side], [event]) == [event]
    assert referral.events_for(ACTORS[Side.RECEIVER], [event]) == [event] * seen
    referral.receiver_organization_id = referral.sender_organization_id
    assert referral.events_for(ACTORS[Side.SENDER], [event]) == [event]


SENDERS_OWN = {DeadlineKind.REPLACE, DeadlineKind.DRAFT}


@pytest.mark.parametrize(
    ("side", "state", "hidden"),
    [
        (Side.SENDER, State.ACCEPTED, set()),
        (Side.SENDER, State.DECLINED, set()),
        (Side.RECEIVER, State.ACCEPTED, SENDERS_OWN),
        (Side.RECEIVER, State.DECLINED, {*SENDERS_OWN, *HEALTH}),
        (Side.COORDINATOR, State.ACCEPTED, set(HEALTH)),
    ],
)
def test_each_side_sees_the_deadlines_that_concern_it_and_their_events(
    side: Side, state: State, hidden: set[DeadlineKind]
) -> None:
    referral, actor = in_state(state), ACTORS[side]
    events = [
        Event(2, "clock_reminded", state, state, NOON, ACTORS[Side.SYSTEM], clock=kind)
        for kind in DeadlineKind
    ]
    known = set(DeadlineKind) - hidden
    assert {deadline.kind for deadline in referral.deadlines_for(actor)} == known
    assert {event.clock for event in referral.events_for(actor, events)} == known


def test_deadlines_are_listed_with_the_running_ones_first_and_then_by_their_due_time() -> None:
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
    conditions: dict[str, list[str]] = {
        "draft": [],
        "sent": [],
        "acknowledged": ["acknowledge"],
        "info_requested": ["ask"],
        "accepted": ["accept"],
        "waitlisted": ["waitlist"],
        "in_progress": ["accept", "start"],
        "completed": ["accept", "start", "complete"],
        "declined": ["decline"],
        "expired": ["expire"],
        "not_delivered": ["accept", "not_deliver"],
        "rerouted": ["reroute"],
        "consent_withdrawn": ["withdraw_consent"],
    }
    assert conditions.keys() == {
        state.value for state in LIVE | CAME_BACK | {State.DRAFT, State.CONSENT_WITHDRAWN}
    }, "a new waiting state needs an entry here"
    for state, verbs in conditions.items():
        referral = draft()
        if state != "draft":
            STEPS["send"](referral, ACTORS[Side.SENDER], NOON)
        for verb in verbs:
            if verb == "withdraw_consent":
                referral.withdraw_consent(ACTORS[Side.PERSON], NOON, DAYS)
                continue
            STEPS[verb](
                referral,
                ACTORS[
                    next(
                        side
                        for side in (Side.RECEIVER, Side.SYSTEM, Side.SENDER)
                        if side in BY_VERB[verb].by
                    )
                ],
                NOON,
            )
        assert referral.state.value == state
        assert referral.side_to_act(ACTORS[Side.SENDER]) in (Side.SENDER, Side.RECEIVER), state
        assert referral.next_due_time is not None, state


def test_each_level_that_a_deadline_reaches_is_an_event_of_the_clock_and_makes_nothing_stale() -> (
    None
):
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
    referral = draft()
    STEPS["send"](referral, ACTORS[Side.SENDER], NOON)
    texts = [
        [event.verb for event in referral.fire_deadlines(NOON + timedelta(hours=hours), DAYS)]
        for hours in (36, 47, 48, 400)
    ]
    assert texts[:3] == [["clock_escalated", "clock_escalated"], [], ["expired"]], (
        "the deadline of the need starts with the end"
    )
    assert referral.state is State.EXPIRED
    expired = next(event for event in referral.events if event.verb == "expired")
    assert (expired.actor, expired.to_state) == (Actor("system", "clock", ""), State.EXPIRED)
    assert referral.main_step(ACTORS[Side.SENDER], NOON) == REFER_AGAIN
    assert "accept" not in referral.allowed_verbs(ACTORS[Side.RECEIVER], NOON)


def test_a_question_stops_the_time_to_decide_and_starts_the_senders_deadline() -> None:
    referral = draft()
    STEPS["send"](referral, ACTORS[Side.SENDER], NOON)
    STEPS["ask"](referral, ACTORS[Side.RECEIVER], NOON)
    [clock] = [clock for clock in referral.deadlines if clock.running]
    assert (clock.kind, clock.due_time) == (DeadlineKind.ANSWER, NOON + timedelta(hours=1))
    assert [event.verb for event in referral.fire_deadlines(NOON + timedelta(days=60), DAYS)] == [
        "clock_escalated"
    ], "the question never expires"
    STEPS["answer"](referral, ACTORS[Side.SENDER], NOON + timedelta(days=60))
    assert [clock.kind for clock in referral.deadlines if clock.running] == [DeadlineKind.DECIDE]


def test_the_deadline_of_a_need_stops_at_a_follow_up_and_resumes_if_that_was_an_error() -> None:
    referral = in_state(State.SENT)
    referral.deadlines = []
    STEPS["decline"](referral, ACTORS[Side.RECEIVER], NOON)
    due = referral.next_due_time
    referral.followed_up = True
    referral.watch_need(NOON + timedelta(hours=1))
    assert referral.next_due_time is None
    referral.followed_up = False
    referral.watch_need(NOON + timedelta(hours=2))
    assert referral.next_due_time == due
    STEPS["enter_in_error"](referral, ACTORS[Side.COORDINATOR], NOON)
    referral.watch_need(NOON + timedelta(hours=3))
    assert referral.next_due_time is None


@pytest.mark.parametrize("state", [State.SENT, State.DECLINED])
def test_a_follow_up_stops_the_deadlines_of_a_need_only_if_the_referral_came_back(
    state: State,
) -> None:
    referral = in_state(state)
    referral.followed_up = True
    referral.watch_need(LATER)
    stopped = {deadline.kind for deadline in referral.deadlines if deadline.stop_time == LATER}
    assert stopped == ({DeadlineKind.REPLACE, *HEALTH} if state in CAME_BACK else set())


def test_the_deadline_of_a_need_that_was_followed_up_at_once_resumes_after_an_error() -> None:
    referral = in_state(State.DECLINED)
    for followed_up in (True, False):
        referral.followed_up = followed_up
        referral.watch_need(NOON)  # the moment of the return
    assert referral.running(DeadlineKind.REPLACE)


def test_a_health_deadline_that_stopped_with_the_return_stays_stopped() -> None:
    referral = in_state(State.DECLINED)
    [deadline] = referral.running(DeadlineKind.HIV_PROPHYLAXIS)
    deadline.stop(NOON)
    referral.watch_need(LATER)
    assert deadline.stop_time == NOON


def test_a_follow_up_in_error_resumes_no_health_deadline_that_was_over_before_the_return() -> None:
    def health(referral: Referral) -> list[datetime]:
        return sorted(deadline.due_time for deadline in referral.running(*HEALTH))

    def assaulted(referral: Referral, hours: int) -> None:
        time = NOON - timedelta(hours=hours)
        referral.change_draft(ACTORS[Side.SENDER], NOON, DAYS, assault_time=time)

    def follow_up_in_error(referral: Referral) -> None:
        for followed_up, hours in ((True, 2), (False, 3)):
            referral.followed_up = followed_up
            referral.watch_need(NOON + timedelta(hours=hours))

    helped = draft()
    assaulted(helped, 3)
    for verb, side in (("send", Side.SENDER), ("accept", Side.RECEIVER), ("start", Side.RECEIVER)):
        STEPS[verb](helped, ACTORS[side], NOON)
    assert health(helped) == [], "help has begun"
    STEPS["not_deliver"](helped, ACTORS[Side.RECEIVER], NOON + timedelta(hours=1))
    follow_up_in_error(helped)
    assert health(helped) == []

    corrected = draft()
    assaulted(corrected, 3)
    assaulted(corrected, 5)
    right = health(corrected)
    STEPS["send"](corrected, ACTORS[Side.SENDER], NOON)
    STEPS["decline"](corrected, ACTORS[Side.RECEIVER], NOON + timedelta(hours=1))
    follow_up_in_error(corrected)
    assert health(corrected) == right != []


@pytest.mark.parametrize("side", [Side.SENDER, Side.COORDINATOR])
def test_no_entry_in_error_spares_the_receiver_the_confirmation_of_a_deletion(side: Side) -> None:
    referral = draft()
    STEPS["send"](referral, ACTORS[Side.SENDER], NOON)
    referral.withdraw_consent(ACTORS[Side.PERSON], NOON, DAYS)
    with pytest.raises(Conflict, match=r"^illegal_transition$"):
        STEPS["enter_in_error"](referral, ACTORS[side], NOON)
    assert referral.side_to_act(ACTORS[side]) is Side.RECEIVER
    hour = NOON + timedelta(hours=1)
    STEPS["confirm_deletion"](referral, ACTORS[Side.RECEIVER], hour)
    STEPS["enter_in_error"](referral, ACTORS[side], hour)
    assert referral.state is State.ENTERED_IN_ERROR


def test_the_sender_may_enter_a_referral_in_error_for_a_day_and_a_coordinator_at_any_time() -> None:
    day_after = NOON + timedelta(hours=24, seconds=1)
    late = in_state(State.SENT)
    with pytest.raises(Conflict, match=r"^illegal_transition$"):
        STEPS["enter_in_error"](late, ACTORS[Side.SENDER], day_after)
    assert "enter_in_error" not in late.allowed_verbs(ACTORS[Side.SENDER], day_after)
    STEPS["enter_in_error"](late, ACTORS[Side.COORDINATOR], day_after)
    in_time = in_state(State.SENT)
    STEPS["enter_in_error"](in_time, ACTORS[Side.SENDER], NOON + timedelta(hours=24))
    assert in_time.state is late.state is State.ENTERED_IN_ERROR


def test_a_question_can_be_asked_only_once() -> None:
    referral = draft()
    for verb, side in (("send", Side.SENDER), ("ask", Side.RECEIVER), ("answer", Side.SENDER)):
        STEPS[verb](referral, ACTORS[side], NOON)
    with pytest.raises(Conflict, match=r"^already_asked$"):
        STEPS["ask"](referral, ACTORS[Side.RECEIVER], NOON)
    assert "ask" not in referral.allowed_verbs(ACTORS[Side.RECEIVER], NOON)


def test_a_step_without_its_required_data_is_refused_and_changes_nothing() -> None:
    receiver, sender = ACTORS[Side.RECEIVER], ACTORS[Side.SENDER]
    # the refusal, or the field that it names
    empty: list[tuple[State, Callable[[Referral], None], str]] = [
        (
            State.DRAFT,
            lambda r: r.send(sender, NOON, DAYS, RECEIPT, safe_contact_known=False),
            "safe_contact_missing",
        ),
        (
            State.DRAFT,
            lambda r: r.send(sender, NOON, DAYS, None, safe_contact_known=True),
            "receipt_missing",
        ),
        (
            State.DRAFT,
            lambda r: r.send(sender, NOON, DAYS, OVERRIDE, safe_contact_known=True),
            "note",
        ),
        (State.SENT, lambda r: r.attach_consent(sender, NOON, DAYS, OVERRIDE), "receipt_missing"),
        (
            State.SENT,
            lambda r: r.take("ask", receiver, NOON, DAYS, question_code="other"),
            "note",
        ),
        (
            State.SENT,
            lambda r: r.take("accept", receiver, NOON, DAYS),
            "planned_first_contact_time",
        ),
        (
            State.SENT,
            lambda r: r.take(
                "waitlist", receiver, NOON, DAYS, expected_wait_days=3, review_time=NOON
            ),
            "review_time",
        ),
        (
            State.SENT,
            lambda r: r.take("decline", receiver, NOON, DAYS, reason_code="other"),
            "note",
        ),
        (State.ACCEPTED, lambda r: r.take("start", receiver, NOON, DAYS), "first_contact_time"),
        (
            State.IN_PROGRESS,
            lambda r: r.take("schedule_appointment", receiver, NOON, DAYS),
            "appointment_time",
        ),
        (
            State.DECLINED,
            lambda r: r.take("close_need", sender, NOON, DAYS, reason_code="other"),
            "note",
        ),
        (
            State.IN_PROGRESS,
            lambda r: r.take("cancel_appointment", receiver, NOON, DAYS, reason_code="other"),
            "note",
        ),
    ]
    for state, act, missing in empty:
        referral = in_state(state)
        before = deepcopy(referral)
        with pytest.raises(Refusal) as refused:
            act(referral)
        refusal = refused.value
        named = (
            [field for field, _ in refusal.violations]
            if isinstance(refusal, Invalid)
            else [refusal.reason]
        )
        assert named == [missing]
        assert referral == before


@pytest.mark.parametrize("note", ["", " \n"])
def test_only_where_a_note_is_needed_is_an_empty_one_refused(note: str) -> None:
    check_note(note, needed=False)
    check_note("in danger", needed=True)
    assert violations_of(lambda: check_note(note, needed=True)) == [("note", "required")]


@pytest.mark.parametrize(
    ("verb", "state", "carried"),
    [
        ("ask", State.SENT, {"question_code": "dates"}),
        (
            "accept",
            State.SENT,
            {"responsible_worker_id": "anna", "planned_first_contact_time": LATER},
        ),
        ("waitlist", State.SENT, {"expected_wait_days": 3, "review_time": LATER}),
        (
            "decline",
            State.SENT,
            {"reason_code": "no_capacity", "alternative_service_id": "other"},
        ),
        ("start", State.ACCEPTED, {"first_contact_time": NOON}),
        ("schedule_appointment", State.IN_PROGRESS, {"appointment_time": LATER}),
        (
            "complete",
            State.IN_PROGRESS,
            {"outcome_code": "fully_met", "delivered_need_codes": ("HOU.EMG",)},
        ),
        ("assign", State.ACCEPTED, {"responsible_worker_id": "anna"}),
    ],
)
def test_a_referral_keeps_what_a_step_states(
    verb: str, state: State, carried: dict[str, Any]
) -> None:
    referral = in_state(state)
    [side] = BY_VERB[verb].by - {Side.SYSTEM}
    referral.take(verb, ACTORS[side], NOON, DAYS, **carried)
    assert {name: getattr(referral, name) for name in carried} == carried


def test_the_history_keeps_the_reason_and_the_note_of_a_step_and_who_is_responsible_for_it() -> (
    None
):
    referral = in_state(State.SENT)
    receiver, version = ACTORS[Side.RECEIVER], referral.version + 1
    referral.take("decline", receiver, LATER, DAYS, reason_code="other", note="the roof leaks")
    assert referral.events[-1] == Event(
        version,
        "declined",
        State.SENT,
        State.DECLINED,
        LATER,
        receiver,
        "other",
        "provider",
        note="the roof leaks",
    )


def test_a_delivered_need_that_no_list_knows_is_refused_by_its_place() -> None:
    assert violations_of(
        lambda: in_state(State.IN_PROGRESS).take(
            "complete",
            ACTORS[Side.RECEIVER],
            NOON,
            DAYS,
            outcome_code="fully_met",
            delivered_need_codes=("HOU.EMG", "HOUSE", ""),
        )
    ) == [
        ("delivered_need_codes.1", "unknown_code"),
        ("delivered_need_codes.2", "required"),
    ]


def test_help_that_did_not_meet_the_need_delivered_none() -> None:
    step = partial(
        in_state(State.IN_PROGRESS).take,
        "complete",
        ACTORS[Side.RECEIVER],
        NOON,
        DAYS,
        outcome_code="not_met",
    )
    assert violations_of(lambda: step(delivered_need_codes=("HOU.EMG",))) == [
        ("delivered_need_codes", "contradicts")
    ]
    step()


@pytest.mark.parametrize("missing", ["need_code", "urgency", "service_id"])
def test_an_incomplete_draft_is_not_sent(missing: str) -> None:
    referral = draft()
    setattr(referral, missing, None if missing == "urgency" else "")
    with pytest.raises(Conflict, match=r"^incomplete_draft$"):
        STEPS["send"](referral, ACTORS[Side.SENDER], NOON)
    assert referral.state is State.DRAFT


@pytest.mark.parametrize(
    ("change", "violation"),
    [
        (
            {"assault_time": NOON - timedelta(hours=1), "urgency": Urgency.NORMAL},
            ("urgency_reason_code", "required"),
        ),
        (
            {
                "need_code": "HOUSE",
                "assault_time": NOON - timedelta(hours=1),
                "urgency": Urgency.NORMAL,
                "urgency_reason_code": "calm",
            },
            ("need_code", "unknown_code"),
        ),
        (
            {
                "need_code": "MED.SVC",
                "assault_time": NOON + timedelta(hours=2),
                "urgency": Urgency.NORMAL,
                "urgency_reason_code": "calm",
            },
            ("assault_time", "out_of_range"),
        ),
    ],
)
def test_a_refused_change_of_a_draft_changes_nothing(
    change: dict[str, Any], violation: tuple[str, str]
) -> None:
    referral = draft()
    before = deepcopy(referral)
    assert violations_of(
        lambda: referral.change_draft(
            ACTORS[Side.SENDER], NOON, DAYS, answered_urgency=Urgency.EMERGENCY, **change
        )
    ) == [violation]
    assert referral == before


@pytest.mark.parametrize(
    ("assault_time", "reason", "violation"),
    [
        (NOON, "calm", ("urgency", "out_of_range")),
        (None, "", ("urgency_reason_code", "required")),
    ],
)
def test_a_refused_correction_of_the_urgency_changes_nothing(
    assault_time: datetime | None, reason: str, violation: tuple[str, str]
) -> None:
    referral = in_state(State.SENT)
    referral.assault_time = assault_time
    before = deepcopy(referral)
    assert violations_of(
        lambda: referral.amend(
            ACTORS[Side.SENDER],
            NOON,
            DAYS,
            urgency=Urgency.NORMAL,
            coarse=Coarse(country="NI"),
            note="",
            answered_urgency=Urgency.EMERGENCY,
            urgency_reason_code=reason,
        )
    ) == [violation]
    assert referral == before


def test_another_recipient_needs_another_consent() -> None:
    referral = draft()
    referral.change_draft(ACTORS[Side.SENDER], NOON, DAYS, receipt_id="receipt")
    referral.change_draft(ACTORS[Side.SENDER], NOON, DAYS, service=("other service", "receiver"))
    assert referral.receipt_id == "receipt"
    referral.change_draft(ACTORS[Side.SENDER], NOON, DAYS, service=("service", "other receiver"))
    assert referral.receipt_id == ""


def overridden() -> Referral:
    """Returns a referral that the rescuer sent on an override."""
    referral = draft()
    referral.send(RESCUER, NOON, DAYS, OVERRIDE, safe_contact_known=True, note="in danger")
    return referral


@pytest.mark.parametrize("arrival", [None, Arrival("tonight", "by bus", "alone", "red scarf")])
@pytest.mark.parametrize("nobody_calls", [True, False])
def test_a_person_whom_nobody_may_contact_is_sent_only_with_an_arrival_and_no_other_with_one(
    nobody_calls: bool, arrival: Arrival | None
) -> None:
    referral = draft()
    before = deepcopy(referral)

    def send() -> None:
        referral.send(
            ACTORS[Side.SENDER],
            NOON,
            DAYS,
            RECEIPT,
            safe_contact_known=True,
            nobody_calls=nobody_calls,
            arrival=arrival,
        )

    if nobody_calls and arrival is None:
        assert violations_of(send) == [
            (f"arrival.{field.name}", "required") for field in fields(Arrival)
        ]
        assert referral == before
        return
    send()
    assert referral.events[-1].arrival == (arrival if nobody_calls else None)


def test_a_receipt_that_opens_nothing_is_refused_before_an_arrival_is_asked_for() -> None:
    referral = draft()
    elsewhere = replace(RECEIPT, recipient_organization_id="another")
    with pytest.raises(Conflict, match=r"^receipt_recipient_differs$"):
        referral.send(
            ACTORS[Side.SENDER], NOON, DAYS, elsewhere, safe_contact_known=True, nobody_calls=True
        )


def test_a_sent_referral_shows_its_receipt_and_only_with_an_override_a_reason_and_a_worker() -> (
    None
):
    consented, urgent = draft(), overridden()
    STEPS["send"](consented, ACTORS[Side.SENDER], LATER)
    for referral, time, shown in (
        (consented, LATER, ("receipt", "", "")),
        (urgent, NOON, ("override", "life_at_risk", "rescuer")),
    ):
        assert (
            referral.receipt_id,
            referral.override_reason_code,
            referral.override_worker_id,
        ) == shown
        assert referral.send_time == time
        assert referral.events[-1].reason_code == shown[1]
    assert urgent.events[-1].note == "in danger"
    overriding = {DeadlineKind.OVERRIDE_CONFIRM, DeadlineKind.OVERRIDE_END}
    running = [
        {clock.kind for clock in each.deadlines if clock.running} for each in (consented, urgent)
    ]
    assert [overriding & each for each in running] == [set(), overriding]


def test_an_answer_about_unsafe_people_and_places_is_needed_before_sending() -> None:
    referral = draft()
    referral.unsafe = NOT_STATED
    with pytest.raises(Conflict, match=r"^unsafe_not_asked$") as refused:
        STEPS["send"](referral, ACTORS[Side.SENDER], NOON)
    assert refused.value.about == ("unsafe_code",)


# Events that the system records.


def test_every_change_of_a_draft_makes_what_was_read_before_stale() -> None:
    referral = Referral.draft("0" * 32, ACTORS[Side.SENDER], "person", Coarse(), NOON, DAYS)
    assert (referral.version, referral.step_version) == (1, 1)
    referral.change_draft(ACTORS[Side.SENDER], LATER, DAYS, need_code="HOU.EMG")
    assert (referral.version, referral.step_version, referral.update_time) == (2, 2, LATER)


@pytest.mark.parametrize(
    ("record", "verb", "actor"),
    [
        (Referral.note_leg_lost, "leg_lost", Actor("system", "chain", "")),
        (Referral.note_consent_ending, "consent_ending", Actor("system", "consent", "")),
        (
            lambda referral, now: referral.note_standing("receiver", now, out=True),
            "side_out",
            Actor("system", "members", "receiver"),
        ),
        (
            lambda referral, now: referral.note_standing("receiver", now, out=False),
            "side_back",
            Actor("system", "members", "receiver"),
        ),
    ],
)
def test_a_note_of_the_system_is_an_event_of_the_system_and_changes_no_state(
    record: Callable[[Referral, datetime], None], verb: str, actor: Actor
) -> None:
    referral = in_state(State.SENT)
    before = deepcopy(referral)
    record(referral, LATER)
    assert referral.events[len(before.events) :] == [
        Event(
            before.version + 1,
            verb,
            State.SENT,
            State.SENT,
            LATER,
            actor,
            attribution="system",
        )
    ]
    assert (referral.version, referral.update_time) == (before.version + 1, LATER)
    assert (referral.state, referral.deadlines) == (before.state, before.deadlines)
    assert referral.step_version == before.step_version, "no decision becomes stale"


def test_each_side_is_out_until_it_is_back() -> None:
    referral = in_state(State.SENT)
    results = []
    for side, out in (("sender", True), ("receiver", True), ("sender", False), ("receiver", False)):
        referral.note_standing(side, NOON, out=out)
        results.append(list(referral.sides_out))
    assert results == [["sender"], ["sender", "receiver"], ["receiver"], []]


@pytest.mark.parametrize(
    ("planned", "moved"),
    [
        (None, False),
        (NOON - timedelta(hours=1), False),
        (NOON, False),
        (NOON + timedelta(microseconds=1), True),
        (LATER, True),
    ],
)
def test_the_time_to_the_first_contact_of_a_leg_begins_when_the_person_is_expected(
    planned: datetime | None, moved: bool
) -> None:
    referral = in_state(State.ACCEPTED)
    referral.planned_first_contact_time = planned
    [deadline] = referral.running(DeadlineKind.FIRST_CONTACT)
    deadline.fired_percent = 50
    stopped = replace(deadline, stop_time=NOON)
    referral.deadlines.append(stopped)
    expected = deepcopy(referral.deadlines)
    if moved and planned:
        [first_contact] = [each for each in expected if each == deadline]
        first_contact.restart(planned, planned + timedelta(hours=1))
    referral.wait_for_her()
    assert referral.deadlines == expected


def test_a_rerouting_passes_on_to_its_draft_what_is_known_of_the_person_and_no_consent() -> None:
    referral = draft()
    referral.change_draft(
        ACTORS[Side.SENDER],
        NOON,
        DAYS,
        receipt_id="receipt",
        contact_id="contact",
        assault_time=NOON - timedelta(hours=1),
        unsafe=Unsafe("named", ("org",)),
    )
    referral.coarse, referral.urgency_reason_code = Coarse(country="NI"), "safe_until_then"
    STEPS["send"](referral, ACTORS[Side.SENDER], NOON)
    coordinator = ACTORS[Side.COORDINATOR]
    following = referral.reroute(
        coordinator,
        LATER,
        DAYS,
        service=("other", "elsewhere"),
        following_id="1" * 32,
        note="nobody answers",
    )
    event, before = referral.events[-1], referral
    assert (event.verb, event.note, event.time) == ("rerouted", "nobody answers", LATER)
    assert referral.following_id == following.id == "1" * 32
    assert following == Referral(
        "1" * 32,
        before.sender_organization_id,
        before.sender_worker_id,
        "person",
        Coarse(country="NI"),
        LATER,
        LATER,
        version=1,
        step_version=1,
        urgency=Urgency.EMERGENCY,
        urgency_reason_code="safe_until_then",
        need_code="HOU.EMG",
        contact_id="contact",
        receiver_organization_id="elsewhere",
        service_id="other",
        based_on_id="0" * 32,
        assault_time=NOON - timedelta(hours=1),
        unsafe=Unsafe("named", ("org",)),
        deadlines=[
            *before.running(*HEALTH),
            Deadline(DeadlineKind.DRAFT, LATER, LATER + timedelta(hours=1)),
        ],
        events=[Event(1, "drafted", State.DRAFT, State.DRAFT, LATER, coordinator)],
    )


def test_an_override_is_confirmed_only_in_time_and_by_another_person_with_that_right() -> None:
    referral = overridden()
    worker = Actor("worker", "another worker", "sender")
    for nobody in (RESCUER, worker, ACTORS[Side.RECEIVER], ACTORS[Side.PERSON], ACTORS[None]):
        assert "confirm_override" not in referral.allowed_verbs(nobody, NOON)
        with pytest.raises(Conflict, match=r"^illegal_transition$"):
            referral.take("confirm_override", nobody, NOON, DAYS)
    late = NOON + timedelta(hours=12)
    for steering in (ACTORS[Side.SENDER], ACTORS[Side.COORDINATOR]):
        assert "confirm_override" in referral.allowed_verbs(steering, late - timedelta(seconds=1))
        assert "confirm_override" not in referral.allowed_verbs(steering, late)
    referral.take("confirm_override", ACTORS[Side.COORDINATOR], NOON, DAYS)
    assert {clock.kind for clock in referral.deadlines if clock.running} >= {
        DeadlineKind.OVERRIDE_END,
        DeadlineKind.ACKNOWLEDGE,
    }
    with pytest.raises(Conflict, match=r"^illegal_transition$"):
        referral.take("confirm_override", ACTORS[Side.SENDER], NOON, DAYS)


def test_an_account_that_may_be_the_senders_cannot_confirm_her_override() -> None:
    for kin in (Kin(), Kin(alone="second_factor"), Kin(frozenset({mark_of(RESCUER.id)}), "")):
        referral, again = overridden(), replace(ACTORS[Side.SENDER], kin=kin)
        assert "confirm_override" not in referral.allowed_verbs(again, NOON)
        with pytest.raises(Conflict, match=r"^not_independent$") as refused:
            referral.take("confirm_override", again, NOON, DAYS)
        assert refused.value.about == (kin.alone or "kin",)


def test_a_consent_replaces_an_override_once_and_stops_its_deadlines() -> None:
    referral = overridden()
    assert (referral.receipt_id, referral.override_reason_code) == ("override", "life_at_risk")
    referral.attach_consent(ACTORS[Side.SENDER], NOON, DAYS, RECEIPT)
    assert (referral.receipt_id, referral.state, referral.override_reason_code) == (
        "receipt",
        State.SENT,
        "life_at_risk",
    )
    running = {clock.kind for clock in referral.deadlines if clock.running}
    assert running == {DeadlineKind.ACKNOWLEDGE, DeadlineKind.DECIDE}
    assert "confirm_override" not in referral.allowed_verbs(ACTORS[Side.SENDER], NOON)


def test_a_consent_is_replaced_by_another_one_but_not_by_itself() -> None:
    consented = in_state(State.IN_PROGRESS)
    again = replace(RECEIPT, id="again", until_time=NOON + timedelta(days=365))
    consented.attach_consent(ACTORS[Side.SENDER], NOON, DAYS, again)
    assert (consented.receipt_id, consented.state) == ("again", State.IN_PROGRESS)
    for same_or_other in (again, replace(RECEIPT, id="other", recipient_organization_id="another")):
        with pytest.raises((Conflict, Invalid)):
            consented.attach_consent(ACTORS[Side.SENDER], NOON, DAYS, same_or_other)
    assert violations_of(
        lambda: consented.attach_consent(ACTORS[Side.SENDER], NOON, DAYS, again)
    ) == [("receipt_id", "repeated")]
    assert not consented.could_be_based_on(again, NOON)
    assert consented.could_be_based_on(replace(again, id="third"), NOON)
    over = in_state(State.CLOSED)
    with pytest.raises(Conflict, match=r"^illegal_transition$"):
        over.attach_consent(ACTORS[Side.SENDER], NOON, DAYS, replace(again, id="third"))


@pytest.mark.parametrize(("duration", "before"), [(90, 14), (28, 14), (20, 10), (1, 0.5)])
def test_the_end_of_a_consent_is_announced_two_weeks_before_or_halfway_through_a_short_one(
    duration: float, before: float
) -> None:
    receipt = replace(RECEIPT, create_time=NOON, until_time=NOON + timedelta(days=duration))
    assert receipt.until_time - receipt.notice_time == timedelta(days=before)


# Random lives. The model repeats the rules independently, from the agreements with the partners
# and not from the table in the code.

SENDING, CLOSING = {Side.SENDER, Side.COORDINATOR}, {Side.SENDER, Side.COORDINATOR, Side.PERSON}
MODEL: dict[str, tuple[str, str, set[Side]]] = {
    "send": ("draft", "sent", {Side.SENDER}),
    "acknowledge": ("sent", "acknowledged", {Side.RECEIVER}),
    "ask": ("sent acknowledged", "info_requested", {Side.RECEIVER}),
    "answer": ("info_requested", "acknowledged", {Side.SENDER}),
    "accept": ("sent acknowledged waitlisted", "accepted", {Side.RECEIVER}),
    "waitlist": ("sent acknowledged", "waitlisted", {Side.RECEIVER}),
    "decline": ("sent acknowledged waitlisted", "declined", {Side.RECEIVER}),
    "start": ("accepted", "in_progress", {Side.RECEIVER}),
    "complete": ("in_progress", "completed", {Side.RECEIVER}),
    "not_deliver": ("accepted in_progress", "not_delivered", {Side.RECEIVER}),
    "reroute": (
        "sent acknowledged info_requested accepted waitlisted in_progress",
        "rerouted",
        SENDING,
    ),
    "close": ("completed", "closed", CLOSING),
    "reopen": ("completed", "in_progress", CLOSING),
    "withdraw": (
        "sent acknowledged info_requested accepted waitlisted in_progress completed",
        "withdrawn",
        SENDING,
    ),
}
BACK = {"declined", "not_delivered", "expired", "rerouted"}
TIMED = {
    "sent",
    "acknowledged",
    "accepted",
    "waitlisted",
    "in_progress",
    "completed",
    "info_requested",
    "draft",
}  # in these states, a deadline has to run
# the main path, preferred so that lives reach late states
FORWARD = ["send", "acknowledge", "accept", "start", "complete", "reopen", "complete"]


class Life(RuleBasedStateMachine):
    """One referral; the model takes every step too."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOON
        self.referral = draft()
        self.state = "draft"
        self.asked = False
        self.override = ""
        self.version = 2
        self.overridden = NOON
        self.appointment: datetime | None = None
        self.need_is_open = False
        self.silence = 7
        self.reminded: datetime | None = None
        self.deleting = False  # a receiver has to confirm the deletion

    @rule(verb=st.sampled_from([*MODEL, *FORWARD]), side=st.sampled_from(list(ACTORS)))
    def step(self, verb: str, side: Side | None) -> None:
        sources, target, by = MODEL[verb]
        possible = (
            self.state in sources.split() and side in by and not (verb == "ask" and self.asked)
        )
        try:
            STEPS[verb](self.referral, ACTORS[side], self.now)
        except Conflict:
            assert not possible
            return
        assert possible
        self.state, self.version, self.asked = target, self.version + 1, self.asked or verb == "ask"
        self.need_is_open = target in BACK
        self.silence = 7 if verb in ("start", "reopen") else self.silence

    @rule(side=st.sampled_from(list(ACTORS)))
    def close_the_need(self, side: Side | None) -> None:
        possible = self.need_is_open and side in SENDING
        try:
            STEPS["close_need"](self.referral, ACTORS[side], self.now)
        except Conflict:
            assert not possible
            return
        assert possible
        self.need_is_open, self.version = False, self.version + 1

    @rule(side=st.sampled_from(list(ACTORS)))
    def send_on_an_override(self, side: Side | None) -> None:
        possible = self.state == "draft" and side is Side.SENDER
        receipt = Receipt.override(
            "override",
            "person",
            "sender",
            "rescuer",
            "receiver",
            "HOU.EMG",
            "life_at_risk",
            self.now,
        )
        try:
            self.referral.send(
                ACTORS[side], self.now, DAYS, receipt, safe_contact_known=True, note="in danger"
            )
        except Conflict:
            assert not possible
            return
        assert possible
        self.state, self.version, self.override, self.overridden = (
            "sent",
            self.version + 1,
            "open",
            self.now,
        )

    @rule(
        verb=st.sampled_from(["confirm_override", "attach_consent"]),
        side=st.sampled_from(list(ACTORS)),
    )
    def see_to_the_override(self, verb: str, side: Side | None) -> None:
        live = self.state in MODEL["withdraw"][0].split()
        # the sender in this model is the worker who sent it
        by = {"confirm_override": {Side.COORDINATOR}, "attach_consent": {Side.SENDER}}[verb]
        open_ = {
            "confirm_override": {"open"},
            "attach_consent": {"", "open", "confirmed", "replaced"},
        }[verb]
        possible = live and side in by and self.override in open_
        if verb == "confirm_override" and self.override:
            possible = possible and self.now < self.overridden + timedelta(hours=12)
        lasting = replace(
            RECEIPT, id=f"receipt {self.version}", until_time=self.now + timedelta(days=1)
        )
        try:
            if verb == "attach_consent":
                self.referral.attach_consent(ACTORS[side], self.now, DAYS, lasting)
            else:
                self.referral.take("confirm_override", ACTORS[side], self.now, DAYS)
        except Conflict:
            assert not possible
            return
        assert possible
        self.version += 1
        self.override = "confirmed" if verb == "confirm_override" else self.override and "replaced"

    @rule(
        verb=st.sampled_from(
            ["schedule_appointment", "attend_appointment", "miss_appointment", "cancel_appointment"]
        ),
        side=st.sampled_from([Side.RECEIVER, Side.RECEIVER, *ACTORS]),
    )
    def see_to_an_appointment(self, verb: str, side: Side | None) -> None:
        planned = self.appointment
        its_time = planned is not None and (
            verb == "cancel_appointment" or self.now >= planned - timedelta(hours=1)
        )
        possible = (
            self.state == "in_progress"
            and side is Side.RECEIVER
            and (verb == "schedule_appointment" or its_time)
        )
        try:
            STEPS[verb](self.referral, ACTORS[side], self.now)
        except Conflict:
            assert not possible
            return
        assert possible
        self.version += 1
        self.appointment = self.now + timedelta(days=2) if verb == "schedule_appointment" else None
        self.silence = 30 if verb == "attend_appointment" else 7

    @rule(side=st.sampled_from([Side.RECEIVER, *ACTORS]))
    def write_a_note(self, side: Side | None) -> None:
        possible = self.state in MODEL["withdraw"][0].split() and side in (
            Side.SENDER,
            Side.RECEIVER,
        )
        try:
            STEPS["add_note"](self.referral, ACTORS[side], self.now)
        except Conflict:
            assert not possible
            return
        assert possible
        self.version += 1
        if self.state == "in_progress" and side is Side.RECEIVER:
            self.silence = 7 if self.appointment else 30

    @rule(side=st.sampled_from([Side.SENDER, *ACTORS]), urgency=st.sampled_from(Urgency))
    def amend(self, side: Side | None, urgency: Urgency) -> None:
        possible = (
            self.state in MODEL["withdraw"][0].split()
            and self.state != "completed"
            and side is Side.SENDER
        )
        same = urgency is self.referral.urgency
        try:
            self.referral.amend(
                ACTORS[side], self.now, DAYS, urgency=urgency, coarse=self.referral.coarse, note=""
            )
        except Conflict:
            assert not possible
            return
        except Invalid:
            assert possible
            assert same
            return
        assert possible
        assert not same
        self.version += 1

    @rule(side=st.sampled_from([Side.COORDINATOR, *ACTORS]))
    def remind(self, side: Side | None) -> None:
        waits = self.state in MODEL["withdraw"][0].split() or self.need_is_open or self.deleting
        reminded_recently = self.reminded is not None and self.now < self.reminded + timedelta(
            hours=1
        )
        before = self.referral.step_version
        if not waits or side is not Side.COORDINATOR or reminded_recently:
            reason = (
                "reminded_lately" if waits and side is Side.COORDINATOR else "illegal_transition"
            )
            with pytest.raises(Conflict, match=rf"^{reason}$"):
                STEPS["remind"](self.referral, ACTORS[side], self.now)
            return
        STEPS["remind"](self.referral, ACTORS[side], self.now)
        assert self.referral.step_version == before, "a reminder makes no etag stale"
        self.version, self.reminded = self.version + 1, self.now

    @rule(data=st.data())
    def a_step_that_is_offered(self, data: st.DataObject) -> None:
        side = data.draw(st.sampled_from([Side.SENDER, Side.RECEIVER]))
        offered = [
            v
            for v in self.referral.allowed_verbs(ACTORS[side], self.now)
            if v in MODEL and v not in ("decline", "withdraw", "reroute")
        ]
        if offered:
            self.step(data.draw(st.sampled_from(offered)), side)

    @rule()
    def consent_is_withdrawn(self) -> None:
        if self.now > NOON + timedelta(days=4):  # otherwise few lives would reach late states
            live = self.state in MODEL["withdraw"][0].split()
            self.referral.withdraw_consent(ACTORS[Side.PERSON], self.now, DAYS)
            self.version += live or self.state == "draft" or self.need_is_open
            if live or self.state == "draft":
                self.state, self.deleting = "consent_withdrawn", live
            self.need_is_open = False

    @rule(side=st.sampled_from([Side.RECEIVER, *ACTORS]))
    def confirm_the_deletion(self, side: Side | None) -> None:
        possible = self.deleting and self.state == "consent_withdrawn" and side is Side.RECEIVER
        try:
            STEPS["confirm_deletion"](self.referral, ACTORS[side], self.now)
        except Conflict:
            assert not possible
            return
        assert possible
        self.version, self.deleting = self.version + 1, False

    @rule(minutes=st.integers(1, 3_000))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)
        decide = [c for c in self.referral.deadlines if c.kind is DeadlineKind.DECIDE and c.running]
        over = [c for c in decide if self.now >= c.start_time + 2 * (c.due_time - c.start_time)]
        steps = self.referral.step_version
        fired = self.referral.fire_deadlines(self.now, DAYS)
        self.version += len(fired)
        assert [event.verb for event in fired if event.from_state is not event.to_state] == [
            "expired"
        ] * len(over)
        assert (self.referral.step_version == steps) == (not over), (
            "of the fired deadlines, only an expiry makes an etag stale"
        )
        if over:
            self.state, self.need_is_open = "expired", True
        assert self.referral.fire_deadlines(self.now, DAYS) == []

    @invariant()
    def model_and_referral_agree(self) -> None:
        assert self.referral.state.value == self.state
        assert self.referral.version == self.version

    @invariant()
    def an_appointment_is_open_while_help_is_given_and_nobody_asks_for_news_before_it(self) -> None:
        if self.state != "in_progress":
            self.appointment = None
        assert self.referral.appointment_time == self.appointment
        for clock in self.referral.deadlines:
            if clock.kind is DeadlineKind.SILENCE and clock.running:
                assert clock.start_time >= (self.appointment or NOON)
                assert clock.due_time - clock.start_time == timedelta(days=self.silence)

    @invariant()
    def the_history_folds_to_the_state_without_a_gap(self) -> None:
        events = self.referral.events
        assert [event.version for event in events] == list(range(1, self.version + 1))
        assert folded(events) is self.referral.state
        assert sum(event.verb == "accepted" for event in events) <= 1
        times = [event.time for event in events]
        assert times == sorted(times)

    @invariant()
    def a_clock_runs_or_somebody_else_is_asked(self) -> None:
        every = [clock.kind for clock in self.referral.deadlines if clock.running]
        running = [
            kind
            for kind in every
            if kind not in (DeadlineKind.OVERRIDE_CONFIRM, DeadlineKind.OVERRIDE_END)
        ]
        assert bool(running) == (self.state in TIMED or self.need_is_open or self.deleting)
        live = self.state in MODEL["withdraw"][0].split()
        assert (DeadlineKind.OVERRIDE_CONFIRM in every) == (live and self.override == "open")
        assert (DeadlineKind.OVERRIDE_END in every) == (
            live and self.override in ("open", "confirmed")
        )
        assert len(running) == len(set(running))
        assert (self.referral.next_due_time is not None) == bool(every)
        # a deadline may restart
        amended = max(
            (event.version for event in self.referral.events if event.verb == "amended"), default=0
        )
        watched = (DeadlineKind.ACKNOWLEDGE, DeadlineKind.DECIDE)
        levels = [
            (event.clock, event.verb)
            for event in self.referral.events
            if event.clock in watched and event.version > amended
        ]
        assert len(levels) == len(set(levels))


def folded(events: list[Event]) -> State:
    """Returns the state to which a history leads.

    Each event has to start in the state in which the previous one ended.
    """
    state = State.DRAFT
    for event in events:
        assert event.from_state is state
        state = event.to_state
    return state


TestRandomLives = Life.TestCase
TestRandomLives.settings = settings(
    max_examples=300,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)


def test_the_page_names_the_required_data_of_every_step() -> None:
    assert lifecycle_page.CARRIES.keys() == BY_VERB.keys()


def test_the_page_is_up_to_date() -> None:
    assert lifecycle_page.PAGE.read_text(encoding="utf-8") == lifecycle_page.page(), (
        "python -m tests.referrals.lifecycle_page"
    )
