"""How an organisation becomes a member, stays one, and leaves: what is asked, seen, and watched by the clock."""

import secrets
from dataclasses import replace
from datetime import datetime, timedelta

from chassis.db import Transaction
from chassis.errors import Conflict, Exhausted
from chassis.guesses import Budget, Guesses, Origin
from chassis.ids import new_id
from chassis.sealing import Keyring
from chassis.tokens import Caller
from services.partners.domain.application import Application
from services.partners.domain.evidence import Evidence
from services.partners.domain.organization import Organization, OrganizationEntry, RejectionReason
from services.partners.store import applications, organizations, services, workers
from services.partners.usecases.organizations import get_organization, live

# A public form that writes: few from one address, and in all no more than a coordination can read.
OF_ALL = Budget(100, timedelta(minutes=15), timedelta(0))
OF_AN_ADDRESS = Budget(5, timedelta(hours=1), timedelta(0))
MOST_OPEN = 300
ANSWERED_WITHIN = timedelta(days=14)
_UNANSWERED, _CONTACT_KEPT, _REJECTED_KEPT = timedelta(days=90), timedelta(days=180), timedelta(days=180)
_AT_ONCE = 200
_LETTERS = "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # none that is taken for another


def apply_for_membership(
    tx: Transaction, keyring: Keyring, guesses: Guesses, now: datetime, entry: OrganizationEntry, said: Application, origin: Origin
) -> str:
    """Notes an application; returns what to name it by. Whether such an organisation is known is not even looked at."""
    organization = Organization.apply(new_id(), entry, now)
    guesses.begin("", origin, now)  # counted, and never given back
    if organizations.count_applied(tx) >= MOST_OPEN:
        raise Exhausted("too_many_requests", timedelta(days=1).total_seconds())
    reference = "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(2))
    organizations.keep(tx, organization)
    applications.add(tx, keyring, organization.id, replace(said, reference=reference))
    return reference


def application_of(tx: Transaction, keyring: Keyring, caller: Caller, id: str) -> Application | None:
    """How one applied, as long as it is kept; for the coordination alone."""
    return applications.fetch(tx, keyring, get_organization(tx, caller, id).id) if caller.has("COORDINATOR") else None


def admit_organization(tx: Transaction, caller: Caller, now: datetime, id: str, etag: str) -> Organization:
    """Takes who applied on probation."""
    return live(tx, caller, now, id, etag, lambda organization, time: organization.admit(time, caller.id))


def reject_application(tx: Transaction, caller: Caller, now: datetime, id: str, etag: str, reason: RejectionReason) -> Organization:
    """Turns who applied away, and forgets whom it named."""
    organization = live(tx, caller, now, id, etag, lambda organization, time: organization.reject(reason, time))
    applications.erase(tx, id)
    return organization


def record_evidence(tx: Transaction, caller: Caller, now: datetime, id: str, etag: str, seen: Evidence) -> Organization:
    """Notes what the coordination has seen."""
    return live(tx, caller, now, id, etag, lambda organization, time: organization.record(seen, time))


def leave_organization(tx: Transaction, caller: Caller, now: datetime, id: str, etag: str) -> Organization:
    """Ends a membership. Not of the coordination: nobody would be left to answer for the network."""
    organization = live(tx, caller, now, id, etag, Organization.leave)
    if workers.has_coordinator(tx, id):
        raise Conflict("illegal_transition")
    workers.end_sessions_of(tx, organization_id=id)
    applications.erase(tx, id)
    return organization


def watch_membership(tx: Transaction, now: datetime) -> int:
    """What time does: agreements end, and are warned of; what nobody answered is turned away, and what nobody needs forgotten."""
    changed = 0
    for organization in organizations.whose_agreement_ends(tx, now.date(), _AT_ONCE):
        before = organization.status
        organization.watch_agreement(now)
        organizations.keep(tx, organization)
        if organization.status is not before:
            services.refresh_all_of(tx, organization.id)
        changed += 1
    for organization in organizations.unanswered(tx, now - _UNANSWERED, _AT_ONCE):
        organization.reject(RejectionReason.UNANSWERED, now)
        organizations.keep(tx, organization)
        changed += 1
    return changed + applications.forget(tx, now - _CONTACT_KEPT) + organizations.forget_rejected(tx, now - _REJECTED_KEPT)
