"""A person is sent only to services for her age, and begins only pathways for her age.

An exception needs the sender's acknowledgement that it knows the age.
"""

from collections.abc import Iterator
from functools import partial

import pytest

from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import plans_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.network.domain.service import Ages
from services.referrals.network.store import members
from tests.builders import refusal
from tests.referrals.conftest import ORG, SERVICE, Service, Story, send_request
from tests.referrals.test_pathways import TEXT
from tests.referrals.test_trail import last_sequence

NOT_TAKEN = ("FAILED_PRECONDITION", "age_not_taken")
ACKNOWLEDGEMENTS = [pb.ACKNOWLEDGEMENT_AGE_NOT_TAKEN]


@pytest.fixture
def shelter_for_adults(service: Service) -> Iterator[None]:
    """Makes the shelter's service accept nobody under 18."""
    set_minimum_age(service, 18)
    yield
    set_minimum_age(service, None)


def set_minimum_age(service: Service, minimum: int | None) -> None:
    """Sets the minimum age of the shelter's service."""
    bed, ages = SERVICE["shelter_bed"], Ages(minimum, None)
    service.in_transaction(members.note_service, bed, ORG["shelter"], True, ages=ages)


def request_to_send(story: Story, person: p.Person) -> pb.SendReferralRequest:
    """Returns the request to send a person to the shelter; a guardian consents for a child."""
    child = person.coarse.age_band == pb.AGE_BAND_12_TO_17
    receipt = story.receipt(
        person.id, **({"giver": "guardian", "assent_code": "given"} if child else {})
    )
    return send_request(story.draft(person), receipt.id)


def test_a_girl_of_fifteen_is_sent_to_a_shelter_for_adults_only_after_an_acknowledgement(
    story: Story, service: Service, shelter_for_adults: None
) -> None:
    request = request_to_send(story, story.child())
    assert refusal(lambda: story.ngo.SendReferral(request)) == NOT_TAKEN
    request.acknowledged_codes.extend(ACKNOWLEDGEMENTS)
    assert story.ngo.SendReferral(request).state == pb.STATE_SENT
    rows = service.rows(
        "SELECT detail_codes FROM audit WHERE allowed AND %s = ANY(detail_codes)",
        f"referral:{request.id}",
    )
    assert "acknowledged:age_not_taken" in rows[0]["detail_codes"]


def test_an_override_does_not_send_a_child_to_a_shelter_for_adults(
    story: Story, shelter_for_adults: None
) -> None:
    assert refusal(partial(story.overridden, person=story.child())) == NOT_TAKEN


def test_a_person_of_an_accepted_age_is_sent_without_an_acknowledgement(
    story: Story, shelter_for_adults: None
) -> None:
    assert story.ngo.SendReferral(request_to_send(story, story.person())).state == pb.STATE_SENT


def test_a_pathway_for_adults_starts_for_a_girl_of_fifteen_only_after_an_acknowledgement(
    story: Story,
) -> None:
    request = plans_pb2.CreatePlanRequest(
        person_id=story.child().id, pathway_id="return_and_reintegration"
    )
    assert refusal(lambda: story.ngo.CreatePlan(request)) == NOT_TAKEN
    request.acknowledged_codes.extend(ACKNOWLEDGEMENTS)
    assert story.ngo.CreatePlan(request).pathway.id == "return_and_reintegration"
    for person in (story.child(), story.person()):
        request = plans_pb2.CreatePlanRequest(person_id=person.id, pathway_id="child")
        assert story.ngo.CreatePlan(request).pathway.id == "child"


def test_a_childs_plan_moves_to_a_version_for_adults_only_after_an_acknowledgement(
    story: Story, service: Service
) -> None:
    text = TEXT.replace("id: short", "id: for_other_ages")
    story.coordinator.PublishPathway(text=text)
    plans = [
        story.ngo.CreatePlan(person_id=person.id, pathway_id="for_other_ages")
        for person in (story.child(), story.person())
    ]
    story.coordinator.PublishPathway(
        text=text.replace("version: 1", "version: 2").replace(
            "for_whom:", "for_whom:\n  age_bands: [18-24, 25-59, 60+]"
        )
    )
    requests = [plans_pb2.MovePlanRequest(id=plan.id, etag=plan.etag, version=2) for plan in plans]
    assert refusal(lambda: story.ngo.MovePlan(requests[0])) == NOT_TAKEN
    assert story.ngo.GetPlan(id=plans[0].id).pathway.version == 1
    requests[0].acknowledged_codes.extend(ACKNOWLEDGEMENTS)
    before = last_sequence(service)
    for request in requests:
        assert story.ngo.MovePlan(request).pathway.version == 2
    assert service.rows(
        "SELECT object_id, detail_codes FROM audit WHERE sequence > %s AND action = 'move_plan'"
        " AND detail_codes <> '{}'",
        before,
    ) == [
        {
            "object_id": plans[0].person_id,
            "detail_codes": [f"plan:{plans[0].id}", "acknowledged:age_not_taken"],
        }
    ]
