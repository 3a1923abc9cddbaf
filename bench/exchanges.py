"""Records what services send to their databases, and their signatures: a proxy between the services
of a stack and PostgreSQL records each transaction, and each service is started through this module,
which records every signature that the service makes or checks.

An *exchange* is what a thread sends before it waits: one statement, or several in pipeline mode. On
the wire, an exchange ends with a Sync, a Query or a Flush message (PostgreSQL's frontend/backend
protocol). Counts do not depend on the speed of the machine.

`python -m bench.exchanges FILE OPTIONS` runs `python -m services OPTIONS` with both recordings: it
appends a JSON line per transaction to FILE, and a line per signature to FILE.signatures.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_SSL_REQUEST, _GSS_REQUEST, _CANCEL = 80877103, 80877104, 80877102
_SCOPE = re.compile(r"set_config\('enlace\.(view|trace)', \$(\d+)")
_ASYNCHRONOUS = re.compile(r"SET synchronous_commit = (on|off)", re.IGNORECASE)
_WRITES = re.compile(r"\b(INSERT INTO|UPDATE|DELETE FROM|MERGE INTO|FOR (KEY )?SHARE|pg_notify)\b")
_SIGNATURES = "ENLACE_BENCH_SIGNATURES"


@dataclass
class Transaction:
    """A transaction on a connection, from BEGIN to COMMIT or ROLLBACK, or an exchange outside of a
    transaction.

    `view` is its scope of row-level security; the service's own work has `system`. `trace` is the
    id of the request that caused it (chassis.trace). `flushes` is true if its commit waits for the
    disk: it wrote a row, and commits synchronously.
    """

    role: str
    application: str
    connection: int
    view: str = "system"
    trace: str = ""
    exchanges: list[list[str]] = field(default_factory=list)
    flushes: bool = False
    time: float = 0.0

    @property
    def statements(self) -> list[str]:
        return [text for exchange in self.exchanges for text in exchange if text]


class Session:
    """Reads the messages of one connection in both directions, and records its transactions."""

    def __init__(self, number: int, record: Callable[[Transaction], None]) -> None:
        self._number = number
        self._record = record
        self._lock = threading.Lock()
        self._sent_data, self._received_data = b"", b""
        self._started, self._refusals = False, 0
        self._role = self._application = ""
        self._prepared_statements: dict[bytes, str] = {}
        self._portals: dict[bytes, tuple[str, list[bytes]]] = {}
        self._statements: list[str] = []
        self._is_open, self._is_durable = False, True
        self._current: Transaction | None = None
        self._ended_transactions: list[Transaction] = []
        # what the server has not answered yet: statements with their transactions and, for each
        # Sync, the transactions that ended before it
        self._unanswered: deque[tuple[str, Transaction] | list[Transaction]] = deque()

    def read_sent(self, data: bytes) -> None:
        """Reads what the client sent."""
        with self._lock:
            self._sent_data += data
            while not self._started and len(self._sent_data) >= 8:
                length, code = struct.unpack_from("!II", self._sent_data)
                if len(self._sent_data) < length:
                    return
                body, self._sent_data = self._sent_data[8:length], self._sent_data[length:]
                if code in (_SSL_REQUEST, _GSS_REQUEST):
                    self._refusals += 1  # the server refuses with a single byte
                elif code != _CANCEL:
                    words = body.split(b"\0")
                    settings = dict(zip(words[::2], words[1::2], strict=False))
                    self._role = settings.get(b"user", b"").decode()
                    self._application = settings.get(b"application_name", b"").decode()
                    self._started = True
            if self._started:
                messages, self._sent_data = _messages(self._sent_data)
                for kind, body in messages:
                    self._handle_sent(kind, body)

    def read_received(self, data: bytes) -> None:
        """Reads what the server sent."""
        with self._lock:
            self._received_data += data
            while self._refusals and self._received_data:
                self._received_data, self._refusals = self._received_data[1:], self._refusals - 1
            messages, self._received_data = _messages(self._received_data)
            for kind, body in messages:
                self._handle_received(kind, body)

    def _handle_sent(self, kind: bytes, body: bytes) -> None:
        if kind == b"Q":
            self._execute(body[:-1].decode(), [])
        elif kind == b"P":
            name, text, _ = body.split(b"\0", 2)
            self._prepared_statements[name] = text.decode()
        elif kind == b"B":
            portal, name, rest = body.split(b"\0", 2)
            self._portals[portal] = self._prepared_statements.get(name, "?"), _parameters(rest)
        elif kind == b"E":
            self._execute(*self._portals.get(body.split(b"\0", 1)[0], ("?", [])))
        # a Sync or a Query always ends an exchange, a Flush only if statements were sent before it
        if kind in (b"S", b"Q") or (kind == b"H" and self._statements):
            self._end_exchange()
        if kind in (b"S", b"Q"):
            self._unanswered.append(self._ended_transactions)
            self._ended_transactions = []

    def _execute(self, text: str, parameters: list[bytes]) -> None:
        if self._current is None:
            self._current = Transaction(self._role, self._application, self._number)
        for name, number in _SCOPE.findall(text):
            value = parameters[int(number) - 1].decode()
            if name == "view":
                self._current.view = value
            else:
                self._current.trace = value or self._current.trace
        if mode := _ASYNCHRONOUS.match(text):
            self._is_durable = mode[1] == "on"
        self._statements.append(text)
        self._unanswered.append((text, self._current))
        verb = text.strip(" \n;").upper()
        if verb.startswith(("BEGIN", "START TRANSACTION")):
            self._is_open = True
        elif verb.startswith(("COMMIT", "END")) or verb == "ROLLBACK":
            self._is_open = False

    def _end_exchange(self) -> None:
        if self._current is None:
            self._current = Transaction(self._role, self._application, self._number)
        self._current.exchanges.append(self._statements)
        self._statements = []
        if not self._is_open:
            self._ended_transactions.append(self._current)
            self._current = None

    def _handle_received(self, kind: bytes, body: bytes) -> None:
        if (
            kind in (b"C", b"I", b"s")
            and self._unanswered
            and isinstance(self._unanswered[0], tuple)
        ):
            text, transaction = self._unanswered[0]
            self._unanswered.popleft()
            if kind == b"C" and self._is_durable and is_write(text, body[:-1].decode()):
                transaction.flushes = True
        elif kind == b"Z":  # after an error, some statements have no answer
            while self._unanswered and isinstance(self._unanswered[0], tuple):
                self._unanswered.popleft()
            ended_transactions = self._unanswered.popleft() if self._unanswered else []
            for completed in ended_transactions:
                assert isinstance(completed, Transaction)
                completed.flushes &= completed.statements[-1:] != ["ROLLBACK"]
                completed.time = time.time()
                self._record(completed)


def is_write(text: str, tag: str) -> bool:
    """Returns True if a statement wrote a row, according to the server's tag (`UPDATE 2`), or if it
    was a NOTIFY.
    """
    verb, _, rest = tag.partition(" ")
    rows = rest.split(" ")[-1]
    if verb == "SELECT":
        return rows != "0" and bool(_WRITES.search(text))
    return verb == "NOTIFY" or (verb in ("INSERT", "UPDATE", "DELETE", "MERGE") and rows != "0")


def _messages(data: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Returns the complete messages of a stream as (kind, body), and the rest of the data."""
    messages, start = [], 0
    while len(data) >= start + 5:
        end = start + 1 + struct.unpack_from("!I", data, start + 1)[0]
        if len(data) < end:
            break
        messages.append((data[start : start + 1], data[start + 5 : end]))
        start = end
    return messages, data[start:]


