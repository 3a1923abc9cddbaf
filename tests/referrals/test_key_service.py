"""A service process whose sealing keys are in a PKCS#11 token.

The process seals, is restarted, and opens. Meanwhile the token is missing, replaced by another one,
or its keys are rotated.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from chassis.clock import SystemClock
from chassis.db import Database
from chassis.ids import new_id
from chassis.tokens import SYSTEM, Caller, Issuer
from keys import key_folder
from keys.sealing_keys import SealingKeys
from keys.service import KeyService
from local.process import Process, free_port
from protos.referrals.v1 import people_pb2, people_pb2_grpc, referrals_pb2
from services.referrals.__main__ import MIGRATIONS
from services.referrals.network.store import members
from tests.parts import postgres as parts
from tests.parts.local_stack import ROOT, until
from tests.parts.softhsm import MODULE, PIN, SoftHsm
from tests.referrals.conftest import ORG

pytestmark = pytest.mark.long

PEOPLE = 10_000


class Network:
    """A database, a folder of keys and a token, all of which outlive a process."""

    def __init__(
        self,
        postgres: parts.Server,
        softhsm: SoftHsm,
        label: str,
        folder: Path,
        *,
        sealing: bool = False,
    ) -> None:
        self.softhsm, self.folder = softhsm, folder
        self.place = postgres.database("referrals", MIGRATIONS)
        key_folder.create(
            folder / "keys", ["partners", "referrals", "notifications"], sealing=sealing
        )
        self.keys = SealingKeys(folder / "keys", "referrals", KeyService(softhsm.token(label)))
        self.environment = {
            **os.environ,
            **softhsm.environment_for(label),
            "ENLACE_DATABASE_URL": self.place.url,
            "ENLACE_KEYS": str(folder / "keys"),
            "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
        }
        self.issuer = Issuer(key_folder.signing(folder / "keys", "tokens"), SystemClock())
        self.database = Database(self.place.url, max_size=2, view_of=members.view_of)
        self.database.open()
        with self.database.transaction(SYSTEM) as tx:
            members.note_member(
                tx, "organization", ORG["ngo"], True, "APPROVED", "NGO", country="NI"
            )

    def command(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Runs a command of the service; returns its exit code and output."""
        process = self.begin(*words, "--json")
        output, _ = process.communicate(timeout=120)
        return process.returncode, json.loads(output) if output else {}

    def begin(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "services.referrals", *words],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @contextmanager
    def running(self, *, ready: bool = True, **environment: str) -> Iterator["RunningService"]:
        """Runs the service, and waits until it is ready, unless it can't be."""
        service = RunningService(self, environment)
        try:
            if ready:
                service.wait_until_ready()
            yield service
        finally:
            service.channel.close()
            service.process.kill()

    def add_people(self, count: int) -> None:
        """Adds files whose keys are wrapped by the token."""
        keyring, identifiers = self.keys.keyring(), [new_id() for _ in range(count)]
        with self.database.transaction(SYSTEM, timeout=30) as tx, tx.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO people (id, organization_id, version, create_time, update_time,"
                " names_form) VALUES (%s, %s, 1, now(), now(), 9)",
                [(identifier, ORG["ngo"]) for identifier in identifiers],
            )
            cursor.executemany(
                "INSERT INTO person_keys (person_id, wrapped) VALUES (%s, %s)",
                [
                    (identifier, keyring.new_key(f"person_keys/{identifier}/wrapped")[1])
                    for identifier in identifiers
                ],
            )

    def wrapped_by(self, number: int) -> int:
        """Returns the number of files whose keys are wrapped by a sealing key."""
        statement = "SELECT 1 FROM person_keys WHERE substring(wrapped FROM 1 FOR 3) = %s"
        with self.database.transaction(SYSTEM) as tx:
            return len(tx.execute(statement, (b"\x02" + number.to_bytes(2, "big"),)).fetchall())


