"""Plans: a person's way along a pathway; steps change by hand and with their referrals."""

from collections.abc import Callable
from copy import deepcopy
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import Conflict, NotFound, Unauthenticated
from chassis.second import Kin
from services.referrals.plans.domain.pathway import Pathway, Step
from services.referrals.plans.domain.plan import SETTLED, Plan, PlanStep, StepState
from services.referrals.plans.usecases.pathways import shipped_pathways
from services.referrals.referrals.domain.lifecycle import State
from services.referrals.referrals.domain.record import Actor
from tests.builders import NOON, violations_of

OPEN, REFERRED, MET, NOT_NEEDED, REFUSED = StepState
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
RETURN = shipped_pathways()["return_and_reintegration"]
NAMES = {"es": "a", "en": "b", "fr": "c"}


def started_plan(pathway: Pathway = RETURN, start: datetime | None = None) -> Plan:
    return Plan.begin("p", "her", "ngo", pathway, "NI-CI", start, NOON)


def pathway(*steps: Step, version: int = 1) -> Pathway:
    return Pathway("test", version, NAMES, steps)


def step(
    key: str, after: tuple[str, ...] = (), deadline: timedelta | None = None, start: str = ""
) -> Step:
    return Step(key, NAMES, "HOU", "shelter", after, deadline=deadline, deadline_from_key=start)


def conflict_and_steps(act: Callable[[], Any]) -> str:
    """Returns the reason of a conflict, and the keys of the steps that it names."""
    with pytest.raises(Conflict) as caught:
        act()
    return " ".join([caught.value.reason, *caught.value.about])


def test_a_plan_begins_with_open_steps_and_the_due_times_that_count_from_its_start() -> None:
    plan = started_plan()
    assert {step.state for step in plan.steps.values()} == {OPEN}
    assert plan.steps["risk_check"].due_time == NOON + 14 * DAY == plan.next_due_time
    assert plan.steps["housing"].due_time is None, "she has not arrived"
    assert started_plan(start=NOON - 10 * DAY).steps["risk_check"].due_time == NOON + 4 * DAY


@pytest.mark.parametrize("start", [None, NOON, NOON - DAY, NOON - 366 * DAY])
def test_a_plan_begins_now_or_up_to_a_year_ago(start: datetime | None) -> None:
    two_steps = pathway(step("a", deadline=DAY), step("b"))
    plan = started_plan(two_steps, start)
    start_time = start or NOON
    steps = {"a": PlanStep("a", due_time=start_time + DAY), "b": PlanStep("b")}
    assert plan == Plan("p", "her", "ngo", two_steps, "NI-CI", start_time, NOON, NOON, steps=steps)


@pytest.mark.parametrize("start", [NOON + SECOND, NOON - 366 * DAY - SECOND])
def test_a_plan_that_would_begin_later_or_earlier_is_refused(start: datetime) -> None:
    assert violations_of(lambda: started_plan(start=start)) == [("start_time", "out_of_range")]


def test_a_step_waits_for_earlier_steps_and_names_them() -> None:
    plan, unchanged = started_plan(), started_plan()
    for act in (
        lambda: plan.set_step_state("travel", MET, NOON),
        lambda: plan.set_step_state("travel", REFERRED, NOON, referral=("r", State.SENT)),
    ):
        assert conflict_and_steps(act) == "step_waits risk_check travel_papers"
        assert plan == unchanged
    plan.set_step_state("risk_check", MET, NOON)
    assert (
        conflict_and_steps(lambda: plan.set_step_state("travel", MET, NOON))
        == "step_waits travel_papers"
    )
    plan.set_step_state("travel_papers", NOT_NEEDED, NOON, reason_code="has_it")
    assert plan.steps["travel_papers"].reason_code == "has_it"
    plan.set_step_state("travel", NOT_NEEDED, NOON, reason_code="done_elsewhere")
    assert plan.steps["reception"].due_time == NOON + DAY


def test_a_refused_step_does_not_delay_later_steps() -> None:
    plan = started_plan(pathway(step("family"), step("school", ("family",))))
    plan.set_step_state("family", REFUSED, NOON)
    plan.set_step_state("school", MET, NOON)
    assert plan.next_due_time is None


def test_a_step_can_be_refused_or_not_needed_before_earlier_steps_are_settled() -> None:
    plan = started_plan()
    plan.set_step_state("family", REFUSED, NOON)
    plan.set_step_state("livelihood", NOT_NEEDED, NOON, reason_code="has_it")


