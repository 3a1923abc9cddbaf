"""Webhooks: what the manager of an organisation, or its system, does with its endpoints."""

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from chassis.addresses import may_call
from chassis.db import Transaction, elevate_to_system_scope
from chassis.errors import NotFound
from chassis.ids import new_id
from chassis.tokens import Caller
from chassis.wire import Position
from keys.sealing import Keyring
from services.notifications import wire
from services.notifications.domain import webhook as rules
from services.notifications.domain.delivery import Attempt, Delivery, Hour
from services.notifications.domain.webhook import Reach, Webhook
from services.notifications.store import attempts, deliveries, webhooks

SHOWN = 100  # attempts of one delivery; who has one sent again and again sees the last of them
HOURS = 24


class Webhooks:
    """The endpoints of all organisations; each call sees its caller's own."""

    def __init__(self, keyring: Keyring, *, development: bool) -> None:
        self._keyring = keyring
        self._reach = Reach(development, partial(may_call, development=development))

    def create(self, tx: Transaction, caller: Caller, now: datetime, url: str, kinds: Sequence[str]) -> tuple[Webhook, str]:
        """A new endpoint and its secret, which is said this once."""
        there_are = webhooks.hold_organization(tx, caller.organization_id)
        webhook = rules.open_webhook(new_id(), caller.organization_id, url, kinds, now, there_are=there_are, reach=self._reach)
        secret = _new_secret()
        webhooks.add(tx, self._keyring, webhook, secret)
        return webhook, secret

    def list_all(self, tx: Transaction, caller: Caller) -> list[Webhook]:
        """All of them."""
        return webhooks.of_organization(tx, caller.organization_id)

    def count_of_member(self, tx: Transaction, organization_id: str) -> int:
        """Returns how many endpoints of a member are enabled, for the coordination."""
        elevate_to_system_scope(tx)
        return webhooks.count_enabled(tx, organization_id)

    def get(self, tx: Transaction, caller: Caller, webhook_id: str, *, to_change: bool = False) -> Webhook:
        """One of them."""
        webhook = webhooks.fetch(tx, caller.organization_id, webhook_id, to_change=to_change)
        if webhook is None:
            raise NotFound
        return webhook

    def update(
        self,
        tx: Transaction,
        caller: Caller,
        now: datetime,
        webhook_id: str,
        version: int,
        *,
        url: str | None,
        kinds: Sequence[str] | None,
        enabled: bool | None,
    ) -> Webhook:
        """Changes what is not None. Switched off, it is sent nothing that still waits; what is tested or sent again by hand goes out all the same."""
        before = self.get(tx, caller, webhook_id, to_change=True)
        after = rules.change(before, version, now, url=url, kinds=kinds, enabled=enabled, reach=self._reach)
        webhooks.keep(tx, after)
        if before.enabled and not after.enabled:
            deliveries.discard_of_webhook(tx, webhook_id)
        return after

    def rotate(self, tx: Transaction, caller: Caller, now: datetime, webhook_id: str, *, at_once: bool) -> tuple[Webhook, str]:
        """Another secret, said this once. Of two who rotate at once the second waits for the first, and is refused."""
        webhook = rules.rotate(self.get(tx, caller, webhook_id, to_change=True), now, at_once=at_once)
        secret = _new_secret()
        webhooks.rotate(tx, self._keyring, webhook, secret)
        return webhook, secret

    def delete(self, tx: Transaction, caller: Caller, webhook_id: str) -> None:
        """Removes it; what still waits is discarded."""
        self.get(tx, caller, webhook_id, to_change=True)
        webhooks.remove(tx, webhook_id)
        deliveries.discard_of_webhook(tx, webhook_id)

    def test(self, tx: Transaction, caller: Caller, now: datetime, webhook_id: str) -> Delivery:
        """Queues a signed sample."""
        webhook = self.get(tx, caller, webhook_id)
        return deliveries.add_test(tx, new_id(), webhook, wire.test_body(webhook, now), now)

    def list_deliveries(
        self, tx: Transaction, caller: Caller, webhook_id: str, size: int, after: Position | None
    ) -> tuple[list[Delivery], Position | None]:
        """A page of what was sent to it, newest first, and where the next page goes on."""
        self.get(tx, caller, webhook_id)
        webhook_deliveries = deliveries.of_webhook(tx, webhook_id, after=after, limit=size + 1)
        last = webhook_deliveries[size - 1] if len(webhook_deliveries) > size else None
        return webhook_deliveries[:size], [last.create_time.isoformat(), last.id] if last else None

    def get_delivery(self, tx: Transaction, caller: Caller, delivery_id: str, webhook_id: str) -> tuple[Delivery, str, list[Attempt]]:
        """One delivery with its body and its attempts; of this webhook, if one is named."""
        delivery_and_body = deliveries.fetch(tx, caller.organization_id, delivery_id)
        if delivery_and_body is None or webhook_id not in ("", delivery_and_body[0].webhook_id):
            raise NotFound
        return *delivery_and_body, attempts.of_delivery(tx, delivery_id, SHOWN)

    def list_hours(self, tx: Transaction, caller: Caller, now: datetime, webhook_id: str) -> list[Hour]:
        """What came of the attempts of the last day by endpoint and hour: the hour under way, and those before it."""
        asked = [self.get(tx, caller, webhook_id)] if webhook_id else self.list_all(tx, caller)
        since = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS - 1)
        return attempts.by_hour(tx, [webhook.id for webhook in asked], since)

    def resend(self, tx: Transaction, caller: Caller, now: datetime, delivery_id: str, webhook_id: str) -> Delivery:
        """Queues a delivery again under its id, whatever became of it; of this webhook, if one is named."""
        delivery = deliveries.again(tx, caller.organization_id, delivery_id, now)
        if delivery is None or webhook_id not in ("", delivery.webhook_id):
            raise NotFound
        return delivery


def _new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
