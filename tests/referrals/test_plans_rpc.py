"""The rpcs of plans.

The tests cover the callers that see a plan, refusals, the referrals of its steps, and the end of a
plan when the person withdraws her consent.
"""

from datetime import timedelta
from functools import partial
from typing import Any, cast

import grpc
import pytest

from chassis.errors import Conflict
from protos.referrals.v1 import people_pb2
from protos.referrals.v1 import plans_pb2 as pb
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import refusal_of
from services.referrals.plans.usecases.pathways import SHIPPED
from tests.builders import NOON, NOT_FOUND, refusal, wrong_fields
from tests.referrals.conftest import ORG, Client, Service, Story
from tests.referrals.test_contacts import completed
from tests.referrals.test_withdrawal import run_concurrently

MET, OPEN, REFERRED = pb.PLAN_STEP_STATE_MET, pb.PLAN_STEP_STATE_OPEN, pb.PLAN_STEP_STATE_REFERRED
DAY = timedelta(days=1)


def begin_plan(
    story: Story, pathway: str = "protection_on_the_line", person: people_pb2.Person | None = None
) -> pb.Plan:
    plan: pb.Plan = story.ngo.CreatePlan(
        person_id=(person or story.person()).id, pathway_id=pathway, request_id=story.request_id()
    )
    return plan


def update(client: Client, plan: pb.Plan, key: str, state: Any, **values: Any) -> pb.Plan:
    changed: pb.Plan = client.UpdatePlanStep(
        id=plan.id, etag=plan.etag, step_key=key, state=state, **values
    )
    return changed


def close(client: Client, plan: pb.Plan, reason: Any = pb.PLAN_CLOSE_REASON_FULFILLED) -> pb.Plan:
    return cast(pb.Plan, client.ClosePlan(id=plan.id, etag=plan.etag, reason_code=reason))


def current_plan(story: Story, plan: pb.Plan) -> pb.Plan:
    return cast(pb.Plan, story.ngo.GetPlan(id=plan.id))


def step_of(plan: pb.Plan, key: str) -> pb.PlanStep:
    return next(step for step in plan.steps if step.key == key)


def state_of(story: Story, plan: pb.Plan, key: str = "shelter") -> Any:
    """Returns the present state of a step of the plan."""
    return step_of(current_plan(story, plan), key).state


def person(plan: pb.Plan) -> people_pb2.Person:
    return people_pb2.Person(id=plan.person_id)


def refer_to_shelter(story: Story, plan: pb.Plan) -> tuple[pb.Plan, r.Referral]:
    """Settles the step of the safety plan, and sends a referral for the shelter step."""
    plan = update(story.ngo, plan, "safety_plan", MET)
    referral = story.sent(person=person(plan))
    return update(story.ngo, plan, "shelter", REFERRED, referral_id=referral.id), referral


def test_a_plan_shows_its_pathway_with_steps_due_times_and_the_steps_that_they_wait_for(
    story: Story,
) -> None:
    plan = begin_plan(story)
    assert (plan.pathway.id, plan.pathway.version, plan.latest_version, plan.pathway.text) == (
        "protection_on_the_line",
        1,
        1,
        "",
    )
    assert [step.key for step in plan.steps] == [step.key for step in plan.pathway.steps]
    assert (
        step_of(plan, "safety_plan").due_time.ToDatetime(NOON.tzinfo)
        == NOON + timedelta(hours=1)
        == plan.next_due_time.ToDatetime(NOON.tzinfo)
    )
    assert step_of(plan, "shelter").waits_for_keys == ["safety_plan"]
    assert not step_of(plan, "safe_house").HasField("due_time")
    assert current_plan(story, plan) == plan
    assert list(story.ngo.ListPlans(person_id=plan.person_id).plans) == [plan]


def test_a_plan_may_start_before_it_is_recorded(story: Story) -> None:
    create = partial(
        story.ngo.CreatePlan, person_id=story.person().id, pathway_id="sexual_violence_120h"
    )
    assert wrong_fields(lambda: create(start_time=NOON + DAY)) == [("start_time", "out_of_range")]
    plan = create(start_time=NOON - timedelta(hours=70))
    assert step_of(plan, "care_72h").due_time.ToDatetime(NOON.tzinfo) == NOON + timedelta(hours=2)
    assert step_of(plan, "safety").late


