"""Partner systems administer keys, members, services and webhooks of a running stack over REST."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import SimpleQueue
from threading import Thread
from typing import Any

import pytest

from tests.gateway.partner_system import Partner, tag, worker
from tests.parts.local_stack import ROOT, LocalStack
from tests.parts.loops import eventually

GUIDE = (ROOT / "docs" / "api.md").read_text()


def test_a_key_may_do_what_its_scopes_allow_and_ends_when_revoked(stack: LocalStack) -> None:
    manager = worker(stack, "casa@amanecer")
    key = manager.create("/api-keys", {"label": "Prueba", "scopes": ["directory.read"]})
    system = Partner(stack.gateway, key["secret"])
    assert system.get("/organizations")["items"]
    for path in ("/people", "/workers"):
        assert system.refusal("GET", path) == (403, "right_missing", [])
    manager.post(f"/api-keys/{key['id']}/revoke")
    assert eventually(lambda: system.raw("GET", "/organizations").status_code != 200, 6)
    reason = system.raw("GET", "/organizations").json()["reason"]
    assert reason in ("key_invalid", "organization_not_active")


def test_a_key_that_may_only_write_files_can_correct_part_of_a_file_and_repeat_the_request(
    stack: LocalStack,
) -> None:
    fields = {"label": "Prueba", "scopes": ["people.write"]}
    key = worker(stack, "casa@amanecer").create("/api-keys", fields)
    system = Partner(stack.gateway, key["secret"])
    person = system.create("/people", {"coarse": {"language": "es", "department": "NI-CI"}})
    path = f"/people/{person['id']}"

    def correct() -> Any:
        patch = {"coarse": {"department": "NI-LE"}}
        return system.call("PATCH", path, patch, If_Match=tag(person), Idempotency_Key=person["id"])

    corrected = correct()
    assert corrected["coarse"] == {"language": "es", "department": "NI-LE"}
    other_patch = {"coarse": {"language": None, "dependants": 2}}
    second_correction = system.call("PATCH", path, other_patch, If_Match=tag(corrected))
    assert second_correction["coarse"] == {"department": "NI-LE", "dependants": 2}
    assert correct() == corrected


def test_a_member_is_registered_approved_suspended_and_reinstated(stack: LocalStack) -> None:
    first_coordinator, second_coordinator, outside_coordinator = (
        worker(stack, email)
        for email in ("coordinacion@coalicion", "segunda@coalicion", "coordinacion@gobernacion")
    )
    fields = {"name": "Casa de prueba (demo)", "type": "shelter", "country": "NI"}
    member = first_coordinator.create("/organizations", fields)
    assert member["status"] == "probation"
    path = f"/organizations/{member['id']}"

    def refusal(by: Partner, verb: str, body: Any = None) -> tuple[int, str, list[tuple[str, str]]]:
        return by.refusal("POST", f"{path}/{verb}", body, If_Match=tag(member))

    assert refusal(first_coordinator, "approve") == (409, "evidence_missing", [])
    for number, kind in enumerate(
        ("registration", "references", "references", "safeguarding_policy", "agreement")
    ):
        evidence = {"kind": kind, "reference": f"EXP-{number} (demo)", "seen_date": day(-1)}
        if kind == "agreement":
            evidence["expire_date"] = day(300)
        member = first_coordinator.post(f"{path}/evidence", evidence, If_Match=tag(member))
    member = first_coordinator.post(f"{path}/approve", If_Match=tag(member))
    assert member["status"] == "probation", "one of two approvals"
    assert refusal(first_coordinator, "approve") == (409, "second_person_required", [])
    member = second_coordinator.post(f"{path}/approve", If_Match=tag(member))
    assert member["status"] == "approved"
    assert refusal(second_coordinator, "suspend") == (
        400,
        "invalid_fields",
        [("/reason", "required")],
    )
    for by, verb, body, status in (
        (second_coordinator, "suspend", {"reason": "harm"}, "approved"),
        (outside_coordinator, "suspend", {}, "suspended"),
        (second_coordinator, "reinstate", {}, "suspended"),
        (outside_coordinator, "reinstate", {}, "approved"),
        (second_coordinator, "suspend", {"reason": "front", "hold": True}, "suspended"),
        (second_coordinator, "reinstate", {}, "suspended"),
        (outside_coordinator, "reinstate", {}, "approved"),
    ):
        member = by.post(f"{path}/{verb}", body, If_Match=tag(member))
        assert member["status"] == status, (verb, body)
    assert all(
        second_coordinator.get(f"{path}/{part}") for part in ("access", "work", "webhook-count")
    )
    assert refusal(first_coordinator, "reinstate") == (409, "illegal_transition", [])
    fields = {"type": "ngo", "hotline_number": "000-777"}
    assert first_coordinator.refusal("PATCH", path, fields, If_Match=tag(member)) == (
        409,
        "two_people_required",
        [],
    )
    member = first_coordinator.post(f"{path}/propose-change", fields, If_Match=tag(member))
    assert (member["type"], member["proposal"]["type"]) == ("shelter", "ngo")
    member = second_coordinator.post(f"{path}/confirm-change", If_Match=tag(member))
    assert member.items() >= fields.items()


def day(days: int) -> str:
    """Returns the date that is `days` days from today."""
    return (datetime.now(UTC) + timedelta(days=days)).date().isoformat()


def test_a_patch_of_a_service_keeps_the_age_that_it_does_not_name(stack: LocalStack) -> None:
    manager = worker(stack, "casa@amanecer")
    fields = {
        "name": "Taller (demo)",
        "need_codes": ["LIV"],
        "country": "NI",
        "eligibility": {"minimum_age": 18, "maximum_age": 60},
    }
    service = manager.create("/services", fields)
    path = f"/services/{service['id']}"
    patch = {"eligibility": {"maximum_age": None}, "phone": None}
    patched = manager.call("PATCH", path, patch, If_Match=tag(service))
    assert patched["eligibility"] == {"minimum_age": 18, "genders": []}
    capacity = {"intake": "open", "available": 2, "maximum": 5, "unit": "places"}
    stored_capacity = manager.call("PUT", f"{path}/capacity", capacity)["capacity"]
    assert (stored_capacity["available"], stored_capacity["intake"]) == (2, "open")


class PartnerEndpoint(HTTPServer):
    """A partner's endpoint on this machine, with the headers and body of each request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: SimpleQueue[tuple[dict[str, str], bytes]] = SimpleQueue()


