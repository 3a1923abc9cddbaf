"""Erasures after a restore of an older backup, and the memories outside the database."""

import os
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import psycopg
import pytest
from kafka.admin import KafkaAdminClient

import chassis
from chassis import metrics
from chassis.config import ServiceSettings
from chassis.db import Database
from chassis.errors import Unavailable
from chassis.ids import new_id
from chassis.migrate import migrate
from chassis.tokens import SYSTEM
from facts import records
from facts.broker import Broker
from facts.envelope import pack
from facts.kafka import Producer, create_topics
from facts.outbox import Fact
from facts.witness import Witness
from keys import key_folder
from keys.sealing import Signer
from protos.referrals.v1 import facts_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.__main__ import MIGRATIONS
from services.referrals.people.domain.erasure import PROPOSED_FOR
from services.referrals.people.store import erasures as erasures_store
from services.referrals.people.usecases import erasures
from services.referrals.people.usecases.erasures import Erasures
from services.referrals.people.wire.facts import ERASED
from tests.builders import NOON, refusal
from tests.parts import brokers, topics
from tests.parts import postgres as parts
from tests.parts.loops import NEVER, OFTEN, eventually, running
from tests.referrals.conftest import ORG, Client, Service, Story, read
from tests.referrals.test_erasure import (
    ERASED_PERSON,
    confirm,
    erase,
    get_erasure,
    open_identity,
    person_with_data,
    propose,
)

CLOSED = ("UNAVAILABLE", "store_unavailable")
"""The answer of a restored database until it is known who has been erased."""
CHASSIS = Path(chassis.__file__).parent / "migrations"


@dataclass
class Memories:
    """The places outside the database that remember erasures.

    They are a topic, two witnesses with a database each, and a file in the folder of the keys.
    """

    service: Service
    watch: Broker
    places: dict[str, parts.Database]
    databases: dict[str, Database]
    folder: Path
    patch: pytest.MonkeyPatch

    def signer(self, name: str) -> Signer:
        return Signer(key_folder.signing(self.service.keys, f"facts.{name}"))

    def start(self, read_again: float = NEVER) -> Erasures:
        """Returns the loop of the referrals service, as after a start of its process."""
        return Erasures(
            self.service.made.erasing,
            self.service.database,
            self.watch,
            self.signer("referrals"),
            key_folder.trusted_signers(self.service.keys),
            self.service.clock,
            self.folder,
            read_again=read_again,
        )

    def witness(self, name: str) -> Witness:
        """Returns a witness, as after a start of its process."""
        return Witness(
            name,
            erasures.TOPIC,
            "referrals",
            ERASED,
            self.databases[name],
            self.watch,
            self.signer(name),
            key_folder.trusted_signers(self.service.keys),
            self.service.clock,
        )

    def change_records(self, statement: str, *values: str, names: Iterable[str] = ()) -> None:
        """Runs a statement in the databases of these witnesses, or of all."""
        for name in names or self.places:
            with psycopg.connect(self.places[name].migration_url) as owner:
                owner.execute(statement.encode(), values or None)

    def lose_the_broker(self) -> None:
        """Empties the topic, as if the broker were new."""
        lost_topic, topic = erasures.TOPIC, f"enlace.tests-{new_id()[:8]}.v1"
        admin = KafkaAdminClient(bootstrap_servers=self.watch.settings.kafka_bootstrap_servers)
        create_topics(admin, self.watch.settings, [topic])
        admin.close()
        self.patch.setattr(erasures, "TOPIC", topic)
        self.change_records(
            "UPDATE kept_records SET topic = %s WHERE topic = %s", topic, lost_topic
        )

    def catch_up(self, loop: Erasures, *witnesses: str) -> int:
        """Runs the loop and witnesses until the loop has received the answers of the witnesses.

        Returns the number of files that were erased again.
        """
        erased_count = loop.turn()
        for name in witnesses or self.places:
            self.witness(name).turn()
        return erased_count + loop.turn() + loop.turn()

    def publish(self) -> None:
        """Publishes the erasures, and lets each witness store them."""
        self.start().turn()
        for name in self.places:
            self.witness(name).turn()

    def erase_after(self, backup: "Backup", story: Story, manager: Client) -> str:
        """Makes a backup, erases a person of it and publishes the erasure; returns her id."""
        person_id = story.person().id
        self.start().turn()
        backup.make()
        erase(story, manager, person_id)
        self.publish()
        return person_id


