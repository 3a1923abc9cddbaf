"""Places: their entries, how much each caller sees of them, and search by place."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from chassis.ids import new_id
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import locations_pb2 as pb
from protos.referrals.v1 import facts_pb2
from services.partners.directory.domain.service import Service
from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role
from services.partners.network.wire.messages import etag_of
from tests.builders import NOT_FOUND, refusal, wrong_fields
from tests.partners.scene import RIGHT_MISSING, Scene, Stubs
from tests.partners.shelters import consume
from tests.partners.test_password_resets import facts_with_letters

REFERRAL, ANOTHER = new_id(), new_id()
HIDDEN_STREET = "Portón azul frente al molino (inventado)"
OFFICE: dict[str, Any] = {
    "name": "Oficina",
    "department": "NI-CI",
    "area_code": "NI-CI.chinandega",
    "address": "Del parque, dos cuadras al norte",
    "latitude": 12.62,
    "longitude": -87.13,
}
HOUSE: dict[str, Any] = {
    "name": "Casa de la colina",
    "department": "NI-CI",
    "address": HIDDEN_STREET,
    "confidential": True,
}


def make(by: Stubs, **fields: Any) -> pb.Location:
    """Creates a place."""
    return by.CreateLocation(  # type: ignore[no-any-return]
        location=pb.Location(**fields), request_id=new_id()
    )


def get(by: Stubs, location: pb.Location) -> pb.Location:
    return by.GetLocation(id=location.id)  # type: ignore[no-any-return]


def change(by: Stubs, location: pb.Location, **fields: Any) -> pb.Location:
    """Changes fields of a place."""
    return by.UpdateLocation(  # type: ignore[no-any-return]
        location=pb.Location(id=location.id, etag=location.etag, **fields),
        update_mask=FieldMask(paths=list(fields)),
        request_id=new_id(),
    )


def delete(by: Stubs, location: pb.Location) -> None:
    by.DeleteLocation(id=location.id, etag=location.etag, request_id=new_id())


def make_service(by: Stubs, **fields: Any) -> d.Service:
    """Creates a service of psychosocial support, unless the fields name another need."""
    service = d.Service(**({"name": "Consulta", "need_codes": ["PSS"]} | fields))
    return by.CreateService(service=service, request_id=new_id())  # type: ignore[no-any-return]


def change_service(by: Stubs, id: str, **fields: Any) -> None:
    """Changes fields of a service."""
    service = d.Service(id=id, etag=by.GetService(id=id).etag, **fields)
    by.UpdateService(
        service=service, update_mask=FieldMask(paths=list(fields)), request_id=new_id()
    )


def refer(
    scene: Scene,
    referral: str,
    service: Service,
    sender: Organization,
    verb: str = "accepted",
    receiver: str = "",
) -> None:
    """Consumes a fact about a referral to a service, at the service's organisation by default."""
    body = facts_pb2.ReferralFact(
        referral_id=referral,
        service_id=service.id,
        receiver_organization_id=receiver or service.organization_id,
        sender_organization_id=sender.id,
        people=1,
    )
    consume(scene, f"enlace.referral.{verb}.v1", body)


def open_address(by: Stubs, referral: str) -> list[pb.OpenedAddress]:
    return list(by.OpenAddress(referral_id=referral).addresses)


def offer(by: Stubs, service_id: str, location: pb.Location, **fields: Any) -> pb.ServiceAtLocation:
    """Offers a service at a place, or changes what is offered there."""
    return by.SetServiceAtLocation(  # type: ignore[no-any-return]
        service_at_location=pb.ServiceAtLocation(
            service_id=service_id, location_id=location.id, **fields
        ),
        request_id=new_id(),
    )


def offers(by: Stubs, service_id: str) -> list[pb.ServiceAtLocation]:
    """Returns the places of a service, each with what is offered there."""
    return list(by.ListServiceAtLocations(service_id=service_id).service_at_locations)


def changes(by: Stubs, id: str) -> list[tuple[str, str, str]]:
    """Returns (field, old value, new value) of each change of an entry."""
    answer = by.ListFieldChanges(subject_id=id)
    return [(change.field, change.old_value, change.new_value) for change in answer.changes]


