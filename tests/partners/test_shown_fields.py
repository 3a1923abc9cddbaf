"""Changes of fields in the directory, who sees a field, and what is searched."""

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from chassis.ids import new_id
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import locations_pb2 as pb
from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role
from services.partners.network.domain.visibility import Tier
from services.partners.network.wire.visibility import tiers, visible_part
from tests.builders import wrong_fields
from tests.partners.scene import Scene, Stubs
from tests.partners.test_locations import (
    OFFICE,
    change,
    change_service,
    changes,
    get,
    make,
    make_service,
)
from tests.partners.test_opening_hours import weekly

STEP_FREE = [d.ACCESSIBILITY_STEP_FREE]


def test_each_change_of_a_field_is_listed_with_its_author_and_the_old_value(
    scene: Scene, member: Organization, manager: Stubs
) -> None:
    created = make(manager, **OFFICE)
    worker = scene.worker(member, Role.MANAGER)
    change(scene.as_worker(worker), created, name="Oficina nueva", address="Frente al mercado")
    assert set(changes(manager, created.id)) == {
        ("name", '"Oficina"', '"Oficina nueva"'),
        ("address", '"Del parque, dos cuadras al norte"', '"Frente al mercado"'),
        ("latitude", "12.62", ""),  # the coordinates of the former address
        ("longitude", "-87.13", ""),
    }
    listed = manager.ListFieldChanges(subject_id=created.id).changes
    assert {change.worker_id for change in listed} == {worker.id}


def test_services_and_organisations_have_a_history_too(
    scene: Scene, member: Organization, manager: Stubs
) -> None:
    service = scene.service(member, "Consulta", "PSS")
    change_service(manager, service.id, phone="+50522223333", schedules=[weekly("08:00", "17:00")])
    assert {field for field, _, _ in changes(manager, service.id)} == {"phone", "schedules"}
    organization = manager.GetOrganization(id=member.id)
    manager.UpdateOrganization(
        organization=d.Organization(
            id=organization.id, etag=organization.etag, url="https://ejemplo.org"
        ),
        update_mask=FieldMask(paths=["url"]),
        request_id=new_id(),
    )
    assert changes(manager, member.id) == [("url", "", '"https://ejemplo.org"')]


@pytest.mark.parametrize("way", ["call", "import"])
def test_a_service_that_becomes_confidential_loses_the_history_of_its_phone(
    scene: Scene, member: Organization, manager: Stubs, way: str
) -> None:
    service = scene.service(member, "Consulta", "PSS", phone="+50522221111")
    change_service(manager, service.id, phone="+50522223333")
    assert "+5052222" in str(changes(manager, service.id))
    if way == "call":
        change_service(manager, service.id, confidential=True)
    else:
        headings = "id;nombre;necesidades;departamento;confidencial"
        row = f"{service.id};Consulta;PSS;Chinandega;sí"
        assert scene.import_report(manager, f"{headings}\n{row}".encode()).written
    history = changes(scene.coordinator, service.id)
    assert ("confidential", "false", "true") in history
    assert [change for change in history if change[0] == "phone"] == [("phone", "", "")] * 2
    assert "+5052222" not in str(scene.rows("SELECT * FROM field_changes"))


def test_field_changes_are_shown_only_to_the_member_itself_and_the_coordination(
    scene: Scene, manager: Stubs, partner: Stubs
) -> None:
    created = change(manager, make(manager, **OFFICE), name="Otra")
    assert changes(partner, created.id) == []
    assert [field for field, _, _ in changes(scene.coordinator, created.id)] == ["name"]
    hidden = change(manager, get(manager, created), confidential=True, accessibility=STEP_FREE)
    change(manager, hidden, address="Otra casa", name="Casa del mar")
    seen = {field for field, _, _ in changes(scene.coordinator, created.id)}
    assert seen == {"confidential", "accessibility"}, "others must not see that it has moved"
    assert {"address", "name"} < {field for field, _, _ in changes(manager, created.id)}


# --- tiers