@dataclass
class Backup:
    """A backup of the database of referrals."""

    postgres: parts.Server
    service: Service
    file: Path

    def make(self) -> None:
        url = self.service.migration_url
        self._run("pg_dump", "--format=custom", "--exclude-extension=*", f"--file={self.file}", url)

    def restore(self) -> None:
        """Restores the backup as docs/operations.md describes."""
        url = self.service.migration_url
        options = ("--clean", "--if-exists", "--no-owner")
        self._run("pg_restore", *options, f"--dbname={url}", str(self.file))
        migrate(url, MIGRATIONS)

    def _run(self, program: str, *words: str) -> None:
        process = subprocess.run(
            [str(self.postgres.programs / program), *words],
            capture_output=True,
            text=True,
            env={"PATH": os.environ["PATH"]},
        )
        assert process.returncode == 0, process.stderr


@pytest.fixture
def backup(postgres: parts.Server, service: Service, tmp_path: Path) -> Backup:
    return Backup(postgres, service, tmp_path / "copy")


@pytest.fixture
def memories(
    broker: brokers.Broker,
    service: Service,
    postgres: parts.Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Memories]:
    settings = ServiceSettings(
        "", "", broker.bootstrap, "PLAINTEXT", "", "", "", 1, "", "", service.keys, False, True, 4
    )
    watch = Broker(settings, [])
    watch.start()
    assert watch.wait(30)
    key_folder.create(service.keys, sorted(erasures.WITNESSES))
    places = {name: postgres.database("tests", [CHASSIS]) for name in sorted(erasures.WITNESSES)}
    databases = {name: Database(place.url, max_size=2) for name, place in places.items()}
    for database in databases.values():
        database.open()
    (tmp_path / "keys").mkdir()
    memories = Memories(service, watch, places, databases, tmp_path / "keys", monkeypatch)
    memories.lose_the_broker()  # a topic of this test alone
    yield memories
    for database in databases.values():
        database.close()
    watch.stop()
    watch.join(10)


@pytest.mark.parametrize(("announced", "read_again"), [(True, NEVER), (False, OFTEN)])
def test_the_loop_publishes_each_erasure_even_if_its_announcement_is_lost(
    story: Story,
    manager: Client,
    memories: Memories,
    monkeypatch: pytest.MonkeyPatch,
    announced: bool,
    read_again: float,
) -> None:
    if not announced:
        monkeypatch.setattr(erasures_store, "announce", lambda *_: None)
    person_ids = [story.person().id for _ in range(3)]
    with running(memories.start(read_again).loop()):
        for person_id in person_ids:
            erase(story, manager, person_id)
            assert eventually(lambda: get_erasure(story.ngo, person_id).HasField("witness_time"))  # noqa: B023


def test_a_proposal_that_nobody_confirms_in_time_is_published_as_lapsed_each_time(
    story: Story, service: Service, memories: Memories
) -> None:
    person_id = story.person().id

    def verbs() -> list[str]:
        rows = service.rows(
            "SELECT split_part(type, '.', 3) AS verb FROM outbox JOIN erasures"
            " ON erasures.id = subject WHERE person_id = %s ORDER BY outbox.version",
            person_id,
        )
        return [row["verb"] for row in rows]

    with running(memories.start(OFTEN).loop()):
        for lapses in (1, 2):
            propose(story.ngo, person_id)
            service.clock.advance(PROPOSED_FOR)
            assert eventually(lambda: verbs() == ["proposed", "lapsed"] * lapses)  # noqa: B023


def test_a_database_restored_while_the_loop_runs_is_reopened(
    story: Story, service: Service, manager: Client, memories: Memories, backup: Backup
) -> None:
    person_id = story.person().id
    witnesses = [memories.witness(name).loop() for name in memories.places]
    with running(memories.start(OFTEN).loop(), *witnesses):
        backup.make()
        erase(story, manager, person_id)
        assert eventually(lambda: get_erasure(story.ngo, person_id).HasField("witness_time"))
        backup.restore()

        def is_open() -> bool:
            return service.in_transaction(erasures_store.is_caught_up)

        assert not is_open()
        assert eventually(is_open, 60)
    assert service.rows("SELECT wrapped FROM person_keys WHERE person_id = %s", person_id) == [
        {"wrapped": None}
    ]


