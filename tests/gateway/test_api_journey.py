"""Journeys of partner systems that call a running stack by REST.

Every answer is checked against the OpenAPI document.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from protos.partners.v1 import members_pb2, members_pb2_grpc
from services.gateway.api import openapi
from tests.gateway.test_api_openapi import (
    METHODS,
    NASTY,
    body_of,
    example,
    garble,
    parameters,
    path_of,
)

DOCUMENT = openapi()
TEMPLATES = {
    re.compile(re.sub(r"\\?\{\w+\\?\}", "[^/]+", path) + r"\Z"): path
    for path in sorted(DOCUMENT["paths"], key=lambda p: "{" in p)
}
GUIDE = (Path(__file__).resolve().parent.parent.parent / "docs" / "api.md").read_text()


class Partner:
    """A partner's system with a credential; it relies on the OpenAPI document."""

    def __init__(self, gateway: str, credential: str = "") -> None:
        self._root = f"{gateway}/api/v1"
        self._session = requests.Session()
        if credential:
            self._session.headers["Authorization"] = f"Bearer {credential}"

    def call(
        self, method: str, path: str, json: Any = None, status: int | None = 200, **headers: str
    ) -> Any:
        """Sends a request, expects a status, and returns the body.

        Header names are written with underscores.
        """
        answer = self.raw(method, path, json, **headers)
        assert status is None or answer.status_code == status, (
            f"{method} {path}: {answer.status_code} {answer.text}"
        )
        return answer.json() if answer.content else None

    def raw(self, method: str, path: str, json: Any = None, **headers: str) -> requests.Response:
        """Sends a request and returns the whole answer."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self._session.request(
            method, self._root + path, json=json, headers=sent, timeout=20
        )
        check(method, path, answer)
        return answer

    def get(self, path: str, **options: Any) -> Any:
        """Sends a GET."""
        return self.call("GET", path, **options)

    def post(self, path: str, json: Any = None, **options: Any) -> Any:
        """Sends a POST with JSON."""
        return self.call("POST", path, json, **options)

    def act(self, referral: Any, verb: str, **fields: Any) -> Any:
        """Takes a step of a referral in the version that was last read."""
        return self.post(
            f"/referrals/{referral['id']}/{verb}", fields, If_Match=f'"{referral["etag"]}"'
        )


def check(method: str, path: str, answer: requests.Response) -> None:
    """Checks an answer against the document."""
    path_template = "/api/v1" + path.split("?")[0]
    template = next(
        (documented for pattern, documented in TEMPLATES.items() if pattern.match(path_template)),
        None,
    )
    if template is None or method.lower() not in DOCUMENT["paths"][template]:
        return
    responses = DOCUMENT["paths"][template][method.lower()]["responses"]
    documented = responses.get(str(answer.status_code), responses["default"])
    if "$ref" in documented:
        documented = DOCUMENT["components"]["responses"][documented["$ref"].rsplit("/", 1)[1]]
    if "content" not in documented:
        assert not answer.content
        return
    assert answer.headers["Content-Type"] in documented["content"], answer.text
    schema = {"components": DOCUMENT["components"], **body_of(documented)}
    assert [
        f"{wrong.json_path}: {wrong.message}"
        for wrong in Draft202012Validator(schema).iter_errors(answer.json())
    ] == []


def key_of(stack: Any, organization: str) -> str:
    """Returns the demo key of an organisation."""
    return next(
        str(key["key"]) for key in stack.demo["api_keys"] if key["organization"] == organization
    )


def session_of(stack: Any, role: str, organization: str = "", email: str = "") -> Partner:
    """Returns a partner with a worker's session, as her own system would have it."""
    account = next(
        a
        for a in stack.demo["accounts"]
        if a["role"] == role and a["organization"].startswith(organization) and email in a["email"]
    )
    with grpc.insecure_channel(stack.demo["grpc"]["partners"]) as channel:
        question = members_pb2.SignInRequest(email=account["email"], password=account["password"])
        return Partner(
            stack.gateway, members_pb2_grpc.TokensStub(channel).SignIn(question).session_secret
        )