def _parameters(body: bytes) -> list[bytes]:
    """Returns the parameter values of a Bind message; NULL is b"".

    `body` is the part after the two names, which begins with the formats of the parameters.
    """
    values, start = [], 2 + 2 * struct.unpack_from("!H", body)[0]
    count, start = struct.unpack_from("!H", body, start)[0], start + 2
    for _ in range(count):
        length, start = struct.unpack_from("!i", body, start)[0], start + 4
        values.append(body[start : start + max(0, length)])
        start += max(0, length)
    return values


class Proxy:
    """Listens on a free loopback port, and forwards everything to `port`."""

    def __init__(self, port: int, record: Callable[[Transaction], None]) -> None:
        self._target_port = port
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
            server = socket.create_connection(("127.0.0.1", self._target_port))
        except OSError:
            client.close()
            return
        for side in (client, server):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session = Session(number, self._record)
        reply_thread = threading.Thread(
            target=_copy, args=(server, client, session.read_received), daemon=True
        )
        reply_thread.start()
        _copy(client, server, session.read_sent)
        reply_thread.join()
        for side in (client, server):
            side.close()


def _copy(source: socket.socket, target: socket.socket, read: Callable[[bytes], None]) -> None:
    """Copies data until one side ends; `read` gets the data before the target does."""
    try:
        while data := source.recv(65536):
            read(data)
            target.sendall(data)
    except OSError:
        pass
    finally:
        for side in (source, target):
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)


