"""Organisations: their entries, and the steps in their life as members."""

from collections.abc import Callable, Sequence
from datetime import datetime

from chassis.audit import Entry
from chassis.db import Transaction
from chassis.errors import Conflict, NotFound
from chassis.ids import is_id, new_id
from chassis.rpc import Call
from chassis.tokens import Caller
from chassis.wire import PageTokens, check_etag, page_size
from keys.sealing import Keyring
from protos.partners.v1 import directory_pb2 as pb
from services.partners.members.domain.organization import Organization, OrganizationEntry
from services.partners.members.domain.suspension import Coordinator
from services.partners.members.store import applications, organizations, workers
from services.partners.members.usecases.independence import with_present_kin
from services.partners.members.usecases.notices import notify_all_managers
from services.partners.members.usecases.standing import (
    is_managed_by_others,
    lock_account,
    may_act_for,
    sees_inactive_members,
    sees_shelters,
    viewer,
    worker_of,
)
from services.partners.members.wire import messages
from services.partners.network.domain.check import check_contact
from services.partners.network.domain.field_change import changes_of
from services.partners.network.domain.time_step import time_step_of
from services.partners.network.store import field_changes
from services.partners.network.wire.days import day
from services.partners.network.wire.messages import masked_fields

_STEP = 5
"""The count of people at a member's services is rounded up to a multiple of this number.

As a result, most single arrivals and departures do not change the count.
"""
Refresh = Callable[[Transaction, str], None]
"""Computes the search data of the services of the organisation with this id.

The function is called after a step that changes what a search finds. `directory`, which depends on
`members`, implements the function.
"""


