"""Witnesses of a topic: services that keep its records in their databases, and publish them again
where a broker has lost them.

A witness keeps each record as its teller signed it, so it can repeat what was said and say nothing
in the teller's name. It publishes what the topic lacks when it starts, when it meets another
broker, and when a reader asks (`QUESTION`); then it answers with the number of subjects that it
keeps records of (`ANSWER`). A reader that has the answers of all witnesses, and has read to the end
after that, knows all that is remembered. Without them a topic that is empty, or ends early, proves
nothing.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chassis import log
from chassis.clock import Clock
from chassis.db import Database, Transaction
from chassis.ids import new_id
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM
from facts import records
from facts.envelope import Unreadable, pack, unpack
from facts.kafka import Broker, BrokerLost, Record, read_from, send
from facts.outbox import Fact
from keys.sealing import SignatureCheck, Signer

QUESTION = "enlace.witness.asked.v1"
"""Type of a question: its subject is an id of its own. The teller asks."""
ANSWER = "enlace.witness.answered.v1"
"""Type of an answer: its subject is that of the question, its version one more than the number of
subjects that the witness keeps.
"""
# seconds between two looks at the topic: how long a record is with the broker alone, and how long a
# question waits
_PAUSE = 5.0


@dataclass(frozen=True)
class Question:
    """The teller asks all witnesses for what the topic lacks."""

    id: str


@dataclass(frozen=True)
class Answer:
    """A witness has published what the topic lacked; it keeps records of so many subjects."""

    question_id: str
    witness: str
    count: int


def read(
    record: Any, teller: str, kind: str, trusted_signers: Mapping[str, SignatureCheck]
) -> Fact | Question | Answer:
    """Returns the message of a record of the topic.

    Raises Unreadable, also where a witness speaks in the teller's place.

    Only facts of type `kind` belong to the topic: whoever can write to it could bring any other
    that the teller signed.
    """
    fact = unpack(record.headers, record.value, trusted_signers)
    source = dict(record.headers)["ce_source"].decode().removeprefix("enlace/")
    if fact.type == ANSWER:
        return Answer(fact.subject, source, fact.version - 1)
    if source != teller:
        raise Unreadable("source")
    if fact.type == QUESTION:
        return Question(fact.subject)
    if fact.type != kind:
        raise Unreadable("source")
    return fact


def question(signer: Signer, teller: str, now: datetime) -> tuple[str, Record]:
    """A new question: its id, and its record."""
    asked = new_id()
    return asked, pack(Fact(asked, 1, QUESTION, b"", now), f"enlace/{teller}", signer)


class Witness:
    """One loop a service process; several of a service keep the same."""

    def __init__(
        self,
        name: str,
        topic: str,
        teller: str,
        kind: str,
        database: Database,
        broker: Broker,
        signer: Signer,
        trusted_signers: Mapping[str, SignatureCheck],
        clock: Clock,
    ) -> None:
        """`teller` is the service whose topic it is, `kind` the type of its facts;
        `trusted_signers` have its signature and this witness's own.
        """
        self._name = name
        self._topic = topic
        self._teller = teller
        self._kind = kind
        self._database = database
        self._broker = broker
        self._signer = signer
        self._trusted_signers = trusted_signers
        self._clock = clock
        self._cluster = ""
        self._offsets: dict[int, int] = {}
        self._subjects: set[str] = set()  # of which the topic has a record
        self._compared = False
        self._questions: set[str] = set()
        self._answered: set[str] = set()

    def loop(self) -> Loop:
        """The loop that turns it."""
        return Loop("witness", self._work, waits_for=(BrokerLost,))

    def _work(self, loop: Loop) -> None:
        while loop.turn():
            if self._broker.wait(0.5) is not None:
                self.turn(lambda: loop.turn())
                loop.wait(_PAUSE)

    def turn(self, going_on: Callable[[], object] = lambda: None) -> int:
        """Keeps what the topic has; publishes what only this service has, where that is due;
        returns how many records that were. Raises BrokerLost.
        """
        cluster = self._broker.cluster_id or ""
        if cluster != self._cluster:
            self._forget()
            self._cluster = cluster
        self._hear(going_on)
        questions = self._questions - self._answered
        if questions:
            self._forget()  # a broker may have lost records and kept its name
            self._hear(going_on)
        if self._compared:
            return 0
        with self._database.transaction(SYSTEM) as tx:
            kept = latest(tx, self._topic)
        missing = [record for subject, record in kept.items() if subject not in self._subjects]
        if missing:
            log.get().warning("records_published_again", topic=self._topic, count=len(missing))
            send(self._broker.settings, self._topic, missing)
        now, source = self._clock.now(), f"enlace/{self._name}"
        answers = [Fact(each, len(kept) + 1, ANSWER, b"", now) for each in sorted(questions)]
        if answers:  # after what they speak of
            send(
                self._broker.settings,
                self._topic,
                [pack(answer, source, self._signer) for answer in answers],
            )
        self._answered |= questions
        self._compared = True
        return len(missing)

    def _forget(self) -> None:
        """The topic is read from its beginning the next time, and compared."""
        self._offsets, self._subjects, self._compared = {}, set(), False

    def _hear(self, going_on: Callable[[], object]) -> None:
        for batch in read_from(self._broker.settings, self._topic, self._offsets):
            going_on()
            for record in batch:
                self._take(record)
            self._offsets |= {record.partition: record.offset + 1 for record in batch}

    def _take(self, record: Any) -> None:
        try:
            message = read(record, self._teller, self._kind, self._trusted_signers)
        except Unreadable as unreadable:
            log.get().warning(
                "record_not_kept", topic=self._topic, offset=record.offset, reason=unreadable.reason
            )
            return
        match message:
            case Question():
                self._questions.add(message.id)
            case Answer():
                if message.witness == self._name:
                    self._answered.add(message.question_id)
            case Fact():
                with self._database.transaction(SYSTEM) as tx:
                    keep(tx, self._topic, message.subject, record)
                self._subjects.add(message.subject)


def as_sent(record: Any) -> Record:
    """A record that was heard, as it is sent again."""
    return outgoing(records.pack(record.key, record.value, record.headers))


def keep(tx: Transaction, topic: str, subject: str, record: Any) -> None:
    """Keeps a record for ever; the same one heard again is one."""
    packed = records.pack(record.key, record.value, record.headers)
    tx.execute(
        "INSERT INTO kept_records (topic, id, subject, record) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT DO NOTHING",
        (topic, hashlib.sha256(packed).hexdigest(), subject, packed.decode()),
    )


def latest(tx: Transaction, topic: str) -> dict[str, Record]:
    """The record of each subject that was kept last: signed by the key that its teller has now, if
    any is.
    """
    rows = tx.execute(
        "SELECT DISTINCT ON (subject) subject, record FROM kept_records WHERE topic = %s"
        " ORDER BY subject, witnessed_time DESC",
        (topic,),
    )
    return {row["subject"]: outgoing(row["record"].encode()) for row in rows}


def outgoing(packed: bytes) -> Record:
    """A kept record as it is sent again. Raises ValueError where it is none."""
    key, value, headers = records.unpack(packed)
    return key or b"", value or b"", [(name, header or b"") for name, header in headers]
