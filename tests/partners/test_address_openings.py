"""Opening the address of a confidential place for a referral."""

from functools import partial

import pytest

from chassis.ids import new_id
from services.partners.directory.domain.service import Service
from services.partners.members.domain.organization import Organization
from tests.builders import NOT_FOUND, refusal, wrong_fields
from tests.partners.scene import Scene, Stubs
from tests.partners.test_imports import as_json
from tests.partners.test_locations import (
    ANOTHER,
    HIDDEN_STREET,
    HOUSE,
    OFFICE,
    REFERRAL,
    change_service,
    make,
    offer,
    offers,
    open_address,
    refer,
)

ALREADY_OPENED = ("FAILED_PRECONDITION", "address_opened")


@pytest.fixture
def sender(scene: Scene) -> Organization:
    return scene.organization("Manda")


@pytest.fixture
def driver(scene: Scene, sender: Organization) -> Stubs:
    return scene.by(sender)


@pytest.fixture
def accepting_service(
    scene: Scene, member: Organization, manager: Stubs, sender: Organization
) -> Service:
    """The service in a confidential place that accepted the sender's referral."""
    service = scene.service(member, confidential=True)
    offer(manager, service.id, make(manager, **HOUSE))
    refer(scene, REFERRAL, service, sender)
    return service


@pytest.mark.usefixtures("accepting_service")
def test_one_worker_of_the_sender_opens_the_address_and_it_is_on_record(
    scene: Scene, sender: Organization, driver: Stubs
) -> None:
    (address,) = open_address(driver, REFERRAL)
    assert address.address == HIDDEN_STREET
    trail = scene.rows("SELECT purpose_code FROM audit WHERE action = 'address_open' AND allowed")
    assert trail == [{"purpose_code": REFERRAL}]
    assert refusal(lambda: open_address(scene.by(sender), REFERRAL)) == ALREADY_OPENED
    scene.advance(minutes=29)
    assert open_address(driver, REFERRAL)
    scene.advance(minutes=1)
    assert refusal(lambda: open_address(driver, REFERRAL)) == ALREADY_OPENED


def test_the_sender_opens_the_address_of_an_open_place_whose_service_became_confidential(
    scene: Scene, member: Organization, manager: Stubs, sender: Organization, driver: Stubs
) -> None:
    service = scene.service(member, "Acogida", "PSS")
    offer(manager, service.id, make(manager, **OFFICE))
    refer(scene, REFERRAL, service, sender)
    assert refusal(lambda: open_address(driver, REFERRAL)) == NOT_FOUND
    change_service(manager, service.id, confidential=True)
    assert not offers(driver, service.id)
    (address,) = open_address(driver, REFERRAL)
    assert address.address == OFFICE["address"]


def test_a_coordinator_cannot_add_a_confidential_place_to_the_service_that_takes_her_referral(
    scene: Scene, member: Organization, manager: Stubs
) -> None:
    """Otherwise she could open the address of a shelter to which she has referred nobody."""
    house = make(manager, **HOUSE)
    service = scene.service(member, "Asesoría", "LEG")
    path = "service_at_location.location_id"
    assert wrong_fields(lambda: offer(scene.coordinator, service.id, house)) == [
        (path, "member_only")
    ]
    row = {
        "id": service.id,
        "name": "Asesoría",
        "x_need_codes": ["LEG"],
        "service_at_locations": [{"location": {"id": house.id, "x_confidential": "true"}}],
    }
    report = scene.import_report(scene.coordinator, as_json(row), organization_id=member.id)
    assert [problem.field for problem in report.lines[0].problems] == ["address"]
    assert not offers(manager, service.id)
    offer(manager, service.id, house)
    offer(scene.coordinator, service.id, house, languages=["miq"])


@pytest.mark.usefixtures("accepting_service")
def test_nobody_but_the_sender_opens_the_address(
    scene: Scene, member: Organization, driver: Stubs, partner: Stubs
) -> None:
    for by, referral in (
        (partner, REFERRAL),
        (scene.by(member), REFERRAL),
        (driver, new_id()),
    ):
        assert refusal(partial(open_address, by, referral)) == NOT_FOUND


def test_an_ended_referral_opens_no_address_and_a_reopened_one_does(
    scene: Scene, accepting_service: Service, sender: Organization, driver: Stubs
) -> None:
    scene.advance(minutes=1)
    refer(scene, REFERRAL, accepting_service, sender, "completed")
    assert refusal(lambda: open_address(driver, REFERRAL)) == NOT_FOUND
    scene.advance(minutes=1)
    refer(scene, REFERRAL, accepting_service, sender, "reopened")
    assert open_address(driver, REFERRAL)


def test_a_fact_that_arrives_twice_gives_no_second_opening(
    scene: Scene, accepting_service: Service, sender: Organization, driver: Stubs
) -> None:
    open_address(driver, REFERRAL)
    refer(scene, REFERRAL, accepting_service, sender)
    assert refusal(lambda: open_address(scene.by(sender), REFERRAL)) == ALREADY_OPENED


def test_an_organisation_that_accepts_for_another_organisations_service_opens_nothing(
    scene: Scene, accepting_service: Service
) -> None:
    front = scene.organization("Fachada")
    refer(scene, ANOTHER, accepting_service, front, receiver=front.id)
    assert refusal(lambda: open_address(scene.by(front), ANOTHER)) == NOT_FOUND


@pytest.mark.usefixtures("accepting_service")
def test_a_member_that_is_back_on_probation_opens_nothing(
    scene: Scene, sender: Organization, driver: Stubs
) -> None:
    scene.rows(
        "UPDATE organizations SET status = 'PROBATION' WHERE id = %s RETURNING id", sender.id
    )
    assert refusal(lambda: open_address(driver, REFERRAL)) == (
        "PERMISSION_DENIED",
        "member_on_probation",
    )