class Handler(BaseHTTPRequestHandler):
    server: PartnerEndpoint

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.put((headers, body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing."""


@pytest.fixture
def endpoint() -> Iterator[PartnerEndpoint]:
    with PartnerEndpoint() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_webhook_is_delivered_and_can_be_verified_as_the_guide_describes(
    puentes: Partner, endpoint: PartnerEndpoint
) -> None:
    url = f"http://127.0.0.1:{endpoint.server_port}/enlace"
    webhook = puentes.create("/webhooks", {"url": url, "kinds": ["referral_sent"]})
    path = f"/webhooks/{webhook['id']}"
    try:
        delivery = puentes.post(f"{path}/test")
        headers, body = endpoint.requests.get(timeout=10)
        assert headers["webhook-id"] == delivery["id"]
        namespace: dict[str, Any] = {}
        exec(re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)[0], namespace)
        assert namespace["is_ours"](webhook["secret"], headers, body)

        def last_delivery() -> Any:
            return puentes.get(f"{path}/deliveries")["items"][0]

        assert eventually(lambda: last_delivery()["status"] == "delivered", 10)
        assert last_delivery()["last_http_status"] == 204
        assert puentes.post(f"{path}/deliveries/{delivery['id']}/resend")["id"] == delivery["id"]
        disabled = puentes.call("PATCH", path, {"enabled": False}, If_Match=tag(webhook))
        assert (disabled["enabled"], disabled["disabled_reason_code"]) == (False, "by_owner")
        problem = puentes.post("/webhooks", {"url": "ftp://example.org/"}, status=400)
        assert problem["errors"][0]["pointer"] == "/url"
    finally:
        puentes.call("DELETE", path, status=204)
    puentes.call("GET", path, status=404)
