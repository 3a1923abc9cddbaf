"""The entry of the reader's own organisation: the organisation, its services and places.

The organisation's managers maintain the entry, and its history lists each change. If another worker
changed the entry in the meantime, the form is shown again with that worker's name and with the old
and the new values. The typed values stay in the form, merged with the other changes. Nothing is
saved until the manager sends the form again.
"""

import json
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from itertools import count, takewhile
from operator import itemgetter
from typing import Any

from flask import redirect, render_template, request, url_for
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.errors import Stale
from protos.areas import MUNICIPALITIES
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import locations_pb2 as pb
from services.gateway.edge.clients import clients, send
from services.gateway.site.backend import directory, lists, names
from services.gateway.site.language import _, words
from services.gateway.site.parts import forms, merging
from services.gateway.site.shell import access, session

pages = access.Pages("entry")

NEW = "new"
MIN_HOURS_ROWS = 4
"""The least number of rows for opening hours in the form; the last row is always empty.

Other schedules (monthly, or with a limited validity) have no row and stay as they are.
"""
_ORGANIZATION = ("name", "description", "phone", "url", "languages", "department")
_SERVICE = (
    "name description need_codes department area_codes languages eligibility phone public tiers"
    " accessibility schedules confidential active"
).split()
_LOCATION = "name department area_code address transportation accessibility confidential".split()
_YES_NO_FIELDS = (
    "takes_dependants",
    "takes_pregnant",
    "takes_with_addiction",
    "takes_without_papers",
)
# fields whose changes the history shows without the values
_UNREADABLE = ("schedules", "tiers", "latitude", "longitude", "assured_time")


@pages.get("/entry", access.MANAGERS)
def show(
    organization: d.Organization | None = None,
    errors: forms.Problems = forms.NO_PROBLEMS,
    concurrent_changes: Sequence[dict[str, Any]] = (),
    *,
    base: d.Organization | None = None,
) -> str:
    """Shows the reader's organisation with its services and places, and how reliable its entry is.

    `organization` and `errors` belong to a form that is shown again. `base` is the stored object
    from which the form was made; None if the form shows that object itself. `concurrent_changes`
    were made by other workers since then. These two arguments recur in the other forms.
    """
    organization = organization or own_organization()
    return render_template(
        "entry.html",
        shown=merging.encode(organization if base is None else base),
        organization=organization,
        services=directory.services_of(session.me().organization_id),
        places=lists.all_of(pb.ListLocationsRequest()),
        scores={score.service_id: score for score in lists.all_of(pb.ListTruthScoresRequest())},
        errors=errors,
        concurrent_changes=concurrent_changes,
        history=history(organization.id),
    )


@pages.post("/entry", access.MANAGERS)
def save() -> access.Answer:
    """Saves the fields of the organisation."""
    before = own_organization()
    typed = forms.filled(d.Organization(id=before.id, etag=forms.text("etag")))
    return _save_or_show_again(
        lambda: send(
            d.UpdateOrganizationRequest(
                organization=typed,
                update_mask=FieldMask(paths=_ORGANIZATION),
                request_id=forms.text("request_id"),
            )
        ),
        show,
        typed,
        before,
        _ORGANIZATION,
    )


@pages.form("/entry/services/<identifier>", access.MANAGERS)
def service(identifier: str) -> access.Answer:
    """Shows the form of a service, and saves it."""
    before = _own_service(identifier)
    places = lists.all_of(pb.ListLocationsRequest())
    if request.method != "POST":
        return service_form(
            before, {}, places=places, place_ids=_offered_at(before.id) if before.id else ()
        )
    typed = d.Service(id=before.id, etag=forms.text("etag"), organization_id=before.organization_id)
    place_ids = forms.texts("location_ids")
    form = partial(service_form, places=places, place_ids=place_ids)

    def save_with_places() -> None:
        _fill_service(typed, before)
        _refuse_open_places(typed, places, place_ids)
        _offer_at(_save_service(before, typed).id, place_ids)

    return _save_or_show_again(save_with_places, form, typed, before, _SERVICE)


