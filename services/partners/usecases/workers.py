"""What managers may ask of their organisation's accounts."""

from datetime import datetime

from chassis.db import Transaction
from chassis.errors import Conflict, NotFound
from chassis.ids import is_id, new_id
from chassis.tokens import Caller
from chassis.wire import Position, check_etag
from services.partners import wire
from services.partners.domain.worker import Worker, WorkerEntry, check_password
from services.partners.store import workers
from services.partners.usecases.api_keys import revoke_keys_of
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
    """Ends an account's use: its sessions are over, its tokens refused, and the keys that stand with it are revoked."""
    worker = workers.fetch(tx, id, hold=True) if is_id(id) else None
    # Nobody else's: a coordinator who could take a member's last manager away could invite one of his own.
    if worker is None or (caller.kind != "system" and worker.organization_id != caller.organization_id):
        raise NotFound
    check_etag(etag, wire.etag_of(worker), required=False)
    worker.suspend(now)
    workers.keep_status(tx, worker)
    workers.end_sessions_of(tx, worker_id=id)
    revoke_keys_of(tx, now, id)
    return worker