def test_an_office_is_shown_to_everybody_with_street_and_coordinates(
    manager: Stubs, partner: Stubs
) -> None:
    location = get(partner, make(manager, **OFFICE))
    assert {field: getattr(location, field) for field in OFFICE} == OFFICE


def test_others_see_only_the_department_of_a_confidential_place_and_its_street_is_stored_sealed(
    scene: Scene, manager: Stubs, partner: Stubs
) -> None:
    created = make(manager, **HOUSE, latitude=12.6, longitude=-87.1, area_code="NI-CI.el-viejo")
    for by in (manager, partner, scene.coordinator):
        location = get(by, created)
        assert (
            location.department,
            location.address,
            location.area_code,
            location.HasField("latitude"),
        ) == (
            "NI-CI",
            "",
            "",
            False,
        )
    assert (get(manager, created).name, get(partner, created).name) == (HOUSE["name"], "")
    assert scene.tables_with(HIDDEN_STREET) == set()


def test_others_cannot_see_that_a_confidential_place_has_moved(
    scene: Scene, manager: Stubs, partner: Stubs
) -> None:
    created = make(manager, **HOUSE)
    before, own_view = get(partner, created), get(manager, created)
    scene.advance(minutes=1)
    change(manager, own_view, address="Otra casa")
    change(manager, get(manager, created), name="Casa del mar")
    assert get(partner, created) == before
    assert get(manager, created).update_time != own_view.update_time
    change(manager, get(manager, created), department="NI-MN")
    assert get(partner, created).etag != before.etag


def test_only_its_own_organisation_reads_the_name_of_a_confidential_place(
    scene: Scene, manager: Stubs
) -> None:
    created = make(manager, **HOUSE)
    for role in (Role.COORDINATOR, Role.AUDITOR):
        by = scene.by(scene.coalition, role)
        place = get(by, created)
        assert (place.name, place.HasField("update_time")) == ("", False), role
        request = pb.ListLocationsRequest(organization_id=created.organization_id)
        assert [place.name for place in by.ListLocations(request).locations] == [""]
    assert wrong_fields(lambda: change(scene.coordinator, created, name="Otra")) == [
        ("location.name", "member_only")
    ], "she would overwrite a name that she does not see"
    assert get(manager, created).name == HOUSE["name"]


def test_other_changes_leave_the_sealed_street_as_it_was(
    scene: Scene, member: Organization, manager: Stubs
) -> None:
    created = make(manager, **HOUSE)
    change(manager, created, name="Casa del río")
    service = scene.service(member, confidential=True)
    offer(manager, service.id, created)
    sender = scene.organization("Manda")
    refer(scene, REFERRAL, service, sender)
    (address,) = open_address(scene.by(sender), REFERRAL)
    assert (address.name, address.address) == ("Casa del río", HIDDEN_STREET)


def test_nobody_but_its_own_organisation_states_where_a_confidential_place_is(
    scene: Scene, manager: Stubs
) -> None:
    created = make(manager, **HOUSE)
    assert wrong_fields(lambda: change(scene.coordinator, created, address="A otra casa")) == [
        ("location.address", "member_only")
    ]
    change(scene.coordinator, created, department="NI-LE")


def test_only_a_manager_opens_the_address_of_her_own_place_and_the_trail_records_it(
    scene: Scene, member: Organization, manager: Stubs
) -> None:
    created, office = make(manager, **HOUSE), make(manager, **OFFICE)
    address = manager.OpenOwnAddress(location_id=created.id)
    assert (address.name, address.address) == (HOUSE["name"], HIDDEN_STREET)
    trail = scene.rows("SELECT object_id FROM audit WHERE action = 'address_open' AND allowed")
    assert trail == [{"object_id": created.id}]
    for by, location, expected in (
        (scene.by(scene.organization("Ajena"), Role.MANAGER), created, NOT_FOUND),
        (scene.by(scene.coalition, Role.COORDINATOR, Role.MANAGER), created, NOT_FOUND),
        (scene.by(member), created, RIGHT_MISSING),
        (manager, office, NOT_FOUND),
    ):
        assert refusal(partial(by.OpenOwnAddress, location_id=location.id)) == expected


