"""The parts that a request must have, and the texts of the refusals."""

from __future__ import annotations

import json
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from chassis.errors import (
    Conflict,
    Exhausted,
    Invalid,
    NotAllowed,
    NotFound,
    Refusal,
    Reused,
    Stale,
    Unauthenticated,
    Unavailable,
)
from protos.notifications.v1 import notifications_pb2
from protos.partners.v1 import directory_pb2
from protos.referrals.v1 import contacts_pb2, people_pb2, referrals_pb2
from services.gateway.edge.clients import ServiceFault
from services.gateway.edge.problems import NAME, REASONS
from tests.gateway.api_gateway import ID, JWT, KEY, Played, System

NOW = "2026-03-14T09:30:00Z"
ROOT = Path(__file__).resolve().parents[2]


# Credentials


def test_without_a_credential_no_service_is_called(api: Flask, played: Played) -> None:
    answer = api.test_client().get("/api/v1/referrals")
    assert (answer.status_code, answer.json["reason"]) == (401, "token_missing")  # type: ignore[index]
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="enlace"'
    assert answer.content_type == "application/problem+json"
    assert not played.asked


@pytest.mark.parametrize(
    "credential",
    [
        "Basic YTpi",
        "Bearer",
        "Bearer x",
        "Bearer enl_",
        "Bearer enl_é",
        "Bearer a.b",
        f"Bearer {JWT}\tx",
        "Bearer  ",
    ],
)
def test_a_malformed_credential_is_never_passed_on(
    api: Flask, played: Played, credential: str
) -> None:
    answer = api.test_client().get("/api/v1/referrals", headers={"Authorization": credential})
    assert (answer.status_code, answer.json["reason"]) == (401, "token_invalid")  # type: ignore[index]
    assert not played.asked


def test_a_key_is_exchanged_once_in_five_seconds(system: System, played: Played) -> None:
    for _ in range(3):
        assert system.get("/referrals").status_code == 200
    assert [rpc for rpc, _, _ in played.asked].count("IssueToken") == 1
    assert played.last("IssueToken").api_key == KEY
    assert {
        caller.tokens["enlace.referrals"]
        for rpc, _, caller in played.asked
        if rpc == "ListReferrals"
    } == {JWT}


def test_a_caller_token_is_passed_through(api: Flask, played: Played) -> None:
    assert System(api.test_client(), JWT).get("/referrals").status_code == 200
    assert [rpc for rpc, _, _ in played.asked] == ["ListReferrals"]
    assert played.asked[0][2].tokens["enlace.referrals"] == JWT


def test_a_session_secret_is_exchanged_as_a_key_is(api: Flask, played: Played) -> None:
    assert System(api.test_client(), "s" * 43).get("/referrals").status_code == 200
    assert played.last("IssueToken").session_secret == "s" * 43


def test_a_cookie_is_no_credential(api: Flask) -> None:
    client = api.test_client()
    client.set_cookie("s", "a-session")
    assert client.get("/api/v1/referrals").status_code == 401


def test_public_routes_need_no_key_and_ignore_a_wrong_one(api: Flask, played: Played) -> None:
    assert api.test_client().get("/api/v1/taxonomy").status_code == 200
    assert System(api.test_client(), "enl_revoked").get("/hotlines").status_code == 200
    assert all(caller.tokens == {} for _, _, caller in played.asked)


def test_messages_come_in_the_callers_language(system: System, played: Played) -> None:
    system.get("/notifications", Accept_Language="fr-CA, en;q=0.5")
    assert played.asked[-1][2].language == "fr"


# Refusals


