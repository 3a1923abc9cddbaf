"""Counts what a service asks its database: a proxy between the services of a stack and PostgreSQL
that records each exchange.

An *exchange* is what a thread sends before it waits: one statement, or several in pipeline mode. On
the wire it ends with a Sync, a Query or a Flush message (PostgreSQL's frontend/backend protocol).
Counts do not depend on the speed of the machine.

`python -m bench.exchanges FILE OPTIONS` is `python -m services OPTIONS` with the proxy in front of
its PostgreSQL; it appends one JSON line per exchange to FILE.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SSL_REQUEST, _GSS_REQUEST, _CANCEL = 80877103, 80877104, 80877102
_ENDS = {b"S", b"Q", b"H"}  # Sync, Query, Flush


@dataclass(frozen=True)
class Exchange:
    """The statements that a connection sent before it waited. `connection` is a number."""

    time: float
    role: str
    application: str
    connection: int
    statements: list[str]


class Proxy:
    """Listens on a free port of loopback, and passes everything on to `port`."""

    def __init__(self, port: int, record: Callable[[Exchange], None]) -> None:
        self._port = port
        self._record = record
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._connections = 0
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            self._connections += 1
            threading.Thread(
                target=self._serve, args=(client, self._connections), daemon=True
            ).start()

    def _serve(self, client: socket.socket, number: int) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._port))
        except OSError:
            client.close()
            return
        for side in (client, server):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_copy, args=(server, client), daemon=True).start()
        _Reader(number, self._record).copy(client, server)


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    finally:
        for side in (source, target):
            try:
                side.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class _Reader:
    """Reads the messages of one client, and passes them on unchanged."""

    def __init__(self, number: int, record: Callable[[Exchange], None]) -> None:
        self._number = number
        self._record = record
        self._buffer = b""
        self._started = False
        self._role = self._application = ""
        self._prepared: dict[bytes, str] = {}
        self._portals: dict[bytes, str] = {}
        self._statements: list[str] = []

    def copy(self, client: socket.socket, server: socket.socket) -> None:
        """Copies until one side ends."""
        try:
            while data := client.recv(65536):
                self._buffer += data
                self._read()
                server.sendall(data)
        except OSError:
            pass
        finally:
            for side in (client, server):
                side.close()

    def _read(self) -> None:
        while not self._started and len(self._buffer) >= 8:
            length, code = struct.unpack_from("!II", self._buffer)
            if len(self._buffer) < length:
                return
            body, self._buffer = self._buffer[8:length], self._buffer[length:]
            if code not in (_SSL_REQUEST, _GSS_REQUEST, _CANCEL):
                words = body.split(b"\0")
                settings = dict(zip(words[::2], words[1::2], strict=False))
                self._role = settings.get(b"user", b"").decode()
                self._application = settings.get(b"application_name", b"").decode()
                self._started = True
        while self._started and len(self._buffer) >= 5:
            length = struct.unpack_from("!I", self._buffer, 1)[0]
            if len(self._buffer) < length + 1:
                return
            kind, body = self._buffer[:1], self._buffer[5 : length + 1]
            self._buffer = self._buffer[length + 1 :]
            self._message(kind, body)

    def _message(self, kind: bytes, body: bytes) -> None:
        if kind == b"Q":
            self._statements.append(body[:-1].decode())
        elif kind == b"P":
            name, text, _ = body.split(b"\0", 2)
            self._prepared[name] = text.decode()
        elif kind == b"B":
            portal, name, _ = body.split(b"\0", 2)
            self._portals[portal] = self._prepared.get(name, "?")
        elif kind == b"E":
            self._statements.append(self._portals.get(body.split(b"\0", 1)[0], "?"))
        # a Flush after each statement of a pipeline is not waited for; Sync is
        if kind in _ENDS and (self._statements or kind == b"S"):
            self._record(
                Exchange(time.time(), self._role, self._application, self._number, self._statements)
            )
            self._statements = []


def main() -> None:
    """Runs a stack with the proxy."""
    from local import command
    from local.postgres import Login, Postgres

    file = Path(sys.argv.pop(1)).open("a", buffering=1)
    lock = threading.Lock()

    def record(exchange: Exchange) -> None:
        with lock:
            file.write(json.dumps(vars(exchange)) + "\n")

    url = Postgres.url
    proxies: dict[int, Proxy] = {}

    def through_proxy(postgres: Any, database: str, login: Login, options: str = "") -> str:
        direct = url(postgres, database, login, options)
        if login.role.endswith("_owner") or login.role == "postgres":
            return direct
        if postgres.port not in proxies:
            proxies[postgres.port] = Proxy(postgres.port, record)
        return direct.replace(f":{postgres.port}/", f":{proxies[postgres.port].port}/")

    Postgres.url = through_proxy  # type: ignore[method-assign]
    command.main()


if __name__ == "__main__":
    main()
