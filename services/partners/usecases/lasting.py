"""What outlasts a session: the managers of whoever made it, and she herself, hear of it by letter and in their bells."""

from collections.abc import Iterable
from datetime import datetime

from chassis.db import Transaction
from chassis.tokens import Caller
from keys.sealing import Keyring
from services.partners.domain.worker import Role
from services.partners.store import workers
from services.partners.usecases.password_resets import tell_her

ROLE_GIVEN = "role_given"


def notify_of_lasting(
    tx: Transaction, mail: Keyring, caller: Caller, now: datetime, fact: str, organization_ids: Iterable[str] = ()
) -> None:
    """Notifies of what the caller did: herself, the managers of her organisation and of `organization_ids`, and of a role of the network every coordinator."""
    own = workers.fetch(tx, caller.id)
    recipients = [own] if own else []
    for organization_id in {caller.organization_id, *organization_ids} - {""}:
        recipients += workers.all_managers(tx, organization_id)
    if fact == ROLE_GIVEN:
        recipients += [worker for worker in workers.of_the_network(tx) if Role.COORDINATOR in worker.entry.roles]
    for worker in {each.id: each for each in recipients}.values():
        tell_her(tx, mail, worker, fact, now)
