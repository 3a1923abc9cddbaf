"""What managers, and where there is none beside her the coordination, may ask of accounts."""

from datetime import datetime

from chassis.db import Transaction
from chassis.errors import Conflict, NotAllowed, NotFound
from chassis.ids import is_id, new_id
from chassis.tokens import Caller
from chassis.wire import Position, check_etag
from keys.sealing import Keyring
from services.partners import wire
from services.partners.domain.network_roles import are_of_the_network, check_second_coordinator
from services.partners.domain.worker import NETWORK_ROLES, Role, Worker, WorkerEntry, WorkerStatus, check_password
from services.partners.store import passkeys, second_factors, workers
from services.partners.usecases.api_keys import revoke_keys_of
from services.partners.usecases.independence import second
from services.partners.usecases.password_resets import end_link, tell_her
from services.partners.usecases.passwords import hashed


def create_worker(tx: Transaction, now: datetime, organization_id: str, entry: WorkerEntry, password: str) -> Worker:
    """Registers a worker with a first password: for the beginning of a network, and for no caller. Everybody else is invited."""
    worker = Worker.register(new_id(), organization_id, entry, now)
    check_password(password)
    if not workers.add(tx, worker, hashed(password)):
        raise Conflict("email_taken")
    return worker


def list_workers(tx: Transaction, caller: Caller, size: int, after: Position | None) -> tuple[list[Worker], Position | None]:
    """A page of the own organisation's workers by name, and where the next page goes on."""
    return workers.listed(tx, caller.organization_id, size, after)


def suspend_worker(tx: Transaction, caller: Caller, now: datetime, id: str, etag: str = "") -> Worker:
    """Ends an account's use: its sessions are over, its tokens refused, and the keys that stand with it are revoked.

    Of whoever has a role of the network, the first coordinator who asks only proposes it.
    """
    worker = workers.fetch(tx, id, hold=True) if is_id(id) else None
    of_the_network = worker is not None and are_of_the_network(worker.entry.roles)
    # Nobody else's: a coordinator who could take a member's last manager away could invite one of his own.
    if worker is None or (
        caller.kind != "system"
        and worker.organization_id != caller.organization_id
        and not (of_the_network and caller.has(Role.COORDINATOR))
    ):
        raise NotFound
    if caller.kind != "system" and not caller.has(Role.COORDINATOR if of_the_network else Role.MANAGER):
        raise NotAllowed("right_missing")
    check_etag(etag, wire.etag_of(worker), required=False)
    if of_the_network and caller.kind != "system":
        first = workers.fetch(tx, worker.suspension_proposed_by_worker_id)
        if first is None:
            worker.propose_suspension(caller.id, now)
            workers.keep_status(tx, worker)
            return worker
        check_second_coordinator(second(tx, caller, now), caller.organization_id, first.id, first.organization_id)
    worker.suspend(now)
    workers.keep_status(tx, worker)
    workers.end_sessions_of(tx, worker_id=id)
    end_link(tx, id, now)
    revoke_keys_of(tx, now, id)
    return worker


def list_network_roles(tx: Transaction) -> list[Worker]:
    """Whoever has a role of the network, and an account that is in use."""
    return workers.of_the_network(tx)


def reset_second_factor(tx: Transaction, caller: Caller, now: datetime, mail: Keyring, id: str) -> None:
    """Takes off what her sign-in asks for beside the password. Whoever does learns nothing by it, not even whether there was anything; she is told."""
    worker = workers.fetch(tx, id, hold=True) if is_id(id) else None
    if worker is None:
        raise NotFound
    if worker.id == caller.id:
        raise Conflict("own_account")
    role = _role_that_helps(tx, caller, worker)
    if worker.status is not WorkerStatus.ACTIVE:
        raise Conflict("illegal_transition")
    factor = second_factors.get(tx, id, hold=True)
    if not passkeys.of(tx, id) and (factor is None or factor.confirm_time is None):
        return
    second_factors.end(tx, id)
    passkeys.end(tx, id)
    workers.end_sessions_of(tx, worker_id=id)
    end_link(tx, id, now)  # a link that was asked for while more was needed is not to open the account now
    tell_her(tx, mail, worker, "second_factor_removed", now, by_role=role)


def _role_that_helps(tx: Transaction, caller: Caller, worker: Worker) -> Role:
    if caller.organization_id == worker.organization_id and caller.has(Role.MANAGER):
        # As with invitations: what the coordination alone gives, it alone may make easier to get into.
        if not NETWORK_ROLES.isdisjoint(worker.entry.roles) and not caller.has(Role.COORDINATOR):
            raise NotAllowed("right_missing")
        return Role.MANAGER
    if caller.has(Role.COORDINATOR) and workers.managers(tx, worker.organization_id) == [worker.id]:
        return Role.COORDINATOR
    raise NotFound