@pytest.fixture
def puentes(stack: Any) -> Partner:
    """Asociación Puentes, which refers."""
    return Partner(stack.gateway, key_of(stack, "Asociación Puentes"))


@pytest.fixture
def luna(stack: Any) -> Partner:
    """Albergue Luna Nueva, a shelter."""
    return Partner(stack.gateway, key_of(stack, "Albergue Luna Nueva"))


def soon(**span: float) -> str:
    """Returns a time in the near future."""
    return (datetime.now(UTC) + timedelta(**span)).isoformat()


def a_person(partner: Partner) -> Any:
    """Makes a file of a made-up person, with a plan."""
    coarse = {
        "age_band": "18-24",
        "gender_code": "Feminine",
        "language": "es",
        "country": "NI",
        "department": "NI-CI",
    }
    person = partner.post(
        "/people",
        {"identity": {"given_name": "Ejemplo", "phone": "+50500000000"}, "coarse": coarse},
        status=201,
    )
    plan = {"channel_code": "through_worker", "hours": "mañanas"}
    return partner.call(
        "PUT", f"/people/{person['id']}/safe-contact", plan, If_Match=f'"{person["etag"]}"'
    )


def a_sent_referral(sender: Partner, receiver: Partner) -> Any:
    """Sends a referral for a made-up person to the receiver's service, with her consent."""
    own = next(
        one
        for one in receiver.get("/referrals?box=inbox&limit=200")["items"]
        if one["side"] == "receiver"
    )
    service = sender.get(f"/services/{own['service_id']}")
    need = service["need_codes"][0]
    person = a_person(sender)
    consent = {
        "recipient_organization_id": service["organization_id"],
        "field_groups": ["identity"],
        "purpose_codes": [need[:3]],
        "until_time": soon(days=30),
        "giver_code": "person",
        "manner_code": "spoken",
        "in_private": True,
        "explained_codes": [
            "interview",
            "purpose",
            "uses",
            "research_use",
            "right_to_data",
            "storage_time",
            "how_to_withdraw",
        ],
    }
    receipt = sender.post(f"/people/{person['id']}/receipts", consent, status=201)
    request = {
        "person_id": person["id"],
        "need_code": need,
        "urgency": "urgent",
        "service_id": service["id"],
        "unsafe_code": "nothing",
    }
    draft = sender.post("/referrals", request, status=201)
    assert draft["state"] == "draft"
    assert "send" in draft["allowed_verbs"]
    return sender.act(draft, "send", receipt_id=receipt["id"])


def test_a_referral_from_draft_to_closed(puentes: Partner, luna: Partner) -> None:
    sent = a_sent_referral(puentes, luna)
    path = f"/referrals/{sent['id']}"
    assert sent["state"] == "sent"
    assert luna.get(path)["side"] == "receiver"
    received = luna.act(luna.get(path), "acknowledge")
    received = luna.act(received, "ask", question_code="dates", note="¿Desde cuándo?")
    assert puentes.get(path)["state"] == "info_requested"
    puentes.act(puentes.get(path), "answer", note="Desde hoy.")
    received = luna.act(
        luna.get(path), "accept", planned_first_contact_time=soon(hours=5), note="La esperamos."
    )
    response = luna.post(
        f"/people/{received['person_id']}/open",
        {
            "purpose_code": received["need_code"],
            "field_groups": ["identity"],
            "referral_id": received["id"],
        },
    )
    assert response["given_name"] == "Ejemplo"
    assert "phone" not in response
    refused = luna.post(
        f"/people/{received['person_id']}/open",
        {
            "purpose_code": received["need_code"],
            "field_groups": ["contact"],
            "referral_id": received["id"],
        },
        status=409,
    )
    assert refused["reason"] == "receipt_field_group_differs"
    readings = puentes.get(f"/people/{received['person_id']}/readings")["items"]
    assert [reading["allowed"] for reading in readings][:2] == [False, True]
    received = luna.act(received, "start", first_contact_time=soon(minutes=-1))
    received = luna.act(
        received, "complete", outcome_code="fully_met", delivered_need_codes=[received["need_code"]]
    )
    closed = puentes.act(puentes.get(path), "close", help_came_code="yes")
    assert closed["state"] == "closed"
    history = [event["verb"] for event in puentes.get(f"{path}/history")["items"]]
    expected = [
        "sent",
        "acknowledged",
        "info_requested",
        "answered",
        "accepted",
        "started",
        "completed",
        "closed",
    ]
    assert [verb for verb in history if verb in expected] in (expected, expected[::-1])


