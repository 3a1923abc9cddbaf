"""Imports of services and places in HSDS, as JSON or as a data package."""

import math
from typing import Any

import pytest

from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import locations_pb2
from services.gateway.api.hsds import objects
from services.partners.members.domain.organization import Organization
from tests.partners.scene import Scene, Stubs
from tests.partners.test_imports import (
    CHANGED,
    CREATED,
    UNCHANGED,
    as_json,
    outcomes,
    package,
    problems,
    problems_of_files,
    sheet,
)

ORGANIZATION = {
    "id": "0fdfb57f-c147-4cfb-864c-44788a335d8c",
    "name": "Una casa",
    "description": "x",
}
PLACE = {
    "id": "3a19ff88-4620-4d17-9830-ac1d859eb5d5",
    "location_type": "physical",
    "name": "Oficina",
    "latitude": 12.6,
    "longitude": -87.1,
    "addresses": [
        {
            "id": "1",
            "address_1": "Del parque 2c al norte",
            "city": "Chinandega",
            "state_province": "Chinandega",
            "country": "NI",
        }
    ],
}
SERVICE: dict[str, Any] = {
    "id": "ac148810-d857-441c-9679-408f346de14b",
    "name": "Consejería",
    "status": "active",
    "minimum_age": 12,
    "organization": ORGANIZATION,
    "phones": [{"id": "1", "number": "+505 2341 0000"}],
    "languages": [{"id": "1", "code": "es"}],
    "attributes": [{"id": "1", "taxonomy_term": {"id": "x", "code": "PSS", "name": "?"}}],
    "schedules": [
        {
            "id": "1",
            "freq": "WEEKLY",
            "byday": "MO,TU",
            "opens_at": "10:00:00",
            "closes_at": "18:00:00",
        }
    ],
    "service_at_locations": [
        {"id": "9", "location": PLACE, "phones": [{"number": "+50523410001"}]}
    ],
}


@pytest.mark.parametrize(("area", "area_codes"), [("NI-LE", []), ("NI-MN", ["NI-MN"])])
def test_an_area_that_open_data_derived_from_the_department_is_not_imported(
    scene: Scene, manager: Stubs, area: str, area_codes: list[str]
) -> None:
    """Otherwise the service would stay in the search of a department that it has left."""
    areas_of_service = [{"name": area, "x_area_code": area}]
    service = SERVICE | {"x_department": "NI-LE", "service_areas": areas_of_service}
    assert scene.import_report(manager, as_json([service])).created == 1
    assert scene.rows("SELECT area_codes FROM services") == [{"area_codes": area_codes}]


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: [s], lambda s: {"contents": [s]}])
def test_a_service_in_hsds_is_imported_with_its_place(
    scene: Scene, manager: Stubs, wrap: Any
) -> None:
    report = scene.import_report(manager, as_json(wrap(SERVICE)))
    assert (problems(report), report.created, report.written) == ([], 1, True)
    assert scene.rows(
        "SELECT name, department, address, latitude, phones->0->>'number' AS number"
        " FROM locations, service_at_locations"
    ) == [
        {
            "name": "Oficina",
            "department": "NI-CI",
            "address": "Del parque 2c al norte",
            "latitude": 12.6,
            "number": "+50523410001",
        }
    ]
    moved_service = {
        **SERVICE,
        "service_at_locations": [{"id": "9", "location": {**PLACE, "name": "Otra oficina"}}],
    }
    for service, outcome in ((SERVICE, UNCHANGED), (moved_service, CHANGED)):
        assert outcomes(scene.import_report(manager, as_json(wrap(service)))) == [outcome]
    assert len(scene.rows("SELECT * FROM locations")) == 1


