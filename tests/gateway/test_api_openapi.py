"""The OpenAPI document is committed, served and true: every route, every field, every right."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from google.protobuf.message_factory import GetMessageClass
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from openapi_spec_validator import validate
from standardwebhooks import Webhook

from chassis import contract
from chassis.wire import etag
from facts.outbox import Fact
from protos.referrals.v1 import facts_pb2 as referral_facts_pb2
from protos.stubs import SERVICES
from services.gateway.api import openapi, openapi_text
from services.gateway.api.binding import bindings
from services.gateway.edge.problems import DOCS, REASONS
from services.notifications import wire
from services.notifications.domain.notices import BY_KIND
from services.notifications.domain.webhook import Webhook as Endpoint
from tests.gateway.api_gateway import ID, OUTPUTS, Played, System, app_with, filled
from tests.gateway.inbox_kinds import FOR_PEOPLE_ALONE
from tests.rights_table import SCOPES

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENT = openapi()
METHODS = {
    (path, method): operation
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method != "parameters"
}
OPEN = ("public", "reference and PIN")  # rights that need no credential
_VARIABLE = re.compile(r"\{[^}]+\}")
NASTY: list[Any] = [
    None, True, 0, -1, 2**40, 2**70, 1.5, 1e308, "", "x" * 5000, "\x00", "\ud800", "\u202e", (
        "9999-12-31T23:59:59-14:00"
    ), "0001-01-01T00:00:00Z",
    [], [None], [[]], {}, {"a": {}}, {"": None}, {"__proto__": 1},
]  # fmt: skip


def test_the_committed_document_is_fresh() -> None:
    committed = (ROOT / "docs" / "openapi.json").read_text()
    assert committed == openapi_text(), (
        "run `python -m services.gateway openapi > docs/openapi.json`"
    )


def test_the_served_document_is_the_committed_one(system: System) -> None:
    assert system.get("/openapi.json").json == json.loads(
        (ROOT / "docs" / "openapi.json").read_text()
    )


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
    known = {
        *OPEN,
        "any worker",
        "manager",
        "coordinator",
        "auditor",
        "manager or coordinator",
        *SCOPES,
    }
    for place, operation in METHODS.items():
        assert operation["x-right"] in known, place
        assert ("security" in operation) == (operation["x-right"] in OPEN), place


def test_every_operation_has_a_unique_name_a_summary_and_a_tag() -> None:
    names = [operation["operationId"] for operation in METHODS.values()]
    assert len(names) == len(set(names))
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    assert all(
        operation["summary"] and set(operation["tags"]) <= tags for operation in METHODS.values()
    )


def test_every_field_has_a_description() -> None:
    bare = [
        f"{name}.{field}"
        for name, schema in DOCUMENT["components"]["schemas"].items()
        for field, field_schema in schema.get("properties", {}).items()
        if "description" not in field_schema and "$ref" not in field_schema
    ]
    assert bare == []


def test_every_rpc_of_the_contracts_can_be_reached() -> None:
    played = Played()
    for place in METHODS:
        request_all(System(app_with(played).test_client()), *place)
    # the field names of these routes come from another standard
    for path in ("services", f"services/{ID}", "organizations", "service_at_locations"):
        app_with(played).test_client().get(f"/hsds/{path}")
    assert OUTPUTS.keys() - {rpc for rpc, _, _ in played.asked} == set()


@pytest.mark.parametrize(
    ("path", "method"), METHODS, ids=lambda part: str(part).removeprefix("/api/v1")
)
def test_every_field_may_be_sent_and_every_field_of_the_answer_is_documented(
    path: str, method: str
) -> None:
    played = Played({rpc: filled(GetMessageClass(output)) for rpc, output in OUTPUTS.items()})
    answer = request_all(System(app_with(played).test_client()), path, method)
    assert 200 <= answer.status_code < 300, answer.text
    operation = METHODS[path, method]
    documented = operation["responses"][str(answer.status_code)]
    if answer.status_code != 204:
        schema = {
            "$schema": Draft202012Validator.META_SCHEMA["$id"],
            "components": loose(DOCUMENT["components"]),
            **loose(body_of(documented)),
        }
        errors = [
            f"{error.json_path}: {error.message}"
            for error in Draft202012Validator(schema).iter_errors(answer.json)
        ]
        assert errors == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("path", "method"),
    [place for place, operation in METHODS.items() if "requestBody" in operation],
)
def test_no_value_of_a_field_breaks_anything(path: str, method: str) -> None:
    system = System(app_with(Played()).test_client())
    schema = body_of(METHODS[path, method]["requestBody"])
    for garbled in garble(example(schema)):
        answer = system.call(method.upper(), path_of(path), garbled, If_Match='"1"')
        assert answer.status_code < 500, garbled


@pytest.mark.long
@pytest.mark.parametrize(("path", "method"), [place for place in METHODS if place[1] == "get"])
def test_no_value_of_a_parameter_breaks_anything(path: str, method: str) -> None:
    system = System(app_with(Played()).test_client())
    for name in parameters(METHODS[path, method]):
        for value in (
            "",
            "%00",
            "%ff",
            "x" * 3000,
            "%F0%9F%98%80",
            "-1",
            "99999999999999999999",
            "9999-12-31T23:59:59-14:00",
        ):
            assert (
                system.call(
                    method.upper(), f"{path_of(path)}?{name}={value}", If_Match='"1"'
                ).status_code
                < 500
            ), (name, value)


def test_the_docs_page_lists_every_operation_and_every_reason_and_runs_nothing(
    system: System,
) -> None:
    page = system.get("/docs")
    assert page.headers["Content-Security-Policy"].startswith(
        "default-src 'none'; style-src 'self'"
    )
    assert "<script" not in page.text
    assert not re.search(r'(?:src|href)="(?!/api/v1/|#)', page.text)
    for operation in METHODS.values():
        assert f'id="{operation["operationId"]}"' in page.text
    for reason in REASONS:
        assert f'id="{reason}"' in page.text
    assert DOCS == "/api/v1/docs"
    assert system.get("/docs.css").content_type.startswith("text/css")


def test_the_guide_explains_every_reason(system: System) -> None:
    page = system.get("/guide").text
    assert [reason for reason in REASONS if f"<td><code>{reason}</code></td>" not in page] == []
    assert REASONS["not_independent"].remedy in page


def test_every_reason_of_the_services_is_explained() -> None:
    raised = re.compile(
        r'\b(?:Conflict|NotAllowed|Unauthenticated|Exhausted|Unavailable)\("([a-z_]+)"'
    )
    reasons = {
        reason
        for folder in (
            "services/partners",
            "services/referrals",
            "services/notifications",
            "chassis",
            "facts",
            "keys",
            "runtime",
            "trail",
        )
        for file in (ROOT / folder).rglob("*.py")
        for reason in raised.findall(file.read_text())
    }
    assert reasons - REASONS.keys() == set()


def test_the_guides_code_for_verifying_a_webhook_works() -> None:
    guide = (ROOT / "docs" / "api.md").read_text()
    (snippet,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    namespace: dict[str, Any] = {}
    exec(snippet, namespace)
    secret, body, now = (
        "whsec_" + base64.b64encode(b"k" * 24).decode(),
        '{"type":"enlace.webhook.test.v1"}',
        datetime.now(UTC),
    )
    signed = {
        "webhook-id": ID,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": "v1,AAAA " + Webhook(secret).sign(ID, now, body),
    }
    assert namespace["is_ours"](secret, signed, body.encode())
    assert not namespace["is_ours"](secret, signed, body.encode() + b" ")
    assert not namespace["is_ours"](
        secret, {**signed, "webhook-timestamp": "1700000000"}, body.encode()
    )
    assert not namespace["is_ours"](
        "whsec_" + base64.b64encode(b"x" * 24).decode(), signed, body.encode()
    )


def test_every_kind_that_a_webhook_can_receive_is_in_the_document() -> None:
    """The list of kinds is in the notifications service.

    Kinds that are only for the inbox of coordinators, auditors or one worker are sent to no system.
    """
    kinds = BY_KIND.keys() - FOR_PEOPLE_ALONE
    assert DOCUMENT["webhooks"].keys() == kinds | {"webhook_test"}
    types = {name: data_of(name)["properties"]["type"]["const"] for name in DOCUMENT["webhooks"]}
    assert {kind: types[kind] for kind in kinds if BY_KIND[kind].verb} == {
        kind: f"enlace.referral.{notice.verb}.v1" for kind, notice in BY_KIND.items() if notice.verb
    }
    assert (types["override_used"], types["webhook_disabled"]) == (
        "enlace.referral.sent.v1",
        wire.WEBHOOK_DISABLED,
    )
    assert {types[kind] for kind in ("manager_invited", "worker_invited")} == {
        "enlace.invitation.created.v1"
    }
    assert (types["account_opened"], types["receipt_proposed"]) == (
        "enlace.invitation.accepted.v1",
        "enlace.receipt.proposed.v1",
    )


def test_every_field_of_a_webhooks_body_is_documented() -> None:
    def fact(type: str) -> Fact:
        return Fact(ID, 4, type, b"", datetime.now(UTC))

    referral: Any = filled(referral_facts_pb2.ReferralFact)
    hook = Endpoint(
        ID, ID, "https://partner.example/", (), True, "", 1, datetime.now(UTC), datetime.now(UTC)
    )
    bodies = {
        "referral_accepted": wire.webhook_body(
            fact("enlace.referral.accepted.v1"), referral, "https://enlace.example"
        ),
        "referral_sent": wire.webhook_body(
            fact("enlace.referral.sent.v1"),
            referral_facts_pb2.ReferralFact(referral_id=ID),
            "https://enlace.example",
        ),
        "account_opened": wire.subject_body(fact("enlace.invitation.accepted.v1"), "invitation"),
        "agreement_ending": wire.subject_body(
            fact("enlace.organization.agreement_ending.v1"), "organization"
        ),
        "receipt_proposed": wire.subject_body(fact("enlace.receipt.proposed.v1"), "receipt"),
        "webhook_test": wire.test_body(hook, datetime.now(UTC)),
        "webhook_disabled": wire.disabled_body(ID, datetime.now(UTC)),
    }
    for kind, body in bodies.items():
        schema = data_of(kind)
        data = {**resolve(schema["properties"]["data"]), "additionalProperties": False}
        closed = {
            **schema,
            "additionalProperties": False,
            "properties": {**schema["properties"], "data": data},
        }
        assert [
            f"{kind} {error.json_path}: {error.message}"
            for error in Draft202012Validator(closed).iter_errors(json.loads(body))
        ] == []
    assert (
        json.loads(bodies["referral_accepted"])["data"].keys()
        == resolve(data_of("referral_accepted")["properties"]["data"])["properties"].keys()
    )


def data_of(kind: str) -> dict[str, Any]:
    """Returns the schema of a webhook's body."""
    return body_of(DOCUMENT["webhooks"][kind]["post"]["requestBody"])


