"""For a member on probation no shelter exists, whichever rpc it calls.

The member finds neither the services of shelters nor their organisations nor their places.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from chassis.tokens import SYSTEM
from protos.partners.v1 import directory_pb2 as pb
from protos.partners.v1 import facts_pb2, locations_pb2
from services.partners.directory.store.services import refresh_all_of
from services.partners.members.domain.organization import Organization, OrganizationType
from services.partners.members.domain.worker import Role
from tests.builders import NOT_FOUND, refusal
from tests.partners.scene import Scene, Stubs
from tests.parts.local_stack import until

SECRETS = ("Luna", "+50588", "NI-JI")
"""Texts in the names, phones and departments of shelters that occur nowhere else in these tests."""


def shelter_by_its_type(scene: Scene) -> Organization:
    return scene.organization(
        "Luna", type=OrganizationType.SHELTER, phone="+50588000001", department="NI-JI"
    )


def shelter_by_its_beds(scene: Scene) -> Organization:
    organization = scene.organization(
        "Hermanas de la Luna",
        type=OrganizationType.RELIGIOUS,
        phone="+50588000002",
        department="NI-JI",
    )
    scene.service(
        organization, "Casa de la Luna", "HOU.TRANS", department="NI-JI", confidential=True
    )
    return organization


def shelter_with_more_services(scene: Scene) -> Organization:
    organization = shelter_by_its_type(scene)
    scene.service(organization, "Luna de noche", "HOU.EMG", department="NI-JI")
    scene.service(organization, "Luna que escucha", "PSS", department="NI-JI", phone="+50588000003")
    return organization


def answers(by: Stubs, shelter: Organization | None) -> list[Message]:
    """Returns the answers to the directory's requests that refuse nothing.

    Some requests are about everything, others about the hidden organisation.
    """
    id = shelter.id if shelter else "0" * 32
    calls: list[Callable[[], Any]] = [
        lambda: by.ListOrganizations(),
        lambda: by.ListOrganizations(type=pb.ORGANIZATION_TYPE_SHELTER),
        lambda: by.BatchGet(organization_ids=[id], service_ids=[id], worker_ids=[id]),
        lambda: by.SearchServices(organization_id=id),
        lambda: by.SearchServices(words="luna", count_country="NI"),
        lambda: by.SearchServices(count_country="NI"),
        lambda: by.MatchServices(need_code="HOU"),
        lambda: by.MatchServices(need_code="PSS"),
        lambda: by.ListLocations(organization_id=id),
        lambda: by.ListFieldChanges(subject_id=id),
        lambda: by.ListTruthScores(organization_id=id),
    ]
    return [call() for call in calls]


@pytest.mark.parametrize(
    "make", [shelter_by_its_type, shelter_by_its_beds, shelter_with_more_services]
)
def test_a_member_on_probation_finds_no_shelter_in_a_list_by_a_search_or_by_its_id(
    scene: Scene, make: Callable[[Scene], Organization], newcomer: Stubs
) -> None:
    scene.service(scene.organization("Clínica"), "Consulta", "MED.PRI")
    before = answers(newcomer, None)
    shelter = make(scene)
    assert answers(newcomer, shelter) == before
    assert not [
        text
        for text in map(str, answers(newcomer, shelter))
        if any(word in text for word in SECRETS)
    ]
    assert refusal(lambda: newcomer.GetOrganization(id=shelter.id)) == NOT_FOUND


def test_a_member_sees_a_shelter_once_approved_and_not_when_back_on_probation(
    scene: Scene,
) -> None:
    new_member, shelter = (
        scene.organization("Nueva", approved=False),
        shelter_with_more_services(scene),
    )
    worker = scene.by(new_member, Role.WORKER)
    scene.approve(new_member.id)
    assert worker.GetOrganization(id=shelter.id).phone == "+50588000001"
    assert "Luna" in str(answers(worker, shelter))
    with scene.database.transaction(SYSTEM) as tx:
        tx.execute("UPDATE organizations SET status = 'PROBATION' WHERE id = %s", (new_member.id,))
    assert "Luna" not in str(answers(worker, shelter))


def test_places_of_a_shelter_are_hidden_even_if_they_are_not_confidential(
    scene: Scene, newcomer: Stubs
) -> None:
    shelter = shelter_with_more_services(scene)
    place = locations_pb2.Location(
        name="Oficina de la Luna", country="NI", department="NI-JI", address="Calle Luna 1"
    )
    created = scene.by(shelter, Role.MANAGER).CreateLocation(location=place)
    assert not newcomer.ListLocations(organization_id=shelter.id).locations
    assert refusal(lambda: newcomer.GetLocation(id=created.id)) == NOT_FOUND
    partner = scene.by(scene.organization("Miembro"), Role.WORKER)
    assert partner.GetLocation(id=created.id).name == "Oficina de la Luna"


def test_a_member_that_offers_more_than_beds_is_shown_without_its_beds(
    scene: Scene, newcomer: Stubs
) -> None:
    ngo = scene.organization("Mar")
    manager = scene.by(ngo, Role.MANAGER)
    for service in (scene.service(ngo, "Luna de noche"), scene.service(ngo, "Apoyo", "PSS")):
        place = manager.CreateLocation(
            location=locations_pb2.Location(
                name=service.entry.name, department="NI-JI", address="Calle 1"
            )
        )
        manager.SetServiceAtLocation(
            service_at_location=locations_pb2.ServiceAtLocation(
                service_id=service.id, location_id=place.id
            )
        )
    assert newcomer.GetOrganization(id=ngo.id).name == "Mar"
    assert [
        service.name for service in newcomer.SearchServices(organization_id=ngo.id).services
    ] == ["Apoyo"]
    places = locations_pb2.ListLocationsRequest(organization_id=ngo.id)
    assert [location.name for location in newcomer.ListLocations(places).locations] == ["Apoyo"]
    all_places = manager.ListLocations(places).locations
    [night] = [listed for listed in all_places if listed.name == "Luna de noche"]
    assert refusal(lambda: newcomer.GetLocation(id=night.id)) == NOT_FOUND
    partner = scene.by(scene.organization("Miembro"), Role.WORKER)
    assert len(partner.ListLocations(places).locations) == 2


def test_public_services_of_a_shelter_are_shown_to_a_member_on_probation_too(
    scene: Scene, newcomer: Stubs
) -> None:
    shelter = shelter_by_its_type(scene)
    scene.service(shelter, "Charlas", "INF", public=True)
    assert [service.name for service in newcomer.SearchServices().services] == ["Charlas"]
    assert newcomer.GetOrganization(id=shelter.id).name == "Luna"


def test_a_shelter_on_probation_sees_itself_and_a_coordinator_sees_every_shelter(
    scene: Scene,
) -> None:
    new_shelter = scene.organization("Sol", type=OrganizationType.SHELTER, approved=False)
    approved_shelter = shelter_by_its_type(scene)
    worker = scene.by(new_shelter, Role.WORKER)
    assert worker.GetOrganization(id=new_shelter.id).name == "Sol"
    assert {organization.name for organization in worker.ListOrganizations().organizations} == {
        "Coalición",
        "Sol",
    }
    assert scene.coordinator.GetOrganization(id=approved_shelter.id).name == "Luna"


def test_when_an_organisation_becomes_a_shelter_its_services_are_hidden_with_it(
    scene: Scene, newcomer: Stubs, second_of_coalition: Stubs
) -> None:
    organization = scene.organization("Luna")
    counselling = scene.service(organization, "Luna que escucha", "PSS")
    legal_help = scene.service(organization, "Luna que defiende", "LEG", public=True)
    assert newcomer.SearchServices(words="luna").total_size == 2
    current = scene.coordinator.GetOrganization(id=organization.id)
    change = pb.Organization(
        id=organization.id, etag=current.etag, type=pb.ORGANIZATION_TYPE_SHELTER
    )
    proposed = scene.coordinator.ProposeOrganizationChange(
        organization=change, update_mask=FieldMask(paths=["type"])
    )
    second_of_coalition.ConfirmOrganizationChange(id=organization.id, etag=proposed.etag)
    assert newcomer.SearchServices(words="luna").total_size == 1
    # The referrals service learns this, too: the member on probation still knows the service's id.
    assert published_shelter_flags(scene, counselling.id) == [False, True]
    assert published_shelter_flags(scene, legal_help.id) == [False]


def published_shelter_flags(scene: Scene, service_id: str) -> list[bool]:
    rows = scene.rows("SELECT payload FROM outbox WHERE subject = %s ORDER BY version", service_id)
    return [facts_pb2.ServiceFact.FromString(row["payload"]).shelter for row in rows]


def test_a_figure_saved_while_its_organisation_becomes_a_shelter_is_published_as_that_of_a_shelter(
    scene: Scene,
) -> None:
    organization = scene.organization("Luna")
    service = scene.service(organization, "Luna que escucha", "PSS")
    worker, room = scene.by(organization, Role.WORKER), pb.Capacity(intake=pb.INTAKE_OPEN)
    with ThreadPoolExecutor(1) as pool:
        with scene.database.transaction(SYSTEM) as tx:
            tx.execute(
                "UPDATE organizations SET type = 'SHELTER' WHERE id = %s", (organization.id,)
            )
            refresh_all_of(tx, organization.id)
            saved = pool.submit(worker.SetCapacity, id=service.id, capacity=room)
            until(lambda: bool(scene.rows("SELECT FROM pg_locks WHERE NOT granted")))
        saved.result()
    assert published_shelter_flags(scene, service.id) == [False, True, True]