@pytest.mark.parametrize(("latitude", "stored"), [(12.6, 12.6), ("", None)])
def test_an_imported_place_with_another_address_keeps_only_coordinates_that_the_file_states(
    scene: Scene, manager: Stubs, latitude: float | str, stored: float | None
) -> None:
    scene.import_report(manager, as_json(SERVICE))
    address = PLACE["addresses"][0] | {"address_1": "Del molino"}  # type: ignore[index]
    coordinates = {} if latitude else {"latitude": "", "longitude": ""}
    location = PLACE | {"addresses": [address]} | coordinates
    offers = [{"id": "9", "location": location}]
    scene.import_report(manager, as_json(SERVICE | {"service_at_locations": offers}))
    assert scene.rows("SELECT address, latitude FROM locations") == [
        {"address": "Del molino", "latitude": stored}
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"latitude": "", "longitude": ""}, []),
        ({"name": "Otra oficina"}, [(2, "", "service_at_locations", "contradicts")]),
        ({"transportation": "Bus 5"}, [(2, "", "service_at_locations", "contradicts")]),
    ],
)
def test_two_copies_of_a_place_in_one_file_may_not_contradict_each_other(
    scene: Scene, manager: Stubs, change: dict[str, Any], expected: list[Any]
) -> None:
    """The second copy was once ignored silently."""
    second = {"service_at_locations": [{"id": "8", "location": PLACE | change}]}
    services = [SERVICE, SERVICE | {"id": "2", "name": "Otra"} | second]
    assert problems(scene.import_report(manager, as_json(services))) == expected


def test_a_place_that_occurs_twice_in_a_data_package_is_refused(
    scene: Scene, manager: Stubs
) -> None:
    places = [{"id": "l1", "name": name} for name in ("Oficina", "Otra")]
    report = scene.import_report(manager, tables(locations=places))
    assert problems_of_files(report) == [("locations.csv", 3, "A", "id", "duplicate")]


@pytest.mark.parametrize("first", ["LEG", "HOU.SAFE"])
def test_a_place_that_a_shelter_shares_with_another_service_is_sealed_in_either_order(
    scene: Scene, manager: Stubs, first: str
) -> None:
    services = [
        {
            **SERVICE,
            "id": need,
            "name": need,
            "attributes": [{"id": "1", "taxonomy_term": {"id": "x", "code": need}}],
        }
        for need in sorted(("LEG", "HOU.SAFE"), key=lambda need: need != first)
    ]
    report = scene.import_report(manager, as_json(services))
    assert (problems(report), report.created) == ([], 2)
    assert scene.rows("SELECT confidential, address, latitude FROM locations") == [
        {"confidential": True, "address": "", "latitude": None}
    ]
    assert scene.rows("SELECT phones FROM service_at_locations") == [{"phones": []}] * 2


def test_members_that_share_a_building_get_a_place_each(scene: Scene) -> None:
    names = [scene.organization(name).entry.name for name in ("Casa Uno", "Casa Dos")]
    content = as_json(
        [{**SERVICE, "id": name, "name": name, "organization": {"name": name}} for name in names]
    )
    assert outcomes(scene.import_report(scene.coordinator, content)) == [CREATED] * 2
    assert (
        scene.rows(
            "SELECT l.organization_id = s.organization_id AS own FROM service_at_locations AS a"
            " JOIN locations AS l ON l.id = a.location_id JOIN services AS s ON s.id = a.service_id"
        )
        == [{"own": True}] * 2
    )
    assert outcomes(scene.import_report(scene.coordinator, content)) == [UNCHANGED] * 2


def test_an_import_by_others_neither_shows_nor_changes_the_name_of_a_confidential_place(
    scene: Scene, member: Organization, manager: Stubs
) -> None:
    def content(id: str, place_id: str, name: str) -> bytes:
        place = {**PLACE, "id": place_id, "name": name, "x_confidential": "true"}
        offers = [{"id": "9", "location": place}]
        service = {**SERVICE, "id": id, "x_confidential": "true", "service_at_locations": offers}
        return as_json(service)

    assert scene.import_report(manager, content("1", "2", "Casa del mar")).written
    (stored,) = scene.rows("SELECT service_id, location_id FROM service_at_locations")
    service_id, location_id = stored["service_id"], stored["location_id"]
    for place_id in (location_id, ""):
        right, wrong = (
            scene.import_report(
                scene.coordinator,
                content(service_id, place_id, name),
                organization_id=member.id,
                dry_run=True,
            )
            for name in ("Casa del mar", "Otra")
        )
        assert right == wrong, place_id
    scene.import_report(
        scene.coordinator, content(service_id, location_id, "Otra"), organization_id=member.id
    )
    assert scene.rows("SELECT name FROM locations") == [{"name": "Casa del mar"}]


