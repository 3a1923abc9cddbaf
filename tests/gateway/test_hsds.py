"""The public directory in HSDS, for anybody."""

from typing import Any
from uuid import UUID

import pytest
from flask import Flask

from chassis.errors import NotFound
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import locations_pb2
from protos.partners.v1 import open_data_pb2 as o
from services.gateway.edge.clients import Clients
from tests.gateway.api_gateway import ID, KEY, FakeServices, app_with
from tests.gateway.hsds_rules import check, check_page
from tests.gateway.served_gateway import Service

HEX = "0123456789abcdef0123456789abcdef"
OBJECTS = ("services", "organizations", "service_at_locations", "taxonomies", "taxonomy_terms")
INVALID_VALUES: list[Any] = [None, [], ["a"], {}, 1.5, "\x00", "\ud800"]
"""Values that no parameter may have."""


def public_service() -> o.PublicService:
    """Returns a service with every field that a public one can have."""
    message = o.PublicService(
        service=d.Service(
            id=HEX,
            organization_id=ID,
            name="Asesoría",
            need_codes=["LEG"],
            description="Derechos",
            country="NI",
            department="NI-CI",
            languages=["es", "miq"],
            phone="+50523410000",
            accessibility=[d.ACCESSIBILITY_STEP_FREE],
            area_codes=["NI-CI", "NI-CI.chichigalpa"],
            eligibility=d.Eligibility(
                minimum_age=18, takes_dependants=False, genders=[d.GENDER_FEMININE]
            ),
            schedules=[
                d.Schedule(
                    freq=d.FREQUENCY_WEEKLY,
                    opens_at="08:00",
                    closes_at="17:00",
                    valid_from="2026-01-01",
                ),
                d.Schedule(
                    freq=d.FREQUENCY_MONTHLY,
                    byday=["1MO", "-1FR"],
                    opens_at="08:00",
                    closes_at="12:00",
                    holidays=True,
                ),
            ],
        ),
        organization=d.Organization(
            id=ID,
            name="Casa",
            type=d.ORGANIZATION_TYPE_NGO,
            country="NI",
            url="https://casa.example",
            phone="+50523410001",
            languages=["es"],
        ),
    )
    message.service.assured_time.FromJsonString("2026-03-14T09:30:00Z")
    message.modify_time.FromJsonString("2026-03-14T09:30:00.5Z")
    office = message.service_at_locations.add(
        id=HEX,
        service_id=HEX,
        location_id=HEX,
        languages=["es"],
        location=locations_pb2.Location(
            id=HEX,
            name="Oficina",
            address="Del parque 2c",
            country="NI",
            department="NI-CI",
            area_code="NI-CI.chichigalpa",
            latitude=12.6,
            longitude=-87.1,
            accessibility=[d.ACCESSIBILITY_LOW_VISION],
        ),
    )
    office.phones.add(number="+50523410002", extension="12", languages=["es"])
    office.schedules.add(freq=d.FREQUENCY_WEEKLY, byday=["MO"], opens_at="08:00", closes_at="17:00")
    return message


@pytest.fixture
def fakes() -> FakeServices:
    """The fake services, which answer empty messages unless the test sets other answers."""
    return FakeServices()


@pytest.fixture
def open_directory(fakes: FakeServices) -> FakeServices:
    fakes.answers |= {
        "ListPublicServices": o.ListPublicServicesResponse(
            services=[public_service()], total_size=3
        ),
        "ListPublicServiceAtLocations": o.ListPublicServiceAtLocationsResponse(
            services=[public_service()], total_size=1
        ),
        "GetPublicService": public_service(),
        "ListPublicOrganizations": o.ListPublicOrganizationsResponse(
            organizations=[public_service().organization], total_size=1
        ),
        "ListTaxonomyTerms": d.ListTaxonomyTermsResponse(
            terms=[
                d.TaxonomyTerm(
                    code="LEG",
                    names={"es": "Asistencia legal", "en": "Legal help"},
                    htcds_spl_types=["Legal"],
                ),
                d.TaxonomyTerm(
                    code="LEG.ADV", parent_code="LEG", names={"es": "Asesoría", "en": "Advice"}
                ),
            ]
        ),
    }
    return fakes


