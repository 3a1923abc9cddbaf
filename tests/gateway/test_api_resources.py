"""Versions, repeated requests, pages and changes of the resources of the API."""

import re
from typing import Any

import pytest
from flask import Flask
from google.protobuf.message import Message

from chassis.errors import Invalid, Unauthenticated
from protos.notifications.v1 import notifications_pb2
from protos.partners.v1 import directory_pb2
from protos.referrals.v1 import (
    contacts_pb2,
    emergencies_pb2,
    enquiries_pb2,
    people_pb2,
    referrals_pb2,
)
from tests.gateway.api_gateway import ID, KEY, FakeServices, System
from tests.gateway.openapi_document import METHODS

NOW = "2026-03-14T09:30:00Z"


@pytest.fixture
def fakes() -> FakeServices:
    """The fake services, which answer empty messages unless the test sets other answers."""
    return FakeServices()


# Repeated requests


def test_the_idempotency_key_is_the_request_id(system: System, fakes: FakeServices) -> None:
    for header in ("order-7", '"order-7"'):
        system.post("/people", {}, Idempotency_Key=header)
        assert fakes.last("CreatePerson").request_id == "order-7"


def test_without_an_idempotency_key_each_request_is_a_new_one(
    system: System, fakes: FakeServices
) -> None:
    system.post("/people", {})
    system.post("/people", {})
    ids = {request.request_id for rpc, request, _ in fakes.calls if rpc == "CreatePerson"}
    assert (len(ids), "" in ids) == (2, False)


@pytest.mark.parametrize("key", ["", '""', "a" * 101, "a b", "ñ", 'a"b'])
def test_a_malformed_idempotency_key_is_refused(system: System, key: str) -> None:
    answer = system.post("/people", {}, Idempotency_Key=key)
    assert answer.json["errors"] == [{"header": "Idempotency-Key", "reason": "malformed"}]


# Versions


def test_a_change_needs_the_etag_it_is_based_on(system: System, fakes: FakeServices) -> None:
    path = f"/referrals/{ID}/acknowledge"
    without_etag = system.post(path)
    assert (without_etag.status_code, without_etag.json["reason"]) == (428, "etag_required")
    assert without_etag.json["errors"] == [{"header": "If-Match", "reason": "required"}]
    for tag in ('W/"3"', "*", '"3", "4"', "3x y", '""', '"",""'):
        answer = system.post(path, If_Match=tag)
        assert (answer.status_code, answer.json["reason"]) == (412, "stale_etag"), tag
    assert system.post(path, If_Match='"3"').status_code == 200
    assert fakes.last("AcknowledgeReferral").etag == "3"


