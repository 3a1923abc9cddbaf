"""Heads of trails: two services store each other's heads, which they exchange over a broker.

The owner of one database tries to hide what happened.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import click
import psycopg
import pytest
import structlog
from click.testing import CliRunner
from google.protobuf.wrappers_pb2 import BytesValue
from kafka.admin import KafkaAdminClient

from chassis import audit, log
from chassis.audit import Entry, Marker
from chassis.clock import SystemClock
from chassis.config import ServiceSettings
from chassis.db import Database
from chassis.ids import new_id
from chassis.migrate import migrate
from chassis.tokens import SYSTEM, Caller
from facts.broker import Broker
from facts.envelope import pack
from facts.kafka import BrokerLost, create_topics
from facts.outbox import Fact
from keys import key_folder
from keys.sealing import Signer
from runtime import commands
from tests.chassis.test_trail import COPY, KEYRING, SIGNED_IN, commit
from tests.chassis.world import MIGRATIONS, send_records, settings
from tests.parts import brokers, topics
from tests.parts import postgres as parts
from tests.parts.loops import eventually, running
from tests.parts.paused import paused_process
from trail import heads
from trail.heads import TOPIC, Heads

WORKER = Caller("w" * 32, "worker", "o" * 32)


@dataclass
class Pair:
    """Two services, with names that no other test uses, because all tests share the topic."""

    broker: Broker
    folder: Path
    pg_databases: dict[str, parts.Database]
    databases: dict[str, Database]
    loops: dict[str, Heads]

    def settings(self, name: str) -> ServiceSettings:
        return replace(
            self.broker.settings, database_url=self.pg_databases[name].url, keys=self.folder
        )

    def start(self, name: str) -> None:
        """Starts a service with nothing in memory, as after a restart."""
        self.loops[name] = Heads(
            name,
            self.databases[name],
            self.broker,
            self.signer(name),
            key_folder.trusted_signers(self.folder),
            SystemClock(),
        )

    def signer(self, name: str) -> Signer:
        return Signer(key_folder.signing(self.folder, f"facts.{name}"))

    def write(self, name: str, rows: int) -> None:
        """Adds rows to the trail of a service."""
        with self.databases[name].transaction(SYSTEM) as tx:
            audit.record(
                tx,
                WORKER,
                datetime.now(UTC),
                [Entry("open_identity", new_id()) for _ in range(rows)],
            )

    def write_and_turn(self, name: str, rows: int) -> list[str]:
        """Adds rows to the trail of a service, and lets the service publish its head."""
        self.write(name, rows)
        return self.turn(name)

    def turn(self, name: str) -> list[str]:
        """Lets a service take a turn; returns the reasons of its findings."""
        return [finding.reason for finding in self.loops[name].turn()]

    def witnessed(self, witness: str, service: str) -> list[int]:
        """Returns the sequence numbers of the heads of a service that the witness stores."""
        with self.databases[witness].transaction(SYSTEM) as tx:
            return [row["sequence"] for row in heads.witnessed(tx, service)]

    def published(self, service: str) -> set[int]:
        """Returns the sequence numbers of a service's heads in the topic; none without a topic."""
        with suppress(BrokerLost):
            signers = key_folder.trusted_signers(self.folder)
            published_heads = heads.published_heads(self.settings(service), service, signers)
            return {head.sequence for head in published_heads}
        return set()

    def publish_head(
        self, service: str, subject: str, sequence: int, *, signer: str, type: str = heads.TYPE
    ) -> None:
        """Publishes a made-up head in the name of a service, signed with the key of `signer`."""
        payload = BytesValue(value=b"x" * 32).SerializeToString()
        fact = Fact(subject, sequence, type, payload, datetime.now(UTC))
        record = pack(fact, f"enlace/{service}", self.signer(signer))
        send_records(self.broker.settings, TOPIC, [record])

    def move_to_an_empty_topic(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Moves to an empty topic, as with a new broker."""
        topic = f"enlace.tests-{new_id()[:8]}.v1"
        bootstrap = self.broker.settings.kafka_bootstrap_servers
        with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
            create_topics(admin, self.broker.settings, [topic])
        monkeypatch.setattr(heads, "TOPIC", topic)

    def command(self, name: str, *words: str, stdin: str | None = None) -> tuple[int, str]:
        """Runs an operator's command; returns its exit code and its output."""
        main = click.Group()
        commands.add_to(main, name, lambda: self.settings(name), (), MIGRATIONS)
        result = CliRunner().invoke(main, ["audit", *words], input=stdin)
        return result.exit_code, result.stdout


@pytest.fixture
def pair(broker: brokers.Broker, postgres: parts.Server, tmp_path: Path) -> Iterator[Pair]:
    names = [f"one-{new_id()[:8]}", f"two-{new_id()[:8]}"]
    key_folder.create(tmp_path, names)
    watch = Broker(settings(broker.bootstrap), [TOPIC])
    watch.start()
    assert watch.wait(30)
    pg_databases = {name: postgres.database("tests", MIGRATIONS) for name in names}
    with ExitStack() as stack:
        databases = {
            name: stack.enter_context(pg_database.open_as_service(max_size=4))
            for name, pg_database in pg_databases.items()
        }
        created = Pair(watch, tmp_path, pg_databases, databases, {})
        for name in names:
            created.start(name)
        yield created
    watch.stop()
    watch.join(10)
    structlog.reset_defaults()  # otherwise the log lines of later tests would not be captured


RECOMPUTE = """
DO $$ DECLARE entry audit; head bytea := sha256('enlace.audit.v1'); BEGIN
    UPDATE audit SET object_id = 'nobody' WHERE sequence = 2;
    FOR entry IN SELECT * FROM audit ORDER BY sequence LOOP
        head := sha256(head || convert_to(audit_line(entry), 'UTF8'));
        UPDATE audit SET hash = head WHERE sequence = entry.sequence;
    END LOOP;
    UPDATE audit_head SET hash = head;
END $$
"""
CUT = """
DELETE FROM audit WHERE sequence > 3;
UPDATE audit_head SET (sequence, hash) = (SELECT sequence, hash FROM audit ORDER BY sequence DESC
    LIMIT 1)
"""


def test_services_store_each_others_heads(pair: Pair) -> None:
    one, two = pair.pg_databases
    assert pair.turn(one) == []  # an empty trail has no head to publish
    for rows in (5, 2):
        assert pair.write_and_turn(one, rows) == []
    assert (pair.turn(two), pair.witnessed(two, one), pair.witnessed(one, one)) == ([], [5, 7], [])
    pair.start(two)  # and reads the whole topic again
    assert (pair.turn(two), pair.witnessed(two, one)) == ([], [5, 7])


@pytest.mark.parametrize(
    ("cheat", "reason"), [(CUT, "cut"), (RECOMPUTE, "forked"), ("DELETE FROM audit", "cut")]
)
def test_a_cut_tail_or_a_recomputed_chain_is_detected_within_a_minute(
    cheat: str, reason: str, pair: Pair
) -> None:
    one, two = pair.pg_databases
    pair.write_and_turn(one, 5)
    pair.turn(two)
    pair.pg_databases[one].run_as_owner(cheat)
    if cheat is CUT:  # the service continues as if nothing had happened
        pair.write(one, 1)
    assert [pair.turn(one), pair.turn(one)] == [[reason], [reason]]
    pair.start(one)  # a restart loses nothing: the topic and the other service have the heads
    assert pair.turn(one) == [reason]


@pytest.mark.parametrize(("cheat", "reason"), [(CUT, "cut"), (RECOMPUTE, "forked")])
def test_heads_stored_by_other_services_expose_a_changed_trail_after_the_broker_lost_them(
    cheat: str, reason: str, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = pair.pg_databases
    pair.write_and_turn(one, 5)
    pair.turn(two)
    pair.pg_databases[one].run_as_owner(cheat)
    pair.move_to_an_empty_topic(monkeypatch)
    for name in pair.pg_databases:
        pair.start(name)
    assert [pair.turn(two), pair.turn(one), pair.turn(one)] == [[], [reason], [reason]]
    assert pair.command(one, "verify", "--json")[0] == 1


def test_a_topic_of_heads_that_is_deleted_while_the_services_run_is_filled_again(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = pair.pg_databases
    for pause in ("_FIRST_PAUSE", "_EVERY"):
        monkeypatch.setattr(heads, pause, 0.2)
    pair.move_to_an_empty_topic(monkeypatch)
    pair.broker = Broker(pair.broker.settings, [heads.TOPIC])
    for name in pair.pg_databases:
        pair.write(name, 3)
        pair.start(name)
    with running(pair.broker.loop, *(service.loop() for service in pair.loops.values())):
        assert eventually(lambda: pair.witnessed(one, two) == pair.witnessed(two, one) == [3])
        topics.delete(pair.broker.settings.kafka_bootstrap_servers, heads.TOPIC)
        assert eventually(lambda: pair.published(one) == pair.published(two) == {3})


def test_heads_that_a_service_reports_of_another_trail_are_not_stored_by_a_third(
    pair: Pair,
) -> None:
    one, two = pair.pg_databases
    pair.publish_head(two, "a-third", 9, signer=two, type=heads.WITNESSED)
    assert pair.turn(one) == []
    assert pair.witnessed(one, "a-third") == []


def test_a_cut_tail_that_has_grown_again_is_detected_by_its_hash(pair: Pair) -> None:
    one, _ = pair.pg_databases
    pair.write_and_turn(one, 5)
    pair.pg_databases[one].run_as_owner(CUT)
    assert pair.write_and_turn(one, 6) == ["forked"]


def test_a_row_edited_since_the_last_check_is_detected(pair: Pair) -> None:
    one, _ = pair.pg_databases
    pair.write_and_turn(one, 3)
    pair.write(one, 3)
    pair.pg_databases[one].run_as_owner("UPDATE audit SET object_id = 'nobody' WHERE sequence = 5")
    assert [pair.turn(one), pair.turn(one)] == [["altered"], ["altered"]]


def test_a_restart_ends_no_alarm_about_an_old_row_and_delays_none_about_a_new_row(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = pair.pg_databases
    monkeypatch.setattr(heads, "_MAX_ROWS", 4)
    edit = "UPDATE audit SET object_id = 'nobody' WHERE sequence = "
    pair.write_and_turn(one, 3)
    pair.write(one, 3)
    pair.pg_databases[one].run_as_owner(edit + "5")
    assert pair.turn(one) == ["altered"]
    pair.start(one)
    assert [pair.turn(one), pair.turn(one)] == [[], ["altered"]], "four older rows in each turn"
    pair.write(one, 1)
    pair.pg_databases[one].run_as_owner(edit + "7")
    assert pair.turn(one) == ["altered", "altered"]


def test_a_copy_of_an_old_row_raises_the_alarm_although_its_mark_is_genuine(pair: Pair) -> None:
    one, _ = pair.pg_databases
    pg_database = pair.pg_databases[one]
    with pg_database.open_as_service(max_size=4, marker=Marker(KEYRING)) as database:
        pair.databases[one] = database
        pair.start(one)
        commit(database, 3, SIGNED_IN)
        assert pair.turn(one) == []
        with psycopg.connect(pg_database.url) as role:
            role.execute(COPY.format(actor="actor_id", mark="mark").encode())
        assert [pair.turn(one), pair.turn(one)] == [["repeated"], ["repeated"]]


def test_the_command_compares_the_trail_with_the_topic_and_with_the_other_services_heads(
    pair: Pair,
) -> None:
    one, two = pair.pg_databases
    for _ in range(3):
        pair.write_and_turn(one, 4)
    pair.turn(two)
    code, output = pair.command(one, "verify", "--json")
    verdict = json.loads(output)
    assert (code, verdict["rows"], verdict["witnessed"], verdict["findings"]) == (0, 12, 3, [])

    code, stored_heads = pair.command(two, "witnesses", "--of", one)
    assert (code, [head["sequence"] for head in json.loads(stored_heads)]) == (0, [4, 8, 12])
    pair.pg_databases[one].run_as_owner(RECOMPUTE)
    code, output = pair.command(one, "verify", "--json", "--no-topic")
    assert (code, json.loads(output)["findings"]) == (0, [])  # the trail by itself is consistent
    code, output = pair.command(
        one, "verify", "--json", "--no-topic", "--witnesses", "-", stdin=stored_heads
    )
    assert (code, [finding["sequence"] for finding in json.loads(output)["findings"]]) == (
        1,
        [4, 8, 12],
    )
    code, output = pair.command(one, "verify")
    assert code == 1
    assert "forked   row 12\nthe trail is not intact" in output
    assert pair.command(one, "verify", "--witnesses", "-", stdin="nonsense")[0] == 2
    assert pair.command(two, "witnesses", "--of", "nobody")[0] == 1


def test_after_a_restore_no_alarm_is_raised_but_the_command_reports_the_fork(
    pair: Pair, postgres: parts.Server, tmp_path: Path
) -> None:
    one, two = pair.pg_databases
    pg_database, copy = pair.pg_databases[one], tmp_path / "copy"
    pair.write_and_turn(one, 5)
    postgres.dump(pg_database, copy)
    pair.write_and_turn(one, 3)
    postgres.restore(pg_database, copy)
    migrate(pg_database.migration_url, MIGRATIONS)
    pair.start(one)
    # as many rows as were lost, so that each lost number is used again
    assert pair.write_and_turn(one, 3) == []
    pair.turn(two)
    assert pair.witnessed(two, one) == [5, 8, 8]
    code, output = pair.command(one, "verify", "--json")
    assert (code, [finding["reason"] for finding in json.loads(output)["findings"]]) == (
        1,
        ["forked"],
    )
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        psycopg.connect(pg_database.url) as service,
    ):
        service.execute("UPDATE audit SET action = 'x'")


def test_a_head_is_stored_only_if_the_trails_own_service_signed_it(pair: Pair) -> None:
    one, two = pair.pg_databases
    pair.write_and_turn(one, 3)
    pair.publish_head(one, one, 4, signer=two)  # signed by the other service
    pair.publish_head(two, one, 5, signer=two)  # a head of another trail
    assert (pair.turn(two), pair.witnessed(two, one), pair.turn(one)) == ([], [3], [])


def test_two_heads_at_one_place_are_both_stored_and_reported(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = pair.pg_databases
    pair.write_and_turn(one, 3)
    pair.publish_head(one, one, 3, signer=one)
    log.setup("test")
    pair.turn(two)
    assert pair.witnessed(two, one) == [3, 3]
    assert '"audit_fork_witnessed"' in capsys.readouterr().out


def test_without_the_broker_the_command_gives_no_verdict_on_the_published_heads(
    pair: Pair, broker: brokers.Broker
) -> None:
    one, _ = pair.pg_databases
    pair.write_and_turn(one, 4)
    with paused_process(broker.process.pid):
        # prints a sentence to standard error, and no verdict
        assert pair.command(one, "verify", "--json") == (1, "")
        assert pair.command(one, "verify", "--json", "--no-topic")[0] == 0
