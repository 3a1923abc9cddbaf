"""Heads of the trails: each service says its last row on a topic every minute, keeps what the
others say, and holds its own trail against what it said.

So the owner of one database can't shorten or rewrite its trail unseen: what was there is signed, in
the topic, and in the other services' databases. Where a broker has lost the heads, the others
publish the last one that they keep. What this loop sees by itself: a trail that no longer holds the
head it said last, in this epoch, or rows behind it that do not fit. The whole chain against all
that was witnessed is `audit verify`'s.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.message import DecodeError
from google.protobuf.wrappers_pb2 import BytesValue

from chassis import audit, log, metrics
from chassis.audit import START, Head
from chassis.clock import Clock
from chassis.config import ServiceSettings
from chassis.db import Database, Transaction
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM
from facts import outbox
from facts.envelope import Unreadable, pack, unpack
from facts.kafka import Broker, BrokerLost, read_from, send
from facts.outbox import Fact
from keys.sealing import SignatureCheck, Signer
from trail import chain
from trail.chain import Finding

TOPIC = "enlace.audit.v1"
"""Key = the service, version = the sequence of the row, body = its hash
(google.protobuf.BytesValue).
"""
TYPE = "enlace.audit.head.v1"
WITNESSED = "enlace.audit.witnessed.v1"
"""Type of a head that another service keeps of the service that is the key."""
_SOURCE = "enlace/"
_EVERY = 60.0  # seconds: how much of a trail can be lost with a database and nobody has seen it
_FIRST = 5.0  # seconds after the start: time for the relay to notice that the store was restored
_ROWS = 100_000  # verified in one transaction: a second's work


class Heads:
    """One loop a service process; several processes of a service say the same."""

    def __init__(
        self,
        name: str,
        database: Database,
        broker: Broker,
        signer: Signer,
        trusted_signers: Mapping[str, SignatureCheck],
        clock: Clock,
    ) -> None:
        """`trusted_signers` are those of all services, this one included, by source
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
        # whether the topic had what is kept here of the others, or was given it
        self._compared = False
        # heads of ours in the topic that were not yet held against the trail
        self._heard: list[Fact] = []
        self._said = START  # the greatest that was, of this epoch
        self._checked: Head | None = None  # the last row of our trail that fitted
        self._marked: int | None = None  # the first row that has to be marked, once it is known
        self._epoch = 0
        self._witnessed: dict[int, set[bytes]] = {}

    def loop(self) -> Loop:
        """The loop that turns it."""
        return Loop("audit-heads", self._work, waits_for=(BrokerLost,), limit=3 * _EVERY)

    @property
    def witnessed(self) -> dict[int, set[bytes]]:
        """The heads of ours that the topic held when this process began, of this epoch, and those
        said since, by their sequence: a week, and a minute each.
        """
        return dict(self._witnessed)

    def _work(self, loop: Loop) -> None:
        pause = _FIRST
        while loop.turn():
            loop.wait(pause)
            if self._broker.wait(0.5) is not None:
                self.turn(lambda: loop.turn())
                pause = _EVERY

    def turn(self, going_on: Callable[[], object] = lambda: None) -> list[Finding]:
        """Hears what was said, checks the own trail, and says its head; returns what is wrong with
        it. Raises BrokerLost.
        """
        self._hear(going_on)
        if not self._compared:
            self._publish_kept()
        findings, epoch, head = self._check()
        metrics.AUDIT_FINDINGS.set(len(findings))
        for finding in findings:
            log.get().error("audit_broken", sequence=finding.sequence, reason=finding.reason)
        if head.sequence > 0:
            self._say(epoch, head)
        return findings

    def _hear(self, going_on: Callable[[], object]) -> None:
        """Keeps the others' new heads, and remembers our own."""
        cluster = self._broker.cluster_id or ""
        if cluster != self._cluster:
            self._cluster, self._offsets, self._compared, self._in_topic = cluster, {}, False, set()
        for records in read_from(self._broker.settings, TOPIC, self._offsets):
            going_on()
            heads = [
                fact
                for fact in (_read(record, self._trusted_signers) for record in records)
                if fact is not None
            ]
            if len(heads) < len(records):
                log.get().warning("audit_heads_unreadable", count=len(records) - len(heads))
            others = [fact for fact in heads if fact.subject != self._name and fact.type == TYPE]
            self._in_topic |= {(fact.subject, fact.epoch, fact.version) for fact in heads}
            if others:
                with self._database.transaction(SYSTEM) as tx:
                    keep(tx, others)
            self._heard += [fact for fact in heads if fact.subject == self._name]
            self._offsets |= {record.partition: record.offset + 1 for record in records}

    def _publish_kept(self) -> None:
        """Publishes the last head that is kept of each other service where the topic lacks it: a
        broker before had it.
        """
        with self._database.transaction(SYSTEM) as tx:
            kept = last_heads(tx)
        missing = [
            fact for fact in kept if (fact.subject, fact.epoch, fact.version) not in self._in_topic
        ]
        if missing:
            log.get().warning("audit_heads_published_again", count=len(missing))
            self._publish(missing)
        self._compared = True

    def _check(self) -> tuple[list[Finding], int, Head]:
        with self._database.transaction(SYSTEM) as tx:
            epoch, head = outbox.meet_store(tx, self._clock), audit.head(tx)
            if epoch != self._epoch:  # a store that was restored begins where its copy ended
                self._epoch, self._said, self._checked, self._witnessed, self._marked = (
                    epoch,
                    START,
                    None,
                    {},
                    None,
                )
            said = {
                self._said,
                *(Head(fact.version, _hash(fact)) for fact in self._heard if fact.epoch == epoch),
            }
            for one in said - {START}:
                self._witnessed.setdefault(one.sequence, set()).add(one.hash)
            latest = max(said, key=lambda one: one.sequence)
            findings = _against(tx, said)
            # Rows that came since the last look; what a chunk leaves is looked at the next time.
            after = self._checked or latest
            until = min(head.sequence, after.sequence + _ROWS)
            if not findings and until > after.sequence:
                self._marked = self._marked or chain.marked_since(tx)
                last, findings = chain.verify(tx, after, until, {}, self._marked)
                # what does not fit is found again every time
                self._checked = self._checked if findings else last
        self._said, self._heard = latest, []
        return findings, epoch, head

    def _say(self, epoch: int, head: Head) -> None:
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


