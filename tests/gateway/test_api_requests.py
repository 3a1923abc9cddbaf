"""The parts that a request must have, and the texts of the refusals."""

from io import BytesIO
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
from services.gateway.edge.clients import ServiceFault
from services.gateway.edge.problems import NAME, REASONS
from tests.gateway.api_gateway import ID, JWT, KEY, FakeServices, System
from tests.gateway.openapi_document import METHODS, filled_path

NOW = "2026-03-14T09:30:00Z"
KEY_HEADER = {"Authorization": f"Bearer {KEY}"}
TOO_LONG = b'{"words": "' + b"a" * 70000 + b'"}'


@pytest.fixture
def fakes() -> FakeServices:
    """The fake services, which answer empty messages unless the test sets other answers."""
    return FakeServices()


# Credentials


def test_without_a_credential_or_with_only_a_cookie_no_service_is_called(
    api: Flask, fakes: FakeServices
) -> None:
    without_cookie, with_cookie = api.test_client(), api.test_client()
    with_cookie.set_cookie("s", "a-session")
    for client in (without_cookie, with_cookie):
        answer: Any = client.get("/api/v1/referrals")
        assert (answer.status_code, answer.json["reason"]) == (401, "token_missing")
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="enlace"'
        assert answer.content_type == "application/problem+json"
    assert not fakes.calls


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
    api: Flask, fakes: FakeServices, credential: str
) -> None:
    answer = System(api.test_client()).get("/referrals", Authorization=credential)
    assert (answer.status_code, answer.json["reason"]) == (401, "token_invalid")
    assert not fakes.calls


def test_a_key_is_exchanged_once_for_several_requests(system: System, fakes: FakeServices) -> None:
    assert [system.get("/referrals").status_code for _ in range(3)] == [200] * 3
    assert [rpc for rpc, _, _ in fakes.calls] == ["IssueToken", *["ListReferrals"] * 3]
    assert fakes.last("IssueToken").api_key == KEY
    callers = [caller for _, _, caller in fakes.calls[1:]]
    assert {caller.tokens["enlace.referrals"] for caller in callers} == {JWT}


def test_a_caller_token_is_passed_through(api: Flask, fakes: FakeServices) -> None:
    assert System(api.test_client(), JWT).get("/referrals").status_code == 200
    assert [rpc for rpc, _, _ in fakes.calls] == ["ListReferrals"]
    assert fakes.calls[0][2].tokens["enlace.referrals"] == JWT


def test_a_session_secret_is_exchanged_for_a_token_like_a_key(
    api: Flask, fakes: FakeServices
) -> None:
    assert System(api.test_client(), "s" * 43).get("/referrals").status_code == 200
    assert fakes.last("IssueToken").session_secret == "s" * 43


def test_public_routes_need_no_key_and_ignore_a_wrong_one(api: Flask, fakes: FakeServices) -> None:
    assert api.test_client().get("/api/v1/taxonomy").status_code == 200
    assert System(api.test_client(), "enl_revoked").get("/hotlines").status_code == 200
    assert all(caller.tokens == {} for _, _, caller in fakes.calls)


def test_the_callers_language_is_passed_to_the_service(system: System, fakes: FakeServices) -> None:
    system.get("/notifications", Accept_Language="fr-CA, en;q=0.5")
    assert fakes.calls[-1][2].language == "fr"


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
    system: System, fakes: FakeServices, refusal: Refusal, status: int, reason: str
) -> None:
    fakes.answers["GetReferral"] = refusal
    answer = system.get(f"/referrals/{ID}")
    assert answer.status_code == status
    expected = {
        "reason": reason,
        "status": status,
        "type": f"/api/v1/docs#{reason}",
        "request_id": ID,
    }
    assert answer.json.items() >= expected.items()
    assert answer.json["title"]
    assert answer.headers.get("Retry-After") == {429: "30", 503: "5", 504: "5"}.get(status)