def test_a_withdrawn_consent_ends_the_receivers_access(puentes: Partner, luna: Partner) -> None:
    sent = a_sent_referral(puentes, luna)
    withdrawn = puentes.post(f"/receipts/{sent['receipt_id']}/withdraw")
    assert "withdraw_time" in withdrawn
    assert puentes.get(f"/referrals/{sent['id']}")["state"] == "consent_withdrawn"
    question = {
        "purpose_code": sent["need_code"],
        "field_groups": ["identity"],
        "referral_id": sent["id"],
    }
    assert luna.post(f"/people/{sent['person_id']}/open", question, status=None)["status"] in (
        404,
        409,
    )


def test_objects_of_others_do_not_exist_for_a_partner(puentes: Partner, luna: Partner) -> None:
    person = a_person(puentes)
    for path in ("", "/receipts", "/readings"):
        assert luna.get(f"/people/{person['id']}{path}", status=404)["reason"] == "not_found"
    draft = puentes.post("/referrals", {"person_id": person["id"]}, status=201)
    assert luna.get(f"/referrals/{draft['id']}", status=404)["reason"] == "not_found"
    assert luna.get(f"/referrals/{'0' * 32}", status=404)["reason"] == "not_found"


def test_a_request_sent_twice_acts_once(puentes: Partner) -> None:
    key = f"order-{time.time_ns()}"
    first = puentes.post("/people", {"coarse": {"country": "NI"}}, status=201, Idempotency_Key=key)
    assert (
        puentes.post("/people", {"coarse": {"country": "NI"}}, status=201, Idempotency_Key=key)
        == first
    )
    assert (
        puentes.post("/people", {"coarse": {"country": "SV"}}, status=422, Idempotency_Key=key)[
            "reason"
        ]
        == "request_id_reused"
    )


def test_the_later_of_two_changes_to_one_object_is_refused(puentes: Partner) -> None:
    person = a_person(puentes)
    draft = puentes.post("/referrals", {"person_id": person["id"]}, status=201)
    path = f"/referrals/{draft['id']}"
    answer = puentes.raw("GET", path)
    tag = answer.headers["ETag"]
    assert (
        puentes.call("PATCH", path, {"urgency": "normal"}, status=428)["reason"] == "etag_required"
    )
    changed = puentes.call(
        "PATCH", path, {"urgency": "normal", "need_code": "HOU.EMG"}, If_Match=tag
    )
    assert (changed["urgency"], changed["need_code"]) == ("normal", "HOU.EMG")
    assert (
        puentes.call("PATCH", path, {"urgency": "urgent"}, status=412, If_Match=tag)["reason"]
        == "stale_etag"
    )
    assert puentes.call("PATCH", path, {}, status=400, If_Match=f'"{changed["etag"]}"')[
        "errors"
    ] == [{"pointer": "", "reason": "required"}]
    assert puentes.raw("GET", path, If_None_Match=tag).status_code == 200


@pytest.mark.parametrize(
    "path", ["/services?limit=7", "/organizations?limit=7", "/referrals?box=mine&limit=3"]
)
def test_following_the_links_gives_everything_once(puentes: Partner, path: str) -> None:
    ids: list[str] = []
    while path:
        answer = puentes.raw("GET", path)
        ids += [one["id"] for one in answer.json()["items"]]
        path = answer.links["next"]["url"].removeprefix("/api/v1") if "next" in answer.links else ""
    assert len(ids) == len(set(ids)) > 7