def test_answers_have_the_documented_headers(system: System, played: Played) -> None:
    """Checks that the headers are documented at all.

    schemathesis checks all answers of a stack against the document (test_api_fuzz.py).
    """
    headers = {
        place: operation["responses"][min(operation["responses"])].get("headers", {})
        for place, operation in METHODS.items()
    }
    for (path, method), documented in headers.items():
        assert {"X-Request-Id", "RateLimit", "RateLimit-Policy"} <= documented.keys(), path
        assert method != "get" or "ETag" in documented, path
    assert "Location" in headers["/api/v1/people", "post"]
    assert "Link" in headers["/api/v1/referrals", "get"]
    assert "Link" not in headers["/api/v1/taxonomy", "get"]
    parts = DOCUMENT["components"]["responses"]
    assert "WWW-Authenticate" in parts["UNAUTHORIZED"]["headers"]
    assert (
        "Retry-After"
        in parts["TOO_MANY_REQUESTS"]["headers"].keys()
        & parts["SERVICE_UNAVAILABLE"]["headers"].keys()
        & parts["GATEWAY_TIMEOUT"]["headers"].keys()
    )
    problems = [documented for name, documented in parts.items() if name != "NOT_MODIFIED"]
    assert all(
        body_of(documented) == {"$ref": "#/components/schemas/Problem"} for documented in problems
    )


