"""A backlog of facts: first the consumer hangs, and then the broker, too.

Facts that were published while their consumer hung are applied, and the consumer requests no
replay.
"""

from __future__ import annotations

import time
from contextlib import closing

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from facts.kafka import REPLAYS
from tests.parts import topics
from tests.parts.local_stack import LocalStack, until
from tests.parts.paused import paused_process

TOPIC, GROUP = "enlace.referrals.v1", "notifications-referrals"
PAUSE = 20.0  # seconds; less than the time after which the stack restarts a hanging broker


def lag(bootstrap: str) -> int:
    """Returns the number of records of the topic that the group has not committed."""
    with closing(
        KafkaConsumer(bootstrap_servers=bootstrap, group_id=GROUP, enable_auto_commit=False)
    ) as consumer:
        partitions = [
            TopicPartition(TOPIC, number) for number in consumer.partitions_for_topic(TOPIC) or ()
        ]
        ends = consumer.end_offsets(partitions)
        return sum(
            ends[partition] - (consumer.committed(partition) or 0) for partition in partitions
        )


def problems_of_a_backlog(stack: LocalStack, size: int) -> list[str]:
    """Pauses the consumer, and publishes all facts again until `size` facts wait for it.

    At the end, pauses the broker, too, for PAUSE seconds. Returns the problems found once the
    backlog is gone.
    """
    bootstrap = str(stack.state["kafka"])
    request_count = len(topics.records(bootstrap, [REPLAYS]))
    with paused_process(stack.pid("notifications")):
        while lag(bootstrap) < size:
            before = lag(bootstrap)
            with closing(KafkaProducer(bootstrap_servers=bootstrap)) as producer:
                producer.send(REPLAYS, key=TOPIC.encode(), value=b"").get(10)
            request_count += 1
            until(lambda before=before: lag(bootstrap) > before, 300)  # type: ignore[misc]
            _wait_until_all_are_published(bootstrap)
        with paused_process(stack.pid("broker")):
            time.sleep(PAUSE)
    until(lambda: lag(bootstrap) == 0, 1800, lambda: lag(bootstrap), every=1.0)
    extra_requests = len(topics.records(bootstrap, [REPLAYS])) - request_count
    return [f"{extra_requests} requests to publish facts again"] if extra_requests else []


def _wait_until_all_are_published(bootstrap: str) -> None:
    """Waits until all requested facts have been published."""
    before = -1
    while (now := lag(bootstrap)) != before:
        before = now
        time.sleep(2)
