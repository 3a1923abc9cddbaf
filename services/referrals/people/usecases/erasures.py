"""Keeps erasures outside the database, and applies them to a database restored from a copy.

Each erasure is kept in three places: on a topic, by the services that witness the topic
(facts/witness.py), and in a file in the folder of the keys if that folder is writable. Any one of
them is enough to apply the erasure again. A restored store shows no person until the topic has been
read and all witnesses have answered.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from google.protobuf.message import DecodeError

from chassis import audit, log, metrics
from chassis.announcements import listen, wait_for_work
from chassis.audit import Entry
from chassis.clock import Clock
from chassis.db import LOST, Database, Transaction
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM
from facts import records, witness
from facts.broker import Broker
from facts.envelope import Unreadable, pack, unpack
from facts.kafka import BrokerLost, Producer, Record, read_from
from facts.outbox import Fact
from facts.witness import Answer, Question
from keys.sealing import SignatureVerifier, Signer
from services.referrals.people.domain.erasure import Erasure
from services.referrals.people.store import erasures
from services.referrals.people.usecases.erasing import ErasureRpcs
from services.referrals.people.wire.facts import ERASED, erasure_fact, erasure_of

TOPIC = "enlace.erasures.v1"
"""The topic of erasures, which is kept for ever.

The key of a record is the id of the erasure; the body is its fact (`ErasureFact`,
enlace.erasure.done.v1).
"""
WITNESSES = frozenset({"partners", "notifications"})
"""The services that keep the topic's records; a restored store waits until each has answered."""
FILE = "erasures.referrals"
"""The file in the folder of the keys, with one record per line.

This file is copied with the keys, and is not restored with a database.
"""
_NAME = "referrals"
_SOURCE = f"enlace/{_NAME}"
# seconds between two rounds while the topic lacks an erasure, or has not yet returned it
_PAUSE = 2.0
_PAUSE_WHILE_CLOSED = 0.5
# The maximum number of seconds between two checks for an unannounced change, such as a restore of
# the database while the service runs. The service then opens nobody's data until this loop has
# caught up.
_READ_AGAIN = 15.0


