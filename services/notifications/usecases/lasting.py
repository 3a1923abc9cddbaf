"""Notifies managers that the destination of their organisation's notices was changed.

The change outlasts the session in which it was made, so each manager finds a message in the inbox.
"""

from datetime import datetime

from chassis.db import Transaction, elevate_to_system_scope
from chassis.ids import new_id
from chassis.tokens import Caller
from services.notifications.domain.message import about_subject
from services.notifications.domain.rules import SENDING_CHANGED, Audience, Recipient
from services.notifications.store import members, messages


def notify_managers(tx: Transaction, caller: Caller, now: datetime, organization_id: str) -> None:
    """Notifies each manager of the organisation, and the worker who made the change."""
    elevate_to_system_scope(tx)  # allowed here, since the call's own work is done
    recipients = dict.fromkeys(members.managers(tx, organization_id), organization_id)
    if caller.kind == "worker":
        recipients[caller.id] = caller.organization_id
    cause = new_id()
    notices = [
        about_subject(
            Recipient(SENDING_CHANGED, Audience.WORKER, own_organization_id, worker_id), cause, now
        )
        for worker_id, own_organization_id in recipients.items()
    ]
    messages.save(tx, notices, "", now, by_email=False)