@pytest.mark.parametrize(
    "path",
    [
        "/referrals/counts",
        "/referrals/deadlines",
        "/services/match",
        "/services/search",
        "/services",
    ],
)
def test_a_path_allows_the_methods_that_the_document_lists(system: System, path: str) -> None:
    methods = {method.upper() for address, method in METHODS if address == f"/api/v1{path}"}
    methods |= {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
    for method, status in (("OPTIONS", 200), ("DELETE", 405)):
        answer = system.call(method, path)
        assert (answer.status_code, set(answer.allow)) == (status, methods)
    assert (system.get(path).status_code == 405) is ("GET" not in methods)


def test_capacity_may_be_set_without_an_etag(system: System, fakes: FakeServices) -> None:
    path = f"/services/{ID}/capacity"
    assert system.call("PUT", path, {"intake": "open", "available": 0}).status_code == 200
    request = fakes.last("SetCapacity")
    assert (request.etag, request.capacity) == (
        "",
        directory_pb2.Capacity(intake=directory_pb2.INTAKE_OPEN, available=0),
    )


def test_a_version_that_the_reader_has_is_not_sent_again(
    system: System, fakes: FakeServices
) -> None:
    fakes.answers["GetWebhook"] = notifications_pb2.Webhook(id=ID, etag="7")
    assert system.get(f"/webhooks/{ID}").headers["ETag"] == '"7"'
    unchanged = system.get(f"/webhooks/{ID}", If_None_Match='"7"')
    assert (unchanged.status_code, unchanged.data) == (304, b"")
    assert system.get(f"/webhooks/{ID}", If_None_Match='"6"').status_code == 200


def test_the_clients_address_is_sent_only_with_calls_that_may_be_guesses(
    system: System, fakes: FakeServices
) -> None:
    system.get("/taxonomy")
    assert fakes.calls[-1][2].origin == {}
    system.post("/references/status", {"reference": "7QK4-M2X7", "pin": "4821"})
    assert fakes.calls[-1][2].origin["client-address"]


def test_an_answer_without_a_version_has_its_hash_as_etag(
    system: System, fakes: FakeServices
) -> None:
    tag = system.get("/taxonomy").headers["ETag"]
    assert system.get("/taxonomy", If_None_Match=tag).status_code == 304
    terms = [directory_pb2.TaxonomyTerm(code="HOU")]
    fakes.answers["ListTaxonomyTerms"] = directory_pb2.ListTaxonomyTermsResponse(terms=terms)
    assert system.get("/taxonomy", If_None_Match=tag).status_code == 200


# Pages


def test_the_next_page_is_a_link_that_keeps_the_filters(
    system: System, fakes: FakeServices
) -> None:
    fakes.answers["ListReferrals"] = referrals_pb2.ListReferralsResponse(
        next_page_token="a-b_C9", referrals=[referrals_pb2.Referral(id=ID)]
    )
    answer = system.get("/referrals?state=sent&state=accepted&limit=1&cursor=old")
    assert answer.json["next_cursor"] == "a-b_C9"
    link = re.fullmatch(r'</api/v1(.+)>; rel="next"', answer.headers["Link"])
    assert link
    fakes.answers["ListReferrals"] = referrals_pb2.ListReferralsResponse()
    last_page = system.get(link[1])
    request = fakes.last("ListReferrals")
    assert (request.page_token, request.page_size, list(request.filter.states)) == (
        "a-b_C9",
        1,
        [referrals_pb2.STATE_SENT, referrals_pb2.STATE_ACCEPTED],
    )
    assert ("Link" in last_page.headers, last_page.json) == (False, {"items": []})


def test_a_search_continues_with_a_cursor_in_its_body(system: System, fakes: FakeServices) -> None:
    fakes.answers["SearchServices"] = directory_pb2.SearchServicesResponse(
        next_page_token="n", total_size=30
    )
    answer = system.post("/services/search", {"words": "albergue", "cursor": "c", "limit": 25})
    assert (answer.json["next_cursor"], answer.json["total_size"]) == ("n", 30)
    assert "Link" not in answer.headers
    request = fakes.last("SearchServices")
    assert (request.page_token, request.page_size) == ("c", 25)


def test_a_page_may_have_fields_besides_its_list(system: System, fakes: FakeServices) -> None:
    counts = [
        directory_pb2.DepartmentCount(department="NI-CI", count=2),
        directory_pb2.DepartmentCount(count=1),
    ]
    fakes.answers["SearchServices"] = directory_pb2.SearchServicesResponse(
        total_size=3, departments=counts
    )
    assert system.post("/services/search", {"count_country": "NI"}).json == {
        "items": [],
        "total_size": 3,
        "departments": [{"department": "NI-CI", "count": 2}, {"count": 1}],
    }
    assert fakes.last("SearchServices").count_country == "NI"


# Merge patches


def test_a_patch_changes_the_named_fields_and_null_clears_a_field(
    system: System, fakes: FakeServices
) -> None:
    answer = patch(system, f"/organizations/{ID}", {"phone": None, "languages": ["es"]}, '"2"')
    assert answer.status_code == 200
    request = fakes.last("UpdateOrganization")
    assert list(request.update_mask.paths) == ["languages", "phone"]
    assert request.organization == directory_pb2.Organization(id=ID, etag="2", languages=["es"])


def patch(system: System, path: str, body: Any, etag: str = '"1"') -> Any:
    return system.call("PATCH", path, body, If_Match=etag)


def test_a_patch_of_part_of_an_object_keeps_the_rest_of_the_object(
    system: System, fakes: FakeServices
) -> None:
    """The service that stores the object merges it, so nothing is read before."""
    patch(system, f"/services/{ID}", {"eligibility": {"maximum_age": None, "minimum_age": 16}})
    request = fakes.last("UpdateService")
    assert list(request.update_mask.paths) == [
        "eligibility.maximum_age",
        "eligibility.minimum_age",
    ]
    assert request.service.eligibility == directory_pb2.Eligibility(minimum_age=16)
    assert "GetService" not in [rpc for rpc, _, _ in fakes.calls]


def test_a_patch_may_state_its_media_type(api: Flask, fakes: FakeServices) -> None:
    answer = api.test_client().patch(
        f"/api/v1/webhooks/{ID}",
        data='{"enabled": false}',
        content_type="application/merge-patch+json",
        headers={"Authorization": f"Bearer {KEY}", "If-Match": '"1"'},
    )
    assert answer.status_code == 200
    assert list(fakes.last("UpdateWebhook").update_mask.paths) == ["enabled"]


@pytest.mark.parametrize(
    ("path", "field", "value", "reason"),
    [
        (f"/webhooks/{ID}", "url", None, "malformed"),
        (f"/webhooks/{ID}", "url", "", "required"),
        (f"/webhooks/{ID}", "enabled", None, "required"),
        (f"/services/{ID}", "active", None, "required"),
        (f"/locations/{ID}", "confidential", None, "required"),
    ],
)
def test_a_patch_cannot_clear_a_required_field_or_a_flag(
    system: System, path: str, field: str, value: str | None, reason: str
) -> None:
    answer = patch(system, path, {field: value})
    assert answer.json["errors"] == [{"pointer": f"/{field}", "reason": reason}]


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        ({"given_name": "Ana", "phone": None}, ["given_name", "phone"]),
        ({"given_name": "Ana", "phone": ""}, ["given_name"]),
        ({"phone": None, "birth_date": None}, ["birth_date", "phone"]),
        ({"phone": ""}, []),
        ({"given_name": "Ana", "acknowledged_codes": ["adulthood_changes"]}, ["given_name"]),
    ],
)
def test_a_patch_of_an_identity_clears_a_field_by_null_and_ignores_an_empty_text(
    system: System, fakes: FakeServices, body: dict[str, Any], paths: list[str]
) -> None:
    """A system that opened only some groups sends the other fields back empty."""
    patch(system, f"/people/{ID}/identity", body)
    request = fakes.last("UpdateIdentity")
    assert list(request.update_mask.paths) == paths
    assert request.identity == people_pb2.Identity(given_name=body.get("given_name") or "")


