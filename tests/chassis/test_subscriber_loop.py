"""The turns of a subscriber's loop: missing facts are requested, topics are read.

The database is real; the broker and its consumer are fakes.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from unittest.mock import Mock, call

import pytest

from chassis.errors import Unavailable
from chassis.ids import new_id
from chassis.supervisor import State
from chassis.tokens import SYSTEM
from facts import inbox, outbox, subscriber
from facts.kafka import MAX_POLL_RECORDS, REPLAYS, BrokerLost
from tests.chassis.listener import SECOND, TOPIC, Listener, Record
from tests.chassis.world import settings


def test_a_missing_fact_is_requested_after_ten_seconds_and_then_ever_more_rarely(
    listener: Listener,
) -> None:
    subject = new_id()
    listener.requests_after(timedelta())
    listener.take_facts((subject, 2))
    missing = [(TOPIC.encode(), subject.encode())]
    assert listener.requests_after_each(10, 10, 19, 1, 40) == [[], missing, [], missing, missing]
    listener.requests_after_each(*[300] * 5)
    assert listener.requests_after_each(299, 1) == [[], missing]
    listener.take_facts((subject, 1))
    assert listener.requests_after(300 * SECOND) == []
    listener.take_facts((subject, 4))
    assert listener.requests_after_each(10, 1, 9) == [[], [], missing]


def test_after_a_long_gap_is_filled_the_next_gap_is_requested_after_ten_seconds(
    listener: Listener,
) -> None:
    subject, next_subject = new_id(), new_id()
    listener.take_facts((subject, 2))
    for _ in range(6):
        listener.requests_after(timedelta(minutes=5))
        listener.subscriber.sweep()
    listener.take_facts((subject, 1))
    listener.retry_after(SECOND)  # finds that nothing waits any more
    listener.take_facts((next_subject, 2))
    listener.retry_after(SECOND)
    assert listener.requests_after(10 * SECOND) == [(TOPIC.encode(), next_subject.encode())]


def test_the_facts_of_an_unreadable_records_key_are_requested_once(listener: Listener) -> None:
    subject = new_id()
    listener.requests_after(timedelta())
    listener.take(Record(subject.encode(), b"x", []), Record(b"no id", b"x", []))
    assert listener.requests_after(10 * SECOND) == [(TOPIC.encode(), subject.encode())]
    listener.take(Record(subject.encode(), b"x", []))  # the same record, read again
    assert listener.requests_after(20 * SECOND) == []


def test_while_nothing_waits_the_database_is_asked_for_missing_facts_once_a_minute(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = Mock()
    for name in ("gaps", "register", "has_nothing_to_do"):
        queries.attach_mock(Mock(wraps=getattr(inbox, name)), name)
        monkeypatch.setattr(inbox, name, getattr(queries, name))
    listener.subscriber.sweep()  # finds that nothing waits
    at_rest = ["has_nothing_to_do"]
    for pause, expected in (
        (1, [*at_rest, "register", "gaps"]),
        (59, []),
        (1, at_rest),
        (60, at_rest),
    ):
        queries.reset_mock()
        assert listener.requests_after(SECOND * pause) == []
        assert [query[0] for query in queries.mock_calls] == expected
        listener.subscriber.sweep()


def replace_store(listener: Listener) -> None:
    """Changes the id of the consumer's store, as if the store were a restored copy."""
    with listener.database.transaction(SYSTEM) as tx:
        tx.execute("UPDATE relay SET store = 'the original'")


def test_a_store_that_was_restored_while_nothing_waits_requests_everything_within_a_minute(
    listener: Listener,
) -> None:
    listener.subscriber.sweep()
    for pause in (1, 60):
        assert listener.requests_after(SECOND * pause) == []
        listener.subscriber.sweep()
    replace_store(listener)
    assert listener.requests_after_each(59, 1) == [[], [(TOPIC.encode(), b"")]]
    listener.subscriber.sweep()
    assert listener.requests_after(60 * SECOND) == []