@pytest.mark.parametrize("fault", [ServiceFault("INTERNAL"), RuntimeError("María López")])
def test_a_fault_reveals_nothing(
    system: System, fakes: FakeServices, fault: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    fakes.answers["GetReferral"] = fault
    answer = system.get(f"/referrals/{ID}")
    assert (answer.status_code, answer.json["reason"]) == (500, "fault")
    assert "López" not in answer.text + capsys.readouterr().out


@pytest.mark.parametrize("path", ["/nothing", "/referrals/with space", "//referrals"])
def test_an_unknown_path_is_answered_with_problem_json(system: System, path: str) -> None:
    answer = system.get(path)
    assert (answer.status_code, answer.json["reason"]) == (404, "not_found")


def test_an_unknown_method_is_answered_with_problem_json(system: System) -> None:
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
        ('{"given_name": "Ana"}'.encode("utf-16"), "application/json", 400, "malformed_json"),
        ('{"given_name": "Ana"}'.encode("utf-32-be"), "application/json", 400, "malformed_json"),
        ("\ufeff[]".encode(), "application/json", 400, "invalid_fields"),
        (b"need_code=HOU", "application/x-www-form-urlencoded", 415, "content_type_unsupported"),
        (b"{}", "text/plain", 415, "content_type_unsupported"),
        (b"{}", "application/merge-patch+json", 415, "content_type_unsupported"),
        (TOO_LONG, "application/json", 413, "body_too_large"),
    ],
)
def test_a_body_that_is_malformed_too_large_or_of_another_type_is_refused(
    api: Flask, body: bytes, kind: str, status: int, reason: str
) -> None:
    answer: Any = api.test_client().post(
        "/api/v1/services/search", data=body, content_type=kind, headers=KEY_HEADER
    )
    assert (answer.status_code, answer.json["reason"]) == (status, reason)


def test_a_chunked_body_has_the_same_limit(api: Flask) -> None:
    answer: Any = api.test_client().post(
        "/api/v1/services/search",
        headers=KEY_HEADER | {"Transfer-Encoding": "chunked", "Content-Type": "application/json"},
        environ_overrides={"wsgi.input": BytesIO(TOO_LONG), "wsgi.input_terminated": True},
    )
    assert (answer.status_code, answer.json["reason"]) == (413, "body_too_large")


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
    system: System, fakes: FakeServices, field: str, value: Any, reason: str
) -> None:
    answer = system.post("/services/search", {field: value})
    assert answer.status_code == 400
    assert answer.json["errors"] == [{"pointer": f"/{field}", "reason": reason}]
    assert [rpc for rpc, _, _ in fakes.calls] == ["IssueToken"]


def test_a_whole_number_may_have_a_decimal_point(system: System, fakes: FakeServices) -> None:
    """In JSON, 24.0 is a whole number; some languages write every number in this way."""
    assert system.post("/services/search", {"age": 24.0}).status_code == 200
    assert fakes.last("SearchServices").age == 24


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


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (
            "box=attic&stat=sent&due_before=yesterday&limit=0&state=sent&state=lost",
            {
                ("box", "unknown_code"),
                ("stat", "unknown_field"),
                ("due_before", "malformed"),
                ("limit", "out_of_range"),
                ("state", "unknown_code"),
            },
        ),
        (
            # the error has the name that was sent, although the rpc has a field of that name
            "states=sent&page_size=5",
            {("states", "unknown_field"), ("page_size", "unknown_field")},
        ),
        # a parameter with one value that is sent twice
        ("box=inbox&box=outbox&state=sent&state=accepted", {("box", "malformed")}),
        ("due_before=2026-03-14T09:30:00", {("due_before", "malformed")}),
        ("due_before=0001-01-01T00:00:00%2B14:00", {("due_before", "out_of_range")}),
        # Python's int() would read these numbers
        *((f"limit={text}", {("limit", "malformed")}) for text in ("5_0", "٥٠", "%205")),
        ("limit=-5", {("limit", "out_of_range")}),
    ],
)
def test_query_parameters_are_checked_as_strictly_as_bodies(
    system: System, query: str, expected: set[tuple[str, str]]
) -> None:
    answer = system.get(f"/referrals?{query}")
    errors = {(error["parameter"], error["reason"]) for error in answer.json["errors"]}
    assert (answer.status_code, errors) == (400, expected)


def test_an_unknown_parameter_beside_a_body_is_named_as_a_parameter(system: System) -> None:
    answer = system.call("POST", "/services/search?page_size=5", {"limit": 5})
    assert answer.json["errors"] == [{"parameter": "page_size", "reason": "unknown_field"}]


def test_a_time_is_converted_to_utc(system: System, fakes: FakeServices) -> None:
    assert system.get("/referrals?due_before=2026-03-14T03:30:00-06:00").status_code == 200
    assert fakes.last("ListReferrals").filter.due_before.ToJsonString() == NOW


ORGANIZATION = {"name": "Casa (demo)", "type": "shelter", "country": "NI"}
RECEIPT = {
    "recipient_organization_id": ID,
    "field_groups": ["identity"],
    "purpose_codes": ["HOU", "X"],
    "until_time": NOW,
    "giver_code": "person",
    "manner_code": "spoken",
}