def test_searching_and_matching(puentes: Partner) -> None:
    results = puentes.post("/services/search", {"words": "albergue", "country": "NI"})
    assert results["total_size"] >= len(results["items"]) > 0
    matches = puentes.post(
        "/services/match",
        {"need_code": "HOU.EMG", "country": "NI", "department": "NI-CI", "age": 24},
    )["items"]
    assert matches[0]["verdict"] in ("fits", "ask")
    assert all(reason["reason_code"] for reason in matches[0]["reasons"])
    assert puentes.post("/services/match", {"need_code": "NIX"}, status=400)["errors"] == [
        {"pointer": "/need_code", "reason": "unknown_code"}
    ]


def test_an_enquiry_asks_several_services_at_once_and_one_offer_becomes_a_draft(
    stack: Any, puentes: Partner
) -> None:
    shelter = session_of(stack, "WORKER", "Albergue Luna Nueva")
    content = {
        "need_code": "HOU.EMG",
        "urgency": "urgent",
        "age_band": "18-24",
        "dependants": 1,
        "department": "NI-CI",
        "country": "NI",
    }
    matches = puentes.post(
        "/services/match", {"need_code": "HOU.EMG", "country": "NI", "department": "NI-CI"}
    )["items"]
    fields = {"content": content, "service_ids": [match["service"]["id"] for match in matches]}
    preview = puentes.post("/enquiries/preview", fields)
    assert 1 < preview["service_count"] <= len(matches)
    [wrong] = puentes.post("/enquiries", fields, status=400)["errors"]
    assert (wrong["pointer"], wrong["reason"]) == ("/unsafe_code", "required")
    enquiry = puentes.post("/enquiries", fields | {"unsafe_code": "nothing"}, status=201)
    assert (enquiry["state"], enquiry["turn"], len(enquiry["offers"])) == (
        "open",
        "receiver",
        preview["service_count"],
    )
    [received] = [
        one
        for one in shelter.get("/enquiries?box=received&state=open")["items"]
        if one["id"] == enquiry["id"]
    ]
    values = {name: value for name, value in received["content"].items() if value != []}
    assert values.items() <= content.items()
    assert not received.keys() & {"contact_id", "person_id", "reason_code"}
    path, answer = (
        f"/enquiries/{enquiry['id']}",
        {"service_id": received["offers"][0]["service_id"], "answer": "yes"},
    )
    assert shelter.post(f"{path}/answer", answer, status=428)["reason"] == "etag_required"
    assert (
        shelter.post(f"{path}/answer", answer, If_Match=f'"{received["etag"]}"')["offers"][0][
            "answer"
        ]
        == "yes"
    )
    assert (
        puentes.post(f"{path}/take", {**answer, "answer": "maybe"}, status=409)["reason"]
        == "offer_gone"
    )
    assert puentes.post(f"{path}/take", answer)["state"] == "matched"
    late = shelter.post(
        f"{path}/answer",
        {**answer, "answer": "maybe"},
        If_Match=f'"{received["etag"]}"',
        status=409,
    )
    assert late["reason"] == "enquiry_taken"
    person = puentes.post("/people", {"coarse": {"age_band": "18-24"}}, status=201)
    draft = puentes.post(
        "/referrals", {"person_id": person["id"], "enquiry_id": enquiry["id"]}, status=201
    )
    assert (draft["service_id"], draft["need_code"], draft["urgency"]) == (
        answer["service_id"],
        "HOU.EMG",
        "urgent",
    )
    assert puentes.get(path)["referral_id"] == draft["id"]