def test_a_place_that_a_file_makes_confidential_keeps_no_phone_and_no_contact(
    scene: Scene, manager: Stubs
) -> None:
    scene.import_report(manager, as_json(SERVICE))
    (stored,) = scene.rows("SELECT service_id, location_id FROM service_at_locations")
    manager.SetServiceAtLocation(
        service_at_location=locations_pb2.ServiceAtLocation(
            **stored,
            phones=[d.Phone(number="+50523410001")],
            contacts=[d.ContactPoint(name="Ana Inventada")],
        )
    )
    confidential_service = {
        **SERVICE,
        "x_confidential": "true",
        "service_at_locations": [
            {
                "id": "9",
                "location": {**PLACE, "x_confidential": "true"},
                "phones": [{"number": "+50523419999"}],
                "languages": [{"code": "miq"}],
            }
        ],
    }
    report = scene.import_report(manager, as_json(confidential_service))
    assert (problems(report), outcomes(report), report.written) == ([], [CHANGED], True)
    assert scene.rows(
        "SELECT confidential, address, phones, contacts, service_at_locations.languages"
        " FROM locations, service_at_locations"
    ) == [{"confidential": True, "address": "", "phones": [], "contacts": [], "languages": ["miq"]}]
    assert outcomes(scene.import_report(manager, as_json(confidential_service))) == [UNCHANGED]


def test_an_unknown_facility_is_refused(scene: Scene, manager: Stubs) -> None:
    report = scene.import_report(
        manager, as_json(SERVICE | {"x_accessibility": ["step_free", "lift"]})
    )
    assert problems(report) == [(1, "", "accessibility", "unknown_code")]


@pytest.mark.parametrize(
    ("id", "extension"),
    [("", "12"), ("", "012"), ("2f6f4b7c-1c0d-4f6e-9d0a-5a2b3c4d5e6f", "012")],
)
def test_everything_that_the_open_data_state_about_a_service_is_imported(
    id: str, extension: str, scene: Scene, manager: Stubs
) -> None:
    """A service keeps its data when its export is imported; another network reads them all."""
    scene.import_report(manager, as_json(SERVICE | {"x_public": True}))
    (offer,) = scene.rows("SELECT service_id, location_id FROM service_at_locations")
    stored = manager.GetService(id=offer["service_id"])
    manager.UpdateService(
        service=d.Service(
            id=stored.id, etag=stored.etag, accessibility=[d.ACCESSIBILITY_STEP_FREE]
        ),
        update_mask={"paths": ["accessibility"]},
    )
    night: dict[str, Any] = {
        "extension": extension,
        "description": "guardia de noche",
        "languages": ["miq"],
    }
    phone = d.Phone(number="+50523410001", **night)
    manager.SetServiceAtLocation(
        service_at_location=locations_pb2.ServiceAtLocation(
            **offer, phones=[phone], languages=["bzk"]
        )
    )
    exported = objects.service(scene.nobody.GetPublicService(id=stored.id), {}, full=True)
    report = scene.import_report(manager, as_json(exported | ({"id": id} if id else {})))
    assert (problems(report), outcomes(report)) == ([], [CREATED if id else UNCHANGED])
    assert scene.rows(
        "SELECT accessibility, phones, a.languages FROM services JOIN service_at_locations AS a"
        " ON service_id = services.id WHERE services.id = %s",
        report.lines[0].subject_id,
    ) == [
        {
            "accessibility": ["STEP_FREE"],
            "phones": [{"number": phone.number} | night],
            "languages": ["bzk"],
        }
    ]


