"""A server that joins a name gets calls soon.

Clients resolve the name again when a connection ends, and servers end each connection after a
while. Limitations: a name server in this process replaces that of the cluster, and a connection
lasts a second instead of the half minute of production (the same option of gRPC).
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from chassis import server as grpc_server
from local.process import free_port
from local.stack import _health
from services.gateway.edge.clients import channel_options
from tests.parts.local_stack import until

MAX_CONNECTION_AGE = 35_000  # milliseconds in production, with the tenth that gRPC may add


class Names:
    """A name server that answers IPv4 queries with `addresses` and a time to live of 0.

    The answers to other queries have no address.
    """

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                question, client = self._socket.recvfrom(512)
            except OSError:  # closed
                return
            end = question.index(b"\0", 12) + 5
            kind = struct.unpack("!H", question[end - 4 : end - 2])[0]
            answers = self.addresses if kind == 1 else []
            records = [
                b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 0, 4) + socket.inet_aton(address)
                for address in answers
            ]
            head = question[:2] + struct.pack("!HHHHH", 0x8580, 1, len(records), 0, 0)
            self._socket.sendto(head + question[12:end] + b"".join(records), client)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def names() -> Iterator[Names]:
    with closing(Names("127.0.0.1")) as created:
        yield created


def server(address: str) -> grpc_server.Server:
    """Returns a ready server that serves only its health."""
    created = grpc_server.Server(address, [], threads=1, reflect=False)
    created.set_ready(True)
    created.start()
    return created


def test_a_server_that_joins_a_name_gets_calls_within_the_maximum_age_of_a_connection(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    age = dict(grpc_server._OPTIONS)["grpc.max_connection_age_ms"]
    assert isinstance(age, int)
    assert age * 1.1 <= MAX_CONNECTION_AGE
    monkeypatch.setattr(
        grpc_server,
        "_OPTIONS",
        list((dict(grpc_server._OPTIONS) | {"grpc.max_connection_age_ms": 1_000}).items()),
    )
    port = free_port()
    first = server(f"127.0.0.1:{port}")
    options = channel_options(healthy_only=True)
    with grpc.insecure_channel(
        f"dns://127.0.0.1:{names.port}/pods.test:{port}", options=options
    ) as channel:
        health: Any = HealthStub(channel)

        def answered_by_the_second() -> bool:
            return bool(
                health.Check(HealthCheckRequest(service="broker"), timeout=5).status
                == HealthCheckResponse.SERVING
            )

        assert not answered_by_the_second()
        second = server(f"127.0.0.2:{port}")
        second.set_status("broker", True)  # this distinguishes the two servers
        names.addresses.append("127.0.0.2")
        until(answered_by_the_second, 30)
    for started_server in (first, second):
        started_server.stop(0).wait(5)


def test_the_gateway_and_the_stack_reach_a_server_although_the_environment_names_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for variable in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(variable, raising=False)
    address = f"127.0.0.1:{free_port()}"
    started_server = server(address)
    options = channel_options(healthy_only=True)
    with grpc.insecure_channel(address, options=options) as channel:
        health: Any = HealthStub(channel)
        assert health.Check(HealthCheckRequest(), timeout=5).status == HealthCheckResponse.SERVING
    assert _health(address, "") == [True]
    started_server.stop(0).wait(5)


def test_a_server_tolerates_twice_as_many_pings_as_the_gateway_sends() -> None:
    gateway = dict(channel_options(healthy_only=True))["grpc.keepalive_time_ms"]
    assert dict(grpc_server._OPTIONS)["grpc.http2.min_ping_interval_without_data_ms"] * 2 <= gateway
