"""Workers' accounts, as their managers administer them.

Coordinators decide about accounts with a network role, and may reset the second factors of an
organisation's only manager.
"""

from datetime import datetime

from chassis.audit import Entry
from chassis.db import Transaction
from chassis.errors import Conflict, NotAllowed, NotFound
from chassis.ids import is_id, new_id
from chassis.rpc import Call
from chassis.tokens import Caller
from chassis.wire import PageTokens, check_etag, page_size, word
from keys.sealing import Keyring
from protos.partners.v1 import members_pb2 as pb
from services.partners.members.domain.network_roles import (
    check_second_coordinator,
    contains_network_role,
)
from services.partners.members.domain.suspension import PROPOSAL
from services.partners.members.domain.worker import (
    NETWORK_ROLES,
    Role,
    Worker,
    WorkerEntry,
    WorkerStatus,
    check_password,
)
from services.partners.members.store import invitations, organizations, workers
from services.partners.members.usecases.api_keys import revoke_keys_of
from services.partners.members.usecases.credentials import Credentials
from services.partners.members.usecases.independence import with_present_kin
from services.partners.members.usecases.lasting import notify_of_lasting_step
from services.partners.members.usecases.notices import notify_worker
from services.partners.members.usecases.passwords import hash_of
from services.partners.members.usecases.standing import lock_account
from services.partners.members.wire import messages
from services.partners.network.wire.messages import etag_of


class Workers:
    """Handles the rpcs for workers' accounts."""

    def __init__(self, mail: Keyring, pages: PageTokens, credentials: Credentials) -> None:
        """Sets up the handlers; `mail` seals e-mails."""
        self._mail = mail
        self._credentials = credentials
        self._pages = pages

    def ListWorkers(self, request: pb.ListWorkersRequest, call: Call) -> pb.ListWorkersResponse:
        """Returns a page of the caller's organisation's workers, sorted by name."""
        size = page_size(request.page_size, default=50, maximum=200)
        after = self._pages.cursor(request, str, str)
        page, next_cursor = workers.page_by_name(call.tx, call.caller.organization_id, size, after)
        return pb.ListWorkersResponse(
            workers=map(messages.worker, page),
            next_page_token=self._pages.token(request, next_cursor),
        )

    def SuspendWorker(self, request: pb.SuspendWorkerRequest, call: Call) -> pb.Worker:
        """Suspends an account, or records the first coordinator's proposal to suspend it.

        Notifies the worker of her suspension, as well as the caller and the managers.
        """
        worker = suspend(call, self._credentials, request.id, request.etag)
        if worker.status is WorkerStatus.SUSPENDED:
            notify_of_lasting_step(
                call, self._mail, "account_suspended", worker.organization_id, worker
            )
        reason = word(pb.WorkerSuspensionReason, request.reason, "reason")
        proposal_codes = ("proposed",) if worker.suspension_proposed_by_worker_id else ()
        call.trail.append(
            Entry(
                "worker_suspend",
                worker.id,
                detail_codes=(*((reason,) if reason else ()), *proposal_codes),
            )
        )
        return messages.worker(worker)

    def ResetSecondFactor(
        self, request: pb.ResetSecondFactorRequest, call: Call
    ) -> pb.ResetSecondFactorResponse:
        """Removes a worker's second factors, and notifies her.

        The response does not tell whether she had any.
        """
        tx, now, id = call.tx, call.clock.now(), request.id
        call.trail.append(Entry("second_factor_reset", id if is_id(id) else ""))
        worker = workers.fetch(tx, id, lock=True) if is_id(id) else None
        if worker is None:
            raise NotFound
        if worker.id == call.caller.id:
            raise Conflict("own_account")
        role = _role_for_reset(tx, call.caller, worker)
        if worker.status is not WorkerStatus.ACTIVE:
            raise Conflict("illegal_transition")
        if self._credentials.end_second_factors(tx, id, now):
            notify_worker(tx, self._mail, worker, "second_factor_removed", now, by_role=role)
        return pb.ResetSecondFactorResponse()


def create_worker(
    tx: Transaction, now: datetime, organization_id: str, entry: WorkerEntry, password: str
) -> Worker:
    """Registers a worker with her first password, when a network is founded.

    Every other worker is invited.
    """
    worker = Worker.register(new_id(), organization_id, entry, now)
    check_password(password)
    if not workers.add(tx, worker, hash_of(password)):
        raise Conflict("email_taken")
    return worker


def suspend(call: Call, credentials: Credentials, id: str, etag: str = "") -> Worker:
    """Suspends an account: its sessions end, its tokens are refused, and its keys are revoked.

    Its proposals that wait for a second person are dropped.

    If the account has a network role, the first coordinator only proposes the suspension.
    """
    tx, caller, now = call.tx, call.caller, call.clock.now()
    lock_account(tx, caller)
    worker = workers.fetch(tx, id, lock=True) if is_id(id) else None
    has_network_role = worker is not None and contains_network_role(worker.entry.roles)
    # Accounts of other members are excluded: a coordinator who could suspend a member's last
    # manager could then invite a manager of the coordinator's own choice.
    if worker is None or (
        worker.organization_id != caller.organization_id
        and not (has_network_role and caller.has(Role.COORDINATOR))
    ):
        raise NotFound
    if not caller.has(Role.COORDINATOR if has_network_role else Role.MANAGER):
        raise NotAllowed("right_missing")
    check_etag(etag, etag_of(worker), required=False)
    if has_network_role:
        proposer = workers.fetch(tx, worker.suspension_proposed_by_worker_id)
        if proposer is None or now >= worker.update_time + PROPOSAL:
            worker.propose_suspension(caller.id, now)
            workers.save_status(tx, worker)
            return worker
        check_second_coordinator(
            with_present_kin(tx, caller, now),
            caller.organization_id,
            proposer.id,
            proposer.organization_id,
        )
    worker.suspend(now)
    workers.save_status(tx, worker)
    workers.end_sessions_of(tx, worker_id=id)
    credentials.end_link(tx, id, now)
    revoke_keys_of(tx, now, id)
    # A decision needs two people who still have their accounts.
    for organization in organizations.with_proposal_of(tx, id):
        organization.drop_proposals_of(id, now)
        organizations.save(tx, organization)
    workers.drop_suspension_proposals(tx, now - PROPOSAL, id)
    for invitation in invitations.by_inviter(tx, id, worker.create_time, now, lock=True):
        invitation.revoke(now)
        invitations.save(tx, invitation)
    credentials.drop_provider_proposals(tx, id)
    return worker


def _role_for_reset(tx: Transaction, caller: Caller, worker: Worker) -> Role:
    """Returns the role that lets the caller reset the worker's second factors."""
    if caller.organization_id == worker.organization_id and caller.has(Role.MANAGER):
        # As with invitations: an account with a role that only the coordinators give must not
        # become easier to enter without the coordinators.
        if not NETWORK_ROLES.isdisjoint(worker.entry.roles) and not caller.has(Role.COORDINATOR):
            raise NotAllowed("right_missing")
        return Role.MANAGER
    if caller.has(Role.COORDINATOR) and workers.manager_ids(tx, worker.organization_id) == [
        worker.id
    ]:
        return Role.COORDINATOR
    raise NotFound
