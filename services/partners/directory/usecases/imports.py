"""Imports of a directory that is maintained elsewhere.

Either the whole file is written or nothing, and importing the same file again changes nothing. Each
row passes the same checks as a call: the domain's own register and change. Imports do not create
organisations, because a new member needs two people. A row with an id refers to the service that
had this id in an earlier file of the same importer, or that has this id in the directory, or else
to a new service. A row without an id overwrites a service that differs from the row only after a
person has decided that the row means that service.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from chassis.db import Transaction
from chassis.errors import Invalid
from chassis.ids import is_id, new_id
from chassis.tokens import Caller
from keys.sealing import Keyring
from services.partners.directory.domain.imports import (
    Line,
    Outcome,
    ParsedFile,
    PlaceDraft,
    Report,
    ServiceAtPlace,
    ServiceDraft,
)
from services.partners.directory.domain.location import (
    MAX_PLACES,
    SEALED,
    Location,
    ServiceAtLocation,
)
from services.partners.directory.domain.service import NOT_STATED, Service
from services.partners.directory.store import imported_ids, locations, open_hours, services
from services.partners.directory.store.areas import areas
from services.partners.directory.store.imported_ids import Key, key_of
from services.partners.directory.store.taxonomy import taxonomy
from services.partners.directory.usecases.import_members import target_of, with_members
from services.partners.directory.usecases.locations import change_location
from services.partners.directory.usecases.services import (
    becomes_confidential,
    entry_changes,
    forget_revealing,
)
from services.partners.members.domain.organization import Organization
from services.partners.members.usecases.standing import worker_of
from services.partners.network.domain.field_change import FieldChange
from services.partners.network.store import field_changes

T = TypeVar("T", Service, Location)

Answers = Mapping[tuple[str, int], str]
"""For (file, row), the id of the service that the row refers to; "" for a new service."""

_LONGEST_ID = 200  # maximum number of characters of an id in a file


@dataclass
class _Work:
    """The services and places that the rows of a file may refer to, and the changes to write.

    `known_ids`: our ids by the ids in earlier files; `ids_by_name`: the ids of services by their
    names; `at`, `new_at`: services at places, by (service id, place id); `places_of`: the ids of
    each service's places; `place_by_draft`: the places to which this file's places refer.
    """

    now: datetime
    worker_id: str
    members: dict[str, Organization]
    answers: Answers
    known_ids: dict[Key, str]
    ids_by_name: dict[Key, list[str]]
    services: dict[str, Service]
    places: dict[str, Location]
    at: dict[tuple[str, str], ServiceAtLocation]
    places_of: dict[str, list[str]] = field(default_factory=dict)
    ids: dict[Key, str] = field(default_factory=dict)
    # the services and places that an earlier row of this file refers to
    used_ids: set[str] = field(default_factory=set)
    lines: dict[Key, Line] = field(default_factory=dict)
    new_services: list[Service] = field(default_factory=list)
    changed_services: list[Service] = field(default_factory=list)
    changes: list[tuple[str, str, list[FieldChange]]] = field(default_factory=list)
    now_confidential: list[str] = field(default_factory=list)  # ids of services
    new_places: list[Location] = field(default_factory=list)
    changed_places: dict[str, PlaceDraft] = field(default_factory=dict)
    place_by_draft: dict[int, Location] = field(default_factory=dict)
    new_at: dict[tuple[str, str], ServiceAtLocation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for service_id, place_id in self.at:
            self.places_of.setdefault(service_id, []).append(place_id)


def import_directory(
    tx: Transaction,
    keyring: Keyring,
    caller: Caller,
    now: datetime,
    parsed: ParsedFile,
    organization_id: str,
    *,
    dry_run: bool,
    answers: Answers | None = None,
    row_done: Callable[[], None] = lambda: None,
) -> Report:
    """Creates or changes the services and places that a file names.

    Writes nothing in a dry run, if a row is refused or needs an answer, or if the encoding of the
    file is only guessed.
    """
    owner = target_of(tx, caller, organization_id, lock="UPDATE")
    drafts = with_members(tx, parsed.services, owner)
    work = _begin_work(tx, caller, now, drafts, answers or {})
    # Rows with an id choose their service before rows that only have a name.
    for member, draft in sorted(drafts, key=lambda assigned: not assigned[1].source_id):
        _settle(work, member, draft)
        row_done()
    unsettled = any(line.outcome in (Outcome.REFUSED, Outcome.ASKED) for line in parsed.lines)
    written = not (dry_run or unsettled or (parsed.decoding and parsed.decoding.guessed))
    if written:
        _write(tx, keyring, caller, work)
    else:
        for line in parsed.lines:
            line.subject_id = (
                ""
                if line.outcome in (Outcome.CREATED, Outcome.REFUSED, Outcome.ASKED)
                else line.subject_id
            )
    return Report(parsed.lines, written, parsed.ignored_columns, parsed.decoding)


def _begin_work(
    tx: Transaction,
    caller: Caller,
    now: datetime,
    drafts: list[tuple[Organization, ServiceDraft]],
    answers: Answers,
) -> _Work:
    """Fetches and locks the services and places that the rows may refer to."""
    members = {member.id: member for member, _ in drafts}
    sources = {id for _, draft in drafts for id in (_key(draft), *_place_keys(draft))}
    nameless = {_key(draft) for _, draft in drafts if not draft.source_id}
    known_ids = imported_ids.fetch(tx, caller.organization_id, list(members), list(sources))
    ids_by_name = imported_ids.ids_by_key(tx, members)
    ids = {*known_ids.values(), *(id for id in sources if is_id(id))}
    ids |= {id for (_, _, source), like in ids_by_name.items() if source in nameless for id in like}
    existing = {entry.id: entry for entry in services.fetch_many(tx, sorted(ids), lock=True)}
    at = locations.of_services(tx, list(existing))
    ids |= {place_id for _, place_id in at}
    return _Work(
        now=now,
        worker_id=worker_of(caller),
        members=members,
        answers=answers,
        known_ids=known_ids,
        ids_by_name=ids_by_name,
        services=existing,
        places={entry.id: entry for entry in locations.fetch_many(tx, sorted(ids))},
        at=at,
    )


def _settle(work: _Work, member: Organization, draft: ServiceDraft) -> None:
    """Decides the outcome of a row."""
    key = (member.id, "service", _key(draft))
    if id_error := _wrong_id(draft.source_id):
        draft.line.refuse("id", id_error)
    elif key in work.lines:
        draft.line.refuse("id" if draft.source_id else "name", "duplicate")
    else:
        work.lines[key] = draft.line
        try:
            _apply(work, member, draft, key)
        except Invalid as error:
            for path, reason in error.violations:
                draft.line.refuse(path.partition(".")[2] or path, reason)


def _apply(work: _Work, member: Organization, draft: ServiceDraft, key: Key) -> None:
    if draft.source_id:
        service = next(
            _untaken(work, (work.known_ids.get(key, ""), draft.source_id), work.services, member),
            None,
        )
    else:
        twins = list(
            _untaken(
                work,
                (work.known_ids.get(key, ""), *work.ids_by_name.get(key, ())),
                work.services,
                member,
            )
        )
        service = next((twin for twin in twins if not _differs(work, member, draft, twin)), None)
        if service is None and twins:
            answer = work.answers.get((draft.line.file, draft.line.row))
            if answer is None:
                draft.line.mark_ambiguous([twin.id for twin in twins])
                return
            service = next((twin for twin in twins if twin.id == answer), None)
            if answer and service is None:
                draft.line.refuse("id", "unknown_code")
                return
    service = (
        _create_service(work, member, draft)
        if service is None
        else _change_service(work, member, draft, service)
    )
    draft.line.subject_id = service.id
    work.ids[key] = service.id
    work.used_ids.add(service.id)
    for at in draft.places:
        _offer(work, member, draft, service, at)


def _untaken(
    work: _Work, ids: Iterable[str], among: Mapping[str, T], member: Organization
) -> Iterator[T]:
    """Yields the member's candidates among these ids that no earlier row refers to."""
    for id in dict.fromkeys(ids):
        candidate = among.get(id)
        if (
            candidate is not None
            and candidate.organization_id == member.id
            and id not in work.used_ids
        ):
            yield candidate


