"""The rpcs for services: their entries and room, the search for them, and matching with a need."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from chassis.audit import Entry
from chassis.db import Transaction
from chassis.errors import Invalid, NotFound
from chassis.ids import is_id, new_id
from chassis.rpc import Call
from chassis.tokens import Caller
from chassis.wire import PageTokens, check_etag, page_size, with_stored_parts
from keys.sealing import Keyring
from protos.partners.v1 import directory_pb2 as pb
from services.partners.directory.domain.service import Service, ServiceEntry
from services.partners.directory.domain.truth import has_promised
from services.partners.directory.store import (
    candidates,
    open_hours,
    places,
    promises,
    search,
    services,
)
from services.partners.directory.store.areas import areas
from services.partners.directory.store.directory_index import DirectoryIndex
from services.partners.directory.store.taxonomy import taxonomy
from services.partners.directory.wire import messages
from services.partners.members.store import organizations, workers
from services.partners.members.usecases.organizations import check_change, owner_of, visible_to
from services.partners.members.usecases.standing import (
    may_act_for,
    sees_inactive_members,
    sees_shelters,
    viewer,
    worker_of,
)
from services.partners.members.wire.messages import organization as organization_message
from services.partners.network.domain.check import Check
from services.partners.network.domain.field_change import FieldChange, changes_of
from services.partners.network.domain.visibility import Tier
from services.partners.network.store import field_changes
from services.partners.network.wire.messages import etag_of, masked_fields

MAX_BATCH = 200
_REVEALING_FIELDS = ("phone",)
"""Fields that would reveal where a confidential service is; such a service has none of them."""


class Services:
    """Handles the rpcs for services and for the taxonomy of needs."""

    def __init__(self, mail: Keyring, pages: PageTokens, index: DirectoryIndex) -> None:
        """Sets up the handlers; `mail` is the keyring that seals e-mails to managers."""
        self._mail = mail
        self._pages = pages
        self._index = index

    def ListTaxonomyTerms(
        self, request: pb.ListTaxonomyTermsRequest, call: Call
    ) -> pb.ListTaxonomyTermsResponse:
        """Lists the terms of the taxonomy."""
        return pb.ListTaxonomyTermsResponse(terms=map(messages.term, taxonomy().terms.values()))

    def CreateService(self, request: pb.CreateServiceRequest, call: Call) -> pb.Service:
        """Adds a service to the named organisation, or to the caller's if none is named.

        A service without a stated country is in the organisation's country.
        """
        requested, now = request.service, call.clock.now()
        # A flag that the request leaves out looks like False. So a new service is always active,
        # and can be made inactive later.
        entry = messages.service_entry(requested, active=True)
        room = messages.capacity(requested.capacity, "service.capacity")
        organization = owner_of(call.tx, call.caller, requested.organization_id)
        entry = replace(entry, country=entry.country or organization.entry.country)
        service = Service.register(new_id(), organization.id, entry, room, taxonomy(), areas(), now)
        check_exposure(call.caller.organization_id, service, None)
        check_change(call, self._mail, organization.id, "service", None, service.entry)
        service.organization_name = organization.entry.name
        service.organization_type = organization.entry.type
        services.save(call.tx, service)
        if entry.schedules:
            open_hours.refresh(call.tx, service.id, now)
        call.trail.append(Entry("service_create", service.id))
        return _message(service, call)

    def GetService(self, request: pb.GetServiceRequest, call: Call) -> pb.Service:
        """Returns a service."""
        return _message(visible_service(call.tx, call.caller, request.id), call)

    def BatchGet(self, request: pb.BatchGetRequest, call: Call) -> pb.BatchGetResponse:
        """Returns the requested entries that exist for the caller.

        Workers are named only if they belong to the caller's own organisation.
        """
        tx, caller = call.tx, call.caller
        if (
            len(request.service_ids) + len(request.organization_ids) + len(request.worker_ids)
            > MAX_BATCH
        ):
            raise Invalid(("service_ids", "too_long"))
        service_ids, organization_ids, worker_ids = (
            [id for id in ids if is_id(id)]
            for ids in (request.service_ids, request.organization_ids, request.worker_ids)
        )
        batch = _visible(tx, caller, services.fetch_many(tx, service_ids)) if service_ids else []
        members = (
            visible_to(tx, caller, organizations.fetch_many(tx, organization_ids))
            if organization_ids
            else []
        )
        names = workers.names(tx, worker_ids, caller.organization_id) if worker_ids else {}
        return pb.BatchGetResponse(
            services=_messages(batch, call),
            organizations=[organization_message(member, viewer(caller).tier) for member in members],
            worker_names=names,
        )

    def UpdateService(self, request: pb.UpdateServiceRequest, call: Call) -> pb.Service:
        """Changes the fields that the mask names."""
        requested, now = request.service, call.clock.now()
        service = locked_service(call.tx, call.caller, requested.id)
        stored = messages.service(service, viewer(call.caller), now)
        check_etag(requested.etag, stored.etag, "service.etag")
        completed, mask = with_stored_parts(requested, stored, request.update_mask)
        changes = masked_fields(
            mask, messages.service_entry(completed, active=completed.active), "assured_time"
        )
        before = service.entry
        service.change(changes, taxonomy(), areas(), now)
        check_exposure(call.caller.organization_id, service, before)
        check_change(call, self._mail, service.organization_id, "service", before, service.entry)
        services.save(call.tx, service)
        recorded_changes = entry_changes(before, service.entry, worker_of(call.caller), now)
        field_changes.save(call.tx, service.id, service.organization_id, recorded_changes)
        if becomes_confidential(before, service.entry):
            forget_revealing_values(call.tx, service.id)
        if _hours_of(before) != _hours_of(service.entry):
            open_hours.refresh(call.tx, service.id, now)
        call.trail.append(Entry("service_change", service.id, detail_codes=tuple(changes)))
        return _message(service, call)

    def SetCapacity(self, request: pb.SetCapacityRequest, call: Call) -> pb.Service:
        """States how much room there is now.

        Only the service's own organisation may do this; not even a coordinator may do it instead.
        """
        room, now = messages.capacity(request.capacity, "capacity"), call.clock.now()
        service = locked_service(call.tx, call.caller, request.id)
        if service.organization_id != call.caller.organization_id:
            raise NotFound
        check_etag(request.etag, etag_of(service), required=False)
        before = service.capacity
        service.set_capacity(room, now)
        services.save_capacity(call.tx, service, now)
        recorded_changes = changes_of(
            before, service.capacity, worker_of(call.caller), now, prefix="capacity."
        )
        field_changes.save(call.tx, service.id, service.organization_id, recorded_changes)
        return _message(service, call)

    def SearchServices(
        self, request: pb.SearchServicesRequest, call: Call
    ) -> pb.SearchServicesResponse:
        """Returns a page of hits and the total.

        A search for a language finds only services that state that language for themselves or for
        an open place. A search for an age, a gender or dependants leaves out only services that
        exclude such people. A search within the caller's own organisation, or by a coordinator or
        auditor within any organisation, includes services that are not offered now.
        """
        size = page_size(request.page_size, default=25, maximum=100)
        after = self._pages.cursor(request, int, str, str)
        now, caller = call.clock.now(), call.caller
        terms = messages.search_terms(request, now)
        terms.check(taxonomy())
        if terms.organization_id and not is_id(terms.organization_id):
            return pb.SearchServicesResponse()
        is_own = terms.organization_id == caller.organization_id
        sees_others_shelters = sees_shelters(call.tx, caller)
        page = search.find(
            call.tx,
            self._index,
            terms,
            now,
            size,
            after,
            sees_shelters=is_own or sees_others_shelters,
            sees_others_shelters=sees_others_shelters,
            sees_unlisted=bool(terms.organization_id) and (is_own or sees_inactive_members(caller)),
        )
        return pb.SearchServicesResponse(
            services=[
                messages.service(
                    service, viewer(caller), now, open_now=page.open_now.get(service.id)
                )
                for service in page.services
            ],
            next_page_token=self._pages.token(request, page.next_cursor),
            total_size=page.total,
            departments=[
                pb.DepartmentCount(department=department, count=count)
                for department, count in page.departments.items()
            ],
        )

    def MatchServices(
        self, request: pb.MatchServicesRequest, call: Call
    ) -> pb.MatchServicesResponse:
        """Returns services for a need, each with its verdict and reasons, best first.

        Stores nothing.
        """
        question, now = messages.question(request), call.clock.now()
        question.check(taxonomy())
        size = page_size(request.limit, default=20, maximum=100, path="limit")
        sees_all = sees_shelters(call.tx, call.caller)
        matches = candidates.match(
            call.tx, self._index, question, now, size, sees_shelters=sees_all
        )
        open_by_id = open_hours.open_now(call.tx, [service.id for _, service in matches], now)
        return pb.MatchServicesResponse(
            matches=[
                messages.match(
                    match,
                    matched_service,
                    viewer(call.caller),
                    now,
                    open_now=open_by_id.get(matched_service.id),
                )
                for match, matched_service in matches
            ]
        )


def entry_changes(
    before: ServiceEntry, after: ServiceEntry, worker_id: str, now: datetime
) -> list[FieldChange]:
    """Returns the changes to an entry. If it is now confidential, leaves out revealing values."""
    return changes_of(
        before, after, worker_id, now, _REVEALING_FIELDS if after.confidential else ()
    )


def check_exposure(organization_id: str, service: Service, before: ServiceEntry | None) -> None:
    """Raises Invalid if another organisation shows more of a service, or shows it to more readers.

    Only the service's own organisation makes it public or no longer confidential, or lowers the
    tier of a field; coordinators may do the opposite. `organization_id`: the organisation that
    acts. `before`: the former entry, if any.
    """
    after, chosen_tiers = service.entry, dict(service.entry.tiers)
    exposed_fields = {
        "tiers": before is not None
        and any(chosen_tiers.get(name, Tier.PUBLIC) < tier for name, tier in before.tiers),
        "public": after.public and not (before and before.public),
        "confidential": before is not None and becomes_confidential(after, before),
    }
    if service.organization_id != organization_id:
        check = Check("service")
        for name in (name for name, is_exposed in exposed_fields.items() if is_exposed):
            check.refuse(name, "member_only")
        check.done()


def becomes_confidential(before: ServiceEntry, after: ServiceEntry) -> bool:
    """Returns whether a change makes a service confidential."""
    return after.confidential and not before.confidential


def forget_revealing_values(tx: Transaction, id: str) -> None:
    """Deletes revealing values from the history of a service that has become confidential."""
    field_changes.forget_values(tx, id, _REVEALING_FIELDS)


def doubt_capacity(
    tx: Transaction,
    now: datetime,
    id: str,
    organization_id: str,
    decline_time: datetime,
    *,
    subject_id: str,
    asker_organization_id: str,
) -> None:
    """Marks the stated room as doubtful after the service declined a person for lack of room.

    If the service had promised room, the promise counts as broken. Changes nothing if the
    organisation that declined does not own the service. A figure that was stated later is not
    marked.
    """
    service = services.fetch(tx, id, lock=True)
    if service is None or service.organization_id != organization_id:
        return
    _count_promise(tx, service, subject_id, asker_organization_id, decline_time, now, kept=False)
    if service.doubt_capacity(decline_time):
        services.save_capacity(tx, service, now)


def note_yes(tx: Transaction, id: str, organization_id: str, at: datetime) -> None:
    """Records that the service's own organisation answered an enquiry with an offer of help."""
    service = services.fetch(tx, id, lock=True)
    if service is not None and service.organization_id == organization_id:
        promises.note_yes(tx, id, at)


