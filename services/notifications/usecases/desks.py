"""How a desk is told, and the development outbox in which its e-mails can be looked at."""

from datetime import datetime

from chassis.db import Transaction
from chassis.errors import Conflict, NotFound
from chassis.sealing import Keyring
from chassis.tokens import Caller
from services.notifications.domain import desk as rules
from services.notifications.domain.desk import Desk
from services.notifications.domain.texts import Mail
from services.notifications.store import deliveries, desks

_MAILS = 200  # that the development page shows


class Desks:
    """The desks of all organisations."""

    def __init__(self, keyring: Keyring, *, development: bool) -> None:
        self._keyring = keyring
        self._development = development

    def get(self, tx: Transaction, caller: Caller) -> Desk:
        """The caller's."""
        return desks.fetch(tx, self._keyring, caller.organization_id)

    def set(self, tx: Transaction, caller: Caller, now: datetime, desk: Desk) -> Desk:
        """The caller's; a coordinator may name any."""
        if desk.organization_id != caller.organization_id and not caller.has("COORDINATOR"):
            raise NotFound
        rules.check(desk)
        desks.keep(tx, self._keyring, desk, now)
        return desk

    def development_mails(self, tx: Transaction) -> list[tuple[Mail, datetime]]:
        """What was kept instead of sent, newest first."""
        if not self._development:
            raise Conflict("not_in_development")
        rows = deliveries.kept_mails(tx, _MAILS)
        return [
            (
                Mail(row["id"], self._keyring.open(row["recipient"], mail_place(row["id"])), row["subject"], row["body"], ""),
                row["create_time"],
            )
            for row in rows
        ]


def mail_place(mail_id: str) -> str:
    """Where a kept e-mail's recipient is sealed for."""
    return f"development_mails/{mail_id}/recipient"
