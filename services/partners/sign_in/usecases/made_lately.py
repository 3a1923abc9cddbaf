"""The lasting results of an account's sessions since a given time, to be listed and ended.

The list helps a worker who fears that another person used her account.
"""

from datetime import datetime, timedelta

from chassis.audit import Entry
from chassis.errors import Invalid
from chassis.rpc import Call
from chassis.tokens import Caller
from chassis.wire import EnumCodec, moment, timestamp
from keys.sealing import Keyring
from protos.partners.v1 import accounts_pb2 as pb
from services.partners.members.domain.network_roles import contains_network_role
from services.partners.members.domain.worker import Role, Worker
from services.partners.members.store import api_keys, invitations, organizations, workers
from services.partners.members.usecases.lasting import notify_of_lasting_step
from services.partners.members.usecases.workers import suspend
from services.partners.sign_in.domain.made_lately import LastingResult, MadeKind
from services.partners.sign_in.store import passkeys, second_factors, sign_in_providers
from services.partners.sign_in.usecases.credentials import SignInCredentials

LONGEST_PERIOD = timedelta(days=366)
_KINDS = EnumCodec(pb.MadeKind, MadeKind)


class MadeLately:
    """Handles the rpcs for the lasting results of an account's sessions."""

    def __init__(self, mail: Keyring) -> None:
        """Sets up the handlers; `mail` seals e-mails."""
        self._mail = mail

    def ListMadeLately(
        self, request: pb.ListMadeLatelyRequest, call: Call
    ) -> pb.ListMadeLatelyResponse:
        """Lists the lasting results since the requested time, newest first."""
        return pb.ListMadeLatelyResponse(
            made=[
                pb.MadeLately(
                    id=item.id,
                    kind=_KINDS.number(item.kind),
                    create_time=timestamp(item.create_time),
                    label=item.label,
                    can_end=item.can_end,
                )
                for item in _results(call, _since(request))
            ]
        )

    def EndMadeLately(
        self, request: pb.EndMadeLatelyRequest, call: Call
    ) -> pb.EndMadeLatelyResponse:
        """Ends the named results that `ListMadeLately` lists and that the worker can end.

        The worker and her managers are notified if an app or a passkey was removed.
        """
        if not request.ids:
            raise Invalid(("ids", "required"))
        results = [
            item
            for item in _results(call, _since(request))
            if item.id in request.ids and item.can_end
        ]
        for result in results:
            _end(call, result)
        if any(item.kind in (MadeKind.SECOND_FACTOR, MadeKind.PASSKEY) for item in results):
            notify_of_lasting_step(call, self._mail, "sign_in_changed")
        call.trail += [
            Entry("made_lately_end", item.id, detail_codes=(item.kind,)) for item in results
        ] or [Entry("made_lately_end", call.caller.id)]
        return pb.EndMadeLatelyResponse(ended=len(results))


def _since(request: pb.ListMadeLatelyRequest | pb.EndMadeLatelyRequest) -> datetime:
    since = moment(request, "since_time")
    if since is None:
        raise Invalid(("since_time", "required"))
    return since


def _results(call: Call, since: datetime) -> list[LastingResult]:
    tx, caller, now = call.tx, call.caller, call.clock.now()
    if since < now - LONGEST_PERIOD:
        raise Invalid(("since_time", "out_of_range"))
    results = [
        LastingResult(
            key.id,
            MadeKind.API_KEY,
            key.create_time if key.create_time >= since else key.update_time,
            key.entry.label,
        )
        for key in api_keys.decided_by(tx, caller.id, since, now)
    ]
    results += [
        LastingResult(item.id, MadeKind.INVITATION, item.create_time, item.entry.email)
        for item in invitations.by_inviter(tx, caller.id, since, now)
    ]
    results += [
        LastingResult(
            worker.id,
            MadeKind.ACCOUNT,
            time,
            worker.entry.email,
            _may_suspend(caller, worker, since),
        )
        for worker, time in workers.invited_by(tx, caller.id, since)
    ]
    results += [
        LastingResult(
            provider.id,
            MadeKind.SIGN_IN_PROVIDER,
            provider.proposal.time,
            provider.proposal.entry.issuer,
        )
        for provider in sign_in_providers.proposed_by(tx, caller.id)
        if provider.proposal and provider.proposal.time >= since
    ]
    factor = second_factors.get(tx, caller.id)
    if factor and factor.confirm_time and factor.confirm_time >= since:
        results.append(LastingResult(caller.id, MadeKind.SECOND_FACTOR, factor.confirm_time))
    results += [
        LastingResult(item.id, MadeKind.PASSKEY, item.create_time, item.label)
        for item in passkeys.by_worker(tx, caller.id)
        if item.create_time >= since
    ]
    return sorted(results, key=lambda item: (item.create_time, item.id), reverse=True)


def _end(call: Call, result: LastingResult) -> None:
    tx, caller, now = call.tx, call.caller, call.clock.now()
    match result.kind:
        case MadeKind.API_KEY:
            if key := api_keys.fetch(tx, result.id, lock=True):
                key[0].revoke(now)
                api_keys.save(tx, key[0])
        case MadeKind.INVITATION:
            invitation = invitations.fetch(tx, result.id)
            if invitation and organizations.fetch(tx, invitation.organization_id, lock="UPDATE"):
                # fetched again, now that nobody else can accept the invitation
                invitation = invitations.fetch(tx, result.id) or invitation
                if invitation.is_open(now) or invitation.waits(now):
                    invitation.revoke(now)
                    invitations.save(tx, invitation)
        case MadeKind.ACCOUNT:
            suspend(call, SignInCredentials(), result.id)
        case MadeKind.SIGN_IN_PROVIDER:
            provider = sign_in_providers.fetch(tx, id=result.id, lock=True)
            if provider and provider.proposal and provider.proposal.worker_id == caller.id:
                provider.object()
                sign_in_providers.save(tx, provider)
        case MadeKind.SECOND_FACTOR:
            second_factors.end(tx, caller.id)
        case MadeKind.PASSKEY:
            passkeys.delete(tx, caller.id, result.id)


def _may_suspend(caller: Caller, worker: Worker, since: datetime) -> bool:
    """Returns whether the caller may suspend the account.

    An account older than `since` belongs to another person, about whom managers decide.
    """
    if worker.create_time < since:
        return False
    if contains_network_role(worker.entry.roles):
        return caller.has(Role.COORDINATOR) and not worker.suspension_proposed_by_worker_id
    return caller.has(Role.MANAGER) and worker.organization_id == caller.organization_id
