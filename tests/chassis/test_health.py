"""The health that a service reports, however busy it is.

Health checks have threads of their own, and report a loop that dies or hangs.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from wsgiref.simple_server import make_server

import grpc
import psycopg
import pytest
import requests
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from prometheus_client import generate_latest, make_wsgi_app

from chassis import metrics
from chassis.rpc import Call
from chassis.supervisor import WELL, Loop, State
from protos.partners.v1 import members_pb2, members_pb2_grpc
from runtime.service_runner import HealthReporter
from tests.builders import refusal
from tests.chassis.serving import THREADS, FewRpcs, Served, serving
from tests.parts.clocks import SettableClock
from tests.parts.local_stack import until
from tests.parts.loops import running, turn_until_stopped
from tests.parts.paused import paused_process
from tests.parts.postgres import Database as PgDatabase
from tests.parts.postgres import Server as Postgres

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


class WaitingService(FewRpcs):
    """A service whose EndSession waits for a row lock, needs no token and leaves no trail."""

    def EndSession(self, request: Any, call: Call) -> members_pb2.EndSessionResponse:
        call.tx.execute("SELECT FROM held FOR UPDATE")
        return members_pb2.EndSessionResponse()


@dataclass
class RunningService:
    """A running service with one rpc, its loops, and its reporter."""

    pg_database: PgDatabase
    served: Served
    loops: list[Loop] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reporter = HealthReporter(self.served.server, self.served.database, None, self.loops)
        self.reporter.report_once()

    def start_calls(self, count: int, timeout: float = 30) -> list[Any]:
        method = members_pb2_grpc.TokensStub(self.served.channel).EndSession
        return [
            method.future(members_pb2.EndSessionRequest(), timeout=timeout) for _ in range(count)
        ]

    def call(self, timeout: float = 30) -> members_pb2.EndSessionResponse:
        [call] = self.start_calls(1, timeout)
        answer: members_pb2.EndSessionResponse = call.result()
        return answer

    def status(self, *names: str) -> list[int]:
        """Returns the status of each name."""
        stub: Any = HealthStub(self.served.channel)
        return [stub.Check(HealthCheckRequest(service=name), timeout=5).status for name in names]

    def reported(self, *names: str) -> list[int]:
        """Lets the reporter report once; returns the status of each name after that."""
        self.reporter.report_once()
        return self.status(*names)


@pytest.fixture
def service(postgres: Postgres, tmp_path: Path) -> Iterator[RunningService]:
    pg_database = postgres.database()
    pg_database.run_as_owner(
        "CREATE TABLE held (id int); GRANT ALL ON held TO PUBLIC; INSERT INTO held VALUES (1)"
    )
    with serving(pg_database.url, tmp_path, WaitingService()) as served:
        yield RunningService(pg_database, served)
    postgres.drop(pg_database)


def count_waiting(service: RunningService) -> int:
    with psycopg.connect(service.pg_database.url, autocommit=True) as other:
        row = other.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND datname = current_database()"
        ).fetchone()
    assert row
    return int(row[0])


def open_all_connections(service: RunningService) -> None:
    """Opens a connection for every thread.

    On a busy machine, some calls of a burst are refused while connections are opened; then fewer
    calls than threads would wait for the row.
    """
    with psycopg.connect(service.pg_database.migration_url) as owner:
        owner.execute("SELECT FROM held FOR UPDATE")
        calls = service.start_calls(THREADS)
        while count_waiting(service) < THREADS:
            calls = [call for call in calls if not call.done()]
            calls += service.start_calls(THREADS - len(calls))
            time.sleep(0.02)
    for call in calls:
        call.exception(timeout=20)


def test_a_stop_does_not_wait_for_clients_that_watch_the_health(service: RunningService) -> None:
    stub: Any = HealthStub(service.served.channel)
    watch = stub.Watch(HealthCheckRequest(service="live"))
    assert next(watch).status == SERVING
    assert service.served.server.stop(grace=120).wait(30)
    later_statuses = list[int]()
    with contextlib.suppress(grpc.RpcError):  # the watch may end with or without an error
        later_statuses.extend(answer.status for answer in watch)
    assert later_statuses == [NOT_SERVING]


def test_health_checks_are_answered_while_all_threads_wait_for_a_lock_and_the_queue_is_full(
    service: RunningService, queue_clock: SettableClock
) -> None:
    open_all_connections(service)
    with psycopg.connect(service.pg_database.migration_url) as owner:
        owner.execute("SELECT FROM held FOR UPDATE")
        calls = service.start_calls(THREADS * 16)
        until(lambda: count_waiting(service) == THREADS)
        assert refusal(service.call) == ("RESOURCE_EXHAUSTED", "too_many_requests")
        for _ in range(10):  # a check without an answer raises an error
            assert service.status("live", "", "enlace.partners.v1.Tokens") == [SERVING] * 3
    for call in calls:
        call.result(timeout=20)
    assert service.call() == members_pb2.EndSessionResponse()


def test_health_checks_are_answered_while_the_database_hangs(
    service: RunningService, postgres: Postgres, queue_clock: SettableClock
) -> None:
    # Half of the calls wait in the queue until the running calls give up. If the queue's clock ran,
    # the waiting calls would be refused with too_many_requests before that.
    assert postgres.engine.process
    with paused_process(postgres.engine.process.pid):
        calls = service.start_calls(THREADS * 2, timeout=2)
        until(lambda: service.reported("") == [NOT_SERVING], 10)
        assert service.status("live") == [SERVING]
        # One or two calls may succeed: SIGSTOP stops a process after its current system call.
        errors = [error for call in calls if (error := call.exception()) is not None]
        assert len(errors) > THREADS
        assert {error.code() for error in errors} <= {
            grpc.StatusCode.DEADLINE_EXCEEDED,
            grpc.StatusCode.UNAVAILABLE,
        }
        assert refusal(service.call) == ("UNAVAILABLE", "store_unavailable")
    until(lambda: service.reported("") == [SERVING], 10)
    assert service.call() == members_pb2.EndSessionResponse()


def test_a_call_past_its_deadline_fails_with_deadline_exceeded(service: RunningService) -> None:
    with psycopg.connect(service.pg_database.migration_url) as owner:
        owner.execute("SELECT FROM held FOR UPDATE")
        with pytest.raises(grpc.RpcError) as error:
            service.call(timeout=0.5)
        assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        # no thread continues to work for the call
        until(lambda: count_waiting(service) == 0, 10)


def test_health_and_metrics_show_when_a_loop_hangs_and_when_it_continues(
    service: RunningService,
) -> None:
    released = threading.Event()

    def work(loop: Loop) -> None:
        while loop.turn():
            released.wait(30)
            loop.wait(0.01)

    loop = Loop("hanging", work, limit=0.3)
    service.loops.append(loop)
    metrics.publish_loop_state(loop.name, lambda: loop.age, lambda: loop.state in WELL)
    with running(loop):
        assert service.reported("loop/hanging", "live") == [SERVING, SERVING]
        until(lambda: loop.state is State.STUCK)
        assert service.reported("loop/hanging", "live", "") == [NOT_SERVING, NOT_SERVING, SERVING]
        assert metric('enlace_loop_well{loop="hanging"}') == 0
        assert metric('enlace_loop_turn_age_seconds{loop="hanging"}') > 0.3
        released.set()
        until(lambda: loop.state is State.RUNNING)
        assert service.reported("loop/hanging", "live") == [SERVING, SERVING]
        assert metric('enlace_loop_well{loop="hanging"}') == 1


def test_a_dead_loop_is_reported_and_started_again(service: RunningService) -> None:
    starts: list[int] = []

    class Dying(Loop):
        def _run(self) -> None:
            starts.append(1)
            if len(starts) > 1:
                super()._run()

    loop = Dying("dying", turn_until_stopped)
    service.loops.append(loop)
    with running(loop):
        until(lambda: loop.state is State.DEAD)
        assert service.reported("loop/dying") == [NOT_SERVING]
        until(lambda: loop.state is State.RUNNING)
        assert (service.reported("loop/dying"), len(starts)) == ([SERVING], 2)


def test_a_loop_that_fails_at_every_try_is_reported_and_the_process_stays_live(
    service: RunningService,
) -> None:
    def work(loop: Loop) -> None:
        raise ValueError("a row that nobody can read")

    loop = Loop("failing", work)
    service.loops.append(loop)
    with running(loop):
        until(lambda: loop.state is State.FAILING)
        assert service.reported("loop/failing", "live") == [NOT_SERVING, SERVING]


def metric(name: str) -> float:
    """Returns the value of a metric, as Prometheus scrapes it."""
    return next(
        float(line.rpartition(" ")[2])
        for line in generate_latest().decode().splitlines()
        if line.startswith(name)
    )


def test_metrics_are_served_again_after_a_time_in_which_no_thread_could_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = make_wsgi_app()
    with make_server("127.0.0.1", 0, app, metrics._Server, metrics._Handler) as server:
        address = ("127.0.0.1", server.server_port)
        with monkeypatch.context() as without_threads:
            without_threads.setattr(threading.Thread, "start", Mock(side_effect=RuntimeError))
            for _ in range(20):
                with socket.create_connection(address):
                    server.handle_request()
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            answer = requests.get("http://{}:{}/metrics".format(*address), timeout=10)
        finally:
            server.shutdown()
    assert answer.status_code == 200
