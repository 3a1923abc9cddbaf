"""How a network begins: the coordinating organisation and two coordinators, who decide together from the first day; and a coordinator of another member.

No rpc leads here, only a command of who runs the service. Each account that it makes is on the trail.
"""

from collections.abc import Sequence
from datetime import datetime

from chassis import audit
from chassis.audit import Entry
from chassis.db import Transaction, take_turn
from chassis.tokens import SYSTEM
from services.partners import wire
from services.partners.domain.organization import OrganizationEntry
from services.partners.domain.worker import WorkerEntry
from services.partners.store import workers
from services.partners.usecases.organizations import approve_organization, create_organization
from services.partners.usecases.workers import create_worker


def found_network(
    tx: Transaction, now: datetime, organization: OrganizationEntry, coordinators: Sequence[WorkerEntry], passwords: Sequence[str]
) -> bool:
    """Registers the organisation and its coordinators with these first passwords. Returns False, and changes nothing, where a coordinator exists."""
    take_turn(tx, "found_network")
    if workers.is_founded(tx):
        return False
    member = create_organization(tx, SYSTEM, now, organization)
    approve_organization(tx, SYSTEM, now, member.id, wire.etag_of(member))
    _create(tx, now, member.id, coordinators, passwords)
    return True


def found_elsewhere(tx: Transaction, now: datetime, organization: OrganizationEntry, coordinator: WorkerEntry, password: str) -> bool:
    """Registers another member with a coordinator of its own, so that two of different organisations can give and take roles of the network.

    Returns False, and changes nothing, where there are coordinators of several organisations already, or none at all.
    """
    take_turn(tx, "found_network")
    if len(workers.coordinating_organizations(tx)) != 1:
        return False
    member = create_organization(tx, SYSTEM, now, organization)
    approve_organization(tx, SYSTEM, now, member.id, wire.etag_of(member))
    _create(tx, now, member.id, [coordinator], [password])
    return True


def _create(tx: Transaction, now: datetime, organization_id: str, coordinators: Sequence[WorkerEntry], passwords: Sequence[str]) -> None:
    made = [create_worker(tx, now, organization_id, entry, password) for entry, password in zip(coordinators, passwords, strict=True)]
    audit.record(tx, SYSTEM, now, [Entry("coordinator_found", worker.id) for worker in made])
