"""HTTP client for outgoing requests. It checks the addresses that a host name resolves to, and
connects to exactly one of the checked addresses.

A name may be harmless when it is entered and point into the internal network later, so each
connection checks again. The client follows no redirect, ignores the environment's proxy settings
and netrc, stores no cookie, and reads no more of a response than the caller allows. Limitations: an
EgressClient serves one endpoint and one thread at a time; the operating system resolves names, with
a timeout of its own.
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
from urllib3.util.retry import Retry

from chassis.addresses import may_call

# urllib3 logs whole URLs at WARNING, and a partner's URL may contain a token.
logging.getLogger("urllib3").setLevel(logging.CRITICAL)

TIMEOUT = 10.0  # seconds that an attempt may take as a whole
_CONNECT_TIMEOUT = 5.0
# Maximum bytes of an ignored response that are read so that the connection can stay open; after a
# longer response, the connection is closed.
_MAX_IGNORED_BYTES = 16_384


class RefusedAddress(NewConnectionError):
    """The name resolves to an address that must not be called."""


class Connector:
    """Creates the checked connections of one EgressClient, and can cut the latest one from another
    thread.
    """

    def __init__(self, *, development: bool, timeout: float) -> None:
        self.development = development
        self.timeout = timeout
        self.was_cut = False
        self._handle: socket.socket | None = None

    def connect(self, requester: HTTPConnection, host: str, port: int) -> socket.socket:
        """Resolves the name, checks all addresses, and connects to the first address that answers;
        tries three at most. Raises NameResolutionError, RefusedAddress or NewConnectionError.
        """
        try:
            resolved = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise NameResolutionError(host, requester, socket.gaierror("unknown")) from error
        addresses = list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in resolved))
        # A name that resolves to both internal and public addresses is an attack.
        if not all(
            may_call(ip_address(address), development=self.development) for address in addresses
        ):
            raise RefusedAddress(requester, "refused")
        failure: OSError | None = None
        for address in addresses[:3]:
            try:
                connection = create_connection(
                    (address, port),
                    min(_CONNECT_TIMEOUT, self.timeout),
                    socket_options=HTTPConnection.default_socket_options,
                )
            except OSError as error:
                failure = error
                continue
            connection.settimeout(self.timeout)
            self.release_handle()
            self._handle = connection.dup()
            return connection
        raise NewConnectionError(requester, "failed") from failure

    def cut(self) -> None:
        """Shuts the current connection down, whatever it is doing. A read timeout is not enough: a
        receiver that sends a byte every nine seconds never runs into it.
        """
        self.was_cut = True
        if self._handle is not None:
            with contextlib.suppress(OSError):
                self._handle.shutdown(socket.SHUT_RDWR)

    def release_handle(self) -> None:
        """Releases the handle on the latest connection."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None


def _pool_classes(connector: Connector) -> dict[str, type[HTTPConnectionPool]]:
    """Returns a pool class for each URL scheme; `connector` opens the pools' connections."""

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return connector.connect(self, self._dns_host, self.port or 80)

    class Tls(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return connector.connect(self, self._dns_host, self.port or 443)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    return {"http": PlainPool, "https": TlsPool}


class _Adapter(HTTPAdapter):
    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _pool_classes(self._connector)


@dataclass(frozen=True)
class Answer:
    """The result of an attempt.

    `error` is empty if a response with status 2xx arrived, and its body is complete or ignored;
    otherwise timeout, connection, refused_address, http, or too_long. `code` is the status; 0 if no
    response arrived.
    `retry_after` is the number of seconds in Retry-After; 0 without a valid header.
    """

    error: str
    code: int
    body: bytes
    duration_ms: int
    retry_after: float


class EgressClient:
    """Sends requests to one endpoint over a connection that stays open between attempts."""

    def __init__(self, *, development: bool, timeout: float = TIMEOUT) -> None:
        self._development = development
        self._timeout = timeout
        self._connector: Connector | None = None
        self._session = requests.Session()

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        max_bytes: int | None = None,
    ) -> Answer:
        """Makes one attempt, and repeats it over a new connection if the open connection fails.

        A response longer than `max_bytes` is an error; without `max_bytes` the body is ignored.
        """
        was_open = self._connector is not None
        started = time.perf_counter()
        error, code, content, retry_after = self._try(method, url, headers, body, max_bytes)
        if error == "connection" and was_open:
            # The receiver may have closed the idle connection: try a fresh one. If the message
            # arrives twice, the receiver recognises it by its id.
            error, code, content, retry_after = self._try(method, url, headers, body, max_bytes)
        duration_ms = int((time.perf_counter() - started) * 1000)
        return Answer(error, code, content, duration_ms, retry_after)

    def cut(self) -> None:
        """Ends the current attempt, from another thread."""
        if self._connector is not None:
            self._connector.cut()

    def close(self) -> None:
        """Closes the connection."""
        self._session.close()
        if self._connector is not None:
            self._connector.release_handle()
            self._connector = None

    def _try(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, max_bytes: int | None
    ) -> tuple[str, int, bytes, float]:
        connector = self._connector or self._open()
        guard = threading.Timer(self._timeout, connector.cut)
        guard.daemon = True
        guard.start()
        error, code, content, is_complete, retry_after = "", 0, b"", False, 0.0
        read_limit = _MAX_IGNORED_BYTES if max_bytes is None else max_bytes + 1
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
                if connector.was_cut:  # the response ended only because of the cut
                    raise requests.Timeout
                code = answer.status_code
                retry_after = _seconds(answer.headers.get("retry-after", ""))
                error = "" if 200 <= code < 300 else "http"
                content = answer.raw.read(read_limit, decode_content=False)
                is_complete = len(content) < read_limit
        except requests.Timeout:
            error = "timeout"
        except requests.ConnectionError as failure:
            error = "refused_address" if _is_refused(failure) else "connection"
        except (requests.RequestException, HTTPError, ValueError, OSError):
            # A failure after the status does not matter if the body is ignored.
            error = error if code and max_bytes is None else "connection"
        finally:
            guard.cancel()
        if connector.was_cut and (not code or max_bytes is not None):
            error = "timeout"
        if max_bytes is not None and not error and not is_complete:
            error = "too_long"
        if not is_complete or connector.was_cut:
            self.close()
        return error, code, content if max_bytes is not None else b"", retry_after

    def _open(self) -> Connector:
        self._connector = Connector(development=self._development, timeout=self._timeout)
        self._session = requests.Session()
        self._session.trust_env = False
        # Without default headers, only the caller's headers are sent: the same headers that the
        # owner of a webhook is shown.
        self._session.headers.clear()
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, _Adapter(self._connector))
        return self._connector


def _is_refused(failure: requests.ConnectionError) -> bool:
    reason = getattr(failure.args[0] if failure.args else None, "reason", None)
    return isinstance(reason, RefusedAddress)


def _seconds(retry_after: str) -> float:
    try:
        return Retry().parse_retry_after(retry_after) if retry_after else 0.0
    except (HTTPError, ValueError, OverflowError):
        return 0.0