@pytest.mark.parametrize(
    ("refusal", "status", "reason"),
    [
        (Unauthenticated("key_invalid"), 401, "key_invalid"),
        (NotAllowed("right_missing"), 403, "right_missing"),
        (NotFound(), 404, "not_found"),
        (Invalid(("id", "malformed")), 400, "invalid_fields"),
        (Conflict("illegal_transition"), 409, "illegal_transition"),
        (Conflict("a_new_reason"), 409, "a_new_reason"),
        (Stale(), 412, "stale_etag"),
        (Reused(), 422, "request_id_reused"),
        (Exhausted("too_many_requests", 29.6), 429, "too_many_requests"),
        (Unavailable("store_unavailable"), 503, "store_unavailable"),
        (Unavailable("deadline_exceeded"), 504, "deadline_exceeded"),
    ],
)
def test_each_refusal_has_its_status_and_its_reason(
    system: System, played: Played, refusal: Refusal, status: int, reason: str
) -> None:
    played.answers["GetReferral"] = refusal
    answer = system.get(f"/referrals/{ID}")
    assert (answer.status_code, answer.json["reason"], answer.json["status"]) == (
        status,
        reason,
        status,
    )
    assert answer.json["type"] == f"/api/v1/docs#{reason}"
    assert answer.json["request_id"] == ID
    assert answer.json["title"]
    retry = {429: "30", 503: "5", 504: "5"}.get(status)
    assert answer.headers.get("Retry-After") == retry


@pytest.mark.parametrize("fault", [ServiceFault("INTERNAL"), RuntimeError("María López")])
def test_a_fault_reveals_nothing(
    system: System, played: Played, fault: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    played.answers["GetReferral"] = fault
    answer = system.get(f"/referrals/{ID}")
    assert (answer.status_code, answer.json["reason"]) == (500, "fault")
    assert "López" not in answer.text + capsys.readouterr().out


def test_unknown_paths_and_methods_are_problems_too(system: System) -> None:
    assert system.get("/nothing").json["reason"] == "not_found"
    assert system.get("/referrals/with space").json["reason"] == "not_found"
    response = system.get("//referrals")
    assert (response.status_code, response.json["reason"]) == (404, "not_found")
    answer = system.call("DELETE", "/referrals")
    assert (answer.status_code, answer.json["reason"]) == (405, "method_not_allowed")
    assert set(answer.headers["Allow"].split(", ")) >= {"GET", "POST"}


@pytest.mark.parametrize(
    ("body", "kind", "status", "reason"),
    [
        (b"{", "application/json", 400, "malformed_json"),
        (b"\xff", "application/json", 400, "malformed_json"),
        (b'{"age": NaN}', "application/json", 400, "malformed_json"),
        (b'{"age": ' + b"9" * 5000 + b"}", "application/json", 400, "malformed_json"),
        (b"[" * 30000, "application/json", 400, "malformed_json"),
        (b'{"words": "a", "words": "b"}', "application/json", 400, "malformed_json"),
        (b"[]", "application/json", 400, "invalid_fields"),
        (b'"text"', "application/json", 400, "invalid_fields"),
        (b"null", "application/json", 400, "invalid_fields"),
        (b"need_code=HOU", "application/x-www-form-urlencoded", 415, "content_type_unsupported"),
        (b"{}", "text/plain", 415, "content_type_unsupported"),
        (b"{}", "application/merge-patch+json", 415, "content_type_unsupported"),
        (b'{"words": "' + b"a" * 70000 + b'"}', "application/json", 413, "body_too_large"),
    ],
)
def test_a_body_that_is_not_a_json_object_is_refused(
    api: Flask, body: bytes, kind: str, status: int, reason: str
) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    answer = api.test_client().post(
        "/api/v1/services/search", data=body, content_type=kind, headers=headers
    )
    assert (answer.status_code, answer.json["reason"]) == (status, reason)  # type: ignore[index]


def test_a_chunked_body_has_the_same_limit(api: Flask) -> None:
    environ = {
        "wsgi.input": BytesIO(b'{"words": "' + b"a" * 70000 + b'"}'),
        "wsgi.input_terminated": True,
    }
    headers = {
        "Authorization": f"Bearer {KEY}",
        "Transfer-Encoding": "chunked",
        "Content-Type": "application/json",
    }
    answer = api.test_client().post(
        "/api/v1/services/search", headers=headers, environ_overrides=environ
    )
    assert (answer.status_code, answer.json["reason"]) == (413, "body_too_large")  # type: ignore[index]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("age", "four", "malformed"),
        ("age", True, "malformed"),
        ("age", 3.5, "malformed"),
        ("age", -1, "out_of_range"),
        ("age", 1e308, "malformed"),
        ("age", None, "malformed"),
        ("words", "a" * 201, "too_long"),
        ("words", "a\x00b", "malformed"),
        ("words", "\ud800", "malformed"),
        ("words", ["a"], "malformed"),
        ("has_room", "yes", "malformed"),
        ("has_room", 1, "malformed"),
        ("wrods", "a", "unknown_field"),
    ],
)
def test_a_wrong_field_is_named_with_its_reason(
    system: System, played: Played, field: str, value: Any, reason: str
) -> None:
    answer = system.post("/services/search", {field: value})
    assert answer.status_code == 400
    assert answer.json["errors"] == [{"pointer": f"/{field}", "reason": reason}]
    assert [rpc for rpc, _, _ in played.asked] == ["IssueToken"]


