"""The legs of a hand-over across borders.

The tests cover how a pathway declares legs, the conditions of the departure, a consent for each
leg, legs that are lost on the way, and the organisation that acts next.
"""

from functools import partial
from typing import Any

import pytest

from services.referrals.files.domain.person import Coarse
from services.referrals.plans.domain.chain import leg_with_neighbours, whole_chain
from services.referrals.plans.domain.pathway import LegKind, Pathway, read
from services.referrals.plans.domain.plan import Plan, StepState
from services.referrals.plans.usecases.pathways import LISTS, parse, shipped_pathways
from services.referrals.referrals.domain.lifecycle import EXITS, State
from services.referrals.referrals.domain.referral import Referral
from tests.builders import NOON, violations_of
from tests.referrals.test_plans import conflict_and_steps

OPEN, REFERRED, MET, NOT_NEEDED, REFUSED = StepState
STEP = (
    "  - {{key: {0}, names: {{es: a, en: b, fr: c}}, need: HOU, role: shelter, legal_basis:"
    " [coe_12]{1}}}\n"
)
HEAD = "id: short\nversion: 1\nnames: {es: Corta, en: Short, fr: Courte}\nsteps:\n"
RECEIVERS = {"travel": "mission", "reception": "border", "housing": "shelter"}


def pathway_of(*steps: tuple[str, str]) -> Pathway:
    text = HEAD + "".join(STEP.format(*step) for step in steps)
    return read(parse(text), LISTS, text)


@pytest.mark.parametrize(
    ("steps", "violation"),
    [
        ([("go", ", leg: departure"), ("come", ", leg: arrival")], ("text.6", "required")),
        ([("come", ", leg: arrival")], ("text.5", "required")),
        (
            [("come", ", after: [go], leg: arrival"), ("go", ", leg: departure")],
            ("text.5", "required"),
        ),
        ([("go", ", leg: departure"), ("on", ", leg: departure")], ("text.6", "repeated")),
        ([("go", ", leg: left")], ("text.5", "unknown_code")),
        ([("go", ", leg: [departure]")], ("text.5", "malformed")),
        (
            [("go", ", leg: departure, after: [come]"), ("come", ", leg: arrival, after: [go]")],
            ("text.5", "cycle"),
        ),
    ],
)
def test_a_pathway_needs_exactly_one_departure_and_its_arrivals_after_it(
    steps: list[tuple[str, str]], violation: tuple[str, str]
) -> None:
    assert violation in violations_of(lambda: pathway_of(*steps))


def test_a_second_departure_is_reported_in_the_line_of_its_leg() -> None:
    steps = [("go", ", leg: departure"), ("on", ",\n     leg: departure")]
    assert violations_of(lambda: pathway_of(*steps)) == [("text.7", "repeated")]


def test_an_arrival_may_wait_for_the_departure_through_other_steps() -> None:
    pathway = pathway_of(
        ("go", ", leg: departure"),
        ("rest", ", after: [go]"),
        ("come", ", after: [rest], leg: arrival"),
    )
    assert [step.leg for step in pathway.steps] == [LegKind.DEPARTURE, None, LegKind.ARRIVAL]


def test_only_the_return_pathway_has_legs_and_it_has_three() -> None:
    legs = {
        pathway.id: [(step.key, step.leg) for step in pathway.steps if step.leg]
        for pathway in shipped_pathways().values()
    }
    assert legs.pop("return_and_reintegration") == [
        ("travel", LegKind.DEPARTURE),
        ("reception", LegKind.ARRIVAL),
        ("housing", LegKind.ARRIVAL),
    ]
    assert not any(legs.values())


def referral_of(referral_id: str, state: State, **values: Any) -> Referral:
    return Referral(referral_id, "ngo", "w", "her", Coarse(), NOON, NOON, state=state, **values)


def refer_leg(plan: Plan, key: str, state: State = State.SENT) -> Referral:
    """Returns a referral for a leg, as if read from the store."""
    referral = referral_of(
        f"for-{key}", state, receipt_id=f"receipt-{key}", receiver_organization_id=RECEIVERS[key]
    )
    plan.referrals[referral.id] = referral
    plan.set_step_state(key, REFERRED, NOON, referral=(referral.id, State.DRAFT))
    return referral