@pages.post("/entry/services/<identifier>/confirm", access.MANAGERS, then="entry.show")
def confirm(identifier: str) -> tuple[str, int] | None:
    """Confirms that everything about a service is still true."""
    try:
        send(
            d.UpdateServiceRequest(
                service=d.Service(id=_own_service(identifier).id, etag=forms.text("etag")),
                update_mask=FieldMask(paths=["assured_time"]),
                request_id=forms.text("request_id"),
            )
        )
    except Stale:  # somebody changed it, so the manager would confirm data that she has not read
        problem = _("Otra persona acaba de cambiarlo: mírelo antes de confirmarlo.")
        return show(errors={"_form": problem}), 412
    return None


@pages.form("/entry/places/<identifier>", access.MANAGERS)
def place(identifier: str) -> access.Answer:
    """Shows the form of a place, and saves it."""
    before = _own_place(identifier)
    if request.method != "POST":
        return place_form(before, {})
    typed = forms.filled(
        pb.Location(id=before.id, etag=forms.text("etag"), organization_id=before.organization_id)
    )
    typed.confidential = before.confidential or forms.flag("confidential")
    return _save_or_show_again(
        lambda: _save_place(before, typed), place_form, typed, before, _LOCATION
    )


def _save_place(before: pb.Location, typed: pb.Location) -> None:
    if not before.id:
        send(pb.CreateLocationRequest(location=typed, request_id=forms.text("request_id")))
        return
    # Sealed fields are not shown, so an empty field means that the value stays.
    sealed_fields = ("address", "transportation") if before.confidential else ()
    mask = FieldMask(
        paths=[path for path in _LOCATION if path not in sealed_fields or getattr(typed, path)]
    )
    send(
        pb.UpdateLocationRequest(
            location=typed, update_mask=mask, request_id=forms.text("request_id")
        )
    )


@pages.post("/entry/places/<identifier>/address", access.MANAGERS)
def check_address(identifier: str) -> str:
    """Opens the stored address, so that the manager can check it.

    Only this answer shows the address, and the access is recorded in the audit trail.
    """
    return place_form(
        _own_place(identifier),
        {},
        opened_address=clients().locations.OpenOwnAddress(
            pb.OpenOwnAddressRequest(location_id=identifier)
        ),
    )


# Deletes a place where no service is offered.
pages.sends(
    "remove",
    "/entry/places/<identifier>/remove",
    access.MANAGERS,
    pb.DeleteLocationRequest,
    again=lambda identifier, errors: place_form(_own_place(identifier), errors),
    then="entry.show",
)


def _save_or_show_again(
    save_entry: Callable[[], object],
    form: Callable[..., str],
    typed: Any,
    before: Any,
    paths: Sequence[str],
) -> access.Answer:
    """Saves the entry by calling `save_entry`.

    If another worker changed the entry in the meantime, or the entry is rejected, shows the form
    again.
    """
    try:
        save_entry()
    except Stale:
        changes = changed_since(typed.id)
        errors = {} if changes else {"_form": words.conflict("put_together")}
        return form(
            merging.merge(typed, before, paths), errors, changes, base=before
        ), merging.MERGED
    except forms.SHOWN_IN_PLACE as refusal:
        with suppress(ValueError):  # no valid time in the form
            typed.update_time.FromJsonString(forms.text("seen"))
        return form(typed, forms.problems(refusal), base=merging.original(type(typed))), 422
    return redirect(url_for("entry.show", done="saved"), 303)


def own_organization() -> d.Organization:
    """Returns the reader's own organisation as the network sees it."""
    return clients().directory.GetOrganization(
        d.GetOrganizationRequest(id=session.me().organization_id)
    )


