"""The life of a referral: each cell of the table of steps, and the fields that a step requires.

The tests use no database and no ports.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import fields
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

from chassis.second import NONE
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.files.domain.consent import Circumstances, Receipt
from services.referrals.files.domain.person import Coarse, FieldGroup
from services.referrals.files.domain.unsafe import Unsafe
from services.referrals.network.domain.deadline import (
    FIRST_POLICY,
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
    TO_DELETE,
    TRANSITIONS,
    WAITS_FOR_RECEIVER,
    WAITS_FOR_SENDER,
    Side,
    State,
)
from services.referrals.referrals.domain.record import Actor, Event
from services.referrals.referrals.domain.referral import Referral
from services.referrals.referrals.wire.referrals import VERB_OF
from tests.builders import NOON, conflict_of, violations_of
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
    """A calendar in which each day is a working day, with the first policy."""

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
    circumstances=Circumstances("18-24", "NGO"),
)
OVERRIDE = Receipt.override(
    "override", "person", "sender", "rescuer", "receiver", "HOU.EMG", "life_at_risk", NOON
)

Step = Callable[[Referral, Actor, datetime], Referral | None]
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
    "reroute": lambda r, a, now: r.reroute(
        a, now, DAYS, service=("other", "elsewhere"), following_id="1" * 32, note=""
    ),
    "remind": lambda r, a, now: r.take("remind", a, now, DAYS),
    "enter_in_error": lambda r, a, now: r.take("enter_in_error", a, now, DAYS),
    "withdraw_consent": lambda r, a, now: r.withdraw_consent(a, now, DAYS),
}


def draft() -> Referral:
    """Returns a complete draft, which can be sent."""
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


def referral_after(*verbs: str) -> Referral:
    """Returns a referral that took these steps at noon, each by a side that may take it."""
    referral = draft()
    for verb in verbs:
        sides = (Side.RECEIVER, Side.SYSTEM, Side.SENDER, Side.PERSON)
        side = next(side for side in sides if side in BY_VERB[verb].sides)
        STEPS[verb](referral, ACTORS[side], NOON)
    return referral


def running_kinds(referral: Referral) -> list[DeadlineKind]:
    """Returns the kinds of the running deadlines, in the referral's order."""
    return [deadline.kind for deadline in referral.deadlines if deadline.running]


def test_every_verb_of_the_table_is_tested() -> None:
    assert STEPS.keys() == BY_VERB.keys()
    assert len(BY_VERB) == len(TRANSITIONS)


def test_each_row_carries_the_fields_of_its_request() -> None:
    for request, verb in VERB_OF.items():
        names = {field.name for field in request.DESCRIPTOR.fields} - {"id", "etag", "request_id"}
        assert {field.name for field in BY_VERB[verb].carries} == names, verb
    assert BY_VERB.keys() - VERB_OF.values() == {"expire", "reopen", "withdraw_consent"}


def test_each_stored_field_is_an_attribute_of_a_referral_and_a_field_of_its_message() -> None:
    attributes = {attribute.name for attribute in fields(Referral)}
    for step in TRANSITIONS:
        for stored_as in filter(None, (field.stored_as for field in step.carries)):
            assert stored_as in attributes, f"{step.verb}: no {stored_as} in record.py"
            assert stored_as in pb.Referral.DESCRIPTOR.fields_by_name, f"{step.verb}: {stored_as}"


