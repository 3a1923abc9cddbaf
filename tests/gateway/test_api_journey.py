"""Journeys of partner systems that call a running stack over REST: referrals and enquiries."""

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.builders import EXPLAINED
from tests.gateway.openapi_document import (
    METHODS,
    NASTY_VALUES,
    example,
    filled_path,
    garble,
    parameters,
    schema_of_body,
)
from tests.gateway.partner_system import Partner, create_person, own_service, system, tag, worker
from tests.parts.local_stack import LocalStack
from tests.parts.loops import eventually


def from_now(**span: float) -> str:
    """Returns the time that is this span from now."""
    return (datetime.now(UTC) + timedelta(**span)).isoformat()


def send_referral(sender: Partner, receiver: Partner) -> Any:
    """Sends a referral for a made-up person to the receiver's service, with her consent."""
    service = sender.get(f"/services/{own_service(receiver)['id']}")
    need = service["need_codes"][0]
    person = create_person(sender)
    consent = {
        "recipient_organization_id": service["organization_id"],
        "field_groups": ["identity"],
        "purpose_codes": [need[:3]],
        "until_time": from_now(days=30),
        "giver_code": "person",
        "manner_code": "spoken",
        "in_private": True,
        "explained_codes": EXPLAINED,
    }
    receipt = sender.create(f"/people/{person['id']}/receipts", consent)
    request = {
        "person_id": person["id"],
        "need_code": need,
        "urgency": "urgent",
        "service_id": service["id"],
        "unsafe_code": "nothing",
    }
    draft = sender.create("/referrals", request)
    assert (draft["state"], "send" in draft["allowed_verbs"]) == ("draft", True)
    return sender.act(draft, "send", receipt_id=receipt["id"])


def purpose(referral: Any, *field_groups: str) -> dict[str, Any]:
    """Returns the request to open field groups of the person of a referral."""
    return {
        "purpose_code": referral["need_code"],
        "field_groups": field_groups,
        "referral_id": referral["id"],
    }


def test_a_referral_goes_from_draft_to_closed_over_rest(puentes: Partner, luna: Partner) -> None:
    referral = send_referral(puentes, luna)
    path, person = f"/referrals/{referral['id']}", f"/people/{referral['person_id']}"
    inbox_referral = luna.get(path)
    assert (referral["state"], inbox_referral["side"]) == ("sent", "receiver")
    inbox_referral = luna.act(inbox_referral, "acknowledge")
    luna.act(inbox_referral, "ask", question_code="dates", note="¿Desde cuándo?")
    sent_referral = puentes.get(path)
    assert sent_referral["state"] == "info_requested"
    puentes.act(sent_referral, "answer", note="Desde hoy.")
    inbox_referral = luna.act(
        luna.get(path), "accept", planned_first_contact_time=from_now(hours=5), note="La esperamos."
    )
    identity = luna.post(f"{person}/open", purpose(inbox_referral, "identity"))
    assert (identity["given_name"], "phone" in identity) == ("Ejemplo", False)
    assert luna.refusal("POST", f"{person}/open", purpose(inbox_referral, "contact")) == (
        409,
        "receipt_field_group_differs",
        [],
    )
    accesses = puentes.get(f"{person}/readings")["items"]
    assert [access["allowed"] for access in accesses][:2] == [False, True]
    inbox_referral = luna.act(inbox_referral, "start", first_contact_time=from_now(minutes=-1))
    luna.act(
        inbox_referral,
        "complete",
        outcome_code="fully_met",
        delivered_need_codes=[inbox_referral["need_code"]],
    )
    assert puentes.act(puentes.get(path), "close", help_came_code="yes")["state"] == "closed"
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
    referral = send_referral(puentes, luna)
    assert "withdraw_time" in puentes.post(f"/receipts/{referral['receipt_id']}/withdraw")
    assert puentes.get(f"/referrals/{referral['id']}")["state"] == "consent_withdrawn"
    answer = luna.raw(
        "POST", f"/people/{referral['person_id']}/open", purpose(referral, "identity")
    )
    assert answer.status_code in (404, 409)


def test_objects_of_others_do_not_exist_for_a_partner(puentes: Partner, luna: Partner) -> None:
    person = f"/people/{create_person(puentes)['id']}"
    draft = puentes.create("/referrals", {"person_id": person.removeprefix("/people/")})
    for path in (
        person,
        f"{person}/receipts",
        f"{person}/readings",
        f"/referrals/{draft['id']}",
        f"/referrals/{'0' * 32}",
    ):
        assert luna.refusal("GET", path) == (404, "not_found", [])


def test_a_request_sent_twice_acts_once(puentes: Partner) -> None:
    key = f"order-{time.time_ns()}"
    body = {"coarse": {"country": "NI"}}
    first_person = puentes.create("/people", body, Idempotency_Key=key)
    assert puentes.create("/people", body, Idempotency_Key=key) == first_person
    other_body = {"coarse": {"country": "SV"}}
    assert puentes.refusal("POST", "/people", other_body, Idempotency_Key=key) == (
        422,
        "request_id_reused",
        [],
    )


