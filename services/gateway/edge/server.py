"""The HTTP server: waitress, which receives a whole request before a thread works on it.

Sending the answer does not occupy a worker thread either. This module adds what waitress lacks:
limits on the time in which a request must arrive and an answer must be received, room for new
connections when slow clients hold every connection, separate threads for requests that must never
wait, and a stop that lets requests under way end.
"""

import contextlib
import copy
import logging
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakSet

from flask import Flask
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, Task, ThreadedTaskDispatcher, WSGITask
from waitress.utilities import RequestEntityTooLarge
from werkzeug.http import parse_date

from chassis import handles
from services.gateway.edge import bodies
from services.gateway.edge.gates import CAPACITIES, THREADS
from services.gateway.edge.limits import Reply, refusal
from services.gateway.edge.problems import RETRY_SECONDS

# time for a whole request to arrive, from its first byte; 64 kB take 11 s at 50 kbit/s
ARRIVAL_SECONDS = 20.0
SILENCE_SECONDS = 10.0  # time for the next byte of a request to arrive
ANSWER_SECONDS = 60.0  # time for the client to receive the answer
# time for which a connection may be idle between requests; longer than the 60 s of common proxies,
# so that the proxies close first
IDLE_SECONDS = 75.0
GRACE_SECONDS = 8.0  # time for requests under way at a stop; the whole stop takes at most 10 s
LAST_BYTES_SECONDS = 2.0  # part of GRACE_SECONDS, for requests that have not arrived completely
LINGER_SECONDS = 2.0  # time after a refusal for bytes that are still on their way
# delay before a caller whose quota is used up is refused, to slow down a caller that repeats its
# request at once
REFUSAL_SECONDS = 0.25
# refusals that may be delayed at a time; any further refusal is sent at once, because delaying more
# refusals would hold too many connections
MAX_DELAYED_REFUSALS = 200
CONNECTIONS = 1000
HEADER_BYTES = 16 * 1024
# the app refuses bodies above 64 kB itself, with its own error message; the server does not even
# read a body larger than this, except on the paths of bodies.FILES
BODY_BYTES = 128 * 1024
# Paths that call no service and must never wait behind another request.
EXPRESS = frozenset({"/healthz", "/readyz", "/quick-exit"})
EXPRESS_THREADS = 2
# REST requests that may be under way; up to half of them wait for a thread
MAX_UNDER_WAY = 2 * THREADS
# REST requests that one credential may have under way: as many as the largest gate lets one caller
# have, passing or waiting
MAX_PER_CALLER = max(CAPACITIES.values())
# Any peer counts as our proxy, because the network lets in nothing else. Among the headers that a
# proxy adds, only the client's address is used.
_PROXY_OPTIONS: dict[str, Any] = {
    "trusted_proxy": "*",
    "trusted_proxy_headers": {"x-forwarded-for"},
}


def task_for_rejected(channel: "Channel", request: Any) -> Task:
    """Returns the task for a request that was not accepted.

    If the request is too large, the app answers with its own error message. Waitress itself answers
    broken HTTP.
    """
    channel.lingers = True
    if not isinstance(request.error, RequestEntityTooLarge):
        return ErrorTask(channel, request)
    request.headers["CONTENT_LENGTH"] = str(
        max(request.content_length, request.body_bytes_received)
    )
    task = WSGITask(channel, request)
    task.close_on_finish = True  # the rest of the body is still on its way
    return task


class Answer(Task):  # type: ignore[misc]
    """A task that answers without the app."""

    complete = True  # status and headers are known from the start

    def execute(self) -> None:
        """Writes the reply; `service` calls this method."""
        reply: Reply = self.request.reply
        self.status, self.response_headers = reply.status, [*reply.headers.items()]
        self.content_length = len(reply.body)
        self.close_on_finish = "Connection" in reply.headers
        self.write(reply.body)


def task_for_complete(channel: "Channel", request: Any) -> Task:
    """Returns the task for a complete request: a known reply, or the app."""
    return Answer(channel, request) if hasattr(request, "reply") else WSGITask(channel, request)


class Parser(HTTPRequestParser):  # type: ignore[misc]
    """Receives a request.

    Allows a larger body on the paths that accept files, for a few requests at a time.
    """

    _files = WeakSet["Parser"]()

    def parse_header(self, header_plus: bytes) -> None:
        """Parses a complete header; first allows a larger body if the body may be a file."""
        path = header_plus.split(b" ", 2)[1:2]
        max_bytes = bodies.FILES.get(path[0].partition(b"?")[0].decode("latin-1"), 0) if path else 0
        if max_bytes and len(self._files) < bodies.FILES_AT_ONCE:
            self._files.add(self)
            self.adj: Any = copy.copy(self.adj)
            self.adj.max_request_body_size, self.adj.inbuf_overflow = 2 * max_bytes, 4 * max_bytes
        try:
            super().parse_header(header_plus)
            # values for which the app would fail before, or instead of, answering
            self.headers.get("HOST", "").partition(":")[0].encode("idna")
            parse_date(self.headers.get("IF_MODIFIED_SINCE"))
            parse_date(self.headers.get("IF_RANGE"))
        except (ValueError, OverflowError) as error:
            raise ParsingError("malformed header") from error