def test_other_organisations_cannot_find_a_plan(story: Story, service: Service) -> None:
    plan, _ = refer_to_shelter(
        story, begin_plan(story)
    )  # the shelter sees the file of a sent referral
    story.shelter.GetPerson(id=plan.person_id)
    strangers = [
        story.shelter,
        service.as_("clinic", "WORKER"),
        service.as_("shelter", scopes=("people.read",)),
    ]
    for stranger in strangers:
        assert refusal(partial(stranger.GetPlan, id=plan.id)) == NOT_FOUND
        assert refusal(partial(stranger.ListPlans, person_id=plan.person_id)) == NOT_FOUND
    for act in (
        lambda: update(story.shelter, plan, "way_out", MET),
        lambda: close(story.shelter, plan),
        lambda: story.shelter.MovePlan(id=plan.id, etag=plan.etag, version=2),
        lambda: story.shelter.CreatePlan(person_id=plan.person_id, pathway_id="child"),
    ):
        assert refusal(act) == NOT_FOUND
    assert refusal(lambda: story.coordinator.GetPlan(id=plan.id)) == (
        "PERMISSION_DENIED",
        "right_missing",
    )
    assert current_plan(story, plan) == plan
    service.clock.set(NOON + timedelta(hours=13))
    for client in (story.ngo, *strangers):
        late_plans = {step.plan_id for step in client.ListLateSteps(page_size=200).steps}
        assert (plan.id in late_plans) == (client is story.ngo)


def test_a_refused_step_names_the_steps_to_be_settled_first(story: Story) -> None:
    plan = begin_plan(story)
    with pytest.raises(grpc.RpcError) as caught:
        update(story.ngo, plan, "shelter", MET)
    received = refusal_of(caught.value)  # as the gateway reads it
    assert isinstance(received, Conflict)
    assert (received.reason, received.about) == ("step_waits", ("safety_plan",))
    assert current_plan(story, plan) == plan


def test_the_refusal_of_a_change_of_a_plan_names_its_invalid_field_and_changes_nothing(
    story: Story,
) -> None:
    plan = begin_plan(story)
    consent_withdrawn = pb.PLAN_CLOSE_REASON_CONSENT_WITHDRAWN
    for act, violation in (
        (lambda: update(story.ngo, plan, "safety_plan", REFERRED), ("referral_id", "required")),
        (lambda: update(story.ngo, plan, "safety_plan", 0), ("state", "required")),
        (
            lambda: story.ngo.CreatePlan(person_id=plan.person_id, pathway_id="nothing"),
            ("pathway_id", "unknown_code"),
        ),
        # only the service itself ends a plan for this reason
        (lambda: close(story.ngo, plan, consent_withdrawn), ("reason_code", "unknown_code")),
        (
            lambda: story.ngo.MovePlan(id=plan.id, etag=plan.etag, version=7),
            ("version", "out_of_range"),
        ),
    ):
        assert wrong_fields(act) == [violation]
    assert refusal(lambda: update(story.ngo, plan, "nothing", MET)) == NOT_FOUND
    assert current_plan(story, plan) == plan


def test_only_a_live_referral_of_the_same_person_and_organisation_stands_for_a_step(
    story: Story,
) -> None:
    plan = update(story.ngo, begin_plan(story), "safety_plan", MET)
    ended_referral = story.sent(person=person(plan))
    story.ngo.WithdrawReferral(
        id=ended_referral.id, etag=ended_referral.etag, reason_code=r.WITHDRAW_REASON_MOVED
    )
    refer = partial(update, story.ngo, plan, "shelter", REFERRED)
    for referral_id, expected in (
        (story.sent().id, NOT_FOUND),
        ("f" * 32, NOT_FOUND),
        (ended_referral.id, ("FAILED_PRECONDITION", "illegal_transition")),
    ):
        assert refusal(partial(refer, referral_id=referral_id)) == expected
    changed_plan = refer(referral_id=story.draft(person=person(plan)).id)
    assert step_of(changed_plan, "shelter").state == REFERRED


def test_completed_help_meets_a_step_and_a_no_from_the_person_reopens_it(story: Story) -> None:
    plan, referral = refer_to_shelter(story, begin_plan(story))
    completed_referral = completed(story, referral)
    met_plan = current_plan(story, plan)
    step = step_of(met_plan, "shelter")
    assert (step.state, step.referral_id) == (MET, referral.id)
    assert met_plan.etag != plan.etag
    assert step_of(met_plan, "first_aid").waits_for_keys == []
    reopened = story.ngo.CloseReferral(
        id=referral.id, etag=completed_referral.etag, help_came_code=r.HELP_CAME_NO
    )
    assert state_of(story, plan) == REFERRED
    story.shelter.CompleteReferral(
        id=referral.id, etag=reopened.etag, outcome_code=r.OUTCOME_PARTLY_MET
    )
    assert state_of(story, plan) == MET