def move(plan: Plan, referral: Referral, state: State, outcome: str = "") -> None:
    referral.state = state
    if state is State.IN_PROGRESS:
        referral.first_contact_time = NOON
    plan.update_steps(referral.id, state, outcome, NOON)


def plan_before_travel() -> Plan:
    """Returns a plan with every step before the travel done."""
    plan = Plan.begin(
        "p", "her", "ngo", shipped_pathways()["return_and_reintegration"], "NI-CI", None, NOON
    )
    plan.set_step_state("risk_check", MET, NOON)
    plan.set_step_state("travel_papers", MET, NOON)
    return plan


def plan_with_referrals(state: State = State.ACCEPTED) -> tuple[Plan, dict[str, Referral]]:
    """Returns a plan with a referral in this state for each leg, and the referrals by step."""
    plan = plan_before_travel()
    return plan, {key: refer_leg(plan, key, state) for key in RECEIVERS}


def plan_under_way() -> tuple[Plan, dict[str, Referral]]:
    """Returns a plan whose legs are accepted and whose travel has begun, and its referrals."""
    plan, legs = plan_with_referrals()
    move(plan, legs["travel"], State.IN_PROGRESS)
    return plan, legs


@pytest.mark.parametrize(
    ("key", "state", "referral", "conflict"),
    [
        ("reception", MET, None, "step_waits travel"),
        ("reception", REFERRED, ("r", State.COMPLETED), "step_waits travel"),
        ("medical_check", REFERRED, ("r", State.SENT), "step_waits reception"),
    ],
)
def test_receivers_on_arrival_are_asked_before_the_departure_and_act_after_it(
    key: str, state: StepState, referral: tuple[str, State] | None, conflict: str
) -> None:
    plan = plan_before_travel()
    refer_leg(plan, "housing")
    assert (
        conflict_and_steps(lambda: plan.set_step_state(key, state, NOON, referral=referral))
        == conflict
    )


def test_only_the_referrals_of_legs_belong_to_a_leg() -> None:
    plan, legs = plan_with_referrals()
    plan.set_step_state("risk_check", REFERRED, NOON, referral=("another", State.SENT))
    assert all(plan.is_leg(referral.id) for referral in legs.values())
    assert not plan.is_leg("another")


@pytest.mark.parametrize("state", [state for state in State if state not in EXITS | {State.CLOSED}])
def test_the_departure_waits_until_every_later_leg_is_accepted(state: State) -> None:
    plan, legs = plan_with_referrals()
    legs["housing"].state = state
    if state in (State.ACCEPTED, State.IN_PROGRESS, State.COMPLETED):
        move(plan, legs["travel"], State.IN_PROGRESS)
        return
    for departure in (
        partial(move, plan, legs["travel"], State.IN_PROGRESS),
        partial(plan.set_step_state, "travel", MET, NOON),  # recorded by hand
        *(
            partial(plan.set_step_state, "travel", REFERRED, NOON, referral=("r", started_state))
            for started_state in (State.IN_PROGRESS, State.COMPLETED, State.CLOSED)
        ),
    ):
        assert conflict_and_steps(departure) == "legs_not_accepted housing"


def test_the_departure_waits_for_a_leg_without_a_referral_but_not_for_a_refused_leg() -> None:
    plan = plan_before_travel()
    departure = partial(move, plan, refer_leg(plan, "travel", State.ACCEPTED), State.IN_PROGRESS)
    assert conflict_and_steps(departure) == "legs_not_accepted reception housing"
    plan.set_step_state("reception", NOT_NEEDED, NOON, reason_code="has_it")
    plan.set_step_state("housing", REFUSED, NOON)
    departure()


def test_a_receiver_that_did_not_deliver_does_not_count_as_having_accepted() -> None:
    plan, legs = plan_with_referrals()
    move(plan, legs["reception"], State.NOT_DELIVERED)
    departure = partial(move, plan, legs["travel"], State.IN_PROGRESS)
    assert conflict_and_steps(departure) == "legs_not_accepted reception"


