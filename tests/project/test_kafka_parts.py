"""The broker of the local stack and of the tests behaves as the stack requires."""

from __future__ import annotations

import re
import shlex
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer

from local.broker import prepare
from tests.parts import brokers
from tests.project.test_deploy import DEPLOY, containers

pytestmark = pytest.mark.long

TIMEOUT = 15


@pytest.fixture
def topic(broker: brokers.Broker) -> str:
    return _topic(broker)


def test_a_published_record_can_be_read(broker: brokers.Broker, topic: str) -> None:
    _send_value(broker, topic, b"hello")
    assert _read_value(broker, topic) == [b"hello"]


def test_a_topic_that_nobody_created_does_not_exist(broker: brokers.Broker) -> None:
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    assert "nobody-made-this" not in admin.list_topics()
    admin.close()


def test_records_and_the_cluster_id_survive_a_kill() -> None:
    test_broker = brokers.Broker()
    try:
        test_broker.start()
        topic, before = _topic(test_broker), _cluster(test_broker)
        _send_value(test_broker, topic, b"stored?")
        test_broker.kill()
        test_broker.start()
        assert _cluster(test_broker) == before
        assert _read_value(test_broker, topic) == [b"stored?"]
        brokers.restart_without_data(test_broker)
        assert _cluster(test_broker) != before
    finally:
        test_broker.close()


class TestOnAVolumeOfTheCluster:
    """The start of Kafka's pod in deploy/k8s/overlays/local, up to the start of the broker.

    The tests run the pod's own script, with Kafka's own storage tool.
    """

    @pytest.fixture
    def begin(self, tmp_path: Path) -> Callable[[Path], str]:
        """Returns a function that runs the script on a volume and returns the volume's cluster id.

        The function does not start the broker itself.
        """
        program = prepare()
        (container,) = [container for name, container in containers() if name == "kafka"]
        tools = tmp_path / "bin"
        tools.mkdir()
        storage = shlex.join([*program.java, "kafka.tools.StorageTool"])
        for name, effect in (
            ("kafka-storage.sh", f'exec {storage} "$@"'),
            ("kafka-server-start.sh", "exit 0"),
        ):
            (tools / name).write_text(f"#!/bin/bash\n{effect}\n")
            (tools / name).chmod(0o755)

        def run_script(volume: Path) -> str:
            settings = (DEPLOY / "overlays" / "local" / "server.properties").read_text()
            (tmp_path / "server.properties").write_text(settings.replace("/data", str(volume)))
            (words,) = container["args"]
            for pod_path, test_path in (
                ("/opt/kafka/bin", tools),
                ("/config", tmp_path),
                ("/data", volume),
            ):
                words = words.replace(pod_path, str(test_path))
            process = subprocess.run(
                [*container["command"], words], capture_output=True, text=True, check=False
            )
            assert process.returncode == 0, process.stderr
            (cluster_id,) = re.findall(
                r"^cluster\.id=(\S+)$",
                (volume / "kafka" / "meta.properties").read_text(),
                re.MULTILINE,
            )
            return str(cluster_id)

        return run_script

    def test_each_new_volume_gets_a_new_cluster_id_and_an_existing_one_keeps_its_id(
        self, begin: Callable[[Path], str], tmp_path: Path
    ) -> None:
        one, other = tmp_path / "one", tmp_path / "other"
        one.mkdir()
        other.mkdir()
        first = begin(one)
        assert begin(other) != first
        assert begin(one) == first

    def test_an_interrupted_formatting_is_repeated(
        self, begin: Callable[[Path], str], tmp_path: Path
    ) -> None:
        volume = tmp_path / "volume"
        (volume / "kafka").mkdir(parents=True)
        (volume / "kafka" / "bootstrap.checkpoint").write_bytes(b"half")
        assert begin(volume)


def _topic(broker: brokers.Broker) -> str:
    name = f"test-{uuid.uuid4().hex}"
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    admin.create_topics({name: {"num_partitions": 1, "replication_factor": 1}})
    admin.wait_for_topics([name])
    admin.close()
    return name


def _cluster(broker: brokers.Broker) -> str:
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    cluster_id = str(admin.describe_cluster()["cluster_id"])
    admin.close()
    return cluster_id


def _send_value(broker: brokers.Broker, topic: str, value: bytes) -> None:
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, acks="all")
    producer.send(topic, value).get(TIMEOUT)
    producer.close()


def _read_value(broker: brokers.Broker, topic: str) -> list[bytes]:
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=broker.bootstrap,
        auto_offset_reset="earliest",
        consumer_timeout_ms=3000,
    )
    values = [next(iter(consumer)).value]
    consumer.close()
    return values