def main() -> None:
    """Runs a stack with the proxy."""
    from local import command, stack
    from local.postgres import Login, Postgres

    name = sys.argv.pop(1)
    file = Path(name).open("a", buffering=1)  # noqa: SIM115  # until the stack ends
    lock = threading.Lock()

    def record(transaction: Transaction) -> None:
        with lock:
            file.write(json.dumps(vars(transaction)) + "\n")

    url, serve_command = Postgres.url, stack.Service.serve_command
    proxies: dict[int, Proxy] = {}

    def through_proxy(postgres: Any, database: str, login: Login, options: str = "") -> str:
        direct = url(postgres, database, login, options)
        if login.role.endswith("_owner") or login.role == "postgres":
            return direct
        if postgres.port not in proxies:
            proxies[postgres.port] = Proxy(postgres.port, record)
        return direct.replace(f":{postgres.port}/", f":{proxies[postgres.port].port}/")

    def serve_recording_signatures(service: stack.Service, only: str = "") -> list[str]:
        return ["bench.exchanges", "--service", *serve_command(service, only)]

    os.environ[_SIGNATURES] = f"{name}.signatures"
    Postgres.url = through_proxy  # type: ignore[method-assign,assignment]
    recorded: Any = stack.Service
    recorded.serve_command = serve_recording_signatures
    command.main()


def serve() -> None:
    """Runs a service (`--service MODULE …`) that records each signature it makes or checks."""
    from joserfc._rfc9864.jws_eddsa import EdDSAAlgorithm

    from keys.sealing import SignatureVerifier, Signer

    del sys.argv[1]
    module = sys.argv.pop(1)
    file = os.open(os.environ[_SIGNATURES], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def record_calls(cls: type, method: str, line: bytes) -> None:
        call = getattr(cls, method)

        def record_and_call(*arguments: Any, **named: Any) -> Any:
            os.write(file, line)
            return call(*arguments, **named)

        setattr(cls, method, record_and_call)

    record_calls(Signer, "sign", b"made\n")
    record_calls(SignatureVerifier, "is_valid", b"checked\n")
    record_calls(EdDSAAlgorithm, "sign", b"made\n")
    record_calls(EdDSAAlgorithm, "verify", b"checked\n")
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def read(lines: Iterable[str]) -> list[Transaction]:
    """Returns the recorded transactions."""
    return [Transaction(**json.loads(line)) for line in lines]


if __name__ == "__main__":
    serve() if sys.argv[1:2] == ["--service"] else main()