def get(api: Flask, path: str, **headers: str) -> Any:
    return api.test_client().get(
        f"/hsds{path}", headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


def test_the_first_page_names_the_version_of_hsds(api: Flask) -> None:
    body = get(api, "").json
    assert body["version"] == "3.0"
    assert body["openapi_url"].startswith("https://")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/services", "service"),
        ("/services?full=true", "service"),
        ("/organizations", "organization"),
        ("/organizations?full=true", "organization"),
        ("/service_at_locations", "service_at_location"),
        ("/service_at_locations?full=true", "service_at_location"),
        ("/taxonomies", "taxonomy"),
        ("/taxonomy_terms", "taxonomy_term"),
    ],
)
def test_every_list_is_a_page_of_valid_objects(
    api: Flask, open_directory: FakeServices, path: str, kind: str
) -> None:
    answer = get(api, path)
    assert answer.content_type == "application/json"
    assert check_page(kind, answer.json)
    name, _, query = path.partition("?")
    post_answer = api.test_client().post(f"/hsds{name}", json={"full": True} if query else {})
    assert post_answer.json == answer.json


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (f"/services/{HEX}", "service"),
        (f"/organizations/{ID}", "organization"),
        (f"/service_at_locations/{UUID(HEX)}", "service_at_location"),
    ],
)
def test_every_object_is_valid_when_read_by_its_id(
    api: Flask, open_directory: FakeServices, path: str, kind: str
) -> None:
    check(kind, get(api, path).json)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://casa.example", "https://casa.example"),
        (
            "https://ñandú.example/atención?q={x}|y#ñ",
            "https://xn--and-6ma2c.example/atenci%C3%B3n?q=%7Bx%7D%7Cy#%C3%B1",
        ),
        ("https://[::1]:8443/a%20b", "https://[::1]:8443/a%20b"),
        *(
            (invalid, None)
            for invalid in (
                "http://a:b",
                "https://a^b.example/",
                "https://a..example/",
                "https://a.example/#b#c",
                "https://a.example/%zz",
            )
        ),
    ],
)
def test_a_website_that_is_not_a_uri_is_left_out(
    api: Flask, open_directory: FakeServices, url: str, expected: str | None
) -> None:
    organization = d.Organization(id=ID, name="Casa", url=url)
    open_directory.answers["ListPublicOrganizations"] = o.ListPublicOrganizationsResponse(
        organizations=[organization], total_size=1
    )
    assert check_page("organization", get(api, "/organizations").json)[0].get("website") == expected


def test_terms_are_found_by_their_ids_and_parents(api: Flask, open_directory: FakeServices) -> None:
    [group, code] = get(api, "/taxonomy_terms").json["contents"]
    assert code["parent_id"] == group["id"]
    check("taxonomy_term", get(api, f"/taxonomy_terms/{code['id']}").json)
    check("taxonomy", get(api, f"/taxonomies/{code['taxonomy_id']}").json)
    for query, term in (
        (f"parent_id={group['id']}", code),
        ("top_only=true", group),
        ("search=advice&per_page=1", code),
    ):
        assert get(api, f"/taxonomy_terms?{query}").json["contents"] == [term]


def test_a_service_contains_all_that_belongs_to_it(
    api: Flask, open_directory: FakeServices
) -> None:
    body = get(api, f"/services/{UUID(HEX)}").json
    assert open_directory.last("GetPublicService").id == HEX
    days = [schedule["byday"] for schedule in body["schedules"]]
    assert days == ["MO,TU,WE,TH,FR,SA,SU", "1MO,-1FR"]
    [office] = body["service_at_locations"]
    [address] = office["location"]["addresses"]
    assert (address["city"], address["state_province"], office["phones"][0]["extension"]) == (
        "Chichigalpa",
        "Chinandega",
        12,
    )
    assert (
        body["minimum_age"],
        body["x_takes_dependants"],
        body["attributes"][0]["taxonomy_term"]["code"],
    ) == (18, False, "LEG")