def take_places(
    tx: Transaction,
    now: datetime,
    referral_id: str,
    id: str,
    organization_id: str,
    people: int,
    at: datetime,
    *,
    asker_organization_id: str = "",
) -> None:
    """Takes places in a service whose own organisation accepted or reopened a referral.

    If the service had promised room, the promise counts as kept.
    """
    service = services.fetch(tx, id, lock=True)
    if service is None or service.organization_id != organization_id:
        return
    _count_promise(tx, service, referral_id, asker_organization_id, at, now, kept=True)
    former_stay = places.lock_stay(tx, referral_id)
    if former_stay and (former_stay["leave_time"] is None or at <= former_stay["leave_time"]):
        return
    people = former_stay["places"] if former_stay else max(1, people)
    places.take(tx, referral_id, id, people, at)
    if service.add_free_places(-people, at):
        services.save_capacity(tx, service, now)


def leave_places(tx: Transaction, now: datetime, referral_id: str, at: datetime) -> None:
    """Frees any places that a referral took, after the help has ended or failed to begin."""
    stay = places.lock_stay(tx, referral_id)
    if stay is None or stay["leave_time"] is not None or at < stay["take_time"]:
        return
    places.leave(tx, referral_id, at)
    service = services.fetch(tx, stay["service_id"], lock=True)
    if service is not None and service.add_free_places(stay["places"], at):
        services.save_capacity(tx, service, now)