def test_a_place_that_becomes_confidential_loses_all_directions_and_never_becomes_open_again(
    scene: Scene, member: Organization, manager: Stubs, partner: Stubs
) -> None:
    created = change(
        manager, make(manager, **OFFICE), address="Portón verde", transportation="Ruta 2"
    )
    service = scene.service(member, "Acogida", "PSS")
    offer(
        manager,
        service.id,
        created,
        phones=[d.Phone(number="+50522220000")],
        contacts=[d.ContactPoint(name="Ana Inventada")],
    )
    hidden_place = change(manager, created, confidential=True)
    place = get(partner, hidden_place)
    assert (place.address, place.area_code, place.name) == ("", "", "")
    (details,) = offers(partner, service.id)
    assert (list(details.phones), list(details.contacts)) == ([], [])
    assert "Portón verde" not in str(scene.rows("SELECT * FROM field_changes"))
    assert wrong_fields(lambda: change(manager, hidden_place, confidential=False)) == [
        ("location.confidential", "out_of_range")
    ]


def test_an_open_place_is_hidden_once_its_only_active_service_is_confidential(
    scene: Scene, member: Organization, manager: Stubs, partner: Stubs
) -> None:
    place, office = make(manager, **OFFICE), make(manager, **OFFICE)
    hidden_service = scene.service(member, "Acogida", "PSS")
    open_service = scene.service(member, "", "LEG")
    former = scene.service(member, "Antes", "LEG", active=False)
    for service, location in (
        (hidden_service, place),
        (former, place),
        (hidden_service, office),
        (open_service, office),
    ):
        offer(manager, service.id, location)
    request = pb.ListLocationsRequest(organization_id=member.id)
    assert len(partner.ListLocations(request).locations) == 2
    change_service(manager, hidden_service.id, confidential=True)
    for by in (partner, scene.coordinator):
        assert not offers(by, hidden_service.id)
        assert [location.id for location in by.ListLocations(request).locations] == [office.id]
        assert refusal(partial(get, by, place)) == NOT_FOUND
    assert (get(manager, place).address, get(partner, office).id) == (OFFICE["address"], office.id)
    assert [details.location_id for details in offers(partner, open_service.id)] == [office.id]


def test_the_sealed_fields_of_a_confidential_place_are_replaced_but_not_emptied(
    manager: Stubs,
) -> None:
    created = make(manager, **HOUSE)
    for emptied_fields in ({"transportation": ""}, {"address": "", "transportation": "Ruta 3"}):
        assert wrong_fields(partial(change, manager, created, **emptied_fields)) == [
            (f"location.{next(iter(emptied_fields))}", "required")
        ]
    change(manager, created, transportation="Ruta 3")
    address = manager.OpenOwnAddress(location_id=created.id)
    assert (address.address, address.transportation) == (HOUSE["address"], "Ruta 3")


def test_errors_in_a_place_are_reported_with_their_fields(manager: Stubs) -> None:
    assert wrong_fields(
        lambda: make(
            manager, name="X", department="NI-CI", area_code="NI-LE.nagarote", latitude=12.0
        )
    ) == [
        ("location.area_code", "unknown_code"),
        ("location.longitude", "required"),
    ]

    assert wrong_fields(lambda: change(manager, make(manager, name="X"), country="")) == [
        ("location.country", "required")
    ]


def test_a_place_of_another_organisation_is_not_found(
    scene: Scene, manager: Stubs, stranger: Stubs
) -> None:
    created = make(manager, **OFFICE)
    service = scene.service(scene.organization("Tercera"), "Ajeno", "PSS")
    for call in (
        lambda: change(stranger, created, name="Mía"),
        lambda: delete(stranger, created),
        lambda: make(stranger, **OFFICE, organization_id=created.organization_id),
        lambda: offer(manager, service.id, created),
        lambda: offer(scene.coordinator, service.id, created),
    ):
        assert refusal(call) == NOT_FOUND


