"""What lies in the broker: every record of every topic, read by nobody's group, so that no offset of the house moves."""

from __future__ import annotations

from dataclasses import dataclass

from kafka import KafkaConsumer, TopicPartition


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


def records(bootstrap: str) -> list[Record]:
    """All of them up to now, in order within each partition."""
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=None,
        enable_auto_commit=False,
        fetch_max_wait_ms=50,
        metrics_enabled=False,
        max_poll_records=2000,
    )
    try:
        places = [TopicPartition(topic, n) for topic in sorted(consumer.topics()) for n in consumer.partitions_for_topic(topic) or ()]
        ends = {place: end for place, end in consumer.end_offsets(places).items() if end}
        found: list[Record] = []
        if not ends:
            return found
        consumer.assign(list(ends))
        consumer.seek_to_beginning()
        while any((consumer.position(place) or 0) < end for place, end in ends.items()):
            for batch in consumer.poll(timeout_ms=500).values():
                found += [Record(r.topic, r.key or b"", r.value or b"", tuple((k, v or b"") for k, v in r.headers)) for r in batch]
        return found
    finally:
        consumer.close(autocommit=False)