def test_a_decline_reopens_a_step_and_a_referral_sent_in_its_place_stands_for_the_step(
    story: Story,
) -> None:
    plan, referral = refer_to_shelter(story, begin_plan(story))
    story.decline(referral)
    assert state_of(story, plan) == OPEN
    other_draft = story.draft(person(plan), based_on_id=referral.id, need_code="RET.REC")
    story.send(other_draft, purposes=["RET"])
    assert state_of(story, plan) == OPEN, "a referral for another need does not stand for the step"
    following = story.sent(person=person(plan), based_on_id=referral.id)
    step = step_of(current_plan(story, plan), "shelter")
    assert (step.state, step.referral_id) == (REFERRED, following.id)
    completed(story, following)
    assert state_of(story, plan) == MET


def test_a_step_that_was_settled_or_referred_again_keeps_its_state_when_another_referral_is_sent(
    story: Story,
) -> None:
    plan, referral = refer_to_shelter(story, begin_plan(story))
    story.decline(referral)
    other = story.sent(person=person(plan))
    update(story.ngo, current_plan(story, plan), "shelter", REFERRED, referral_id=other.id)
    story.sent(person=person(plan), based_on_id=referral.id)
    assert step_of(current_plan(story, plan), "shelter").referral_id == other.id


def test_linking_a_completed_referral_meets_the_step_at_once(story: Story) -> None:
    plan = update(story.ngo, begin_plan(story), "safety_plan", MET)
    referral = story.sent(person=person(plan))
    completed(story, referral)
    update(story.ngo, plan, "shelter", REFERRED, referral_id=referral.id)
    assert state_of(story, plan) == MET


def test_a_plan_is_changed_only_with_its_current_etag(story: Story) -> None:
    plan = begin_plan(story)
    newer = update(story.ngo, plan, "safety_plan", MET)
    for act in (
        lambda: update(story.ngo, plan, "way_out", MET),
        lambda: story.ngo.MovePlan(id=plan.id, etag=plan.etag, version=2),
        lambda: close(story.ngo, plan),
    ):
        assert refusal(act) == ("ABORTED", "stale_etag")
    assert current_plan(story, plan) == newer


def test_only_one_of_several_concurrent_changes_of_a_plan_succeeds(story: Story) -> None:
    person = story.person()
    begin = partial(begin_plan, story, person=person)
    assert sorted(run_concurrently(*[begin] * 4)) == ["OK", *["plan_exists"] * 3]
    plan = story.ngo.ListPlans(person_id=person.id).plans[0]
    settle = partial(update, story.ngo, plan, "safety_plan")
    states = (MET, pb.PLAN_STEP_STATE_REFUSED_BY_PERSON) * 2
    settlings = [partial(settle, state) for state in states]
    assert sorted(run_concurrently(*settlings)) == ["OK", *["stale_etag"] * 3]


def test_linking_a_step_to_a_referral_misses_no_concurrent_completion(story: Story) -> None:
    for _ in range(5):
        plan = update(story.ngo, begin_plan(story), "safety_plan", MET)
        referral = story.sent(person=person(plan))
        link = partial(update, story.ngo, plan, "shelter", REFERRED, referral_id=referral.id)
        assert run_concurrently(link, partial(completed, story, referral)) == ["OK", "OK"]
        assert state_of(story, plan) == MET


def test_a_repeated_request_begins_one_plan(story: Story) -> None:
    request = pb.CreatePlanRequest(
        person_id=story.child().id, pathway_id="child", request_id=story.request_id()
    )
    assert story.ngo.CreatePlan(request) == story.ngo.CreatePlan(request)
    request.request_id = story.request_id()
    assert refusal(lambda: story.ngo.CreatePlan(request)) == ("FAILED_PRECONDITION", "plan_exists")


