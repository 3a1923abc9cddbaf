"""Witnesses of a topic: services that store its records in their databases, and publish them again
if a broker has lost them.

A witness stores each record with the signature of its publisher, so it can repeat records but not
forge any. It publishes the records that the topic lacks when it starts, when the broker's cluster
changes, and when the publisher asks (`QUESTION`). It then answers the question with the number of
subjects whose records it stores (`ANSWER`). A publisher that has the answers of all witnesses, and
has then read the topic to its end, knows all records. Without the answers, an empty or short topic
proves nothing.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from chassis import log
from chassis.clock import Clock
from chassis.db import Database, Transaction
from chassis.ids import new_id
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM
from facts import records
from facts.broker import Broker
from facts.envelope import Unreadable, pack, unpack
from facts.kafka import BrokerLost, Reader, ReceivedRecord, Record, read_from, send
from facts.outbox import Fact
from keys.sealing import SignatureVerifier, Signer

QUESTION = "enlace.witness.asked.v1"
"""Type of a question by the publisher of the topic. Its subject is the id of the question."""
ANSWER = "enlace.witness.answered.v1"
"""Type of an answer. Its subject is the id of the question, and its version is one more than the
number of subjects that the witness stores.
"""
# Seconds between two reads of the topic: the longest time for which a new record is only in the
# broker, and for which a question waits.
_PAUSE = 5.0


@dataclass(frozen=True)
class Question:
    """The publisher's request that all witnesses publish the records that the topic lacks."""

    id: str


@dataclass(frozen=True)
class Answer:
    """A witness's statement that it has published the records that the topic lacked, with the
    number of subjects that the witness stores.
    """

    question_id: str
    witness: str
    count: int


def read(
    record: Any, publisher: str, kind: str, trusted_signers: Mapping[str, SignatureVerifier]
) -> Fact | Question | Answer:
    """Returns the message in a record of the topic.

    Raises Unreadable, including for a fact or a question that the publisher did not sign. Only
    facts of type `kind` belong to the topic: otherwise an attacker with write access could insert
    any other fact that the publisher has signed.
    """
    fact = unpack(record.headers, record.value, trusted_signers)
    source = dict(record.headers)["ce_source"].decode().removeprefix("enlace/")
    if fact.type == ANSWER:
        return Answer(fact.subject, source, fact.version - 1)
    if source != publisher:
        raise Unreadable("source")
    if fact.type == QUESTION:
        return Question(fact.subject)
    if fact.type != kind:
        raise Unreadable("source")
    return fact


def question(signer: Signer, publisher: str, now: datetime) -> tuple[str, Record]:
    """Returns a new question: its id, and its record."""
    question_id = new_id()
    return question_id, pack(
        Fact(question_id, 1, QUESTION, b"", now), f"enlace/{publisher}", signer
    )


