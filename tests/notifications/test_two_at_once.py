"""Two transactions change the same deliveries: one waits for the other, and both succeed."""

import threading
import time

from chassis.tokens import SYSTEM
from services.notifications.domain.delivery import Channel, Outcome
from services.notifications.store import deliveries, webhooks
from tests.notifications.conftest import RECEIVER, Service

_WAITING = (
    "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


def test_a_manager_can_disable_an_endpoint_while_an_attempt_is_being_recorded(
    service: Service,
) -> None:
    webhook = service.webhook(RECEIVER, service.receiver().url).webhook
    service.hear("sent")
    with service.database.dedicated() as connection:
        [claim] = service.sending.next_webhooks(
            connection, service.clock.now(), slow=False, limit=20
        )
    results: list[object] = []

    def note() -> None:
        try:
            results.append(
                service.sending.finish(
                    Channel.WEBHOOK, claim, Outcome(code=204, duration_ms=3), service.clock.now()
                ).value
            )
        except Exception as error:
            results.append(error)

    sender = threading.Thread(target=note)
    with service.database.transaction(SYSTEM) as tx:
        webhooks.fetch(tx, RECEIVER, webhook.id, to_change=True)
        sender.start()
        give_up = time.monotonic() + 10
        while not service.rows(_WAITING) and time.monotonic() < give_up:
            time.sleep(0.01)
        deliveries.discard_of_webhook(tx, webhook.id)
    sender.join(10)
    assert results == ["DELIVERED"]