def _differs(work: _Work, member: Organization, draft: ServiceDraft, service: Service) -> bool:
    """Returns whether a row differs from the stored service or its places."""
    if _trial(draft, service, work.now).facts:
        return True
    for at in draft.places:
        place = _known_place(work, member, draft, service, at.place)
        if (
            place is None
            or _place_trial(at.place, place, work.now).facts
            or _stated_offer(work, service, place, at)[1]
        ):
            return True
    return False


def _trial(draft: ServiceDraft, service: Service, now: datetime) -> Service:
    """Returns a copy of the service with the row's changes; it has no facts if nothing changed."""
    trial = replace(service, facts=[])
    if changes := draft.changes(service.entry):
        trial.change(changes, taxonomy(), areas(), now)
    return trial


def _place_trial(draft: PlaceDraft, place: Location, now: datetime) -> Location:
    trial = replace(place, facts=[])
    if changes := place_changes(draft, place):
        trial.change(changes, areas(), now)
    return trial


def _create_service(work: _Work, member: Organization, draft: ServiceDraft) -> Service:
    if not draft.has_area:
        raise Invalid(("service.department", "required"))
    entry = replace(draft.entry, country=draft.entry.country or member.entry.country)
    service = Service.register(
        new_id(), member.id, entry, NOT_STATED, taxonomy(), areas(), work.now
    )
    work.new_services.append(service)
    draft.line.record(Outcome.CREATED)
    service.organization_name, service.organization_type = member.entry.name, member.entry.type
    return service