def visible_service(tx: Transaction, caller: Caller, id: str) -> Service:
    """Returns a service. Raises NotFound if it does not exist for the caller."""
    service = services.fetch(tx, id) if is_id(id) else None
    if service is None or not _visible(tx, caller, [service]):
        raise NotFound
    return service


def locked_service(tx: Transaction, caller: Caller, id: str) -> Service:
    """Returns a service, locked.

    Raises NotFound if it does not exist or the caller may not act for its organisation.
    """
    service = services.fetch(tx, id, lock=True) if is_id(id) else None
    if service is None or not may_act_for(caller, service.organization_id):
        raise NotFound
    return service


def _message(service: Service, call: Call) -> pb.Service:
    return _messages([service], call)[0]


def _messages(shown_services: Sequence[Service], call: Call) -> list[pb.Service]:
    """Returns the services as the caller sees them."""
    now = call.clock.now()
    open_by_id = open_hours.open_now(call.tx, [service.id for service in shown_services], now)
    return [
        messages.service(service, viewer(call.caller), now, open_now=open_by_id.get(service.id))
        for service in shown_services
    ]


def _count_promise(
    tx: Transaction,
    service: Service,
    subject_id: str,
    asker_organization_id: str,
    at: datetime,
    now: datetime,
    *,
    kept: bool,
) -> None:
    """Counts a promise, if the service made one, as kept or broken.

    Requests of the service's own organisation don't count, so that no member can improve its own
    reputation.
    """
    yes_time = promises.yes_time(tx, service.id)
    if asker_organization_id != service.organization_id and has_promised(
        service.capacity, service.entry.need_codes, yes_time, at
    ):
        promises.save(tx, subject_id, service.id, at, now, kept=kept)


def _hours_of(entry: ServiceEntry) -> tuple[object, ...]:
    """Returns the fields that opening hours depend on.

    The country and the department are among them because they decide the time zone and the
    holidays.
    """
    return entry.schedules, entry.country, entry.department


def _visible(tx: Transaction, caller: Caller, fetched_services: list[Service]) -> list[Service]:
    """Returns the services that the caller may see.

    A caller on probation sees no shelters of other members.
    """
    hidden_services = [
        service
        for service in fetched_services
        if service.is_shelter and service.organization_id != caller.organization_id
    ]
    if not hidden_services or sees_shelters(tx, caller):
        return fetched_services
    return [service for service in fetched_services if service not in hidden_services]