@pytest.mark.parametrize(
    ("state", "values", "violation"),
    [
        (REFERRED, {}, ("referral_id", "required")),
        (MET, {"referral": ("r", State.SENT)}, ("referral_id", "out_of_range")),
        (NOT_NEEDED, {}, ("reason_code", "required")),
        (OPEN, {"reason_code": "has_it"}, ("reason_code", "out_of_range")),
    ],
)
def test_only_a_referred_step_has_a_referral_and_only_a_step_not_needed_a_reason(
    state: StepState, values: dict[str, Any], violation: tuple[str, str]
) -> None:
    assert violations_of(
        lambda: started_plan().set_step_state("risk_check", state, NOON, **values)
    ) == [violation]


def test_an_ended_referral_or_an_unknown_step_is_refused() -> None:
    plan = started_plan()
    act = partial(plan.set_step_state, "risk_check", REFERRED, NOON, referral=("r", State.DECLINED))
    assert conflict_and_steps(act) == "illegal_transition"
    with pytest.raises(NotFound):
        plan.set_step_state("nothing", MET, NOON)


def test_a_step_follows_the_referral_that_stands_for_it() -> None:
    plan = started_plan()
    plan.set_step_state("risk_check", REFERRED, NOON, referral=("r", State.SENT))
    for number, (state, outcome, new_state) in enumerate(
        (
            (State.ACCEPTED, "", REFERRED),
            (State.COMPLETED, "fully_met", MET),
            (State.IN_PROGRESS, "fully_met", REFERRED),  # reopened, because no help came
            (State.COMPLETED, "not_met", OPEN),
            (State.IN_PROGRESS, "", REFERRED),
            (State.COMPLETED, "partly_met", MET),
            (State.CLOSED, "partly_met", MET),
        ),
        1,
    ):
        plan_step = plan.steps["risk_check"]
        changed = plan_step.state is not new_state
        assert plan.update_steps("r", state, outcome, NOON + number * DAY) is changed
        assert (plan_step.state, plan_step.reason_code) == (new_state, ""), state
    assert plan.steps["risk_check"].settle_time == NOON + 6 * DAY, (
        "the step was settled when it was met, and not at the last event"
    )
    for end_state in (
        State.DECLINED,
        State.WITHDRAWN,
        State.CONSENT_WITHDRAWN,
        State.NOT_DELIVERED,
        State.EXPIRED,
        State.ENTERED_IN_ERROR,
    ):
        plan.set_step_state("risk_check", REFERRED, NOON, referral=("r", State.SENT))
        plan.update_steps("r", end_state, "", NOON)
        plan_step = plan.steps["risk_check"]
        # the outcome of the referral remains visible
        assert (plan_step.state, plan_step.referral_id) == (OPEN, "r"), end_state


def test_a_referral_does_not_undo_a_step_settled_by_hand() -> None:
    plan = started_plan()
    plan.set_step_state("risk_check", REFERRED, NOON, referral=("r", State.SENT))
    plan.set_step_state("risk_check", MET, NOON)
    assert not plan.update_steps("r", State.DECLINED, "", NOON)
    assert plan.steps["risk_check"].state is MET


def test_due_times_that_count_from_a_step_are_set_and_cleared_with_it() -> None:
    plan = started_plan(pathway(step("a"), step("b", deadline=DAY, start="a")))
    plan.set_step_state("a", MET, NOON + DAY)
    assert (plan.steps["b"].due_time, plan.steps["b"].is_late(NOON + 3 * DAY)) == (
        NOON + 2 * DAY,
        True,
    )
    plan.set_step_state("a", OPEN, NOON + DAY)
    assert (plan.steps["b"].due_time, plan.next_due_time) == (None, None)


def test_a_newer_pathway_version_keeps_the_steps_with_the_same_key() -> None:
    plan = started_plan(pathway(step("a"), step("b"), step("c")))
    plan.set_step_state("a", MET, NOON)
    plan.set_step_state("b", NOT_NEEDED, NOON, reason_code="has_it")
    plan.move(pathway(step("new", deadline=DAY), step("a"), version=2), NOON + DAY)
    assert [(step.key, step.state) for step in plan.steps.values()] == [("new", OPEN), ("a", MET)]
    assert (plan.steps["a"].settle_time, plan.next_due_time) == (NOON, NOON + DAY)
    for version in (1, 2):
        assert violations_of(partial(plan.move, pathway(step("a"), version=version), NOON)) == [
            ("version", "out_of_range")
        ]