@pytest.mark.parametrize("extension", ["012", "١٢", "12A"])
def test_an_extension_that_is_not_a_number_has_its_own_field_and_is_not_changed(
    api: Flask, fakes: FakeServices, extension: str
) -> None:
    found = public_service()
    found.service_at_locations[0].phones[0].extension = extension
    fakes.answers["GetPublicService"] = found
    [office] = get(api, f"/services/{UUID(HEX)}").json["service_at_locations"]
    [phone] = office["phones"]
    assert (phone.get("extension"), phone["x_extension"]) == (None, extension)


def test_two_extensions_of_one_number_are_two_phones_with_ids_of_their_own(
    api: Flask, fakes: FakeServices
) -> None:
    found = public_service()
    found.service_at_locations[0].phones.add(
        number="+50523410002", extension="13", languages=["es"]
    )
    fakes.answers["GetPublicService"] = found
    [office] = get(api, f"/services/{UUID(HEX)}").json["service_at_locations"]
    ids = [row["id"] for phone in office["phones"] for row in (phone, *phone["languages"])]
    assert len(ids) == len(set(ids)) == 4


def test_the_parameters_of_hsds_are_supported(api: Flask, open_directory: FakeServices) -> None:
    [group, _] = get(api, "/taxonomy_terms").json["contents"]
    answer = get(
        api,
        f"/services?search=casa&page=2&per_page=1&taxonomy_term_id={group['id']}&organization_id={UUID(ID)}&modified_after=2026-03-14T09:00:00Z",
    )
    expected = o.ListPublicServicesRequest(
        words="casa", page=2, page_size=1, need_code="LEG", organization_id=ID
    )
    expected.modified_after.FromJsonString("2026-03-14T09:00:00Z")
    assert open_directory.last("ListPublicServices") == expected
    assert {name: value for name, value in answer.json.items() if name != "contents"} == {
        "total_items": 3,
        "total_pages": 3,
        "page_number": 2,
        "size": 1,
        "first_page": False,
        "last_page": False,
        "empty": False,
    }
    minimal = get(api, "/services?minimal=true").json["contents"]
    assert minimal == [{"id": str(UUID(HEX)), "modified_date": "2026-03-14T09:30:00.500000Z"}]


@pytest.mark.parametrize(
    "query", ["taxonomy_term_id=nothing", "organization_id=x", f"taxonomy_id={UUID(HEX)}"]
)
def test_a_filter_for_something_unknown_finds_nothing_rather_than_everything(
    api: Flask, open_directory: FakeServices, query: str
) -> None:
    for name in ("services", "service_at_locations"):
        answer = get(api, f"/{name}?{query}").json
        assert (answer["total_items"], answer["empty"], answer["contents"]) == (0, True, [])


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("proximity=5", "unknown_field"),
        ("page=1&page=2", "malformed"),
        ("per_page=1000", "out_of_range"),
        ("page=0", "out_of_range"),
        ("page=-1", "out_of_range"),
        ("format=ndjson", "unknown_code"),
        ("full=maybe", "malformed"),
        ("modified_after=yesterday", "malformed"),
        ("modified_after=0001-01-01T00:00:00%2B14:00", "malformed"),
        (f"search={'a' * 201}", "too_long"),
    ],
)
def test_unsupported_parameters_are_refused(
    api: Flask, open_directory: FakeServices, query: str, reason: str
) -> None:
    answer = get(api, f"/services?{query}")
    assert (answer.status_code, answer.content_type) == (400, "application/problem+json")
    assert answer.json["errors"][0]["reason"] == reason


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/hsds/services", "per_page"),
        ("/hsds/service_at_locations", "per_page"),
        ("/hsds/organizations", "per_page"),
        ("/api/v1/services", "limit"),
    ],
)
def test_a_page_that_is_too_large_to_transfer_is_refused_with_the_name_of_its_size_parameter(
    service: Service, clients: Clients, path: str, parameter: str
) -> None:
    """A refusal with 429 would have the client repeat the same request for ever."""
    found = d.Service(description="x" * 5_000_000)
    pages = {
        "ListPublicServices": o.ListPublicServicesResponse(
            services=[o.PublicService(service=found)]
        ),
        "ListPublicServiceAtLocations": o.ListPublicServiceAtLocationsResponse(
            services=[o.PublicService(service=found)]
        ),
        "ListPublicOrganizations": o.ListPublicOrganizationsResponse(
            organizations=[d.Organization(description=found.description)]
        ),
        "SearchServices": d.SearchServicesResponse(services=[found]),
    }
    service.answer = lambda rpc, _context: pages.get(rpc)
    app = app_with(FakeServices())
    app.extensions["clients"] = clients
    answer: Any = app.test_client().get(path, headers={"Authorization": f"Bearer {KEY}"})
    assert (answer.status_code, answer.json["errors"]) == (
        400,
        [{"parameter": parameter, "reason": "out_of_range"}],
    )