class Organizations:
    """Handles the rpcs for organisations."""

    def __init__(
        self, keyring: Keyring, mail: Keyring, pages: PageTokens, refresh: Refresh
    ) -> None:
        """Sets up the handlers; `mail` is the keyring that seals e-mails to managers."""
        self._keyring = keyring
        self._mail = mail
        self._pages = pages
        self._refresh = refresh

    def ListHotlines(self, request: pb.ListHotlinesRequest, call: Call) -> pb.ListHotlinesResponse:
        """Lists the hotlines of all countries, for the public page."""
        entries = [organization.entry for organization in organizations.hotlines(call.tx)]
        return pb.ListHotlinesResponse(
            hotlines=[
                pb.Hotline(country=e.country, number=e.hotline_number, organization_name=e.name)
                for e in entries
            ]
        )

    def CreateOrganization(
        self, request: pb.CreateOrganizationRequest, call: Call
    ) -> pb.Organization:
        """Registers a member, on probation."""
        entry = messages.organization_entry(request.organization)
        organization = Organization.register(
            new_id(), entry, call.clock.now(), worker_of(call.caller)
        )
        organizations.save(call.tx, organization)
        call.trail.append(Entry("organization_create", organization.id))
        return organization_message(organization, call)

    def GetOrganization(self, request: pb.GetOrganizationRequest, call: Call) -> pb.Organization:
        """Returns an organisation, even one that has left, because histories name it.

        Only coordinators and auditors see an organisation that was not admitted.
        """
        organization = _existing(
            organizations.fetch(call.tx, request.id) if is_id(request.id) else None
        )
        if not visible_to(call.tx, call.caller, [organization]):
            raise NotFound
        message = organization_message(organization, call)
        if call.caller.has("COORDINATOR") or call.caller.has("AUDITOR"):
            managers = workers.manager_ids(call.tx, organization.id)
            message.has_manager = bool(managers)
            message.only_manager_worker_id = managers[0] if len(managers) == 1 else ""
        if call.caller.has("COORDINATOR") and (
            application := applications.fetch(call.tx, self._keyring, organization.id)
        ):
            message.application.CopyFrom(messages.application(application))
        return message

    def ListOrganizations(
        self, request: pb.ListOrganizationsRequest, call: Call
    ) -> pb.ListOrganizationsResponse:
        """Returns a page of organisations, sorted by name.

        Only coordinators and auditors see inactive members other than their own organisation, and
        may filter by the end of agreements or by steps that wait for a second coordinator.
        """
        size = page_size(request.page_size, default=50, maximum=200)
        after = self._pages.cursor(request, str, str)
        type = messages.TYPES.member(request.type, "type")
        status = messages.STATUSES.member(request.status, "status")
        agreement_before = day("agreement_expire_before_date", request.agreement_expire_before_date)
        own_id, sees_all = call.caller.organization_id, sees_inactive_members(call.caller)
        if (agreement_before or request.waits_for_second) and not sees_all:
            return pb.ListOrganizationsResponse()
        page, next_cursor = organizations.page_by_name(
            call.tx,
            size,
            after,
            country=request.country,
            type=type,
            status=status,
            only_inactive_id=None if sees_all else own_id,
            agreement_before=agreement_before,
            only_shelter_id=None if sees_all or sees_shelters(call.tx, call.caller) else own_id,
            waits_for_second=request.waits_for_second,
        )
        return pb.ListOrganizationsResponse(
            organizations=[organization_message(organization, call) for organization in page],
            next_page_token=self._pages.token(request, next_cursor),
        )

    def UpdateOrganization(
        self, request: pb.UpdateOrganizationRequest, call: Call
    ) -> pb.Organization:
        """Changes the fields of an entry that the mask names.

        A change by another organisation is checked first (`check_change`).
        """
        requested, now = request.organization, call.clock.now()
        changes = masked_fields(request.update_mask, messages.organization_entry(requested))
        organization = _locked(call, requested.id)
        check_etag(requested.etag, _etag(organization, call), "organization.etag")
        before = organization.entry
        organization.change(changes, now)
        check_change(call, self._mail, organization.id, "organization", before, organization.entry)
        organizations.save(call.tx, organization)
        _save_changes(call, organization, before)
        if organization.entry.name != before.name:
            self._refresh(call.tx, organization.id)
        call.trail.append(
            Entry("organization_change", organization.id, detail_codes=tuple(changes))
        )
        return organization_message(organization, call)

    def ProposeOrganizationChange(
        self, request: pb.ProposeOrganizationChangeRequest, call: Call
    ) -> pb.Organization:
        """Proposes to change a member's NETWORK_FIELDS.

        The member's managers are notified by e-mail at once.
        """
        requested, now = request.organization, call.clock.now()
        changes = masked_fields(request.update_mask, messages.organization_entry(requested))
        organization = _locked(call, requested.id)
        check_etag(requested.etag, _etag(organization, call), "organization.etag")
        lock_account(call.tx, call.caller)
        organization.propose(changes, call.caller.id, now)
        organizations.save(call.tx, organization)
        notify_all_managers(call.tx, self._mail, organization.id, "entry_proposed", now)
        call.trail.append(
            Entry("organization_propose", organization.id, detail_codes=tuple(changes))
        )
        return organization_message(organization, call)

    def ConfirmOrganizationChange(
        self, request: pb.ConfirmOrganizationChangeRequest, call: Call
    ) -> pb.Organization:
        """Applies a change that another person proposed."""
        organization, now = lock(call, request.id, request.etag), call.clock.now()
        before = organization.entry
        organization.confirm_change(with_present_kin(call.tx, call.caller, now), now)
        save(call, organization, self._refresh, before)
        call.trail.append(Entry("organization_confirm_change", organization.id))
        return organization_message(organization, call)

    def DropOrganizationChange(
        self, request: pb.DropOrganizationChangeRequest, call: Call
    ) -> pb.Organization:
        """Drops the proposed change."""
        organization = lock(call, request.id, request.etag)
        organization.drop_change(call.clock.now())
        save(call, organization, self._refresh)
        call.trail.append(Entry("organization_drop_change", organization.id))
        return organization_message(organization, call)

    def ApproveOrganization(
        self, request: pb.ApproveOrganizationRequest, call: Call
    ) -> pb.Organization:
        """Makes an organisation a full member.

        The first person's call proposes the approval, and a second person's call completes it.
        """
        organization, now = lock(call, request.id, request.etag), call.clock.now()
        lock_account(call.tx, call.caller)
        organization.approve(
            now, messages.today_at(organization, now), with_present_kin(call.tx, call.caller, now)
        )
        save(call, organization, self._refresh)
        call.trail.append(Entry("organization_approve", organization.id))
        return organization_message(organization, call)

    def SuspendOrganization(
        self, request: pb.SuspendOrganizationRequest, call: Call
    ) -> pb.Organization:
        """Proposes to end a member's access, agrees to a proposal, or stops access for a day.

        Access stops for a day if `hold` is set in the request.

        Raises Conflict for the caller's own organisation, because nobody would be left to undo the
        suspension. Raises Conflict for organisations with coordinators or auditors: two
        coordinators must suspend those accounts first.
        """
        now, reason = call.clock.now(), messages.SUSPENSIONS.member(request.reason, "reason")
        organization = lock(call, request.id, request.etag)
        by = coordinator(call.tx, call.caller, now)
        # after the lock: an invitation to a network role may just have been accepted
        if request.id == call.caller.organization_id or workers.has_network_role(
            call.tx, request.id
        ):
            raise Conflict("illegal_transition")
        before = organization.stop
        organization.suspend(by, reason, now, hold=request.hold)
        save(call, organization, self._refresh)
        notify_managers(call.tx, self._mail, organization, before, now)
        suspension, stop = organization.suspension, organization.stop
        codes = (
            (suspension.reason, *(() if stop == "suspended" else (stop or "proposed",)))
            if suspension
            else ()
        )
        call.trail.append(Entry("organization_suspend", organization.id, detail_codes=codes))
        return organization_message(organization, call)

    def ReinstateOrganization(
        self, request: pb.ReinstateOrganizationRequest, call: Call
    ) -> pb.Organization:
        """Proposes to lift a suspension or a hold, or agrees to such a proposal."""
        now = call.clock.now()
        organization = lock(call, request.id, request.etag)
        by = coordinator(call.tx, call.caller, now)
        before = organization.stop
        organization.reinstate(by, now, messages.today_at(organization, now))
        save(call, organization, self._refresh)
        notify_managers(call.tx, self._mail, organization, before, now)
        call.trail.append(
            Entry(
                "organization_reinstate",
                organization.id,
                detail_codes=("proposed",) if organization.stop else (),
            )
        )
        return organization_message(organization, call)

    def CountMemberAccess(
        self, request: pb.CountMemberAccessRequest, call: Call
    ) -> pb.MemberAccess:
        """Counts the accounts, keys, services, invitations and people that a suspension affects.

        Also returns whether there is a second coordinator who could agree to the suspension.
        """
        now, id = call.clock.now(), request.organization_id
        _existing(organizations.fetch(call.tx, id) if is_id(id) else None)
        counts = organizations.count_access(call.tx, id, now, time_step_of(now))
        counts["most_people_inside"] = -(-counts.pop("people_inside") // _STEP) * _STEP
        return pb.MemberAccess(
            **counts, has_second_coordinator=coordinator(call.tx, call.caller, now).has_second
        )


def visible_to(
    tx: Transaction, caller: Caller, candidates: Sequence[Organization]
) -> list[Organization]:
    """Returns the candidates that the caller may see.

    Most callers see no applicants and no rejected organisations. Members on probation see no
    shelters except themselves.
    """
    if sees_inactive_members(caller):
        return [*candidates]
    hidden_ids = (
        set()
        if sees_shelters(tx, caller)
        else organizations.shelters(tx, [organization.id for organization in candidates])
        - {caller.organization_id}
    )
    return [
        organization
        for organization in candidates
        if organization.was_admitted and organization.id not in hidden_ids
    ]


def owner_of(tx: Transaction, caller: Caller, organization_id: str) -> Organization:
    """Returns the organisation that will own a new entry.

    This is the named organisation, or the caller's if none is named. Its row is locked, so that it
    can't change before the transaction ends. Raises NotFound if the organisation was never admitted
    or the caller may not act for it.
    """
    id = organization_id or caller.organization_id
    organization = _existing(
        organizations.fetch(tx, id, lock="SHARE") if is_id(id) and may_act_for(caller, id) else None
    )
    if not organization.was_admitted:
        raise NotFound
    return organization


def check_change(
    call: Call,
    mail: Keyring,
    organization_id: str,
    at: str = "",
    before: object = None,
    after: object = None,
    *more_fields: str,
) -> None:
    """Checks a change to data of a member, and notifies its managers of the change.

    Does nothing if the caller is of this organisation, if the organisation has no manager, or if an
    entry (`at`) stays as it was. The change may remove contact data, but not state it: see
    `check_contact`, which gets the arguments from `at` on.
    """
    is_unchanged = at and before == after
    if not is_unchanged and is_managed_by_others(call.tx, call.caller, organization_id):
        check_contact(at, before, after, *more_fields)
        notify_all_managers(call.tx, mail, organization_id, "entry_changed", call.clock.now())


def coordinator(tx: Transaction, caller: Caller, now: datetime) -> Coordinator:
    """Returns the caller as a coordinator who takes part in a step that needs two coordinators.

    Her account is locked.
    """
    lock_account(tx, caller)
    other_organizations = workers.coordinating_organizations(tx) - {caller.organization_id}
    return Coordinator(
        with_present_kin(tx, caller, now), caller.organization_id, bool(other_organizations)
    )


def notify_managers(
    tx: Transaction, mail: Keyring, organization: Organization, before: str, now: datetime
) -> None:
    """Notifies the managers if a step has changed the organisation's `stop`.

    Also ends the sessions of its workers if access is now stopped. `before`: the value of `stop`
    before the step.
    """
    if organization.stop == before:
        return
    if organization.stop:
        workers.end_sessions_of(tx, organization_id=organization.id)
    fact = {"": "member_reinstated", "held": "member_held", "suspended": "member_suspended"}[
        organization.stop
    ]
    notify_all_managers(tx, mail, organization.id, fact, now)


def lock(call: Call, id: str, etag: str) -> Organization:
    """Returns the organisation, locked, for a step in its life. Raises NotFound or Stale."""
    organization = _locked(call, id)
    check_etag(etag, _etag(organization, call))
    return organization


def save(
    call: Call,
    organization: Organization,
    refresh: Refresh,
    before: OrganizationEntry | None = None,
) -> None:
    """Stores a step in an organisation's life, and updates the search data of its services.

    `before`: the former entry; the differences from it are recorded in the history.
    """
    organizations.save(call.tx, organization)
    if before:
        _save_changes(call, organization, before)
    refresh(call.tx, organization.id)


def organization_message(organization: Organization, call: Call) -> pb.Organization:
    """Returns the organisation as the caller sees it."""
    is_own = organization.id == call.caller.organization_id
    return messages.organization(
        organization, viewer(call.caller).tier, now=call.clock.now(), is_own=is_own
    )


def _etag(organization: Organization, call: Call) -> str:
    return messages.organization_etag(organization, viewer(call.caller).tier)


def _save_changes(call: Call, organization: Organization, before: OrganizationEntry) -> None:
    changes = changes_of(before, organization.entry, worker_of(call.caller), call.clock.now())
    field_changes.save(call.tx, organization.id, organization.id, changes)


def _locked(call: Call, id: str) -> Organization:
    """Returns an organisation, locked.

    Raises NotFound if it does not exist, or if the caller may not act for it.
    """
    return _existing(
        organizations.fetch(call.tx, id, lock="UPDATE")
        if is_id(id) and may_act_for(call.caller, id)
        else None
    )


def _existing(organization: Organization | None) -> Organization:
    if organization is None:
        raise NotFound
    return organization
