"""Founds a network: the coordinating organisation, and a coordinator in a second member.

The coordinating organisation has two coordinators from the first day, so that decisions by two
people are possible. No rpc founds a network; only the operator of the service can, with commands.
The trail records each new account.
"""

from collections.abc import Sequence
from datetime import datetime

from chassis import audit
from chassis.audit import Entry
from chassis.db import Transaction
from chassis.ids import new_id
from chassis.locks import advisory_lock
from chassis.tokens import SYSTEM
from services.partners.members.domain.organization import Organization, OrganizationEntry
from services.partners.members.domain.worker import WorkerEntry
from services.partners.members.store import organizations, workers
from services.partners.members.usecases.workers import create_worker
from services.partners.members.wire import messages


def found_network(
    tx: Transaction,
    now: datetime,
    organization: OrganizationEntry,
    coordinators: Sequence[WorkerEntry],
    passwords: Sequence[str],
) -> bool:
    """Registers the organisation and its coordinators with these first passwords.

    Returns False, and changes nothing, if there is or was a coordinator.
    """
    advisory_lock(tx, "found_network")
    if workers.is_founded(tx):
        return False
    _create(tx, now, organization, coordinators, passwords)
    return True


def add_second_coordinating_member(
    tx: Transaction,
    now: datetime,
    organization: OrganizationEntry,
    coordinator: WorkerEntry,
    password: str,
) -> bool:
    """Registers another member with a coordinator of its own.

    After that, two coordinators of different organisations can grant and revoke network roles.
    Returns False, and changes nothing, if coordinators belong to several organisations already, or
    if there is no coordinator at all.
    """
    advisory_lock(tx, "found_network")
    if len(workers.coordinating_organizations(tx)) != 1:
        return False
    _create(tx, now, organization, [coordinator], [password])
    return True


def _create(
    tx: Transaction,
    now: datetime,
    entry: OrganizationEntry,
    coordinators: Sequence[WorkerEntry],
    passwords: Sequence[str],
) -> None:
    """Registers and approves the organisation, and registers its coordinators."""
    organization = Organization.register(new_id(), entry, now)
    organizations.save(tx, organization)
    organization.approve(now, messages.today_at(organization, now))
    organizations.save(tx, organization)
    created_workers = [
        create_worker(tx, now, organization.id, coordinator, password)
        for coordinator, password in zip(coordinators, passwords, strict=True)
    ]
    audit.record(
        tx, SYSTEM, now, [Entry("coordinator_found", worker.id) for worker in created_workers]
    )