def test_a_whole_number_may_have_a_decimal_point(system: System, played: Played) -> None:
    """In JSON, 24.0 is a whole number; some languages write every number in this way."""
    assert system.post("/services/search", {"age": 24.0}).status_code == 200
    assert played.last("SearchServices").age == 24


def test_a_refusal_never_repeats_what_somebody_typed(system: System) -> None:
    answer = system.post(
        "/people",
        {
            "identity": {"María López": 1, "birth_date": "Chinandega"},
            "coarse": {"age_band": "Managua"},
        },
    )
    assert answer.status_code == 400
    assert {(error["pointer"], error["reason"]) for error in answer.json["errors"]} == {
        ("/identity", "unknown_field"),
        ("/identity/birth_date", "malformed"),
        ("/coarse/age_band", "unknown_code"),
    }
    assert not any(word in answer.text for word in ("López", "Mar", "Chinandega", "Managua"))


def test_query_parameters_are_checked_as_strictly_as_bodies(system: System) -> None:
    answer = system.get(
        "/referrals?box=attic&stat=sent&due_before=yesterday&limit=0&state=sent&state=lost"
    )
    assert {(error["parameter"], error["reason"]) for error in answer.json["errors"]} == {
        ("box", "unknown_code"),
        ("stat", "unknown_field"),
        ("due_before", "malformed"),
        ("limit", "out_of_range"),
        ("state", "unknown_code"),
    }


def test_an_unknown_query_parameter_is_named_as_it_was_sent(system: System) -> None:
    answer = system.get("/referrals?states=sent&page_size=5")
    assert {(error["parameter"], error["reason"]) for error in answer.json["errors"]} == {
        ("states", "unknown_field"),
        ("page_size", "unknown_field"),
    }


def test_a_query_parameter_that_has_one_value_is_refused_if_it_is_sent_twice(
    system: System,
) -> None:
    answer = system.get("/referrals?box=inbox&box=outbox&state=sent&state=accepted")
    assert (answer.status_code, answer.json["errors"]) == (
        400,
        [{"parameter": "box", "reason": "malformed"}],
    )


def test_a_time_needs_its_zone_and_is_converted_to_utc(system: System, played: Played) -> None:
    assert system.get("/referrals?due_before=2026-03-14T09:30:00").status_code == 400
    assert system.get("/referrals?due_before=0001-01-01T00:00:00%2B14:00").status_code == 400
    assert system.get("/referrals?due_before=2026-03-14T03:30:00-06:00").status_code == 200
    assert played.last("ListReferrals").filter.due_before.ToJsonString() == NOW


