"""Heads of the trails. Each service publishes the head of its trail (sequence and hash of the last
row) every minute, stores the heads that other services publish, and compares its own trail with the
heads that it has published.

So the owner of one database can't shorten or rewrite its trail unnoticed: earlier heads are signed,
and are stored in the topic and in the other services' databases. If a broker has lost the heads,
the other services publish the last heads that they store. The loop of `Heads` detects a trail that
no longer contains the last published head of this epoch, or that has invalid rows. It verifies new
rows every minute, and older rows gradually after each start, so that no restart ends an alarm.
`audit verify` checks the whole chain against all stored heads.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.message import DecodeError
from google.protobuf.wrappers_pb2 import BytesValue

from chassis import log, metrics
from chassis.audit import NO_HEAD, START, Head
from chassis.clock import Clock
from chassis.config import ServiceSettings
from chassis.db import LOST, Database, Transaction
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM
from facts import outbox
from facts.broker import Broker
from facts.envelope import Unreadable, pack, unpack
from facts.kafka import BrokerLost, read_from, send
from facts.outbox import Fact
from keys.sealing import SignatureVerifier, Signer
from trail import chain
from trail.chain import Finding

TOPIC = "enlace.audit.v1"
"""The topic of heads: key = the service, version = the sequence of the row, body = its hash
(google.protobuf.BytesValue).
"""
TYPE = "enlace.audit.head.v1"
WITNESSED = "enlace.audit.witnessed.v1"
"""Type of a head that another service stores and publishes again; the key is the service of the
trail.
"""
_SOURCE = "enlace/"
# Seconds between two heads: the longest part of a trail that can be lost unnoticed together with a
# database.
_EVERY = 60.0
_FIRST_PAUSE = 5.0  # seconds before the first turn: time for the relay to detect a restored store
_MAX_ROWS = 100_000  # rows verified in one transaction: a second's work


class Heads:
    """Publishes the head of the audit chain every minute, and checks it. Safe to run in each
    replica: all publish the same head.
    """

    def __init__(
        self,
        name: str,
        database: Database,
        broker: Broker,
        signer: Signer,
        trusted_signers: Mapping[str, SignatureVerifier],
        clock: Clock,
    ) -> None:
        """`trusted_signers` check the signatures of all services, including this one, by source
        (enlace/<service>).
        """
        self._name = name
        self._database = database
        self._broker = broker
        self._signer = signer
        self._trusted_signers = trusted_signers
        self._clock = clock
        self._cluster = ""
        self._offsets: dict[int, int] = {}
        self._in_topic: set[tuple[str, int, int]] = set()  # service, epoch and sequence
        # True once the topic has all heads of other services that are stored here
        self._compared = False
        # this service's heads in the topic that were not yet compared with its trail
        self._unchecked_heads: list[Fact] = []
        self._published_head = START  # the latest published head of this epoch
        # the last verified row of the rows after `_first_head`; None before the first check
        self._checked_head: Head | None = None
        self._first_head = START  # the latest published head at the first check
        self._checked_older_head = START  # the last verified row of the rows up to `_first_head`
        self._invalid_rows: dict[Finding, None] = {}  # in the order in which they were found
        self._first_marked: int | None = None  # the first row that must have a mark, once known
        self._epoch = 0
        self._witnessed: dict[int, set[bytes]] = {}

    def loop(self) -> Loop:
        """Returns the loop that checks and publishes."""
        return Loop("audit-heads", self._work, waits_for=(*LOST, BrokerLost), limit=3 * _EVERY)

    @property
    def witnessed(self) -> dict[int, set[bytes]]:
        """The heads of this service's trail in this epoch, by sequence: the heads of a week, which
        were in the topic when the process started, and the heads published since, one per minute.
        """
        return dict(self._witnessed)

    def _work(self, loop: Loop) -> None:
        pause = _FIRST_PAUSE
        with self._database.dedicated() as connection:
            while loop.turn():
                loop.wait(pause)
                if self._broker.wait(0.5) is not None:
                    try:
                        self.turn(lambda: loop.turn(), connection)
                    except BrokerLost:
                        # the topic may have been deleted and made again: read it from its start
                        self._cluster = ""
                        self._broker.note_failure("audit-heads")
                        raise
                    self._broker.note_success("audit-heads")
                    pause = _EVERY

    def turn(
        self,
        on_progress: Callable[[], object] = lambda: None,
        connection: Transaction | None = None,
    ) -> list[Finding]:
        """Reads new heads, checks this service's trail, and publishes its head unless the topic
        has it; returns the findings. Raises BrokerLost.
        """
        self._read_topic(on_progress)
        if not self._compared:
            self._publish_missing()
        if connection is not None:
            findings, epoch, head = self._check(connection)
        else:
            with self._database.transaction(SYSTEM) as tx:
                findings, epoch, head = self._check(tx)
        metrics.AUDIT_FINDINGS.set(len(findings))
        for finding in findings:
            log.get().error("audit_broken", sequence=finding.sequence, reason=finding.reason)
        if head.sequence > 0 and (self._name, epoch, head.sequence) not in self._in_topic:
            self._publish_head(epoch, head)
        return findings

    def _read_topic(self, on_progress: Callable[[], object]) -> None:
        """Stores the new heads of other services, and collects the new heads of this service."""
        cluster = self._broker.cluster_id or ""
        if cluster != self._cluster:
            self._cluster, self._offsets, self._compared, self._in_topic = cluster, {}, False, set()
        for records in read_from(self._broker.settings, TOPIC, self._offsets):
            on_progress()
            heads = [
                fact
                for fact in (_read(record, self._trusted_signers) for record in records)
                if fact is not None
            ]
            if len(heads) < len(records):
                log.get().warning("audit_heads_unreadable", count=len(records) - len(heads))
            other_heads = [
                fact for fact in heads if fact.subject != self._name and fact.type == TYPE
            ]
            self._in_topic |= {(fact.subject, fact.epoch, fact.version) for fact in heads}
            if other_heads:
                with self._database.transaction(SYSTEM) as tx:
                    save(tx, other_heads)
            self._unchecked_heads += [fact for fact in heads if fact.subject == self._name]
            self._offsets |= {record.partition: record.offset + 1 for record in records}

    def _publish_missing(self) -> None:
        """Publishes each other service's last stored head if the topic lacks it because a broker
        has lost it.
        """
        with self._database.transaction(SYSTEM) as tx:
            stored = last_heads(tx)
        missing = [
            fact
            for fact in stored
            if (fact.subject, fact.epoch, fact.version) not in self._in_topic
        ]
        if missing:
            log.get().warning("audit_heads_published_again", count=len(missing))
            self._publish(missing)
        self._compared = True

    def _check(self, tx: Transaction) -> tuple[list[Finding], int, Head]:
        stored_trail = _StoredTrail(
            tx, {self._published_head.sequence, *(fact.version for fact in self._unchecked_heads)}
        )
        epoch = (
            stored_trail.epoch if stored_trail.same_store else outbox.ensure_epoch(tx, self._clock)
        )
        head = stored_trail.head
        if epoch != self._epoch:  # a restored store continues from its copy
            self._epoch = epoch
            self._published_head = self._checked_older_head = START
            self._checked_head = None
            self._invalid_rows = {}
            self._witnessed = {}
            self._first_marked = None
        published_heads = {
            self._published_head,
            *(
                Head(fact.version, _hash(fact))
                for fact in self._unchecked_heads
                if fact.epoch == epoch
            ),
        }
        for published_head in published_heads - {START}:
            self._witnessed.setdefault(published_head.sequence, set()).add(published_head.hash)
        latest_head = max(published_heads, key=lambda published_head: published_head.sequence)
        findings = stored_trail.find_missing(published_heads)
        if not findings:
            if self._checked_head is None:
                self._checked_head = self._first_head = latest_head
            self._checked_head = self._verify(tx, self._checked_head, head.sequence)
            self._checked_older_head = self._verify(
                tx, self._checked_older_head, self._first_head.sequence
            )
        self._published_head, self._unchecked_heads = latest_head, []
        return findings + list(self._invalid_rows), epoch, head

    def _verify(self, tx: Transaction, after: Head, end: int) -> Head:
        """Verifies the rows after `after` up to `end`, at most `_MAX_ROWS`, and remembers invalid
        rows; returns the last verified row.
        """
        until = min(end, after.sequence + _MAX_ROWS)
        if until <= after.sequence:
            return after
        self._first_marked = self._first_marked or chain.first_marked_sequence(tx)
        last, findings = chain.verify(tx, after, until, {}, self._first_marked)
        findings += chain.repeated_marks(tx, after.sequence, until)
        self._invalid_rows |= dict.fromkeys(findings)
        return last

    def _publish_head(self, epoch: int, head: Head) -> None:
        self._publish(
            [
                Fact(
                    self._name,
                    head.sequence,
                    TYPE,
                    BytesValue(value=head.hash).SerializeToString(),
                    self._clock.now(),
                    epoch,
                )
            ]
        )

    def _publish(self, facts: Sequence[Fact]) -> None:
        send(
            self._broker.settings,
            TOPIC,
            [pack(fact, _SOURCE + self._name, self._signer) for fact in facts],
        )


def save(tx: Transaction, heads: Sequence[Fact]) -> None:
    """Stores other services' heads forever. Two different hashes at one sequence are a fork; both
    are stored.
    """
    for fact in heads:
        position = (fact.subject, fact.epoch, fact.version)
        tx.execute(
            "INSERT INTO audit_witnesses (service, epoch, sequence, hash, time)"
            " VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (*position, _hash(fact), fact.time),
        )
        row = tx.execute(
            "SELECT count(*) AS n FROM audit_witnesses WHERE service = %s AND epoch = %s"
            " AND sequence = %s",
            position,
        ).fetchone()
        if row and row["n"] > 1:
            log.get().error("audit_fork_witnessed", where=fact.subject, sequence=fact.version)


def last_heads(tx: Transaction) -> list[Fact]:
    """Returns the last stored head of each other service, as a fact to be published by this
    service; if there is a fork at that row, each of its heads.
    """
    rows = tx.execute(
        "SELECT service, sequence, hash, time, epoch FROM"
        " (SELECT *, rank() OVER (PARTITION BY service ORDER BY epoch DESC, sequence DESC) AS place"
        " FROM audit_witnesses) AS kept WHERE place = 1"
    )
    return [
        Fact(
            row["service"],
            row["sequence"],
            WITNESSED,
            BytesValue(value=row["hash"]).SerializeToString(),
            row["time"],
            row["epoch"],
        )
        for row in rows
    ]


def witnessed(tx: Transaction, service: str) -> Iterator[dict[str, Any]]:
    """Yields the stored heads of another service, oldest first: epoch, sequence, hash in
    hexadecimal digits, time.
    """
    yield from tx.execute(
        "SELECT epoch, sequence, encode(hash, 'hex') AS hash, time FROM audit_witnesses"
        " WHERE service = %s ORDER BY epoch, sequence",
        (service,),
    )


def published_heads(
    settings: ServiceSettings, name: str, trusted_signers: Mapping[str, SignatureVerifier]
) -> Iterator[Head]:
    """Yields a service's heads in the topic, of all epochs, whether the service itself published
    them or another service published them again. Raises BrokerLost.
    """
    for records in read_from(settings, TOPIC, {}):
        for record in records:
            fact = _read(record, trusted_signers)
            if fact is not None and fact.subject == name:
                yield Head(fact.version, _hash(fact))


def _read(record: Any, trusted_signers: Mapping[str, SignatureVerifier]) -> Fact | None:
    """Returns the head in a record; None unless the record is signed by the head's own service, or
    by another service that stores the head.
    """
    try:
        fact = unpack(record.headers, record.value, trusted_signers)
        _hash(fact)
    except (Unreadable, DecodeError):
        return None
    is_own = dict(record.headers)["ce_source"].decode() == _SOURCE + fact.subject
    return fact if fact.type == (TYPE if is_own else WITNESSED) else None


def _hash(fact: Fact) -> bytes:
    return BytesValue.FromString(fact.payload).value


class _StoredTrail:
    """The trail in the database at one moment: its head, the hashes of the rows at some sequences,
    and the epoch of the store. Read with one statement, since it is read even while nothing
    happens.

    `same_store` is False if the recorded identity is that of another store.
    """

    def __init__(self, tx: Transaction, sequences: Collection[int]) -> None:
        rows = tx.execute(
            "SELECT relay.epoch, relay.store = found.store AS same_store,"
            " head.sequence AS head_sequence, head.hash AS head_hash, audit.sequence, audit.hash"
            f" FROM relay CROSS JOIN ({outbox.STORE}) AS found LEFT JOIN audit_head head ON true"
            " LEFT JOIN audit ON audit.sequence = ANY(%s)",
            (sorted(sequences),),
        ).fetchall()
        first_row = rows[0]
        self.epoch, self.same_store = int(first_row["epoch"]), bool(first_row["same_store"])
        has_head = first_row["head_sequence"] is not None
        self.head = (
            Head(first_row["head_sequence"], bytes(first_row["head_hash"])) if has_head else NO_HEAD
        )
        self._hashes = {0: START.hash} | {
            row["sequence"]: bytes(row["hash"]) for row in rows if row["sequence"] is not None
        }

    def find_missing(self, published_heads: Collection[Head]) -> list[Finding]:
        """Returns a finding for each of these heads that the trail no longer contains."""
        return [
            Finding(head.sequence, "forked" if head.sequence in self._hashes else "cut")
            for head in sorted(published_heads, key=lambda head: head.sequence)
            if self._hashes.get(head.sequence) != head.hash
        ]
