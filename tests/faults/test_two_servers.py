"""Two processes of partners behind one address, as with pods.

The gateway's calls succeed even while one process is broken, stops or comes back. Limitation: the
gateway gets a list of addresses instead of a name; tests/chassis/test_new_servers.py covers a name
whose addresses change.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import requests
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from chassis import errors
from chassis.migrate import migrate
from keys import key_folder
from local.postgres import Login, Postgres
from local.process import Process, free_port
from protos.partners.v1 import directory_pb2, members_pb2
from services.gateway.edge.clients import Clients
from services.partners.__main__ import MIGRATIONS
from tests.parts.local_stack import ROOT, until

pytestmark = pytest.mark.long

OWNER, APP = Login("partners_owner", "owner"), Login("partners", "app")


class Pods:
    """A database, and processes of partners in front of it."""

    def __init__(self, folder: Path) -> None:
        if os.geteuid() == 0:
            folder.chmod(0o711)
        self.folder = folder
        key_folder.create(folder / "keys", ["partners", "referrals"])
        self.postgres = Postgres(folder / "postgres", durable=False)
        self.postgres.start()
        self.postgres.ensure("partners", OWNER, APP)
        migrate(self.postgres.url("partners", OWNER, "?sslmode=disable"), MIGRATIONS)
        self.ports = [free_port(), free_port()]
        self.metrics = [f"127.0.0.1:{free_port()}" for _ in self.ports]
        self.processes: list[Process] = []
        self._channels = [grpc.insecure_channel(f"127.0.0.1:{port}") for port in self.ports]

    def start(self, number: int, login: Login = APP) -> Process:
        """Starts one process without waiting for it."""
        environment = os.environ | {
            "ENLACE_DATABASE_URL": self.postgres.url("partners", login),
            "ENLACE_KEYS": str(self.folder / "keys"),
            "ENLACE_LISTEN": f"127.0.0.1:{self.ports[number]}",
            "ENLACE_METRICS_LISTEN": self.metrics[number],
            "ENLACE_CALLER_RATE": "100000",
            "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
        }
        command = [sys.executable, "-m", "services.partners", "serve"]
        process = Process(
            f"partners-{number}", command, self.folder / f"{number}.log", environment, ROOT
        )
        process.start()
        self.processes.append(process)
        return process

    def clients(self, *numbers: int) -> Clients:
        """Returns the clients of a gateway in front of these processes."""
        return Clients(
            *["ipv4:" + ",".join(f"127.0.0.1:{self.ports[number]}" for number in numbers)] * 3
        )

    def ready(self, number: int) -> bool:
        """Returns whether this process accepts calls."""
        try:
            answer = HealthStub(self._channels[number]).Check(HealthCheckRequest(), timeout=1)  # type: ignore[attr-defined]
        except grpc.RpcError:
            return False
        return bool(answer.status == HealthCheckResponse.SERVING)

    def receives_calls(self, number: int) -> bool:
        """Returns whether a call has reached this process since it started.

        A process may be ready for a second before a gateway that lost it connects again.
        """
        return (
            'method="enlace.partners.v1.Directory/ListHotlines"'
            in requests.get(f"http://{self.metrics[number]}/metrics", timeout=5).text
        )

    def end(self) -> None:
        for channel in self._channels:
            channel.close()
        for process in self.processes:
            process.stop()
        self.postgres.remove()


@pytest.fixture
def pods(tmp_path: Path) -> Iterator[Pods]:
    created = Pods(tmp_path)
    yield created
    created.end()


@pytest.fixture
def gateway(pods: Pods) -> Iterator[Clients]:
    clients = pods.clients(0, 1)
    yield clients
    clients.close()


def read_and_write(clients: Clients) -> None:
    """Makes a read and a write without a token; the gateway does not retry the write."""
    clients.directory.ListHotlines(directory_pb2.ListHotlinesRequest())
    clients.tokens.EndSession(members_pb2.EndSessionRequest(session_secret="x" * 43))


def is_answered(clients: Clients) -> bool:
    """Returns whether a read and a write succeed."""
    try:
        read_and_write(clients)
    except errors.Unavailable:
        return False
    return True


def test_a_process_with_a_wrong_password_gets_no_calls_until_it_has_the_right_one(
    pods: Pods, gateway: Clients
) -> None:
    broken = pods.start(0, Login("partners", "wrong"))
    pods.start(1)
    until(lambda: pods.ready(1), 60)
    for _ in range(200):
        read_and_write(gateway)
    assert broken.alive
    assert not pods.ready(0)
    broken.stop()
    pods.start(0)
    until(lambda: pods.ready(0), 60)
    pods.processes[1].kill()
    until(lambda: is_answered(gateway), 10)


def test_calls_succeed_again_after_the_database_comes_back(pods: Pods, gateway: Clients) -> None:
    for number in (0, 1):
        pods.start(number)
    until(lambda: pods.ready(0) and pods.ready(1), 60)
    read_and_write(gateway)
    pods.postgres.kill()
    until(lambda: not is_answered(gateway), 10)
    pods.postgres.start()
    until(lambda: is_answered(gateway), 20)
    assert all(process.alive for process in pods.processes)


def test_no_call_fails_while_servers_restart_one_after_the_other(
    pods: Pods, gateway: Clients
) -> None:
    running = {number: pods.start(number) for number in (0, 1)}
    until(lambda: pods.ready(0) and pods.ready(1), 60)
    read_and_write(gateway)
    ending, failures, calls = threading.Event(), list[str](), list[int]()

    def keep_calling() -> None:
        while not ending.is_set():
            try:
                read_and_write(gateway)
            except Exception as error:
                failures.append(repr(error))
            calls.append(1)

    callers = [threading.Thread(target=keep_calling) for _ in range(4)]
    for caller in callers:
        caller.start()
    try:
        for number in (0, 1):
            before = len(calls)
            os.kill(running[number].pid or 0, signal.SIGTERM)
            until(lambda number=number: not running[number].alive, 20)  # type: ignore[misc]
            running[number] = pods.start(number)
            until(lambda number=number: pods.ready(number), 60)  # type: ignore[misc]
            # as `preStop` waits before the next process stops
            until(lambda number=number: pods.receives_calls(number), 10)  # type: ignore[misc]
            assert len(calls) > before
    finally:
        ending.set()
        for caller in callers:
            caller.join()
    assert failures == []