class RunningService:
    """A running process of the service."""

    def __init__(self, network: Network, environment: dict[str, str]) -> None:
        self.network, listen = network, f"127.0.0.1:{free_port()}"
        self.process = Process(
            "referrals",
            [sys.executable, "-m", "services.referrals", "serve"],
            network.folder / f"{new_id()}.log",
            network.environment | {"ENLACE_LISTEN": listen} | environment,
            ROOT,
        )
        self.process.start()
        self.channel = grpc.insecure_channel(listen)
        self.people: Any = people_pb2_grpc.PeopleStub(self.channel)
        self.health: Any = HealthStub(self.channel)

    def readiness(self) -> int | None:
        """Returns the status of the readiness check, or None before the process answers."""
        try:
            return int(self.health.Check(HealthCheckRequest(), timeout=1).status)
        except grpc.RpcError:
            return None

    @property
    def ready(self) -> bool:
        return self.readiness() == HealthCheckResponse.SERVING

    def wait_until_ready(self) -> None:
        until(lambda: self.ready, 30)

    def wait_until_waiting(self) -> None:
        """Waits until the process answers and has logged that its key service is away."""
        until(lambda: bool(self.readiness() and self.logged_reasons("key_service_away")), 30)

    def wait_until_exit(self) -> None:
        until(lambda: not self.process.alive, 30)

    def log_lines(self) -> list[dict[str, Any]]:
        return [
            json.loads(line)
            for line in self.process.log.read_text().splitlines()
            if line.startswith("{")
        ]

    def logged_reasons(self, event: str) -> list[str]:
        return [line["reason"] for line in self.log_lines() if line["event"] == event]

    def create(self, name: str) -> people_pb2.Person:
        request = people_pb2.CreatePersonRequest(
            identity=people_pb2.Identity(given_name=name),
            coarse=referrals_pb2.CoarsePerson(
                age_band=referrals_pb2.AGE_BAND_18_TO_24,
                gender_code=referrals_pb2.PERSON_GENDER_FEMININE,
                language="es",
                country="NI",
            ),
            safe_contact=people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_NONE),
            request_id=new_id(),
        )
        person: people_pb2.Person = self.people.CreatePerson(
            request, metadata=self.as_worker(), timeout=10
        )
        return person

    def name(self, person_id: str) -> str:
        request = people_pb2.OpenPersonRequest(
            id=person_id, purpose_code="HOU.EMG", field_groups=[people_pb2.FIELD_GROUP_IDENTITY]
        )
        return str(
            self.people.OpenPerson(request, metadata=self.as_worker(), timeout=10).given_name
        )

    def as_worker(self) -> list[tuple[str, str]]:
        caller = Caller(f"{7:032x}", "worker", ORG["ngo"], frozenset({"WORKER"}), frozenset())
        return [
            ("authorization", f"Bearer {self.network.issuer.issue(caller, 'enlace.referrals')[0]}")
        ]