def keep(tx: Transaction, heads: Sequence[Fact]) -> None:
    """Keeps other services' heads for ever; two different rows at one place of one trail are a
    fork, and kept both.
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
    """The last head that is kept of each other service, as a fact of who keeps it; both where there
    are two.
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
    """What this service has kept of another's heads, oldest first: epoch, sequence, hash in
    hexadecimal digits, time.
    """
    yield from tx.execute(
        "SELECT epoch, sequence, encode(hash, 'hex') AS hash, time FROM audit_witnesses"
        " WHERE service = %s ORDER BY epoch, sequence",
        (service,),
    )


def said(
    settings: ServiceSettings, name: str, trusted_signers: Mapping[str, SignatureCheck]
) -> Iterator[Head]:
    """A service's heads that are in the topic: those that it said, and those that others published
    again. Raises BrokerLost.
    """
    for records in read_from(settings, TOPIC, {}):
        for record in records:
            fact = _read(record, trusted_signers)
            if fact is not None and fact.subject == name:
                yield Head(fact.version, _hash(fact))


def _read(record: Any, trusted_signers: Mapping[str, SignatureCheck]) -> Fact | None:
    """A head, said by the service whose it is, or by one that keeps it; whoever can write to the
    topic can still not speak for a service.
    """
    try:
        fact = unpack(record.headers, record.value, trusted_signers)
        _hash(fact)
    except (Unreadable, DecodeError):
        return None
    own = dict(record.headers)["ce_source"].decode() == _SOURCE + fact.subject
    return fact if fact.type == (TYPE if own else WITNESSED) else None


def _hash(fact: Fact) -> bytes:
    return BytesValue.FromString(fact.payload).value


def _against(tx: Transaction, said: Collection[Head]) -> list[Finding]:
    """Which of these rows the trail has no longer."""
    rows = tx.execute(
        "SELECT sequence, hash FROM audit WHERE sequence = ANY(%s)",
        ([one.sequence for one in said],),
    ).fetchall()
    kept = {0: START.hash} | {row["sequence"]: bytes(row["hash"]) for row in rows}
    return [
        Finding(one.sequence, "forked" if one.sequence in kept else "cut")
        for one in sorted(said, key=lambda one: one.sequence)
        if kept.get(one.sequence) != one.hash
    ]
