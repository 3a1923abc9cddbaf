"""What lies in the broker: every record of every topic, read by nobody's group, so that no offset
of the stack moves.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient


@dataclass(frozen=True)
class Record:
    """One record as it is kept."""

    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]

    def header(self, name: str) -> str:
        """A header as text; empty when it is missing."""
        return next((value.decode() for key, value in self.headers if key == name), "")


def records(bootstrap: str, only: Collection[str] = (), last: int = 0) -> list[Record]:
    """All of them up to now, in order within each partition; `only` these topics, or the `last` of
    each partition.
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
        places = [
            TopicPartition(topic, n)
            for topic in sorted(only or consumer.topics())
            for n in consumer.partitions_for_topic(topic) or ()
        ]
        ends = {place: end for place, end in consumer.end_offsets(places).items() if end}
        read: list[Record] = []
        if not ends:
            return read
        consumer.assign(list(ends))
        consumer.seek_to_beginning()
        for place, end in ends.items():
            if last and end > last:
                consumer.seek(place, end - last)
        while any((consumer.position(place) or 0) < end for place, end in ends.items()):
            for batch in consumer.poll(timeout_ms=500).values():
                read += [
                    Record(
                        r.topic,
                        r.key or b"",
                        r.value or b"",
                        tuple((k, v or b"") for k, v in r.headers),
                    )
                    for r in batch
                ]
        return read
    finally:
        consumer.close(autocommit=False)


def delete(bootstrap: str, topic: str) -> None:
    """Takes a topic away with all that it held, as an operator may by mistake; returns when it is
    gone.
    """
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        admin.delete_topics([topic])
        while topic in admin.list_topics():
            pass
    finally:
        admin.close()