def _change_service(
    work: _Work, member: Organization, draft: ServiceDraft, service: Service
) -> Service:
    after = _trial(draft, service, work.now)
    if after.facts:
        work.changed_services.append(after)
        work.changes.append(
            (
                service.id,
                member.id,
                entry_changes(service.entry, after.entry, work.worker_id, work.now),
            )
        )
        if becomes_confidential(service.entry, after.entry):
            work.now_confidential.append(service.id)
    draft.line.record(Outcome.CHANGED if after.facts else Outcome.UNCHANGED)
    return after


def _offer(
    work: _Work, member: Organization, draft: ServiceDraft, service: Service, at: ServiceAtPlace
) -> None:
    place = work.place_by_draft.get(id(at.place)) or _place(work, member, draft, service, at.place)
    work.place_by_draft[id(at.place)] = place
    offer, is_new = _stated_offer(work, service, place, at)
    pair = (service.id, place.id)
    if pair not in work.at and len(work.places_of.setdefault(service.id, [])) >= MAX_PLACES:
        raise Invalid(("service.service_at_locations", "too_long"))
    offer.check()
    if service.entry.confidential and not _will_be_confidential(place, at):
        # refused as in a call: an open place would lead to the hidden service
        raise Invalid(("service.address", "out_of_range"))
    if pair not in work.at:
        work.places_of[service.id].append(place.id)
    if is_new:
        work.new_at[pair] = offer
        draft.line.record(Outcome.CHANGED)


def _stated_offer(
    work: _Work, service: Service, place: Location, at: ServiceAtPlace
) -> tuple[ServiceAtLocation, bool]:
    """Returns the service at the place as the row states it, and whether that is a change."""
    before = work.at.get((service.id, place.id))
    offer = before or ServiceAtLocation(new_id(), service.id, place.id)
    offer = replace(
        offer,
        phones=offer.phones if at.phones is None else at.phones,
        schedules=offer.schedules if at.schedules is None else at.schedules,
        languages=offer.languages if at.languages is None else at.languages,
    )
    offer = offer.discreet() if _will_be_confidential(place, at) else offer
    return offer, offer != before


def _will_be_confidential(place: Location, at: ServiceAtPlace) -> bool:
    """Returns whether the place is confidential once the row has been written."""
    return place.entry.confidential or at.place.entry.confidential


