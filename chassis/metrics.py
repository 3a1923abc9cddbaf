"""Metrics for Prometheus: rates, errors, durations and backlogs. Labels are codes, never ids of
people or organisations.
"""

import threading
from collections.abc import Callable
from socket import socket
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import Counter, Gauge, Histogram, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

RPC_SECONDS = Histogram(
    "enlace_rpc_seconds",
    "Duration of an rpc.",
    ["method", "code"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
REFUSALS = Counter(
    "enlace_refusals_total", "Calls that an rpc refused, by reason.", ["method", "reason"]
)
STREAMS = Gauge("enlace_streams", "Streams under way.")
OUTBOX_BACKLOG = Gauge(
    "enlace_outbox_backlog",
    "Facts that wait to be published, for the first time or again; counted at each scrape.",
)
FACTS_PUBLISHED = Counter("enlace_facts_told_total", "Facts acknowledged by the broker.")
FACTS_RECEIVED = Counter(
    "enlace_facts_heard_total", "Facts received, by outcome.", ["consumer", "outcome"]
)
CLOCKS_FIRED = Counter(
    "enlace_clocks_fired_total", "Levels that deadlines have reached.", ["kind", "percent"]
)
FACTS_HELD = Gauge(
    "enlace_facts_held",
    "Facts that their handler refused, and that block the later facts of their subject.",
    ["consumer"],
)
DEAD_LETTERS = Gauge(
    "enlace_dead_letters", "Records that could not be read, stored for an operator.", ["consumer"]
)
LOG_LINES_LOST = Counter(
    "enlace_log_lines_lost_total",
    "Log lines that could not be written, because the disk is full or nothing reads them.",
)
LOOP_FAILURES = Counter(
    "enlace_loop_failures_total",
    "Faults that ended a turn of a background loop, or its thread.",
    ["loop"],
)
AUDIT_FINDINGS = Gauge(
    "enlace_audit_findings",
    "Findings of the last check of the trail; alert on any value but 0.",
)
ERASURES_AWAITED = Gauge(
    "enlace_erasures_awaited",
    "1 while a restored store is closed, because reports of erasures are missing; alert on 1.",
)
LOOP_TURN_AGE = Gauge(
    "enlace_loop_turn_age_seconds",
    "Time since the last turn of a background loop began; waits do not count.",
    ["loop"],
)
LOOP_WELL = Gauge(
    "enlace_loop_well", "1 while a background loop runs or waits for an unavailable part.", ["loop"]
)
ROWS_PUT_ASIDE = Counter(
    "enlace_rows_put_aside_total",
    "Rows that a loop could not process; each is retried after a pause.",
    ["loop"],
)
VERSIONS_MISSING = Counter(
    "enlace_versions_missing_total",
    "Policy versions that a row refers to and that are missing; the newest was used instead.",
    ["table"],
)
ROWS_UNVERIFIED = Counter(
    "enlace_rows_unverified_total",
    "Rows whose signature was not valid when they were read.",
    ["table"],
)
ROWS_UNREADABLE = Counter(
    "enlace_rows_unreadable_total",
    "Rows with a sealed value that could not be opened.",
    ["table"],
)
DATABASE_AGE = Gauge(
    "enlace_database_last_success_age_seconds", "Time since the database last answered the probe."
)
DELIVERIES = Counter(
    "enlace_deliveries_total", "Attempts to deliver a message.", ["channel", "status"]
)


def publish_loop_state(name: str, age: Callable[[], float], well: Callable[[], bool]) -> None:
    """Publishes the state of a loop, evaluated at each scrape: a loop that hangs could not report
    its own state. Also exports the loop's counters, at 0, before their first event: otherwise
    Prometheus would miss the first increase.
    """
    LOOP_FAILURES.labels(name)
    ROWS_PUT_ASIDE.labels(name)
    LOOP_TURN_AGE.labels(name).set_function(age)
    LOOP_WELL.labels(name).set_function(lambda: float(well()))


class _Handler(WSGIRequestHandler):
    """Answers one request, which has to arrive within seconds; logs nothing."""

    timeout = 5

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


class _Server(ThreadingWSGIServer):
    """Answers a few requests at once, and closes further connections, each of which would hold a
    thread and a file handle.
    """

    def __init__(self, *args: Any) -> None:
        self._slots = threading.BoundedSemaphore(16)
        super().__init__(*args)

    def verify_request(self, request: socket | tuple[bytes, socket], client_address: Any) -> bool:
        """Takes a slot for a new connection; returns False if none is free."""
        return self._slots.acquire(blocking=False)

    def process_request(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        """Starts the thread of a request; frees the slot if no thread can start."""
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            self._slots.release()
            raise

    def process_request_thread(
        self, request: socket | tuple[bytes, socket], client_address: Any
    ) -> None:
        """Answers a request in a thread of its own, and then allows another connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()


def serve(address: str) -> threading.Thread | None:
    """Serves /metrics at host:port, and returns the thread that does so. Returns None, and serves
    nothing, for an empty address.
    """
    if not address:
        return None
    host, port = address.rsplit(":", 1)
    server = make_server(host, int(port), make_wsgi_app(), _Server, _Handler)
    # the interval matters for a shutdown only, and nobody shuts this server down
    thread = threading.Thread(
        target=server.serve_forever, args=(60.0,), name="metrics", daemon=True
    )
    thread.start()
    return thread