def test_an_unreadable_record_that_another_process_stored_is_counted_within_a_minute(
    listener: Listener,
) -> None:
    listener.subscriber.sweep()
    assert listener.requests_after(timedelta()) == []
    listener.other_process().take(Record(b"no id", b"x", []))
    assert listener.requests_after(60 * SECOND) == []
    listener.subscriber.sweep()
    assert listener.gauge("enlace_dead_letters") == 1


def test_while_the_database_does_not_answer_at_rest_the_subscriber_waits_for_it(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener.subscriber.sweep()
    assert listener.requests_after(timedelta()) == []
    unavailable = Mock(side_effect=Unavailable("store_unavailable"))
    monkeypatch.setattr(inbox, "has_nothing_to_do", unavailable)
    replace_store(listener)
    assert listener.requests_after(60 * SECOND) == [(TOPIC.encode(), b"")]


def test_a_fact_that_another_process_left_waiting_is_counted_and_its_gap_requested_within_a_minute(
    listener: Listener,
) -> None:
    subject = new_id()
    listener.subscriber.sweep()
    listener.other_process().take_facts((subject, 2))
    assert listener.requests_after(60 * SECOND) == [(TOPIC.encode(), subject.encode())]
    listener.subscriber.sweep()
    assert listener.subscriber._anything_waits


def test_a_consumer_with_a_restored_store_requests_everything_once(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs = iter([0, 7, 7, 7])
    monkeypatch.setattr(outbox, "ensure_epoch", lambda *_: next(epochs))
    everything = [(TOPIC.encode(), b"")]
    assert listener.requests_after_each(0, 10, 20, 10) == [[], everything, [], []]


class FakeBroker:
    """A broker, and its consumer; the test sets the cluster id and the records of each turn."""

    def __init__(self, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings = settings("127.0.0.1:1")
        self.clusters: list[str | None] = ["one"]
        self.batches: list[list[Record]] = []
        self.steps: list[object] = []
        self.deleted = set[str]()
        self._subscriber, self._monkeypatch = listener.subscriber, monkeypatch
        listener.subscriber._broker = self  # type: ignore[assignment]
        for name in ("take", "sweep", "_request_missing"):
            monkeypatch.setattr(listener.subscriber, name, self._recording(name))
        monkeypatch.setattr(subscriber, "Consumer", self.open)
        monkeypatch.setattr(subscriber, "read", self.read)

    def _recording(self, name: str) -> Callable[..., None]:
        """Returns a method of the subscriber whose calls are recorded as steps."""
        method = getattr(self._subscriber, name)

        def call(*arguments: object) -> None:
            self.steps.append(name)
            method(*arguments)

        return call

    def run(self, turns: int) -> list[object]:
        """Runs the loop for `turns` turns; returns its steps."""
        loop, remaining_turns = self._subscriber.loop(), iter([True] * turns)
        self._monkeypatch.setattr(loop, "turn", lambda: next(remaining_turns, False))
        self._subscriber._work(loop)
        return self.steps

    @property
    def cluster_id(self) -> str | None:
        return self.clusters[0]

    def wait(self, seconds: float) -> str | None:
        self.steps.append(f"wait {seconds}")
        return self.clusters.pop(0) if len(self.clusters) > 1 else self.clusters[0]

    def open(self, config: object, *arguments: object) -> FakeBroker:
        self.steps.append(("open", *arguments))
        return self

    def read(self, broker: object, name: str, consumer: object) -> list[Record]:
        assert (broker, consumer) == (self, self)
        self.steps.append("read")
        batch = self.batches.pop(0) if self.batches else []
        if batch and batch[0].topic == "lost":
            raise BrokerLost
        return batch

    def find_deleted(self) -> set[str]:
        deleted, self.deleted = self.deleted, set()
        return deleted

    def skip_deleted(self) -> None:
        self.steps.append("skip_deleted")

    def commit(self, records: list[Record]) -> None:
        self.steps.append(("commit", len(records)))

    def close(self) -> None:
        self.steps.append("close")


@pytest.fixture
def fake_broker(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> FakeBroker:
    return FakeBroker(listener, monkeypatch)


def test_offsets_are_committed_after_the_facts_and_only_if_there_were_facts(
    listener: Listener, fake_broker: FakeBroker
) -> None:
    subject = new_id()
    fake_broker.batches = [[listener.record(subject, 1), listener.record(subject, 2)], []]
    steps = fake_broker.run(20)
    open_step = ("open", listener.name, [TOPIC])
    assert steps[:6] == ["wait 0.5", open_step, "_request_missing", "read", "take", ("commit", 2)]
    assert [step for step in steps[6:] if step != "read"][:4] == ["_request_missing", "sweep"] * 2
    assert (steps.count("take"), steps[-1]) == (1, "close")
    assert listener.applied_version(subject) == 2


def test_facts_that_the_broker_has_deleted_are_requested_before_any_offset_is_committed(
    listener: Listener, fake_broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_broker.deleted = {TOPIC}
    fake_broker.batches = [[listener.record(new_id(), 1)]]
    monkeypatch.setattr(subscriber, "send", lambda _, *request: fake_broker.steps.append(request))
    steps = fake_broker.run(20)
    request: tuple[object, ...] = (REPLAYS, [(TOPIC.encode(), b"", [])])
    assert steps[3:7] == ["read", request, "skip_deleted", "take"]
    assert (steps.count(request), steps.count("skip_deleted")) == (1, 1)


@pytest.mark.parametrize(("count", "pauses"), [(MAX_POLL_RECORDS - 1, 1), (MAX_POLL_RECORDS, 0)])
def test_a_consumer_that_gathers_facts_pauses_after_a_batch_that_was_not_full(
    count: int,
    pauses: int,
    listener: Listener,
    fake_broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subject, wait = new_id(), Mock(return_value=False)
    monkeypatch.setattr(listener.subscriber.loop(), "wait", wait)
    listener.subscriber._gather = 0.1
    fake_broker.batches = [[listener.record(subject, version + 1) for version in range(count)]]
    fake_broker.run(2 * MAX_POLL_RECORDS)
    assert listener.applied_version(subject) == count
    assert wait.call_args_list == [call(0.1)] * pauses


def test_while_the_broker_is_down_waiting_facts_are_still_retried(
    fake_broker: FakeBroker,
) -> None:
    fake_broker.clusters = [None]
    assert fake_broker.run(3) == ["wait 0.5", "sweep"] * 3


def test_a_broker_with_another_cluster_id_is_read_from_its_beginning(
    listener: Listener, fake_broker: FakeBroker
) -> None:
    fake_broker.clusters = ["one", "two"]
    steps = [step for step in fake_broker.run(6) if step != "_request_missing"]
    open_step = ("open", listener.name, [TOPIC])
    assert steps[:6] == ["wait 0.5", open_step, "close", "wait 0.5", open_step, "read"]
    assert steps[-1] == "close"


def test_the_kafka_consumer_is_closed_whatever_ends_the_loop(
    listener: Listener, fake_broker: FakeBroker
) -> None:
    fake_broker.batches = [[Record(None, None, [], topic="lost")]]
    with pytest.raises(BrokerLost):
        fake_broker.run(4)
    assert fake_broker.steps[-2:] == ["read", "close"]
    fake_broker.steps.clear()
    fake_broker.batches = [[listener.record(new_id(), 1)]]
    fake_broker.run(2)  # a stop in the middle of a batch
    assert fake_broker.steps[-2:] == ["take", "close"]
    assert listener.applied == []


def test_the_loop_of_a_subscriber_has_its_name_and_waits_while_the_broker_is_lost(
    listener: Listener, fake_broker: FakeBroker
) -> None:
    fake_broker.batches = [[Record(None, None, [], topic="lost")]]
    loop = listener.subscriber.loop()
    loop._once()
    assert (loop.name, loop.state) == (f"subscriber-{listener.name}", State.WAITING)