def test_a_caller_learns_the_status_of_her_call(stack: Any) -> None:
    line = session_of(stack, "OPERATOR")
    fields = {
        "line_country": "NI",
        "kind_code": "crisis",
        "language": "es",
        "triage": {"safe_place_tonight": "no", "danger_now": "no"},
    }
    contact = line.post("/contacts", fields, status=201)
    assert (contact["urgency"], len(contact["pin"])) == ("emergency", 4)
    public = Partner(stack.gateway)
    credential = {"reference": contact["reference"].lower(), "pin": contact["pin"]}
    assert public.post("/references/status", credential)["contact_time_band"] == "today"
    wrong = {**credential, "pin": "0000" if contact["pin"] != "0000" else "1111"}
    assert (
        public.post("/references/status", wrong, status=401)["reason"] == "reference_or_pin_wrong"
    )
    assert (
        public.post("/references/confirm", {**credential, "help_came": True}, status=409)["reason"]
        == "nothing_to_confirm"
    )
    path = f"/contacts/{contact['id']}"
    changed = line.call(
        "PATCH", path, {"triage": {"danger_now": "yes"}}, If_Match=f'"{contact["etag"]}"'
    )
    assert changed["triage"] == {"safe_place_tonight": "no", "danger_now": "yes"}
    assert changed["urgency"] == "immediate"


def test_a_key_may_do_what_its_scopes_allow_and_ends_when_revoked(stack: Any) -> None:
    manager = session_of(stack, "MANAGER", "Casa Amanecer")
    created = manager.post(
        "/api-keys", {"label": "Prueba", "scopes": ["directory.read"]}, status=201
    )
    system = Partner(stack.gateway, created["secret"])
    assert system.get("/organizations")["items"]
    assert system.get("/people", status=403)["reason"] == "right_missing"
    assert system.get("/workers", status=403)["reason"] == "right_missing"
    manager.post(f"/api-keys/{created['id']}/revoke")
    deadline = time.monotonic() + 6
    while system.raw("GET", "/organizations").status_code == 200:
        assert time.monotonic() < deadline, "a revoked key still opens doors after 6 s"
        time.sleep(0.25)
    assert system.get("/organizations", status=None)["reason"] in (
        "key_invalid",
        "organization_not_active",
    )


def test_a_member_is_registered_approved_suspended_and_reinstated(stack: Any) -> None:
    coordinator = session_of(stack, "COORDINATOR")
    created = coordinator.post(
        "/organizations",
        {"name": "Casa de prueba (demo)", "type": "shelter", "country": "NI"},
        status=201,
    )
    assert created["status"] == "probation"
    refused = coordinator.post(
        f"/organizations/{created['id']}/approve", status=409, If_Match=f'"{created["etag"]}"'
    )
    assert refused["reason"] == "evidence_missing"
    for number, kind in enumerate(
        ("registration", "references", "references", "safeguarding_policy", "agreement")
    ):
        seen = {
            "kind": kind,
            "reference": f"EXP-{number} (demo)",
            "seen_date": soon(days=-1)[:10],
        } | ({"expire_date": soon(days=300)[:10]} if kind == "agreement" else {})
        created = coordinator.post(
            f"/organizations/{created['id']}/evidence", seen, If_Match=f'"{created["etag"]}"'
        )
    created = coordinator.post(
        f"/organizations/{created['id']}/approve", If_Match=f'"{created["etag"]}"'
    )
    assert created["status"] == "probation", "the first of two"
    refused = coordinator.post(
        f"/organizations/{created['id']}/approve", status=409, If_Match=f'"{created["etag"]}"'
    )
    assert refused["reason"] == "second_person_required"
    second = session_of(stack, "COORDINATOR", email="segunda")
    elsewhere = session_of(stack, "COORDINATOR", email="coordinacion@gobernacion")
    path = f"/organizations/{created['id']}"
    created = second.post(f"{path}/approve", If_Match=f'"{created["etag"]}"')
    assert created["status"] == "approved"
    refused = second.post(f"{path}/suspend", status=400, If_Match=f'"{created["etag"]}"')
    assert [(one["pointer"], one["reason"]) for one in refused["errors"]] == [
        ("/reason", "required")
    ]
    for by, verb, body, status in (
        (second, "suspend", {"reason": "harm"}, "approved"),
        (elsewhere, "suspend", {}, "suspended"),
        (second, "reinstate", {}, "suspended"),
        (elsewhere, "reinstate", {}, "approved"),
        (second, "suspend", {"reason": "front", "hold": True}, "suspended"),
        (second, "reinstate", {}, "suspended"),
        (elsewhere, "reinstate", {}, "approved"),
    ):
        created = by.post(f"{path}/{verb}", body, If_Match=f'"{created["etag"]}"')
        assert created["status"] == status, (verb, body)
    for service in ("access", "work", "webhook-count"):
        assert second.get(f"{path}/{service}")
    path = f"/organizations/{created['id']}/reinstate"
    assert (
        coordinator.post(path, status=409, If_Match=f'"{created["etag"]}"')["reason"]
        == "illegal_transition"
    )
    fields = {"type": "ngo", "hotline_number": "000-777"}
    refused = coordinator.call(
        "PATCH",
        f"/organizations/{created['id']}",
        fields,
        status=409,
        If_Match=f'"{created["etag"]}"',
    )
    assert refused["reason"] == "two_people_required"
    created = coordinator.post(
        f"/organizations/{created['id']}/propose-change", fields, If_Match=f'"{created["etag"]}"'
    )
    assert (created["type"], created["proposal"]["type"]) == ("shelter", "ngo")
    created = second.post(
        f"/organizations/{created['id']}/confirm-change", If_Match=f'"{created["etag"]}"'
    )
    assert (created["type"], created["hotline_number"]) == ("ngo", "000-777")