class Channel(HTTPChannel):  # type: ignore[misc]
    """A connection that waits for its client only for a limited time."""

    server: "Server"
    close_when_flushed: bool
    parser_class = Parser
    task_class = staticmethod(task_for_complete)
    error_task_class = staticmethod(task_for_rejected)

    def __init__(self, server: "Server", *args: Any, **kwargs: Any) -> None:
        # start of the current wait for the client; time of the last byte
        self.wait_started = self.last_byte_time = server.clock()
        self.used = self.lingers = self.refused = False
        self.credential: str | None = None  # of the counted request, until that is answered
        super().__init__(server, *args, **kwargs)

    def received(self, data: bytes) -> bool:
        """Handles the bytes that the client sent; ignores them after a refusal."""
        if self.refused:
            return False
        self.last_byte_time = self.server.clock()
        if self.request is None and self.used:
            self.wait_started = self.last_byte_time
        self.used = True
        return bool(super().received(data))

    def service(self) -> None:
        """Answers a complete request.

        Called by a worker thread or, if the reply is known already, by the server's own thread.
        """
        credential, self.credential = self.credential, None
        try:
            super().service()
        finally:
            if credential is not None:
                self.server.forget(credential)
        self.wait_started = self.last_byte_time = self.server.clock()

    def handle_write(self) -> None:
        """Sends the bytes that are ready, or closes the connection.

        A client whose request was not read completely may keep sending for a moment after the
        answer; the bytes are ignored. Closing on unread bytes would reset the connection, and the
        answer might be lost with it.
        """
        if self.lingers and self.close_when_flushed and not self.total_outbufs_len:
            self.refused, self.wait_started = True, self.server.clock()
            self.close_when_flushed = False
            with contextlib.suppress(OSError):  # the client has already hung up
                self.socket.shutdown(socket.SHUT_WR)
            return
        super().handle_write()

    def is_overdue(self, now: float) -> bool:
        """Returns whether the client has kept the server waiting for too long."""
        if self.requests:
            return False  # the client waits for the server
        if self.total_outbufs_len:
            return now - self.wait_started > ANSWER_SECONDS
        if self.refused:
            return now - self.wait_started > LINGER_SECONDS
        if self.request is not None or not self.used:
            return (
                now - self.wait_started > ARRIVAL_SECONDS
                or now - self.last_byte_time > SILENCE_SECONDS
            )
        return now - self.wait_started > IDLE_SECONDS

    def is_drained(self, ignores_arriving: bool) -> bool:
        """Returns whether nothing is under way on this connection.

        With `ignores_arriving`, a request that is still arriving is ignored.
        """
        return not (self.requests or self.total_outbufs_len) and (
            ignores_arriving or self.request is None
        )


