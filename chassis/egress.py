"""One client for HTTP going out: it looks at the addresses that a name means at this moment, and
connects to one of exactly those.

A name may be harmless when it is entered and point into our own network later; so the rule is asked
again at every connection. No redirect is followed, no proxy or netrc of the environment used, no
cookie kept, and no more of an answer is read than whoever asks has room for. Limit: an EgressClient
leads to one endpoint and is for one thread at a time; looking up a name is the system's and has the
system's patience.
"""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from ipaddress import ip_address
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError
from urllib3.util.connection import create_connection

from chassis.addresses import may_call

# It would log whole addresses at WARNING; a partner may have put a token into its own.
logging.getLogger("urllib3").setLevel(logging.CRITICAL)

TIMEOUT = 10.0  # seconds, for an attempt as a whole
_CONNECT_TIMEOUT = 5.0
_ANSWER = 16_384  # bytes that are read to keep the connection; whoever answers more is hung up on


class RefusedAddress(NewConnectionError):
    """The name means an address that is never called."""


class Connection:
    """What the connections of one EgressClient share: the rule, and a handle on the latest
    connection by which it can be cut from another thread.
    """

    def __init__(self, *, development: bool, timeout: float) -> None:
        self.development = development
        self.timeout = timeout
        self.was_cut = False
        self._handle: socket.socket | None = None

    def connect(self, asking: HTTPConnection, host: str, port: int) -> socket.socket:
        """Resolves, refuses, connects."""
        try:
            resolved = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise NameResolutionError(host, asking, socket.gaierror("unknown")) from error
        addresses = list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in resolved))
        # All of them or none: a name that means inside and outside at once is a trick.
        if not all(
            may_call(ip_address(address), development=self.development) for address in addresses
        ):
            raise RefusedAddress(asking, "refused")
        failure: OSError | None = None
        for address in addresses[:3]:
            try:
                opened = create_connection(
                    (address, port),
                    min(_CONNECT_TIMEOUT, self.timeout),
                    socket_options=HTTPConnection.default_socket_options,
                )
            except OSError as error:
                failure = error
                continue
            opened.settimeout(self.timeout)
            self.hang_up()
            self._handle = opened.dup()
            return opened
        raise NewConnectionError(asking, "failed") from failure

    def cut(self) -> None:
        """Ends the connection under way, whatever it is doing: a receiver that sends a byte every
        nine seconds never runs into a read timeout.
        """
        self.was_cut = True
        if self._handle is not None:
            with contextlib.suppress(OSError):
                self._handle.shutdown(socket.SHUT_RDWR)

    def hang_up(self) -> None:
        """Lets the handle go."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None


def _pools(connection: Connection) -> dict[str, type[HTTPConnectionPool]]:
    """Connection pools whose connections ask the connection."""

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return connection.connect(self, self._dns_host, self.port or 80)

    class Tls(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return connection.connect(self, self._dns_host, self.port or 443)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    return {"http": PlainPool, "https": TlsPool}


class _Adapter(HTTPAdapter):
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _pools(self._connection)


@dataclass(frozen=True)
class Answer:
    """What came of an attempt.

    `error` is empty for a whole answer with 2xx; else timeout, connection, refused_address, http,
    or too_long.
    """

    error: str
    code: int
    body: bytes
    duration_ms: int


class EgressClient:
    """A way to one endpoint, kept open between attempts."""

    def __init__(self, *, development: bool, timeout: float = TIMEOUT) -> None:
        self._development = development
        self._timeout = timeout
        self._connection: Connection | None = None
        self._session = requests.Session()

    def ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        most: int | None = None,
    ) -> Answer:
        """One attempt.

        An answer longer than `most` bytes is none; without it nobody wants to read it.
        """
        kept_open = self._connection is not None
        started = time.perf_counter()
        error, code, said = self._try(method, url, headers, body, most)
        if error == "connection" and kept_open:
            # The other side had closed the kept connection, which is its right; a fresh one
            # decides. A repeat is recognised by its id.
            error, code, said = self._try(method, url, headers, body, most)
        return Answer(error, code, said, int((time.perf_counter() - started) * 1000))

    def cut(self) -> None:
        """Ends the attempt under way, from another thread."""
        if self._connection is not None:
            self._connection.cut()

    def close(self) -> None:
        """Lets the connection go."""
        self._session.close()
        if self._connection is not None:
            self._connection.hang_up()
            self._connection = None

    def _try(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, most: int | None
    ) -> tuple[str, int, bytes]:
        connection = self._connection or self._open()
        guard = threading.Timer(self._timeout, connection.cut)
        guard.daemon = True
        guard.start()
        error, code, said, keep = "", 0, b"", False
        room = _ANSWER if most is None else most + 1
        try:
            with self._session.request(
                method,
                url,
                data=body or None,
                headers=dict(headers),
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            ) as answer:
                if connection.was_cut:  # what looks like the end of an answer is the cut
                    raise requests.Timeout
                code = answer.status_code
                error = "" if 200 <= code < 300 else "http"
                said = answer.raw.read(room, decode_content=False)
                keep = len(said) < room
        except requests.Timeout:
            error = "timeout"
        except requests.ConnectionError as failure:
            error = "refused_address" if _is_refused(failure) else "connection"
        except (requests.RequestException, HTTPError, ValueError, OSError):
            # What broke after the status does not matter to who reads no answer.
            error = error if code and most is None else "connection"
        finally:
            guard.cancel()
        if connection.was_cut and (not code or most is not None):
            error = "timeout"
        if most is not None and not error and not keep:
            error = "too_long"
        if not keep or connection.was_cut:
            self.close()
        return error, code, said if most is not None else b""

    def _open(self) -> Connection:
        self._connection = Connection(development=self._development, timeout=self._timeout)
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers.clear()  # what is said is what the caller says: its owner is shown it
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, _Adapter(self._connection))
        return self._connection


def _is_refused(failure: requests.ConnectionError) -> bool:
    reason = getattr(failure.args[0] if failure.args else None, "reason", None)
    return isinstance(reason, RefusedAddress)
