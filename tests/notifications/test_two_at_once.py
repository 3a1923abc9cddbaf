"""Two change the same deliveries at once: one waits for the other, and neither is ended for it."""

import threading
import time

from chassis.tokens import SYSTEM
from services.notifications.domain.delivery import Channel, Outcome
from services.notifications.store import deliveries, webhooks
from tests.notifications.conftest import RECEIVER, House

_WAITING = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


def test_a_manager_disables_an_endpoint_while_an_attempt_to_it_is_noted(house: House) -> None:
    webhook = house.webhook(RECEIVER, house.receiver().url).webhook
    house.hear("sent")
    with house.database.dedicated() as connection:
        [claim] = house.sending.next_webhooks(connection, house.clock.now(), slow=False, limit=20)
    said: list[object] = []

    def note() -> None:
        try:
            said.append(house.sending.finish(Channel.WEBHOOK, claim, Outcome(code=204, duration_ms=3), house.clock.now()).value)
        except Exception as error:
            said.append(error)

    sender = threading.Thread(target=note)
    with house.database.transaction(SYSTEM) as tx:
        webhooks.fetch(tx, RECEIVER, webhook.id, to_change=True)
        sender.start()
        give_up = time.monotonic() + 10
        while not house.rows(_WAITING) and time.monotonic() < give_up:
            time.sleep(0.01)
        deliveries.discard_of_webhook(tx, webhook.id)
    sender.join(10)
    assert said == ["DELIVERED"]
