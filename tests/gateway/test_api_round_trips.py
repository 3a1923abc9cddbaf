"""Each writable resource of REST is read from a running stack and sent back unchanged.

The service accepts it, and nothing changes. `ROUND_TRIPS` gives the request of each binding that
takes a resource; a missing binding fails by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from protos.stubs import FILES
from services.gateway.api.binding import Binding, bindings
from tests.gateway.test_api_journey import Partner, a_person, key_of, session_of

# Fields that differ between write and read, or that change by themselves a moment later.
_MOVES = {
    "etag",
    "update_time",
    "next_due_time",
    "clocks",
    "stale_time",
    "version",
    "publish_time",
    "text",
}


@dataclass(frozen=True)
class Trip:
    """A round trip: the caller, the resource to read, and the part to send.

    `before` changes the fields that have to differ each time.
    """

    partner: Callable[[Any], Partner]
    read: Callable[[Partner], Any]
    write: Callable[[Any], str]
    part: str = ""
    before: Callable[[Any], Any] = lambda resource: resource


def puentes(stack: Any) -> Partner:
    return Partner(stack.gateway, key_of(stack, "Asociación Puentes"))


def manager(stack: Any) -> Partner:
    return session_of(stack, "MANAGER", "Albergue Luna Nueva")


def coordinator(stack: Any) -> Partner:
    return session_of(stack, "COORDINATOR")


def operator(stack: Any) -> Partner:
    return session_of(stack, "OPERATOR")


def first(path: str) -> Callable[[Partner], Any]:
    """Returns a function that reads the first resource of a list by its own address."""

    def read(partner: Partner) -> Any:
        listed = partner.get(path)["items"][0]
        return partner.get(f"{path.split('?')[0]}/{listed['id']}")

    return read


def own_organization(partner: Partner) -> Any:
    return partner.get(f"/organizations/{own_service(partner)['organization_id']}")


def own_service(partner: Partner) -> Any:
    referral = next(
        one
        for one in partner.get("/referrals?box=inbox&limit=200")["items"]
        if one["side"] == "receiver"
    )
    return partner.get(f"/services/{referral['service_id']}")


def draft(partner: Partner) -> Any:
    person = a_person(partner)
    created = partner.post(
        "/referrals",
        {"person_id": person["id"], "need_code": "HOU.EMG", "urgency": "urgent"},
        status=201,
    )
    return partner.get(f"/referrals/{created['id']}")


def location(partner: Partner, **more: Any) -> Any:
    created = partner.post(
        "/locations",
        {"name": "Casa de prueba", "country": "NI", "department": "NI-MN"} | more,
        status=201,
    )
    return partner.get(f"/locations/{created['id']}")


def service_at_location(partner: Partner) -> Any:
    service = own_service(partner)
    place = location(
        partner,
        country=service["country"],
        department=service["department"],
        confidential=service["confidential"],
    )
    return partner.post(
        "/service-at-locations", {"service_id": service["id"], "location_id": place["id"]}
    )


def identity(partner: Partner) -> Any:
    person = a_person(partner)
    response = partner.post(
        f"/people/{person['id']}/open",
        {"purpose_code": "HOU.EMG", "field_groups": ["identity", "contact"]},
    )
    return response | {"person_id": person["id"], "of": person["etag"]}


def plan(partner: Partner) -> Any:
    person = partner.get(f"/people/{a_person(partner)['id']}")
    return person["safe_contact"] | {"person_id": person["id"], "of": person["etag"]}


def webhook(partner: Partner) -> Any:
    created = partner.post(
        "/webhooks", {"url": "https://sistema.ejemplo.example/enlace"}, status=201
    )
    return partner.get(f"/webhooks/{created['id']}")


def contact(partner: Partner) -> Any:
    body = {"line_country": "NI", "kind_code": "crisis", "speaker_code": "person"}
    created = partner.post("/contacts", body, status=201)
    return partner.get(f"/contacts/{created['id']}")


def next_version(resource: Any) -> Any:
    return resource | {"version": resource["version"] + 1}


def next_text(resource: Any) -> Any:
    version_line = f"version: {resource['version']}"
    assert version_line in resource["text"]
    return resource | {
        "text": resource["text"].replace(version_line, f"version: {resource['version'] + 1}", 1)
    }


ROUND_TRIPS = {
    "UpdateOrganization": Trip(
        manager, own_organization, lambda resource: f"/organizations/{resource['id']}"
    ),
    "UpdateService": Trip(manager, own_service, lambda resource: f"/services/{resource['id']}"),
    "SetCapacity": Trip(
        manager,
        own_service,
        lambda resource: f"/services/{resource['id']}/capacity",
        part="capacity",
    ),
    "UpdateLocation": Trip(manager, location, lambda resource: f"/locations/{resource['id']}"),
    "SetServiceAtLocation": Trip(
        manager, service_at_location, lambda resource: "/service-at-locations"
    ),
    "PublishAdviceCard": Trip(
        coordinator,
        first("/advice-cards"),
        lambda resource: "/advice-cards",
        before=next_version,
    ),
    "PublishPathway": Trip(
        coordinator, first("/pathways"), lambda resource: "/pathways", before=next_text
    ),
    "PublishDeadlinePolicy": Trip(
        coordinator,
        lambda partner: partner.get("/referrals/deadlines"),
        lambda resource: "/referrals/deadlines",
        before=next_version,
    ),
    "UpdateContact": Trip(operator, contact, lambda resource: f"/contacts/{resource['id']}"),
    "UpdateIdentity": Trip(
        puentes, identity, lambda resource: f"/people/{resource['person_id']}/identity"
    ),
    "SetSafeContact": Trip(
        puentes, plan, lambda resource: f"/people/{resource['person_id']}/safe-contact"
    ),
    "UpdateReferral": Trip(puentes, draft, lambda resource: f"/referrals/{resource['id']}"),
    "SetDesk": Trip(manager, lambda partner: partner.get("/desk"), lambda resource: "/desk"),
    "UpdateWebhook": Trip(manager, webhook, lambda resource: f"/webhooks/{resource['id']}"),
}


def taking_a_resource() -> dict[str, Binding]:
    """Returns every rpc by which REST writes an existing resource, by its name."""
    return {
        rpc.name: bindings(rpc)[0]
        for file in FILES
        for service in file.services_by_name.values()
        for rpc in service.methods
        if bindings(rpc) and bindings(rpc)[0].body and rpc.name.startswith(("Update", "Set",
            "Publish")) and rpc.name != "UpdatePlanStep"
        and not rpc.name.startswith("Settle")
    }  # fmt: skip


def test_every_resource_that_can_be_written_is_in_the_table() -> None:
    assert ROUND_TRIPS.keys() == taking_a_resource().keys()


@pytest.mark.parametrize("rpc", ROUND_TRIPS)
def test_a_resource_that_is_sent_back_unchanged_is_accepted_and_changes_nothing(
    stack: Any, rpc: str
) -> None:
    trip, binding = ROUND_TRIPS[rpc], taking_a_resource()[rpc]
    partner = trip.partner(stack)
    resource = trip.read(partner)
    etag = resource.pop("of", resource.get("etag", ""))
    path = trip.write(resource)
    sent = (
        resource[trip.part]
        if trip.part
        else {
            name: value
            for name, value in resource.items()
            if name != "person_id" or rpc == "UpdateReferral"
        }
    )
    headers = {"If_Match": f'"{etag}"'} if binding.takes_etag and etag else {}
    answer = partner.raw(binding.verb.upper(), path, trip.before(sent), **headers)
    assert answer.status_code in (200, 201), answer.text
    stored = answer.json()
    if "id" in stored and stored["id"] == resource.get("id"):
        assert still(stored) == still(resource)


def still(resource: Any) -> Any:
    """Returns the part of a resource that has to be the same afterwards."""
    return {
        name: still(value) if isinstance(value, dict) else value
        for name, value in resource.items()
        if name not in _MOVES
    }
