"""The service as a process: its commands, its start without its dependencies, its clean stop."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chassis.clock import SystemClock
from chassis.db import Database
from chassis.ids import new_id
from chassis.tokens import SYSTEM
from facts.envelope import pack
from facts.kafka import Consumer, Producer
from facts.outbox import Fact
from keys import key_folder
from keys.sealing import Keyring, Signer
from local.process import free_port
from protos.partners.v1 import directory_pb2, directory_pb2_grpc
from protos.referrals.v1 import facts_pb2
from services.partners import config, subscriptions
from services.partners.directory.domain.import_job import ImportJob
from services.partners.directory.domain.service import Capacity, Intake, ServiceEntry
from services.partners.directory.store import imports
from services.partners.members.domain.organization import OrganizationEntry, OrganizationType
from services.partners.members.store import organizations
from tests.partners import scene
from tests.partners.scene import NOON, ROOT
from tests.parts.brokers import Broker
from tests.parts.local_stack import until
from tests.parts.postgres import Database as Place
from tests.parts.postgres import Server

pytestmark = pytest.mark.long


@pytest.fixture
def place(postgres: Server) -> Iterator[Place]:
    created = postgres.database("partners")  # empty: migrating it is part of the test
    yield created
    postgres.drop(created)


@pytest.fixture
def environment(place: Place, broker: Broker, tmp_path: Path) -> dict[str, str]:
    key_folder.create(tmp_path / "keys", ["partners", "referrals"])
    return os.environ | {
        "ENLACE_DATABASE_URL": place.url,
        "ENLACE_MIGRATION_URL": place.migration_url,
        "ENLACE_KEYS": str(tmp_path / "keys"),
        "ENLACE_LISTEN": f"127.0.0.1:{free_port('127.0.0.1')}",
        "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap,
    }


def command(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "services.partners", *words]
    return subprocess.run(
        line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def serve(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Starts the service."""
    return subprocess.Popen(
        [sys.executable, "-m", "services.partners", "serve"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
    )


def register(place: Place) -> str:
    """Registers an approved hotline; returns its id."""
    database = Database(place.url, max_size=2)
    database.open()
    with database.transaction(SYSTEM) as tx:
        entry = OrganizationEntry(
            "Llama y Vive", OrganizationType.HOTLINE, "NI", hotline_number="133"
        )
        organization = scene.register(tx, entry, NOON)
    database.close()
    return organization.id


def test_doctor_notices_a_missing_table_although_its_migration_is_recorded(
    place: Place, environment: dict[str, str]
) -> None:
    command(environment, "migrate")
    place.run_as_owner("DROP TABLE words")
    assert json.loads(command(environment, "doctor", "--json").stdout)["schema"] is False


def test_the_service_migrates_serves_publishes_its_facts_and_stops_cleanly(
    place: Place, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before_migration = command(environment, "doctor", "--json")
    assert (before_migration.returncode, json.loads(before_migration.stdout)["schema"]) == (
        1,
        False,
    )
    no_database = environment | {
        "ENLACE_DATABASE_URL": "postgresql://partners@127.0.0.1:9/partners"
    }
    doctor = command(no_database, "doctor")
    assert doctor.returncode == 1
    assert doctor.stdout.splitlines()[-6:-2] == [
        "MISSING database",
        "unknown schema",
        "unknown append-only trail",
        "unknown keys of all sealed rows",
    ]
    assert doctor.stderr == "ENLACE_DATABASE_URL: host\n"
    failed_command = command(no_database, "replay", "--dry-run")
    assert failed_command.returncode == 1
    assert failed_command.stderr == "Error: the database does not answer (store_unavailable)\n"
    failed_command = command(environment | {"ENLACE_KEYS": "/nowhere"}, "dead-letters", "list")
    assert failed_command.returncode == 1
    assert failed_command.stderr == (
        "Error: /nowhere/sealing.partners.key can't be read: No such file or directory\n"
    )
    for _ in range(2):  # a second time changes nothing
        process = command(environment, "migrate")
        assert process.returncode == 0, process.stderr
    after_migration = command(environment, "doctor", "--json")
    assert (after_migration.returncode, set(json.loads(after_migration.stdout).values())) == (
        0,
        {True},
    )
    id = register(place)
    serving = serve(environment)
    try:
        with grpc.insecure_channel(environment["ENLACE_LISTEN"]) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            for name in ("", "enlace.partners.v1.Directory", "broker"):
                wait_until_serving(health, name)
            hotlines = (
                directory_pb2_grpc.DirectoryStub(channel)
                .ListHotlines(directory_pb2.ListHotlinesRequest(), timeout=5)
                .hotlines
            )
            assert [line.number for line in hotlines] == ["133"]
        expected = [f"enlace.organization.{word}.v1" for word in ("registered", "approved")]
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", environment["KAFKA_BOOTSTRAP_SERVERS"])
        consumer = Consumer(config.load().service, "test", [config.TOPIC])
        try:
            assert published_kinds(consumer, id, 2) == expected
            dry_run = command(environment, "replay", "--dry-run", "--json")
            assert json.loads(dry_run.stdout) == {"facts": 2}
            assert json.loads(
                command(environment, "replay", "--from", "2026-03-15", "--json").stdout
            ) == {"facts": 0}
            assert command(environment, "replay").stdout == "2 facts will be published again\n"
            assert published_kinds(consumer, id, 2) == expected
        finally:
            consumer.close()
    finally:
        serving.send_signal(signal.SIGTERM)
        started = time.monotonic()
        assert serving.wait(15) == 0
    assert time.monotonic() - started < 10


def test_a_service_that_cannot_start_names_the_setting(environment: dict[str, str]) -> None:
    unset_setting = command(environment | {"ENLACE_DATABASE_URL": ""}, "serve")
    assert (unset_setting.returncode, unset_setting.stderr) == (
        1,
        "wrong settings: ENLACE_DATABASE_URL is not set\n",
    )
    host, _, port = environment["ENLACE_LISTEN"].partition(":")
    with socket.create_server((host, int(port))):
        taken_port = command(environment, "serve")
        metrics_listen = {"ENLACE_LISTEN": f"{host}:0", "ENLACE_METRICS_LISTEN": f"{host}:{port}"}
        no_metrics = command(environment | metrics_listen, "serve")
    assert (taken_port.returncode, no_metrics.returncode) == (1, 1)
    assert (
        f"wrong settings: ENLACE_LISTEN: Failed to bind to address {host}:{port}"
        in taken_port.stderr
    )
    assert no_metrics.stderr.startswith("wrong settings: ENLACE_METRICS_LISTEN: ")


def test_an_import_of_a_killed_process_is_done_by_the_next_process(
    place: Place, environment: dict[str, str]
) -> None:
    assert command(environment, "migrate").returncode == 0
    owner = register(place)
    keyring = Keyring(key_folder.secret(Path(environment["ENLACE_KEYS"]), "sealing.partners"))
    database = Database(place.url, max_size=4)
    database.open()
    content = "Nombre;Necesidades;Departamento\nUno;PSS;León\nDos;PSS;León".encode()
    with database.transaction(SYSTEM) as tx:
        job = ImportJob(
            new_id(), SYSTEM.organization_id, owner, False, SystemClock().now(), None, {}
        )
        imports.add(tx, keyring, job, SYSTEM, content)

    def state() -> str:
        with database.transaction(SYSTEM) as tx:
            stored = imports.fetch(tx, keyring, job.id)
        assert stored
        return stored.state

    first = serve(environment)
    try:
        with database.transaction(SYSTEM, timeout=120) as tx:
            tx.execute("SELECT * FROM organizations WHERE id = %s FOR UPDATE", (owner,)).fetchone()
            until(lambda: state() == "WRITING")
            first.kill()
            first.wait(15)
    finally:
        first.kill()
    second = serve(environment)
    try:
        until(lambda: state() == "DONE", 100)
        with database.transaction(SYSTEM) as tx:
            assert [
                row["name"] for row in tx.execute("SELECT name FROM services ORDER BY name")
            ] == ["Dos", "Uno"]
    finally:
        second.send_signal(signal.SIGTERM)
        assert second.wait(15) == 0
        database.close()


def test_the_service_consumes_the_published_fact_of_a_decline_for_lack_of_room(
    place: Place, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command(environment, "migrate").returncode == 0
    owner = register(place)
    database = Database(place.url, max_size=2)
    database.open()
    with database.transaction(SYSTEM) as tx:
        room = Capacity(Intake.OPEN, 3)
        organization = organizations.fetch(tx, owner)
        assert organization
        service = scene.offer(tx, organization, ServiceEntry("Albergue", ("HOU.EMG",)), room, NOON)
    referral_fact = facts_pb2.ReferralFact(
        service_id=service.id, reason_code="no_capacity", actor_organization_id=owner
    )
    later = NOON + timedelta(hours=2)
    fact = Fact(
        new_id(), 1, "enlace.referral.declined.v1", referral_fact.SerializeToString(), later
    )
    signer = Signer(key_folder.signing(Path(environment["ENLACE_KEYS"]), "facts.referrals"))
    serving = serve(environment)
    try:
        with grpc.insecure_channel(environment["ENLACE_LISTEN"]) as channel:
            for name in ("broker", "loop/subscriber-partners"):
                wait_until_serving(health_pb2_grpc.HealthStub(channel), name)
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", environment["KAFKA_BOOTSTRAP_SERVERS"])
        producer = Producer(config.load().service)
        key, body, headers = pack(fact, "enlace/referrals", signer)
        producer.send_all(subscriptions.TOPIC, [(key, body, headers)])
        producer.discard()
        end = time.monotonic() + 60
        declined_time = None
        while declined_time is None and time.monotonic() < end:
            time.sleep(0.1)
            with database.transaction(SYSTEM) as tx:
                row = tx.execute(
                    "SELECT declined_time FROM services WHERE id = %s", (service.id,)
                ).fetchone()
                declined_time = row["declined_time"] if row else None
        assert declined_time == later
    finally:
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(15) == 0
        database.close()


def wait_until_serving(health: Any, name: str) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            if (
                health.Check(health_pb2.HealthCheckRequest(service=name), timeout=2).status
                == health_pb2.HealthCheckResponse.SERVING
            ):
                return
        except grpc.RpcError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"{name or 'the service'} does not answer")


def published_kinds(consumer: Consumer, subject: str, count: int) -> list[str]:
    """Returns the types of the next facts of a subject, in the topic's order."""
    types: list[str] = []
    end = time.monotonic() + 40
    while len(types) < count and time.monotonic() < end:
        for record in consumer.poll(0.5):
            if record.key == subject.encode():
                types.append(dict(record.headers)["ce_type"].decode())
    return types


def test_a_new_network_gets_two_coordinators_by_one_command_and_only_once(
    environment: dict[str, str], place: Place
) -> None:
    assert command(environment, "migrate").returncode == 0
    first = ["--email", "primera@coalicion.example", "--name", "Primera"]
    second = ["--email", "segunda@coalicion.example", "--name", "Segunda"]
    found = ["found", "--organization", "Coalición de prueba", "--country"]
    assert command(environment, *found, "NI", *first).returncode == 2, (
        "one coordinator alone can decide nothing"
    )
    assert command(environment, *found, "Nicaragua", *first, *second).returncode == 2
    output = command(environment, *found, "NI", *first, *second)
    assert output.returncode == 0, output.stderr
    assert [line.split()[0] for line in output.stdout.splitlines()] == [
        "primera@coalicion.example",
        "segunda@coalicion.example",
    ]
    second_network = command(
        environment,
        *found,
        "NI",
        *(word.replace("coalicion", "otra") for word in [*first, *second]),
    )
    assert (second_network.returncode, "coordinators already" in second_network.stderr) == (1, True)
    found_elsewhere = [
        "found-elsewhere",
        "--organization",
        "Otra sede",
        "--country",
        "NI",
        "--email",
        "tercera@otra.example",
        "--name",
        "Tercera",
    ]
    output = command(environment, *found_elsewhere)
    assert (output.returncode, output.stdout.split()[0]) == (0, "tercera@otra.example"), (
        output.stderr
    )
    assert (
        command(
            environment, *(word.replace("otra", "cuarta") for word in found_elsewhere)
        ).returncode
        == 1
    )
    database = Database(place.url, max_size=2)
    database.open()
    with database.transaction(SYSTEM) as tx:
        roles = [row["roles"] for row in tx.execute("SELECT roles FROM workers").fetchall()]
        organizations = tx.execute(
            "SELECT count(DISTINCT organization_id) AS n FROM workers"
        ).fetchone()
        on_record = tx.execute(
            "SELECT count(*) AS n FROM audit WHERE action = 'coordinator_found'"
        ).fetchone()
    database.close()
    assert len(roles) == 3
    assert all("COORDINATOR" in role for role in roles)
    assert (organizations, on_record) == ({"n": 2}, {"n": 3})
