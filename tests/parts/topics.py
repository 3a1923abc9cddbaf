"""Reads the records in the broker's topics, and deletes topics.

Records are read without a consumer group, so that no offset of the stack changes.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient


@dataclass(frozen=True)
class Record:
    """A record as the broker stores it."""

    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]

    def header(self, name: str) -> str:
        """Returns a header as text; "" if it is missing."""
        return next((value.decode() for key, value in self.headers if key == name), "")


def records(bootstrap: str, only: Collection[str] = (), last: int = 0) -> list[Record]:
    """Returns all records up to now, in order within each partition.

    `only` names the topics to read; with `last`, only the last records of each partition are read.
    """
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=None,
        enable_auto_commit=False,
        fetch_max_wait_ms=50,
        metrics_enabled=False,
        max_poll_records=2000,
    )
    try:
        partitions = [
            TopicPartition(topic, n)
            for topic in sorted(only or consumer.topics())
            for n in consumer.partitions_for_topic(topic) or ()
        ]
        ends = {
            partition: end for partition, end in consumer.end_offsets(partitions).items() if end
        }
        found_records: list[Record] = []
        if not ends:
            return found_records
        consumer.assign(list(ends))
        consumer.seek_to_beginning()
        for partition, end in ends.items():
            if last and end > last:
                consumer.seek(partition, end - last)
        while any((consumer.position(partition) or 0) < end for partition, end in ends.items()):
            for batch in consumer.poll(timeout_ms=500).values():
                found_records += [
                    Record(
                        r.topic,
                        r.key or b"",
                        r.value or b"",
                        tuple((k, v or b"") for k, v in r.headers),
                    )
                    for r in batch
                ]
        return found_records
    finally:
        consumer.close(autocommit=False)


def delete(bootstrap: str, topic: str) -> None:
    """Deletes a topic with all its records, as an operator might do by mistake.

    Returns when the topic is gone.
    """
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        admin.delete_topics([topic])
        while topic in admin.list_topics():
            pass
    finally:
        admin.close()
