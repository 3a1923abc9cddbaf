"""A partner's system: an HTTP server that records its requests and gives the test's answers."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook


@dataclass
class ReceivedRequest:
    """One request as the receiver received it."""

    path: str
    headers: dict[str, str]
    body: str
    connection: int  # equal for requests over one connection
    time: float  # of its arrival, by time.monotonic

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def type_(self) -> str:
        """Returns the type of the reported fact."""
        return str(json.loads(self.body)["type"])

    def verify_signature(self, secret: str) -> Any:
        """Returns the body; the library that a partner would use verifies its signature."""
        return Webhook(secret).verify(self.body, self.headers)


@dataclass
class Receiver:
    """The server of a partner's system.

    It gives `answers` one by one, and then always 204; `hold` delays every answer until it is set.
    """

    answers: list[int] = field(default_factory=list)
    requests: list[ReceivedRequest] = field(default_factory=list)
    location: str = ""
    retry_after: str = ""
    body: bytes = b""
    hold: threading.Event | None = None
    on_request: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        receiver = self
        arrived = self.arrived = threading.Condition()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                arrival = time.monotonic()
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                with arrived:
                    receiver.requests.append(
                        ReceivedRequest(
                            self.path,
                            {k.lower(): v for k, v in self.headers.items()},
                            body,
                            self.client_address[1],
                            arrival,
                        )
                    )
                    arrived.notify_all()
                if receiver.on_request:
                    receiver.on_request()
                if receiver.hold:
                    receiver.hold.wait(30)
                code = receiver.answers.pop(0) if receiver.answers else 204
                self.send_response(code)
                if receiver.location:
                    self.send_header("location", receiver.location)
                if receiver.retry_after:
                    self.send_header("retry-after", receiver.retry_after)
                if code != 204:
                    self.send_header("content-length", str(len(receiver.body)))
                self.end_headers()
                if code != 204:
                    self.wfile.write(receiver.body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/enlace"

    def wait_for(self, count: int, seconds: float = 10) -> None:
        """Waits until this many requests have arrived."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.requests) >= count, seconds), (
                f"{len(self.requests)} of {count} arrived"
            )

    def close(self) -> None:
        if self.hold:
            self.hold.set()
        self._server.shutdown()
        self._server.server_close()