@pytest.mark.parametrize(
    ("method", "path", "rpc", "violation", "place"),
    [
        ("POST", "/organizations", "CreateOrganization", "organization.name", {"pointer": "/name"}),
        ("POST", "/organizations", "CreateOrganization", "name", {"pointer": "/name"}),
        (
            "POST",
            "/people",
            "CreatePerson",
            "identity.birth_date",
            {"pointer": "/identity/birth_date"},
        ),
        (
            "POST",
            f"/people/{ID}/receipts",
            "CreateReceipt",
            "receipt.purpose_codes.1",
            {"pointer": "/purpose_codes/1"},
        ),
        ("PATCH", f"/organizations/{ID}", "UpdateOrganization", "update_mask", {"pointer": ""}),
        ("GET", "/organizations", "ListOrganizations", "page_token", {"parameter": "cursor"}),
        ("GET", "/referrals", "ListReferrals", "filter.need_code", {"parameter": "need"}),
        ("POST", "/services/search", "SearchServices", "page_token", {"pointer": "/cursor"}),
    ],
)
def test_the_field_path_of_a_services_refusal_becomes_a_place_in_the_request(
    system: System,
    played: Played,
    method: str,
    path: str,
    rpc: str,
    violation: str,
    place: dict[str, str],
) -> None:
    played.answers[rpc] = Invalid((violation, "malformed"))
    receipt = {
        "recipient_organization_id": ID,
        "field_groups": ["identity"],
        "purpose_codes": ["HOU", "X"],
        "until_time": NOW,
    }
    bodies: dict[str, Any] = {
        "/organizations": {"name": "Casa (demo)", "type": "shelter", "country": "NI"},
        f"/people/{ID}/receipts": {**receipt, "giver_code": "person", "manner_code": "spoken"},
    }
    answer = system.call(
        method, path, None if method == "GET" else bodies.get(path, {}), If_Match='"1"'
    )
    assert answer.json["errors"] == [{**place, "reason": "malformed"}]


def test_a_missing_body_is_refused_where_one_is_required_and_no_service_is_called(
    system: System, played: Played
) -> None:
    """An empty body is valid: a file without a name yet.

    A missing body comes from a broken client, and was once treated as an empty one.
    """
    required = [
        (method.upper(), rule)
        for rule, operations in json.loads((ROOT / "docs" / "openapi.json").read_text())[
            "paths"
        ].items()
        for method, operation in operations.items()
        if isinstance(operation, dict) and operation.get("requestBody", {}).get("required")
    ]
    assert {
        ("PUT", "/api/v1/desk"),
        ("POST", "/api/v1/people"),
        ("PATCH", "/api/v1/people/{person_id}/identity"),
    } <= set(required)
    assert len(required) > 25
    before = len(played.asked)
    for method, rule in required:
        answer = system.call(
            method, re.sub(r"\{\w+\}", ID, rule.removeprefix("/api/v1")), If_Match='"1"'
        )
        assert (answer.status_code, answer.json["reason"]) == (400, "invalid_fields"), (
            method,
            rule,
        )
        assert answer.json["errors"] == [{"pointer": "", "reason": "required"}], (method, rule)
    assert [rpc for rpc, _, _ in played.asked[before:] if rpc != "IssueToken"] == []


def test_a_route_without_a_body_accepts_no_fields(system: System) -> None:
    assert system.post(f"/receipts/{ID}/withdraw").status_code == 200
    assert system.post(f"/receipts/{ID}/withdraw", {}).status_code == 200
    assert system.post(f"/receipts/{ID}/withdraw", {"why": "x"}).json["errors"] == [
        {"pointer": "/why", "reason": "unknown_field"}
    ]


# Once


def test_the_idempotency_key_is_the_request_id(system: System, played: Played) -> None:
    for sent in ("order-7", '"order-7"'):
        system.post("/people", {}, Idempotency_Key=sent)
        assert played.last("CreatePerson").request_id == "order-7"


def test_without_an_idempotency_key_each_request_is_a_new_one(
    system: System, played: Played
) -> None:
    system.post("/people", {})
    first = played.last("CreatePerson").request_id
    system.post("/people", {})
    assert first
    assert played.last("CreatePerson").request_id != first


@pytest.mark.parametrize("key", ["", '""', "a" * 101, "a b", "ñ", 'a"b'])
def test_a_malformed_idempotency_key_is_refused(system: System, key: str) -> None:
    answer = system.post("/people", {}, Idempotency_Key=key)
    assert answer.json["errors"] == [{"header": "Idempotency-Key", "reason": "malformed"}]


# Versions