@pytest.mark.parametrize(
    ("method", "path", "body", "rpc", "violation", "place"),
    [
        (
            "POST",
            "/organizations",
            ORGANIZATION,
            "CreateOrganization",
            "organization.name",
            {"pointer": "/name"},
        ),
        (
            "POST",
            "/organizations",
            ORGANIZATION,
            "CreateOrganization",
            "name",
            {"pointer": "/name"},
        ),
        (
            "POST",
            "/people",
            {},
            "CreatePerson",
            "identity.birth_date",
            {"pointer": "/identity/birth_date"},
        ),
        (
            "POST",
            f"/people/{ID}/receipts",
            RECEIPT,
            "CreateReceipt",
            "receipt.purpose_codes.1",
            {"pointer": "/purpose_codes/1"},
        ),
        ("PATCH", f"/organizations/{ID}", {}, "UpdateOrganization", "update_mask", {"pointer": ""}),
        ("GET", "/organizations", None, "ListOrganizations", "page_token", {"parameter": "cursor"}),
        ("GET", "/referrals", None, "ListReferrals", "filter.need_code", {"parameter": "need"}),
        ("POST", "/services/search", {}, "SearchServices", "page_token", {"pointer": "/cursor"}),
        (
            "PATCH",
            f"/webhooks/{ID}",
            {"enabled": False},
            "UpdateWebhook",
            "webhook.etag",
            {"header": "If-Match"},
        ),
        ("POST", "/people", {}, "CreatePerson", "request_id", {"header": "Idempotency-Key"}),
    ],
)
def test_the_field_path_of_a_services_refusal_becomes_a_place_in_the_request(
    system: System,
    fakes: FakeServices,
    method: str,
    path: str,
    body: Any,
    rpc: str,
    violation: str,
    place: dict[str, str],
) -> None:
    fakes.answers[rpc] = Invalid((violation, "malformed"))
    answer = system.call(method, path, body, If_Match='"1"')
    assert answer.json["errors"] == [{**place, "reason": "malformed"}]


def test_a_missing_body_is_refused_if_one_is_required_and_no_service_is_called(
    system: System, fakes: FakeServices
) -> None:
    """An empty object is a valid body: it creates a file without a name.

    A missing body comes from a broken client, and was once treated as an empty object.
    """
    operations = [
        (method.upper(), path)
        for (path, method), operation in METHODS.items()
        if operation.get("requestBody", {}).get("required")
    ]
    assert {
        ("PUT", "/api/v1/desk"),
        ("POST", "/api/v1/people"),
        ("PATCH", "/api/v1/people/{person_id}/identity"),
    } <= set(operations)
    assert len(operations) > 25
    for method, path in operations:
        answer = system.call(method, filled_path(path), If_Match='"1"')
        assert (answer.status_code, answer.json["reason"]) == (400, "invalid_fields"), path
        assert answer.json["errors"] == [{"pointer": "", "reason": "required"}], path
    assert {rpc for rpc, _, _ in fakes.calls} <= {"IssueToken"}


def test_a_route_without_a_body_accepts_no_fields(system: System) -> None:
    path = f"/receipts/{ID}/withdraw"
    assert (system.post(path).status_code, system.post(path, {}).status_code) == (200, 200)
    errors = [{"pointer": "/why", "reason": "unknown_field"}]
    assert system.post(path, {"why": "x"}).json["errors"] == errors


def test_every_reason_has_a_valid_name() -> None:
    assert [reason for reason in REASONS if not NAME.match(reason)] == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/areas?country=NI", None),
        ("GET", f"/referrals/{ID}?zz=1", None),
        ("POST", "/imports?dry_run=true", {"content": "YWJj"}),
        ("POST", f"/referrals/{ID}/remind?note=a", None),
        ("PATCH", f"/webhooks/{ID}?enabled=false", {"enabled": True}),
    ],
)
def test_a_query_parameter_that_an_operation_does_not_have_is_refused(
    method: str, path: str, body: Any, system: System, fakes: FakeServices
) -> None:
    answer = system.call(method, path, body, If_Match='"v1"')
    assert (answer.status_code, answer.json["reason"]) == (400, "invalid_fields")
    assert [error["reason"] for error in answer.json["errors"]] == ["unknown_field"]
    assert fakes.calls[1:] == []  # the first call exchanges the key
