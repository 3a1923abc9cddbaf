"""Invitations: a person is invited, gets a link at her own address, and chooses her password.

Nobody else ever sees the link or the password, except for a link on paper.
"""

import secrets
from dataclasses import replace
from datetime import datetime

from chassis.audit import Entry
from chassis.db import Transaction
from chassis.errors import Conflict, Invalid, NotAllowed, NotFound, Unauthenticated
from chassis.ids import is_id, new_id
from chassis.rpc import Call
from keys.sealing import Keyring
from protos.partners.v1 import members_pb2 as pb
from services.partners.members.domain.invitation import Invitation
from services.partners.members.domain.network_roles import contains_network_role
from services.partners.members.domain.organization import OrganizationStatus
from services.partners.members.domain.worker import Role, Worker, WorkerEntry, WorkerStatus
from services.partners.members.store import invitations, organizations, workers
from services.partners.members.usecases.api_keys import limit_keys_of, revoke_keys_of
from services.partners.members.usecases.credentials import Credentials
from services.partners.members.usecases.independence import note_sign_in_device, with_present_kin
from services.partners.members.usecases.passwords import check_new_password, hash_of, mark_of
from services.partners.members.usecases.standing import lock_account
from services.partners.members.wire import messages


class Invitations:
    """Handles the rpcs for invitations, and for the list of network roles."""

    def __init__(self, mail: Keyring, paper_url: str, credentials: Credentials) -> None:
        """Sets up the handlers; `mail` seals e-mails.

        `paper_url`: the beginning of links on paper; "" in a network that sends e-mail.
        """
        self._mail = mail
        self._paper_url = paper_url
        self._credentials = credentials

    def CreateInvitation(self, request: pb.CreateInvitationRequest, call: Call) -> pb.Invitation:
        """Invites a person to the caller's organisation, or the first manager of another member.

        Does not check whether the address has an account. Returns the invitation; if it is on paper
        and does not wait for a second coordinator, its link is included.
        """
        tx = call.tx
        caller = call.caller
        now = call.clock.now()
        entry = messages.invitation_entry(request.invitation)
        owner = request.invitation.organization_id or caller.organization_id
        for_own_organization = owner == caller.organization_id
        # The lock orders steps on the same organisation: an invitation sees every other invitation
        # or account that is made at the same moment.
        organization = (
            organizations.fetch(tx, owner, lock="UPDATE")
            if is_id(owner) and (for_own_organization or caller.has("COORDINATOR"))
            else None
        )
        if organization is None:
            raise NotFound
        entry.check()
        entry.check_given_by(caller.roles, for_own_organization=for_own_organization)
        if not organization.is_active:
            raise Conflict("illegal_transition")
        entry.check_delivery(by_email=not self._paper_url)
        if not for_own_organization:
            organization.check_inviter(with_present_kin(tx, caller, now))
            if workers.has_manager(tx, owner):
                raise Conflict("manager_exists")
        recent_count = invitations.count_recent(tx, owner, now)
        invitation = Invitation.create(
            new_id(),
            owner,
            entry,
            now,
            first_manager=not for_own_organization,
            worker_id=caller.id,
            recent_count=recent_count,
        )
        account = lock_account(tx, caller)
        if account and not invitation.may_come_from(account.entry.roles):
            raise NotAllowed("right_missing")  # her token states a role that she no longer has
        for other in invitations.replaced_by(tx, invitation, now):
            other.replace(now)
            invitations.save(tx, other)
        waits, token = invitation.waits(now), secrets.token_urlsafe(32)
        # Nobody gets this token if the invitation waits: the confirmation makes a new token.
        invitations.add(
            tx, invitation, mark_of(token), b"" if waits else self._letter(invitation, token)
        )
        on_paper = ("on_paper",) if self._paper_url and not waits else ()
        call.trail.append(
            Entry("invitation_create", invitation.id, detail_codes=(*entry.roles, *on_paper))
        )
        return messages.invitation(invitation) if waits else self._message(invitation, token)

    def ConfirmInvitation(self, request: pb.ConfirmInvitationRequest, call: Call) -> pb.Invitation:
        """Records a second coordinator's agreement to an invitation with a network role.

        Returns the invitation; if it is on paper, its link is included.
        """
        tx, now, id = call.tx, call.clock.now(), request.id
        unlocked_invitation = invitations.fetch(tx, id) if is_id(id) else None
        if unlocked_invitation is None or not contains_network_role(
            unlocked_invitation.entry.roles
        ):
            raise NotFound
        organizations.fetch(tx, unlocked_invitation.organization_id, lock="UPDATE")
        invitation = invitations.fetch(tx, id) or unlocked_invitation
        invitation.confirm(with_present_kin(tx, call.caller, now), call.caller.organization_id, now)
        token = secrets.token_urlsafe(32)
        invitations.set_token(tx, id, mark_of(token))
        invitations.save(tx, invitation, self._letter(invitation, token))
        call.trail.append(
            Entry("invitation_confirm", invitation.id, detail_codes=invitation.entry.roles)
        )
        return self._message(invitation, token)

    def ListNetworkRoles(
        self, request: pb.ListNetworkRolesRequest, call: Call
    ) -> pb.ListNetworkRolesResponse:
        """Lists the active accounts with a network role.

        Also lists invitations with such a role that wait for a second coordinator.
        """
        return pb.ListNetworkRolesResponse(
            workers=map(messages.worker, workers.with_network_role(call.tx)),
            invitations=map(messages.invitation, invitations.waiting(call.tx, call.clock.now())),
        )

    def ListInvitations(
        self, request: pb.ListInvitationsRequest, call: Call
    ) -> pb.ListInvitationsResponse:
        """Lists the open invitations of the caller's organisation.

        Also lists invitations that wait for a second coordinator.
        """
        pending = invitations.open_of(call.tx, call.caller.organization_id, call.clock.now())
        return pb.ListInvitationsResponse(invitations=map(messages.invitation, pending))

    def RevokeInvitation(self, request: pb.RevokeInvitationRequest, call: Call) -> pb.Invitation:
        """Revokes an invitation of the caller's organisation, even if another worker made it."""
        organizations.fetch(call.tx, call.caller.organization_id, lock="UPDATE")
        invitation = invitations.fetch(call.tx, request.id) if is_id(request.id) else None
        if invitation is None or invitation.organization_id != call.caller.organization_id:
            raise NotFound
        invitation.revoke(call.clock.now())
        invitations.save(call.tx, invitation)
        call.trail.append(Entry("invitation_revoke", invitation.id))
        return messages.invitation(invitation)

    def AcceptInvitation(
        self, request: pb.AcceptInvitationRequest, call: Call
    ) -> pb.AcceptInvitationResponse:
        """Creates the invited person's account, or renews it.

        A caller without a valid link learns only that the link is not valid.
        """
        if not request.token:
            raise Invalid(("token", "required"))
        tx = call.tx
        now = call.clock.now()
        name = request.name.strip()
        mark = mark_of(request.token)
        unlocked_invitation = invitations.by_token(tx, mark)
        organization = (
            organizations.fetch(tx, unlocked_invitation.organization_id, lock="UPDATE")
            if unlocked_invitation
            else None
        )
        # fetched again, now that nobody else can accept or replace the invitation
        invitation = invitations.by_token(tx, mark)
        if organization is None or invitation is None or not invitation.is_open(now):
            raise Unauthenticated("invitation_invalid")
        inviter = workers.fetch(tx, invitation.invited_by_worker_id)
        if (
            not organization.is_active
            or inviter is None
            or not workers.is_in_good_standing(tx, inviter.id, inviter.organization_id)
        ):
            raise Unauthenticated("invitation_invalid")
        if invitation.first_manager and workers.has_manager(tx, organization.id):
            raise Conflict("manager_exists")
        check_new_password(
            request.password, (name, invitation.entry.email, organization.entry.name)
        )
        worker = _register_or_renew(tx, now, self._credentials, invitation, name, request.password)
        note_sign_in_device(tx, worker.id, call.origin.device, now)
        invitation.accept(now)
        invitations.save(tx, invitation)
        _revoke_invitations_beyond_roles(tx, worker, now)
        call.trail += [
            Entry("invitation_accept", invitation.id),
            Entry("worker_create", worker.id, detail_codes=worker.entry.roles),
        ]
        return pb.AcceptInvitationResponse()

    def _letter(self, invitation: Invitation, token: str) -> bytes:
        """Returns the sealed e-mail; b"" in a network that sends no e-mail."""
        return (
            b""
            if self._paper_url
            else self._mail.seal_bytes(
                messages.letter(invitation, token), f"invitations/{invitation.id}/letter"
            )
        )

    def _message(self, invitation: Invitation, token: str) -> pb.Invitation:
        message = messages.invitation(invitation)
        message.link = f"{self._paper_url}/invitation#{token}" if self._paper_url else ""
        return message


