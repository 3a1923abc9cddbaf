"""Logs: one JSON object per line on standard output. Only listed fields are logged, so that no
personal data slips in through a new keyword.

A field that is not on the list is dropped, and its name is logged instead. Values are ids, codes,
numbers and times. If a library logs an exception, or a thread or process dies of one, only the
class and the line numbers are logged, because the message may hold data: the message of a KeyError
is the key.

A line that can't be written (the disk is full, the reader is gone) is counted and dropped, and
raises nothing: a failed log line must not stop the work. Limitation: a pipe whose reader has
stopped reading blocks the writer.
"""

import logging
import os
import sys
import threading
from collections.abc import MutableMapping
from contextlib import suppress
from errno import errorcode
from typing import Any

import structlog

from chassis import metrics, trace

ALLOWED = frozenset(
    "event level timestamp service request_id trace_id rpc route method status code reason"
    " caller_id caller_kind organization_id duration_ms "
    "topic partition offset subject version type consumer count error fault attempt delay_s"
    " cluster_id address signal subjects kind referral_id "
    "delivery_id webhook_id receipt_id table group channel clock percent state port pid where loop"
    " loops epoch sequence dropped_fields file turn known silent witnessed callback_id contact_id"
    " emergency_id enquiry_id import_id person_id provider_id service_id".split()
)


def setup(service: str, *, level: int = logging.INFO) -> None:
    """Configures logging. Each process calls this once, before it logs anything."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _drop_unlisted_fields,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # WriteLoggerFactory needs only these methods of a file
        logger_factory=structlog.WriteLoggerFactory(_StandardOutput()),  # type: ignore[arg-type]
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.clear_contextvars()
    # Libraries log to stderr at WARNING and above. kafka-python, which reports each lost connection
    # several times a second at WARNING, is silenced below.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_FormatterWithoutMessages())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.raiseExceptions = False  # logging would print the message that it could not format
    _replace_excepthooks()
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    global _service
    _service = service


_service = ""


class _StandardOutput:
    """Writes lines to standard output, and raises nothing.

    Bypasses Python's buffer, since a line that can't be written would stay in it until the process
    ends, and change the exit code.
    """

    def __init__(self) -> None:
        self._is_line_complete = True  # False if the last line was written only in part

    def write(self, line: str) -> None:
        """Writes one line, or counts it as lost."""
        try:
            standard = sys.__stdout__
            if standard is None or sys.stdout is not standard:  # replaced by a test
                sys.stdout.write(line)
                return
            data = line.encode() if self._is_line_complete else b"\n" + line.encode()
            written = os.write(standard.fileno(), data)
            self._is_line_complete = written == len(data)
            if not self._is_line_complete:
                metrics.LOG_LINES_LOST.inc()
        except (OSError, ValueError):  # ValueError: the stream is closed
            metrics.LOG_LINES_LOST.inc()

    def flush(self) -> None:
        """Does nothing: no line is buffered."""


class _FormatterWithoutMessages(logging.Formatter):
    """Formats a record as its level, its logger, and the class and lines of its exception."""

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        return f"{record.levelname} {record.name}" + (f" {fault(error)}" if error else "")


def _replace_excepthooks() -> None:
    """Replaces Python's handlers of uncaught exceptions, which print messages. A handler that
    something else has set (a test runner) stays.
    """
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = lambda _, error, __: _write_uncaught(error)
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = lambda died: _write_uncaught(died.exc_value)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = lambda unraisable: _write_uncaught(unraisable.exc_value)


def _write_uncaught(error: BaseException | None) -> None:
    if error and not isinstance(error, SystemExit):
        details = []
        if isinstance(error, OSError):
            # for example EADDRINUSE, or ENOENT with the name of a key file
            details = [errorcode.get(error.errno or 0), error.filename, error.filename2]
        cause = " ".join(str(part) for part in details if part)
        with suppress(OSError, ValueError):
            sys.stderr.write(f"DIED {fault(error)}{f': {cause}' if cause else ''}\n")


def _drop_unlisted_fields(
    _logger: object, _name: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    dropped = sorted(event.keys() - ALLOWED)
    for name in dropped:
        del event[name]
    if dropped:
        event["dropped_fields"] = dropped
    event["service"] = _service
    if trace_id := trace.current():
        event.setdefault("trace_id", trace_id)
    return event


def get() -> structlog.stdlib.BoundLogger:
    """Returns the logger; use keywords from ALLOWED."""
    return structlog.get_logger()  # type: ignore[no-any-return]


# Modules whose lines `fault` leaves out: they come between the line that sends an SQL statement and
# the line that raises its error.
_SKIPPED_MODULES = ("psycopg", "contextlib")


def fault(error: BaseException) -> str:
    """Returns an unexpected error as its class and the last six lines of its traceback, without its
    message, which may hold a caller's data.

    For a database error, the constraint or the table is named too, since the statement may
    have been sent by an earlier line.
    """
    lines = []
    step = error.__traceback__
    while step is not None:
        module = step.tb_frame.f_globals.get("__name__", "?")
        if not module.startswith(_SKIPPED_MODULES):
            lines.append(f"{module}:{step.tb_lineno}")
        step = step.tb_next
    diag = getattr(error, "diag", None)
    place = getattr(diag, "constraint_name", None) or getattr(diag, "table_name", None)
    name = f"{type(error).__module__}.{type(error).__name__}" + (f" ({place})" if place else "")
    return f"{name} at " + " > ".join(lines[-6:])
