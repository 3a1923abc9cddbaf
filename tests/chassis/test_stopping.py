"""A service that is asked to stop ends within ten seconds.

This holds in every state of the parts that the service needs.
"""

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
import requests
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from chassis.migrate import migrate
from keys import key_folder
from local.process import Process, free_port
from protos.referrals.v1 import contacts_pb2, contacts_pb2_grpc
from services.notifications.__main__ import MIGRATIONS
from services.referrals.__main__ import MIGRATIONS as REFERRALS
from services.referrals.line.domain.contact import new_reference
from tests.parts import brokers
from tests.parts.local_stack import ROOT, until
from tests.parts.paused import paused_process
from tests.parts.postgres import Database as PgDatabase
from tests.parts.postgres import Server as Postgres
from tests.parts.processes import stat

pytestmark = pytest.mark.long

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
STOP_LIMIT = 10  # maximum seconds between the request to stop and the end of the process


class Service:
    """The process of a service, in a folder of its own."""

    def __init__(self, name: str, pg_database: PgDatabase, bootstrap: str, folder: Path) -> None:
        key_folder.create(folder / "keys", ["partners", "referrals", "notifications"])
        self.pg_database = pg_database
        self.listen, self.metrics = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "ENLACE_KEYS": str(folder / "keys"),
            "ENLACE_LISTEN": self.listen,
            "ENLACE_METRICS_LISTEN": self.metrics,
            "ENLACE_DATABASE_URL": pg_database.url,
            "ENLACE_DEVELOPMENT": "1",
            "ENLACE_SMTP_URL": f"outbox:{folder}/mail",
        }
        self.process = Process(
            name,
            [sys.executable, "-m", f"services.{name}", "serve"],
            folder / "log",
            environment,
            ROOT,
        )
        self.process.start()
        self.channel = grpc.insecure_channel(self.listen)

    def status(self, name: str = "") -> int | None:
        stub: Any = HealthStub(self.channel)
        try:
            return int(stub.Check(HealthCheckRequest(service=name), timeout=1).status)
        except grpc.RpcError:
            return None

    def metric(self, name: str) -> float:
        """Returns the value of a metric, as Prometheus scrapes it."""
        text = requests.get(f"http://{self.metrics}/metrics", timeout=10).text
        return next(
            float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name)
        )

    def wait(self, *, broker: bool = True) -> None:
        """Waits until the service is ready."""
        until(
            lambda: self.status() == SERVING and (not broker or self.status("broker") == SERVING),
            30,
            self.process.last_words,
        )

    def stop(self) -> None:
        """Asks the service to stop; fails if it does not end in time."""
        self.process.ask_to_stop()
        until(lambda: not self.process.alive, STOP_LIMIT, self.process.last_words)

    def close(self) -> None:
        self.channel.close()
        self.process.kill()


@contextmanager
def running(
    name: str, migrations: list[Path], postgres: Postgres, broker: brokers.Broker, folder: Path
) -> Iterator[Service]:
    pg_database = postgres.database(name)
    migrate(pg_database.migration_url, migrations)
    created = Service(name, pg_database, broker.bootstrap, folder)
    try:
        yield created
    finally:
        created.close()


@pytest.fixture
def notifications(postgres: Postgres, broker: brokers.Broker, tmp_path: Path) -> Iterator[Service]:
    """The service with the most loops."""
    with running("notifications", MIGRATIONS, postgres, broker, tmp_path) as created:
        yield created


@pytest.fixture
def referrals(postgres: Postgres, broker: brokers.Broker, tmp_path: Path) -> Iterator[Service]:
    with running("referrals", REFERRALS, postgres, broker, tmp_path) as created:
        yield created


def pid_of(part: Any) -> int:
    pid = part.process.pid
    assert pid
    return int(pid)


def test_a_stop_uses_almost_no_processor_time(notifications: Service) -> None:
    """Limits the time that a stack takes to stop on a busy machine.

    There, a second of processor time can last ten seconds, and the parts of a stack stop level by
    level.
    """
    notifications.wait()
    pid = notifications.process.pid
    before = processor_time(pid)[1]
    notifications.process.ask_to_stop()
    until(lambda: processor_time(pid)[0] == "Z", STOP_LIMIT, notifications.process.last_words)
    assert processor_time(pid)[1] - before < 0.25


def processor_time(pid: int | None) -> tuple[str, float]:
    """Returns the state of a process and the seconds of processor time that it has used."""
    state, *rest = stat(pid)
    return state, (int(rest[10]) + int(rest[11])) / os.sysconf("SC_CLK_TCK")


