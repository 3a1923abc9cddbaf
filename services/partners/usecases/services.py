"""What one may ask of services: kept by their organisation, found by all, matched to a need."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from chassis.db import Transaction
from chassis.errors import Invalid, NotFound
from chassis.ids import is_id, new_id
from chassis.tokens import Caller
from chassis.wire import Position, check_etag, page_size
from services.partners import wire
from services.partners.domain.codes import Term
from services.partners.domain.field_change import changes_of
from services.partners.domain.matching import ASSURED, Match, Question
from services.partners.domain.organization import Organization
from services.partners.domain.search import Wanted
from services.partners.domain.service import NOT_STATED, Capacity, Service, ServiceEntry
from services.partners.domain.truth import has_promised
from services.partners.store import candidates, field_changes, open_hours, organizations, promises, search, services, workers
from services.partners.store import places as taken
from services.partners.store.areas import areas
from services.partners.store.directory_index import DirectoryIndex
from services.partners.store.taxonomy import taxonomy
from services.partners.usecases.organizations import may_see, owner_of
from services.partners.usecases.standing import may_act_for, sees_everything, sees_shelters, viewer, worker_of

MAX_BATCH = 200


@dataclass(frozen=True)
class Batch:
    """What was found of the ids that were asked for."""

    services: list[Service]
    organizations: list[Organization]
    worker_names: dict[str, str]


def list_terms() -> list[Term]:
    """The taxonomy."""
    return list(taxonomy().terms.values())


def create_service(
    tx: Transaction,
    caller: Caller,
    now: datetime,
    organization_id: str,
    entry: ServiceEntry,
    capacity: Capacity = NOT_STATED,
    *,
    id: str | None = None,
) -> Service:
    """Adds a service to an organisation, the caller's own if none is named; in its country if none is said."""
    organization = owner_of(tx, caller, organization_id)
    entry = replace(entry, country=entry.country or organization.entry.country)
    service = Service.register(id or new_id(), organization.id, entry, capacity, taxonomy(), areas(), now)
    service.organization_name, service.organization_type = organization.entry.name, organization.entry.type
    services.keep(tx, service)
    if entry.schedules:
        open_hours.refresh(tx, service.id, now)
    return service


def get_service(tx: Transaction, caller: Caller, id: str) -> Service:
    """One service."""
    service = services.fetch(tx, id) if is_id(id) else None
    if service is None or not _visible(tx, caller, [service]):
        raise NotFound
    return service


def open_now(tx: Transaction, shown: Sequence[Service], now: datetime) -> dict[str, bool]:
    """Of these those that say when they receive people, and whether they do now."""
    return open_hours.open_now(tx, [service.id for service in shown], now)


def batch_get(
    tx: Transaction, caller: Caller, service_ids: Sequence[str], organization_ids: Sequence[str], worker_ids: Sequence[str]
) -> Batch:
    """What exists of these; names of workers inside the caller's own organisation only."""
    if len(service_ids) + len(organization_ids) + len(worker_ids) > MAX_BATCH:
        raise Invalid(("service_ids", "too_long"))
    wanted_services, wanted_organizations, wanted_workers = (
        [id for id in ids if is_id(id)] for ids in (service_ids, organization_ids, worker_ids)
    )
    return Batch(
        _visible(tx, caller, services.fetch_many(tx, wanted_services)) if wanted_services else [],
        may_see(tx, caller, organizations.fetch_many(tx, wanted_organizations)) if wanted_organizations else [],
        workers.names(tx, wanted_workers, caller.organization_id) if wanted_workers else {},
    )


def update_service(tx: Transaction, caller: Caller, now: datetime, id: str, etag: str, changes: Mapping[str, Any]) -> Service:
    """Changes its entry."""
    service = held_service(tx, caller, id)
    seen = wire.etag_of(service) if caller.kind == "system" else wire.service(service, viewer(caller), now).etag
    check_etag(etag, seen, "service.etag")
    before = service.entry
    service.change(changes, taxonomy(), areas(), now)
    services.keep(tx, service)
    field_changes.keep(tx, id, service.organization_id, changes_of(before, service.entry, worker_of(caller), now))
    if _hours_of(before) != _hours_of(service.entry):
        open_hours.refresh(tx, id, now)
    return service


def set_capacity(tx: Transaction, caller: Caller, now: datetime, id: str, etag: str, capacity: Capacity) -> Service:
    """Says how much room there is now. Only those who are there know it: not even the coordinator says it for them."""
    service = held_service(tx, caller, id)
    if caller.kind != "system" and service.organization_id != caller.organization_id:
        raise NotFound
    check_etag(etag, wire.etag_of(service), required=False)
    before = service.capacity
    service.set_capacity(capacity, now)
    services.keep_capacity(tx, service, now)
    field_changes.keep(tx, id, service.organization_id, changes_of(before, service.capacity, worker_of(caller), now, part="capacity."))
    return service


