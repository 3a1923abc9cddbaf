"""Random lives of a referral, compared with a small model.

The model repeats the rules independently, from the agreements with the partners and not from the
table in the code. The tests use no database and no ports.
"""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from chassis.errors import Conflict, Invalid
from services.referrals.network.domain.deadline import DeadlineKind, Urgency
from services.referrals.referrals.domain.lifecycle import Side, State
from services.referrals.referrals.domain.record import Actor, Event
from services.referrals.referrals.domain.referral import Referral
from tests.builders import NOON
from tests.referrals.test_lifecycle import (
    ACTORS,
    DAYS,
    OVERRIDE,
    RECEIPT,
    STEPS,
    Step,
    draft,
    running_kinds,
)

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
LIVE = set(MODEL["withdraw"][0].split())
RETURNED_STATES = {"declined", "not_delivered", "expired", "rerouted"}
STATES_WITH_DEADLINE = {*LIVE, "draft"}  # the states in which a deadline has to run
# the steps of the main path are drawn more often, so that lives reach late states
FORWARD = ["send", "acknowledge", "accept", "start", "complete", "reopen", "complete"]
ANY_SIDE = list(ACTORS)


class Life(RuleBasedStateMachine):
    """One referral; the model takes every step too."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOON
        self.referral = draft()
        self.state = "draft"
        self.has_asked = False
        self.override = ""
        self.version = 2
        self.override_time = NOON
        self.appointment: datetime | None = None
        self.need_is_open = False
        self.silence_days = 7
        self.remind_time: datetime | None = None
        self.deletion_due = False  # a receiver has to confirm the deletion

    def succeeds(self, step: Step, side: Side | None, possible: bool) -> bool:
        """Takes a step, and checks that it succeeds exactly if the model calls it possible."""
        try:
            step(self.referral, ACTORS[side], self.now)
        except Conflict:
            assert not possible
            return False
        assert possible
        self.version += 1
        return True

    @rule(verb=st.sampled_from([*MODEL, *FORWARD]), side=st.sampled_from(ANY_SIDE))
    def step(self, verb: str, side: Side | None) -> None:
        sources, target, sides = MODEL[verb]
        possible = (
            self.state in sources.split()
            and side in sides
            and not (verb == "ask" and self.has_asked)
        )
        if self.succeeds(STEPS[verb], side, possible):
            self.state, self.has_asked = target, self.has_asked or verb == "ask"
            self.need_is_open = target in RETURNED_STATES
            self.silence_days = 7 if verb in ("start", "reopen") else self.silence_days

    @rule(side=st.sampled_from(ANY_SIDE))
    def close_the_need(self, side: Side | None) -> None:
        possible = self.need_is_open and side in SENDING
        if self.succeeds(STEPS["close_need"], side, possible):
            self.need_is_open = False

    @rule(side=st.sampled_from(ANY_SIDE))
    def send_on_an_override(self, side: Side | None) -> None:
        def send(referral: Referral, actor: Actor, now: datetime) -> None:
            receipt = replace(OVERRIDE, create_time=now, until_time=now + timedelta(hours=72))
            referral.send(actor, now, DAYS, receipt, safe_contact_known=True, note="in danger")

        if self.succeeds(send, side, self.state == "draft" and side is Side.SENDER):
            self.state, self.override, self.override_time = "sent", "open", self.now

    @rule(side=st.sampled_from(ANY_SIDE))
    def confirm_the_override(self, side: Side | None) -> None:
        possible = (
            self.state in LIVE
            and side is Side.COORDINATOR  # the sender in this model is the worker who sent it
            and self.override == "open"
            and self.now < self.override_time + timedelta(hours=12)
        )
        if self.succeeds(STEPS["confirm_override"], side, possible):
            self.override = "confirmed"

    @rule(side=st.sampled_from(ANY_SIDE))
    def attach_a_consent(self, side: Side | None) -> None:
        def attach(referral: Referral, actor: Actor, now: datetime) -> None:
            until_time = now + timedelta(days=1)
            receipt = replace(RECEIPT, id=f"receipt {self.version}", until_time=until_time)
            referral.attach_consent(actor, now, DAYS, receipt)

        if self.succeeds(attach, side, self.state in LIVE and side is Side.SENDER):
            self.override = self.override and "replaced"

    @rule(
        verb=st.sampled_from(
            ["schedule_appointment", "attend_appointment", "miss_appointment", "cancel_appointment"]
        ),
        side=st.sampled_from([Side.RECEIVER, Side.RECEIVER, *ACTORS]),
    )
    def take_a_step_of_an_appointment(self, verb: str, side: Side | None) -> None:
        planned = self.appointment
        is_time_for_step = planned is not None and (
            verb == "cancel_appointment" or self.now >= planned - timedelta(hours=1)
        )
        possible = (
            self.state == "in_progress"
            and side is Side.RECEIVER
            and (verb == "schedule_appointment" or is_time_for_step)
        )
        if self.succeeds(STEPS[verb], side, possible):
            scheduled = verb == "schedule_appointment"
            self.appointment = self.now + timedelta(days=2) if scheduled else None
            self.silence_days = 30 if verb == "attend_appointment" else 7

    @rule(side=st.sampled_from([Side.RECEIVER, *ACTORS]))
    def write_a_note(self, side: Side | None) -> None:
        possible = self.state in LIVE and side in (Side.SENDER, Side.RECEIVER)
        succeeded = self.succeeds(STEPS["add_note"], side, possible)
        if succeeded and self.state == "in_progress" and side is Side.RECEIVER:
            self.silence_days = 7 if self.appointment else 30

    @rule(side=st.sampled_from([Side.SENDER, *ACTORS]), urgency=st.sampled_from(Urgency))
    def amend(self, side: Side | None, urgency: Urgency) -> None:
        def amend(referral: Referral, actor: Actor, now: datetime) -> None:
            referral.amend(actor, now, DAYS, urgency=urgency, coarse=referral.coarse, note="")

        possible = self.state in LIVE - {"completed"} and side is Side.SENDER
        if possible and urgency is self.referral.urgency:
            with pytest.raises(Invalid):
                amend(self.referral, ACTORS[side], self.now)
        else:
            self.succeeds(amend, side, possible)

    @rule(side=st.sampled_from([Side.COORDINATOR, *ACTORS]))
    def remind(self, side: Side | None) -> None:
        waits = self.state in LIVE or self.need_is_open or self.deletion_due
        reminded_recently = (
            self.remind_time is not None and self.now < self.remind_time + timedelta(hours=1)
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
        self.version, self.remind_time = self.version + 1, self.now

    @rule(data=st.data())
    def take_an_offered_step(self, data: st.DataObject) -> None:
        side = data.draw(st.sampled_from([Side.SENDER, Side.RECEIVER]))
        offered_verbs = [
            v
            for v in self.referral.allowed_verbs(ACTORS[side], self.now)
            if v in MODEL and v not in ("decline", "withdraw", "reroute")
        ]
        if offered_verbs:
            self.step(data.draw(st.sampled_from(offered_verbs)), side)

    @rule(keeps_need=st.booleans())
    def withdraw_the_consent(self, keeps_need: bool) -> None:
        if self.now <= NOON + timedelta(days=4):  # otherwise few lives would reach late states
            return
        is_first = self.referral.deletion is None
        returned = self.state in RETURNED_STATES
        if keeps_need and not (returned and is_first):
            return
        asks = (self.state in LIVE | {"closed", "withdrawn"} or returned) and is_first
        ends = self.state in LIVE | {"draft"} or (
            returned and not keeps_need and (is_first or self.need_is_open)
        )
        self.referral.withdraw_consent(ACTORS[Side.PERSON], self.now, DAYS, keeps_need=keeps_need)
        self.version += asks or ends
        self.deletion_due |= asks
        if ends:
            self.remind_time = None if returned else self.remind_time
            self.state, self.need_is_open = "consent_withdrawn", False

    @rule(side=st.sampled_from([Side.RECEIVER, *ACTORS]))
    def confirm_the_deletion(self, side: Side | None) -> None:
        possible = self.deletion_due and side is Side.RECEIVER
        if self.succeeds(STEPS["confirm_deletion"], side, possible):
            self.deletion_due = False

    @rule(minutes=st.integers(1, 3_000))
    def let_time_pass(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)
        decisions = [
            c for c in self.referral.deadlines if c.kind is DeadlineKind.DECIDE and c.running
        ]
        expired = [
            c for c in decisions if self.now >= c.start_time + 2 * (c.due_time - c.start_time)
        ]
        step_version = self.referral.step_version
        fired = self.referral.fire_deadlines(self.now, DAYS)
        self.version += len(fired)
        assert [event.verb for event in fired if event.from_state is not event.to_state] == [
            "expired"
        ] * len(expired)
        assert (self.referral.step_version == step_version) == (not expired), (
            "of the fired deadlines, only an expiry makes an etag stale"
        )
        if expired:
            self.state, self.need_is_open = "expired", True
        assert self.referral.fire_deadlines(self.now, DAYS) == []

    @invariant()
    def model_and_referral_agree(self) -> None:
        assert (self.referral.state.value, self.referral.version) == (self.state, self.version)

    @invariant()
    def an_appointment_is_open_while_help_is_given_and_nobody_asks_for_news_before_it(self) -> None:
        if self.state != "in_progress":
            self.appointment = None
        assert self.referral.appointment_time == self.appointment
        for deadline in self.referral.deadlines:
            if deadline.kind is DeadlineKind.SILENCE and deadline.running:
                assert deadline.start_time >= (self.appointment or NOON)
                assert deadline.due_time - deadline.start_time == timedelta(days=self.silence_days)

    @invariant()
    def the_history_folds_to_the_state_without_a_gap(self) -> None:
        events = self.referral.events
        assert [event.version for event in events] == list(range(1, self.version + 1))
        assert state_after(events) is self.referral.state
        assert sum(event.verb == "accepted" for event in events) <= 1
        times = [event.time for event in events]
        assert times == sorted(times)

    @invariant()
    def a_deadline_runs_while_somebody_is_expected_to_act(self) -> None:
        all_kinds = running_kinds(self.referral)
        override_kinds = (DeadlineKind.OVERRIDE_CONFIRM, DeadlineKind.OVERRIDE_END)
        other_kinds = [kind for kind in all_kinds if kind not in override_kinds]
        assert bool(other_kinds) == (
            self.state in STATES_WITH_DEADLINE or self.need_is_open or self.deletion_due
        )
        live = self.state in LIVE
        assert [kind in all_kinds for kind in override_kinds] == [
            live and self.override == "open",
            live and self.override in ("open", "confirmed"),
        ]
        assert len(other_kinds) == len(set(other_kinds))
        due_times = [self.referral.next_due_time, self.referral.deletion_due_time]
        assert any(due_times) == bool(all_kinds)
        # an amendment may restart a deadline
        last_amendment = max(
            (event.version for event in self.referral.events if event.verb == "amended"), default=0
        )
        levels = [
            (event.clock, event.verb)
            for event in self.referral.events
            if event.clock in (DeadlineKind.ACKNOWLEDGE, DeadlineKind.DECIDE)
            and event.version > last_amendment
        ]
        assert len(levels) == len(set(levels))


def state_after(events: list[Event]) -> State:
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
