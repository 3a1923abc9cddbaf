"""The OpenAPI document is committed, served and true: every route, every field, every right."""

import base64
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from google.protobuf.message_factory import GetMessageClass
from openapi_spec_validator import validate
from standardwebhooks import Webhook

from chassis import contract
from chassis.wire import etag
from facts.outbox import Fact
from protos.referrals.v1 import facts_pb2 as referral_facts_pb2
from protos.stubs import SERVICES
from services.gateway.api import openapi_text
from services.gateway.api.binding import bindings
from services.gateway.edge.problems import DOCS, REASONS
from services.gateway.site.language.vocabulary import TABLES
from services.notifications import wire
from services.notifications.domain.notices import BY_KIND
from services.notifications.domain.webhook import FOR_PEOPLE_ALONE
from services.notifications.domain.webhook import Webhook as Endpoint
from tests.gateway.api_gateway import ID, OUTPUTS, FakeServices, System, app_with, filled_message
from tests.gateway.openapi_document import (
    DOCUMENT,
    METHODS,
    example,
    filled_path,
    garble,
    parameters,
    request_with_every_field,
    resolve,
    schema_of_body,
    types_only,
    violations,
)
from tests.gateway.pages_gateway import missing
from tests.parts.local_stack import ROOT
from tests.rights_table import SCOPES

OPEN_RIGHTS = ("public", "reference and PIN")  # rights that need no credential
NASTY_PARAMETERS = (
    "",
    "%00",
    "%ff",
    "x" * 3000,
    "%F0%9F%98%80",
    "-1",
    "99999999999999999999",
    "9999-12-31T23:59:59-14:00",
)
BINDINGS = [binding for service in SERVICES for rpc in service.methods for binding in bindings(rpc)]
VARIABLE = re.compile(r"\{[^}]+\}")


def test_the_committed_document_is_fresh_and_served(system: System) -> None:
    committed = (ROOT / "docs" / "openapi.json").read_text()
    assert committed == openapi_text(), (
        "run `python -m services.gateway openapi > docs/openapi.json`"
    )
    assert system.get("/openapi.json").json == json.loads(committed)