def test_the_later_of_two_changes_to_one_object_is_refused(puentes: Partner) -> None:
    draft = puentes.create("/referrals", {"person_id": create_person(puentes)["id"]})
    path = f"/referrals/{draft['id']}"
    first_tag = puentes.raw("GET", path).headers["ETag"]
    assert puentes.refusal("PATCH", path, {"urgency": "normal"})[:2] == (428, "etag_required")
    fields = {"urgency": "normal", "need_code": "HOU.EMG"}
    changed_draft = puentes.call("PATCH", path, fields, If_Match=first_tag)
    assert changed_draft.items() >= fields.items()
    for body, version, refusal in (
        ({"urgency": "urgent"}, first_tag, (412, "stale_etag", [])),
        ({}, tag(changed_draft), (400, "invalid_fields", [("", "required")])),
    ):
        assert puentes.refusal("PATCH", path, body, If_Match=version) == refusal
    assert puentes.raw("GET", path, If_None_Match=first_tag).status_code == 200


@pytest.mark.parametrize(
    "path", ["/services?limit=7", "/organizations?limit=7", "/referrals?box=mine&limit=3"]
)
def test_following_the_next_links_gives_several_pages_and_no_item_twice(
    puentes: Partner, path: str
) -> None:
    ids: list[str] = []
    while path:
        answer = puentes.raw("GET", path)
        ids += [item["id"] for item in answer.json()["items"]]
        path = answer.links["next"]["url"].removeprefix("/api/v1") if "next" in answer.links else ""
    assert len(ids) == len(set(ids)) > 7


def test_a_search_and_a_match_find_services(puentes: Partner) -> None:
    results = puentes.post("/services/search", {"words": "albergue", "country": "NI"})
    assert results["total_size"] >= len(results["items"]) > 0
    need = {"need_code": "HOU.EMG", "country": "NI", "department": "NI-CI", "age": 24}
    best = puentes.post("/services/match", need)["items"][0]
    assert best["verdict"] in ("fits", "ask")
    assert all(reason["reason_code"] for reason in best["reasons"])
    assert puentes.refusal("POST", "/services/match", {"need_code": "NIX"}) == (
        400,
        "invalid_fields",
        [("/need_code", "unknown_code")],
    )


def test_an_enquiry_asks_several_services_at_once_and_one_offer_becomes_a_draft(
    stack: LocalStack, puentes: Partner
) -> None:
    shelter = worker(stack, "albergue@lunanueva")
    content = {
        "need_code": "HOU.EMG",
        "urgency": "urgent",
        "age_band": "18-24",
        "dependants": 1,
        "department": "NI-CI",
        "country": "NI",
    }
    need = {"need_code": "HOU.EMG", "country": "NI", "department": "NI-CI"}
    services = [match["service"]["id"] for match in puentes.post("/services/match", need)["items"]]
    fields = {"content": content, "service_ids": services}
    count = puentes.post("/enquiries/preview", fields)["service_count"]
    assert 1 < count <= len(services)
    assert puentes.refusal("POST", "/enquiries", fields) == (
        400,
        "invalid_fields",
        [("/unsafe_code", "required")],
    )
    enquiry = puentes.create("/enquiries", fields | {"unsafe_code": "nothing"})
    assert (enquiry["state"], enquiry["turn"], len(enquiry["offers"])) == (
        "open",
        "receiver",
        count,
    )
    inbox = shelter.get("/enquiries?box=received&state=open")["items"]
    [inbox_enquiry] = [item for item in inbox if item["id"] == enquiry["id"]]
    values = {name: value for name, value in inbox_enquiry["content"].items() if value != []}
    assert values.items() <= content.items()
    assert not inbox_enquiry.keys() & {"contact_id", "person_id", "reason_code"}
    path = f"/enquiries/{enquiry['id']}"
    offer = {"service_id": inbox_enquiry["offers"][0]["service_id"], "answer": "yes"}
    maybe = offer | {"answer": "maybe"}
    assert shelter.refusal("POST", f"{path}/answer", offer)[:2] == (428, "etag_required")
    answered = shelter.post(f"{path}/answer", offer, If_Match=tag(inbox_enquiry))
    assert answered["offers"][0]["answer"] == "yes"
    assert puentes.refusal("POST", f"{path}/take", maybe) == (409, "offer_gone", [])
    assert puentes.post(f"{path}/take", offer)["state"] == "matched"
    assert shelter.refusal("POST", f"{path}/answer", maybe, If_Match=tag(inbox_enquiry)) == (
        409,
        "enquiry_taken",
        [],
    )
    person = puentes.create("/people", {"coarse": {"age_band": "18-24"}})
    draft = puentes.create("/referrals", {"person_id": person["id"], "enquiry_id": enquiry["id"]})
    assert (draft["service_id"], draft["need_code"], draft["urgency"]) == (
        offer["service_id"],
        "HOU.EMG",
        "urgent",
    )
    assert puentes.get(path)["referral_id"] == draft["id"]