def test_a_service_survives_a_hanging_database_and_can_stop_in_time_meanwhile(
    notifications: Service, postgres: Postgres
) -> None:
    notifications.wait()
    with paused_process(pid_of(postgres.engine)):
        until(lambda: notifications.status() == NOT_SERVING, 10)
        assert notifications.status("live") == SERVING
        time.sleep(2)  # long enough for the service's loops to fail at the database
        assert notifications.metric("enlace_database_last_success_age_seconds") > 3
        assert notifications.metric('enlace_loop_well{loop="mail"}') == 1
    until(lambda: notifications.status() == SERVING, 10)
    for loop in ("mail", "webhooks", "webhooks-slow", "database", "broker", "sweeper"):
        until(lambda loop=loop: notifications.status(f"loop/{loop}") == SERVING, 10)  # type: ignore[misc]
    with paused_process(pid_of(postgres.engine)):
        until(lambda: notifications.status() == NOT_SERVING, 10)
        notifications.stop()
    assert notifications.process.returncode == 0


def test_a_service_stops_in_time_while_the_broker_hangs(
    notifications: Service, broker: brokers.Broker
) -> None:
    notifications.wait()
    with paused_process(pid_of(broker)):
        until(lambda: notifications.status("broker") == NOT_SERVING, 10)
        assert notifications.status() == SERVING
        notifications.stop()
    assert notifications.process.returncode == 0


def test_a_service_stops_in_time_if_the_broker_has_hung_from_the_start(
    postgres: Postgres, broker: brokers.Broker, tmp_path: Path
) -> None:
    with (
        paused_process(pid_of(broker)),
        running("notifications", MIGRATIONS, postgres, broker, tmp_path) as service,
    ):
        service.wait(broker=False)
        service.stop()


def test_a_service_stops_in_time_while_it_joins_its_consumer_groups(notifications: Service) -> None:
    # joining takes three more seconds
    until(lambda: notifications.status("broker") == SERVING, 30)
    notifications.stop()
    assert notifications.process.returncode == 0


def test_calls_that_a_stop_cuts_off_fail_as_unavailable(referrals: Service) -> None:
    referrals.wait()

    def status_code(_: int) -> grpc.StatusCode:
        stub = contacts_pb2_grpc.ReferencesStub(referrals.channel)
        request = contacts_pb2.GetReferenceStatusRequest(reference=new_reference(), pin="1234")
        with pytest.raises(grpc.RpcError) as error:
            stub.GetReferenceStatus(request, timeout=9)
        return error.value.code()

    with (
        psycopg.connect(referrals.pg_database.migration_url) as owner,
        ThreadPoolExecutor(20) as pool,
    ):
        owner.execute("LOCK TABLE contact_references")
        codes = pool.map(status_code, range(20))
        # eight calls wait for the table, twelve for a thread
        until(lambda: count_waiting(referrals) >= 8, 10)
        referrals.stop()
        assert list(codes) == [grpc.StatusCode.UNAVAILABLE] * 20
    assert referrals.process.returncode == 0


def count_waiting(service: Service) -> int:
    with psycopg.connect(service.pg_database.url, autocommit=True) as other:
        statement = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND datname = current_database()"
        )
        row = other.execute(statement).fetchone()
    assert row
    return int(row[0])


def run_to_the_end(hang: str, folder: Path) -> Process:
    """Runs a process that hangs in the given way when it is asked to stop; returns once it ends."""
    script = (
        "import ctypes, threading; from chassis import log; from runtime import service_runner;"
        " from chassis.supervisor import Loop; log.setup('test');"
        " loop = Loop('hanging', lambda loop: threading.Event().wait()); loop.start();"
        " service_runner._FORCE = 1.0; service_runner._start_force_timers([loop]);" + hang
    )
    process = Process("stuck", [sys.executable, "-c", script], folder / "log", {**os.environ}, ROOT)
    process.start()
    until(lambda: not process.alive, 15)
    assert process.returncode == 1
    return process


def test_a_process_ends_although_one_of_its_threads_never_does(tmp_path: Path) -> None:
    """Covers the last resort: a library call that hangs delays the end by at most nine seconds."""
    process = run_to_the_end(
        "threading.Thread(target=threading.Event().wait).start()", tmp_path
    )  # not a daemon thread, so that the interpreter would wait for its end
    assert '"event": "stopped_by_force"' in process.last_words()
    assert '"loops": ["hanging"]' in process.last_words()


def test_a_process_that_hangs_while_it_holds_pythons_lock_is_ended(tmp_path: Path) -> None:
    assert "Timeout" in run_to_the_end("ctypes.PyDLL(None).sleep(60)", tmp_path).last_words(40)
