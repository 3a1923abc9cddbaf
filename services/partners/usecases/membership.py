"""How an organisation becomes a member, stays one, and leaves: what is asked, seen, and watched by the clock."""

import secrets
from datetime import datetime, timedelta

from chassis import outbox
from chassis.db import Transaction
from chassis.errors import Conflict, NotFound
from chassis.guesses import Budget, Guesses, Origin
from chassis.ids import new_id
from chassis.local_time import latest_day
from chassis.tokens import Caller
from keys.sealing import Keyring
from protos.partners.v1 import directory_pb2 as pb
from services.partners import wire
from services.partners.domain.application import Application
from services.partners.domain.evidence import Evidence
from services.partners.domain.organization import Organization, OrganizationStatus, RejectionReason
from services.partners.domain.worker import same_email
from services.partners.store import applications, organizations, services, workers
from services.partners.usecases.organizations import coordinator, get_organization, live, tell_managers
from services.partners.usecases.passwords import mark_of
from services.partners.wire import facts

# A public form that writes, and sends a letter: few from one address, few to one mailbox, and no number for all, which anybody could use up.
OF_A_MAILBOX = Budget(3, timedelta(hours=1), timedelta(0))
OF_AN_ADDRESS = Budget(5, timedelta(hours=1), timedelta(0))
LINK_LIFE = timedelta(days=3)
ANSWERED_WITHIN = timedelta(days=14)
_UNANSWERED, _CONTACT_KEPT, _REJECTED_KEPT = timedelta(days=90), timedelta(days=180), timedelta(days=180)
_AT_ONCE = 200
_LETTERS = "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # none that is taken for another


def apply_for_membership(
    tx: Transaction, keyring: Keyring, mail: Keyring, guesses: Guesses, now: datetime, sent: pb.ApplyForMembershipRequest, origin: Origin
) -> str:
    """Has a letter sent to whoever applies; returns what to name the application by. Whether such an organisation is known is not even looked at.

    Raises Exhausted too_many_attempts for the address or the mailbox.
    """
    Organization.apply(new_id(), wire.applicant(sent), now)  # refuses what is wrong
    letter_to = sent.contact_email.strip()
    guesses.count(same_email(letter_to), origin, now)
    id, token = new_id(), secrets.token_urlsafe(32)
    reference = "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(2))
    applications.request(tx, keyring, id, mark_of(token), reference, sent.SerializeToString(), now + LINK_LIFE, now)
    letter = mail.seal_bytes(wire.application_letter(letter_to, token, sent.language), f"applications/{id}/letter")
    outbox.keep(tx, [facts.application_fact(id, letter, now + LINK_LIFE, now)])
    return reference


def confirm_application(tx: Transaction, keyring: Keyring, now: datetime, token: str) -> str:
    """Has an application count whose letter was read; returns its reference. Raises NotFound for a link that is good for nothing."""
    taken = applications.take_request(tx, keyring, mark_of(token), now)
    if taken is None:
        raise NotFound
    reference, sent = taken
    request = pb.ApplyForMembershipRequest.FromString(sent)
    organization = Organization.apply(new_id(), wire.applicant(request), now)
    organizations.keep(tx, organization)
    applications.add(tx, keyring, organization.id, wire.applied(request, reference, now))
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
    return live(tx, caller, now, id, etag, lambda one, time: one.record(seen, time, wire.today_at(one, time)))


def leave_organization(tx: Transaction, caller: Caller, now: datetime, id: str, etag: str) -> Organization:
    """Ends a membership: its own manager alone, the coordination by two coordinators, of whom the first only proposes it.

    Not of the coordination: nobody would be left to answer for the network.
    """
    by = None if caller.kind == "system" or caller.organization_id == id else coordinator(tx, caller, now)
    organization = live(tx, caller, now, id, etag, lambda one, time: one.leave(time, by))
    if workers.has_coordinator(tx, id):
        raise Conflict("illegal_transition")
    if organization.status is OrganizationStatus.LEFT:
        workers.end_sessions_of(tx, organization_id=id)
        applications.erase(tx, id)
    return organization


def end_holds(tx: Transaction, mail: Keyring, now: datetime) -> int:
    """Ends holds and proposed suspensions to which no second coordinator agreed in time; managers hear that they are back."""
    over = organizations.with_suspension_over(tx, now, _AT_ONCE)
    for organization in over:
        before = organization.stop
        organization.watch_suspension(now, wire.today_at(organization, now))
        organizations.keep(tx, organization)
        if organization.stop != before:
            services.refresh_all_of(tx, organization.id)
        tell_managers(tx, mail, organization, before, now)
    return len(over)


def watch_membership(tx: Transaction, now: datetime) -> int:
    """What time does: agreements end, and are warned of; what nobody answered is turned away, and what nobody needs forgotten."""
    changed = 0
    for organization in organizations.whose_agreement_ends(tx, latest_day(now), _AT_ONCE):
        before, warned = organization.status, organization.warned_days
        organization.watch_agreement(now, wire.today_at(organization, now))
        if (organization.status, organization.warned_days) == (before, warned):
            continue  # it is the day before yet, at its place
        organizations.keep(tx, organization)
        if organization.status is not before:
            services.refresh_all_of(tx, organization.id)
        changed += 1
    for organization in organizations.unanswered(tx, now - _UNANSWERED, _AT_ONCE):
        organization.reject(RejectionReason.UNANSWERED, now)
        organizations.keep(tx, organization)
        changed += 1
    changed += applications.forget_requests(tx, now)
    return changed + applications.forget(tx, now - _CONTACT_KEPT) + organizations.forget_rejected(tx, now - _REJECTED_KEPT)