def test_a_change_needs_the_etag_it_is_based_on(system: System, played: Played) -> None:
    path = f"/referrals/{ID}/acknowledge"
    assert system.post(path).json["reason"] == "etag_required"
    assert system.post(path).json["errors"] == [{"header": "If-Match", "reason": "required"}]
    assert system.post(path).status_code == 428
    for never in ('W/"3"', "*", '"3", "4"', "3x y", '""', '"",""'):
        answer = system.post(path, If_Match=never)
        assert (answer.status_code, answer.json["reason"]) == (412, "stale_etag"), never
    assert system.post(path, If_Match='"3"').status_code == 200
    assert played.last("AcknowledgeReferral").etag == "3"


def test_a_services_refusal_of_an_etag_or_a_request_id_is_reported_for_the_header(
    system: System, played: Played
) -> None:
    played.answers["UpdateWebhook"] = Invalid(("webhook.etag", "malformed"))
    answer = system.call("PATCH", f"/webhooks/{ID}", {"enabled": False}, If_Match='"x"')
    assert answer.json["errors"] == [{"header": "If-Match", "reason": "malformed"}]
    played.answers["CreatePerson"] = Invalid(("request_id", "malformed"))
    assert system.post("/people", {}).json["errors"] == [
        {"header": "Idempotency-Key", "reason": "malformed"}
    ]


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
def test_options_name_only_what_the_document_has(system: System, path: str) -> None:
    documented = json.loads((ROOT / "docs" / "openapi.json").read_text())["paths"][f"/api/v1{path}"]
    allowed = {method.upper() for method in documented if method != "parameters"}
    allowed |= {"OPTIONS"} | ({"HEAD"} if "GET" in allowed else set())
    options, wrong = system.call("OPTIONS", path), system.call("DELETE", path)
    assert (options.status_code, set(options.allow)) == (200, allowed)
    assert (wrong.status_code, set(wrong.allow)) == (405, allowed)
    if "GET" not in allowed:
        assert system.get(path).status_code == 405


def test_capacity_may_be_set_without_an_etag(system: System, played: Played) -> None:
    assert (
        system.call(
            "PUT", f"/services/{ID}/capacity", {"intake": "open", "available": 0}
        ).status_code
        == 200
    )
    request = played.last("SetCapacity")
    assert (
        request.etag,
        request.capacity.intake,
        request.capacity.available,
        request.capacity.HasField("maximum"),
    ) == ("", 1, 0, False)


def test_a_version_that_the_reader_has_is_not_sent_again(system: System, played: Played) -> None:
    played.answers["GetPerson"] = people_pb2.Person(id=ID, etag="7")
    assert system.get(f"/people/{ID}").headers["ETag"] == '"7"'
    second_answer = system.get(f"/people/{ID}", If_None_Match='"7"')
    assert (second_answer.status_code, second_answer.data) == (304, b"")
    assert system.get(f"/people/{ID}", If_None_Match='"6"').status_code == 200


def test_objects_that_change_without_a_new_version_are_always_sent_whole(
    system: System, played: Played
) -> None:
    """Some data change without a new version.

    A referral's allowed steps depend on the time and on later objects; a member gets its first
    manager without a change of its entry.
    """
    played.answers["GetReferral"] = referrals_pb2.Referral(id=ID, etag="7", live=True)
    assert system.get(f"/referrals/{ID}", If_None_Match='"7"').json["live"]
    played.answers["GetOrganization"] = directory_pb2.Organization(
        id=ID, etag="7", has_manager=True
    )
    assert system.get(f"/organizations/{ID}", If_None_Match='"7"').json["has_manager"]


def test_the_clients_address_is_sent_only_where_guesses_are_counted(
    system: System, played: Played
) -> None:
    system.get("/taxonomy")
    assert played.asked[-1][2].origin == {}
    system.post("/references/status", {"reference": "7QK4-M2X7", "pin": "4821"})
    assert played.asked[-1][2].origin["client-address"]


def test_an_answer_without_a_version_has_its_hash_as_etag(system: System, played: Played) -> None:
    tag = system.get("/taxonomy").headers["ETag"]
    assert system.get("/taxonomy", If_None_Match=tag).status_code == 304
    played.answers["ListTaxonomyTerms"] = directory_pb2.ListTaxonomyTermsResponse(
        terms=[directory_pb2.TaxonomyTerm(code="HOU")]
    )
    assert system.get("/taxonomy", If_None_Match=tag).status_code == 200


