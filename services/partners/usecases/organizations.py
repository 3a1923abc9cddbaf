"""What one may ask of organisations."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from chassis.db import Transaction
from chassis.errors import Conflict, NotFound
from chassis.ids import is_id, new_id
from chassis.tokens import Caller
from chassis.wire import Position, check_etag
from keys.sealing import Keyring
from services.partners import wire
from services.partners.domain.field_change import changes_of
from services.partners.domain.organization import Organization, OrganizationEntry, OrganizationStatus, OrganizationType
from services.partners.domain.suspension import Coordinator, SuspensionReason
from services.partners.store import field_changes, organizations, services, workers
from services.partners.usecases.independence import second
from services.partners.usecases.password_resets import tell_her
from services.partners.usecases.standing import may_act_for, sees_everything, sees_shelters, worker_of

_STEP = 5
"""Of persons at a member's services only a multiple of this is said, which tells of nobody who comes or goes."""


def create_organization(tx: Transaction, caller: Caller, now: datetime, entry: OrganizationEntry, *, id: str | None = None) -> Organization:
    """Registers a member, on probation."""
    organization = Organization.register(id or new_id(), entry, now, worker_of(caller))
    organizations.keep(tx, organization)
    return organization


def get_organization(tx: Transaction, caller: Caller, id: str) -> Organization:
    """One organisation, whatever has become of it: history names it. Who was not admitted is seen by those only who steer or check."""
    organization = _existing(organizations.fetch(tx, id) if is_id(id) else None)
    if not may_see(tx, caller, [organization]):
        raise NotFound
    return organization


def may_see(tx: Transaction, caller: Caller, every: Sequence[Organization]) -> list[Organization]:
    """Those of these organisations that exist for the caller: members, and for a member on probation no shelter but itself."""
    if sees_everything(caller):
        return [*every]
    hidden = set() if sees_shelters(tx, caller) else organizations.shelters(tx, [one.id for one in every]) - {caller.organization_id}
    return [one for one in every if one.is_member and one.id not in hidden]


def owner_of(tx: Transaction, caller: Caller, organization_id: str) -> Organization:
    """Whose something new is to be: the caller's own organisation if none is named, held so that it does not change meanwhile."""
    id = organization_id or caller.organization_id
    organization = _existing(organizations.fetch(tx, id, hold="SHARE") if is_id(id) and may_act_for(caller, id) else None)
    if not organization.is_member:
        raise NotFound
    return organization


def managers(tx: Transaction, id: str) -> list[str]:
    """Two who can act for an organisation, or as many as there are."""
    return workers.managers(tx, id)


def list_organizations(
    tx: Transaction,
    caller: Caller,
    size: int,
    after: Position | None = None,
    *,
    country: str = "",
    type: OrganizationType | None = None,
    status: OrganizationStatus | None = None,
    agreement_before: date | None = None,
    waits_for_second: bool = False,
) -> tuple[list[Organization], Position | None]:
    """A page by name, and where the next page goes on. Only coordinator and auditor see members that are not active, when agreements end, and what waits."""
    if (agreement_before or waits_for_second) and not sees_everything(caller):
        return [], None
    all_for = None if sees_everything(caller) else caller.organization_id
    return organizations.listed(
        tx,
        size,
        after,
        country=country,
        type=type,
        status=status,
        all_for=all_for,
        agreement_before=agreement_before,
        shelters_for=None if sees_everything(caller) or sees_shelters(tx, caller) else caller.organization_id,
        waits_for_second=waits_for_second,
    )


def list_hotlines(tx: Transaction) -> list[Organization]:
    """The lines of the campaign."""
    return organizations.hotlines(tx)


def update_organization(tx: Transaction, caller: Caller, now: datetime, id: str, etag: str, changes: Mapping[str, Any]) -> Organization:
    """Changes its entry."""
    organization = _held(tx, caller, id)
    check_etag(etag, wire.etag_of(organization), "organization.etag")
    before = organization.entry
    organization.change(changes, now)
    organizations.keep(tx, organization)
    field_changes.keep(tx, id, id, changes_of(before, organization.entry, worker_of(caller), now))
    if organization.entry.name != before.name:
        services.refresh_all_of(tx, id)
    return organization


def approve_organization(tx: Transaction, caller: Caller, now: datetime, id: str, etag: str) -> Organization:
    """Makes it a full member."""
    return live(tx, caller, now, id, etag, lambda one, time: one.approve(time, wire.today_at(one, time), _second(tx, caller, now)))