def tables(**more: list[dict[str, str]]) -> bytes:
    """Returns a data package of one service with its place; `more` replaces tables."""
    defaults = {
        "organizations": [{"id": "o1", "name": "Una casa"}],
        "services": [
            {"id": "s1", "organization_id": "o1", "name": "Consejería", "status": "active"}
        ],
        "taxonomy_terms": [{"id": "t1", "code": "PSS", "name": "?"}],
        "attributes": [
            {"id": "a1", "link_id": "s1", "link_entity": "service", "taxonomy_term_id": "t1"}
        ],
        "locations": [{"id": "l1", "name": "Oficina", "latitude": "12.6", "longitude": "-87.1"}],
        "addresses": [
            {
                "id": "d1",
                "location_id": "l1",
                "address_1": "Del parque 2c",
                "state_province": "Chinandega",
                "country": "NI",
            }
        ],
        "service_at_locations": [{"id": "x1", "service_id": "s1", "location_id": "l1"}],
        "phones": [{"id": "p1", "service_id": "s1", "number": "+50523410000"}],
        "schedules": [
            {
                "id": "h1",
                "service_id": "s1",
                "freq": "WEEKLY",
                "byday": "MO",
                "opens_at": "08:00",
                "closes_at": "12:00",
            }
        ],
    }
    return package(**(defaults | more))


def test_a_data_package_is_put_together_from_its_tables(scene: Scene, manager: Stubs) -> None:
    report = scene.import_report(manager, tables())
    assert problems(report) == []
    assert [(line.file, line.row, line.outcome) for line in report.lines] == [
        ("services.csv", 2, CREATED),
        ("locations.csv", 2, CREATED),
    ]
    service = manager.GetService(id=report.lines[0].subject_id)
    assert (
        list(service.need_codes),
        service.phone,
        service.department,
        len(service.schedules),
    ) == (["PSS"], "+50523410000", "NI-CI", 1)
    assert outcomes(scene.import_report(manager, tables())) == [UNCHANGED, UNCHANGED]


@pytest.mark.parametrize(
    ("opens", "read"),
    [
        ("10:00", "10:00"),
        ("10:00:00", "10:00"),
        ("10:00-06:00", "10:00"),
        ("10:00Z", "ambiguous"),  # HSDS allows UTC, in which the place opens at another hour
        ("10:00 PM", "malformed"),
        ("10:00?", "malformed"),
        ("24:00", "malformed"),
        ("10:60", "malformed"),
        ("", "required"),
    ],
)
def test_an_hour_in_hsds_is_read_as_the_hour_at_the_place_or_refused(
    opens: str, read: str, scene: Scene, manager: Stubs
) -> None:
    schedule = {"freq": "WEEKLY", "byday": "MO", "opens_at": opens, "closes_at": "23:00"}
    report = scene.import_report(manager, as_json({**SERVICE, "schedules": [schedule]}))
    if report.written:
        [row] = scene.rows("SELECT schedules FROM services")
        assert row["schedules"][0]["opens_at"] == read
    else:
        assert [problem[3] for problem in problems(report)] == [read]


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({"languages": [{"name": "Spanish"}, {"code": "miq"}]}, []),
        ({"languages": [{"name": "the one of the house"}]}, [("languages", "unknown_code")]),
        (
            {"phones": [{"number": f"+505 2341 {n:04}"} for n in range(11)]},
            [("phones", "too_long")],
        ),
        ({"phones": [{"number": "ask inside"}]}, [("phones", "malformed")]),
        (
            {"phones": [{"number": "+505 2341 0000", "extension": "12345678901"}]},
            [("phones", "too_long")],
        ),
        *(
            ({"phones": [{"number": "+505 2341 0000"} | detail]}, [("phones", "malformed")])
            for detail in ({"extension": math.nan}, {"description": "Noche \ud83d"})
        ),
    ],
)
def test_a_file_may_state_no_more_about_a_service_at_a_place_than_an_rpc(
    details: dict[str, Any], expected: list[tuple[str, str]], scene: Scene, manager: Stubs
) -> None:
    service = {**SERVICE, "service_at_locations": [{"id": "9", "location": PLACE, **details}]}
    report = scene.import_report(manager, as_json(service))
    assert [problem[2:] for problem in problems(report)] == expected
    stored = scene.rows("SELECT languages FROM service_at_locations")
    assert stored == ([] if expected else [{"languages": ["es", "miq"]}])


