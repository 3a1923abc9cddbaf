"""Clients that are slow, silent or many.

None of them occupies a thread, keeps out new clients, or delays the stop of the gateway.
"""

import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
import requests

from services.gateway.edge import server as server_module
from services.gateway.edge.gates import THREADS
from tests.gateway.api_gateway import KEY
from tests.gateway.pages_gateway import FakePageServices, pages
from tests.gateway.served_gateway import Gateway, Service, all_at, duration_of
from tests.parts.local_stack import until

ONE_BYTE_OF_A_THOUSAND = (
    b"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Type:"
    b" application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\nx"
)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    server = Service()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def gateway(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path_factory.mktemp("gateway"), all_at(service))
    yield gateway
    gateway.process.stop()


def test_a_slow_client_never_holds_a_thread(gateway: Gateway) -> None:
    with ExitStack() as cleanup:
        for _ in range(THREADS + 20):
            cleanup.enter_context(gateway.socket(ONE_BYTE_OF_A_THOUSAND))
        # If the slow clients held threads, no thread would be free before ten seconds were over.
        assert requests.get(f"{gateway.url}/", timeout=5).status_code == 200
        assert gateway.api().status_code == 200


def test_health_answers_while_five_hundred_slow_sockets_are_open(gateway: Gateway) -> None:
    with ExitStack() as cleanup:
        sockets = [
            cleanup.enter_context(
                gateway.socket((ONE_BYTE_OF_A_THOUSAND, b"GET / HT", b"")[turn % 3])
            )
            for turn in range(500)
        ]
        for path in ("/healthz", "/readyz", "/quick-exit") * 5:
            for connection in sockets[::3]:
                connection.send(b"x")
            assert requests.get(gateway.url + path, timeout=5, allow_redirects=False).ok


def test_a_full_server_closes_the_longest_waiting_connection_for_a_newcomer(
    gateway: Gateway,
) -> None:
    with ExitStack() as cleanup:
        first_connection = cleanup.enter_context(gateway.socket(ONE_BYTE_OF_A_THOUSAND))
        for _ in range(server_module.CONNECTIONS + 50):
            cleanup.enter_context(gateway.socket(b"GET / HT"))
        assert requests.get(f"{gateway.url}/healthz", timeout=10).status_code == 200
        assert is_closed(first_connection), "the client that had waited longest was disconnected"


def is_closed(connection: socket.socket) -> bool:
    """Returns whether the other side has closed the connection."""
    connection.settimeout(5)
    try:
        return connection.recv(100) == b""
    except ConnectionError:
        return True


def test_requests_that_are_too_large_or_broken_are_refused_before_they_are_read(
    gateway: Gateway,
) -> None:
    post = (
        b"POST /api/v1/people HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nContent-Type:"
        b" application/json\r\n"
    ) % KEY.encode()
    chunks = b"ffff\r\n%b\r\n" % (b"x" * 0xFFFF) * 3
    header = b"x" * server_module.HEADER_BYTES
    style = b"GET /static/enlace.css HTTP/1.1\r\nHost: x\r\n"
    endless_zone = b"Wed, 02 Dec 2026 00:00:00 +" + b"9" * 17
    for request, status, text in (
        # the API refuses with problem+json
        (post + b"Content-Length: 10000000\r\n\r\n", "HTTP/1.1 413", "body_too_large"),
        (post + b"Transfer-Encoding: chunked\r\n\r\n" + chunks, "HTTP/1.1 413", ""),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: %b\r\n\r\n" % header, "HTTP/1.0 431", ""),
        (b"GET / HTTP/1.1\r\nnonsense\r\n\r\n", "HTTP/1.0 400", ""),
        (b"GET http://[x/ HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400", ""),
        (b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % (b"x" * 64), "HTTP/1.1 400", ""),
        (style + b"If-Modified-Since: %b\r\n\r\n" % endless_zone, "HTTP/1.1 400", ""),
        (style + b"Range: bytes=0-1\r\nIf-Range: %b\r\n\r\n" % endless_zone, "HTTP/1.1 400", ""),
    ):
        with gateway.socket(request) as connection:
            answer = connection.makefile("rb").read().decode()
        assert (answer.startswith(status), text in answer) == (True, True), (status, answer[:200])
    page = requests.post(f"{gateway.url}/sign-in", data={"email": "x" * 70_000}, timeout=5)
    assert (page.status_code, "<h1>" in page.text, "Server" in page.headers) == (413, True, False)