# withdraw_consent has a test of its own below
@pytest.mark.parametrize("verb", [verb for verb in STEPS if verb != "withdraw_consent"])
def test_a_step_succeeds_exactly_where_the_table_allows_it_and_changes_nothing_elsewhere(
    verb: str,
) -> None:
    row = BY_VERB[verb]
    for state in State:
        for side, actor in ACTORS.items():
            referral = in_state(state)
            if verb == "enter_in_error":  # refused while a deletion is expected
                referral.stop_deadlines(NOON, DeadlineKind.DELETION)
            original = deepcopy(referral)
            is_allowed = state in row.sources and side in row.sides
            cell = f"{verb} in {state.value} by {side.value if side else 'a stranger'}"
            if not is_allowed:
                reason = conflict_of(partial(STEPS[verb], referral, actor, NOON))
                assert (reason, referral) == ("illegal_transition", original), cell
                continue
            STEPS[verb](referral, actor, NOON)
            target, event = row.target or state, referral.events[-1]
            assert (referral.state, referral.version) == (target, original.version + 1), cell
            assert (event.verb, event.from_state, event.to_state, event.actor) == (
                row.event_verb,
                state,
                target,
                actor,
            ), cell
            assert set(running_kinds(referral)) & {*row.starts, *row.stops} == set(row.starts), cell


@pytest.mark.parametrize("side", ACTORS)
def test_exactly_the_allowed_steps_are_offered(side: Side | None) -> None:
    for state in State:
        referral = in_state(state)
        offered_verbs = {
            t.verb for t in TRANSITIONS if t.offered and state in t.sources and side in t.sides
        }
        if state in TO_DELETE:  # a deletion is expected
            offered_verbs -= {"enter_in_error"}
        assert set(referral.allowed_verbs(ACTORS[side], NOON)) == offered_verbs


def test_a_withdrawn_consent_ends_a_live_referral_and_an_open_need_whoever_records_it() -> None:
    for state in State:
        for actor in ACTORS.values():
            referral = in_state(state)
            original = deepcopy(referral)
            referral.withdraw_consent(actor, NOON, DAYS)
            if state in LIVE | CAME_BACK:
                assert (referral.state, referral.events[-1].attribution) == (
                    State.CONSENT_WITHDRAWN,
                    "person",
                )
                assert running_kinds(referral) == [DeadlineKind.DELETION]
                assert referral.side_to_act(ACTORS[Side.SENDER]) is Side.RECEIVER
                assert (referral.need_close_reason_code == "person_declined") == (
                    state in CAME_BACK
                )
            elif state is State.DRAFT:
                assert referral.state is State.CONSENT_WITHDRAWN
                assert running_kinds(referral) == [], "no receiver has anything to delete"
            else:
                assert referral == original


def test_an_end_state_is_left_only_by_an_entry_in_error_and_a_withdrawal_of_consent() -> None:
    for row in TRANSITIONS:
        if row.target and row.sources & TERMINAL:
            assert row.verb in ("enter_in_error", "withdraw_consent")
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
        if state in WAITS_FOR_SENDER or (state in CAME_BACK and side is not Side.RECEIVER):
            turn = Side.SENDER
        elif state in WAITS_FOR_RECEIVER or state in TO_DELETE:
            turn = Side.RECEIVER
        else:
            turn = None
        assert in_state(state).side_to_act(ACTORS[side]) is turn, state


