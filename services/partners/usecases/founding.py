"""How a network begins: the coordinating organisation and two coordinators, who decide together from the first day."""

from collections.abc import Sequence
from datetime import datetime

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
    for entry, password in zip(coordinators, passwords, strict=True):
        create_worker(tx, now, member.id, entry, password)
    return True