def service_form(
    shown_service: d.Service,
    errors: forms.Problems,
    concurrent_changes: Sequence[dict[str, Any]] = (),
    *,
    places: Sequence[pb.Location],
    place_ids: Collection[str],
    base: d.Service | None = None,
) -> str:
    """Renders the form of a service. Simple hours are shown in rows, other schedules in words.

    `place_ids` names the places where the service is offered.
    """
    simple_schedules = [schedule for schedule in shown_service.schedules if _is_simple(schedule)]
    return render_template(
        "entry_service.html",
        shown=merging.encode(shown_service if base is None else base),
        service=shown_service,
        places=[(place.id, place.name or _("Lugar sin nombre")) for place in places],
        place_ids=place_ids,
        rows=[*simple_schedules, *[d.Schedule()] * max(1, MIN_HOURS_ROWS - len(simple_schedules))],
        days=words.options("weekday"),
        towns=[
            *MUNICIPALITIES.get(shown_service.department or session.me().department, {}).items()
        ],
        others=len(shown_service.schedules) - len(simple_schedules),
        narrowed={tier.field for tier in shown_service.tiers},
        errors=errors,
        concurrent_changes=concurrent_changes,
        history=history(shown_service.id),
    )


def place_form(
    shown_place: pb.Location,
    errors: forms.Problems,
    concurrent_changes: Sequence[dict[str, Any]] = (),
    *,
    opened_address: pb.OpenedAddress | None = None,
    base: pb.Location | None = None,
) -> str:
    """Renders the form of a place. `opened_address` has its sealed fields, if opened."""
    towns = {
        code: name
        for department, municipalities in MUNICIPALITIES.items()
        if department[:2] == session.me().country
        for code, name in municipalities.items()
    }
    if shown_place.area_code:  # the place may be in another country
        towns.setdefault(shown_place.area_code, words.area(shown_place.area_code))
    return render_template(
        "entry_place.html",
        shown=merging.encode(shown_place if base is None else base),
        stored=shown_place if base is None else base,
        place=shown_place,
        opened=opened_address,
        towns=sorted(towns.items(), key=itemgetter(1)),
        errors=errors,
        concurrent_changes=concurrent_changes,
        history=history(shown_place.id),
    )


def history(identifier: str) -> list[dict[str, Any]]:
    """Returns the last 20 changes to an entry, in words, the newest first; none for a new entry."""
    if not identifier:
        return []
    changes = send(pb.ListFieldChangesRequest(subject_id=identifier, page_size=20)).changes
    page_names = names.names(workers=[change.worker_id for change in changes if change.worker_id])
    return [
        {
            "field": words.word("field", change.field.rpartition(".")[2]),
            "who": page_names.worker(change.worker_id) if change.worker_id else "",
            "time": change.change_time,
            "old": _readable(change.field, change.old_value),
            "new": _readable(change.field, change.new_value),
        }
        for change in changes
    ]


def changed_since(identifier: str) -> list[dict[str, Any]]:
    """Returns the changes that were made since the form was shown, at most the last 20."""
    shown_time = Timestamp()
    try:
        shown_time.FromJsonString(forms.text("seen"))
    except ValueError:  # no valid time in the form, so show all changes
        return history(identifier)
    return [
        change
        for change in history(identifier)
        if change["time"].ToNanoseconds() > shown_time.ToNanoseconds()
    ]


def _readable(field: str, value: str) -> str:
    if not value or field in _UNREADABLE:
        return ""
    try:
        values = json.loads(value)
    except ValueError:  # the value was longer than the contract allows, and was cut off
        return ""
    if isinstance(values, bool):
        return _("sí") if values else _("no")
    if isinstance(values, dict):
        return ""
    entries = values if isinstance(values, list) else [values]
    converters = {
        "need_codes": names.need,
        "languages": words.language,
        "department": words.department,
        "area_codes": words.area,
        "area_code": words.area,
    }
    return ", ".join(map(converters.get(field, str), entries))


def _own_service(identifier: str) -> d.Service:
    if identifier == NEW:
        return d.Service(organization_id=session.me().organization_id, active=True)
    return session.own(clients().directory.GetService(d.GetServiceRequest(id=identifier)))


