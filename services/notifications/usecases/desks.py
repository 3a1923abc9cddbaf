"""How a desk is told, and the development outbox in which its e-mails can be looked at."""

from dataclasses import replace
from datetime import datetime

from chassis.db import Transaction
from chassis.errors import Conflict, NotFound, Stale
from chassis.tokens import Caller
from keys.sealing import Keyring
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

    def get(self, tx: Transaction, caller: Caller, organization_id: str = "") -> Desk:
        """The caller's; a coordinator may name any."""
        return desks.fetch(tx, self._keyring, self._whose(caller, organization_id))

    def set(self, tx: Transaction, caller: Caller, now: datetime, desk: Desk, version: int) -> Desk:
        """The caller's; a coordinator may name any. Stale if another version than this is there."""
        before = desks.fetch(tx, self._keyring, self._whose(caller, desk.organization_id))
        if version != before.version:
            raise Stale
        after = replace(desk, organization_id=before.organization_id, version=before.version + 1)
        rules.check(after)
        desks.keep(tx, self._keyring, after, now)
        return after

    @staticmethod
    def _whose(caller: Caller, organization_id: str) -> str:
        if organization_id and organization_id != caller.organization_id and not caller.has("COORDINATOR"):
            raise NotFound
        return organization_id or caller.organization_id

    def development_mails(self, tx: Transaction) -> list[tuple[Mail, datetime]]:
        """What was kept instead of sent, newest first."""
        if not self._development:
            raise Conflict("not_in_development")
        rows = deliveries.kept_mails(tx, _MAILS)
        return [
            (
                Mail(row["id"], self._keyring.open(row["recipient"], mail_context(row["id"])), row["subject"], row["body"], ""),
                row["create_time"],
            )
            for row in rows
        ]


def mail_context(mail_id: str) -> str:
    """The context for which a kept e-mail's recipient is sealed."""
    return f"development_mails/{mail_id}/recipient"