def test_a_closed_plan_cannot_be_changed() -> None:
    plan = started_plan()
    plan.set_step_state("risk_check", REFERRED, NOON, referral=("r", State.SENT))
    plan.close("contact_lost", NOON)
    assert plan.next_due_time is None
    assert not plan.update_steps("r", State.COMPLETED, "fully_met", NOON)
    for act in (
        lambda: plan.set_step_state("risk_check", MET, NOON),
        lambda: plan.close("fulfilled", NOON),
        lambda: plan.move(pathway(version=9), NOON),
    ):
        assert conflict_and_steps(act) == "plan_closed"


def actor(identifier: str, looked_up: datetime = NOON + DAY) -> Actor:
    return Actor("worker", identifier, "ngo", kin=Kin(alone="", time=looked_up))


def test_a_plan_of_an_adult_is_ended_by_one_request() -> None:
    plan, day_after = started_plan(), NOON + DAY
    plan.end("fulfilled", None, day_after, of_a_child=False)
    assert (plan.close_time, plan.close_reason_code) == (day_after, "fulfilled")
    assert (plan.version, plan.update_time) == (2, day_after)
    assert (
        conflict_and_steps(lambda: plan.end("fulfilled", None, NOON, of_a_child=False))
        == "plan_closed"
    )


def test_a_plan_of_a_child_is_ended_by_a_second_person_for_the_same_reason() -> None:
    plan = started_plan()
    first, second = actor("first"), actor("second")
    plan.end("fulfilled", first, NOON, of_a_child=True)
    plan.end("contact_lost", first, NOON + DAY, of_a_child=True)  # replaces the first proposal
    proposal = deepcopy(plan)
    assert (proposal.close_proposed_reason_code, proposal.close_proposed_by_worker_id) == (
        "contact_lost",
        "first",
    )
    assert (proposal.close_time, proposal.version, proposal.update_time) == (None, 3, NOON + DAY)
    for by in (None, first):
        act = partial(plan.end, "contact_lost", by, NOON + DAY, of_a_child=True)
        assert conflict_and_steps(act) == "second_person_required"
    with pytest.raises(Unauthenticated):  # her kin were looked up before the proposal
        plan.end("contact_lost", actor("second", NOON), NOON + DAY, of_a_child=True)
    assert plan == proposal
    plan.end("contact_lost", second, NOON + 2 * DAY, of_a_child=True)
    assert (plan.close_time, plan.close_reason_code) == (NOON + 2 * DAY, "contact_lost")


KEYS = "abcdef"
STEPS = st.tuples(
    *(
        st.tuples(
            st.sets(st.sampled_from(KEYS[:n] or "-")),
            st.integers(0, 40),
            st.sampled_from(["", *KEYS[:n]]),
        )
        for n in range(6)
    )
)
ACTS = st.lists(
    st.tuples(
        st.sampled_from(KEYS),
        st.sampled_from(StepState),
        st.sampled_from(State),
        st.integers(0, 90),
    ),
    max_size=30,
)


@given(STEPS, ACTS)
def test_random_plans_keep_settle_times_due_times_and_the_order_of_steps(
    step_values: Any, acts: list[tuple[str, StepState, State, int]]
) -> None:
    steps = [
        step(key, tuple(after - {"-"}), days * DAY if days else None, start)
        for key, (after, days, start) in zip(KEYS, step_values, strict=True)
    ]
    plan = started_plan(pathway(*steps))
    now = NOON
    for key, state, referral, days in acts:
        now += days * timedelta(hours=1)
        earlier_steps = plan.waits_for(steps[KEYS.index(key)])
        state_before, version = plan.steps[key].state, plan.version
        try:
            plan.set_step_state(
                key,
                state,
                now,
                reason_code="has_it" if state is NOT_NEEDED else "",
                referral=(f"r{key}", referral) if state is REFERRED else None,
            )
            assert not (earlier_steps and state in (REFERRED, MET))
            assert plan.steps[key].state is state
        except Conflict:
            assert (plan.steps[key].state, plan.version) == (state_before, version)
            plan.update_steps(f"r{key}", referral, "fully_met", now)
        for pathway_step in steps:
            plan_step = plan.steps[pathway_step.key]
            assert (plan_step.settle_time is not None) == (plan_step.state in SETTLED)
            from_key = pathway_step.deadline_from_key
            start = plan.steps[from_key].settle_time if from_key else plan.start_time
            due_time = start + pathway_step.deadline if pathway_step.deadline and start else None
            assert plan_step.due_time == due_time
            assert bool(plan_step.reason_code) == (plan_step.state is NOT_NEEDED)
        times = [
            step.due_time
            for step in plan.steps.values()
            if step.due_time and step.state not in SETTLED
        ]
        assert plan.next_due_time == min(times, default=None)
