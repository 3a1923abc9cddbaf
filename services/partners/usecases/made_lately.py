"""What an account made since a day and what outlasts its sessions: listed and ended, for who fears that somebody else used her account."""

from datetime import datetime, timedelta

from chassis.db import Transaction
from chassis.errors import Invalid
from chassis.tokens import Caller
from keys.sealing import Keyring
from services.partners.domain.made_lately import Made, MadeKind
from services.partners.domain.network_roles import are_of_the_network
from services.partners.domain.worker import Role, Worker
from services.partners.store import api_keys, invitations, organizations, passkeys, second_factors, sign_in_providers, workers
from services.partners.usecases.lasting import notify_of_lasting
from services.partners.usecases.workers import suspend_worker

LONGEST = timedelta(days=366)


def list_made(tx: Transaction, caller: Caller, now: datetime, since: datetime) -> list[Made]:
    """Returns what the caller made since then, the newest first."""
    if since < now - LONGEST:
        raise Invalid(("since_time", "out_of_range"))
    made = [
        Made(key.id, MadeKind.API_KEY, key.create_time if key.create_time >= since else key.update_time, key.entry.label)
        for key in api_keys.decided_by(tx, caller.id, since, now)
    ]
    made += [
        Made(each.id, MadeKind.INVITATION, each.create_time, each.entry.email) for each in invitations.by_inviter(tx, caller.id, since, now)
    ]
    made += [
        Made(worker.id, MadeKind.ACCOUNT, time, worker.entry.email, _may_suspend(caller, worker, since))
        for worker, time in workers.invited_by(tx, caller.id, since)
    ]
    made += [
        Made(provider.id, MadeKind.SIGN_IN_PROVIDER, provider.proposal.time, provider.proposal.entry.issuer)
        for provider in sign_in_providers.proposed_by(tx, caller.id, since)
        if provider.proposal
    ]
    factor = second_factors.get(tx, caller.id)
    if factor and factor.confirm_time and factor.confirm_time >= since:
        made.append(Made(caller.id, MadeKind.SECOND_FACTOR, factor.confirm_time))
    made += [
        Made(each.id, MadeKind.PASSKEY, each.create_time, each.label) for each in passkeys.of(tx, caller.id) if each.create_time >= since
    ]
    return sorted(made, key=lambda each: (each.create_time, each.id), reverse=True)


def end_made(tx: Transaction, mail: Keyring, caller: Caller, now: datetime, since: datetime, ids: frozenset[str]) -> list[Made]:
    """Ends those of what `list_made` returns that have these ids; returns them. Her managers hear of a code or passkey that was taken off."""
    ended = [each for each in list_made(tx, caller, now, since) if each.id in ids and each.can_end]
    for made in ended:
        _end(tx, caller, now, made)
    if any(each.kind in (MadeKind.SECOND_FACTOR, MadeKind.PASSKEY) for each in ended):
        notify_of_lasting(tx, mail, caller, now, "sign_in_changed")
    return ended


def _end(tx: Transaction, caller: Caller, now: datetime, made: Made) -> None:
    match made.kind:
        case MadeKind.API_KEY:
            if key := api_keys.fetch(tx, made.id, hold=True):
                key[0].revoke(now)
                api_keys.keep(tx, key[0])
        case MadeKind.INVITATION:
            invitation = invitations.fetch(tx, made.id)
            if invitation and organizations.fetch(tx, invitation.organization_id, hold="UPDATE"):
                invitation = invitations.fetch(tx, made.id) or invitation  # again, now that nobody else can accept it
                if invitation.is_open(now) or invitation.waits(now):
                    invitation.revoke(now)
                    invitations.keep(tx, invitation)
        case MadeKind.ACCOUNT:
            suspend_worker(tx, caller, now, made.id)
        case MadeKind.SIGN_IN_PROVIDER:
            provider = sign_in_providers.fetch(tx, id=made.id, hold=True)
            if provider and provider.proposal and provider.proposal.worker_id == caller.id:
                provider.object()
                sign_in_providers.keep(tx, provider)
        case MadeKind.SECOND_FACTOR:
            second_factors.end(tx, caller.id)
        case MadeKind.PASSKEY:
            passkeys.end(tx, caller.id, made.id)


def _may_suspend(caller: Caller, worker: Worker, since: datetime) -> bool:
    """An account that was there before the day is somebody's, and its managers decide."""
    if worker.create_time < since:
        return False
    if are_of_the_network(worker.entry.roles):
        return caller.has(Role.COORDINATOR) and not worker.suspension_proposed_by_worker_id
    return caller.has(Role.MANAGER) and worker.organization_id == caller.organization_id
