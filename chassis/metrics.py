"""Metrics for Prometheus: rates, errors, durations and backlogs; labels are codes, never ids of people or organisations."""

import threading
from collections.abc import Callable

from prometheus_client import Counter, Gauge, Histogram, start_http_server

RPC_SECONDS = Histogram(
    "enlace_rpc_seconds", "Duration of an rpc.", ["method", "code"], buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
)
REFUSALS = Counter("enlace_refusals_total", "Calls that an rpc refused, by reason.", ["method", "reason"])
STREAMS = Gauge("enlace_streams", "Streams under way.")
OUTBOX_BACKLOG = Gauge("enlace_outbox_backlog", "Facts read for telling and not yet acknowledged by the broker.")
FACTS_TOLD = Counter("enlace_facts_told_total", "Facts acknowledged by the broker.")
FACTS_HEARD = Counter("enlace_facts_heard_total", "Facts taken in, by what became of them.", ["consumer", "outcome"])
CLOCKS_FIRED = Counter("enlace_clocks_fired_total", "Clock levels told.", ["kind", "percent"])
FACTS_HELD = Gauge("enlace_facts_held", "Facts that their handler refused, and that hold their subject.", ["consumer"])
DEAD_LETTERS = Gauge("enlace_dead_letters", "Records that could not be read, kept for an operator.", ["consumer"])
LOOP_FAILURES = Counter("enlace_loop_failures_total", "Faults that ended a turn of a background loop, or its thread.", ["loop"])
AUDIT_FINDINGS = Gauge(
    "enlace_audit_findings", "Places at which the trail is not what it was, as of the last look; anything but 0 is an alarm."
)
LOOP_TURN_AGE = Gauge(
    "enlace_loop_turn_age_seconds", "Time since the last turn of a background loop began; a wait does not count.", ["loop"]
)
LOOP_WELL = Gauge("enlace_loop_well", "1 while a background loop runs or waits for a part that is away.", ["loop"])
ROWS_PUT_ASIDE = Counter("enlace_rows_put_aside_total", "Rows that a loop could not work on; each is tried again after a pause.", ["loop"])
VERSIONS_MISSING = Counter(
    "enlace_versions_missing_total", "Published versions that a row names and that are gone; the newest was used instead.", ["table"]
)
ROWS_UNVERIFIED = Counter("enlace_rows_unverified_total", "Rows whose signature did not hold when they were read.", ["table"])
ROWS_UNREADABLE = Counter("enlace_rows_unreadable_total", "Rows of which something sealed did not open when it was read.", ["table"])
DATABASE_AGE = Gauge("enlace_database_last_success_age_seconds", "Time since the database last answered the probe.")
DELIVERIES = Counter("enlace_deliveries_total", "Attempts to deliver a message.", ["channel", "status"])


def watch_loop(name: str, age: Callable[[], float], well: Callable[[], bool]) -> None:
    """Says how a loop stands when it is asked, not when it last turned: one that hangs could not say so itself."""
    LOOP_TURN_AGE.labels(name).set_function(age)
    LOOP_WELL.labels(name).set_function(lambda: float(well()))


def serve(address: str) -> threading.Thread | None:
    """Serves /metrics on its own port, host:port; an empty address serves nothing."""
    if not address:
        return None
    host, port = address.rsplit(":", 1)
    _, thread = start_http_server(int(port), host)
    return thread