def test_an_empty_identity_is_refused_like_any_other_empty_patch(
    system: System, fakes: FakeServices
) -> None:
    fakes.answers["UpdateIdentity"] = Invalid(("identity", "required"))
    errors = [{"pointer": "", "reason": "required"}]
    assert patch(system, f"/people/{ID}/identity", {}).json["errors"] == errors


# Secrets that are shown once, and names that differ here


def test_a_contact_comes_with_reference_and_pin(system: System, fakes: FakeServices) -> None:
    fakes.answers["CreateContact"] = contacts_pb2.CreateContactResponse(
        contact=contacts_pb2.Contact(id=ID, etag="1", urgency=referrals_pb2.URGENCY_EMERGENCY),
        reference="7QK4-M2X7",
        pin="4821",
    )
    answer = system.post(
        "/contacts", {"line_country": "NI", "triage": {"safe_place_tonight": "no"}, "pin": "4821"}
    )
    assert (answer.status_code, answer.headers["Location"]) == (201, f"/api/v1/contacts/{ID}")
    expected = {"id": ID, "urgency": "emergency", "reference": "7QK4-M2X7", "pin": "4821"}
    assert answer.json.items() >= expected.items()
    assert fakes.last("CreateContact").contact.triage.safe_place_tonight == contacts_pb2.ANSWER_NO


