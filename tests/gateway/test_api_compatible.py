"""The REST API stays compatible: nothing that a client could send or read is gone or narrower."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.gateway.api import openapi
from tests.openapi_compare import Document, narrowed

RELEASED = Path(__file__).resolve().parents[2] / "protos" / "released"
NOW = openapi()
SENDS = "/api/v1/referrals/{referral_id}/decline"


@pytest.mark.parametrize(
    "released", sorted(RELEASED.glob("*.openapi.json")), ids=lambda path: str(path.name)
)
def test_nothing_that_was_released_is_gone_or_narrower(released: Path) -> None:
    assert narrowed(Document(json.loads(released.read_text())), Document(NOW)) == []


def body(document: dict[str, Any]) -> dict[str, Any]:
    (content,) = document["paths"][SENDS]["post"]["requestBody"]["content"].values()
    schema: dict[str, Any] = document["components"]["schemas"][
        content["schema"]["$ref"].rsplit("/", 1)[1]
    ]
    return schema


def answer(document: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = document["components"]["schemas"]["Referral"]
    return schema


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda document: document["paths"].pop(SENDS), "is gone"),
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
        (lambda document: answer(document)["properties"].pop("turn"), ".turn: is gone"),
        (
            lambda document: answer(document)["required"].remove("state"),
            ".state: may be absent now",
        ),
        (
            lambda document: document["paths"]["/api/v1/referrals"]["get"]["parameters"].pop(0),
            ": is gone",
        ),
    ],
)
def test_every_change_that_would_break_a_client_is_found(
    change: Callable[[dict[str, Any]], Any], expected: str
) -> None:
    changed = copy.deepcopy(NOW)
    change(changed)
    assert [line for line in narrowed(Document(NOW), Document(changed)) if expected in line]


def test_a_change_that_accepts_more_is_allowed() -> None:
    changed = copy.deepcopy(NOW)
    optional = "/api/v1/organizations/{organization_id}/suspend"
    before = copy.deepcopy(NOW)
    before["paths"][optional]["post"].pop("requestBody")
    assert narrowed(Document(before), Document(NOW)) == [], (
        "a body that may be omitted is no narrower"
    )
    needed = copy.deepcopy(NOW)
    needed["paths"][optional]["post"]["requestBody"]["required"] = True
    assert [
        line for line in narrowed(Document(before), Document(needed)) if "takes a body now" in line
    ]
    body(changed)["properties"]["note"]["maxLength"] = 9000
    body(changed)["properties"]["more"] = {"type": "string"}
    answer(changed)["properties"]["more"] = {"type": "string"}
    changed["paths"]["/api/v1/more"] = {"get": {"responses": {}}}
    assert narrowed(Document(NOW), Document(changed)) == []
