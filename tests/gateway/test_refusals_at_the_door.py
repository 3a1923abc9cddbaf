"""Refusals of callers that have used up their quota cost the gateway almost nothing.

Over a real socket, such a caller takes no thread and no place of another caller in the queue, and
is answered a moment later.
"""

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import requests
from flask import Flask, request

from services.gateway.edge import server as server_module
from services.gateway.edge.credentials import fingerprint
from services.gateway.edge.gates import THREADS
from services.gateway.edge.limits import Limits
from services.gateway.edge.server import Server
from tests.parts.local_stack import ROOT, until

PATH = "/api/v1/referrals"


@dataclass
class Gateway:
    """A server whose app only counts its calls.

    The app makes a caller named "slow" wait until the event `go` is set.
    """

    server: Server
    callers: list[str]
    go: threading.Event
    limits: Limits

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.effective_port}{PATH}"

    def spend(self, caller: str) -> None:
        """Uses up a caller's quota."""
        while not self.limits._limiters["caller"].take(fingerprint(caller)).wait:
            pass

    def get(self, caller: str) -> requests.Response:
        """Sends a caller's request and waits for the answer."""
        return requests.get(self.url, headers={"Authorization": f"Bearer {caller}"}, timeout=10)

    def send(self, data: bytes) -> socket.socket:
        """Returns a new connection on which these bytes were sent."""
        connection = socket.create_connection(("127.0.0.1", self.server.effective_port), timeout=10)
        connection.sendall(data)
        return connection


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    app, callers, go = Flask(__name__), list[str](), threading.Event()

    def answer() -> str:
        caller = request.headers["Authorization"].partition(" ")[2]
        callers.append(caller)
        if caller == "slow":
            go.wait(20)
        return caller

    app.add_url_rule(PATH, view_func=answer)
    limits = Limits(1)
    for limiter in limits._limiters.values():
        limiter._now = lambda: 0.0
    server = Server(app, "127.0.0.1:0", refuse=limits.refuse)
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield Gateway(server, callers, go, limits)
    go.set()
    server.stop()
    thread.join(15)
    assert not thread.is_alive()


def request_bytes(caller: str) -> bytes:
    return f"GET {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {caller}\r\n\r\n".encode()


def test_a_caller_without_quota_gets_a_complete_refusal_without_the_app(gateway: Gateway) -> None:
    gateway.spend("greedy")
    answer = gateway.get("greedy")
    assert (answer.status_code, answer.headers["Content-Type"], answer.json()["reason"]) == (
        429,
        "application/problem+json",
        "rate_limited",
    )
    assert (answer.headers["Retry-After"], answer.headers["RateLimit-Policy"]) == (
        "1",
        '"caller";q=2;w=2',
    )
    assert gateway.get("modest").text == "modest"
    assert gateway.callers == ["modest"]


def test_several_requests_on_one_connection_are_answered_in_their_order(gateway: Gateway) -> None:
    gateway.spend("greedy")
    with gateway.send(
        b"".join(map(request_bytes, ("greedy", "modest", "greedy", "other")))
    ) as connection:
        answer_bytes = b""
        while answer_bytes.count(b"HTTP/1.1") < 4 or not answer_bytes.endswith(b"other"):
            answer_bytes += connection.recv(65536)
    assert [part[:3] for part in answer_bytes.split(b"HTTP/1.1 ")[1:]] == [
        b"429",
        b"200",
        b"429",
        b"200",
    ]


def test_other_callers_are_answered_while_refusals_are_delayed(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "REFUSAL_SECONDS", 3600.0)
    gateway.spend("greedy")
    connections = [gateway.send(request_bytes("greedy")) for _ in range(50)]
    until(lambda: len(gateway.server._refused_channels) == 50)
    assert gateway.get("modest").text == "modest"
    gateway.server._refused_channels = type(gateway.server._refused_channels)(
        (0.0, channel) for _, channel in gateway.server._refused_channels
    )
    gateway.server.pull_trigger()
    for connection in connections:
        with connection:
            assert connection.recv(65536).startswith(b"HTTP/1.1 429")


def test_a_flood_holds_only_a_limited_number_of_connections(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MAX_DELAYED_REFUSALS", 2)
    monkeypatch.setattr(server_module, "REFUSAL_SECONDS", 3600.0)
    gateway.spend("greedy")
    with gateway.send(request_bytes("greedy")), gateway.send(request_bytes("greedy")):
        until(lambda: len(gateway.server._refused_channels) == 2)
        with gateway.send(request_bytes("greedy")) as connection:
            assert connection.recv(65536).startswith(b"HTTP/1.1 429")


def test_nothing_is_left_after_a_caller_hangs_up_or_the_server_stops(gateway: Gateway) -> None:
    gateway.spend("greedy")
    gateway.send(request_bytes("greedy")).close()
    with gateway.send(request_bytes("greedy")) as connection:
        until(
            lambda: any(
                channel.used and channel.addr == connection.getsockname()
                for channel in list(gateway.server.active_channels.values())
            )
        )
        gateway.server.stop()
        assert connection.recv(65536).startswith(b"HTTP/1.1 429")
    until(lambda: not gateway.server.active_channels)


def statuses(connections: list[socket.socket]) -> list[bytes]:
    """Returns the status of the answer on each connection, and closes the connections."""
    results = []
    for connection in connections:
        with connection:
            results.append(connection.recv(65536).split(b" ", 2)[1])
    return results


def test_a_caller_has_a_limited_number_of_requests_under_way_and_others_have_their_own(
    gateway: Gateway,
) -> None:
    guide = (ROOT / "docs" / "api.md").read_text()
    assert server_module.MAX_PER_CALLER == 8
    assert "beyond eight the answer is 503" in guide
    slow_requests = [
        gateway.send(request_bytes("slow")) for _ in range(server_module.MAX_PER_CALLER)
    ]
    until(lambda: len(gateway.callers) == server_module.MAX_PER_CALLER)
    answer = gateway.get("slow")
    assert (answer.status_code, answer.json()["reason"], answer.headers["Retry-After"]) == (
        503,
        "service_busy",
        "5",
    )
    assert gateway.get("modest").text == "modest"
    gateway.go.set()
    assert statuses(slow_requests) == [b"200"] * server_module.MAX_PER_CALLER
    until(lambda: not gateway.server._under_way)
    gateway.callers.clear()
    gateway.get("slow")
    assert gateway.callers == ["slow"], "the refused caller has its full share again"


def test_when_the_server_is_full_requests_of_systems_are_refused_at_once_and_pages_are_not(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MAX_PER_CALLER", 10_000)
    monkeypatch.setattr(server_module, "MAX_UNDER_WAY", THREADS + 5)
    slow_requests = [gateway.send(request_bytes("slow")) for _ in range(THREADS + 5)]
    until(lambda: len(gateway.callers) == THREADS)
    assert statuses([gateway.send(request_bytes("late")) for _ in range(20)]) == [b"503"] * 20
    page = gateway.send(b"GET /hoy HTTP/1.1\r\nHost: x\r\n\r\n")
    until(lambda: len(gateway.server.task_dispatcher.queue) == 6)
    gateway.go.set()
    assert statuses(slow_requests) == [b"200"] * (THREADS + 5)
    assert statuses([page]) == [b"404"], "this app has no pages"
    assert "late" not in gateway.callers