def doubt_capacity(
    tx: Transaction, now: datetime, id: str, organization_id: str, declined: datetime, *, subject_id: str, asked_by: str
) -> None:
    """Its own organisation declined somebody for lack of room. What others say of it changes nothing, nor does what is older than its figure."""
    service = services.fetch(tx, id, hold=True)
    if service is None or service.organization_id != organization_id:
        return
    _count_promise(tx, service, subject_id, asked_by, declined, now, kept=False)
    if service.doubt_capacity(declined):
        services.keep_capacity(tx, service, now)


def say_yes(tx: Transaction, id: str, organization_id: str, at: datetime) -> None:
    """Its own organisation said yes to somebody who asked."""
    service = services.fetch(tx, id, hold=True)
    if service is not None and service.organization_id == organization_id:
        promises.say_yes(tx, id, at)


def list_truth(
    tx: Transaction, caller: Caller, now: datetime, organization_id: str, size: int, after: Position | None, *, doubtful: bool = False
) -> tuple[list[Service], Position | None]:
    """How far one can rely on what one's own services say of their room; on those of any, for who steers or checks the network."""
    every = sees_everything(caller)
    if not every and organization_id not in ("", caller.organization_id):
        return [], None
    owner = organization_id or None if every else caller.organization_id
    return promises.listed(tx, owner, size, after, unconfirmed_since=now - ASSURED if doubtful else None)


def take_places(
    tx: Transaction, now: datetime, referral_id: str, id: str, organization_id: str, people: int, at: datetime, *, asked_by: str = ""
) -> None:
    """Its own organisation accepted somebody, or takes her on again: so many fewer are free."""
    service = services.fetch(tx, id, hold=True)
    if service is None or service.organization_id != organization_id:
        return
    _count_promise(tx, service, referral_id, asked_by, at, now, kept=True)
    before = taken.held(tx, referral_id)
    if before and (before["leave_time"] is None or at <= before["leave_time"]):
        return
    people = before["places"] if before else max(1, people)
    taken.take(tx, referral_id, id, people, at)
    if service.move_room(-people, at):
        services.keep_capacity(tx, service, now)


def leave_places(tx: Transaction, now: datetime, referral_id: str, at: datetime) -> None:
    """Help ended, or never began: what it took is free again. Of what took nothing nothing is given back."""
    before = taken.held(tx, referral_id)
    if before is None or before["leave_time"] is not None or at < before["take_time"]:
        return
    taken.leave(tx, referral_id, at)
    service = services.fetch(tx, before["service_id"], hold=True)
    if service is not None and service.move_room(before["places"], at):
        services.keep_capacity(tx, service, now)


def search_services(
    tx: Transaction, caller: Caller, now: datetime, wanted: Wanted, index: DirectoryIndex, size: int, after: Position | None
) -> search.Results:
    """A page of what is found, where the next page goes on, and how many there are.

    A language must be stated to be found; by age, gender and dependants only those are left out that say no. Of one's own organisation, or for the
    coordinator of any one, also what is not offered now is found.
    """
    wanted.check(taxonomy())
    if wanted.organization_id and not is_id(wanted.organization_id):
        return search.Results([], None, 0)
    own, others_shelters = wanted.organization_id == caller.organization_id, sees_shelters(tx, caller)
    return search.find(
        tx,
        index,
        wanted,
        now,
        size,
        after,
        sees_shelters=own or others_shelters,
        sees_others_shelters=others_shelters,
        sees_unlisted=bool(wanted.organization_id) and (own or sees_everything(caller)),
    )


def match_services(
    tx: Transaction, caller: Caller, now: datetime, question: Question, index: DirectoryIndex, *, limit: int = 0
) -> list[tuple[Match, Service]]:
    """Services for a need, each with its verdict and reasons, best first. Nothing is kept."""
    question.check(taxonomy())
    size = page_size(limit, default=20, most=100, path="limit")
    return candidates.match(tx, index, question, now, size, sees_shelters=sees_shelters(tx, caller))


def held_service(tx: Transaction, caller: Caller, id: str) -> Service:
    """Held to be changed; one that is not the caller's looks like one that does not exist."""
    service = services.fetch(tx, id, hold=True) if is_id(id) else None
    if service is None or not may_act_for(caller, service.organization_id):
        raise NotFound
    return service


def _count_promise(tx: Transaction, service: Service, subject_id: str, asked_by: str, at: datetime, now: datetime, *, kept: bool) -> None:
    """Who asks itself keeps no promise, or a member would make its own reputation."""
    yes = promises.yes_time(tx, service.id)
    if asked_by != service.organization_id and has_promised(service.capacity, service.entry.need_codes, yes, at):
        promises.keep(tx, subject_id, service.id, at, now, kept=kept)


def _hours_of(entry: ServiceEntry) -> tuple[object, ...]:
    """By what hours are made: also by where it is, for each place has a clock and holidays of its own."""
    return entry.schedules, entry.country, entry.department


def _visible(tx: Transaction, caller: Caller, unfiltered: list[Service]) -> list[Service]:
    """Without the shelters of others, for members on probation."""
    hidden = [service for service in unfiltered if service.is_shelter and service.organization_id != caller.organization_id]
    if not hidden or sees_shelters(tx, caller):
        return unfiltered
    return [service for service in unfiltered if service not in hidden]
