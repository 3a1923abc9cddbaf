"""Idle connections to a service's port do not use up its file handles or block its callers."""

import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from keys import key_folder
from local.process import free_port
from protos.partners.v1 import directory_pb2, directory_pb2_grpc
from tests.partners.scene import ROOT
from tests.parts.postgres import Server

NOWHERE = "127.0.0.1:9"  # nothing listens there: a service starts without its broker
# the beginning of HTTP/2 with empty SETTINGS; a client must send no more than that
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"


@pytest.fixture
def environment(postgres: Server, tmp_path: Path) -> Iterator[dict[str, str]]:
    place = postgres.database("partners")
    key_folder.create(tmp_path / "keys", ["partners", "referrals"])
    created = os.environ | {
        "ENLACE_DATABASE_URL": place.url,
        "ENLACE_MIGRATION_URL": place.migration_url,
        "ENLACE_KEYS": str(tmp_path / "keys"),
        "ENLACE_LISTEN": f"127.0.0.1:{free_port('127.0.0.1')}",
        "ENLACE_METRICS_LISTEN": f"127.0.0.1:{free_port('127.0.0.1')}",
        "KAFKA_BOOTSTRAP_SERVERS": NOWHERE,
    }
    subprocess.run(
        [sys.executable, "-m", "services.partners", "migrate"], cwd=ROOT, env=created, check=True
    )
    yield created
    postgres.drop(place)


Serve = Callable[[int, int], subprocess.Popen[bytes]]


@pytest.fixture
def serve(environment: dict[str, str]) -> Iterator[Serve]:
    """A function that starts the service with a soft and a hard limit of open files."""
    with ExitStack() as cleanup:

        def start(soft: int, hard: int) -> subprocess.Popen[bytes]:
            def limit() -> None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

            command = [sys.executable, "-m", "services.partners", "serve"]
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, preexec_fn=limit
            )
            cleanup.callback(process.wait)
            cleanup.callback(process.terminate)
            return process

        yield start


@pytest.fixture
def crowd() -> Iterator[Callable[[str, int, bytes], list[socket.socket]]]:
    """A function that opens connections to an address and sends only the given bytes on each."""
    with ExitStack() as cleanup:

        def connect(address: str, count: int, bytes_sent: bytes) -> list[socket.socket]:
            host, _, port = address.rpartition(":")
            created = []
            for _ in range(count):
                created.append(
                    cleanup.enter_context(socket.create_connection((host, int(port)), 10))
                )
                created[-1].sendall(bytes_sent)
            return created

        yield connect


def number_of(process: subprocess.Popen[bytes], kind: str) -> int:
    """Returns the number of file handles (`fd`) or threads (`task`) of a process."""
    return len(list(Path(f"/proc/{process.pid}/{kind}").iterdir()))


def answers(address: str, *, within: float = 60.0) -> bool:
    """Returns whether a new caller is answered, in its first try or a later one."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        with grpc.insecure_channel(
            address, options=[("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            if answers_on(channel):
                return True
        time.sleep(0.2)
    return False


def answers_on(channel: grpc.Channel) -> bool:
    """Returns whether the health service and an rpc that needs the database answer."""
    health: Any = health_pb2_grpc.HealthStub(channel)
    directory: Any = directory_pb2_grpc.DirectoryStub(channel)
    try:
        ready = health.Check(
            health_pb2.HealthCheckRequest(service="enlace.partners.v1.Directory"), timeout=5
        )
        directory.ListHotlines(directory_pb2.ListHotlinesRequest(), timeout=5)
    except grpc.RpcError:
        return False
    return bool(ready.status == health_pb2.HealthCheckResponse.SERVING)


@pytest.mark.parametrize("bytes_sent", [b"", PREFACE], ids=["silent", "greeted"])
def test_more_idle_connections_than_the_soft_limit_leave_room_for_callers(
    environment: dict[str, str],
    serve: Serve,
    crowd: Callable[[str, int, bytes], list[socket.socket]],
    bytes_sent: bytes,
) -> None:
    process, address = serve(300, 2000), environment["ENLACE_LISTEN"]
    assert answers(address)
    crowd(address, 600, bytes_sent)
    assert answers(address, within=5), "with 600 connections and a soft limit of 300"
    assert process.poll() is None


def test_more_idle_connections_than_the_hard_limit_end_and_known_callers_are_still_answered(
    environment: dict[str, str],
    serve: Serve,
    crowd: Callable[[str, int, bytes], list[socket.socket]],
) -> None:
    process, address = serve(400, 400), environment["ENLACE_LISTEN"]
    assert answers(address)
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        assert answers_on(channel)
        crowd(address, 500, b"")
        assert number_of(process, "fd") < 350, "handles are left for database, broker and files"
        assert answers_on(channel), "established connections still work"
        assert answers(address), "new callers get in after silent connections were closed"


def test_idle_connections_to_the_metrics_take_few_threads_and_end(
    environment: dict[str, str],
    serve: Serve,
    crowd: Callable[[str, int, bytes], list[socket.socket]],
) -> None:
    process, address = serve(400, 400), environment["ENLACE_METRICS_LISTEN"]
    assert answers(environment["ENLACE_LISTEN"])
    before = number_of(process, "task")
    crowd(address, 100, b"")
    assert number_of(process, "task") <= before + 20
    assert has_metrics(address), "metrics can be read after idle connections were closed"


def has_metrics(address: str) -> bool:
    """Returns whether the metrics can be read, in the first try or a later one."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with suppress(OSError), urlopen(f"http://{address}/metrics", timeout=5) as answer:
            return b"enlace_rpc_seconds" in answer.read()
        time.sleep(0.2)
    return False