def test_a_running_plan_keeps_its_version_until_somebody_moves_it(story: Story) -> None:
    plan = update(story.ngo, begin_plan(story, "sexual_violence_120h"), "first_aid", MET)
    text = (
        (SHIPPED / "sexual_violence_120h.yaml")
        .read_text()
        .replace("version: 1", "version: 2")
        .replace("key: counselling", "key: therapy")
    )
    story.coordinator.PublishPathway(text=text)
    stored = current_plan(story, plan)
    assert (stored.pathway.version, stored.latest_version, stored.steps) == (1, 2, plan.steps)
    assert begin_plan(story, "sexual_violence_120h").pathway.version == 2
    moved_plan = story.ngo.MovePlan(id=plan.id, etag=stored.etag, version=2)
    therapy = step_of(moved_plan, "therapy")
    assert (moved_plan.pathway.version, step_of(moved_plan, "first_aid").state, therapy.state) == (
        2,
        MET,
        OPEN,
    )
    assert therapy.due_time.ToDatetime(NOON.tzinfo) == NOON + 14 * DAY
    assert current_plan(story, plan) == moved_plan


def test_a_closed_plan_cannot_be_changed_and_another_may_begin(story: Story) -> None:
    plan = begin_plan(story)
    closed = close(story.ngo, plan, pb.PLAN_CLOSE_REASON_CONTACT_LOST)
    assert closed.close_reason_code == pb.PLAN_CLOSE_REASON_CONTACT_LOST
    for change in (
        lambda: update(story.ngo, closed, "safety_plan", MET),
        lambda: story.ngo.MovePlan(id=plan.id, etag=closed.etag, version=1),
        lambda: close(story.ngo, closed),
        lambda: update(story.ngo, plan, "safety_plan", MET),
        lambda: close(story.ngo, plan),
    ):
        assert refusal(change) == ("FAILED_PRECONDITION", "plan_closed")
    assert begin_plan(story, person=person(plan)).id != plan.id


@pytest.mark.parametrize("age_band", [r.AGE_BAND_12_TO_17, r.AGE_BAND_UNSPECIFIED])
def test_a_childs_plan_ends_when_two_people_give_the_same_reason(
    age_band: r.AgeBand.ValueType, story: Story, service: Service
) -> None:
    plan = begin_plan(
        story, "child", story.ngo.CreatePerson(coarse=r.CoarsePerson(age_band=age_band))
    )
    fulfilled, contact_lost = pb.PLAN_CLOSE_REASON_FULFILLED, pb.PLAN_CLOSE_REASON_CONTACT_LOST
    key = service.as_("ngo", scopes=("people.write", "people.read"))
    second_person_required = ("FAILED_PRECONDITION", "second_person_required")
    assert refusal(partial(close, key, plan)) == second_person_required
    proposal = close(story.ngo, plan)
    assert not proposal.HasField("close_time")
    assert (proposal.close_proposed_reason_code, proposal.close_proposed_by_worker_id) == (
        fulfilled,
        story.ngo.caller.id,
    )
    for client in (story.ngo, key):
        assert refusal(partial(close, client, proposal)) == second_person_required
    # The second person proposes another reason, which the first person has to confirm.
    second_proposal = close(service.as_("ngo", "WORKER", "OPERATOR"), proposal, contact_lost)
    assert not second_proposal.HasField("close_time")
    assert close(story.ngo, second_proposal, contact_lost).close_reason_code == contact_lost


def test_late_steps_are_listed_for_the_organisation_by_page_and_leave_the_list_when_settled(
    story: Story, service: Service
) -> None:
    client = service.as_("police", "WORKER")
    person = client.CreatePerson(coarse=r.CoarsePerson(age_band=r.AGE_BAND_25_TO_59))
    plan = client.CreatePlan(person_id=person.id, pathway_id="protection_on_the_line")
    assert not client.ListLateSteps().steps
    service.clock.set(NOON + timedelta(hours=13))
    page = client.ListLateSteps(page_size=3)
    steps = [
        *page.steps,
        *client.ListLateSteps(page_size=3, page_token=page.next_page_token).steps,
    ]
    assert [step.key for step in steps] == ["safety_plan", "way_out", "medical_care", "shelter"]
    assert (steps[0].plan_id, steps[0].person_code, steps[0].names["es"]) == (
        plan.id,
        person.code,
        "Plan de seguridad en la llamada",
    )
    late_keys = [step.key for step in client.GetPlan(id=plan.id).steps if step.late]
    assert late_keys == ["safety_plan", "way_out", "shelter", "medical_care"]
    changed_plan = update(client, plan, "safety_plan", pb.PLAN_STEP_STATE_REFUSED_BY_PERSON)
    listed_keys = [step.key for step in client.ListLateSteps().steps]
    assert listed_keys == ["way_out", "medical_care", "shelter"]
    close(client, changed_plan, pb.PLAN_CLOSE_REASON_PERSON_ENDED)
    assert not client.ListLateSteps().steps