def test_every_field_of_a_message_that_is_shown_by_tiers_has_a_tier() -> None:
    for message in (d.Organization, d.Service, pb.Location, pb.ServiceAtLocation):
        assert set(tiers(message.DESCRIPTOR)) == set(message.DESCRIPTOR.fields_by_name)
    with pytest.raises(TypeError, match="who may see it"):
        tiers(pb.Area.DESCRIPTOR)


def test_the_public_sees_no_room_and_no_data_about_decisions_of_the_coordination() -> None:
    service = visible_part(
        d.Service(
            id="s", name="Consulta", capacity=d.Capacity(available=3), etag="v1", active=True
        ),
        Tier.PUBLIC,
    )
    assert {field.name for field, _ in service.ListFields()} == {"id", "name"}
    organization = visible_part(
        d.Organization(id="o", name="Puentes", proposal=d.OrganizationProposal(worker_id="w")),
        Tier.PARTNER,
    )
    assert {field.name for field, _ in organization.ListFields()} == {"id", "name"}


def test_a_phone_and_a_text_that_a_caller_may_not_see_are_hidden_and_the_text_is_not_searched(
    scene: Scene, member: Organization, manager: Stubs, partner: Stubs
) -> None:
    created = make_service(
        manager,
        phone="+50522223333",
        description="Atendemos también a quien huye de la finca zarzaparrilla",
        tiers=[
            d.FieldTier(field=name, tier=contract_pb2.TIER_COORDINATOR)
            for name in ("phone", "description")
        ],
    )
    for by, seen in ((partner, False), (manager, True), (scene.coordinator, True)):
        service = by.GetService(id=created.id)
        assert (bool(service.phone), bool(service.description), bool(service.tiers)) == (
            seen,
            seen,
            seen,
        )
    assert not partner.SearchServices(words="zarzaparrilla").services
    assert partner.SearchServices(words="consulta").services


@pytest.mark.parametrize(
    ("fields", "violations"),
    [
        (
            {"tiers": [d.FieldTier(field="name", tier=contract_pb2.TIER_PARTNER)]},
            [("service.tiers.0.field", "unknown_code")],
        ),
        (
            {"tiers": [d.FieldTier(field="phone", tier=contract_pb2.TIER_NAMED)]},
            [("service.tiers.0.tier", "out_of_range")],
        ),
        (
            {"tiers": [d.FieldTier(field="phone", tier=contract_pb2.TIER_PUBLIC)]},
            [("service.tiers.0.tier", "out_of_range")],
        ),
        ({"public": True, "confidential": True}, [("service.public", "out_of_range")]),
        ({"public": True, "need_codes": ["HOU.EMG"]}, [("service.public", "out_of_range")]),
        (
            {"area_codes": ["NI-CI.chichigalpa", "NI-CI.nada"]},
            [("service.area_codes.1", "unknown_code")],
        ),
    ],
)
def test_fields_that_no_service_may_have_are_reported(
    manager: Stubs, fields: dict[str, Any], violations: list[tuple[str, str]]
) -> None:
    assert wrong_fields(lambda: make_service(manager, **fields)) == violations


def test_a_service_is_found_in_each_department_it_serves(manager: Stubs, partner: Stubs) -> None:
    make_service(manager, department="NI-CI", area_codes=["NI-LE.nagarote", "HN-CH"])
    assert [
        len(partner.SearchServices(department=code).services)
        for code in ("NI-CI", "NI-LE", "HN-CH", "NI-MN")
    ] == [1, 1, 1, 0]


def test_the_list_of_areas_has_the_subdivisions_and_the_153_municipalities(scene: Scene) -> None:
    areas = {area.code: area for area in scene.nobody.ListAreas().areas}
    assert sum(code.startswith("NI-") and "." in code for code in areas) == 153
    assert (
        areas["NI-CI.chichigalpa"].name,
        areas["NI-CI.chichigalpa"].parent_code,
        areas["NI-CI"].parent_code,
    ) == (
        "Chichigalpa",
        "NI-CI",
        "NI",
    )
    assert {code[:2] for code in areas} == set("NI CR SV GT HN MX PA BZ EC PE CO US".split())