def test_a_backup_from_before_an_erasure_does_not_bring_the_person_back(
    story: Story, service: Service, manager: Client, memories: Memories, backup: Backup
) -> None:
    loop = memories.start()
    loop.turn()
    referral, contact_id = person_with_data(story)
    erased_id, intact_id = referral.person_id, story.person(given_name="Abril").id
    propose(story.ngo, erased_id)
    backup.make()
    erasure, later_id = confirm(manager, erased_id), story.person(given_name="Noelia").id
    erase(story, manager, later_id)
    loop.turn()  # publishes the erasure
    assert not get_erasure(story.ngo, erased_id).HasField("witness_time")
    assert loop.turn() == 0  # reads the erasure back
    assert get_erasure(story.ngo, erased_id).HasField("witness_time")

    backup.restore()
    wrapped_keys = "SELECT 1 FROM person_keys WHERE person_id = %s AND wrapped IS NOT NULL"
    assert service.rows(wrapped_keys, erased_id), "the restored backup holds her data again"
    for person_id in (erased_id, intact_id):
        assert refusal(partial(open_identity, story.ngo, person_id)) == CLOSED
    service.as_owner("UPDATE people SET names_form = 0 WHERE organization_id = %s", ORG["ngo"])
    with pytest.raises(Unavailable):
        service.made.names.index_batch()  # the background work waits, and puts no file aside
    assert memories.catch_up(memories.start()) == 1
    assert service.made.names.index_batch() > 0
    assert intact_id in {person.id for person in story.ngo.SearchPeople(name="Abril").people}
    assert refusal(lambda: open_identity(story.ngo, erased_id)) == ERASED_PERSON
    assert open_identity(story.ngo, intact_id).given_name == "Abril", (
        "the files of other people can be opened"
    )
    restored_erasure = get_erasure(story.ngo, erased_id)
    assert (
        restored_erasure.id,
        restored_erasure.erase_time,
        restored_erasure.confirmed_by_worker_id,
    ) == (erasure.id, erasure.erase_time, manager.caller.id)
    assert get_erasure(story.ngo, later_id).HasField("erase_time"), (
        "the proof exists even for a person who is not in the backup"
    )
    assert read(story.ngo, referral.id).state == pb.STATE_CONSENT_WITHDRAWN
    assert service.rows("SELECT note_sealed FROM contacts WHERE id = %s", contact_id) == [
        {"note_sealed": None}
    ]
    assert memories.start().turn() == 0


@pytest.mark.parametrize("memory", ["topic", "partners", "notifications", "file"])
def test_each_memory_alone_keeps_an_erased_person_erased_after_a_restore(
    memory: str, story: Story, manager: Client, memories: Memories, backup: Backup
) -> None:
    other_id = story.person(given_name="Abril").id
    person_id = memories.erase_after(backup, story, manager)
    backup.restore()
    if memory != "topic":
        memories.lose_the_broker()
    if memory != "file":
        (memories.folder / erasures.FILE).unlink()
    memories.change_records("TRUNCATE kept_records", names=memories.places.keys() - {memory})
    assert memories.catch_up(memories.start()) == 1
    assert refusal(lambda: open_identity(story.ngo, person_id)) == ERASED_PERSON
    assert open_identity(story.ngo, other_id).given_name == "Abril"


def test_a_restored_database_stays_closed_until_every_witness_has_answered(
    story: Story, memories: Memories, backup: Backup
) -> None:
    person_id = story.person().id
    loop = memories.start()
    loop.turn()
    assert open_identity(story.ngo, person_id).given_name == "Ximena", (
        "a database that was never restored waits for nobody"
    )
    backup.make()
    backup.restore()
    # neither an empty topic nor a single witness proves that nobody was erased
    assert memories.catch_up(loop, "partners") == 0
    assert refusal(lambda: open_identity(story.ngo, person_id)) == CLOSED
    assert metrics.ERASURES_AWAITED._value.get() == 1
    memories.witness("notifications").turn()
    loop.turn()
    loop.turn()
    assert open_identity(story.ngo, person_id).given_name == "Ximena"
    assert metrics.ERASURES_AWAITED._value.get() == 0


