"""Logs: one JSON object a line on standard output, with fields from a list, so that no name can
slip in by a new keyword.

A field that is not on the list is dropped and its name is said instead; values are ids, codes,
numbers and times. Of an exception, wherever it comes up (a library's log, a thread or a process
that dies), its kind and the lines are said, never its message: a KeyError's is what was looked for.

A line that can't be written (the disk is full, the reader is gone) is lost and counted, and raises
nothing: it must not decide over what is done. Limit: a pipe whose reader stands still holds up
whoever logs.
"""

import logging
import os
import sys
import threading
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

import structlog

from chassis import metrics, trace

ALLOWED = frozenset(
    "event level timestamp service request_id trace_id rpc route method status code reason"
    " caller_id caller_kind organization_id duration_ms "
    "topic partition offset subject version type consumer count error fault attempt delay_s"
    " cluster_id address signal subjects kind referral_id "
    "delivery_id webhook_id receipt_id table group channel clock percent state port pid where loop"
    " loops epoch sequence dropped_fields".split()
)


def setup(service: str, *, level: int = logging.INFO) -> None:
    """Called once by a process, before anything logs."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _only_allowed,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # it needs no more of a file
        logger_factory=structlog.WriteLoggerFactory(_StandardOutput()),  # type: ignore[arg-type]
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.clear_contextvars()
    # Libraries log to stderr from WARNING on; kafka-python repeats every lost connection several
    # times a second at WARNING.
    aside = logging.StreamHandler(sys.stderr)
    aside.setFormatter(_WithoutMessage())
    logging.basicConfig(handlers=[aside], level=logging.WARNING)
    logging.raiseExceptions = False  # it would print what could not be formatted
    _catch_the_dying()
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    global _service
    _service = service


_service = ""


class _StandardOutput:
    """Writes lines to standard output; raises nothing.

    Past Python's buffer, where a line that failed would lie until the end of the process and decide
    over its exit code.
    """

    def __init__(self) -> None:
        self._whole = True  # the last line was written to its end

    def write(self, line: str) -> None:
        """Writes one line, or counts it as lost."""
        try:
            standard = sys.__stdout__
            if standard is None or sys.stdout is not standard:  # a test's
                sys.stdout.write(line)
                return
            data = line.encode() if self._whole else b"\n" + line.encode()
            written = os.write(standard.fileno(), data)
            self._whole = written == len(data)
            if not self._whole:
                metrics.LOG_LINES_LOST.inc()
        except (OSError, ValueError):  # the second: it is closed
            metrics.LOG_LINES_LOST.inc()

    def flush(self) -> None:
        """Nothing is held back."""


class _WithoutMessage(logging.Formatter):
    """Who logs, and the kind and place of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        return f"{record.levelname} {record.name}" + (f" {fault(error)}" if error else "")


def _catch_the_dying() -> None:
    """What Python would print of an exception that nobody caught.

    Who has put something else in its place (a test run) keeps that.
    """
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = lambda _, error, __: _died(error)
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = lambda died: _died(died.exc_value)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = lambda unraisable: _died(unraisable.exc_value)


def _died(error: BaseException | None) -> None:
    if error and not isinstance(error, SystemExit):
        # which key or setting there is not
        file = error.filename if isinstance(error, OSError) else None
        with suppress(OSError, ValueError):
            sys.stderr.write(f"DIED {fault(error)}{f': {file}' if file else ''}\n")


def _only_allowed(
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
    """The logger; use keywords from ALLOWED."""
    return structlog.get_logger()  # type: ignore[no-any-return]


def fault(error: BaseException) -> str:
    """An unexpected error as class names and the lines where it was raised, never its message,
    which may hold what a caller sent.
    """
    lines = []
    trace = error.__traceback__
    while trace is not None:
        lines.append(f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f"{type(error).__module__}.{type(error).__name__} at " + " > ".join(lines[-6:])
