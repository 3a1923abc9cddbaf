"""Consumers of the broker's topics, and topics that are read back from their beginning."""

import time
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

import pytest
from kafka.admin import ConfigResource
from kafka.protocol.consumer import FetchRequest

from chassis.config import ServiceSettings
from chassis.ids import new_id
from facts import kafka
from facts.broker import Broker
from facts.kafka import Consumer
from tests.chassis.world import send_records, settings, until
from tests.parts import brokers
from tests.parts.brokers import restart_without_data
from tests.parts.paused import paused_process

pytestmark = pytest.mark.long


def test_a_consumer_that_leaves_while_it_joins_does_not_block_its_group(
    broker: brokers.Broker, topic: str
) -> None:
    group = new_id()
    leaving_consumer = Consumer(settings(broker.bootstrap), group, [topic])
    leaving_consumer.poll(0.01)
    leaving_consumer.close()
    send_records(settings(broker.bootstrap), topic, [(b"key", b"value", [])])
    received: list[Any] = []
    next_consumer = assigned_consumer(settings(broker.bootstrap), group, topic, received)
    until(lambda: bool(received or next_consumer.poll(0.5)))
    next_consumer.close()


def test_a_consumer_that_leaves_while_it_rejoins_does_not_block_its_group(
    broker: brokers.Broker, topic: str
) -> None:
    """Restarts the broker without its data, so that the consumer has to join again.

    At that moment the consumer still has its former partitions, but belongs to no group.
    """
    group = new_id()
    leaving_consumer = assigned_consumer(settings(broker.bootstrap), group, topic)
    restart_without_data(broker)
    with suppress(kafka.BrokerLost):
        while not (leaving_consumer.assigned and not leaving_consumer.joined):
            leaving_consumer.poll(0.05)
    leaving_consumer.close()
    watch = Broker(settings(broker.bootstrap), [topic])
    watch.start()
    until(lambda: watch.cluster_id is not None)
    assigned_consumer(settings(broker.bootstrap), group, topic).close()
    watch.stop()


@pytest.mark.parametrize(("retention", "kept"), [("-1", True), ("604800000", False)])
def test_doctor_notices_that_a_topic_which_is_kept_for_ever_is_not(
    broker: brokers.Broker, retention: str, kept: bool
) -> None:
    """A cluster's administrator may have created the topic, or changed its settings."""
    config = replace(settings(broker.bootstrap), kafka_prefix=f"{new_id()}.")
    assert kafka.keeps_permanent(config), "a topic that a service has yet to create"
    with closing(kafka.connect_admin(config)) as admin:
        kafka.create_topics(admin, config, ["enlace.erasures.v1"])
        resource = ConfigResource("TOPIC", f"{config.kafka_prefix}enlace.erasures.v1")
        resource.configs = {"retention.ms": retention}
        admin.alter_configs([resource])
        until(lambda: kafka.keeps_permanent(config) is kept)


def assigned_consumer(
    config: ServiceSettings, group: str, topic: str, received: list[Any] | None = None
) -> Consumer:
    """Returns a new consumer once it has its partitions; `received` gets the records until then.

    A consumer that gets no partition for too long joins again, as a subscriber does. This function
    polls without a pause, because a join that ends between two polls is lost (facts/broker.py).
    """
    consumer = Consumer(config, group, [topic])
    while not consumer.assigned:
        try:
            records = consumer.poll(0.1)
        except kafka.NoPartition:
            consumer.close()
            consumer = Consumer(config, group, [topic])
        else:
            if received is not None:
                received += records
    return consumer


