"""Each writable resource of REST is read from a running stack and sent back unchanged.

The service accepts it, and nothing changes. `ROUND_TRIPS` gives the request of each binding that
takes a resource; a missing binding fails by name.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from protos.stubs import FILES
from services.gateway.api.binding import Binding, bindings
from tests.gateway.partner_system import Partner, create_person, own_service, system, worker
from tests.parts.local_stack import LocalStack

# Fields that differ between write and read, or that change by themselves a moment later.
CHANGING_FIELDS = {
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
    """A round trip: the caller, the resource to read, and the address and the part to write.

    The address has the resource's fields in braces. `prepare` changes the fields that must have new
    values each time.
    """

    caller: str
    read: Callable[[Partner], Any]
    address: str
    part: str = ""
    prepare: Callable[[Any], Any] = lambda resource: resource


KEY = "Asociación Puentes"
MANAGER = "gestion@lunanueva"
COORDINATOR = "coordinacion@coalicion"
OPERATOR = "operadora@llamayvive"


def first_resource(path: str) -> Callable[[Partner], Any]:
    """Returns a function that reads the first resource of a list by its own address."""

    def read(partner: Partner) -> Any:
        return partner.get(f"{path}/{partner.get(path)['items'][0]['id']}")

    return read


def create(partner: Partner, path: str, body: Any) -> Any:
    """Creates a resource; reads and returns it."""
    return partner.get(f"{path}/{partner.create(path, body)['id']}")


def own_organization(partner: Partner) -> Any:
    return partner.get(f"/organizations/{own_service(partner)['organization_id']}")


def draft(partner: Partner) -> Any:
    person = create_person(partner)
    body = {"person_id": person["id"], "need_code": "HOU.EMG", "urgency": "urgent"}
    return create(partner, "/referrals", body)


def location(partner: Partner, **fields: Any) -> Any:
    body = {"name": "Casa de prueba", "country": "NI", "department": "NI-MN"} | fields
    return create(partner, "/locations", body)


def service_at_location(partner: Partner) -> Any:
    service = own_service(partner)
    fields = {name: service[name] for name in ("country", "department", "confidential")}
    body = {"service_id": service["id"], "location_id": location(partner, **fields)["id"]}
    return partner.post("/service-at-locations", body)


def person(partner: Partner) -> Any:
    return partner.get(f"/people/{create_person(partner)['id']}?outline_only=true")


def identity(partner: Partner) -> Any:
    person = create_person(partner)
    purpose = {"purpose_code": "HOU.EMG", "field_groups": ["identity", "contact"]}
    opened_identity = partner.post(f"/people/{person['id']}/open", purpose)
    return opened_identity | {"person_id": person["id"], "etag of the person": person["etag"]}


def plan(partner: Partner) -> Any:
    file = partner.get(f"/people/{create_person(partner)['id']}")
    return file["safe_contact"] | {"person_id": file["id"], "etag of the person": file["etag"]}


def webhook(partner: Partner) -> Any:
    return create(partner, "/webhooks", {"url": "https://sistema.ejemplo.example/enlace"})


def contact(partner: Partner) -> Any:
    body = {"line_country": "NI", "kind_code": "crisis", "speaker_code": "person"}
    return create(partner, "/contacts", body)


def next_version(resource: Any) -> Any:
    return resource | {"version": resource["version"] + 1}


def next_text(resource: Any) -> Any:
    line = f"version: {resource['version']}"
    assert line in resource["text"]
    next_line = f"version: {resource['version'] + 1}"
    return resource | {"text": resource["text"].replace(line, next_line, 1)}


ROUND_TRIPS = {
    "UpdateOrganization": Trip(MANAGER, own_organization, "/organizations/{id}"),
    "UpdateService": Trip(MANAGER, own_service, "/services/{id}"),
    "SetCapacity": Trip(MANAGER, own_service, "/services/{id}/capacity", part="capacity"),
    "UpdateLocation": Trip(MANAGER, location, "/locations/{id}"),
    "SetServiceAtLocation": Trip(MANAGER, service_at_location, "/service-at-locations"),
    "PublishAdviceCard": Trip(
        COORDINATOR, first_resource("/advice-cards"), "/advice-cards", prepare=next_version
    ),
    "PublishPathway": Trip(
        COORDINATOR, first_resource("/pathways"), "/pathways", prepare=next_text
    ),
    "PublishDeadlinePolicy": Trip(
        COORDINATOR,
        lambda partner: partner.get("/referrals/deadlines"),
        "/referrals/deadlines",
        prepare=next_version,
    ),
    "UpdateContact": Trip(OPERATOR, contact, "/contacts/{id}"),
    "UpdatePerson": Trip(KEY, person, "/people/{id}"),
    "UpdateIdentity": Trip(KEY, identity, "/people/{person_id}/identity"),
    "SetSafeContact": Trip(KEY, plan, "/people/{person_id}/safe-contact"),
    "UpdateReferral": Trip(KEY, draft, "/referrals/{id}"),
    "SetDesk": Trip(MANAGER, lambda partner: partner.get("/desk"), "/desk"),
    "UpdateWebhook": Trip(MANAGER, webhook, "/webhooks/{id}"),
}


# The bindings by which REST writes an existing resource, by the name of their rpc.
WRITES: dict[str, Binding] = {
    rpc.name: binding
    for file in FILES
    for service in file.services_by_name.values()
    for rpc in service.methods
    for binding in bindings(rpc)[:1]
    if binding.body and re.match("Update(?!PlanStep)|Set(?!tle)|Publish", rpc.name)
}


def test_every_resource_that_can_be_written_is_in_the_table() -> None:
    assert ROUND_TRIPS.keys() == WRITES.keys()


@pytest.mark.parametrize("rpc", ROUND_TRIPS)
def test_a_resource_that_is_sent_back_unchanged_is_accepted_and_changes_nothing(
    stack: LocalStack, rpc: str
) -> None:
    trip, binding = ROUND_TRIPS[rpc], WRITES[rpc]
    partner = worker(stack, trip.caller) if "@" in trip.caller else system(stack, trip.caller)
    resource = trip.read(partner)
    etag = resource.pop("etag of the person", resource.get("etag", ""))
    path = trip.address.format(**resource)
    if trip.part:
        body = resource[trip.part]
    elif rpc == "UpdateReferral":
        body = resource
    else:
        body = {name: value for name, value in resource.items() if name != "person_id"}
    headers = {"If_Match": f'"{etag}"'} if binding.takes_etag and etag else {}
    answer = partner.raw(binding.verb.upper(), path, trip.prepare(body), **headers)
    assert answer.status_code in (200, 201), answer.text
    stored_resource = answer.json()
    if "id" in stored_resource and stored_resource["id"] == resource.get("id"):
        assert without_changing_fields(stored_resource) == without_changing_fields(resource)


def without_changing_fields(resource: Any) -> Any:
    """Returns the part of a resource that must not change when it is sent back."""
    return {
        name: without_changing_fields(value) if isinstance(value, dict) else value
        for name, value in resource.items()
        if name not in CHANGING_FIELDS
    }