def test_a_restored_database_stays_closed_while_a_witness_has_records_that_it_cannot_read(
    story: Story, manager: Client, memories: Memories, backup: Backup
) -> None:
    person_id = memories.erase_after(backup, story, manager)
    memories.change_records(  # as if another key had signed the record
        "UPDATE kept_records SET record = replace(record, 'ce_time', 'ce_timing')"
    )
    (memories.folder / erasures.FILE).unlink()
    memories.lose_the_broker()
    backup.restore()
    assert memories.catch_up(memories.start()) == 0
    assert refusal(lambda: open_identity(story.ngo, person_id)) == CLOSED


def test_an_erasure_is_in_the_file_without_the_broker_and_a_cut_line_damages_no_other_line(
    story: Story, service: Service, manager: Client, memories: Memories
) -> None:
    first_id, second_id = story.person().id, story.person(given_name="Abril").id
    file = memories.folder / erasures.FILE
    erase(story, manager, first_id)
    memories.start().remember()
    file.write_bytes(file.read_bytes().rstrip()[:-9])  # truncates the file, as a full disk might
    memories.start().remember()
    erase(story, manager, second_id)
    memories.start().remember()
    lines = [line for line in file.read_bytes().splitlines() if line.endswith(b"]]]")]
    ids_in_file = [
        facts_pb2.ErasureFact.FromString(records.unpack(line)[1] or b"").person_id for line in lines
    ]
    rows = service.rows("SELECT person_id FROM erasures WHERE erase_time IS NOT NULL")
    erased_ids = {row["person_id"] for row in rows}
    assert sorted(ids_in_file) == sorted(erased_ids)
    assert {first_id, second_id} <= erased_ids
    assert file.stat().st_mode & 0o077 == 0, "only its owner may read the file"


def test_erasures_are_published_again_to_a_new_broker(
    story: Story, service: Service, manager: Client, memories: Memories
) -> None:
    person = story.person()
    erase(story, manager, person.id)
    loop = memories.start()
    loop.turn()
    memories.lose_the_broker()
    loop._cluster = "another"  # the cluster id of a new broker
    loop.turn()
    assert loop.turn() == 0
    assert get_erasure(story.ngo, person.id).HasField("witness_time")


def test_a_topic_of_erasures_that_is_deleted_while_the_services_run_is_filled_again(
    story: Story, manager: Client, memories: Memories
) -> None:
    bootstrap = memories.watch.settings.kafka_bootstrap_servers
    erase(story, manager, story.person().id)
    memories.publish()

    def published() -> set[topics.Record]:
        """Returns the records of erasures; the questions and answers of witnesses are not kept."""
        return {
            record
            for record in topics.records(bootstrap, [erasures.TOPIC])
            if ("ce_type", ERASED.encode()) in record.headers
        }

    records_before = published()
    memories.watch = Broker(memories.watch.settings, [erasures.TOPIC])
    witness = memories.witness("partners")
    with running(memories.watch.loop, witness.loop()):
        assert eventually(lambda: witness._compared)
        topics.delete(bootstrap, erasures.TOPIC)
        assert records_before
        assert eventually(lambda: published() == records_before)


def test_a_fact_from_another_signer_erases_nobody(
    story: Story, service: Service, memories: Memories
) -> None:
    person = story.person()
    body = facts_pb2.ErasureFact(
        erasure_id=new_id(), person_id=person.id, organization_id=ORG["ngo"]
    )
    body.propose_time.FromDatetime(NOON)
    body.erase_time.FromDatetime(NOON)
    fact = Fact(body.erasure_id, 2, "enlace.erasure.done.v1", body.SerializeToString(), NOON)
    # a fact of another type, as if it were copied from another topic
    proposal = replace(fact, type="enlace.erasure.proposed.v1")
    producer = Producer(memories.watch.settings)
    key_folder.create(service.keys, ["stranger"])
    for published_fact, source, signer in (
        (fact, "referrals", "stranger"),
        (fact, "stranger", "stranger"),
        (fact, "partners", "partners"),
        (fact, "referrals", "partners"),
        (proposal, "referrals", "referrals"),
    ):
        record = pack(published_fact, f"enlace/{source}", memories.signer(signer))
        producer.send_all(erasures.TOPIC, [record])
    producer.discard()
    assert memories.catch_up(memories.start()) == 0
    assert memories.witness("partners").turn() == 0
    with memories.databases["partners"].transaction(SYSTEM) as tx:
        rows = tx.execute("SELECT FROM kept_records WHERE subject = %s", (body.erasure_id,))
        assert rows.fetchall() == []
    assert open_identity(story.ngo, person.id).given_name == "Ximena"