def test_a_receiver_that_is_suspended_does_not_count_as_having_accepted() -> None:
    plan, legs = plan_with_referrals()
    legs["reception"].note_standing("border", NOON, is_out=True)
    assert acting_organizations(plan) == ["travel", "reception ngo", "housing"]
    for departure in (
        partial(plan.update_steps, "for-travel", State.IN_PROGRESS, "", NOON),
        partial(plan.set_step_state, "travel", MET, NOON),
    ):
        assert conflict_and_steps(departure) == "legs_not_accepted reception"
    legs["reception"].note_standing("ngo", NOON, is_out=True)
    legs["reception"].note_standing("border", NOON, is_out=False)
    assert acting_organizations(plan) == ["travel mission", "reception", "housing"]
    move(plan, legs["travel"], State.IN_PROGRESS)


def test_a_reopened_travel_leg_does_not_check_the_later_legs_again() -> None:
    plan, legs = plan_under_way()
    move(plan, legs["travel"], State.COMPLETED, "fully_met")
    move(plan, legs["housing"], State.NOT_DELIVERED)
    move(plan, legs["travel"], State.IN_PROGRESS)  # reopened: no help came


def test_a_receiver_starts_after_the_departure_and_may_complete_before_the_travel_does() -> None:
    plan, legs = plan_with_referrals()
    start = partial(move, plan, legs["reception"], State.IN_PROGRESS)
    assert conflict_and_steps(start) == "step_waits travel"
    move(plan, legs["travel"], State.IN_PROGRESS)
    start()
    move(plan, legs["reception"], State.COMPLETED, "fully_met")
    assert plan.steps["reception"].state is MET


def test_a_person_lost_on_the_way_who_still_arrives_is_received() -> None:
    plan, legs = plan_under_way()
    assert plan.lost_leg([with_state(legs["travel"], State.NOT_DELIVERED)]) is legs["travel"]
    move(plan, legs["travel"], State.NOT_DELIVERED)
    assert acting_organizations(plan) == ["travel ngo", "reception border", "housing"]
    assert plan.lost_leg([with_state(legs["housing"], State.WITHDRAWN)]) is legs["housing"], (
        "she is still on her way"
    )
    legs["housing"].state = State.ACCEPTED
    move(plan, legs["reception"], State.IN_PROGRESS)
    # Another travel starts again only once all legs are accepted.
    legs["housing"].state = State.NOT_DELIVERED
    second_travel = referral_of("again", State.ACCEPTED, receipt_id="x")
    plan.referrals["again"] = second_travel
    plan.set_step_state("travel", REFERRED, NOON, referral=("again", State.ACCEPTED))
    departure = partial(move, plan, second_travel, State.IN_PROGRESS)
    assert conflict_and_steps(departure) == "legs_not_accepted housing"


def test_each_leg_needs_its_own_consent() -> None:
    plan, legs = plan_with_referrals(State.SENT)
    reception, housing = legs["reception"], legs["housing"]
    reception.receipt_id = housing.receipt_id
    assert (
        conflict_and_steps(lambda: plan.check_own_receipt(reception))
        == "receipt_of_another_leg housing"
    )
    for states in ((State.SENT, State.CLOSED), (State.DRAFT, State.SENT)):
        reception.state, housing.state = states
        plan.check_own_receipt(reception)
    plan.check_own_receipt(referral_of("other", State.SENT, receipt_id=housing.receipt_id))


def test_one_referral_cannot_stand_for_two_legs() -> None:
    plan = plan_before_travel()
    referral = refer_leg(plan, "reception")
    plan.set_step_state("housing", REFERRED, NOON, referral=(referral.id, State.SENT))
    assert (
        conflict_and_steps(lambda: plan.check_own_receipt(referral))
        == "receipt_of_another_leg housing"
    )


@pytest.mark.parametrize("end_state", [state for state in State if state in EXITS])
def test_a_leg_that_ends_during_the_travel_is_reported_as_lost(end_state: State) -> None:
    plan, legs = plan_with_referrals()
    travel, housing = legs["travel"], legs["housing"]
    assert plan.lost_leg([with_state(housing, end_state)]) is None, "she has not left yet"
    housing.state = State.ACCEPTED
    move(plan, travel, State.IN_PROGRESS)
    assert plan.lost_leg([housing]) is None, "the leg has not ended"
    assert plan.lost_leg([with_state(housing, end_state)]) is housing
    assert plan.lost_leg([with_state(travel, end_state), housing]) is travel, (
        "only the first of several is reported"
    )