class Clock:
    """A clock that the test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def get_health(client: HTTPConnection) -> tuple[int, str | None]:
    """Requests the health on an open connection; returns the status and the Connection header."""
    client.request("GET", "/healthz")
    answer = client.getresponse()
    answer.read()
    return answer.status, answer.getheader("Connection")


@pytest.fixture
def server_and_clock() -> Iterator[tuple[server_module.Server, Clock]]:
    """A server in this process whose clock the test sets.

    The server looks for overdue connections each time its trigger is pulled.
    """
    clock = Clock()
    server = server_module.Server(pages(FakePageServices()), "127.0.0.1:0")
    server.clock = clock
    server.adj.cleanup_interval = 0
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield server, clock
    server.stop()
    thread.join(5)
    assert not thread.is_alive()


def connect(server: server_module.Server, content: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", int(server.effective_port)), timeout=5)
    connection.sendall(content)
    return connection


def advance(server_and_clock: tuple[server_module.Server, Clock], seconds: float) -> None:
    """Advances the clock after the server has received all bytes, and triggers its check."""
    server, clock = server_and_clock
    # The bytes are still passing through the kernel, whose clock a test cannot set.
    time.sleep(0.1)
    clock.now += seconds
    server.pull_trigger()


@pytest.mark.parametrize(
    "content",
    [b"", b"GET / HT", ONE_BYTE_OF_A_THOUSAND],
    ids=["nothing", "half a header", "half a body"],
)
def test_a_silent_client_is_disconnected_after_ten_seconds(
    server_and_clock: tuple[server_module.Server, Clock], content: bytes
) -> None:
    with connect(server_and_clock[0], content) as connection:
        advance(server_and_clock, server_module.SILENCE_SECONDS + 1)
        assert is_closed(connection)


def test_a_trickling_client_is_disconnected_when_its_request_takes_too_long_in_total(
    server_and_clock: tuple[server_module.Server, Clock],
) -> None:
    with connect(server_and_clock[0], ONE_BYTE_OF_A_THOUSAND) as connection:
        for _ in range(4):
            advance(server_and_clock, 4)
            connection.send(b"x")
        advance(server_and_clock, 5)
        assert is_closed(connection)


def test_an_idle_connection_outlives_the_proxys_own_limit(
    server_and_clock: tuple[server_module.Server, Clock],
) -> None:
    with closing(
        HTTPConnection("127.0.0.1", int(server_and_clock[0].effective_port), timeout=5)
    ) as client:
        assert get_health(client) == (200, None)
        connection = client.sock
        advance(server_and_clock, 61)
        assert get_health(client) == (200, None)
        assert client.sock is connection
        advance(server_and_clock, server_module.IDLE_SECONDS + 1)
        assert is_closed(connection)


def test_a_slow_reader_holds_no_thread_and_is_disconnected_after_a_minute(
    server_and_clock: tuple[server_module.Server, Clock],
) -> None:
    server, _ = server_and_clock
    channels, threads = server.active_channels, server.task_dispatcher
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", int(server.effective_port)))
        # A few MB of answers that nobody reads: less than the 16 MB above which waitress makes the
        # thread wait.
        reader.sendall(b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        until(lambda: any(channel.total_outbufs_len for channel in channels.values()), 10)
        until(lambda: len(threads.threads) - threads.active_count == THREADS, 10)
        advance(server_and_clock, server_module.ANSWER_SECONDS + 1)
        until(lambda: not server.active_channels, 10)


def test_a_stopping_gateway_answers_each_connection_once_more_and_closes_it() -> None:
    clock = Clock()
    server = server_module.Server(pages(FakePageServices()), "127.0.0.1:0", farewell_seconds=5.0)
    server.clock = clock
    thread = threading.Thread(target=server.serve)
    thread.start()
    port = int(server.effective_port)

    with (
        closing(HTTPConnection("127.0.0.1", port, timeout=5)) as first_client,
        closing(HTTPConnection("127.0.0.1", port, timeout=5)) as last_client,
    ):
        try:
            assert get_health(first_client) == get_health(last_client) == (200, None)
            server.stop()
            assert get_health(first_client) == (200, "close")
            with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as new_client:
                assert get_health(new_client) == (200, "close")
            clock.now += 4.9
            server.pull_trigger()
            assert get_health(last_client) == (200, "close")
        finally:
            clock.now += 0.2
            server.pull_trigger()
            thread.join(5)
    assert not thread.is_alive()


def test_a_stopping_gateway_finishes_requests_under_way_and_accepts_no_new_ones(
    service: Service, tmp_path: Path
) -> None:
    gateway = Gateway(tmp_path, all_at(service))
    call_began, call_may_end = threading.Event(), threading.Event()

    def answer_slowly(rpc: str, context: object) -> None:
        if rpc == "ListPeople":
            call_began.set()
            call_may_end.wait(5)

    service.answer = answer_slowly
    statuses: list[int] = []
    request = threading.Thread(target=lambda: statuses.append(gateway.api().status_code))
    try:
        # idle and slow connections must not delay the stop
        with gateway.socket(), gateway.socket(ONE_BYTE_OF_A_THOUSAND):
            request.start()
            assert call_began.wait(5)
            gateway.signal(signal.SIGTERM)
            until(lambda: not gateway.answers(), 10)
            call_may_end.set()
            request.join(5)
            assert statuses == [200]
            stop_seconds = duration_of(lambda: until(lambda: not gateway.process.alive, 10))
            assert stop_seconds < server_module.GRACE_SECONDS, (
                "the stop waits for no other connection"
            )
            assert gateway.process.returncode == 0
    finally:
        service.answer = lambda rpc, context: None
        call_may_end.set()
        gateway.process.stop()