def test_the_document_is_valid_openapi() -> None:
    validate(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1")


def test_every_route_of_the_api_is_in_the_document_and_names_its_right(api: Flask) -> None:
    routes = {
        (rule.rule.replace("<opaque:", "{").replace(">", "}"), method.lower())
        for rule in api.url_map.iter_rules()
        if rule.endpoint.startswith("api.")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert routes == set(METHODS)
    roles = {"any worker", "manager", "coordinator", "auditor", "manager or coordinator"}
    rights = {*OPEN_RIGHTS, *roles, *SCOPES}
    for place, operation in METHODS.items():
        assert operation["x-right"] in rights, place
        assert ("security" in operation) == (operation["x-right"] in OPEN_RIGHTS), place


def test_every_operation_has_a_unique_name_a_summary_and_a_tag() -> None:
    names = [operation["operationId"] for operation in METHODS.values()]
    assert len(names) == len(set(names))
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    assert all(
        operation["summary"] and set(operation["tags"]) <= tags for operation in METHODS.values()
    )


def test_every_field_has_a_description() -> None:
    undescribed = [
        f"{name}.{field}"
        for name, schema in DOCUMENT["components"]["schemas"].items()
        for field, field_schema in schema.get("properties", {}).items()
        if "description" not in field_schema and "$ref" not in field_schema
    ]
    assert undescribed == []


def test_every_rpc_of_the_contracts_can_be_reached() -> None:
    fakes = FakeServices()
    for place in METHODS:
        request_with_every_field(System(app_with(fakes).test_client()), *place)
    # the field names of these routes come from another standard
    for path in ("services", f"services/{ID}", "organizations", "service_at_locations"):
        app_with(fakes).test_client().get(f"/hsds/{path}")
    assert OUTPUTS.keys() - {rpc for rpc, _, _ in fakes.calls} == set()


@pytest.mark.parametrize(
    ("path", "method"), METHODS, ids=lambda part: str(part).removeprefix("/api/v1")
)
def test_every_field_may_be_sent_and_every_field_of_the_answer_is_documented(
    path: str, method: str
) -> None:
    fakes = FakeServices(
        {rpc: filled_message(GetMessageClass(output)) for rpc, output in OUTPUTS.items()}
    )
    answer = request_with_every_field(System(app_with(fakes).test_client()), path, method)
    assert 200 <= answer.status_code < 300, answer.text
    if answer.status_code != 204:
        documented = METHODS[path, method]["responses"][str(answer.status_code)]
        components = {"components": types_only(DOCUMENT["components"])}
        assert violations(components | types_only(schema_of_body(documented)), answer.json) == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("path", "method"),
    [place for place, operation in METHODS.items() if "requestBody" in operation],
)
def test_no_value_of_a_field_breaks_anything(path: str, method: str) -> None:
    system = System(app_with(FakeServices()).test_client())
    schema = schema_of_body(METHODS[path, method]["requestBody"])
    for garbled in garble(example(schema)):
        answer = system.call(method.upper(), filled_path(path), garbled, If_Match='"1"')
        assert answer.status_code < 500, garbled


@pytest.mark.long
@pytest.mark.parametrize("path", [path for path, method in METHODS if method == "get"])
def test_no_value_of_a_parameter_breaks_anything(path: str) -> None:
    system = System(app_with(FakeServices()).test_client())
    for name in parameters(METHODS[path, "get"]):
        for value in NASTY_PARAMETERS:
            answer = system.get(f"{filled_path(path)}?{name}={value}", If_Match='"1"')
            assert answer.status_code < 500, (name, value)


def test_the_docs_page_lists_every_operation_and_every_reason_and_runs_nothing(
    system: System,
) -> None:
    page = system.get("/docs")
    assert page.headers["Content-Security-Policy"].startswith(
        "default-src 'none'; style-src 'self'"
    )
    assert not re.search(r'<script|(?:src|href)="(?!/api/v1/|#)', page.text)
    names = [operation["operationId"] for operation in METHODS.values()]
    assert missing(page.text, *(f'id="{name}"' for name in [*names, *REASONS])) == []
    assert DOCS == "/api/v1/docs"
    assert system.get("/docs.css").content_type.startswith("text/css")


def test_the_guide_explains_every_reason(system: System) -> None:
    page = system.get("/guide").text
    cells = [f"<td><code>{reason}</code></td>" for reason in REASONS]
    assert missing(page, *cells, REASONS["not_independent"].remedy) == []


def test_every_reason_of_the_services_is_explained() -> None:
    raised = re.compile(
        r'\b(?:Conflict|NotAllowed|Unauthenticated|Exhausted|Unavailable)\("([a-z_]+)"'
    )
    folders = "partners", "referrals", "notifications"
    roots = (
        *(f"services/{name}" for name in folders),
        "chassis",
        "facts",
        "keys",
        "runtime",
        "trail",
    )
    files = [file for root in roots for file in (ROOT / root).rglob("*.py")]
    reasons = {reason for file in files for reason in raised.findall(file.read_text())}
    assert reasons - REASONS.keys() == set()


def test_the_guides_code_for_verifying_a_webhook_works() -> None:
    guide = (ROOT / "docs" / "api.md").read_text()
    (snippet,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    namespace: dict[str, Any] = {}
    exec(snippet, namespace)
    secret, other_secret = (
        "whsec_" + base64.b64encode(letter * 24).decode() for letter in (b"k", b"x")
    )
    body, now = '{"type":"enlace.webhook.test.v1"}', datetime.now(UTC)
    headers = {
        "webhook-id": ID,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": "v1,AAAA " + Webhook(secret).sign(ID, now, body),
    }
    old_headers = {**headers, "webhook-timestamp": "1700000000"}
    is_ours, content = namespace["is_ours"], body.encode()
    assert is_ours(secret, headers, content)
    assert not is_ours(secret, headers, content + b" ")
    assert not is_ours(secret, old_headers, content)
    assert not is_ours(other_secret, headers, content)


def test_every_kind_that_a_webhook_can_receive_is_in_the_document() -> None:
    """The list of kinds is in the notifications service.

    Kinds that are only for the inbox of coordinators, auditors or one worker are sent to no system.
    """
    kinds = BY_KIND.keys() - FOR_PEOPLE_ALONE
    assert DOCUMENT["webhooks"].keys() == kinds | {"webhook_test"}
    types = {
        name: body_schema(name)["properties"]["type"]["const"] for name in DOCUMENT["webhooks"]
    }
    assert {kind: types[kind] for kind in kinds if BY_KIND[kind].verb} == {
        kind: f"enlace.referral.{notice.verb}.v1" for kind, notice in BY_KIND.items() if notice.verb
    }
    other_types = {
        "override_used": "enlace.referral.sent.v1",
        "webhook_disabled": wire.WEBHOOK_DISABLED,
        "manager_invited": "enlace.invitation.created.v1",
        "worker_invited": "enlace.invitation.created.v1",
        "account_opened": "enlace.invitation.accepted.v1",
        "receipt_proposed": "enlace.receipt.proposed.v1",
    }
    assert {kind: types[kind] for kind in other_types} == other_types


def test_every_field_of_a_webhooks_body_is_documented() -> None:
    now = datetime.now(UTC)
    hook = Endpoint(ID, ID, "https://partner.example/", (), True, "", 1, now, now)
    bodies = {
        "referral_accepted": referral_body(
            "accepted", filled_message(referral_facts_pb2.ReferralFact)
        ),
        "referral_sent": referral_body("sent", referral_facts_pb2.ReferralFact(referral_id=ID)),
        "account_opened": wire.subject_body(fact("invitation.accepted"), "invitation"),
        "agreement_ending": wire.subject_body(
            fact("organization.agreement_ending"), "organization"
        ),
        "receipt_proposed": wire.subject_body(fact("receipt.proposed"), "receipt"),
        "webhook_test": wire.test_body(hook, now),
        "webhook_disabled": wire.disabled_body(ID, now),
    }
    for kind, body in bodies.items():
        schema = body_schema(kind)
        data = {**resolve(schema["properties"]["data"]), "additionalProperties": False}
        closed_schema = {
            **schema,
            "additionalProperties": False,
            "properties": {**schema["properties"], "data": data},
        }
        assert violations(closed_schema, json.loads(body)) == [], kind
    documented = resolve(body_schema("referral_accepted")["properties"]["data"])["properties"]
    assert json.loads(bodies["referral_accepted"])["data"].keys() == documented.keys()


def fact(event: str) -> Fact:
    return Fact(ID, 4, f"enlace.{event}.v1", b"", datetime.now(UTC))


def referral_body(verb: str, referral: Any) -> str:
    return wire.webhook_body(fact(f"referral.{verb}"), referral, "https://enlace.example")


def body_schema(kind: str) -> dict[str, Any]:
    """Returns the schema of a webhook's body."""
    return schema_of_body(DOCUMENT["webhooks"][kind]["post"]["requestBody"])


def test_the_document_describes_the_headers_of_the_answers() -> None:
    """schemathesis compares all answers of a stack with the document (test_api_fuzz.py)."""
    headers = {
        place: operation["responses"][min(operation["responses"])].get("headers", {})
        for place, operation in METHODS.items()
    }
    for (path, method), documented in headers.items():
        expected = {"X-Request-Id", "RateLimit", "RateLimit-Policy"}
        expected |= {"ETag"} if method == "get" else set()
        assert expected <= documented.keys(), path
    assert "Location" in headers["/api/v1/people", "post"]
    assert "Link" in headers["/api/v1/referrals", "get"]
    assert "Link" not in headers["/api/v1/taxonomy", "get"]
    parts = DOCUMENT["components"]["responses"]
    assert "WWW-Authenticate" in parts["UNAUTHORIZED"]["headers"]
    for name in ("TOO_MANY_REQUESTS", "SERVICE_UNAVAILABLE", "GATEWAY_TIMEOUT"):
        assert "Retry-After" in parts[name]["headers"], name
    problems = [
        schema_of_body(documented) for name, documented in parts.items() if name != "NOT_MODIFIED"
    ]
    assert problems == [{"$ref": "#/components/schemas/Problem"}] * len(problems)


def test_the_idempotency_key_has_no_example_and_an_etag_has_one() -> None:
    """A reader who copies the example of a key would have her second request repeat the first."""
    parameters = DOCUMENT["components"]["parameters"]
    assert not {"example", "examples"} & parameters["IDEMPOTENCY_KEY"].keys()
    assert parameters["IF_MATCH"]["example"] == parameters["IF_NONE_MATCH"]["example"] == '"v7"'
    assert etag(7) == "v7"


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/services/{service_id}", "patch"),
        ("/webhooks/{webhook_id}", "patch"),
        ("/organizations/{organization_id}/propose-change", "post"),
    ],
)
def test_the_document_requires_a_change_to_name_a_field(path: str, method: str) -> None:
    body = METHODS[f"/api/v1{path}", method]["requestBody"]
    assert (body["required"], resolve(schema_of_body(body))["minProperties"]) == (True, 1)


