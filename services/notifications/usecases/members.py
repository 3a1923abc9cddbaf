"""Checks that a caller is in good standing."""

from chassis.db import Transaction
from chassis.tokens import Caller
from services.notifications.domain import member
from services.notifications.store import members


def check_standing(tx: Transaction, caller: Caller) -> None:
    """Raises NotAllowed if a fact has reported that the caller may no longer call.

    This is so if the caller or her organisation is suspended or has left, or the key is revoked.
    """
    member.check_standing(members.standing(tx, caller.id, caller.organization_id))
