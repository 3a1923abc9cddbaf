"""Open data: the services that members want to be found, and nothing that reveals the others."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import locations_pb2 as l
from protos.partners.v1 import open_data_pb2 as pb
from services.partners.directory.domain.service import Service
from services.partners.directory.store import open_data
from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role
from tests.builders import NOT_FOUND, refusal, wrong_fields
from tests.partners.scene import Scene, Stubs
from tests.partners.test_imports import as_json


def list_public(scene: Scene, **fields: Any) -> pb.ListPublicServicesResponse:
    answer: pb.ListPublicServicesResponse = scene.nobody.ListPublicServices(**fields)
    return answer


def all_answers(scene: Scene) -> list[bytes]:
    """Returns, byte for byte, the public answers to several requests."""
    answers = [
        *(
            list_public(scene, **fields)
            for fields in (
                {},
                {"words": "asesoria"},
                {"words": "secreto"},
                {"words": "albergue"},
                {"need_code": "LEG"},
            )
        ),
        list_public(scene, page_size=1, page=2),
        *(
            list_public(scene, by_name=True, page_size=1, **fields)
            for fields in ({}, {"department": "NI-CI"}, {"words": "albergue", "need_code": "HOU"})
        ),
        scene.nobody.ListPublicServiceAtLocations(),
        scene.nobody.ListPublicOrganizations(),
        scene.nobody.ListPublicOrganizations(words="secreto"),
    ]
    return [answer.SerializeToString(deterministic=True) for answer in answers]


def test_public_services_of_approved_members_are_shown_to_anybody(scene: Scene) -> None:
    house = scene.organization("Casa Abierta")
    service = scene.service(
        house, "Asesoría", "LEG", public=True, phone="+50523410000", description="Derechos"
    )
    answer = list_public(scene)
    assert answer.total_size == 1
    public_service = answer.services[0]
    assert (
        public_service.service.id,
        public_service.service.name,
        public_service.service.phone,
        public_service.organization.name,
    ) == (
        service.id,
        "Asesoría",
        "+50523410000",
        "Casa Abierta",
    )
    # Fields for partners only are absent.
    assert not public_service.service.HasField("capacity")
    assert {field.name for field, _ in public_service.service.ListFields()}.isdisjoint(
        {"etag", "active", "public", "confidential", "tiers", "open_now"}
    )
    assert {field.name for field, _ in public_service.organization.ListFields()}.isdisjoint(
        {"etag", "status", "proposal", "update_time"}
    )
    assert scene.nobody.GetPublicService(id=service.id) == public_service
    members = scene.nobody.ListPublicOrganizations()
    assert ([organization.id for organization in members.organizations], members.total_size) == (
        [house.id],
        1,
    )


def test_public_services_are_searched_by_words_need_member_and_time_of_change(scene: Scene) -> None:
    first_house, second_house = scene.organization("Casa Uno"), scene.organization("Casa Dos")
    legal = scene.service(first_house, "Asesoría legal", "LEG", public=True)
    scene.advance(hours=1)
    school = scene.service(second_house, "Escuela nocturna", "EDU", public=True)

    def ids(**fields: Any) -> set[str]:
        return {service.service.id for service in list_public(scene, **fields).services}

    assert (
        ids(words="ESCUELAS")
        == ids(words="casa dos")
        == ids(need_code="EDU")
        == ids(organization_id=second_house.id)
        == {school.id}
    )
    assert ids(words="abogado") == ids(words="Necesito una abogada", by_name=True) == {legal.id}, (
        "a search by name also finds what the words mean"
    )
    assert ids(words="necesito una abogada") == set(), "a system's search requires every word"
    since = pb.ListPublicServicesRequest()
    since.modified_after.FromDatetime(scene.clock.now())
    assert {service.service.id for service in scene.nobody.ListPublicServices(since).services} == {
        school.id
    }
    pages = [list_public(scene, page_size=1, page=number) for number in (1, 2, 3)]
    assert [[service.service.id for service in page.services] for page in pages] == [
        [id] for id in sorted((legal.id, school.id))
    ] + [[]]
    assert {page.total_size for page in pages} == {2}


def add_private_service(scene: Scene, house: Organization, service: Service) -> None:
    scene.service(house, "Secreto", "LEG", description="Asesoría secreta")


def add_shelters(scene: Scene, house: Organization, service: Service) -> None:
    scene.service(house, "Albergue secreto", "HOU.SAFE", confidential=True)
    scene.service(house, "Albergue", "HOU.EMG")


def add_other_members(scene: Scene, house: Organization, service: Service) -> None:
    scene.service(scene.organization("Secreto", approved=False), "Asesoría", "LEG", public=True)
    scene.service(
        scene.organization("Asesoría secreta"), "Asesoría", "LEG", active=False, public=True
    )
    scene.organization("Secreto sin servicios")


def change_room(scene: Scene, house: Organization, service: Service) -> None:
    manager = scene.by(house, Role.WORKER, Role.MANAGER)
    scene.advance(days=1)
    manager.SetCapacity(id=service.id, capacity=d.Capacity(available=1, intake=d.INTAKE_CLOSED))


def change_narrowed_text(scene: Scene, house: Organization, service: Service) -> None:
    """Changes a description that only partners see, so that nobody else sees a change."""
    manager = scene.by(house, Role.MANAGER)
    scene.advance(days=1)
    own_service = manager.GetService(id=service.id)
    own_service.description, own_service.update_time.seconds = "un secreto de albergue", 0
    request = d.UpdateServiceRequest(service=own_service)
    for path in (
        "create_time",
        "update_time",
        "assured_time",
        "open_now",
        "organization_name",
        "organization_type",
    ):
        request.service.ClearField(path)
    request.update_mask.paths.append("description")
    manager.UpdateService(request)


def add_hidden_place(scene: Scene, house: Organization, service: Service) -> None:
    manager = scene.by(house, Role.MANAGER)
    scene.advance(days=1)
    location = manager.CreateLocation(
        location=l.Location(
            name="Secreto", department="NI-CI", address="Calle 7", confidential=True
        )
    )
    service_at_location = l.ServiceAtLocation(service_id=service.id, location_id=location.id)
    service_at_location.schedules.add(freq=d.FREQUENCY_WEEKLY, opens_at="00:00", closes_at="23:00")
    manager.SetServiceAtLocation(service_at_location=service_at_location)


def import_hidden_place(scene: Scene, house: Organization, service: Service) -> None:
    scene.advance(days=1)
    place = {"name": "Secreto", "x_department": "NI-CI", "x_confidential": "true"}
    row = {
        "id": service.id,
        "name": service.entry.name,
        "x_need_codes": ["LEG"],
        "service_at_locations": [{"location": place, "languages": [{"code": "miq"}]}],
    }
    assert scene.import_report(scene.by(house, Role.MANAGER), as_json(row)).written


def add_contact(scene: Scene, house: Organization, service: Service) -> None:
    manager = scene.by(house, Role.MANAGER)
    scene.advance(days=1)
    [offered] = manager.ListServiceAtLocations(service_id=service.id).service_at_locations
    service_at_location = l.ServiceAtLocation(
        service_id=service.id, location_id=offered.location_id, phones=offered.phones
    )
    service_at_location.contacts.add(name="Secreto Pérez")
    manager.SetServiceAtLocation(service_at_location=service_at_location)


def add_evidence_and_proposals(scene: Scene, house: Organization, service: Service) -> None:
    scene.advance(days=1)
    scene.vet(house.id)
    assert scene.neighbour, "there is a second coordinator"
    scene.coordinator.SuspendOrganization(
        id=house.id, etag=scene.etag(house.id), reason=d.SUSPENSION_REASON_FRONT
    )


def open_house(scene: Scene) -> tuple[Organization, Service]:
    """Adds a member with a public service, one text of which is hidden, and a place for it."""
    house = scene.organization("Casa Abierta", url="https://casa.example")
    service = scene.service(
        house,
        "Asesoría legal",
        "LEG",
        public=True,
        description="Nota interna",
        tiers=(("description", contract_pb2.TIER_PARTNER),),
    )
    manager = scene.by(house, Role.MANAGER)
    location = manager.CreateLocation(
        location=l.Location(name="Oficina", department="NI-CI", address="Calle 1")
    )
    service_at_location = l.ServiceAtLocation(
        service_id=service.id, location_id=location.id, phones=[d.Phone(number="+50523410001")]
    )
    manager.SetServiceAtLocation(service_at_location=service_at_location)
    return house, service


HIDDEN_CHANGES = [
    add_private_service,
    add_shelters,
    add_other_members,
    change_room,
    change_narrowed_text,
    add_hidden_place,
    import_hidden_place,
    add_contact,
    add_evidence_and_proposals,
]
"""Functions that change data which the public does not see."""


@pytest.mark.parametrize("hide", HIDDEN_CHANGES, ids=lambda hide: hide.__name__)
def test_hidden_data_changes_no_byte_of_the_public_directory(
    scene: Scene, hide: Callable[[Scene, Organization, Service], None]
) -> None:
    house, service = open_house(scene)
    before = all_answers(scene)
    assert b"Oficina" in before[0]
    assert scene.nobody.ListPublicServiceAtLocations().total_size == 1
    assert b"interna" not in before[0]
    hide(scene, house, service)
    assert all_answers(scene) == before


def test_the_modification_time_changes_with_everything_that_anybody_may_read(
    scene: Scene, member: Organization, manager: Stubs
) -> None:
    service = scene.service(member, "Asesoría", "LEG", public=True)
    times = [list_public(scene).services[0].modify_time.ToDatetime()]
    location = manager.CreateLocation(location=l.Location(name="Oficina", department="NI-CI"))
    service_at_location = l.ServiceAtLocation(service_id=service.id, location_id=location.id)

    def move() -> None:
        place = manager.GetLocation(id=location.id)
        request = l.UpdateLocationRequest(
            location=l.Location(id=location.id, etag=place.etag, name="Otra")
        )
        request.update_mask.paths.append("name")
        manager.UpdateLocation(request)

    def leave() -> None:
        [offered] = manager.ListServiceAtLocations(service_id=service.id).service_at_locations
        manager.DeleteServiceAtLocation(id=offered.id)

    def describe(**entry: Any) -> None:
        manager.UpdateOrganization(
            organization=d.Organization(id=member.id, etag=scene.etag(member.id), **entry),
            update_mask=FieldMask(paths=list(entry)),
        )

    def go_and_return() -> None:
        scene.suspend(member.id)
        assert list_public(scene).total_size == 0
        scene.reinstate(member.id)

    for change in (
        lambda: manager.SetServiceAtLocation(service_at_location=service_at_location),
        move,
        leave,
        partial(describe, name="Otra casa"),
        partial(describe, description="Derechos", url="https://casa.example"),
        go_and_return,
    ):
        scene.advance(days=1)
        change()
        times.append(list_public(scene).services[0].modify_time.ToDatetime())
    assert times == sorted(set(times))


@pytest.mark.parametrize(
    "entry", [{}, {"public": True, "active": False}], ids=["not public", "not offered"]
)
def test_a_service_that_is_not_public_is_not_found(scene: Scene, entry: dict[str, Any]) -> None:
    service = scene.service(scene.organization(), "Asesoría", "LEG", **entry)
    for id in (service.id, "f" * 32, "x"):
        assert refusal(partial(scene.nobody.GetPublicService, id=id)) == NOT_FOUND


def test_each_page_of_a_list_by_name_continues_where_the_page_before_ended(
    scene: Scene, member: Organization
) -> None:
    names = ["Ábaco", "asesoría", "Asesoría", "Escuela", "Zapatería"]
    for name in reversed(names):
        scene.service(member, name, "LEG", public=True)
    seen, token = list[str](), ""
    while True:
        page = list_public(scene, by_name=True, page_size=2, page_token=token)
        seen += [service.service.name for service in page.services]
        assert page.total_size == len(names)
        if not (token := page.next_page_token):
            break
        scene.service(member, f"Al comienzo {len(seen)}", "LEG")  # not public: changes no page
    assert sorted(seen) == sorted(names)
    assert [name.casefold() for name in seen] == [name.casefold() for name in names]
    assert not list_public(scene, page_size=2).next_page_token, "numbered pages have no token"


def test_a_page_token_of_another_query_is_refused(scene: Scene, member: Organization) -> None:
    for name in ("Asesoría", "Escuela", "Consulta"):
        scene.service(member, name, "LEG", public=True)
    token = list_public(scene, by_name=True, page_size=1).next_page_token
    members_token = scene.by(member).SearchServices(page_size=1).next_page_token
    for fields in (
        {"words": "asesoria", "page_token": token},
        {"page_token": members_token},
        {"page_token": token[:-2] + "xx"},
        {"page_token": "x"},
    ):
        violations = wrong_fields(partial(list_public, scene, by_name=True, page_size=1, **fields))
        assert [field for field, _ in violations] == ["page_token"]


def test_a_department_gets_its_own_and_countrywide_services_and_housing_never_shows_its_place(
    scene: Scene, member: Organization
) -> None:
    for name, department, need in (
        ("Chinandega", "NI-CI", "LEG"),
        ("León", "NI-LE", "LEG"),
        ("Todo", "", "LEG"),
        ("Alquiler", "NI-LE", "HOU.RENT"),
    ):
        scene.service(member, name, need, department=department, public=True)
    scene.service(member, "Otra tierra", "HOU.RENT", country="CR", department="CR-SJ", public=True)

    def names(department: str) -> set[str]:
        pages = [
            list_public(scene, department=department, **order) for order in ({}, {"by_name": True})
        ]
        assert pages[0].total_size == pages[1].total_size
        names_by_page = [{service.service.name for service in page.services} for page in pages]
        assert names_by_page[0] == names_by_page[1]
        return names_by_page[0]

    assert names("NI-CI") == {"Chinandega", "Todo", "Alquiler"}
    assert names("NI-LE") == {"León", "Todo", "Alquiler"}
    assert names("NI-RI") == names("NI-ZZ") == {"Todo", "Alquiler"}
    assert names("CR-SJ") == names("CR-L") == {"Otra tierra"}


def test_a_list_by_name_counts_services_only_up_to_a_limit(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_data, "MANY", 2)
    house = scene.organization()
    for name in ("Uno", "Dos", "Tres"):
        scene.service(house, name, "LEG", public=True)
    assert (list_public(scene, by_name=True).total_size, list_public(scene).total_size) == (2, 3)
