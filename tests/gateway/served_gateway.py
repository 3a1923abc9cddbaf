"""The gateway as a process on a port, in front of real gRPC servers.

The servers answer as the test chooses.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import requests
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from keys import key_folder
from local.process import Process, free_port
from tests.gateway.api_gateway import KEY, OUTPUTS
from tests.gateway.pages_gateway import ALL_ROLES, EXIT, signed_in, taxonomy
from tests.parts.local_stack import ROOT

NAMES = ("partners", "referrals", "notifications")
SERVE = (sys.executable, "-m", "services.gateway", "serve")
Answer = Callable[[str, grpc.ServicerContext], Message | None]


class Service(grpc.GenericRpcHandler):
    """One server for all contracts.

    `answer` may return a message, refuse the call through the context, or wait; None stands for an
    empty message.
    """

    def __init__(self, port: int = 0) -> None:
        self.answer: Answer = lambda rpc, context: None
        self.calls: list[str] = []
        self._health = health.HealthServicer()
        self._server = grpc.server(ThreadPoolExecutor(64), options=[("grpc.so_reuseport", 0)])
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._server.add_generic_rpc_handlers((self,))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self.set_ready(True)
        self._server.start()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Handles every rpc except those of the health service; gRPC calls this method."""
        rpc = handler_call_details.method.rpartition("/")[2]
        if rpc not in OUTPUTS:
            return None

        def handle(_request: bytes, context: grpc.ServicerContext) -> Message:
            self.calls.append(rpc)
            standard_answers = {
                "IssueToken": signed_in(*ALL_ROLES),
                "ListTaxonomyTerms": taxonomy(),
            }
            return (
                self.answer(rpc, context)
                or standard_answers.get(rpc)
                or GetMessageClass(OUTPUTS[rpc])()
            )

        return grpc.unary_unary_rpc_method_handler(
            handle, response_serializer=lambda message: message.SerializeToString()
        )

    def set_ready(self, ready: bool) -> None:
        """Sets the state that the server reports for its database."""
        self._health.set(
            "",
            health_pb2.HealthCheckResponse.SERVING
            if ready
            else health_pb2.HealthCheckResponse.NOT_SERVING,
        )

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def stop(self, grace: float | None = None) -> None:
        """Ends the server; calls under way get `grace` seconds and are then cancelled."""
        self._server.stop(grace).wait(10)


class RejectingServer:
    """A server that rejects the first call before a handler runs, like a server that is stopping.

    Source of the frames: RFC 9113, sections 4.1, 6.5 and 6.8. The first stream of the connection is
    gRPC's watch of the health. Its answer is UNIMPLEMENTED, so gRPC assumes that the server is
    ready. The next stream gets a GOAWAY, which names the first stream as the last processed stream.
    The server accepts no further connection.
    """

    HEADERS, SETTINGS, GOAWAY = 1, 4, 7
    ACK, END_STREAM_AND_HEADERS = 1, 5
    LAST_STREAM_AND_NO_ERROR = (1).to_bytes(4, "big") + bytes(4)
    UNIMPLEMENTED = b"\x88\x00\x0ccontent-type\x10application/grpc\x00\x0bgrpc-status\x0212"

    def __init__(self) -> None:
        self.rejected = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with self._listener:
            connection, _ = self._listener.accept()

        def send(kind: int, flags: int, stream: int, payload: bytes = b"") -> None:
            head = len(payload).to_bytes(3, "big") + bytes((kind, flags))
            connection.sendall(head + stream.to_bytes(4, "big") + payload)

        with connection, connection.makefile("rb") as stream_bytes:
            stream_bytes.read(24)  # the preface
            send(self.SETTINGS, 0, 0)
            while len(head := stream_bytes.read(9)) == 9:
                kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
                stream_bytes.read(int.from_bytes(head[:3], "big"))
                if kind == self.SETTINGS and not flags & self.ACK:
                    send(self.SETTINGS, self.ACK, 0)
                elif kind == self.HEADERS and stream == 1:
                    send(self.HEADERS, self.END_STREAM_AND_HEADERS, stream, self.UNIMPLEMENTED)
                elif kind == self.HEADERS:
                    self.rejected.set()
                    send(self.GOAWAY, 0, 0, self.LAST_STREAM_AND_NO_ERROR)
                    return