def test_an_idle_consumer_polls_the_broker_every_five_seconds(
    broker: brokers.Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[int] = []
    encode = FetchRequest.encode

    def note_and_encode(self: FetchRequest, *words: Any, **options: Any) -> Any:
        waits.append(self.max_wait_ms)
        return encode(self, *words, **options)

    consumer = assigned_consumer(settings(broker.bootstrap), new_id(), topic)
    monkeypatch.setattr(FetchRequest, "encode", note_and_encode)
    begin = time.monotonic()
    while time.monotonic() - begin < 6:
        assert consumer.poll(0.5) == []
    assert set(waits) == {5000}
    assert len(waits) <= 3  # at most two requests in six seconds, and the one under way
    consumer.close()


def test_reading_a_topic_back_continues_after_a_silence_to_the_end_found_at_the_start(
    broker: brokers.Broker, topic: str
) -> None:
    send_records(settings(broker.bootstrap), topic, [(b"%d" % n, b"value", []) for n in range(500)])
    reading = kafka.read_from(settings(broker.bootstrap), topic, {})
    records = list(next(reading))
    with paused_process(broker.process.pid):
        for _ in range(10):  # each turn takes half a second
            records += next(reading, [])
    for batch in reading:
        records += batch
    assert len({(record.partition, record.offset) for record in records}) == len(records) == 500


def test_reading_a_topic_back_fails_if_the_end_is_never_reached(
    broker: brokers.Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "_SILENCE_LIMIT", 1.0)
    monkeypatch.setattr(
        "facts.kafka.KafkaConsumer.end_offsets",
        lambda _self, partitions: dict.fromkeys(partitions, 5),
    )
    with pytest.raises(kafka.BrokerLost):
        list(kafka.read_from(settings(broker.bootstrap), topic, {}))


def test_reading_a_topic_back_fails_if_the_topic_does_not_exist(broker: brokers.Broker) -> None:
    with pytest.raises(kafka.BrokerLost):
        list(kafka.read_from(settings(broker.bootstrap), f"enlace.tests-{new_id()[:8]}.v1", {}))


def test_reading_back_a_recreated_topic_starts_at_its_beginning(
    broker: brokers.Broker, topic: str
) -> None:
    send_records(settings(broker.bootstrap), topic, [(b"key", b"value", [])])
    # the offset at which reading the former topic had ended
    start_offsets = dict.fromkeys(range(kafka.PARTITIONS), 5)
    assert [
        record.value
        for batch in kafka.read_from(settings(broker.bootstrap), topic, start_offsets)
        for record in batch
    ] == [b"value"]


def test_records_that_were_polled_but_not_committed_go_to_the_next_consumer(
    broker: brokers.Broker, topic: str
) -> None:
    group = new_id()
    send_records(
        settings(broker.bootstrap), topic, [(b"key", b"%d" % number, []) for number in range(10)]
    )
    values: list[bytes] = []
    for committed in (3, 10):
        records: list[kafka.ReceivedRecord] = []
        consumer = assigned_consumer(settings(broker.bootstrap), group, topic, records)
        while len(records) < min(10, 10 - len(values)):
            records += consumer.poll(0.5)
        values += [record.value for record in records[:committed]]
        consumer.commit(records[:committed])
        consumer.close()
    assert values == [b"%d" % number for number in range(10)]


def test_stacks_with_different_prefixes_can_share_a_broker(broker: brokers.Broker) -> None:
    topic, received = "enlace.tests.v1", {}
    for prefix in (f"{new_id()[:8]}.", f"{new_id()[:8]}."):
        stack_settings = replace(settings(broker.bootstrap), kafka_prefix=prefix)
        watch = Broker(stack_settings, [topic])
        watch.start()
        until(lambda watch=watch: watch.cluster_id is not None)  # type: ignore[misc]
        send_records(stack_settings, topic, [(b"key", prefix.encode(), [])])
        records: list[kafka.ReceivedRecord] = []
        consumer = assigned_consumer(stack_settings, "group", topic, records)
        while not records:
            records += consumer.poll(0.5)
        consumer.commit(records)
        consumer.close()
        received[prefix] = [(record.topic, record.value) for record in records]
        assert [
            record.value for batch in kafka.read_from(stack_settings, topic, {}) for record in batch
        ] == [prefix.encode()]
        watch.stop()
    assert received == {prefix: [(topic, prefix.encode())] for prefix in received}