def _register_or_renew(
    tx: Transaction,
    now: datetime,
    credentials: Credentials,
    invitation: Invitation,
    name: str,
    password: str,
) -> Worker:
    """Registers a new account, or renews the invited person's account in the organisation.

    Renewal gives access back to a worker who forgot her password or was suspended. An account in an
    organisation that has left for good does not keep its address: the organisation may be admitted
    again, and its people may work for another organisation.
    """
    invited_entry = invitation.entry
    entry = WorkerEntry(name, invited_entry.email, invited_entry.roles, invited_entry.language)
    account = workers.by_email(tx, invited_entry.email, lock=True)
    if (
        account
        and organizations.status_of(tx, account[0].organization_id) is OrganizationStatus.LEFT
    ):
        workers.release_address(tx, account[0].id)
        account = None
    if account is None:
        worker = Worker.register(new_id(), invitation.organization_id, entry, now)
        if not workers.add(tx, worker, hash_of(password), invitation.invited_by_worker_id):
            raise Conflict("email_taken")
        return worker
    worker = account[0]
    if worker.organization_id != invitation.organization_id:
        raise Conflict("email_taken")
    # one person alone can invite, so an invitation must not take away a network role
    if contains_network_role(worker.entry.roles) and not contains_network_role(invited_entry.roles):
        raise Unauthenticated("invitation_invalid")
    if (
        worker.status is WorkerStatus.SUSPENDED and worker.update_time >= invitation.create_time
    ):  # an invitation older than the suspension must not let her in again
        raise Unauthenticated("invitation_invalid")
    worker.renew(replace(entry, email=worker.entry.email), now)
    workers.renew(tx, worker, hash_of(password), invitation.invited_by_worker_id)
    credentials.end_all(tx, worker.id, now)
    if Role.MANAGER not in entry.roles:  # a key needs a manager who is responsible for it
        revoke_keys_of(tx, now, worker.id)
    else:
        limit_keys_of(tx, now, worker)
    return worker


def _revoke_invitations_beyond_roles(tx: Transaction, worker: Worker, now: datetime) -> None:
    """Revokes a renewed worker's invitations that her present roles do not allow her to make."""
    for invitation in invitations.by_inviter(tx, worker.id, worker.create_time, now, lock=True):
        if not invitation.may_come_from(worker.entry.roles):
            invitation.revoke(now)
            invitations.save(tx, invitation)