def test_every_binding_of_the_contract_is_a_route_with_its_rpcs_right_and_no_other_exists() -> None:
    binding_at = {(VARIABLE.sub("{}", binding.path), binding.verb): binding for binding in BINDINGS}
    operation_at = {
        (VARIABLE.sub("{}", path), method): operation
        for (path, method), operation in METHODS.items()
    }
    assert operation_at.keys() == binding_at.keys()
    for place, operation in operation_at.items():
        rules = contract.rules(binding_at[place].rpc)
        right = operation["x-right"]
        if rules.public or rules.scope:
            assert right in (OPEN_RIGHTS if rules.public else (rules.scope,)), place
        else:
            roles = {word.removeprefix("any ").upper() for word in right.split(" or ")}
            assert roles <= {*rules.roles}, place
        assert set(operation["x-refusals"]) == rules.refusals
        statuses = {str(REASONS[reason].status) for reason in rules.refusals}
        assert statuses <= operation["responses"].keys()


def test_a_path_names_the_fields_of_its_request_and_a_body_is_one_of_them() -> None:
    for binding in BINDINGS:
        assert binding.body in ("", "*", *binding.rpc.input_type.fields_by_name)
        for path in binding.variables.values():
            message: Any = binding.rpc.input_type
            for name in path.split("."):
                message = message.fields_by_name[name].message_type
            assert message is None, path