def test_a_member_on_probation_sees_no_confidential_place(
    member: Organization, manager: Stubs, newcomer: Stubs
) -> None:
    created, office = make(manager, **HOUSE), make(manager, **OFFICE)
    assert refusal(lambda: get(newcomer, created)) == NOT_FOUND
    (listed,) = newcomer.ListLocations(organization_id=member.id).locations
    assert listed.id == office.id


def test_places_are_listed_a_page_at_a_time(manager: Stubs) -> None:
    created = [make(manager, **OFFICE | {"name": f"Oficina {number}"}).id for number in range(3)]
    first = manager.ListLocations(page_size=2)
    rest = manager.ListLocations(page_size=2, page_token=first.next_page_token)
    assert sorted(location.id for page in (first, rest) for location in page.locations) == sorted(
        created
    )
    assert not rest.next_page_token


def test_a_place_can_be_deleted_only_when_nothing_is_offered_there(
    scene: Scene, member: Organization, manager: Stubs
) -> None:
    created = make(manager, **OFFICE)
    offer_there = offer(manager, scene.service(member, "Acogida", "PSS").id, created)
    assert refusal(lambda: delete(manager, created)) == ("FAILED_PRECONDITION", "location_in_use")
    manager.DeleteServiceAtLocation(id=offer_there.id, request_id=new_id())
    delete(manager, created)
    assert refusal(lambda: get(manager, created)) == NOT_FOUND
    assert (
        refusal(lambda: manager.DeleteServiceAtLocation(id=offer_there.id, request_id=new_id()))
        == NOT_FOUND
    )


def test_only_its_own_organisation_removes_a_confidential_place_or_a_service_from_it(
    scene: Scene, member: Organization, manager: Stubs
) -> None:
    house, empty_house = make(manager, **HOUSE), make(manager, **HOUSE)
    offer_there = offer(manager, scene.service(member, "Acogida", "HOU.EMG").id, house)
    for call in (
        lambda: delete(scene.coordinator, empty_house),
        lambda: scene.coordinator.DeleteServiceAtLocation(id=offer_there.id, request_id=new_id()),
    ):
        assert refusal(call) == RIGHT_MISSING
    delete(manager, empty_house)
    manager.DeleteServiceAtLocation(id=offer_there.id, request_id=new_id())
    office = make(manager, **OFFICE)
    delete(scene.coordinator, office)


def test_a_service_states_its_details_at_a_place_and_can_replace_them(
    scene: Scene, member: Organization, manager: Stubs, partner: Stubs
) -> None:
    service, created = scene.service(member, "Acogida", "PSS"), make(manager, **OFFICE)
    first = offer(
        manager,
        service.id,
        created,
        phones=[d.Phone(number="+505 2222 0000", description="Portería")],
        languages=["es", "miq"],
    )
    changed_offer = offer(manager, service.id, created, phones=[d.Phone(number="+50522220001")])
    (details,) = offers(partner, service.id)
    assert first.id == changed_offer.id == details.id
    assert [phone.number for phone in details.phones] == ["+50522220001"]
    assert (details.location.name, list(details.languages)) == ("Oficina", [])


# Search by place.


def names(by: Stubs, **fields: Any) -> list[str]:
    answer = by.SearchServices(**fields)
    assert answer.total_size == len(answer.services)
    return [service.name for service in answer.services]


def test_a_search_near_a_point_finds_services_with_a_place_around_it(
    scene: Scene, member: Organization, manager: Stubs, partner: Stubs
) -> None:
    for name, latitude, longitude in (
        ("Cerca", 12.62, -87.13),
        ("León", 12.435, -86.88),
        ("Sin punto", None, None),
    ):
        service = scene.service(member, name, "PSS")
        offer(manager, service.id, make(manager, name=name, latitude=latitude, longitude=longitude))
    around = {"latitude": 12.629, "longitude": -87.131}
    assert names(partner, near=d.Near(**around, radius_km=5)) == ["Cerca"]
    assert names(partner, near=d.Near(**around, radius_km=33)) == ["Cerca"], "León is 34 km away"
    assert names(partner, near=d.Near(**around, radius_km=36)) == ["Cerca", "León"]
    assert names(partner, near=d.Near(**around, radius_km=36), words="leon") == ["León"]