def with_state(referral: Referral, state: State) -> Referral:
    """Sets the state of a referral, and returns the referral."""
    referral.state = state
    return referral


@pytest.mark.parametrize(
    ("arrived_keys", "ended_key", "is_lost"),
    [
        (["reception", "housing"], "reception", False),
        (["reception", "housing"], "housing", False),
        (["housing"], "housing", True),  # the travel goes on to the reception
    ],
)
def test_a_leg_is_reported_as_lost_until_the_person_has_arrived_everywhere(
    arrived_keys: list[str], ended_key: str, is_lost: bool
) -> None:
    plan, legs = plan_under_way()
    for key in arrived_keys:
        move(plan, legs[key], State.IN_PROGRESS)
    lost_leg = plan.lost_leg([with_state(legs[ended_key], State.NOT_DELIVERED)])
    assert lost_leg is (legs[ended_key] if is_lost else None)


def test_no_leg_is_reported_as_lost_if_the_travel_is_marked_as_not_needed() -> None:
    plan = plan_before_travel()
    plan.set_step_state("travel", NOT_NEEDED, NOON, reason_code="done_elsewhere")
    housing = refer_leg(plan, "housing", State.ACCEPTED)
    assert plan.lost_leg([with_state(housing, State.NOT_DELIVERED)]) is None


def acting_organizations(plan: Plan) -> list[str]:
    """Returns each leg with the organisation that takes its next step, if there is one."""
    return [
        f"{link.step.key} {link.acting_organization_id}".strip() for link in whole_chain(plan, {})
    ]


def test_the_chain_names_the_organisation_that_takes_the_next_step_of_each_leg() -> None:
    plan = plan_before_travel()
    assert acting_organizations(plan) == ["travel ngo", "reception ngo", "housing ngo"]
    legs = {key: refer_leg(plan, key) for key in RECEIVERS}
    assert acting_organizations(plan) == ["travel mission", "reception border", "housing shelter"]
    for key in ("travel", "housing"):
        move(plan, legs[key], State.ACCEPTED)
    assert acting_organizations(plan) == ["travel", "reception border", "housing"], (
        "the other receivers have accepted and wait for the border"
    )
    assert [list(link.waits_for_keys) for link in whole_chain(plan, {})] == [["reception"], [], []]
    move(plan, legs["reception"], State.ACCEPTED)
    assert acting_organizations(plan) == ["travel mission", "reception", "housing"]
    move(plan, legs["travel"], State.IN_PROGRESS)
    assert acting_organizations(plan) == ["travel mission", "reception border", "housing"]
    move(plan, legs["travel"], State.COMPLETED, "fully_met")
    move(plan, legs["reception"], State.IN_PROGRESS)
    assert acting_organizations(plan) == ["travel", "reception border", "housing shelter"]
    move(plan, legs["housing"], State.NOT_DELIVERED)
    assert acting_organizations(plan) == ["travel", "reception border", "housing ngo"]
    plan.close("contact_lost", NOON)
    assert acting_organizations(plan) == ["travel", "reception", "housing"]


def test_a_receiver_sees_its_own_leg_and_its_neighbours() -> None:
    plan, legs = plan_with_referrals()
    assert [link.country for link in whole_chain(plan, {"shelter": "NI"})] == ["", "", "NI"]

    def visible_legs(key: str) -> list[str]:
        return [link.step.key for link in leg_with_neighbours(whole_chain(plan, {}), legs[key].id)]

    assert {key: visible_legs(key) for key in legs} == {
        "travel": ["travel", "reception"],
        "reception": ["travel", "reception", "housing"],
        "housing": ["reception", "housing"],
    }
    plan.set_step_state("reception", REFUSED, NOON)
    assert visible_legs("travel") == ["travel", "housing"], "the two legs are neighbours now"
    assert visible_legs("reception") == []
