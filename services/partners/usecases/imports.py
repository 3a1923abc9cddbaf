"""Takes over a directory that was kept elsewhere: all of a file or nothing, and the same file once more changes nothing.

Each row goes through what a call would: the domain's own register and change. Organisations are not made: a member comes about by two people.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from chassis.db import Transaction
from chassis.errors import Invalid, NotFound
from chassis.ids import is_id, new_id
from chassis.sealing import Keyring
from chassis.tokens import Caller
from services.partners.domain.field_change import FieldChange, changes_of
from services.partners.domain.imports import AtPlace, Line, Outcome, PlaceDraft, Report, ServiceDraft
from services.partners.domain.location import MOST_PLACES, SEALED, Location, ServiceAtLocation
from services.partners.domain.organization import Organization
from services.partners.domain.service import NOT_STATED, Service
from services.partners.store import field_changes, imported_ids, locations, open_hours, organizations, services
from services.partners.store.areas import areas
from services.partners.store.imported_ids import Key, key_of
from services.partners.store.taxonomy import taxonomy
from services.partners.store.words import fold
from services.partners.usecases.locations import change_location
from services.partners.usecases.standing import may_act_for, worker_of
from services.partners.wire.imports import parse
from services.partners.wire.imports.drafts import Reading

T = TypeVar("T", Service, Location)


@dataclass
class _Work:
    """What a file comes to, before anything is written."""

    now: datetime
    worker_id: str
    members: dict[str, Organization]
    known: dict[Key, str]
    named: dict[Key, str]
    services: dict[str, Service]
    places: dict[str, Location]
    at: dict[tuple[str, str], ServiceAtLocation]
    ids: dict[Key, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)  # what a row of this file means already
    lines: dict[Key, Line] = field(default_factory=dict)
    new_services: list[Service] = field(default_factory=list)
    changed_services: list[Service] = field(default_factory=list)
    changes: list[tuple[str, str, list[FieldChange]]] = field(default_factory=list)
    new_places: list[Location] = field(default_factory=list)
    changed_places: dict[str, PlaceDraft] = field(default_factory=dict)
    placed: dict[int, Location] = field(default_factory=dict)
    new_at: dict[tuple[str, str], ServiceAtLocation] = field(default_factory=dict)


def import_directory(
    tx: Transaction, keyring: Keyring, caller: Caller, now: datetime, content: bytes, organization_id: str, *, dry_run: bool
) -> Report:
    """Reads a file, and makes or changes what it names; nothing where one row is refused, or in a dry run."""
    target = organization_id or ("" if caller.has("COORDINATOR") else caller.organization_id)
    owner = organizations.fetch(tx, target, hold="UPDATE") if is_id(target) and may_act_for(caller, target) else None
    if target and owner is None:
        raise NotFound
    parsed = parse(content, Reading(taxonomy(), areas(), owner.entry.country if owner else ""))
    drafts = _assigned(tx, parsed.services, owner)
    work = _work(tx, caller, now, drafts)
    for member, draft in drafts:
        _settle(work, member, draft)
    written = not dry_run and not any(line.outcome is Outcome.REFUSED for line in parsed.lines)
    if written:
        _write(tx, keyring, caller, work)
    else:
        for line in parsed.lines:
            line.subject_id = "" if line.outcome in (Outcome.CREATED, Outcome.REFUSED) else line.subject_id
    return Report(parsed.lines, written, parsed.ignored_columns)


def _assigned(tx: Transaction, drafts: Sequence[ServiceDraft], owner: Organization | None) -> list[tuple[Organization, ServiceDraft]]:
    """Each with its member. A file of one organisation may call it as it likes; of several, each is one that is known here."""
    wanted = {(draft.organization_id, draft.organization_name) for draft in drafts if draft.organization_id or draft.organization_name}
    if owner is not None:
        alone = len(wanted) <= 1
        members = {owner.id: owner}
    else:
        alone = False
        members = {
            each.id: each for each in organizations.by_id_or_name(tx, [id for id, _ in wanted if is_id(id)], [n for _, n in wanted if n])
        }
    by_name: dict[str, list[Organization]] = {}
    for member in members.values():
        by_name.setdefault(fold(member.entry.name), []).append(member)
    assigned = []
    for draft in drafts:
        same = by_name.get(fold(draft.organization_name), []) if draft.organization_name else []
        member_or_none = members.get(draft.organization_id) or (same[0] if len(same) == 1 else None)
        if member_or_none is None and owner is not None and (alone or not (draft.organization_id or draft.organization_name)):
            member_or_none = owner
        if member_or_none is None:
            draft.line.refuse("organization", "unknown_organization")
        else:
            assigned.append((member_or_none, draft))
    return assigned


def _work(tx: Transaction, caller: Caller, now: datetime, drafts: list[tuple[Organization, ServiceDraft]]) -> _Work:
    """With what is known of the rows, held."""
    members = {member.id: member for member, _ in drafts}
    sources = {id for _, draft in drafts for id in (_key(draft), *(_place_key(at.place) for at in draft.at))}
    called = _names(drafts)
    known, named = imported_ids.fetch(tx, list(members), list(sources)), imported_ids.named(tx, members)
    ids = {*known.values(), *(id for id in sources if is_id(id)), *(id for (_, _, source), id in named.items() if source in called)}
    existing = {each.id: each for each in services.fetch_many(tx, sorted(ids), hold=True)}
    return _Work(
        now=now,
        worker_id=worker_of(caller),
        members=members,
        known=known,
        named=named,
        services=existing,
        places={each.id: each for each in locations.fetch_many(tx, sorted(ids))},
        at=locations.of_services(tx, list(existing)),
    )


def _settle(work: _Work, member: Organization, draft: ServiceDraft) -> None:
    """What becomes of a row: the domain says."""
    key = (member.id, "service", _key(draft))
    if key in work.lines:
        draft.line.refuse("id" if draft.source_id else "name", "duplicate")
        return
    work.lines[key] = draft.line
    try:
        service = _service(work, member, draft, key)
        work.ids[key] = service.id
        work.taken.add(service.id)
        for at in draft.at:
            _offer(work, member, draft, service, at)
    except Invalid as error:
        for path, reason in error.violations:
            draft.line.refuse(path.partition(".")[2] or path, reason)


def _service(work: _Work, member: Organization, draft: ServiceDraft, key: Key) -> Service:
    service = _known(work, key, draft.entry.name, draft.entry.department, work.services)
    if service is None:
        entry = replace(draft.entry, country=draft.entry.country or member.entry.country)
        service = Service.register(new_id(), member.id, entry, NOT_STATED, taxonomy(), areas(), work.now)
        work.new_services.append(service)
        draft.line.done(Outcome.CREATED)
        service.organization_name, service.organization_type = member.entry.name, member.entry.type
    else:
        before, changes = service.entry, draft.changes(service.entry)
        if changes:
            service.change(changes, taxonomy(), areas(), work.now)
        if service.facts:
            work.changed_services.append(service)
            work.changes.append((service.id, member.id, changes_of(before, service.entry, work.worker_id, work.now)))
        draft.line.done(Outcome.CHANGED if service.facts else Outcome.UNCHANGED)
    draft.line.subject_id = service.id
    return service


def _offer(work: _Work, member: Organization, draft: ServiceDraft, service: Service, at: AtPlace) -> None:
    place = work.placed.get(id(at.place)) or _place(work, member, at.place)
    work.placed[id(at.place)] = place
    both = (service.id, place.id)
    before = work.at.get(both)
    if before is None and sum(service_id == service.id for service_id, _ in (*work.new_at,)) >= MOST_PLACES:
        raise Invalid(("service.service_at_locations", "too_long"))
    said = before or ServiceAtLocation(new_id(), *both)
    said = replace(
        said,
        phones=said.phones if at.phones is None else at.phones,
        schedules=said.schedules if at.schedules is None else at.schedules,
        languages=said.languages if at.languages is None else at.languages,
    )
    said.check()
    if service.entry.confidential and not place.entry.confidential:
        raise Invalid(("service.address", "out_of_range"))  # as in a call: an open place would lead to it
    if place.entry.confidential:
        said = said.discreet()
    if said != before:
        work.new_at[both] = said
        draft.line.done(Outcome.CHANGED)


def _place(work: _Work, member: Organization, draft: PlaceDraft) -> Location:
    key = (member.id, "location", _place_key(draft))
    entry = draft.entry.in_country(member.entry.country)
    place = _known(work, key, entry.name, entry.department, work.places)
    if place is None:
        place = Location.register(new_id(), member.id, entry, areas(), work.now)
        work.new_places.append(place)
        draft.line.done(Outcome.CREATED if draft.line.file else Outcome.CHANGED)
    else:
        changes = place_changes(draft, place)
        trial = replace(place, facts=[])
        if changes:
            trial.change(changes, areas(), work.now)
        if trial.facts:
            work.changed_places[place.id] = draft
        draft.line.done(Outcome.CHANGED if trial.facts else Outcome.UNCHANGED)
    work.ids[key] = place.id
    work.taken.add(place.id)
    work.places[place.id] = place
    if draft.line.file:
        draft.line.subject_id = place.id
    return place


def place_changes(draft: PlaceDraft, place: Location) -> dict[str, Any]:
    """What a file says otherwise of a place. Where a confidential one is no file changes: its own people do, one by one."""
    hidden = (*SEALED, "area_code", "latitude", "longitude") if place.entry.confidential else ()
    return {
        name: getattr(draft.entry, name)
        for name in draft.said
        if name not in hidden and getattr(draft.entry, name) != getattr(place.entry, name)
    }


def _known(work: _Work, key: Key, name: str, department: str, among: Mapping[str, T]) -> T | None:
    """What a row means that is here already: by what it was called when it came, by our own id, or by its name."""
    named = (key[0], key[1], key_of(name, department))
    for id in (work.known.get(key, ""), key[2], work.named.get(named, "")):
        candidate = among.get(id)
        if candidate is not None and candidate.organization_id == key[0] and (id == work.known.get(key) or id not in work.taken):
            return candidate
    return None


def _write(tx: Transaction, keyring: Keyring, caller: Caller, work: _Work) -> None:
    services.keep_many(tx, work.new_services, work.changed_services, work.now)
    field_changes.keep_many(tx, work.changes)
    locations.keep_many(tx, keyring, work.new_places)
    for id, draft in work.changed_places.items():
        place = work.places[id]
        change_location(tx, keyring, caller, work.now, place, place_changes(draft, place))
    locations.keep_services(tx, list(work.new_at.values()))
    imported_ids.keep(tx, {key: id for key, id in work.ids.items() if work.known.get(key) != id})
    touched = {service_id for service_id, _ in work.new_at}
    services.touch_public(tx, sorted(touched - {service.id for service in work.new_services}), work.now)
    hours = touched | {service.id for service in work.changed_services}
    open_hours.refresh_many(tx, sorted(hours), work.now)


def _key(draft: ServiceDraft) -> str:
    return draft.source_id or key_of(draft.entry.name, draft.entry.department)


def _place_key(draft: PlaceDraft) -> str:
    return draft.source_id or key_of(draft.entry.name, draft.entry.department)


def _names(drafts: list[tuple[Organization, ServiceDraft]]) -> set[str]:
    places = (at.place.entry for _, draft in drafts for at in draft.at)
    return {key_of(draft.entry.name, draft.entry.department) for _, draft in drafts} | {key_of(e.name, e.department) for e in places}