@pytest.mark.parametrize("side", ACTORS)
def test_the_main_step_is_allowed_and_advances_the_referral(side: Side | None) -> None:
    advancing_verbs = {
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
        referral, actor = in_state(state), ACTORS[side]
        allowed_verbs = referral.allowed_verbs(actor, NOON)
        main_verb = referral.main_step(actor, NOON)
        if state in CAME_BACK and side is Side.SENDER:
            assert main_verb == REFER_AGAIN
        elif main_verb:
            assert main_verb in advancing_verbs
            assert allowed_verbs[0] == main_verb, "the main step is offered first"
        else:
            assert not advancing_verbs & set(allowed_verbs)


def test_the_side_whose_turn_it_is_has_a_main_step() -> None:
    for state in State:
        referral = in_state(state)
        for actor in (ACTORS[Side.SENDER], ACTORS[Side.RECEIVER]):
            if referral.side_to_act(actor) in referral.sides(actor):
                assert referral.main_step(actor, NOON), state


@pytest.mark.parametrize("state", [state for state in State if state in CAME_BACK])
@pytest.mark.parametrize("end", ["followed up", "closed explicitly"])
def test_a_returned_referral_is_the_senders_turn_until_it_is_followed_up_or_closed(
    state: State, end: str
) -> None:
    sender, receiver = ACTORS[Side.SENDER], ACTORS[Side.RECEIVER]
    referral = in_state(state)
    referral.stop_deadlines(NOON, DeadlineKind.DELETION)
    for actor, turn in ((sender, Side.SENDER), (receiver, None)):
        assert (referral.shows_open_need(actor), referral.side_to_act(actor)) == (bool(turn), turn)
    years_later = NOON + timedelta(days=700)
    assert referral.main_step(sender, years_later) == REFER_AGAIN, "no deadline ends the need"
    assert "close_need" in referral.allowed_verbs(sender, years_later)
    close_need = partial(STEPS["close_need"], referral, sender, years_later)
    if end == "followed up":
        referral.followed_up = True
    else:
        close_need()
    assert (
        referral.shows_open_need(sender),
        referral.side_to_act(sender),
        referral.main_step(sender, NOON),
    ) == (False, None, "")
    close_need = partial(STEPS["close_need"], referral, sender, years_later)
    assert conflict_of(close_need) == "illegal_transition"


@pytest.mark.parametrize("side", [Side.SENDER, Side.COORDINATOR])
def test_an_entry_in_error_waits_for_the_confirmation_of_a_deletion(side: Side) -> None:
    referral = referral_after("send", "withdraw_consent")
    enter_in_error = partial(STEPS["enter_in_error"], referral, ACTORS[side])
    assert conflict_of(partial(enter_in_error, NOON)) == "illegal_transition"
    assert referral.side_to_act(ACTORS[side]) is Side.RECEIVER
    hour_later = NOON + timedelta(hours=1)
    STEPS["confirm_deletion"](referral, ACTORS[Side.RECEIVER], hour_later)
    enter_in_error(hour_later)
    assert referral.state is State.ENTERED_IN_ERROR


def test_the_sender_may_enter_a_referral_in_error_for_a_day_and_a_coordinator_at_any_time() -> None:
    day_after = NOON + timedelta(hours=24, seconds=1)
    old_referral = in_state(State.SENT)
    late_entry = partial(STEPS["enter_in_error"], old_referral, ACTORS[Side.SENDER], day_after)
    assert conflict_of(late_entry) == "illegal_transition"
    assert "enter_in_error" not in old_referral.allowed_verbs(ACTORS[Side.SENDER], day_after)
    STEPS["enter_in_error"](old_referral, ACTORS[Side.COORDINATOR], day_after)
    new_referral = in_state(State.SENT)
    STEPS["enter_in_error"](new_referral, ACTORS[Side.SENDER], NOON + timedelta(hours=24))
    assert new_referral.state is old_referral.state is State.ENTERED_IN_ERROR


def test_a_question_can_be_asked_only_once() -> None:
    referral = referral_after("send", "ask", "answer")
    ask = partial(STEPS["ask"], referral, ACTORS[Side.RECEIVER], NOON)
    assert conflict_of(ask) == "already_asked"
    assert "ask" not in referral.allowed_verbs(ACTORS[Side.RECEIVER], NOON)


@pytest.mark.parametrize(
    ("verb", "state", "content", "missing_field"),
    [
        ("ask", State.SENT, {"question_code": "other"}, "note"),
        ("accept", State.SENT, {}, "planned_first_contact_time"),
        ("waitlist", State.SENT, {"expected_wait_days": 3, "review_time": NOON}, "review_time"),
        ("decline", State.SENT, {"reason_code": "other"}, "note"),
        ("start", State.ACCEPTED, {}, "first_contact_time"),
        ("schedule_appointment", State.IN_PROGRESS, {}, "appointment_time"),
        ("close_need", State.DECLINED, {"reason_code": "other"}, "note"),
        ("cancel_appointment", State.IN_PROGRESS, {"reason_code": "other"}, "note"),
    ],
)
def test_a_step_without_its_required_data_is_refused_and_changes_nothing(
    verb: str, state: State, content: dict[str, Any], missing_field: str
) -> None:
    referral = in_state(state)
    original = deepcopy(referral)
    side = Side.RECEIVER if Side.RECEIVER in BY_VERB[verb].sides else Side.SENDER
    violations = violations_of(lambda: referral.take(verb, ACTORS[side], NOON, DAYS, **content))
    assert ([field for field, _ in violations], referral) == ([missing_field], original)


@pytest.mark.parametrize("note", ["", " \n"])
def test_an_empty_note_is_refused_only_if_a_note_is_needed(note: str) -> None:
    check_note(note, required=False)
    check_note("in danger", required=True)
    assert violations_of(lambda: check_note(note, required=True)) == [("note", "required")]


@pytest.mark.parametrize(
    ("verb", "state", "content"),
    [
        ("ask", State.SENT, {"question_code": "dates"}),
        (
            "accept",
            State.SENT,
            {"responsible_worker_id": "anna", "planned_first_contact_time": LATER},
        ),
        ("waitlist", State.SENT, {"expected_wait_days": 3, "review_time": LATER}),
        ("decline", State.SENT, {"reason_code": "no_capacity", "alternative_service_id": "other"}),
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
def test_a_referral_stores_the_fields_that_a_step_carries(
    verb: str, state: State, content: dict[str, Any]
) -> None:
    referral = in_state(state)
    [side] = BY_VERB[verb].sides - {Side.SYSTEM}
    referral.take(verb, ACTORS[side], NOON, DAYS, **content)
    assert {name: getattr(referral, name) for name in content} == content


def test_the_history_has_the_actor_the_reason_and_the_note_of_a_step() -> None:
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


@pytest.mark.parametrize(
    ("outcome", "need_codes", "violations"),
    [
        (
            "fully_met",
            ("HOU.EMG", "HOUSE", ""),
            [("delivered_need_codes.1", "unknown_code"), ("delivered_need_codes.2", "required")],
        ),
        ("not_met", ("HOU.EMG",), [("delivered_need_codes", "contradicts")]),
    ],
)
def test_delivered_needs_have_known_codes_and_are_empty_if_the_need_was_not_met(
    outcome: str, need_codes: tuple[str, ...], violations: list[tuple[str, str]]
) -> None:
    complete = partial(
        in_state(State.IN_PROGRESS).take, "complete", ACTORS[Side.RECEIVER], NOON, DAYS
    )
    attempt = partial(complete, outcome_code=outcome, delivered_need_codes=need_codes)
    assert violations_of(attempt) == violations
    complete(outcome_code="not_met")


def test_the_page_names_the_required_data_of_every_step() -> None:
    assert lifecycle_page.REQUIRED_CONTENT.keys() == BY_VERB.keys()


def test_the_page_is_up_to_date() -> None:
    assert lifecycle_page.PAGE.read_text(encoding="utf-8") == lifecycle_page.page(), (
        "python -m tests.referrals.lifecycle_page"
    )


@pytest.mark.parametrize("time", [NOON - timedelta(days=3), NOON + timedelta(minutes=5)])
def test_help_begins_with_a_first_contact_near_the_referral(time: datetime) -> None:
    start = partial(in_state(State.ACCEPTED).take, "start", ACTORS[Side.RECEIVER], NOON, DAYS)
    for other_day in (NOON + timedelta(days=1), NOON - timedelta(days=28)):
        contact_on_other_day = partial(start, first_contact_time=other_day)
        assert violations_of(contact_on_other_day) == [("first_contact_time", "out_of_range")]
    start(first_contact_time=time)  # clocks differ, and some help begins before it is requested