class Server(TcpWSGIServer):  # type: ignore[misc]
    """Listens, and serves an app until `stop` is called."""

    channel_class = Channel
    clock = staticmethod(time.monotonic)

    def __init__(
        self,
        app: Flask,
        address: str,
        proxy_count: int = 0,
        *,
        refuse: Callable[[str, str], Reply | None] = lambda path, authorization: None,
        quick_reply: Callable[[str, Mapping[str, str]], Reply | None] | None = None,
        farewell_seconds: float = 0.0,
    ) -> None:
        """Listens at `address`, which is host:port; an IPv6 host is written in brackets.

        `proxy_count` is the number of our own proxies in front of this server: REMOTE_ADDR is then
        the address that the outermost proxy saw. `refuse` returns the refusal for a path and an
        Authorization header, or None. It is called before the app handles the request, because a
        flood must cost next to nothing. `quick_reply` answers very frequent requests just as
        cheaply, given the path and the headers (whose names are upper case with underscores). For
        `farewell_seconds` after `stop`, the server keeps serving, but each answer closes its
        connection, so that a proxy opens its next connection elsewhere.
        """
        self._refuse, self._quick_reply = refuse, quick_reply or (lambda path, headers: None)
        self._under_way, self._count_lock = Counter[str](), threading.Lock()
        self._ready_channels = deque[Channel]()  # channels whose answer is known already
        # refused channels, with the time at which each is answered
        self._refused_channels = deque[tuple[float, Channel]]()
        # waitress would log paths, which hold ids
        logging.getLogger("waitress").setLevel(logging.CRITICAL)
        # 128 handles are reserved for channels to services, logs and libraries
        self._limit = min(CONNECTIONS, handles.raise_limit() - 128)
        self._express = ThreadedTaskDispatcher()
        self._express.set_thread_count(EXPRESS_THREADS)
        self._stop_requested_at: float | None = None
        self._farewell_seconds = farewell_seconds
        super().__init__(
            app,
            threads=THREADS,
            listen=address,
            ipv6=address.startswith("["),
            # waitress accepts no connection beyond this limit; handle_accept makes room before it
            # is reached
            connection_limit=self._limit + 64,
            max_request_header_size=HEADER_BYTES,
            max_request_body_size=BODY_BYTES,
            inbuf_overflow=2 * BODY_BYTES,  # so large that a body is never written to a file
            cleanup_interval=1,
            asyncore_use_poll=True,
            **(_PROXY_OPTIONS | {"trusted_proxy_count": proxy_count} if proxy_count else {}),
            ident=None,
        )

    def add_task(self, channel: Channel) -> None:
        """Hands a complete request to the threads that answer it.

        These are the worker threads, or the threads for requests that must never wait. If the reply
        is known already, the server's own thread sends it at once or in a moment.
        """
        request = channel.requests[0]
        if self._stop_requested_at is not None:
            request.headers["CONNECTION"] = "close"
        express = getattr(request, "path", "") in EXPRESS  # broken HTTP has no path
        dispatcher = self._express if express else self.task_dispatcher
        if request.error:
            dispatcher.add_task(channel)
        elif quick_reply := self._quick_reply(request.path, request.headers):
            request.reply = quick_reply
            self._ready_channels.append(channel)
        elif early_refusal := self._refuse(request.path, request.headers.get("AUTHORIZATION", "")):
            request.reply = early_refusal
            if len(self._refused_channels) < MAX_DELAYED_REFUSALS:
                self._refused_channels.append((self.clock() + REFUSAL_SECONDS, channel))
            else:
                self._ready_channels.append(channel)
        elif not self._try_to_admit(channel):
            request.reply = refusal(503, "service_busy", RETRY_SECONDS)
            self._ready_channels.append(channel)
        else:
            dispatcher.add_task(channel)

    def _try_to_admit(self, channel: Channel) -> bool:
        """Counts a system's request, if it would be answered soon. Returns whether it was counted.

        For a request outside of /api/, such as for a page, returns True without counting it. Such
        requests cannot flood the server, because each session and each address has a quota.
        """
        request = channel.requests[0]
        if not request.path.startswith("/api/"):
            return True
        credential = request.headers.get("AUTHORIZATION", "")
        with self._count_lock:
            if self._under_way.total() >= MAX_UNDER_WAY or (
                credential and self._under_way[credential] >= MAX_PER_CALLER
            ):
                return False
            self._under_way[credential] += 1
        channel.credential = credential
        return True

    def forget(self, credential: str) -> None:
        """Counts a request with this credential as answered."""
        with self._count_lock:
            self._under_way -= Counter([credential])

    def maintenance(self, now: float) -> None:
        """Closes connections on which the server has waited too long; called once a second.

        No answer is sent, because a client that receives nothing would not receive an answer
        either.
        """
        for channel in list(self.active_channels.values()):
            if channel.is_overdue(self.clock()):
                channel.handle_close()

    def handle_accept(self) -> None:
        """Accepts a connection.

        If every connection is in use, closes the connection whose client has kept the server
        waiting longest.
        """
        super().handle_accept()
        if len(self.active_channels) > self._limit:
            candidates = [
                channel for channel in self.active_channels.values() if not channel.requests
            ]
            if candidates:
                min(candidates, key=lambda channel: channel.wait_started).handle_close()

    def serve(self) -> None:
        """Serves until `stop`, then through the farewell, then lets requests under way end."""
        while (
            self._stop_requested_at is None
            or self.clock() < self._stop_requested_at + self._farewell_seconds
        ):
            self._turn(1.0)
        self.del_channel()  # no new connections
        self.socket.close()
        start_time = self.clock()
        while not self._close_drained(self.clock() - start_time):
            self._turn(0.05)

    def stop(self) -> None:
        """Asks `serve` to end. A signal handler may call this method."""
        if self._stop_requested_at is None:
            self._stop_requested_at = self.clock()
            self.pull_trigger()

    def _turn(self, seconds: float) -> None:
        """Handles the sockets for at most `seconds`, and sends the replies that are due."""
        if self._refused_channels:
            seconds = min(seconds, max(0.0, self._refused_channels[0][0] - self.clock()))
        wasyncore.poll2(0.0 if self._ready_channels else seconds, self._map)
        while self._ready_channels:
            self._ready_channels.popleft().service()
        while self._refused_channels and self._refused_channels[0][0] <= self.clock():
            self._refused_channels.popleft()[1].service()

    def _close_drained(self, seconds: float) -> bool:
        """Closes the connections on which nothing is under way. Returns whether `serve` may end."""
        for channel in list(self.active_channels.values()):
            if channel.is_drained(ignores_arriving=seconds > LAST_BYTES_SECONDS):
                channel.handle_close()
        return not self.active_channels or seconds > GRACE_SECONDS