def _place(
    work: _Work, member: Organization, draft: ServiceDraft, service: Service, at: PlaceDraft
) -> Location:
    if reason := _wrong_id(at.source_id):
        raise Invalid(("service.location_id", reason))
    place = _known_place(work, member, draft, service, at)
    if place is None:
        place = Location.register(
            new_id(), member.id, at.entry.in_country(member.entry.country), areas(), work.now
        )
        work.new_places.append(place)
        at.line.record(Outcome.CREATED if at.line.file else Outcome.CHANGED)
    else:
        changes = bool(_place_trial(at, place, work.now).facts)
        if changes:
            work.changed_places[place.id] = at
        at.line.record(Outcome.CHANGED if changes else Outcome.UNCHANGED)
    work.ids[(member.id, "location", _place_keys(draft, at)[0])] = place.id
    work.used_ids.add(place.id)
    work.places[place.id] = place
    if at.line.file:
        at.line.subject_id = place.id
    return place


def _known_place(
    work: _Work, member: Organization, draft: ServiceDraft, service: Service, at: PlaceDraft
) -> Location | None:
    """Returns the stored place that the row refers to; None if the place is new.

    If the row has a place id, this is the place with that id. Otherwise it is the place of this
    service to which an earlier import of the row referred, or which has the same name.
    """
    key, *former = ((member.id, "location", key) for key in _place_keys(draft, at))
    if at.source_id:
        return next(
            _untaken(work, (work.known_ids.get(key, ""), at.source_id), work.places, member), None
        )
    own_places = work.places_of.get(service.id, [])
    name = key_of(at.entry.name, at.entry.department)
    ids = [
        work.known_ids.get(key, ""),
        *(work.known_ids.get(former_key, "") for former_key in former),
    ]
    ids += [
        id
        for id in own_places
        if (entry := work.places[id].entry) and key_of(entry.name, entry.department) == name
    ]
    return next(_untaken(work, (id for id in ids if id in own_places), work.places, member), None)


def place_changes(draft: PlaceDraft, place: Location) -> dict[str, Any]:
    """Returns the changes that a file makes to a place.

    A file can't change where a confidential place is: only workers of its own organisation can do
    that, one place at a time.
    """
    hidden = (*SEALED, "area_code", "latitude", "longitude") if place.entry.confidential else ()
    return {
        name: getattr(draft.entry, name)
        for name in draft.stated_fields
        if name not in hidden and getattr(draft.entry, name) != getattr(place.entry, name)
    }


def _write(tx: Transaction, keyring: Keyring, caller: Caller, work: _Work) -> None:
    services.save_many(tx, work.new_services, work.changed_services, work.now)
    field_changes.save_many(tx, work.changes)
    for id in work.now_confidential:
        forget_revealing(tx, id)
    locations.save_many(tx, keyring, work.new_places)
    for id, draft in work.changed_places.items():
        place = work.places[id]
        change_location(tx, keyring, caller, work.now, place, place_changes(draft, place))
    locations.save_services(tx, list(work.new_at.values()))
    imported_ids.save(
        tx,
        caller.organization_id,
        {key: id for key, id in work.ids.items() if work.known_ids.get(key) != id},
    )
    touched = {service_id for service_id, _ in work.new_at}
    services.touch_public(
        tx, sorted(touched - {service.id for service in work.new_services}), work.now
    )
    hours = touched | {service.id for service in work.changed_services}
    open_hours.refresh_many(tx, sorted(hours), work.now)


def _wrong_id(source_id: str) -> str:
    """Returns the reason why an id in a file can't be stored; "" if it can."""
    return (
        "too_long"
        if len(source_id) > _LONGEST_ID
        else ""
        if source_id.isprintable()
        else "malformed"
    )


def _key(draft: ServiceDraft) -> str:
    return draft.source_id or key_of(draft.entry.name, draft.entry.department)


def _place_keys(draft: ServiceDraft, *places: PlaceDraft) -> list[str]:
    """Returns the keys of these places, or of all places of the row if no place is given.

    A place with an id has one key, its id. A place without an id has two keys: its name at this
    service, and the key that earlier versions stored.
    """
    keys = list[str]()
    for place in places or (at.place for at in draft.places):
        name = key_of(place.entry.name, place.entry.department)
        keys += [place.source_id] if place.source_id else [f"of:{_key(draft)}/{name}", name]
    return keys