def test_exactly_the_documented_operations_read_an_idempotency_key() -> None:
    system = System(app_with(FakeServices()).test_client())
    documented = {
        place
        for place, operation in METHODS.items()
        if {"$ref": "#/components/parameters/IDEMPOTENCY_KEY"} in operation.get("parameters", [])
    }
    malformed = {"header": "Idempotency-Key", "reason": "malformed"}
    answers = {place: request_with_every_field(system, *place, "a b") for place in METHODS}
    readers = {
        place
        for place, answer in answers.items()
        if malformed in (answer.get_json(silent=True) or {}).get("errors", [])
    }
    assert readers == documented


@pytest.mark.parametrize(
    "place",
    [
        ("/api/v1/people", "post"),
        ("/api/v1/enquiries", "post"),
        ("/api/v1/callbacks", "post"),
        ("/api/v1/imports", "post"),
        ("/api/v1/advice-cards", "get"),
        ("/api/v1/delivery-hours", "get"),
    ],
)
def test_an_operation_that_looks_up_an_id_from_body_or_query_documents_404(
    place: tuple[str, str],
) -> None:
    assert "404" in METHODS[place]["responses"]


def test_the_guide_names_each_reason_for_a_wrong_field() -> None:
    guide = (ROOT / "docs" / "api.md").read_text()
    import_reasons = {"ambiguous", "duplicate", "unknown_organization"}
    words = set(re.findall(r"`(\w+)`", guide.partition("## When the answer is no")[2]))
    assert TABLES["violation"].keys() - import_reasons - words == set()