def test_the_urgency_of_a_message_has_the_same_word_as_elsewhere(
    system: System, fakes: FakeServices
) -> None:
    message = notifications_pb2.Message(urgency_code=referrals_pb2.URGENCY_IMMEDIATE)
    fakes.answers["ListMessages"] = notifications_pb2.ListMessagesResponse(messages=[message])
    assert system.get("/notifications").json["items"][0]["urgency_code"] == "immediate"


def test_the_reference_and_the_pin_of_a_caller_are_sent_in_the_body(
    api: Flask, fakes: FakeServices
) -> None:
    fields = {"reference": "7QK4-M2X7", "pin": "4821"}
    assert api.test_client().post("/api/v1/references/status", json=fields).status_code == 200
    assert fakes.last("GetReferenceStatus").pin == "4821"
    fakes.answers["GetReferenceStatus"] = Unauthenticated("reference_or_pin_wrong")
    answer: Any = api.test_client().post("/api/v1/references/status", json=fields)
    assert (answer.status_code, answer.json["reason"]) == (401, "reference_or_pin_wrong")


def test_an_identity_is_opened_for_a_purpose(system: System, fakes: FakeServices) -> None:
    fakes.answers["OpenPerson"] = people_pb2.Identity(
        given_name="Ejemplo", opened=[people_pb2.FIELD_GROUP_IDENTITY]
    )
    answer = system.post(
        f"/people/{ID}/open", {"purpose_code": "HOU.EMG", "field_groups": ["identity"]}
    )
    assert answer.json == {"given_name": "Ejemplo", "opened": ["identity"]}
    assert "ETag" not in answer.headers
    assert system.post(f"/people/{ID}/open", {"field_groups": ["all"]}).json["errors"] == [
        {"pointer": "/purpose_code", "reason": "required"},
        {"pointer": "/field_groups/0", "reason": "unknown_code", "list": "FieldGroup"},
    ]


def test_read_only_fields_are_refused_in_a_short_patch_and_ignored_in_a_resource_sent_back(
    system: System, fakes: FakeServices
) -> None:
    path = f"/organizations/{ID}"
    as_read = {"id": ID, "etag": "v1", "name": "Casa", "status": "approved", "create_time": NOW}
    assert patch(system, path, as_read, '"v1"').status_code == 200
    assert list(fakes.last("UpdateOrganization").update_mask.paths) == ["name"]
    for body, pointer, reason in (
        ({"name": "Casa", "has_manager": True}, "/has_manager", "unknown_field"),
        (as_read | {"nmae": "Casa"}, "/nmae", "unknown_field"),
        (as_read | {"id": "b" * 32}, "/id", "out_of_range"),
    ):
        answer = patch(system, path, body, '"v1"')
        assert answer.json["errors"] == [{"pointer": pointer, "reason": reason}]


@pytest.mark.parametrize(
    ("path", "rpc", "resource", "field"),
    [
        ("referrals", "GetReferral", referrals_pb2.Referral(id=ID, etag="7", live=True), "live"),
        (
            "organizations",
            "GetOrganization",
            directory_pb2.Organization(id=ID, etag="7", has_manager=True),
            "has_manager",
        ),
        ("services", "GetService", directory_pb2.Service(etag="7", open_now=True), "open_now"),
        ("contacts", "GetContact", contacts_pb2.Contact(etag="7", unheard=True), "unheard"),
        ("enquiries", "GetEnquiry", enquiries_pb2.Enquiry(id=ID, etag="7"), "id"),
        ("emergencies", "GetEmergency", emergencies_pb2.Emergency(etag="7", live=True), "live"),
        ("people", "GetPerson", people_pb2.Person(etag="7", has_identity=True), "has_identity"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_object_that_changes_without_a_new_version_is_always_sent_whole(
    path: str, rpc: str, resource: Message, field: str, system: System, fakes: FakeServices
) -> None:
    """A referral's allowed steps depend on the time and on later objects.

    A member gets its first manager without a change of its entry. An ended enquiry loses its
    content when the person is erased. The answer to a correction of a file has the new version, but
    not the sealed part of the safe-contact plan, which the system would then never read.
    """
    fakes.answers[rpc] = resource
    answer = system.get(f"/{path}/{ID}", If_None_Match='"7"')
    assert answer.status_code == 200
    assert answer.json[field]
