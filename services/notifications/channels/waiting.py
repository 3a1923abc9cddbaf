"""The wait until a delivery may be due, and the metrics of deliveries, for both senders."""

from collections.abc import Callable
from datetime import datetime

from chassis import metrics
from chassis.announcements import wait_for_work
from chassis.clock import Clock
from chassis.db import Transaction
from chassis.supervisor import Loop
from services.notifications.domain.delivery import Channel, Status
from services.notifications.usecases.sending import DeliveryQueue


def create_counts(channel: Channel) -> None:
    """Creates the counts of a channel's deliveries, each with the value zero.

    So the first delivery that is given up shows as an increase.
    """
    for status in (Status.DELIVERED, Status.RETRYING, Status.DEAD):
        metrics.DELIVERIES.labels(channel.value, status.value)


def wait_until_due(
    loop: Loop,
    connection: Transaction,
    clock: Clock,
    queue: DeliveryQueue,
    channel: Channel,
    next_time: Callable[[], datetime | None],
    read_again: float,
) -> None:
    """Waits until a delivery of a channel is announced or due, or the loop is stopped.

    Also returns if a delivery is waiting and `queue` has to shorten waits again. `next_time` gives
    the time at which the next delivery is due; it is called at least every `read_again` seconds.
    """
    due_time: datetime | None = None

    def is_due() -> bool:
        now = clock.now()
        return due_time is not None and (due_time <= now or queue.must_shorten_waits(channel, now))

    while loop.turn():
        due_time = next_time()
        if wait_for_work(loop, connection, is_due, read_again=read_again):
            return