def test_no_documented_example_makes_a_second_request_repeat_the_first() -> None:
    parameters = DOCUMENT["components"]["parameters"]
    assert not {"example", "examples"} & parameters["IDEMPOTENCY_KEY"].keys()
    assert parameters["IF_MATCH"]["example"] == parameters["IF_NONE_MATCH"]["example"] == '"v7"'
    assert etag(7) == "v7"


@pytest.mark.parametrize(
    ("path", "body"),
    [("/services/{}", {}), ("/webhooks/{}", {}), ("/organizations/{}/propose-change", None)],
)
def test_an_empty_change_is_refused_and_the_document_says_so(
    system: System, path: str, body: Any
) -> None:
    method = "post" if body is None else "patch"
    operation = next(
        summary
        for (place, verb), summary in METHODS.items()
        if verb == method and _VARIABLE.sub("{}", place) == f"/api/v1{path}"
    )
    assert operation["requestBody"]["required"]
    assert resolve(body_of(operation["requestBody"]))["minProperties"] == 1


# How a request is made from the document


def request_all(system: System, path: str, method: str) -> Any:
    """Sends a request with every field and parameter that the document offers."""
    operation = METHODS[path, method]
    body = example(body_of(operation["requestBody"])) if "requestBody" in operation else None
    query = "&".join(f"{name}={value}" for name, value in parameters(operation).items())
    return system.call(
        method.upper(), f"{path_of(path)}?{query}", body, If_Match='"1"', Idempotency_Key="k"
    )