class Erasures:
    """The loop that keeps and applies erasures; each process of the service runs one.

    Several processes may do the same work, since an erasure that is published twice counts once.
    """

    def __init__(
        self,
        erasing: ErasureRpcs,
        database: Database,
        broker: Broker,
        signer: Signer,
        trusted_signers: Mapping[str, SignatureVerifier],
        clock: Clock,
        folder: Path,
        *,
        read_again: float = _READ_AGAIN,
    ) -> None:
        """Makes the loop.

        `trusted_signers` check the signatures of this service and of the witnesses; `folder` has
        the keys. `read_again` is the maximum number of seconds between two checks for changes that
        were not announced.
        """
        self._read_again = read_again
        self._erasing = erasing
        self._database = database
        self._broker = broker
        self._signer = signer
        self._trusted_signers = trusted_signers
        self._clock = clock
        self._file = folder / FILE
        self._cluster = ""
        self._offsets: dict[int, int] = {}
        self._known: dict[str, tuple[Erasure, Record]] = {}  # by id, from any source
        self._published_ids: set[str] = set()  # ids that the topic has
        self._filed_ids: set[str] | None = None  # ids that the file has; None before it was read
        self._question_id = ""
        self._witness_counts: dict[str, int] = {}  # erasures at each witness that answered
        self._read_after_answers = False  # whether the topic was read to its end after all answers
        self._alarm: tuple[object, ...] = ()  # the last logged reason why the store stays closed

    def loop(self) -> Loop:
        """Returns the loop."""
        return Loop("erasures", self._work, waits_for=(*LOST, BrokerLost))

    def _work(self, loop: Loop) -> None:
        with self._database.dedicated() as connection:
            listen(connection, erasures.CHANNEL)
            while loop.turn():
                if self._broker.wait(0.5) is None:
                    self.remember()  # files the erasures that are made while the broker is down
                else:
                    self.turn(lambda: loop.turn())
                self._wait(loop, connection)

    def _wait(self, loop: Loop, connection: Transaction) -> None:
        """Waits until there is work; while some work is unfinished, waits only for a pause."""
        if self._question_id:
            loop.wait(_PAUSE_WHILE_CLOSED)
            return
        is_unfinished = bool(self._known.keys() - self._published_ids)
        pause = _PAUSE if is_unfinished else self._read_again
        while loop.turn():
            announced = wait_for_work(
                loop,
                connection,
                lambda: self._broker.cluster_id not in (None, self._cluster),
                read_again=pause,
            )
            if (
                announced
                or is_unfinished
                or erasures.has_work(connection, self._known, self._clock.now())
            ):
                return

    def turn(self, on_progress: Callable[[], object] = lambda: None) -> int:
        """Reads the topic, applies missing erasures, and publishes erasures that the topic lacks.

        Returns the number of files that were erased again. Raises BrokerLost.
        """
        cluster = self._broker.cluster_id or ""
        # the topic of a new cluster is read from its start, and gets the erasures that it lacks
        if cluster != self._cluster:
            self._cluster, self._offsets, self._published_ids = cluster, {}, set()
            self._question_id, self._witness_counts = "", {}
        self.remember()
        all_answered = self._witness_counts.keys() >= WITNESSES
        self._read_topic(on_progress)
        self._write_file()
        # a witness publishes its erasures before its answer
        self._read_after_answers = all_answered
        erased_again = self._apply()
        self._publish(
            [record for id, (_, record) in self._known.items() if id not in self._published_ids]
        )
        self._open_or_ask()
        return erased_again

    def remember(self) -> None:
        """Reads new erasures from the database, and writes them to the file.

        Also publishes the proposals that have lapsed.
        """
        if self._filed_ids is None:
            self._read_file()
        with self._database.transaction(SYSTEM) as tx:
            erasures.note_first_store(tx)
            erasures.publish_lapsed(tx, self._clock.now())
            new_erasures = erasures.other_erasures(tx, list(self._known))
        for erasure in new_erasures:
            fact = erasure_fact(erasure, "done")
            self._known[erasure.id] = erasure, pack(fact, _SOURCE, self._signer)
        self._write_file()

    # --- the file

    def _read_file(self) -> None:
        self._filed_ids = set()
        lines = self._file.read_bytes().splitlines() if self._file.exists() else []
        for line in filter(None, lines):
            try:
                record = witness.record_to_send(line)
                erasure = erasure_of(
                    unpack(record[2], record[1], {_SOURCE: self._signer.verifier()})
                )
            except (ValueError, DecodeError, Unreadable):
                # a line that a full disk truncated, or that a different key signed
                log.get().warning("erasure_unreadable", file=FILE)
                continue
            self._known[erasure.id] = erasure, record
            self._filed_ids.add(erasure.id)

    def _write_file(self) -> None:
        """Appends the missing erasures to the file.

        Each record also begins with a line break, so that a truncated line does not spoil the next
        record.
        """
        missing_ids = self._known.keys() - (self._filed_ids or set())
        # in a cluster the folder of the keys is read-only
        if not missing_ids or not os.access(self._file.parent, os.W_OK):
            return
        text = b"".join(
            b"\n" + records.pack(*self._known[id][1]) + b"\n" for id in sorted(missing_ids)
        )
        try:
            with os.fdopen(
                os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                "wb",
                buffering=0,
            ) as file:
                if file.write(text) < len(text):
                    raise OSError("short write")
                os.fsync(file.fileno())
        except OSError as error:
            log.get().error(
                "erasures_not_filed", error=type(error).__name__, count=len(missing_ids)
            )
            return
        self._filed_ids = (self._filed_ids or set()) | missing_ids

    # --- the topic

    def _read_topic(self, on_progress: Callable[[], object]) -> None:
        for batch in read_from(self._broker.settings, TOPIC, self._offsets):
            on_progress()
            for record in batch:
                try:
                    self._take(record)
                except (Unreadable, DecodeError):
                    log.get().warning(
                        "erasure_unreadable",
                        topic=TOPIC,
                        partition=record.partition,
                        offset=record.offset,
                    )
            self._offsets |= {record.partition: record.offset + 1 for record in batch}

    def _take(self, record: object) -> None:
        message = witness.read(record, _NAME, ERASED, self._trusted_signers)
        match message:
            case Answer(question_id=question_id):
                if question_id == self._question_id:
                    self._witness_counts[message.witness] = message.count
            case Fact():
                erasure = erasure_of(message)
                self._known[erasure.id] = erasure, witness.received_to_send(record)
                self._published_ids.add(erasure.id)
            case Question():
                pass

    def _apply(self) -> int:
        """Applies the known erasures to the present store, which may just have been restored."""
        known_erasures = [erasure for erasure, _ in self._known.values()]
        with self._database.transaction(SYSTEM) as tx:
            person_ids = erasures.people_without_erasure(
                tx, [erasure.person_id for erasure in known_erasures]
            )
        erased_again = 0
        for erasure in [erasure for erasure in known_erasures if erasure.person_id in person_ids]:
            with self._database.transaction(SYSTEM, timeout=30) as tx:
                now = self._clock.now()
                if self._erasing.erase_again(tx, now, erasure):
                    erased_again += 1
                    log.get().warning("erased_again", person_id=erasure.person_id)
                audit.record(
                    tx,
                    SYSTEM,
                    now,
                    [Entry("erase_again", erasure.person_id, "", (f"erasure:{erasure.id}",))],
                )
        with self._database.transaction(SYSTEM) as tx:
            erasures.note_witnessed(tx, list(self._published_ids), self._clock.now())
        return erased_again

    def _publish(self, missing_records: list[Record]) -> None:
        if missing_records:
            producer = Producer(self._broker.settings)
            try:
                producer.send_all(TOPIC, missing_records)
            finally:
                producer.discard()

    # --- a store that was restored

    def _open_or_ask(self) -> None:
        """Opens a restored store once all erasures that are kept anywhere have been applied to it.

        Until then, asks the witnesses, and logs what is missing.
        """
        with self._database.transaction(SYSTEM) as tx:
            awaits_erasures = not erasures.is_caught_up(tx)
            if awaits_erasures and self._is_complete():
                erasures.note_caught_up(tx)
                awaits_erasures = False
        metrics.ERASURES_AWAITED.set(awaits_erasures)
        if not awaits_erasures:
            self._question_id, self._witness_counts, self._alarm = "", {}, ()
            return
        if not self._question_id:
            self._question_id, question = witness.question(self._signer, _NAME, self._clock.now())
            self._publish([question])
        alarm = silent_witnesses, known_count, witnessed_count = (
            sorted(WITNESSES - self._witness_counts.keys()),
            len(self._published_ids),
            max(self._witness_counts.values(), default=0),
        )
        if alarm != self._alarm:
            log.get().error(
                "erasures_missing",
                silent=silent_witnesses,
                known=known_count,
                witnessed=witnessed_count,
            )
            self._alarm = alarm

    def _is_complete(self) -> bool:
        """Returns whether the topic has all erasures that the witnesses keep.

        This requires that each witness has answered, that the topic was read to its end after that,
        and that the topic has at least as many erasures as any witness keeps.
        """
        return self._read_after_answers and len(self._published_ids) >= max(
            self._witness_counts.values()
        )