def test_a_confidential_service_is_found_near_no_point(
    scene: Scene, member: Organization, manager: Stubs, partner: Stubs
) -> None:
    service, office = scene.service(member, "Casa", "PSS"), make(manager, **OFFICE)
    offer(manager, service.id, office)
    near = d.Near(latitude=12.62, longitude=-87.13, radius_km=1)
    assert names(partner, near=near) == ["Casa"]
    change_service(manager, service.id, confidential=True)
    assert (names(partner, near=near), offers(partner, service.id)) == ([], [])
    assert wrong_fields(lambda: offer(manager, service.id, office)) == [
        ("service_at_location.location_id", "out_of_range")
    ]


def test_a_coordinator_adds_no_place_to_another_organisations_public_service(
    scene: Scene, member: Organization, manager: Stubs
) -> None:
    service = scene.service(member, "Asesoría", "LEG", public=True)
    office = make(manager, **OFFICE)
    assert wrong_fields(lambda: offer(scene.coordinator, service.id, office)) == [
        ("service_at_location.location_id", "member_only")
    ]
    offer(manager, service.id, office)
    assert offer(scene.coordinator, service.id, office, languages=["es"]).languages == ["es"]


@pytest.mark.parametrize("has_manager", [False, True])
def test_once_a_member_has_a_manager_no_coordinator_states_how_to_reach_it(
    scene: Scene, member: Organization, has_manager: bool
) -> None:
    by, id = scene.coordinator, member.id
    service = scene.service(member, "Asesoría", "LEG", phone="+50522220000")
    office = make(by, **OFFICE, organization_id=id)
    offer(by, service.id, office)
    if has_manager:
        scene.worker(member, Role.MANAGER)
    calls: dict[str, Callable[[], Any]] = {
        "organization.url": partial(
            by.UpdateOrganization,
            organization=d.Organization(id=id, etag=etag_of(member), url="https://otra.example"),
            update_mask=FieldMask(paths=["url"]),
        ),
        "service.phone": partial(change_service, by, service.id, phone="+50520000101"),
        "service.name": partial(make_service, by, organization_id=id),
        "location.name": partial(make, by, organization_id=id, name="Otra"),
        "location.address": lambda: change(by, get(by, office), address="Otra calle"),
        "service_at_location.phones": partial(
            offer, by, service.id, office, phones=[d.Phone(number="+50520000101")]
        ),
        "location.confidential": lambda: change(by, get(by, office), confidential=True),
    }
    for path, call in calls.items():
        if has_manager:
            assert wrong_fields(call) == [(path, "member_only")]
        else:
            call()
    change_service(by, service.id, phone="")


def test_a_members_managers_are_notified_of_what_a_coordinator_changes_or_removes(
    scene: Scene, member: Organization
) -> None:
    manager, by = scene.worker(member, Role.MANAGER), scene.coordinator
    own = scene.as_worker(manager)
    service = scene.service(member, "Asesoría", "LEG", phone="+50522220000")
    office, unused = make(own, **OFFICE), make(own, **OFFICE)
    offered = offer(own, service.id, office, phones=[d.Phone(number="+50522220000")])
    calls: list[Callable[[], Any]] = [
        partial(
            by.UpdateOrganization,
            organization=d.Organization(id=member.id, etag=etag_of(member), languages=["es"]),
            update_mask=FieldMask(paths=["languages"]),
        ),
        partial(change_service, by, service.id, phone=""),
        partial(change_service, by, service.id, active=False),
        lambda: change(by, get(by, office), address=""),
        partial(offer, by, service.id, office),
        partial(by.DeleteServiceAtLocation, id=offered.id),
        lambda: delete(by, get(by, unused)),
    ]
    for count, call in enumerate(calls):
        assert notified_of_changes(scene) == [manager.id] * count
        call()
    change_service(by, service.id, active=False)  # as it is already
    assert notified_of_changes(scene) == [manager.id] * len(calls)


def notified_of_changes(scene: Scene) -> list[str]:
    """Returns the managers who got an e-mail about a coordinator's change, one for each e-mail."""
    return [fact.worker_id for fact, _letter in facts_with_letters(scene, "entry_changed")]
