"""Both brokers do what the tests of the house rely on."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer

from tests.parts import brokers

TIMEOUT = 15


@pytest.fixture
def topic(broker: brokers.Broker) -> str:
    return _topic(broker)


def test_a_record_that_was_said_is_heard(broker: brokers.Broker, topic: str) -> None:
    _say(broker, topic, b"hello")
    assert _hear(broker, topic) == [b"hello"]


def test_a_topic_is_not_made_by_speaking_to_it(broker: brokers.Broker) -> None:
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    assert "nobody-made-this" not in admin.list_topics()
    admin.close()


class TestAfterAKill:
    """On brokers of their own: the shared ones stay as they are."""

    @pytest.fixture(params=sorted(brokers.BROKERS))
    def own(self, request: pytest.FixtureRequest) -> Iterator[brokers.Broker]:
        made = brokers.make(request.param)
        made.start()
        yield made
        made.close()

    def test_apache_kafka_remembers_and_the_embedded_one_is_another(self, own: brokers.Broker) -> None:
        topic, before = _topic(own), _cluster(own)
        _say(own, topic, b"kept?")
        own.kill()
        own.start()
        if isinstance(own, brokers.ApacheKafka):
            assert _cluster(own) == before
            assert _hear(own, topic) == [b"kept?"]
        else:
            assert _cluster(own) != before
            admin = KafkaAdminClient(bootstrap_servers=own.bootstrap)
            assert topic not in admin.list_topics()
            admin.close()


def _topic(broker: brokers.Broker) -> str:
    name = f"test-{uuid.uuid4().hex}"
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    admin.create_topics({name: {"num_partitions": 1, "replication_factor": 1}})
    admin.wait_for_topics([name])
    admin.close()
    return name


def _cluster(broker: brokers.Broker) -> str:
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    found = str(admin.describe_cluster()["cluster_id"])
    admin.close()
    return found


def _say(broker: brokers.Broker, topic: str, value: bytes) -> None:
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, acks="all")
    producer.send(topic, value).get(TIMEOUT)
    producer.close()


def _hear(broker: brokers.Broker, topic: str) -> list[bytes]:
    consumer = KafkaConsumer(topic, bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=3000)
    found = [next(iter(consumer)).value]
    consumer.close()
    return found