def test_a_service_keeps_the_fields_that_a_patch_does_not_name(stack: Any) -> None:
    manager = session_of(stack, "MANAGER", "Casa Amanecer")
    fields = {
        "name": "Taller (demo)",
        "need_codes": ["LIV"],
        "country": "NI",
        "eligibility": {"minimum_age": 18, "maximum_age": 60},
    }
    service = manager.post("/services", fields, status=201)
    path, tag = f"/services/{service['id']}", f'"{service["etag"]}"'
    changed = manager.call(
        "PATCH", path, {"eligibility": {"maximum_age": None}, "phone": None}, If_Match=tag
    )
    assert changed["eligibility"] == {"minimum_age": 18, "genders": []}
    roomy = manager.call(
        "PUT",
        f"{path}/capacity",
        {"intake": "open", "available": 2, "maximum": 5, "unit": "places"},
    )
    assert (roomy["capacity"]["available"], roomy["capacity"]["intake"]) == (2, "open")


class PartnerEndpoint:
    """A partner's endpoint on this machine."""

    def __init__(self) -> None:
        self.heard: list[tuple[dict[str, str], bytes]] = []
        received = self.heard

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                received.append(
                    ({name.lower(): value for name, value in self.headers.items()}, body)
                )
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Logs nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/enlace"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def listening() -> Iterator[PartnerEndpoint]:
    """A partner's endpoint."""
    endpoint = PartnerEndpoint()
    yield endpoint
    endpoint.server.shutdown()
    endpoint.server.server_close()


def test_a_webhook_is_delivered_and_can_be_verified_as_the_guide_describes(
    puentes: Partner, listening: PartnerEndpoint
) -> None:
    created = puentes.post(
        "/webhooks", {"url": listening.url, "kinds": ["referral_sent"]}, status=201
    )
    path = f"/webhooks/{created['id']}"
    try:
        delivery = puentes.post(f"{path}/test")
        deadline = time.monotonic() + 10
        while not listening.heard and time.monotonic() < deadline:
            time.sleep(0.05)
        headers, body = listening.heard[0]
        assert headers["webhook-id"] == delivery["id"]
        namespace: dict[str, Any] = {}
        exec(re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)[0], namespace)
        assert namespace["is_ours"](created["secret"], headers, body)
        while (known := puentes.get(f"{path}/deliveries")["items"])[0]["status"] != "delivered":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert known[0]["last_http_status"] == 204
        resent = puentes.post(f"{path}/deliveries/{delivery['id']}/resend")
        assert resent["id"] == delivery["id"]
        disabled = puentes.call("PATCH", path, {"enabled": False}, If_Match=f'"{created["etag"]}"')
        assert (disabled["enabled"], disabled["disabled_reason_code"]) == (False, "by_owner")
        assert (
            puentes.post("/webhooks", {"url": "ftp://example.org/"}, status=400)["errors"][0][
                "pointer"
            ]
            == "/url"
        )
    finally:
        puentes.call("DELETE", path, status=204)
    puentes.get(path, status=404)


