"""The rpcs of plans.

The tests cover who may see a plan, refusals, the referrals of its steps, and what remains when the
person withdraws her consent.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import grpc
import psycopg
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from chassis.errors import Conflict
from chassis.tokens import SYSTEM
from protos.referrals.v1 import contacts_pb2, people_pb2
from protos.referrals.v1 import plans_pb2 as pb
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import refusal_of
from services.referrals.plans.usecases.pathways import SHIPPED
from tests.builders import NOON, refusal, refusal_with_fields
from tests.referrals.conftest import ORG, Client, Service, Story

GONE = ("NOT_FOUND", "not_found")
MET, OPEN, REFERRED = pb.PLAN_STEP_STATE_MET, pb.PLAN_STEP_STATE_OPEN, pb.PLAN_STEP_STATE_REFERRED
DAY = timedelta(days=1)


def begun(
    story: Story, pathway: str = "protection_on_the_line", person: people_pb2.Person | None = None
) -> pb.Plan:
    plan: pb.Plan = story.ngo.CreatePlan(
        pb.CreatePlanRequest(
            person_id=(person or story.person()).id,
            pathway_id=pathway,
            request_id=story.request_id(),
        )
    )
    return plan


def update(client: Client, plan: pb.Plan, key: str, state: Any, **values: Any) -> pb.Plan:
    changed: pb.Plan = client.UpdatePlanStep(
        pb.UpdatePlanStepRequest(id=plan.id, etag=plan.etag, step_key=key, state=state, **values)
    )
    return changed


def current_plan(story: Story, plan: pb.Plan) -> pb.Plan:
    stored: pb.Plan = story.ngo.GetPlan(pb.GetPlanRequest(id=plan.id))
    return stored


def step_of(plan: pb.Plan, key: str) -> pb.PlanStep:
    return next(step for step in plan.steps if step.key == key)


def person(plan: pb.Plan) -> people_pb2.Person:
    return people_pb2.Person(id=plan.person_id)


def sheltered(story: Story, plan: pb.Plan) -> tuple[pb.Plan, r.Referral]:
    """Settles the step of the safety plan, and sends a referral for the shelter step."""
    plan = update(story.ngo, plan, "safety_plan", MET)
    referral = story.sent(person=person(plan))
    return update(story.ngo, plan, "shelter", REFERRED, referral_id=referral.id), referral


def helped(story: Story, referral: r.Referral, outcome: Any = r.OUTCOME_FULLY_MET) -> r.Referral:
    accept = r.AcceptReferralRequest(id=referral.id, etag=referral.etag)
    accept.planned_first_contact_time.FromDatetime(story.service.clock.now())
    start = r.StartReferralRequest(id=referral.id, etag=story.shelter.AcceptReferral(accept).etag)
    start.first_contact_time.FromDatetime(story.service.clock.now())
    started = story.shelter.StartReferral(start)
    completed_referral: r.Referral = story.shelter.CompleteReferral(
        r.CompleteReferralRequest(id=referral.id, etag=started.etag, outcome_code=outcome)
    )
    return completed_referral


def test_a_plan_shows_its_pathway_with_steps_due_times_and_the_steps_that_they_wait_for(
    story: Story,
) -> None:
    plan = begun(story)
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
    assert (
        list(step_of(plan, "shelter").waits_for_keys),
        step_of(plan, "safe_house").HasField("due_time"),
    ) == (["safety_plan"], False)
    assert current_plan(story, plan) == plan
    assert list(story.ngo.ListPlans(pb.ListPlansRequest(person_id=plan.person_id)).plans) == [plan]


def test_a_plan_may_start_before_it_is_recorded(story: Story) -> None:
    request = pb.CreatePlanRequest(person_id=story.person().id, pathway_id="sexual_violence_120h")
    request.start_time.FromDatetime(NOON - timedelta(hours=70))
    plan = story.ngo.CreatePlan(request)
    assert step_of(plan, "care_72h").due_time.ToDatetime(NOON.tzinfo) == NOON + timedelta(hours=2)
    assert step_of(plan, "safety").late
    for start in (NOON + DAY, NOON - 400 * DAY):
        request = pb.CreatePlanRequest(person_id=story.child().id, pathway_id="child")
        request.start_time.FromDatetime(start)
        assert refusal_with_fields(lambda: story.ngo.CreatePlan(request))[2] == {  # noqa: B023
            "start_time": "out_of_range"
        }


def test_other_organisations_cannot_find_a_plan(story: Story, service: Service) -> None:
    plan = begun(story)
    plan, _ = sheltered(story, plan)  # the shelter sees the file of a sent referral
    story.shelter.GetPerson(people_pb2.GetPersonRequest(id=plan.person_id))
    for other in (
        story.shelter,
        service.as_("clinic", "WORKER"),
        service.as_("shelter", scopes=("people.read",)),
    ):
        assert refusal(lambda: other.GetPlan(pb.GetPlanRequest(id=plan.id))) == GONE  # noqa: B023
        assert (
            refusal(lambda: other.ListPlans(pb.ListPlansRequest(person_id=plan.person_id))) == GONE  # noqa: B023
        )
        assert not other.ListLateSteps(pb.ListLateStepsRequest()).steps
    for act in (
        lambda: update(story.shelter, plan, "way_out", MET),
        lambda: story.shelter.ClosePlan(
            pb.ClosePlanRequest(
                id=plan.id, etag=plan.etag, reason_code=pb.PLAN_CLOSE_REASON_FULFILLED
            )
        ),
        lambda: story.shelter.MovePlan(pb.MovePlanRequest(id=plan.id, etag=plan.etag, version=2)),
        lambda: story.shelter.CreatePlan(
            pb.CreatePlanRequest(person_id=plan.person_id, pathway_id="child")
        ),
    ):
        assert refusal(act) == GONE
    assert refusal(lambda: story.coordinator.GetPlan(pb.GetPlanRequest(id=plan.id))) == (
        "PERMISSION_DENIED",
        "right_missing",
    )
    assert current_plan(story, plan) == plan


def test_a_refused_step_names_the_steps_to_be_settled_first(story: Story) -> None:
    plan = begun(story)
    with pytest.raises(grpc.RpcError) as caught:
        update(story.ngo, plan, "shelter", MET)
    assert refusal(lambda: update(story.ngo, plan, "shelter", MET)) == (
        "FAILED_PRECONDITION",
        "step_waits",
    )
    received = refusal_of(caught.value)  # as the gateway reads it
    assert isinstance(received, Conflict)
    assert (received.reason, received.about) == ("step_waits", ("safety_plan",))
    assert current_plan(story, plan) == plan


def test_an_invalid_change_of_a_plan_is_refused_by_field_and_changes_nothing(story: Story) -> None:
    plan = begun(story)
    for values, wrong in (
        ({"state": REFERRED}, {"referral_id": "required"}),
        ({"state": pb.PLAN_STEP_STATE_NOT_NEEDED}, {"reason_code": "required"}),
        ({"state": MET, "reason_code": pb.SKIP_REASON_HAS_IT}, {"reason_code": "out_of_range"}),
        ({}, {"state": "required"}),
    ):
        request = pb.UpdatePlanStepRequest(
            id=plan.id, etag=plan.etag, step_key="safety_plan", **values
        )
        assert refusal_with_fields(lambda: story.ngo.UpdatePlanStep(request)) == (  # noqa: B023
            "INVALID_ARGUMENT",
            "invalid_fields",
            wrong,
        )
    assert refusal(lambda: update(story.ngo, plan, "nothing", MET)) == GONE
    unknown = pb.CreatePlanRequest(person_id=plan.person_id, pathway_id="nothing")
    assert refusal_with_fields(lambda: story.ngo.CreatePlan(unknown))[2] == {
        "pathway_id": "unknown_code"
    }
    by_nobody = pb.ClosePlanRequest(
        id=plan.id, etag=plan.etag, reason_code=pb.PLAN_CLOSE_REASON_CONSENT_WITHDRAWN
    )
    assert refusal_with_fields(lambda: story.ngo.ClosePlan(by_nobody))[2] == {
        "reason_code": "unknown_code"
    }
    nowhere = pb.MovePlanRequest(id=plan.id, etag=plan.etag, version=7)
    assert refusal_with_fields(lambda: story.ngo.MovePlan(nowhere))[2] == {
        "version": "out_of_range"
    }
    assert current_plan(story, plan) == plan


def test_only_a_live_referral_of_the_same_person_and_organisation_stands_for_a_step(
    story: Story,
) -> None:
    plan = update(story.ngo, begun(story), "safety_plan", MET)
    somebody_else = story.sent()
    assert (
        refusal(lambda: update(story.ngo, plan, "shelter", REFERRED, referral_id=somebody_else.id))
        == GONE
    )
    assert (
        refusal(lambda: update(story.ngo, plan, "shelter", REFERRED, referral_id="f" * 32)) == GONE
    )
    ended = story.sent(person=person(plan))
    story.ngo.WithdrawReferral(
        r.WithdrawReferralRequest(id=ended.id, etag=ended.etag, reason_code=r.WITHDRAW_REASON_MOVED)
    )
    assert refusal(lambda: update(story.ngo, plan, "shelter", REFERRED, referral_id=ended.id)) == (
        "FAILED_PRECONDITION",
        "illegal_transition",
    )
    assert (
        step_of(
            update(
                story.ngo,
                plan,
                "shelter",
                REFERRED,
                referral_id=story.draft(person=person(plan)).id,
            ),
            "shelter",
        ).state
        == REFERRED
    )


def test_completed_help_meets_a_step_and_the_persons_no_reopens_it(story: Story) -> None:
    plan, referral = sheltered(story, begun(story))
    completed_referral = helped(story, referral)
    plan_now = current_plan(story, plan)
    assert (
        step_of(plan_now, "shelter").state,
        step_of(plan_now, "shelter").referral_id,
        plan_now.etag != plan.etag,
    ) == (
        MET,
        referral.id,
        True,
    )
    assert step_of(plan_now, "first_aid").waits_for_keys == []
    again = story.ngo.CloseReferral(
        r.CloseReferralRequest(
            id=referral.id, etag=completed_referral.etag, help_came_code=r.HELP_CAME_NO
        )
    )
    assert step_of(current_plan(story, plan), "shelter").state == REFERRED
    story.shelter.CompleteReferral(
        r.CompleteReferralRequest(
            id=referral.id, etag=again.etag, outcome_code=r.OUTCOME_PARTLY_MET
        )
    )
    assert step_of(current_plan(story, plan), "shelter").state == MET


def test_a_decline_or_an_unmet_need_reopens_the_step(story: Story) -> None:
    plan, referral = sheltered(story, begun(story))
    decline = r.DeclineReferralRequest(
        id=referral.id, etag=referral.etag, reason_code=r.DECLINE_REASON_NO_CAPACITY
    )
    story.shelter.DeclineReferral(decline)
    assert step_of(current_plan(story, plan), "shelter").state == OPEN
    other = story.sent(person=person(plan))
    update(story.ngo, current_plan(story, plan), "shelter", REFERRED, referral_id=other.id)
    helped(story, other, r.OUTCOME_NOT_MET)
    assert step_of(current_plan(story, plan), "shelter").state == OPEN


def test_a_referral_sent_in_place_of_a_declined_one_stands_for_its_step(story: Story) -> None:
    plan, referral = sheltered(story, begun(story))
    decline = r.DeclineReferralRequest(
        id=referral.id, etag=referral.etag, reason_code=r.DECLINE_REASON_NO_CAPACITY
    )
    story.shelter.DeclineReferral(decline)
    other = story.draft(person(plan), based_on_id=referral.id, need_code="RET.REC")
    receipt = story.receipt(plan.person_id, purposes=["RET"])
    story.ngo.SendReferral(
        r.SendReferralRequest(id=other.id, etag=other.etag, receipt_id=receipt.id)
    )
    assert step_of(current_plan(story, plan), "shelter").state == OPEN, "for another need"
    following = story.sent(person=person(plan), based_on_id=referral.id)
    step = step_of(current_plan(story, plan), "shelter")
    assert (step.state, step.referral_id) == (REFERRED, following.id)
    helped(story, following)
    assert step_of(current_plan(story, plan), "shelter").state == MET


def test_a_step_that_was_settled_or_referred_again_keeps_its_state_when_another_referral_is_sent(
    story: Story,
) -> None:
    plan, referral = sheltered(story, begun(story))
    decline = r.DeclineReferralRequest(
        id=referral.id, etag=referral.etag, reason_code=r.DECLINE_REASON_NO_CAPACITY
    )
    story.shelter.DeclineReferral(decline)
    other = story.sent(person=person(plan))
    update(story.ngo, current_plan(story, plan), "shelter", REFERRED, referral_id=other.id)
    story.sent(person=person(plan), based_on_id=referral.id)
    assert step_of(current_plan(story, plan), "shelter").referral_id == other.id


def test_linking_a_completed_referral_meets_the_step_at_once(story: Story) -> None:
    plan = update(story.ngo, begun(story), "safety_plan", MET)
    referral = story.sent(person=person(plan))
    helped(story, referral)
    assert (
        step_of(
            update(story.ngo, plan, "shelter", REFERRED, referral_id=referral.id), "shelter"
        ).state
        == MET
    )


def test_a_plan_is_changed_only_with_its_current_etag(story: Story) -> None:
    plan = begun(story)
    newer = update(story.ngo, plan, "safety_plan", MET)
    for act in (
        lambda: update(story.ngo, plan, "way_out", MET),
        lambda: story.ngo.MovePlan(pb.MovePlanRequest(id=plan.id, etag=plan.etag, version=2)),
        lambda: story.ngo.ClosePlan(
            pb.ClosePlanRequest(
                id=plan.id, etag=plan.etag, reason_code=pb.PLAN_CLOSE_REASON_FULFILLED
            )
        ),
    ):
        assert refusal(act) == ("ABORTED", "stale_etag")
    assert current_plan(story, plan) == newer


def test_of_concurrent_changes_of_a_plan_one_succeeds(story: Story) -> None:
    person = story.person()

    def begin(_: int) -> str:
        return outcome(lambda: begun(story, person=person))

    def settle(number: int) -> str:
        return outcome(
            lambda: update(
                story.ngo,
                plan,
                "safety_plan",
                MET if number % 2 else pb.PLAN_STEP_STATE_REFUSED_BY_PERSON,
            )
        )

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(begin, range(4))) == ["done", *["plan_exists"] * 3]
        plan = story.ngo.ListPlans(pb.ListPlansRequest(person_id=person.id)).plans[0]
        assert sorted(threads.map(settle, range(4))) == ["done", *["stale_etag"] * 3]


def outcome(act: Any) -> str:
    try:
        act()
    except grpc.RpcError as error:
        return str(error.details())
    return "done"


def test_linking_a_step_to_a_referral_misses_no_concurrent_completion(
    story: Story,
) -> None:
    for _ in range(5):
        plan = update(story.ngo, begun(story), "safety_plan", MET)
        referral = story.sent(person=person(plan))
        with ThreadPoolExecutor(2) as threads:
            linking = threads.submit(
                update, story.ngo, plan, "shelter", REFERRED, referral_id=referral.id
            )
            helping = threads.submit(helped, story, referral)
            linking.result()
            helping.result()
        assert step_of(current_plan(story, plan), "shelter").state == MET


def test_a_repeated_request_begins_one_plan(story: Story) -> None:
    request = pb.CreatePlanRequest(
        person_id=story.child().id, pathway_id="child", request_id=story.request_id()
    )
    assert story.ngo.CreatePlan(request) == story.ngo.CreatePlan(request)
    request.request_id = story.request_id()
    assert refusal(lambda: story.ngo.CreatePlan(request)) == ("FAILED_PRECONDITION", "plan_exists")


def test_a_running_plan_keeps_its_version_until_somebody_moves_it(story: Story) -> None:
    plan = update(story.ngo, begun(story, "sexual_violence_120h"), "first_aid", MET)
    text = (
        (SHIPPED / "sexual_violence_120h.yaml")
        .read_text()
        .replace("version: 1", "version: 2")
        .replace("key: counselling", "key: therapy")
    )
    story.coordinator.PublishPathway(pb.PublishPathwayRequest(text=text))
    stored = current_plan(story, plan)
    assert (stored.pathway.version, stored.latest_version, stored.steps) == (1, 2, plan.steps)
    assert begun(story, "sexual_violence_120h").pathway.version == 2
    moved = story.ngo.MovePlan(pb.MovePlanRequest(id=plan.id, etag=stored.etag, version=2))
    assert (
        moved.pathway.version,
        step_of(moved, "first_aid").state,
        step_of(moved, "therapy").state,
    ) == (
        2,
        MET,
        OPEN,
    )
    assert step_of(moved, "therapy").due_time.ToDatetime(NOON.tzinfo) == NOON + 14 * DAY
    assert current_plan(story, plan) == moved


def test_a_closed_plan_cannot_be_changed_and_another_may_begin(story: Story) -> None:
    plan = begun(story)
    closed = story.ngo.ClosePlan(
        pb.ClosePlanRequest(
            id=plan.id, etag=plan.etag, reason_code=pb.PLAN_CLOSE_REASON_CONTACT_LOST
        )
    )
    assert closed.close_reason_code == pb.PLAN_CLOSE_REASON_CONTACT_LOST
    for act in (
        lambda: update(story.ngo, closed, "safety_plan", MET),
        lambda: story.ngo.MovePlan(pb.MovePlanRequest(id=plan.id, etag=closed.etag, version=1)),
        lambda: story.ngo.ClosePlan(
            pb.ClosePlanRequest(
                id=plan.id, etag=closed.etag, reason_code=pb.PLAN_CLOSE_REASON_FULFILLED
            )
        ),
    ):
        assert refusal(act) == ("FAILED_PRECONDITION", "plan_closed")
    assert begun(story, person=person(plan)).id != plan.id


@pytest.mark.parametrize("age_band", [r.AGE_BAND_12_TO_17, r.AGE_BAND_UNSPECIFIED])
def test_a_childs_plan_ends_when_two_people_give_the_same_reason(
    age_band: r.AgeBand.ValueType, story: Story, service: Service
) -> None:
    girl = people_pb2.CreatePersonRequest(
        coarse=r.CoarsePerson(age_band=age_band), request_id=story.request_id()
    )
    plan = begun(story, "child", story.ngo.CreatePerson(girl))
    second = service.as_("ngo", "WORKER", "OPERATOR")

    def end(client: Client, reason: Any) -> pb.Plan:
        closed: pb.Plan = client.ClosePlan(
            pb.ClosePlanRequest(id=plan.id, etag=current_plan(story, plan).etag, reason_code=reason)
        )
        return closed

    fulfilled, lost = pb.PLAN_CLOSE_REASON_FULFILLED, pb.PLAN_CLOSE_REASON_CONTACT_LOST
    key = service.as_("ngo", scopes=("people.write", "people.read"))
    assert refusal(partial(end, key, fulfilled)) == (
        "FAILED_PRECONDITION",
        "second_person_required",
    )
    proposed = end(story.ngo, fulfilled)
    assert not proposed.HasField("close_time")
    assert (proposed.close_proposed_reason_code, proposed.close_proposed_by_worker_id) == (
        fulfilled,
        story.ngo.caller.id,
    )
    for one_alone in (story.ngo, key):
        assert refusal(partial(end, one_alone, fulfilled)) == (
            "FAILED_PRECONDITION",
            "second_person_required",
        )
    # The second person proposes another reason, which the first person has to confirm.
    assert not end(second, lost).HasField("close_time")
    assert end(story.ngo, lost).close_reason_code == lost


def test_late_steps_are_listed_for_the_organisation_by_page_and_leave_the_list_when_settled(
    story: Story, service: Service
) -> None:
    client = service.as_("police", "WORKER")
    adult = r.CoarsePerson(age_band=r.AGE_BAND_25_TO_59)
    person = client.CreatePerson(people_pb2.CreatePersonRequest(coarse=adult))
    plan = client.CreatePlan(
        pb.CreatePlanRequest(person_id=person.id, pathway_id="protection_on_the_line")
    )
    assert not client.ListLateSteps(pb.ListLateStepsRequest()).steps
    service.clock.set(NOON + timedelta(hours=13))
    page = client.ListLateSteps(pb.ListLateStepsRequest(page_size=3))
    rest = client.ListLateSteps(
        pb.ListLateStepsRequest(page_size=3, page_token=page.next_page_token)
    )
    steps = [*page.steps, *rest.steps]
    assert [step.key for step in steps] == ["safety_plan", "way_out", "medical_care", "shelter"]
    assert (steps[0].plan_id, steps[0].person_code, steps[0].names["es"]) == (
        plan.id,
        person.code,
        "Plan de seguridad en la llamada",
    )
    assert [
        step.key for step in client.GetPlan(pb.GetPlanRequest(id=plan.id)).steps if step.late
    ] == [
        "safety_plan",
        "way_out",
        "shelter",
        "medical_care",
    ]
    update(client, plan, "safety_plan", pb.PLAN_STEP_STATE_REFUSED_BY_PERSON)
    assert [step.key for step in client.ListLateSteps(pb.ListLateStepsRequest()).steps] == [
        "way_out",
        "medical_care",
        "shelter",
    ]
    closed = client.GetPlan(pb.GetPlanRequest(id=plan.id))
    client.ClosePlan(
        pb.ClosePlanRequest(
            id=plan.id, etag=closed.etag, reason_code=pb.PLAN_CLOSE_REASON_PERSON_ENDED
        )
    )
    assert not client.ListLateSteps(pb.ListLateStepsRequest()).steps


def test_the_plan_ends_only_when_the_person_withdraws_her_last_consent(story: Story) -> None:
    plan, referral = sheltered(story, begun(story))
    other = story.receipt(plan.person_id, recipient=ORG["clinic"])
    # the person withdrew at the shelter
    story.shelter.WithdrawReceipt(people_pb2.WithdrawReceiptRequest(id=referral.receipt_id))
    assert (
        step_of(current_plan(story, plan), "shelter").state,
        current_plan(story, plan).HasField("close_time"),
    ) == (
        OPEN,
        False,
    )
    story.ngo.WithdrawReceipt(people_pb2.WithdrawReceiptRequest(id=other.id))
    ended = current_plan(story, plan)
    assert (ended.HasField("close_time"), ended.close_reason_code) == (
        True,
        pb.PLAN_CLOSE_REASON_CONSENT_WITHDRAWN,
    )


def test_the_plan_ends_when_the_person_withdraws_by_her_reference(
    story: Story, service: Service
) -> None:
    created, operator = story.contact(), service.as_("hotline", "OPERATOR")
    person = operator.CreatePerson(people_pb2.CreatePersonRequest())
    change = contacts_pb2.UpdateContactRequest(
        contact=contacts_pb2.Contact(
            id=created.contact.id, etag=created.contact.etag, person_id=person.id
        ),
        update_mask=FieldMask(paths=["person_id"]),
    )
    operator.UpdateContact(change)
    plan = operator.CreatePlan(pb.CreatePlanRequest(person_id=person.id, pathway_id="child"))
    service.public().WithdrawConsentByReference(
        contacts_pb2.WithdrawConsentByReferenceRequest(reference=created.reference, pin=created.pin)
    )
    assert (
        operator.GetPlan(pb.GetPlanRequest(id=plan.id)).close_reason_code
        == pb.PLAN_CLOSE_REASON_CONSENT_WITHDRAWN
    )


@pytest.mark.parametrize(
    "action",
    [
        "UPDATE people SET erased = true WHERE id = %s",
        "UPDATE person_keys SET wrapped = NULL WHERE person_id = %s",
    ],
)
def test_erasing_a_file_erases_its_plans(action: str, story: Story, service: Service) -> None:
    plan, _referral = sheltered(story, begun(story))
    with service.database.transaction(SYSTEM) as tx:
        tx.execute(action, (plan.person_id,))
    assert refusal(lambda: current_plan(story, plan)) == GONE
    assert not story.ngo.ListPlans(pb.ListPlansRequest(person_id=plan.person_id)).plans
    with psycopg.connect(service.migration_url) as owner:
        for sql in (
            "SELECT 1 FROM plans WHERE id = %s",
            "SELECT 1 FROM plan_steps WHERE plan_id = %s",
        ):
            assert owner.execute(sql, (plan.id,)).fetchone() is None


def test_no_plan_can_begin_for_an_erased_person(story: Story, service: Service) -> None:
    person = story.person()
    with service.database.transaction(SYSTEM) as tx:
        tx.execute("UPDATE people SET erased = true WHERE id = %s", (person.id,))
    assert refusal(lambda: begun(story, person=person)) == ("FAILED_PRECONDITION", "person_erased")


def test_compliance_shows_own_plans_in_full_and_network_cells_of_ten_plans_or_more(
    story: Story, service: Service
) -> None:
    client = service.as_("clinic", "WORKER", "OPERATOR")

    def plan(number: int, department: str) -> None:
        coarse = r.CoarsePerson(department=department)
        person = client.CreatePerson(people_pb2.CreatePersonRequest(coarse=coarse))
        created = client.CreatePlan(pb.CreatePlanRequest(person_id=person.id, pathway_id="child"))
        skip = {"state": pb.PLAN_STEP_STATE_NOT_NEEDED, "reason_code": pb.SKIP_REASON_HAS_IT}
        created = (
            update(client, created, "authority", **skip)
            if number < 11
            else update(client, created, "authority", MET)
        )
        if number < 3:
            update(client, created, "school", pb.PLAN_STEP_STATE_REFUSED_BY_PERSON)

    for number in range(23):
        plan(number, "NI-ES")
    for number in range(9):
        plan(number + 11, "NI-MD")
    compliance = story.coordinator.GetCompliance(pb.GetComplianceRequest())
    assert compliance.network
    (group,) = [
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
    assert (
        authority.met,
        authority.on_time,
        [(each.code, each.count) for each in authority.skipped],
    ) == (10, 10, [("has_it", 10)])
    assert (school.met, [(each.code, each.count) for each in school.skipped]) == (
        -1,
        [("refused_by_person", -1)],
    )
    own = client.GetCompliance(pb.GetComplianceRequest())
    assert not own.network
    assert {(group.department, group.plans) for group in own.groups} == {
        ("NI-ES", 23),
        ("NI-MD", 9),
    }
    service.clock.set(NOON + 2 * DAY)
    late = {
        step.key: step.late
        for group in client.GetCompliance(pb.GetComplianceRequest()).groups
        for step in group.steps
        if group.plans == 9
    }
    assert (late["care"], late["medical_check"]) == (9, 0)
    assert not service.as_("coalition", "MANAGER").GetCompliance(pb.GetComplianceRequest()).groups