def path_of(path: str) -> str:
    """Returns a path with an id in each place."""
    return "/".join(
        ID if part.startswith("{") else part for part in path.removeprefix("/api/v1").split("/")
    )


def body_of(response: dict[str, Any]) -> dict[str, Any]:
    """Returns the schema of a body."""
    (content,) = response["content"].values()
    schema: dict[str, Any] = content["schema"]
    return schema


def parameters(operation: dict[str, Any]) -> dict[str, str]:
    """Returns the query parameters, each with an example."""
    examples = {}
    for parameter in operation.get("parameters", []):
        if parameter.get("in") == "query":
            schema = parameter["schema"]
            value = example(
                {
                    **schema,
                    **{key: parameter[key] for key in ("examples", "example") if key in parameter},
                }
            )
            examples[parameter["name"]] = str(
                value[0] if isinstance(value, list) else value
            ).replace("True", "true")
    return examples


def resolve(schema: dict[str, Any]) -> dict[str, Any]:
    """Returns a schema without references at its top."""
    for part in schema.get("allOf", []):
        schema = {**schema, **part}
    if "$ref" in schema:
        target: dict[str, Any] = DOCUMENT["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        return target
    return schema


def example(schema: dict[str, Any]) -> Any:
    """Returns a value that a schema allows, with every field that may be sent."""
    schema = resolve(schema)
    if "properties" in schema:
        # the last of several alternatives
        offered = {
            field.get("x-one-of", name): name
            for name, field in schema["properties"].items()
            if not field.get("readOnly")
        }
        return {name: example(schema["properties"][name]) for name in offered.values()}
    kinds = schema.get("type", "object")
    kind = kinds if isinstance(kinds, str) else kinds[0]
    if kind == "array":
        return [example(schema["items"])]
    if examples := schema.get("examples"):
        return examples[0]
    if enum := schema.get("enum"):
        return enum[0]
    text = "x" * min(12, schema.get("maxLength", 12))
    return {
        "string": text,
        "integer": schema.get("minimum", 1),
        "number": schema.get("minimum", 1),
        "boolean": True,
    }.get(kind, {})


def garble(body: Any, values: list[Any] = NASTY) -> Iterator[Any]:
    """Yields the body with each field, also nested, replaced by each bad value."""
    yield from values
    for name, value in body.items():
        yield from ({**body, name: nasty} for nasty in values)
        if isinstance(value, dict):
            yield from (
                {**body, name: inner} for inner in garble(value, values) if isinstance(inner, dict)
            )


def loose(schema: Any) -> Any:
    """Returns a schema that is closed (no undocumented field) and checks types only.

    The values of the fake services are not real ones.
    """
    if isinstance(schema, list):
        return [loose(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    values = {
        name: loose(part)
        for name, part in schema.items()
        if name not in ("enum", "pattern", "maxLength", "minLength", "minimum", "maximum", "format")
    }
    if isinstance(schema.get("properties"), dict) and "type" in schema:
        values = {
            **values,
            "properties": {name: loose(part) for name, part in schema["properties"].items()},
            "additionalProperties": False,
        }
    return values


def test_every_binding_of_the_contract_is_a_route_with_its_rpcs_right_and_no_other_exists() -> None:
    bound = {
        (_VARIABLE.sub("{}", binding.path), binding.verb): binding
        for service in SERVICES
        for rpc in service.methods
        for binding in bindings(rpc)
    }
    declared = {
        (_VARIABLE.sub("{}", path), method): operation
        for (path, method), operation in METHODS.items()
    }
    assert declared.keys() == bound.keys()
    for place, operation in declared.items():
        rules = contract.rules(bound[place].rpc)
        roles = {
            "any worker": "WORKER" in rules.roles,
            **{role.lower(): role in rules.roles for role in ("MANAGER", "COORDINATOR", "AUDITOR")},
        }
        if rules.public or rules.scope:
            assert operation["x-right"] in (
                ("public", "reference and PIN") if rules.public else (rules.scope,)
            ), place
        else:
            assert all(roles[word] for word in operation["x-right"].split(" or ")), place
        assert set(operation["x-refusals"]) == rules.refusals
        assert {str(REASONS[reason].status) for reason in rules.refusals} <= operation[
            "responses"
        ].keys()


def test_a_path_names_the_fields_of_its_request_and_a_body_is_one_of_them() -> None:
    for service in SERVICES:
        for each in (binding for rpc in service.methods for binding in bindings(rpc)):
            assert each.body in ("", "*") or each.body in each.rpc.input_type.fields_by_name
            for path in each.variables.values():
                place: Any = each.rpc.input_type
                for name in path.split("."):
                    place = place.fields_by_name[name].message_type
                assert place is None, path