def test_a_caller_learns_the_status_of_her_call(stack: LocalStack) -> None:
    line, visitor = worker(stack, "operadora@llamayvive"), Partner(stack.gateway)
    fields = {
        "line_country": "NI",
        "kind_code": "crisis",
        "language": "es",
        "triage": {"safe_place_tonight": "no", "danger_now": "no"},
    }
    contact = line.create("/contacts", fields)
    assert (contact["urgency"], len(contact["pin"])) == ("emergency", 4)
    credential = {"reference": contact["reference"].lower(), "pin": contact["pin"]}
    assert visitor.post("/references/status", credential)["contact_time_band"] == "today"
    wrong_credential = credential | {"pin": "0000" if contact["pin"] != "0000" else "1111"}
    problem = visitor.post("/references/status", wrong_credential, status=401)
    assert problem["reason"] == "reference_or_pin_wrong"
    problem = visitor.post("/references/confirm", credential | {"help_came": True}, status=409)
    assert problem["reason"] == "nothing_to_confirm"
    path, triage = f"/contacts/{contact['id']}", {"danger_now": "yes"}
    changed_contact = line.call("PATCH", path, {"triage": triage}, If_Match=tag(contact))
    assert (changed_contact["triage"], changed_contact["urgency"]) == (
        {"safe_place_tonight": "no", "danger_now": "yes"},
        "immediate",
    )


def test_a_message_counts_as_unread_until_it_is_marked_as_read(
    luna: Partner, puentes: Partner
) -> None:
    referral = send_referral(puentes, luna)

    def unread() -> list[str]:
        messages = luna.get("/notifications?unread_only=true&limit=200")["items"]
        return [
            message["id"] for message in messages if message.get("referral_id") == referral["id"]
        ]

    assert eventually(lambda: unread() != [], 15)
    assert luna.get("/notifications/unread")["unread"] > 0
    message = unread()[0]
    assert "read_time" in luna.post(f"/notifications/{message}/read")
    assert message not in unread()
    notices = puentes.get(f"/referrals/{referral['id']}/notices")["items"]
    assert "inbox" in {notice["channel"] for notice in notices}


def test_further_resources_can_be_read_as_documented(stack: LocalStack, puentes: Partner) -> None:
    visitor, coordinator = Partner(stack.gateway), worker(stack, "coordinacion@coalicion")
    assert len(visitor.get("/taxonomy")["items"]) > 14
    assert "NI" in [line["country"] for line in visitor.get("/hotlines")["items"]]
    assert puentes.get("/statistics/pilot")["assisted"] == 26
    assert puentes.get("/referrals/counts")["total"] > 0
    assert puentes.get("/desk")["organization_id"]
    services = {service["id"] for service in puentes.get("/services?limit=2")["items"]}
    request = {"service_ids": sorted(services), "organization_ids": ["0" * 32]}
    assert {service["id"] for service in puentes.post("/lookups", request)["services"]} == services
    referrals = coordinator.get("/referrals?box=network&live=true")["items"]
    assert not [referral for referral in referrals if "person_id" in referral]
    worker(stack, "trabajadora@puentes").get("/development-mails")


ACCOUNTS = {
    "coordinator": "coordinacion@coalicion",
    "manager": "casa@amanecer",
    "directory.write": "casa@amanecer",
    "contacts.write": "operadora@llamayvive",
}


@pytest.mark.long
@pytest.mark.parametrize(
    ("path", "method"), METHODS, ids=lambda part: str(part).removeprefix("/api/v1")
)
def test_nothing_that_is_sent_breaks_the_stack(stack: LocalStack, path: str, method: str) -> None:
    operation = METHODS[path, method]
    account = ACCOUNTS.get(operation["x-right"])
    partner = worker(stack, account) if account else system(stack, "Asociación Puentes")
    verb, address = method.upper(), filled_path(path)
    if "requestBody" in operation:
        for garbled in garble(example(schema_of_body(operation["requestBody"])), NASTY_VALUES[::3]):
            answer = partner.raw(verb, address, garbled, If_Match='"1"')
            assert answer.status_code != 500, garbled
    for name in parameters(operation):
        for value in ("%00", "x" * 300, "-1", "9999-12-31T23:59:59-14:00", "eyJ9", "%F0%9F%98%80"):
            answer = partner.raw(verb, f"{address}?{name}={value}", If_Match='"1"')
            assert answer.status_code != 500, (name, value)
    for odd_id in ("x", "0" * 32, "A" * 64, "%00", "..%2f") if "{" in path else ():
        odd_path = re.sub(r"\{\w+\}", odd_id, path.removeprefix("/api/v1"))
        assert partner.raw(verb, odd_path, If_Match='"x"').status_code != 500, odd_id


def test_the_logs_contain_no_fault_and_nothing_about_anybody(stack: LocalStack) -> None:
    logs = "\n".join(file.read_text() for file in stack.logs.glob("*.log"))
    assert logs
    assert [
        line for line in logs.splitlines() if re.search('"fault"|Ejemplo|50500000000|mañanas', line)
    ] == []
