"""The health that a service reports, however busy it is.

Health checks have threads of their own, and report a loop that dies or hangs.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from prometheus_client import generate_latest

from chassis import admission, metrics
from chassis.clock import SystemClock
from chassis.db import Database
from chassis.idempotency import IdempotencyStore
from chassis.rpc import Call, Servicer
from chassis.server import Server
from chassis.supervisor import WELL, Loop, State
from chassis.tokens import Verifier
from keys import key_folder
from keys.sealing import Keyring
from protos.partners.v1 import members_pb2, members_pb2_grpc
from runtime.service_runner import HealthReporter
from tests.builders import refusal
from tests.parts.local_stack import until
from tests.parts.paused import paused_process
from tests.parts.postgres import Database as Place
from tests.parts.postgres import Server as Postgres

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
THREADS = 8


class WaitingService:
    """A service whose EndSession waits for a row lock, needs no token and leaves no trail."""

    def __getattr__(self, rpc: str) -> Any:
        return print  # no other rpc is called

    def EndSession(self, request: Any, call: Call) -> members_pb2.EndSessionResponse:
        call.tx.execute("SELECT FROM held FOR UPDATE")
        return members_pb2.EndSessionResponse()


@dataclass
class World:
    """A service with one rpc, and what a test can do with it."""

    place: Place
    database: Database
    server: Server
    channel: grpc.Channel

    def ask(self, timeout: float = 30) -> members_pb2.EndSessionResponse:
        stub = members_pb2_grpc.TokensStub(self.channel)
        answer: members_pb2.EndSessionResponse = stub.EndSession(
            members_pb2.EndSessionRequest(), timeout=timeout
        )
        return answer

    def ask_many(self, count: int, timeout: float = 30) -> list[Any]:
        method = members_pb2_grpc.TokensStub(self.channel).EndSession
        return [
            method.future(members_pb2.EndSessionRequest(), timeout=timeout) for _ in range(count)
        ]

    def status(self, name: str) -> int:
        stub: Any = HealthStub(self.channel)
        return int(stub.Check(HealthCheckRequest(service=name), timeout=5).status)

    def status_after_look(self, reporter: HealthReporter) -> int:
        """Lets the reporter look once; returns the readiness after that."""
        reporter.report_once()
        return self.status("")


@pytest.fixture
def world(postgres: Postgres, tmp_path: Path) -> Iterator[World]:
    place = postgres.database()
    with psycopg.connect(place.migration_url) as owner:
        owner.execute(
            "CREATE TABLE held (id int); GRANT ALL ON held TO PUBLIC; INSERT INTO held VALUES (1)"
        )
    key_folder.create(tmp_path, ["tests"])
    database = Database(place.url)
    database.fit(THREADS, 1)
    database.open()
    descriptor = members_pb2.DESCRIPTOR.services_by_name["Tokens"]
    servicer = Servicer(
        descriptor,
        WaitingService(),
        database=database,
        verifier=Verifier(key_folder.verifying(tmp_path, "tokens"), "enlace.tests", SystemClock()),
        idempotency=IdempotencyStore(Keyring(key_folder.secret(tmp_path, "sealing.tests"))),
        clock=SystemClock(),
        check_standing=lambda tx, caller: None,
    )
    server = Server("127.0.0.1:0", [servicer], threads=THREADS, reflect=True, caller_rate=100_000)
    server.start()
    assert database.reachable()
    HealthReporter(server, database, None, []).report_once()
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield World(place, database, server, channel)
    server.stop(0).wait(5)
    database.close()
    postgres.drop(place)


def waiting(world: World) -> int:
    with psycopg.connect(world.place.url, autocommit=True) as other:
        row = other.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND datname = current_database()"
        ).fetchone()
    assert row
    return int(row[0])


def open_all_connections(world: World) -> None:
    """Opens a connection for every thread.

    On a busy machine some calls of a burst are refused while connections are opened; without this
    function, fewer calls would wait for the row.
    """
    with psycopg.connect(world.place.migration_url) as owner:
        owner.execute("SELECT FROM held FOR UPDATE")
        calls = world.ask_many(THREADS)
        while waiting(world) < THREADS:
            calls = [call for call in calls if not call.done()]
            calls += world.ask_many(THREADS - len(calls))
            time.sleep(0.02)
    for call in calls:
        call.exception(timeout=20)


def test_a_stop_does_not_wait_for_clients_that_watch_the_health(world: World) -> None:
    stub: Any = HealthStub(world.channel)
    watch = stub.Watch(HealthCheckRequest(service="live"))
    assert next(watch).status == SERVING
    assert world.server.stop(grace=120).wait(30)
    assert [answer.status for answer in statuses(watch)] == [NOT_SERVING]


def statuses(watch: Any) -> Iterator[HealthCheckResponse]:
    """Yields the statuses of a watch until it ends, with an error or without."""
    with contextlib.suppress(grpc.RpcError):
        yield from watch


def test_health_checks_are_answered_while_all_threads_wait_for_a_lock_and_calls_for_a_thread(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the queue takes all these calls, however long they wait for each other here
    monkeypatch.setattr(admission, "monotonic", lambda: 0.0)
    open_all_connections(world)
    with psycopg.connect(world.place.migration_url) as owner:
        owner.execute("SELECT FROM held FOR UPDATE")
        calls = world.ask_many(THREADS * 16)
        until(lambda: waiting(world) == THREADS)
        assert refusal(world.ask) == ("RESOURCE_EXHAUSTED", "too_many_requests")
        for _ in range(10):
            for name in ("live", "", "enlace.partners.v1.Tokens"):
                assert world.status(name) == SERVING  # a check without an answer raises an error
    for call in calls:
        call.result(timeout=20)
    assert world.ask() == members_pb2.EndSessionResponse()


def test_health_checks_are_answered_while_the_database_hangs(
    world: World, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Calls wait in the queue until those before them give up. If the queue's clock ran, others
    # would meanwhile be refused with too_many_requests.
    monkeypatch.setattr(admission, "monotonic", lambda: 0.0)
    reporter = HealthReporter(world.server, world.database, None, [])
    assert postgres.engine.process
    with paused_process(postgres.engine.process.pid):
        calls = world.ask_many(THREADS * 2, timeout=2)
        until(lambda: world.status_after_look(reporter) == NOT_SERVING, 10)
        assert world.status("live") == SERVING
        # One or two calls may succeed: SIGSTOP stops a process after its current system call.
        errors = [error for call in calls if (error := call.exception()) is not None]
        assert len(errors) > THREADS
        assert {error.code() for error in errors} <= {
            grpc.StatusCode.DEADLINE_EXCEEDED,
            grpc.StatusCode.UNAVAILABLE,
        }
        assert refusal(world.ask) == ("UNAVAILABLE", "store_unavailable")
    until(lambda: world.status_after_look(reporter) == SERVING, 10)
    assert world.ask() == members_pb2.EndSessionResponse()


def test_a_call_past_its_deadline_fails_with_deadline_exceeded(world: World) -> None:
    with psycopg.connect(world.place.migration_url) as owner:
        owner.execute("SELECT FROM held FOR UPDATE")
        with pytest.raises(grpc.RpcError) as error:
            world.ask(timeout=0.5)
        assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        until(lambda: waiting(world) == 0, 10)  # and no thread continues to work for the call


def test_health_and_metrics_show_when_a_loop_hangs_and_when_it_continues(world: World) -> None:
    released = threading.Event()

    def work(loop: Loop) -> None:
        while loop.turn():
            released.wait(30)
            loop.wait(0.01)

    loop = Loop("hanging", work, limit=0.3)
    metrics.watch_loop(loop.name, lambda: loop.age, lambda: loop.state in WELL)
    loop.start()
    reporter = HealthReporter(world.server, world.database, None, [loop])
    reporter.report_once()
    assert (world.status("loop/hanging"), world.status("live")) == (SERVING, SERVING)
    until(lambda: loop.state is State.STUCK)
    reporter.report_once()
    assert (world.status("loop/hanging"), world.status("live"), world.status("")) == (
        NOT_SERVING,
        NOT_SERVING,
        SERVING,
    )
    assert (
        measured('enlace_loop_well{loop="hanging"}'),
        measured('enlace_loop_turn_age_seconds{loop="hanging"}') > 0.3,
    ) == (0, True)
    released.set()
    until(lambda: loop.state is State.RUNNING)
    reporter.report_once()
    assert (world.status("loop/hanging"), world.status("live")) == (SERVING, SERVING)
    assert measured('enlace_loop_well{loop="hanging"}') == 1
    loop.stop()
    assert loop.join(5)


def test_a_dead_loop_is_reported_and_started_again(world: World) -> None:
    lives: list[int] = []

    class Dying(Loop):
        def _run(self) -> None:
            lives.append(1)
            if len(lives) > 1:
                super()._run()

    def work(loop: Loop) -> None:
        while loop.turn():
            loop.wait(0.01)

    loop = Dying("dying", work)
    loop.start()
    until(lambda: loop.state is State.DEAD)
    reporter = HealthReporter(world.server, world.database, None, [loop])
    reporter.report_once()
    assert world.status("loop/dying") == NOT_SERVING
    until(lambda: loop.state is State.RUNNING)
    reporter.report_once()
    assert (world.status("loop/dying"), len(lives)) == (SERVING, 2)
    loop.stop()
    assert loop.join(5)


def test_a_loop_that_fails_at_every_try_is_reported_and_the_process_stays_live(
    world: World,
) -> None:
    def work(loop: Loop) -> None:
        raise ValueError("a row that nobody can read")

    loop = Loop("failing", work)
    loop.start()
    until(lambda: loop.state is State.FAILING)
    HealthReporter(world.server, world.database, None, [loop]).report_once()
    assert (world.status("loop/failing"), world.status("live")) == (NOT_SERVING, SERVING)
    loop.stop()
    assert loop.join(5)


def measured(name: str) -> float:
    """Returns the value of a metric, as Prometheus scrapes it."""
    return next(
        float(line.rpartition(" ")[2])
        for line in generate_latest().decode().splitlines()
        if line.startswith(name)
    )