@pytest.mark.parametrize("value", ["Ayuda \ud83d", math.nan, math.inf])
@pytest.mark.parametrize("field", ["id", "name", "description", "minimum_age"])
def test_a_text_that_was_cut_inside_a_character_and_a_value_that_is_no_number_are_refused(
    field: str, value: str | float, scene: Scene, manager: Stubs
) -> None:
    """A program writes NaN for an empty cell: a service was called nan."""
    content = as_json([SERVICE, {**SERVICE, "id": "2", "name": "b", field: value}])
    assert problems(scene.import_report(manager, content)) == [(2, "", field, "malformed")]


def test_an_error_in_a_table_is_reported_with_the_name_of_the_table(
    scene: Scene, manager: Stubs
) -> None:
    hours = [
        {
            "id": "h1",
            "service_id": "s1",
            "freq": "WEEKLY",
            "byday": "MO",
            "opens_at": "8 en punto",
            "closes_at": "12:00",
        },
        {
            "id": "h2",
            "service_id": "s1",
            "freq": "WEEKLY",
            "byday": "TU",
            "opens_at": "08:00",
            "closes_at": "12:00",
            "interval": "2",
        },
    ]
    links = [{"id": "x1", "service_id": "s1", "location_id": "l9"}]
    report = scene.import_report(manager, tables(schedules=hours, service_at_locations=links))
    assert set(problems_of_files(report)) == {
        ("schedules.csv", 2, "E", "opens_at", "malformed"),
        ("schedules.csv", 3, "G", "interval", "out_of_range"),
        ("service_at_locations.csv", 2, "C", "location_id", "unknown_code"),
        ("services.csv", 2, "", "department", "required"),  # nothing else gives its place
    }
    assert not report.written


@pytest.mark.parametrize("need", ["HOU.SAFE", "HOU", "Vivienda y albergue"])
def test_the_address_of_a_shelter_is_sealed_whatever_the_file_says(
    need: str, scene: Scene, manager: Stubs
) -> None:
    content = sheet(
        f"Casa;{need};Chinandega;Calle secreta 7;12.6;-87.1",
        headings="Nombre;Necesidades;Departamento;Dirección;Latitud;Longitud",
    )
    report = scene.import_report(manager, content)
    assert (problems(report), report.created) == ([], 1)
    assert scene.rows(
        "SELECT confidential, address, latitude, secret IS NOT NULL AS sealed FROM locations"
    ) == [{"confidential": True, "address": "", "latitude": None, "sealed": True}]
    assert scene.tables_with("secreta") == set()
    assert outcomes(scene.import_report(manager, content)) == [UNCHANGED]
    public = scene.import_report(
        manager, sheet(f"Otra;{need};León;sí", headings="Nombre;Necesidades;Departamento;Público")
    )
    assert problems(public) == [(2, "D", "public", "out_of_range")]


def test_a_place_that_a_service_names_twice_is_one_of_its_places(
    scene: Scene, manager: Stubs
) -> None:
    places = [{**PLACE, "id": f"l{number}", "name": f"Oficina {number}"} for number in range(26)]
    phones = [{"number": "+50523410001"}]
    links = [
        {"id": f"{place['id']}-{side}", "location": place, "phones": phones * (side == "a")}
        for place in places
        for side in "ab"
    ]
    service = {**SERVICE, "service_at_locations": links}
    for outcome in (CREATED, UNCHANGED):
        report = scene.import_report(manager, as_json(service))
        assert (problems(report), outcomes(report)) == ([], [outcome])
    assert scene.rows("SELECT jsonb_array_length(phones) AS n FROM service_at_locations") == (
        [{"n": 1}] * 26
    )
