"""The REST API stays compatible: nothing that a client could send or read is gone or narrower."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.gateway.api import openapi
from tests.openapi_compare import Document, narrowed
from tests.parts.local_stack import ROOT

RELEASED = ROOT / "protos" / "released"
CURRENT = openapi()
DECLINE = "/api/v1/referrals/{referral_id}/decline"


@pytest.mark.parametrize(
    "file", sorted(RELEASED.glob("*.openapi.json")), ids=lambda path: str(path.name)
)
def test_nothing_that_was_released_is_gone_or_narrower(file: Path) -> None:
    assert narrowed(Document(json.loads(file.read_text())), Document(CURRENT)) == []


def body(document: dict[str, Any]) -> dict[str, Any]:
    """Returns the schema of the request that declines a referral."""
    (content,) = document["paths"][DECLINE]["post"]["requestBody"]["content"].values()
    return schema(document, content["schema"]["$ref"].rsplit("/", 1)[1])


def schema(document: dict[str, Any], name: str) -> dict[str, Any]:
    result: dict[str, Any] = document["components"]["schemas"][name]
    return result


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda document: document["paths"].pop(DECLINE), "is gone"),
        (lambda document: body(document)["properties"].pop("note"), ".note: is gone"),
        (lambda document: body(document)["required"].append("note"), ".note: is required now"),
        (
            lambda document: body(document)["properties"]["note"].update(maxLength=10),
            "maxLength was 4000, is 10",
        ),
        (
            lambda document: body(document)["properties"]["reason_code"]["enum"].remove(
                "no_capacity"
            ),
            "no longer takes ['no_capacity']",
        ),
        (
            lambda document: body(document)["properties"]["note"].update(type="integer"),
            "was ['string'], is ['integer']",
        ),
        (
            lambda document: body(document)["properties"]["alternative_service_id"].update(
                pattern="^x$"
            ),
            "has another pattern",
        ),
        (lambda document: schema(document, "Referral")["properties"].pop("turn"), ".turn: is gone"),
        (
            lambda document: schema(document, "Referral")["required"].remove("state"),
            ".state: may be absent now",
        ),
        (
            lambda document: document["paths"]["/api/v1/referrals"]["get"]["parameters"].pop(0),
            ": is gone",
        ),
    ],
)
def test_a_change_that_would_break_a_client_is_found(
    change: Callable[[dict[str, Any]], Any], expected: str
) -> None:
    changed_document = copy.deepcopy(CURRENT)
    change(changed_document)
    assert [
        line for line in narrowed(Document(CURRENT), Document(changed_document)) if expected in line
    ]


def test_a_change_that_accepts_more_is_allowed() -> None:
    document = copy.deepcopy(CURRENT)
    body(document)["properties"]["note"]["maxLength"] = 9000
    body(document)["properties"]["more"] = {"type": "string"}
    schema(document, "Referral")["properties"]["more"] = {"type": "string"}
    document["paths"]["/api/v1/more"] = {"get": {"responses": {}}}
    assert narrowed(Document(CURRENT), Document(document)) == []


def test_a_new_body_is_allowed_if_it_may_be_omitted() -> None:
    path = "/api/v1/organizations/{organization_id}/suspend"
    without_body, with_required_body = copy.deepcopy(CURRENT), copy.deepcopy(CURRENT)
    without_body["paths"][path]["post"].pop("requestBody")
    assert narrowed(Document(without_body), Document(CURRENT)) == []
    with_required_body["paths"][path]["post"]["requestBody"]["required"] = True
    lines = narrowed(Document(without_body), Document(with_required_body))
    assert [line for line in lines if "takes a body now" in line]