def test_answers_may_be_cached_for_a_while_and_then_revalidated(
    api: Flask, open_directory: FakeServices
) -> None:
    answer = get(api, "/services")
    assert (answer.headers["Cache-Control"], answer.headers["Access-Control-Allow-Origin"]) == (
        "public, max-age=300",
        "*",
    )
    unchanged = get(api, "/services", If_None_Match=answer.headers["ETag"])
    assert (unchanged.status_code, unchanged.data) == (304, b"")


def test_a_page_of_another_site_may_search_by_post(
    api: Flask, open_directory: FakeServices
) -> None:
    """Its browser asks first whether the request may state that its body is JSON."""
    answer = api.test_client().options(
        "/hsds/services",
        headers={
            "Origin": "https://mapa.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type",
        },
    )
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Access-Control-Allow-Headers"] == "Content-Type"


def test_no_credential_is_needed_and_none_is_read(api: Flask, open_directory: FakeServices) -> None:
    answer = get(api, "/services", Authorization="Bearer enl_wrong", Cookie="session=x")
    assert answer.status_code == 200
    assert all(not caller.tokens for _, _, caller in open_directory.calls)


def test_missing_objects_and_unsupported_methods_are_problems(
    api: Flask, open_directory: FakeServices
) -> None:
    open_directory.answers |= {
        "GetPublicService": NotFound(),
        "ListPublicOrganizations": o.ListPublicOrganizationsResponse(),
    }
    for path in (
        f"/services/{HEX}",
        "/services/x",
        f"/organizations/{HEX}",
        f"/taxonomy_terms/{HEX}",
        f"/taxonomies/{HEX}",
        "/nothing",
    ):
        answer = get(api, path)
        assert (answer.status_code, answer.content_type, answer.json["reason"]) == (
            404,
            "application/problem+json",
            "not_found",
        )
        assert "max-age" not in answer.headers.get("Cache-Control", "")
    assert api.test_client().delete("/hsds/services").status_code == 405
    assert api.test_client().post("/hsds/services", json=[]).status_code == 400


@pytest.mark.parametrize(
    ("query", "body", "reason"),
    [
        *(("", {"search": value}, "malformed") for value in INVALID_VALUES),
        ("", {"organization_id": None}, "malformed"),
        ("?search=casa", {"search": "luna"}, "malformed"),
        ("?page=1", {"page": 1}, "malformed"),
        ("", {"search": "a" * 201}, "too_long"),
    ],
)
def test_a_parameter_has_one_value_that_is_text_a_number_or_a_boolean(
    api: Flask, open_directory: FakeServices, query: str, body: dict[str, Any], reason: str
) -> None:
    answer: Any = api.test_client().post(f"/hsds/services{query}", json=body)
    assert (answer.status_code, [error["reason"] for error in answer.json["errors"]]) == (
        400,
        [reason],
    )
    assert open_directory.requests("ListPublicServices") == []


def test_a_body_that_names_a_parameter_twice_is_refused(
    api: Flask, open_directory: FakeServices
) -> None:
    answer: Any = api.test_client().post(
        "/hsds/services", data='{"search": "a", "search": "b"}', content_type="application/json"
    )
    assert (answer.status_code, answer.json["reason"]) == (400, "malformed_json")


@pytest.mark.parametrize("path", ["", *(f"/{name}/{HEX}" for name in OBJECTS)])
def test_a_url_without_parameters_refuses_every_parameter(
    api: Flask, open_directory: FakeServices, path: str
) -> None:
    for query in ("zz=1", "full=true", "page=1"):
        answer = get(api, f"{path}?{query}")
        assert (answer.status_code, answer.json["errors"][0]["reason"]) == (400, "unknown_field")
    assert open_directory.requests("GetPublicService") == []