def store_unavailable(rpc: str, context: grpc.ServicerContext) -> None:
    """Answers as a service whose database is down."""
    refuse(context, "store_unavailable", "UNAVAILABLE")


def refuse(context: grpc.ServicerContext, reason: str, code: str) -> None:
    """Refuses a call with a gRPC code and a reason."""
    status = status_pb2.Status(code=getattr(code_pb2, code), message=reason)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="enlace"))
    context.abort_with_status(rpc_status.to_status(status))


def refusing_answer(reason: str, code: str, *, only: str) -> Answer:
    """Returns the answer of a service that refuses one rpc."""

    def answer(rpc: str, context: grpc.ServicerContext) -> None:
        if rpc == only:
            refuse(context, reason, code)

    return answer


def hanging_answer(end: threading.Event) -> Answer:
    """Returns the answer of a service that accepts calls and does nothing until `end` is set."""

    def wait(rpc: str, context: grpc.ServicerContext) -> None:
        end.wait(20)

    return wait


def all_at(service: Service) -> dict[str, str]:
    """Returns the addresses for a gateway whose services are all this server."""
    return dict.fromkeys(NAMES, f"127.0.0.1:{service.port}")


class Gateway:
    """A gateway process in front of these addresses."""

    def __init__(
        self,
        folder: Path,
        addresses: dict[str, str],
        command: Sequence[str] = SERVE,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        key_folder.create(folder, ())
        environment = {
            **os.environ,
            **{f"ENLACE_{name.upper()}_ADDRESS": address for name, address in addresses.items()},
            "ENLACE_HTTP_LISTEN": f"127.0.0.1:{self.port}",
            "ENLACE_KEYS": str(folder),
            "ENLACE_DEVELOPMENT": "1",
            "ENLACE_CALLER_RATE": "100000",  # all clients of a crowd have one key here
            "ENLACE_EXIT_URL": EXIT,
            **(settings or {}),
        }
        self.process = Process("gateway", command, folder / "gateway.log", environment, ROOT)
        self.process.start()
        self.process.wait_until(self.answers, 30)

    def __enter__(self) -> Gateway:
        return self

    def __exit__(self, *_error: object) -> None:
        self.process.stop()

    def answers(self) -> bool:
        """Returns whether the gateway accepts requests."""
        try:
            return requests.get(f"{self.url}/healthz", timeout=1).ok
        except requests.RequestException:
            return False

    def api(self, path: str = "people", **options: Any) -> requests.Response:
        """Sends a request of a partner system.

        The gateway requests a token from partners (unless it remembers one), and then calls the
        service to which the path belongs.
        """
        headers = {"Authorization": f"Bearer {options.pop('key', KEY)}"}
        return requests.request(
            options.pop("method", "GET"),
            f"{self.url}/api/v1/{path}",
            headers=headers,
            timeout=15,
            **options,
        )

    def socket(self, request: bytes = b"", **options: Any) -> socket.socket:
        """Returns a connection to the gateway on which these bytes were sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=15)
        connection.sendall(request)
        return connection

    def signal(self, number: signal.Signals) -> None:
        """Sends the gateway a signal."""
        os.kill(self.process.pid or 0, number)


def dead_address() -> tuple[socket.socket, str]:
    """Returns a socket that reserves an address without listening, and the address."""
    reserved = socket.socket()
    reserved.bind(("127.0.0.1", 0))
    return reserved, f"127.0.0.1:{reserved.getsockname()[1]}"


@contextmanager
def crowd(number: int, act: Callable[[], object]) -> Iterator[list[float]]:
    """Runs clients that repeat an act, each in a thread; yields the list of their durations."""
    end, durations = threading.Event(), list[float]()

    def repeat() -> None:
        while not end.is_set():
            durations.append(duration_of(act))

    threads = [threading.Thread(target=repeat) for _ in range(number)]
    with ExitStack() as cleanup:
        for thread in threads:
            thread.start()
            cleanup.callback(thread.join)
        cleanup.callback(end.set)
        yield durations


def duration_of(act: Callable[[], object]) -> float:
    """Returns the seconds that the act takes."""
    begin = time.monotonic()
    act()
    return time.monotonic() - begin