@pytest.fixture(scope="module")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftHsm]:
    softhsm = SoftHsm(tmp_path_factory.mktemp("softhsm"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", softhsm.environment["SOFTHSM2_CONF"])
        yield softhsm


@pytest.fixture
def network(softhsm: SoftHsm, postgres: parts.Server, tmp_path: Path) -> Iterator[Network]:
    """Returns a network whose sealing keys were never in a file."""
    network = Network(postgres, softhsm, new_id()[:12], tmp_path)
    assert network.begin("make-keys").wait(60) == 0
    yield network
    network.database.close()


def test_sealed_data_opens_after_a_restart_and_no_key_is_stored_in_the_clear(
    network: Network,
) -> None:
    with network.running() as service:
        person = service.create("Ximena")
        assert service.name(person.id) == "Ximena"
        process_data = (
            Path(f"/proc/{service.process.pid}/cmdline").read_bytes()
            + Path(f"/proc/{service.process.pid}/environ").read_bytes()
        )
        assert MODULE.encode() in process_data
        assert PIN.encode() not in process_data
        service.process.ask_to_stop()
        service.wait_until_exit()
        assert PIN not in service.process.log.read_text()
    assert key_folder.sealing_files(network.folder / "keys", "referrals") == []
    with network.running() as restarted_service:
        assert restarted_service.name(person.id) == "Ximena"
    assert network.command("doctor")[1]["key service"]
    with network.softhsm.away():
        assert not network.command("doctor")[1]["key service"]
        for command in ("make-keys", "rotate-keys"):
            assert network.begin(command).communicate(timeout=60)[1] == "Error: token_away\n"
    assert network.begin("make-keys").wait(60) == 1, "there is a key already"


def test_a_service_with_a_missing_token_or_wrong_pin_logs_it_and_waits(
    network: Network, tmp_path: Path
) -> None:
    pin = tmp_path / "another pin"
    pin.write_text("0000")
    with network.softhsm.away(), network.running(ready=False) as service:
        service.wait_until_waiting()
        with pytest.raises(grpc.RpcError) as caught:
            service.create("Ximena")
        assert (caught.value.code(), caught.value.details(), service.ready) == (
            grpc.StatusCode.UNAVAILABLE,
            "store_unavailable",
            False,
        )
        assert service.logged_reasons("key_service_away") == ["token_away"]
    with network.running(ready=False, ENLACE_PKCS11_PIN_FILE=str(pin)) as service:
        service.wait_until_waiting()
        with pytest.raises(grpc.RpcError):
            service.create("Ximena")
        assert (service.logged_reasons("key_service_away"), service.ready) == (["pin_wrong"], False)
        pin.write_text(PIN)
        service.wait_until_ready()
        assert service.name(service.create("Ximena").id) == "Ximena"


def test_a_service_with_another_token_or_a_token_without_keys_exits(
    network: Network, softhsm: SoftHsm, tmp_path: Path
) -> None:
    with network.running():
        pass
    for label, reason in (("strange", "sealing_key_wrong"), ("bare", "sealing_key_missing")):
        other_keys = SealingKeys(tmp_path, "referrals", KeyService(softhsm.token(label)))
        assert label == "bare" or other_keys.begin(os.urandom(32), 0.0)
        with network.running(ready=False, ENLACE_PKCS11_TOKEN=label) as service:
            service.wait_until_exit()
            assert (service.process.returncode, service.logged_reasons("refuses_to_run")) == (
                78,
                [reason],
            )
            assert "ready" not in [line["event"] for line in service.log_lines()]


def test_a_service_whose_token_disappears_refuses_calls_and_recovers_by_itself(
    network: Network,
) -> None:
    with network.running() as service:
        person = service.create("Ximena")
        with network.softhsm.away():
            for attempt in (lambda: service.name(person.id), lambda: service.create("Abril")):
                with pytest.raises(grpc.RpcError) as caught:
                    attempt()
                assert (caught.value.code(), caught.value.details()) == (
                    grpc.StatusCode.UNAVAILABLE,
                    "store_unavailable",
                )

        def answers() -> bool:
            try:
                return service.name(person.id) == "Ximena"
            except grpc.RpcError:
                return False

        until(answers, 5)
        events = [line["event"] for line in service.log_lines()]
        assert not {"row_unreadable", "fault", "loop_failed"} & set(events)
        assert (events.count("key_service_away"), events.count("key_service_back")) == (1, 1)


def test_a_killed_key_rotation_in_the_token_can_be_resumed_and_the_old_key_destroyed(
    network: Network,
) -> None:
    with network.running() as service:
        person = service.create("Ximena")
        network.add_people(PEOPLE)
        process = network.begin("rotate-keys")
        until(lambda: network.wrapped_by(1) > 0, 30, every=0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        assert 0 < network.wrapped_by(1) < PEOPLE, "the rotation was killed midway"
        assert service.name(person.id) == "Ximena"
        assert network.command("rotate-keys", "--dry-run")[1]["newest"] == 1
        assert network.command("retire-keys", "--at-once")[0] == 1, "a key in use cannot be retired"
        code, output = network.command("rotate-keys")
        assert (code, output["unreadable"], output["newest"], network.wrapped_by(1)) == (
            0,
            0,
            1,
            PEOPLE + 1,
        )
        start = time.perf_counter()
        code, output = network.command("rotate-keys")
        seconds = time.perf_counter() - start
        print(f"{PEOPLE} keys rewrapped in {seconds:.1f} s")
        assert (code, output["wrapped"], output["newest"]) == (0, PEOPLE + 1, 2)
        assert seconds < 60
        assert network.command("retire-keys", "--at-once")[0] == 1, "the newest key is too young"
        assert network.keys.retire(2) == [0, 1]
        assert service.name(person.id) == "Ximena"
        assert service.name(service.create("Abril").id) == "Abril"


def test_a_running_network_can_move_its_keys_from_files_to_a_token(
    softhsm: SoftHsm, postgres: parts.Server, tmp_path: Path
) -> None:
    network, folder = Network(postgres, softhsm, "moved", tmp_path, sealing=True), tmp_path / "keys"
    without_token = {name: "" for name in network.environment if name.startswith("ENLACE_PKCS11")}
    with network.running(ready=True, **without_token) as file_service:
        person = file_service.create("Ximena")
        with network.running() as service:
            assert service.name(person.id) == "Ximena"
        file_service.process.ask_to_stop()
        file_service.wait_until_exit()
    with network.running() as service:
        code, output = network.command("rotate-keys")
        assert (code, output["wrapped"], output["newest"]) == (0, 1, 1)
        assert network.keys.retire(1) == [0]
        assert key_folder.sealing_files(folder, "referrals") == []
        assert service.name(person.id) == "Ximena"
    with network.running() as restarted_service:
        assert restarted_service.name(person.id) == "Ximena"
    with network.running(ready=False, **without_token) as tokenless_service:
        tokenless_service.wait_until_exit()
        assert tokenless_service.process.returncode != 0
    network.database.close()