class Witness:
    """Stores, in a loop, the records of another service's topic. Safe to run in each replica."""

    def __init__(
        self,
        name: str,
        topic: str,
        publisher: str,
        kind: str,
        database: Database,
        broker: Broker,
        signer: Signer,
        trusted_signers: Mapping[str, SignatureVerifier],
        clock: Clock,
    ) -> None:
        """`publisher` is the service that publishes the topic, `kind` the type of its facts;
        `trusted_signers` check the signatures of the publisher and of all witnesses.
        """
        self._name = name
        self._topic = topic
        self._publisher = publisher
        self._kind = kind
        self._database = database
        self._broker = broker
        self._signer = signer
        self._trusted_signers = trusted_signers
        self._clock = clock
        self._cluster_id = ""
        self._offsets: dict[int, int] = {}
        self._subjects: set[str] = set()  # subjects with a record in the topic
        self._compared = False
        self._question_ids: set[str] = set()
        self._answered_ids: set[str] = set()

    def loop(self) -> Loop:
        """Returns the loop that reads and publishes."""
        return Loop("witness", self._work, waits_for=(BrokerLost,))

    def _work(self, loop: Loop) -> None:
        reader: Reader | None = None
        try:
            while loop.turn():
                cluster_id = self._broker.wait(0.5)
                if cluster_id is None:
                    continue
                if reader is not None and cluster_id != self._cluster_id:
                    reader.close()
                    reader = None
                try:
                    reader = reader or Reader(self._broker.settings, self._topic)
                    self.turn(lambda: loop.turn(), reader.read)
                except BrokerLost:
                    # the topic may have been deleted and made again: read it from its start
                    self._cluster_id = ""
                    self._broker.note_failure("witness")
                    raise
                self._broker.note_success("witness")
                loop.wait(_PAUSE)
        finally:
            if reader is not None:
                reader.close()

    def turn(
        self,
        on_progress: Callable[[], object] = lambda: None,
        read_records: Callable[[Mapping[int, int]], Iterator[Sequence[ReceivedRecord]]]
        | None = None,
    ) -> int:
        """Stores new records of the topic. If a comparison is due, also publishes the latest stored
        record of each subject that the topic lacks. Returns how many it published. Raises
        BrokerLost.

        `read_records` reads the topic from offsets; by default, over a connection of its own.
        """
        read_records = read_records or partial(read_from, self._broker.settings, self._topic)
        cluster_id = self._broker.cluster_id or ""
        if cluster_id != self._cluster_id:
            self._forget()
            self._cluster_id = cluster_id
        self._read_topic(on_progress, read_records)
        open_questions = self._question_ids - self._answered_ids
        if open_questions:
            self._forget()  # a broker may have lost records but kept its cluster id
            self._read_topic(on_progress, read_records)
        if self._compared:
            return 0
        with self._database.transaction(SYSTEM) as tx:
            stored_records = latest(tx, self._topic)
        missing = [
            record for subject, record in stored_records.items() if subject not in self._subjects
        ]
        if missing:
            log.get().warning("records_published_again", topic=self._topic, count=len(missing))
            send(self._broker.settings, self._topic, missing)
        now, source = self._clock.now(), f"enlace/{self._name}"
        answers = [
            Fact(id, len(stored_records) + 1, ANSWER, b"", now) for id in sorted(open_questions)
        ]
        if answers:  # sent after the missing records
            send(
                self._broker.settings,
                self._topic,
                [pack(answer, source, self._signer) for answer in answers],
            )
        self._answered_ids |= open_questions
        self._compared = True
        return len(missing)

    def _forget(self) -> None:
        """Makes the next turn read the topic from its beginning, and compare it with the stored
        records.
        """
        self._offsets, self._subjects, self._compared = {}, set(), False

    def _read_topic(
        self,
        on_progress: Callable[[], object],
        read_records: Callable[[Mapping[int, int]], Iterator[Sequence[ReceivedRecord]]],
    ) -> None:
        for batch in read_records(self._offsets):
            on_progress()
            for record in batch:
                self._take(record)
            self._offsets |= {record.partition: record.offset + 1 for record in batch}

    def _take(self, record: Any) -> None:
        try:
            message = read(record, self._publisher, self._kind, self._trusted_signers)
        except Unreadable as unreadable:
            log.get().warning(
                "record_not_kept", topic=self._topic, offset=record.offset, reason=unreadable.reason
            )
            return
        match message:
            case Question():
                self._question_ids.add(message.id)
            case Answer():
                if message.witness == self._name:
                    self._answered_ids.add(message.question_id)
            case Fact():
                with self._database.transaction(SYSTEM) as tx:
                    save(tx, self._topic, message.subject, record)
                self._subjects.add(message.subject)


def received_to_send(record: Any) -> Record:
    """Returns a received record as a record to be sent."""
    return record_to_send(records.pack(record.key, record.value, record.headers))


def save(tx: Transaction, topic: str, subject: str, record: Any) -> None:
    """Stores a record forever; ignores a record that is already stored."""
    packed = records.pack(record.key, record.value, record.headers)
    tx.execute(
        "INSERT INTO kept_records (topic, id, subject, record) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT DO NOTHING",
        (topic, hashlib.sha256(packed).hexdigest(), subject, packed.decode()),
    )


def latest(tx: Transaction, topic: str) -> dict[str, Record]:
    """Returns the last record of each subject. After a change of keys, that is the record signed
    with the newest key.
    """
    rows = tx.execute(
        "SELECT DISTINCT ON (subject) subject, record FROM kept_records WHERE topic = %s"
        " ORDER BY subject, witnessed_time DESC",
        (topic,),
    )
    return {row["subject"]: record_to_send(row["record"].encode()) for row in rows}


def record_to_send(packed: bytes) -> Record:
    """Returns a stored record as a record to be sent. Raises ValueError if the bytes are not a
    packed record.
    """
    key, value, headers = records.unpack(packed)
    return key or b"", value or b"", [(name, header or b"") for name, header in headers]