def test_the_plan_ends_only_when_the_person_withdraws_her_last_consent(story: Story) -> None:
    plan, referral = refer_to_shelter(story, begin_plan(story))
    other_receipt = story.receipt(plan.person_id, recipient=ORG["clinic"])
    # the person withdrew at the shelter
    story.shelter.WithdrawReceipt(id=referral.receipt_id)
    assert state_of(story, plan) == OPEN
    assert not current_plan(story, plan).HasField("close_time")
    story.ngo.WithdrawReceipt(id=other_receipt.id)
    ended_plan = current_plan(story, plan)
    assert (ended_plan.HasField("close_time"), ended_plan.close_reason_code) == (
        True,
        pb.PLAN_CLOSE_REASON_CONSENT_WITHDRAWN,
    )


def test_the_plan_ends_when_the_person_withdraws_by_her_reference(
    story: Story, service: Service
) -> None:
    created, operator = story.contact(), service.as_("hotline", "OPERATOR")
    person = operator.CreatePerson(contact_id=created.contact.id)
    plan = operator.CreatePlan(person_id=person.id, pathway_id="child")
    service.public().WithdrawConsentByReference(reference=created.reference, pin=created.pin)
    assert operator.GetPlan(id=plan.id).close_reason_code == pb.PLAN_CLOSE_REASON_CONSENT_WITHDRAWN


@pytest.mark.parametrize(
    "action",
    [
        "UPDATE people SET erased = true WHERE id = %s",
        "UPDATE person_keys SET wrapped = NULL WHERE person_id = %s",
    ],
)
def test_erasing_a_file_erases_its_plans(action: str, story: Story, service: Service) -> None:
    plan, _ = refer_to_shelter(story, begin_plan(story))
    service.as_owner(action, plan.person_id)
    assert refusal(lambda: current_plan(story, plan)) == NOT_FOUND
    assert not story.ngo.ListPlans(person_id=plan.person_id).plans
    for query in (
        "SELECT FROM plans WHERE id = %s",
        "SELECT FROM plan_steps WHERE plan_id = %s",
    ):
        assert service.as_owner(query, plan.id) == 0


def test_no_plan_can_begin_for_an_erased_person(story: Story, service: Service) -> None:
    person = story.person()
    service.as_owner("UPDATE people SET erased = true WHERE id = %s", person.id)
    assert refusal(lambda: begin_plan(story, person=person)) == (
        "FAILED_PRECONDITION",
        "person_erased",
    )


def test_compliance_shows_own_plans_in_full_and_network_cells_of_ten_plans_or_more(
    story: Story, service: Service
) -> None:
    client = service.as_("clinic", "WORKER", "OPERATOR")

    def create_plan(number: int, department: str) -> None:
        person = client.CreatePerson(coarse=r.CoarsePerson(department=department))
        plan = client.CreatePlan(person_id=person.id, pathway_id="child")
        skip = {"state": pb.PLAN_STEP_STATE_NOT_NEEDED, "reason_code": pb.SKIP_REASON_HAS_IT}
        plan = update(client, plan, "authority", **(skip if number < 11 else {"state": MET}))
        if number < 3:
            update(client, plan, "school", pb.PLAN_STEP_STATE_REFUSED_BY_PERSON)

    for number in range(23):
        create_plan(number, "NI-ES")
    for number in range(9):
        create_plan(number + 11, "NI-MD")
    compliance = story.coordinator.GetCompliance()
    assert compliance.network
    [group] = [
        group
        for group in compliance.groups
        if group.pathway_id == "child"
        and group.department.startswith("NI-")
        and group.department != "NI-CI"
    ]
    assert (group.department, group.plans) == ("NI-ES", 20)
    authority, school = (
        next(step for step in group.steps if step.key == key) for key in ("authority", "school")
    )
    assert (authority.met, authority.on_time) == (10, 10)
    assert [(skip.code, skip.count) for skip in authority.skipped] == [("has_it", 10)]
    assert school.met == -1
    assert not school.skipped, "a hidden count looks as if nobody had given the reason"
    own_compliance = client.GetCompliance()
    assert not own_compliance.network
    counts = {(group.department, group.plans) for group in own_compliance.groups}
    assert counts == {("NI-ES", 23), ("NI-MD", 9)}
    service.clock.set(NOON + 2 * DAY)
    late_counts = {
        step.key: step.late
        for group in client.GetCompliance().groups
        for step in group.steps
        if group.plans == 9
    }
    assert (late_counts["care"], late_counts["medical_check"]) == (9, 0)
    assert not service.as_("coalition", "MANAGER").GetCompliance().groups
