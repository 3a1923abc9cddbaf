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
    id_error,
)
from services.partners.directory.domain.location import MAX_PLACES, Location, ServiceAtLocation
from services.partners.directory.domain.service import NOT_STATED, Service
from services.partners.directory.store import imported_ids, locations, open_hours, services
from services.partners.directory.store.areas import areas
from services.partners.directory.store.imported_ids import Key, key_of
from services.partners.directory.store.taxonomy import taxonomy
from services.partners.directory.usecases.import_members import target_of, with_members
from services.partners.directory.usecases.locations import REVEALING_FIELDS, change_location
from services.partners.directory.usecases.services import (
    becomes_confidential,
    check_exposure,
    entry_changes,
    forget_revealing_values,
)
from services.partners.members.domain.organization import Organization
from services.partners.members.usecases.standing import is_managed_by_others, worker_of
from services.partners.network.domain.check import check_contact
from services.partners.network.domain.field_change import FieldChange
from services.partners.network.store import field_changes

T = TypeVar("T", Service, Location)

Answers = Mapping[tuple[str, int], str]
"""For (file, row), the id of the service that the row refers to; "" for a new service."""


@dataclass
class _Work:
    """The services and places that the rows of a file may refer to, and the changes to write.

    `importer_id`: the organisation that imports the file; `ids_managed_by_others`: the members for
    which is_managed_by_others is true; `known_ids`, `ids`: our ids, keyed by the ids in earlier
    files and in this file; `ids_by_name`: the ids of services by their names; `offers`,
    `new_offers`: services at places, by (service id, place id); `places_of`: the ids of each
    service's places; `place_by_draft`: each member's places for this file's places, by (member id,
    id of the draft).
    """

    now: datetime
    worker_id: str
    importer_id: str
    members: dict[str, Organization]
    ids_managed_by_others: set[str]
    answers: Answers
    known_ids: dict[Key, str]
    ids_by_name: dict[Key, list[str]]
    services: dict[str, Service]
    places: dict[str, Location]
    offers: dict[tuple[str, str], ServiceAtLocation]
    places_of: dict[str, list[str]] = field(default_factory=dict)
    ids: dict[Key, str] = field(default_factory=dict)
    # the services and places that an earlier row of this file refers to
    used_ids: set[str] = field(default_factory=set)
    lines: dict[Key, Line] = field(default_factory=dict)
    new_services: list[Service] = field(default_factory=list)
    changed_services: list[Service] = field(default_factory=list)
    changes: list[tuple[str, str, list[FieldChange]]] = field(default_factory=list)
    newly_confidential_ids: list[str] = field(default_factory=list)  # of services
    new_places: list[Location] = field(default_factory=list)
    changed_places: dict[str, PlaceDraft] = field(default_factory=dict)
    place_by_draft: dict[tuple[str, int], Location] = field(default_factory=dict)
    new_offers: dict[tuple[str, str], ServiceAtLocation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for service_id, place_id in self.offers:
            self.places_of.setdefault(service_id, []).append(place_id)


def import_directory(
    tx: Transaction,
    keyring: Keyring,
    caller: Caller,
    now: datetime,
    parsed_file: ParsedFile,
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
    members_and_drafts = with_members(tx, parsed_file.services, owner)
    work = _begin_work(tx, caller, now, members_and_drafts, answers or {})
    # Rows with an id choose their service before rows that only have a name.
    for member, draft in sorted(
        members_and_drafts, key=lambda member_and_draft: not member_and_draft[1].source_id
    ):
        _settle(work, member, draft)
        row_done()
    has_unsettled_rows = any(
        line.outcome in (Outcome.REFUSED, Outcome.ASKED) for line in parsed_file.lines
    )
    is_written = not (
        dry_run or has_unsettled_rows or (parsed_file.decoding and parsed_file.decoding.guessed)
    )
    if is_written:
        _write(tx, keyring, caller, work)
    else:
        for line in parsed_file.lines:
            if line.outcome in (Outcome.CREATED, Outcome.REFUSED, Outcome.ASKED):
                line.subject_id = ""
    return Report(parsed_file.lines, is_written, parsed_file.ignored_columns, parsed_file.decoding)


def _begin_work(
    tx: Transaction,
    caller: Caller,
    now: datetime,
    members_and_drafts: list[tuple[Organization, ServiceDraft]],
    answers: Answers,
) -> _Work:
    """Fetches and locks the services and places that the rows may refer to."""
    members = {member.id: member for member, _ in members_and_drafts}
    source_keys = {
        key for _, draft in members_and_drafts for key in (_key(draft), *_place_keys(draft))
    }
    keys_without_id = {_key(draft) for _, draft in members_and_drafts if not draft.source_id}
    known_ids = imported_ids.fetch(tx, caller.organization_id, list(members), list(source_keys))
    ids_by_name = imported_ids.ids_by_key(tx, members)
    ids = {*known_ids.values(), *(key for key in source_keys if is_id(key))}
    ids |= {
        id
        for (_, _, source), ids_of_key in ids_by_name.items()
        if source in keys_without_id
        for id in ids_of_key
    }
    stored_services = {
        service.id: service for service in services.fetch_many(tx, sorted(ids), lock=True)
    }
    offers = locations.of_services(tx, list(stored_services))
    ids |= {place_id for _, place_id in offers}
    return _Work(
        now=now,
        worker_id=worker_of(caller),
        importer_id=caller.organization_id,
        members=members,
        ids_managed_by_others={id for id in members if is_managed_by_others(tx, caller, id)},
        answers=answers,
        known_ids=known_ids,
        ids_by_name=ids_by_name,
        services=stored_services,
        places={place.id: place for place in locations.fetch_many(tx, sorted(ids))},
        offers=offers,
    )


def _settle(work: _Work, member: Organization, draft: ServiceDraft) -> None:
    """Decides the outcome of a row."""
    key = (member.id, "service", _key(draft))
    if error_code := id_error(draft.source_id):
        draft.line.refuse("id", error_code)
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
            _unused_candidates(
                work, (work.known_ids.get(key, ""), draft.source_id), work.services, member
            ),
            None,
        )
    else:
        candidates = list(
            _unused_candidates(
                work,
                (work.known_ids.get(key, ""), *work.ids_by_name.get(key, ())),
                work.services,
                member,
            )
        )
        service = next(
            (candidate for candidate in candidates if not _differs(work, member, draft, candidate)),
            None,
        )
        if service is None and candidates:
            answer = work.answers.get((draft.line.file, draft.line.row))
            if answer is None:
                draft.line.mark_ambiguous([candidate.id for candidate in candidates])
                return
            service = next((candidate for candidate in candidates if candidate.id == answer), None)
            if answer and service is None:
                draft.line.refuse("id", "unknown_code")
                return
    before = service.entry if service else None
    service = (
        _create_service(work, member, draft)
        if service is None
        else _change_service(work, member, draft, service)
    )
    check_exposure(work.importer_id, service, before)
    if member.id in work.ids_managed_by_others:
        check_contact("service", before, service.entry)
    draft.line.subject_id = service.id
    work.ids[key] = service.id
    work.used_ids.add(service.id)
    for offer_draft in draft.places:
        _offer(work, member, draft, service, offer_draft)


def _unused_candidates(
    work: _Work, ids: Iterable[str], entries: Mapping[str, T], member: Organization
) -> Iterator[T]:
    """Yields the member's candidates among these ids that no earlier row refers to."""
    for id in dict.fromkeys(ids):
        candidate = entries.get(id)
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
    for offer_draft in draft.places:
        place = _known_place(work, member, draft, service, offer_draft.place)
        if (
            place is None
            or _place_trial(offer_draft.place, place, work.now).facts
            or _stated_offer(work, service, place, offer_draft)[1]
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
    if fields := place_fields(draft, place):
        trial.change(fields, areas(), now)
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
    changed_service = _trial(draft, service, work.now)
    if changed_service.facts:
        work.changed_services.append(changed_service)
        work.changes.append(
            (
                service.id,
                member.id,
                entry_changes(service.entry, changed_service.entry, work.worker_id, work.now),
            )
        )
        if becomes_confidential(service.entry, changed_service.entry):
            work.newly_confidential_ids.append(service.id)
    draft.line.record(Outcome.CHANGED if changed_service.facts else Outcome.UNCHANGED)
    return changed_service


def _offer(
    work: _Work,
    member: Organization,
    draft: ServiceDraft,
    service: Service,
    offer_draft: ServiceAtPlace,
) -> None:
    # Members that share a building have a place each: nobody may change another member's place.
    place_key = (member.id, id(offer_draft.place))
    place = work.place_by_draft.get(place_key) or _place(
        work, member, draft, service, offer_draft.place
    )
    work.place_by_draft[place_key] = place
    offer, is_changed = _stated_offer(work, service, place, offer_draft)
    own_places = work.places_of.setdefault(service.id, [])
    if place.id not in own_places and len(own_places) >= MAX_PLACES:
        raise Invalid(("service.service_at_locations", "too_long"))
    offer.check()
    if member.id in work.ids_managed_by_others:
        trial = _place_trial(offer_draft.place, place, work.now)
        check_contact("location", None if place.facts else place.entry, trial.entry, "confidential")
        check_contact("service_at_location", work.offers.get((service.id, place.id)), offer)
    if service.entry.confidential and not _will_be_confidential(place, offer_draft):
        # refused as in a call: an open place would lead to the hidden service
        raise Invalid(("service.address", "out_of_range"))
    if place.id not in own_places:
        # Refused as in a call, unless the place is new (it has facts) and confidential.
        reveals_place = service.entry.public or (place.entry.confidential and not place.facts)
        if reveals_place and work.importer_id != member.id:
            raise Invalid(("service.address", "member_only"))
        own_places.append(place.id)
    if is_changed:
        work.new_offers[service.id, place.id] = offer
        draft.line.record(Outcome.CHANGED)


def _stated_offer(
    work: _Work, service: Service, place: Location, offer_draft: ServiceAtPlace
) -> tuple[ServiceAtLocation, bool]:
    """Returns the service at the place as the row states it, and whether that is a change."""
    pair = (service.id, place.id)
    known_offer = work.new_offers.get(pair) or work.offers.get(pair)
    offer = known_offer or ServiceAtLocation(new_id(), service.id, place.id)
    offer = replace(
        offer,
        phones=offer.phones if offer_draft.phones is None else offer_draft.phones,
        schedules=offer.schedules if offer_draft.schedules is None else offer_draft.schedules,
        languages=offer.languages if offer_draft.languages is None else offer_draft.languages,
    )
    offer = offer.discreet() if _will_be_confidential(place, offer_draft) else offer
    return offer, offer != known_offer


def _will_be_confidential(place: Location, offer_draft: ServiceAtPlace) -> bool:
    """Returns whether the place is confidential once the row has been written."""
    return place.entry.confidential or offer_draft.place.entry.confidential


def _place(
    work: _Work,
    member: Organization,
    draft: ServiceDraft,
    service: Service,
    place_draft: PlaceDraft,
) -> Location:
    if reason := id_error(place_draft.source_id):
        raise Invalid(("service.location_id", reason))
    place = _known_place(work, member, draft, service, place_draft)
    if place is None:
        place = Location.register(
            new_id(),
            member.id,
            place_draft.entry.in_country(member.entry.country),
            areas(),
            work.now,
        )
        work.new_places.append(place)
        place_draft.line.record(Outcome.CREATED if place_draft.line.file else Outcome.CHANGED)
    else:
        is_changed = bool(_place_trial(place_draft, place, work.now).facts)
        if is_changed:
            work.changed_places[place.id] = place_draft
        place_draft.line.record(Outcome.CHANGED if is_changed else Outcome.UNCHANGED)
    work.ids[(member.id, "location", _place_keys(draft, place_draft)[0])] = place.id
    work.used_ids.add(place.id)
    work.places[place.id] = place
    if place_draft.line.file:
        place_draft.line.subject_id = place.id
    return place


def _known_place(
    work: _Work,
    member: Organization,
    draft: ServiceDraft,
    service: Service,
    place_draft: PlaceDraft,
) -> Location | None:
    """Returns the stored place that the row refers to; None if the place is new.

    If the row has a place id, this is the place with that id. Otherwise it is a place of this
    service: the one that an earlier import of the row used, or one with the same name.
    """
    key, *former_keys = ((member.id, "location", key) for key in _place_keys(draft, place_draft))
    if place_draft.source_id:
        return next(
            _unused_candidates(
                work, (work.known_ids.get(key, ""), place_draft.source_id), work.places, member
            ),
            None,
        )
    own_places = work.places_of.get(service.id, [])
    name = key_of(place_draft.entry.name, place_draft.entry.department)
    ids = [
        work.known_ids.get(key, ""),
        *(work.known_ids.get(former_key, "") for former_key in former_keys),
    ]
    ids += [
        id
        for id in own_places
        if (entry := work.places[id].entry)
        and key_of(entry.name, entry.department) == name
        # others must not find out the name of a confidential place by guessing
        and (work.importer_id == member.id or not entry.confidential)
    ]
    return next(
        _unused_candidates(work, (id for id in ids if id in own_places), work.places, member), None
    )


def place_fields(draft: PlaceDraft, place: Location) -> dict[str, Any]:
    """Returns the fields that a file states about a place and may change, changed or not.

    A file can't change the name of a confidential place or where it is: only calls of its own
    organisation can do that, one place at a time.
    """
    hidden_fields = REVEALING_FIELDS if place.entry.confidential else ()
    return {name: getattr(draft.entry, name) for name in {*draft.stated_fields} - {*hidden_fields}}


def _write(tx: Transaction, keyring: Keyring, caller: Caller, work: _Work) -> None:
    services.save_many(tx, work.new_services, work.changed_services, work.now)
    field_changes.save_many(tx, work.changes)
    for id in work.newly_confidential_ids:
        forget_revealing_values(tx, id)
    locations.save_many(tx, keyring, work.new_places)
    for id, draft in work.changed_places.items():
        place = work.places[id]
        change_location(tx, keyring, caller, work.now, place, place_fields(draft, place))
    locations.save_services(tx, list(work.new_offers.values()))
    imported_ids.save(
        tx,
        caller.organization_id,
        {key: id for key, id in work.ids.items() if work.known_ids.get(key) != id},
    )
    hidden_ids = {place.id for place in work.places.values() if place.entry.confidential}
    ids_with_open_offers = {id for id, place_id in work.new_offers if place_id not in hidden_ids}
    services.touch_public(tx, sorted(ids_with_open_offers), work.now)
    changed_ids = {id for id, _ in work.new_offers} | {item.id for item in work.changed_services}
    open_hours.refresh_many(tx, sorted(changed_ids), work.now)
    changed_ids |= {item.id for item in work.new_services}
    for place_id in work.changed_places:
        changed_ids |= {*locations.service_ids_at(tx, place_id)}
    services.refresh_words(tx, sorted(changed_ids))


def _key(draft: ServiceDraft) -> str:
    return draft.source_id or key_of(draft.entry.name, draft.entry.department)


def _place_keys(draft: ServiceDraft, *places: PlaceDraft) -> list[str]:
    """Returns the keys of these places, or of all places of the row if no place is given.

    A place with an id has one key, its id. A place without an id has two keys: its name at this
    service, and the key that earlier versions stored.
    """
    keys = list[str]()
    for place in places or (offer_draft.place for offer_draft in draft.places):
        name = key_of(place.entry.name, place.entry.department)
        keys += [place.source_id] if place.source_id else [f"of:{_key(draft)}/{name}", name]
    return keys