def propose_change(
    tx: Transaction, mail: Keyring, caller: Caller, now: datetime, id: str, etag: str, changes: Mapping[str, Any]
) -> Organization:
    """Proposes to change the network's fields of a member, whose managers hear of it at once by letters that `mail` seals."""
    organization = _held(tx, caller, id)
    check_etag(etag, wire.etag_of(organization), "organization.etag")
    organization.propose(changes, caller.id, now)
    organizations.keep(tx, organization)
    for manager in workers.all_managers(tx, organization.id):
        tell_her(tx, mail, manager, "entry_proposed", now)
    return organization


def confirm_change(tx: Transaction, caller: Caller, now: datetime, id: str, etag: str) -> Organization:
    """Agrees to what somebody else has proposed."""
    return live(tx, caller, now, id, etag, lambda organization, time: organization.confirm_change(second(tx, caller, now), time))


def drop_change(tx: Transaction, caller: Caller, now: datetime, id: str, etag: str) -> Organization:
    """Drops what was proposed."""
    return live(tx, caller, now, id, etag, Organization.drop_change)


def suspend_organization(
    tx: Transaction, mail: Keyring, caller: Caller, now: datetime, id: str, etag: str, reason: SuspensionReason | None, *, hold: bool
) -> Organization:
    """Proposes to end its access, agrees to it, or stops it for a day (`hold`). Not one's own: nobody would be left to take it back.

    Nor of an organisation of coordinators or auditors: their accounts are ended first, by two coordinators.
    """
    if id == caller.organization_id or workers.has_network_role(tx, id):
        raise Conflict("illegal_transition")
    by = coordinator(tx, caller, now)
    return _standing_step(tx, mail, caller, now, id, etag, lambda one, time: one.suspend(by, reason, time, hold=hold))


def reinstate_organization(tx: Transaction, mail: Keyring, caller: Caller, now: datetime, id: str, etag: str) -> Organization:
    """Proposes to take the suspension back, or agrees to it."""
    by = coordinator(tx, caller, now)
    return _standing_step(tx, mail, caller, now, id, etag, lambda one, time: one.reinstate(by, time, wire.today_at(one, time)))


def count_member_access(tx: Transaction, caller: Caller, now: datetime, id: str) -> tuple[dict[str, int], bool]:
    """Counts what of a member ends with its access, and says whether somebody could agree to that as the second coordinator."""
    _existing(organizations.fetch(tx, id) if is_id(id) else None)
    counts = organizations.access(tx, id, now)
    inside = counts["most_people_inside"]
    return counts | {"most_people_inside": -(-inside // _STEP) * _STEP}, coordinator(tx, caller, now).has_second


def coordinator(tx: Transaction, caller: Caller, now: datetime) -> Coordinator:
    """Returns the coordinator who asks for a step that takes two."""
    elsewhere = workers.coordinating_organizations(tx) - {caller.organization_id}
    return Coordinator(second(tx, caller, now), caller.organization_id, bool(elsewhere))


def tell_managers(tx: Transaction, mail: Keyring, organization: Organization, before: str, now: datetime) -> None:
    """Has its managers told by e-mail when its access ends or comes back, and ends its sessions when it ends. `before`: its `stop` of then."""
    if organization.stop == before:
        return
    if organization.stop:
        workers.end_sessions_of(tx, organization_id=organization.id)
    fact = {"": "member_reinstated", "held": "member_held", "suspended": "member_suspended"}[organization.stop]
    for manager in workers.all_managers(tx, organization.id):
        tell_her(tx, mail, manager, fact, now)


def _standing_step(
    tx: Transaction, mail: Keyring, caller: Caller, now: datetime, id: str, etag: str, step: Callable[[Organization, datetime], None]
) -> Organization:
    """A step after which its people may act no more, or again: its managers hear of it."""
    before = _held(tx, caller, id).stop
    organization = live(tx, caller, now, id, etag, step)
    tell_managers(tx, mail, organization, before, now)
    return organization


def live(
    tx: Transaction, caller: Caller, now: datetime, id: str, etag: str, step: Callable[[Organization, datetime], None]
) -> Organization:
    """A step in its life, by which its services are found or are not."""
    organization = _held(tx, caller, id)
    check_etag(etag, wire.etag_of(organization))
    before = organization.entry
    step(organization, now)
    organizations.keep(tx, organization)
    field_changes.keep(tx, id, id, changes_of(before, organization.entry, worker_of(caller), now))
    services.refresh_all_of(tx, id)
    return organization


def _second(tx: Transaction, caller: Caller, now: datetime) -> Caller | None:
    """The person who asks; nobody where the network is being set up."""
    return second(tx, caller, now) if caller.kind == "worker" else None


def _held(tx: Transaction, caller: Caller, id: str) -> Organization:
    """Held to be changed; one that is not the caller's looks like one that does not exist."""
    return _existing(organizations.fetch(tx, id, hold="UPDATE") if is_id(id) and may_act_for(caller, id) else None)


def _existing(organization: Organization | None) -> Organization:
    if organization is None:
        raise NotFound
    return organization