# Pages


def test_the_next_page_is_a_link_that_keeps_the_filters(system: System, played: Played) -> None:
    played.answers["ListReferrals"] = referrals_pb2.ListReferralsResponse(
        next_page_token="a-b_C9", referrals=[referrals_pb2.Referral(id=ID)]
    )
    answer = system.get("/referrals?state=sent&state=accepted&limit=1&cursor=old")
    assert answer.json["next_cursor"] == "a-b_C9"
    link = answer.headers["Link"]
    assert link.endswith('>; rel="next"')
    followed = link.removeprefix("</api/v1").removesuffix('>; rel="next"')
    played.answers["ListReferrals"] = referrals_pb2.ListReferralsResponse()
    last = system.get(followed)
    request = played.last("ListReferrals")
    assert (request.page_token, request.page_size, list(request.filter.states)) == (
        "a-b_C9",
        1,
        [2, 5],
    )
    assert "Link" not in last.headers
    assert last.json == {"items": []}


def test_a_search_continues_with_a_cursor_in_its_body(system: System, played: Played) -> None:
    played.answers["SearchServices"] = directory_pb2.SearchServicesResponse(
        next_page_token="n", total_size=30
    )
    answer = system.post("/services/search", {"words": "albergue", "cursor": "c", "limit": 25})
    assert (answer.json["next_cursor"], answer.json["total_size"]) == ("n", 30)
    assert "Link" not in answer.headers
    assert (played.last("SearchServices").page_token, played.last("SearchServices").page_size) == (
        "c",
        25,
    )


def test_a_page_may_have_fields_besides_its_list(system: System, played: Played) -> None:
    counts = [
        directory_pb2.DepartmentCount(department="NI-CI", count=2),
        directory_pb2.DepartmentCount(count=1),
    ]
    played.answers["SearchServices"] = directory_pb2.SearchServicesResponse(
        total_size=3, departments=counts
    )
    assert system.post("/services/search", {"count_country": "NI"}).json == {
        "items": [],
        "total_size": 3,
        "departments": [{"department": "NI-CI", "count": 2}, {"count": 1}],
    }
    assert played.last("SearchServices").count_country == "NI"


# Merge patches


def test_a_patch_names_what_changes_and_null_clears(system: System, played: Played) -> None:
    answer = system.call(
        "PATCH", f"/organizations/{ID}", {"phone": None, "languages": ["es"]}, If_Match='"2"'
    )
    assert answer.status_code == 200
    request = played.last("UpdateOrganization")
    assert list(request.update_mask.paths) == ["languages", "phone"]
    assert (request.organization.phone, request.organization.etag, request.organization.id) == (
        "",
        "2",
        ID,
    )


def test_a_patch_of_part_of_an_object_keeps_the_rest_of_the_object(
    system: System, played: Played
) -> None:
    now = directory_pb2.Eligibility(minimum_age=18, maximum_age=60, takes_dependants=True)
    played.answers["GetService"] = directory_pb2.Service(id=ID, etag="2", eligibility=now)
    system.call(
        "PATCH",
        f"/services/{ID}",
        {"eligibility": {"maximum_age": None, "minimum_age": 16}},
        If_Match='"2"',
    )
    request = played.last("UpdateService")
    assert list(request.update_mask.paths) == ["eligibility"]
    assert request.service.eligibility == directory_pb2.Eligibility(
        minimum_age=16, takes_dependants=True
    )


def test_a_patch_may_state_its_media_type(api: Flask, played: Played) -> None:
    headers = {"Authorization": f"Bearer {KEY}", "If-Match": '"1"'}
    kind = "application/merge-patch+json"
    answer = api.test_client().patch(
        f"/api/v1/webhooks/{ID}",
        data=json.dumps({"enabled": False}),
        content_type=kind,
        headers=headers,
    )
    assert answer.status_code == 200
    assert list(played.last("UpdateWebhook").update_mask.paths) == ["enabled"]


