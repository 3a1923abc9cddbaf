"""The check that a caller is in good standing."""

from chassis.db import Transaction
from chassis.tokens import Caller
from services.notifications.domain import member
from services.notifications.store import members


def check_standing(tx: Transaction, caller: Caller) -> None:
    """Refuses a caller whom the partners service has reported as suspended or revoked."""
    member.check_standing(members.standing(tx, caller.id, caller.organization_id))