def test_messages_are_counted_and_marked_read_and_do_not_change(
    luna: Partner, puentes: Partner
) -> None:
    sent = a_sent_referral(puentes, luna)
    deadline = time.monotonic() + 15
    while not (
        mine := [
            m
            for m in luna.get("/notifications?unread_only=true")["items"]
            if m.get("referral_id") == sent["id"]
        ]
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert luna.get("/notifications/unread")["unread"] > 0
    assert "read_time" in luna.post(f"/notifications/{mine[0]['id']}/read")
    assert mine[0]["id"] not in [
        message["id"] for message in luna.get("/notifications?unread_only=true&limit=200")["items"]
    ]
    assert {
        notice["channel"] for notice in puentes.get(f"/referrals/{sent['id']}/notices")["items"]
    } >= {"inbox"}


def test_all_other_readable_resources_are_as_documented(stack: Any, puentes: Partner) -> None:
    public = Partner(stack.gateway)
    assert len(public.get("/taxonomy")["items"]) > 14
    assert any(line["country"] == "NI" for line in public.get("/hotlines")["items"])
    assert puentes.get("/statistics/pilot")["assisted"] == 26
    assert puentes.get("/referrals/counts")["total"] > 0
    assert puentes.get("/desk")["organization_id"]
    some = puentes.get("/services?limit=2")["items"]
    looked_up = puentes.post(
        "/lookups", {"service_ids": [one["id"] for one in some], "organization_ids": ["0" * 32]}
    )
    assert {one["id"] for one in looked_up["services"]} == {one["id"] for one in some}
    network = session_of(stack, "COORDINATOR")
    assert all(
        "person_id" not in one for one in network.get("/referrals?box=network&live=true")["items"]
    )
    session_of(stack, "WORKER").get("/development-mails")


@pytest.mark.long
@pytest.mark.parametrize(
    ("path", "method"), METHODS, ids=lambda part: str(part).removeprefix("/api/v1")
)
def test_nothing_that_is_sent_breaks_the_stack(stack: Any, path: str, method: str) -> None:
    operation = METHODS[path, method]
    right = operation["x-right"]
    partner = Partner(stack.gateway, key_of(stack, "Asociación Puentes"))
    if right in ("manager", "coordinator", "directory.write"):
        partner = session_of(
            stack,
            "COORDINATOR" if right == "coordinator" else "MANAGER",
            "" if right == "coordinator" else "Casa Amanecer",
        )
    if right == "contacts.write":
        partner = session_of(stack, "OPERATOR")
    if "requestBody" in operation:
        schema = body_of(operation["requestBody"])
        for garbled in garble(example(schema), NASTY[::3]):
            assert (
                partner.raw(method.upper(), path_of(path), garbled, If_Match='"1"').status_code
                != 500
            ), garbled
    for name in parameters(operation):
        for value in ("%00", "x" * 300, "-1", "9999-12-31T23:59:59-14:00", "eyJ9", "%F0%9F%98%80"):
            answer = partner.raw(method.upper(), f"{path_of(path)}?{name}={value}", If_Match='"1"')
            assert answer.status_code != 500, (name, value)
    for odd in ("x", "0" * 32, "A" * 64, "%00", "..%2f"):
        if "{" in path:
            assert (
                partner.raw(
                    method.upper(),
                    re.sub(r"\{\w+\}", odd, path.removeprefix("/api/v1")),
                    If_Match='"x"',
                ).status_code
                != 500
            )


def test_the_logs_contain_no_fault_and_nothing_about_anybody(stack: Any) -> None:
    lines = [line for file in stack.logs.glob("*.log") for line in file.read_text().splitlines()]
    assert [line for line in lines if '"fault"' in line] == []
    assert [
        line for line in lines if "Ejemplo" in line or "50500000000" in line or "mañanas" in line
    ] == []