@pytest.mark.parametrize(("value", "reason"), [(None, "malformed"), ("", "required")])
def test_a_patch_cannot_clear_a_required_field(
    system: System, value: str | None, reason: str
) -> None:
    answer = system.call("PATCH", f"/webhooks/{ID}", {"url": value}, If_Match='"1"')
    assert answer.json["errors"] == [{"pointer": "/url", "reason": reason}]


def test_a_patch_cannot_clear_any_part_of_an_identity(system: System) -> None:
    answer = system.call("PATCH", f"/people/{ID}/identity", {"given_name": None}, If_Match='"1"')
    assert answer.json["errors"] == [{"pointer": "/given_name", "reason": "malformed"}]


# Secrets that are shown once, and names that differ here


def test_a_contact_comes_with_reference_and_pin(system: System, played: Played) -> None:
    played.answers["CreateContact"] = contacts_pb2.CreateContactResponse(
        contact=contacts_pb2.Contact(id=ID, etag="1", urgency=referrals_pb2.URGENCY_EMERGENCY),
        reference="7QK4-M2X7",
        pin="4821",
    )
    answer = system.post(
        "/contacts", {"line_country": "NI", "triage": {"safe_place_tonight": "no"}, "pin": "4821"}
    )
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/api/v1/contacts/{ID}"
    assert (
        answer.json["id"],
        answer.json["urgency"],
        answer.json["reference"],
        answer.json["pin"],
    ) == (
        ID,
        "emergency",
        "7QK4-M2X7",
        "4821",
    )
    assert played.last("CreateContact").contact.triage.safe_place_tonight == contacts_pb2.ANSWER_NO


def test_the_urgency_of_a_message_has_the_same_word_as_elsewhere(
    system: System, played: Played
) -> None:
    message = notifications_pb2.Message(urgency_code=referrals_pb2.URGENCY_IMMEDIATE)
    played.answers["ListMessages"] = notifications_pb2.ListMessagesResponse(messages=[message])
    assert system.get("/notifications").json["items"][0]["urgency_code"] == "immediate"


def test_a_callers_credential_is_in_the_body_alone(api: Flask, played: Played) -> None:
    fields = {"reference": "7QK4-M2X7", "pin": "4821"}
    assert api.test_client().post("/api/v1/references/status", json=fields).status_code == 200
    assert played.last("GetReferenceStatus").pin == "4821"
    played.answers["GetReferenceStatus"] = Unauthenticated("reference_or_pin_wrong")
    wrong = api.test_client().post("/api/v1/references/status", json=fields)
    assert (wrong.status_code, wrong.json["reason"]) == (401, "reference_or_pin_wrong")  # type: ignore[index]


def test_an_identity_is_opened_for_a_purpose(system: System, played: Played) -> None:
    played.answers["OpenPerson"] = people_pb2.Identity(
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


def test_every_reason_has_a_valid_name() -> None:
    assert all(NAME.match(reason) for reason in REASONS)


def test_read_only_fields_are_refused_in_a_short_patch_and_ignored_in_a_resource_sent_back(
    system: System, played: Played
) -> None:
    by_hand = system.call(
        "PATCH", f"/organizations/{ID}", {"name": "Casa", "has_manager": True}, If_Match='"v1"'
    )
    assert by_hand.json["errors"] == [{"pointer": "/has_manager", "reason": "unknown_field"}]
    as_read = {
        "id": ID,
        "etag": "v1",
        "name": "Casa",
        "status": "approved",
        "create_time": "2026-03-14T09:30:00Z",
    }
    assert system.call("PATCH", f"/organizations/{ID}", as_read, If_Match='"v1"').status_code == 200
    assert list(played.last("UpdateOrganization").update_mask.paths) == ["name"]
    still_strict = system.call(
        "PATCH", f"/organizations/{ID}", as_read | {"nmae": "Casa"}, If_Match='"v1"'
    )
    assert still_strict.json["errors"] == [{"pointer": "/nmae", "reason": "unknown_field"}]
    another = system.call(
        "PATCH", f"/organizations/{ID}", as_read | {"id": "b" * 32}, If_Match='"v1"'
    )
    assert another.json["errors"] == [{"pointer": "/id", "reason": "out_of_range"}]
