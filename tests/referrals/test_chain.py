"""The legs of a hand-over across borders.

The tests cover how a pathway declares legs, the conditions of the departure, a consent for each
leg, legs that are lost on the way, and the organisation that acts next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chassis.errors import Conflict
from services.referrals.files.domain.person import Coarse
from services.referrals.plans.domain.chain import leg_with_neighbours, whole_chain
from services.referrals.plans.domain.pathway import LegKind, Pathway, read
from services.referrals.plans.domain.plan import Plan, StepState
from services.referrals.plans.usecases.pathways import LISTS, parse, shipped_pathways
from services.referrals.referrals.domain.lifecycle import EXITS, State
from services.referrals.referrals.domain.referral import Referral
from tests.builders import NOON, violations_of

OPEN, REFERRED, MET, NOT_NEEDED, REFUSED = StepState
STEP = (
    "  - {{key: {0}, names: {{es: a, en: b, fr: c}}, need: HOU, role: shelter, legal_basis:"
    " [coe_12]{1}}}\n"
)
HEAD = "id: short\nversion: 1\nnames: {es: Corta, en: Short, fr: Courte}\nsteps:\n"
WHO = {"travel": "mission", "reception": "border", "housing": "shelter"}


def pathway_of(*steps: tuple[str, str]) -> Pathway:
    text = HEAD + "".join(STEP.format(*step) for step in steps)
    return read(parse(text), LISTS, text)


@pytest.mark.parametrize(
    ("steps", "wrong"),
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
    steps: list[tuple[str, str]], wrong: tuple[str, str]
) -> None:
    assert wrong in violations_of(lambda: pathway_of(*steps))


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


def refer_leg(plan: Plan, key: str, state: State = State.SENT, **values: Any) -> Referral:
    """Returns a referral for a leg, as if read from the store."""
    values = {"receipt_id": f"receipt-{key}", "receiver_organization_id": WHO[key]} | values
    referral = Referral(
        f"for-{key}", "ngo", "w", "her", Coarse(), NOON, NOON, state=state, **values
    )
    plan.referrals[referral.id] = referral
    plan.take(key, REFERRED, NOON, referral=(referral.id, State.DRAFT))
    return referral


def move(plan: Plan, referral: Referral, state: State, outcome: str = "") -> None:
    referral.state = state
    if state is State.IN_PROGRESS:
        referral.first_contact_time = NOON
    plan.follow(referral.id, state, outcome, NOON)


def begun_plan() -> Plan:
    """Returns a plan with every step before the travel done."""
    plan = Plan.begin(
        "p", "her", "ngo", shipped_pathways()["return_and_reintegration"], "NI-CI", None, NOON
    )
    plan.take("risk_check", MET, NOON)
    plan.take("travel_papers", MET, NOON)
    return plan


def plan_with_referrals(state: State = State.ACCEPTED) -> tuple[Plan, dict[str, Referral]]:
    """Returns a plan with a referral in this state for each leg, and the referrals by step."""
    plan = begun_plan()
    return plan, {key: refer_leg(plan, key, state) for key in WHO}


def conflict_of(act: Callable[[], Any]) -> str:
    with pytest.raises(Conflict) as caught:
        act()
    return " ".join([caught.value.reason, *caught.value.about])


def test_receivers_on_arrival_are_asked_before_the_departure_and_act_after_it() -> None:
    plan = begun_plan()
    refer_leg(plan, "housing")
    assert conflict_of(lambda: plan.take("reception", MET, NOON)) == "step_waits travel"
    assert (
        conflict_of(lambda: plan.take("reception", REFERRED, NOON, referral=("r", State.COMPLETED)))
        == "step_waits travel"
    )
    assert (
        conflict_of(lambda: plan.take("medical_check", REFERRED, NOON, referral=("r", State.SENT)))
        == "step_waits reception"
    )


def test_only_the_referrals_of_legs_belong_to_a_leg() -> None:
    plan, by = plan_with_referrals()
    plan.take("risk_check", REFERRED, NOON, referral=("another", State.SENT))
    assert all(plan.is_leg(referral.id) for referral in by.values())
    assert not plan.is_leg("another")


@pytest.mark.parametrize("state", [state for state in State if state not in EXITS | {State.CLOSED}])
def test_the_departure_waits_until_every_later_leg_is_accepted(state: State) -> None:
    plan, by = plan_with_referrals()
    by["housing"].state = state
    if state in (State.ACCEPTED, State.IN_PROGRESS, State.COMPLETED):
        move(plan, by["travel"], State.IN_PROGRESS)
        return
    assert (
        conflict_of(lambda: move(plan, by["travel"], State.IN_PROGRESS))
        == "legs_not_accepted housing"
    )
    assert conflict_of(lambda: plan.take("travel", MET, NOON)) == "legs_not_accepted housing", (
        "nor can anybody record the departure by hand"
    )
    for begun_already in (State.IN_PROGRESS, State.COMPLETED, State.CLOSED):
        assert (
            conflict_of(lambda: plan.take("travel", REFERRED, NOON, referral=("r", begun_already)))  # noqa: B023
            == "legs_not_accepted housing"
        )


def test_the_departure_waits_for_a_leg_without_a_referral_but_not_for_a_refused_one() -> None:
    plan = begun_plan()
    travel = refer_leg(plan, "travel", State.ACCEPTED)
    assert (
        conflict_of(lambda: move(plan, travel, State.IN_PROGRESS))
        == "legs_not_accepted reception housing"
    )
    plan.take("reception", NOT_NEEDED, NOON, reason_code="has_it")
    plan.take("housing", REFUSED, NOON)
    move(plan, travel, State.IN_PROGRESS)


def test_a_receiver_that_did_not_deliver_does_not_count_as_having_accepted() -> None:
    plan, by = plan_with_referrals()
    move(plan, by["reception"], State.NOT_DELIVERED)
    assert (
        conflict_of(lambda: move(plan, by["travel"], State.IN_PROGRESS))
        == "legs_not_accepted reception"
    )


def test_a_receiver_that_is_suspended_does_not_count_as_having_accepted() -> None:
    plan, by = plan_with_referrals()
    by["reception"].note_standing("border", NOON, out=True)
    assert acting_organizations(plan) == ["travel", "reception ngo", "housing"]
    for act in (
        lambda: plan.follow("for-travel", State.IN_PROGRESS, "", NOON),
        lambda: plan.take("travel", MET, NOON),
    ):
        assert conflict_of(act) == "legs_not_accepted reception"
    by["reception"].note_standing("ngo", NOON, out=True)
    by["reception"].note_standing("border", NOON, out=False)
    assert acting_organizations(plan) == ["travel mission", "reception", "housing"]
    move(plan, by["travel"], State.IN_PROGRESS)


def test_a_reopened_travel_leg_does_not_check_the_later_legs_again() -> None:
    plan, by = plan_with_referrals()
    move(plan, by["travel"], State.IN_PROGRESS)
    move(plan, by["travel"], State.COMPLETED, "fully_met")
    move(plan, by["housing"], State.NOT_DELIVERED)
    move(plan, by["travel"], State.IN_PROGRESS)  # reopened: no help came


def test_no_receiver_starts_before_the_departure() -> None:
    plan, by = plan_with_referrals(State.ACCEPTED)
    assert (
        conflict_of(lambda: plan.follow("for-reception", State.IN_PROGRESS, "", NOON))
        == "step_waits travel"
    )
    move(plan, by["travel"], State.IN_PROGRESS)
    move(plan, by["reception"], State.IN_PROGRESS)
    move(plan, by["reception"], State.COMPLETED, "fully_met")
    assert plan.steps["reception"].state is MET, "even though the travel is not completed yet"


def test_a_person_lost_on_the_way_who_still_arrives_is_received() -> None:
    plan, by = plan_with_referrals(State.ACCEPTED)
    move(plan, by["travel"], State.IN_PROGRESS)
    assert plan.lost_leg([with_state(by["travel"], State.NOT_DELIVERED)]) is by["travel"]
    move(plan, by["travel"], State.NOT_DELIVERED)
    assert acting_organizations(plan) == ["travel ngo", "reception border", "housing"]
    assert plan.lost_leg([with_state(by["housing"], State.WITHDRAWN)]) is by["housing"], (
        "she is still on her way"
    )
    by["housing"].state = State.ACCEPTED
    move(plan, by["reception"], State.IN_PROGRESS)
    # Another travel starts again only once all legs are accepted.
    by["housing"].state = State.NOT_DELIVERED
    again = Referral(
        "again", "ngo", "w", "her", Coarse(), NOON, NOON, state=State.ACCEPTED, receipt_id="x"
    )
    plan.referrals["again"] = again
    plan.take("travel", REFERRED, NOON, referral=("again", State.ACCEPTED))
    assert conflict_of(lambda: move(plan, again, State.IN_PROGRESS)) == "legs_not_accepted housing"


def test_each_leg_needs_its_own_consent() -> None:
    plan, by = plan_with_referrals(State.SENT)
    by["reception"].receipt_id = by["housing"].receipt_id
    assert (
        conflict_of(lambda: plan.check_own_receipt(by["reception"]))
        == "receipt_of_another_leg housing"
    )
    by["housing"].state = State.CLOSED
    plan.check_own_receipt(by["reception"])
    by["housing"].state, by["reception"].state = State.SENT, State.DRAFT
    plan.check_own_receipt(by["reception"])
    other = Referral(
        "other",
        "ngo",
        "w",
        "her",
        Coarse(),
        NOON,
        NOON,
        state=State.SENT,
        receipt_id=by["housing"].receipt_id,
    )
    plan.check_own_receipt(other)  # a referral that stands for no leg


def test_one_referral_cannot_stand_for_two_legs() -> None:
    plan = begun_plan()
    referral = refer_leg(plan, "reception")
    plan.take("housing", REFERRED, NOON, referral=(referral.id, State.SENT))
    assert conflict_of(lambda: plan.check_own_receipt(referral)) == "receipt_of_another_leg housing"


@pytest.mark.parametrize("end_state", [state for state in State if state in EXITS])
def test_a_leg_that_ends_during_the_travel_is_reported_as_lost(end_state: State) -> None:
    plan, by = plan_with_referrals()
    assert plan.lost_leg([with_state(by["housing"], end_state)]) is None, "she has not left yet"
    by["housing"].state = State.ACCEPTED
    move(plan, by["travel"], State.IN_PROGRESS)
    assert plan.lost_leg([by["housing"]]) is None, "the leg has not ended"
    assert plan.lost_leg([with_state(by["housing"], end_state)]) is by["housing"]
    assert plan.lost_leg([with_state(by["travel"], end_state), by["housing"]]) is by["travel"], (
        "only the first of several is reported"
    )


def with_state(referral: Referral, state: State) -> Referral:
    referral.state = state
    return referral


def test_no_leg_is_reported_as_lost_after_the_arrival() -> None:
    plan, by = plan_with_referrals()
    move(plan, by["travel"], State.IN_PROGRESS)
    move(plan, by["reception"], State.IN_PROGRESS)
    move(plan, by["housing"], State.IN_PROGRESS)
    assert plan.lost_leg([with_state(by["reception"], State.NOT_DELIVERED)]) is None
    assert plan.lost_leg([with_state(by["housing"], State.NOT_DELIVERED)]) is None


def test_one_started_arrival_does_not_end_the_travel_while_another_is_open() -> None:
    plan, by = plan_with_referrals()
    move(plan, by["travel"], State.IN_PROGRESS)
    move(plan, by["housing"], State.IN_PROGRESS)
    assert plan.lost_leg([with_state(by["housing"], State.NOT_DELIVERED)]) is by["housing"]


def test_a_travel_leg_marked_as_not_needed_means_that_nobody_is_travelling() -> None:
    plan, by = begun_plan(), dict[str, Referral]()
    plan.take("travel", NOT_NEEDED, NOON, reason_code="done_elsewhere")
    by["housing"] = refer_leg(plan, "housing", State.ACCEPTED)
    assert plan.lost_leg([with_state(by["housing"], State.NOT_DELIVERED)]) is None


def acting_organizations(plan: Plan) -> list[str]:
    return [
        f"{link.step.key} {link.acting_organization_id}".strip() for link in whole_chain(plan, {})
    ]


def test_the_chain_names_the_organisation_that_takes_the_next_step_of_each_leg() -> None:
    plan = begun_plan()
    assert acting_organizations(plan) == ["travel ngo", "reception ngo", "housing ngo"]
    by = {key: refer_leg(plan, key) for key in WHO}
    assert acting_organizations(plan) == ["travel mission", "reception border", "housing shelter"]
    for text in ("travel", "housing"):
        move(plan, by[text], State.ACCEPTED)
    assert acting_organizations(plan) == ["travel", "reception border", "housing"], (
        "the other receivers have accepted and wait for the border"
    )
    assert [list(link.waits_for_keys) for link in whole_chain(plan, {})] == [["reception"], [], []]
    move(plan, by["reception"], State.ACCEPTED)
    assert acting_organizations(plan) == ["travel mission", "reception", "housing"]
    move(plan, by["travel"], State.IN_PROGRESS)
    assert acting_organizations(plan) == ["travel mission", "reception border", "housing"]
    move(plan, by["travel"], State.COMPLETED, "fully_met")
    move(plan, by["reception"], State.IN_PROGRESS)
    assert acting_organizations(plan) == ["travel", "reception border", "housing shelter"]
    move(plan, by["housing"], State.NOT_DELIVERED)
    assert acting_organizations(plan) == ["travel", "reception border", "housing ngo"]
    plan.close("contact_lost", NOON)
    assert acting_organizations(plan) == ["travel", "reception", "housing"]


def test_a_receiver_sees_its_own_leg_and_its_neighbours() -> None:
    plan, by = plan_with_referrals()
    links = whole_chain(plan, {"shelter": "NI"})
    assert [link.country for link in links] == ["", "", "NI"]
    seen = {
        key: [link.step.key for link in leg_with_neighbours(links, referral.id)]
        for key, referral in by.items()
    }
    assert seen == {
        "travel": ["travel", "reception"],
        "reception": ["travel", "reception", "housing"],
        "housing": ["reception", "housing"],
    }
    plan.take("reception", REFUSED, NOON)
    assert [link.step.key for link in leg_with_neighbours(whole_chain(plan, {}), "for-travel")] == [
        "travel",
        "housing",
    ], "no leg is between them"
    assert leg_with_neighbours(whole_chain(plan, {}), "for-reception") == []
