"""How an account comes about: somebody is invited, gets a link at her own address, and chooses her own password. Nobody else ever has either."""

import secrets
from dataclasses import replace
from datetime import datetime

from chassis.db import Transaction
from chassis.errors import Conflict, NotFound, Unauthenticated
from chassis.ids import is_id, new_id
from chassis.tokens import Caller
from keys.sealing import Keyring
from services.partners import wire
from services.partners.domain.invitation import Invitation, InvitationEntry
from services.partners.domain.network_roles import are_of_the_network
from services.partners.domain.worker import Role, Worker, WorkerEntry, WorkerStatus
from services.partners.store import invitations, organizations, passkeys, second_factors, sign_in_providers, workers
from services.partners.usecases.api_keys import revoke_keys_of
from services.partners.usecases.independence import note_entry, second
from services.partners.usecases.password_resets import end_link
from services.partners.usecases.passwords import check_new, hashed, mark_of


def create_invitation(
    tx: Transaction, caller: Caller, now: datetime, mail: Keyring | None, organization_id: str, entry: InvitationEntry
) -> tuple[Invitation, str]:
    """Invites somebody to the own organisation, or the first manager to another. Whether the address has an account is not even looked at.

    `mail` seals her letter; None: the network sends none. Returns the invitation, and for one on paper the secret of its link.
    """
    owner = organization_id or caller.organization_id
    own = owner == caller.organization_id
    # Held, so that of two invitations, or of an invitation and an account, at the same moment each sees the other.
    organization = organizations.fetch(tx, owner, hold="UPDATE") if is_id(owner) and (own or caller.has("COORDINATOR")) else None
    if organization is None:
        raise NotFound
    entry.check()
    entry.check_given_by(caller.roles, own=own)
    if not organization.is_active:
        raise Conflict("illegal_transition")
    entry.check_reaches_her(by_email=mail is not None)
    if not own:
        organization.check_invited_by(second(tx, caller, now))
        if workers.has_manager(tx, owner):
            raise Conflict("manager_exists")
    recent = invitations.count_recent(tx, owner, now)
    invitation = Invitation.create(new_id(), owner, entry, now, first_manager=not own, worker_id=caller.id, recent=recent)
    for other in invitations.replaced_by(tx, invitation, now):
        other.replace(now)
        invitations.keep(tx, other)
    token = secrets.token_urlsafe(32)
    if invitation.waits(now):  # its token is nobody's: another one goes out
        invitations.add(tx, invitation, mark_of(token), b"")
        return invitation, ""
    invitations.add(tx, invitation, mark_of(token), _letter(mail, invitation, token))
    return invitation, "" if mail else token


def confirm_invitation(tx: Transaction, caller: Caller, now: datetime, mail: Keyring | None, id: str) -> tuple[Invitation, str]:
    """Agrees to one with a role of the network as a second coordinator. Returns it, and the secret of its link where it is on paper."""
    unlocked_invitation = invitations.fetch(tx, id) if is_id(id) else None
    if unlocked_invitation is None or not are_of_the_network(unlocked_invitation.entry.roles):
        raise NotFound
    organizations.fetch(tx, unlocked_invitation.organization_id, hold="UPDATE")
    invitation = invitations.fetch(tx, id) or unlocked_invitation
    invitation.confirm(second(tx, caller, now), caller.organization_id, now)
    token = secrets.token_urlsafe(32)
    invitations.set_token(tx, id, mark_of(token))
    invitations.keep(tx, invitation, _letter(mail, invitation, token))
    return invitation, "" if mail else token


def waiting_invitations(tx: Transaction, now: datetime) -> list[Invitation]:
    """Those with a role of the network that wait for a second coordinator."""
    return invitations.waiting(tx, now)


def _letter(mail: Keyring | None, invitation: Invitation, token: str) -> bytes:
    return mail.seal_bytes(wire.letter(invitation, token), f"invitations/{invitation.id}/letter") if mail else b""


def list_invitations(tx: Transaction, caller: Caller, now: datetime) -> list[Invitation]:
    """The own organisation's that can be accepted."""
    return invitations.open_of(tx, caller.organization_id, now)


def revoke_invitation(tx: Transaction, caller: Caller, now: datetime, id: str) -> Invitation:
    """Ends one of the own organisation's, whoever made it."""
    organizations.fetch(tx, caller.organization_id, hold="UPDATE")
    invitation = invitations.fetch(tx, id) if is_id(id) else None
    if invitation is None or invitation.organization_id != caller.organization_id:
        raise NotFound
    invitation.revoke(now)
    invitations.keep(tx, invitation)
    return invitation


def accept_invitation(tx: Transaction, now: datetime, token: str, name: str, password: str, device: str = "") -> tuple[Invitation, Worker]:
    """Opens the account. Only who has the link learns more than that it is good for nothing. `device`: the secret by which hers is known again."""
    mark = mark_of(token)
    unlocked_invitation = invitations.by_token(tx, mark)
    organization = organizations.fetch(tx, unlocked_invitation.organization_id, hold="UPDATE") if unlocked_invitation else None
    invitation = invitations.by_token(tx, mark)  # again, now that nobody else can accept or replace it
    if organization is None or invitation is None or not invitation.is_open(now):
        raise Unauthenticated("invitation_invalid")
    inviter = workers.fetch(tx, invitation.invited_by_worker_id)
    if not organization.is_active or inviter is None or not workers.is_in_good_standing(tx, inviter.id, inviter.organization_id):
        raise Unauthenticated("invitation_invalid")
    if invitation.first_manager and workers.has_manager(tx, organization.id):
        raise Conflict("manager_exists")
    check_new(password, (name, invitation.entry.email, organization.entry.name))
    worker = _account(tx, now, invitation, name, password)
    note_entry(tx, worker.id, device, now)
    invitation.accept(now)
    invitations.keep(tx, invitation)
    return invitation, worker


def _account(tx: Transaction, now: datetime, invitation: Invitation, name: str, password: str) -> Worker:
    """A new one, or her own of the same organisation begun anew: how somebody who forgot her password, or was suspended, comes back."""
    asked = invitation.entry
    entry = WorkerEntry(name, asked.email, asked.roles, asked.language)
    known = workers.by_email(tx, asked.email, hold=True)
    if known is None:
        worker = Worker.register(new_id(), invitation.organization_id, entry, now)
        if not workers.add(tx, worker, hashed(password), invitation.invited_by_worker_id):
            raise Conflict("email_taken")
        return worker
    worker = known[0]
    if worker.organization_id != invitation.organization_id:
        raise Conflict("email_taken")
    if are_of_the_network(worker.entry.roles) and not are_of_the_network(asked.roles):  # nobody alone takes such a role away
        raise Unauthenticated("invitation_invalid")
    if (
        worker.status is WorkerStatus.SUSPENDED and worker.update_time >= invitation.create_time
    ):  # who suspended her did not mean to let her in again
        raise Unauthenticated("invitation_invalid")
    worker.renew(replace(entry, email=worker.entry.email), now)
    workers.renew(tx, worker, hashed(password), invitation.invited_by_worker_id)
    end_link(tx, worker.id, now)
    second_factors.end(tx, worker.id)  # her phone may be what she lost
    passkeys.end(tx, worker.id)
    workers.end_sessions_of(tx, worker_id=worker.id)
    sign_in_providers.forget_account(tx, worker.id)
    if Role.MANAGER not in entry.roles:  # API keys stand with managers
        revoke_keys_of(tx, now, worker.id)
    return worker