def _own_place(identifier: str) -> pb.Location:
    if identifier == NEW:
        return pb.Location(
            organization_id=session.me().organization_id, department=session.me().department
        )
    return session.own(clients().locations.GetLocation(pb.GetLocationRequest(id=identifier)))


def _offered_at(service_id: str) -> dict[str, str]:
    """Returns the ids of a service's offers at places, by the id of the place."""
    offers = send(pb.ListServiceAtLocationsRequest(service_id=service_id)).service_at_locations
    return {offer.location_id: offer.id for offer in offers}


def _fill_service(typed: d.Service, before: d.Service) -> None:
    """Fills the service from the form. An unanswered choice stays unset, which means "ask".

    The rows of the hours are filled before a number can be refused, so that none of them is lost.
    """
    typed.tiers.extend(
        d.FieldTier(field=name, tier=contract_pb2.TIER_COORDINATOR)
        for name in forms.texts("narrowed")
    )
    typed.schedules.extend(schedule for schedule in before.schedules if not _is_simple(schedule))
    for number in takewhile(lambda number: f"opens-{number}" in request.form, count()):
        opens = forms.text(f"opens-{number}")
        closes = forms.text(f"closes-{number}")
        if opens or closes:
            typed.schedules.append(
                d.Schedule(
                    freq=d.FREQUENCY_WEEKLY,
                    byday=forms.texts(f"days-{number}"),
                    opens_at=opens,
                    closes_at=closes,
                    holidays=forms.flag(f"holidays-{number}"),
                )
            )
    eligibility: Any = forms.filled(typed).eligibility
    eligibility.SetInParent()
    for name in _YES_NO_FIELDS:
        eligibility.ClearField(name)
        if answer := forms.text(name):
            setattr(eligibility, name, answer == "yes")


def _is_simple(schedule: d.Schedule) -> bool:
    return schedule.freq == d.FREQUENCY_WEEKLY and not schedule.valid_from and not schedule.valid_to


def _save_service(before: d.Service, typed: d.Service) -> d.Service:
    if not before.id:
        typed.ClearField("active")
        return clients().directory.CreateService(
            d.CreateServiceRequest(service=typed, request_id=forms.text("request_id"))
        )
    return clients().directory.UpdateService(
        d.UpdateServiceRequest(
            service=typed,
            update_mask=FieldMask(paths=[*_SERVICE, "assured_time"]),
            request_id=forms.text("request_id"),
        )
    )


def _refuse_open_places(
    typed: d.Service, places: Sequence[pb.Location], place_ids: Collection[str]
) -> None:
    """Refuses, before anything is saved, to offer a confidential service at an open place.

    A place at which the service is offered already may stay.
    """
    open_ids = {place.id for place in places if typed.confidential and not place.confidential}
    new_ids = open_ids.intersection(place_ids)
    if new_ids and typed.id:
        new_ids -= _offered_at(typed.id).keys()
    if new_ids:
        forms.refuse({"location_ids": _("el lugar no es reservado: llevaría al servicio; quítelo")})


def _offer_at(service_id: str, location_ids: Sequence[str]) -> None:
    """Adds the service to these places and removes it from all others.

    At a place that stays, the details of the service are kept.
    """
    offer_ids = _offered_at(service_id)
    for location_id in location_ids:
        if location_id not in offer_ids:
            send(
                pb.SetServiceAtLocationRequest(
                    service_at_location=pb.ServiceAtLocation(
                        service_id=service_id, location_id=location_id
                    ),
                    request_id=f"{forms.text('request_id')}-{location_id}"[:100],
                )
            )
    for location_id, identifier in offer_ids.items():
        if location_id not in location_ids:
            send(
                pb.DeleteServiceAtLocationRequest(
                    id=identifier, request_id=f"{forms.text('request_id')}-{identifier}"[:100]
                )
            )
