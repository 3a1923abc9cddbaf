"""Logs: one JSON object a line on standard output, with fields from a list, so that no name can slip in by a new keyword.

A field that is not on the list is dropped and its name is said instead; values are ids, codes, numbers and times. Of an exception, wherever it comes up (a
library's log, a thread or a process that dies), its kind and the lines are said, never its message: a KeyError's is what was looked for.
"""

import logging
import sys
import threading
from collections.abc import MutableMapping
from typing import Any

import structlog

ALLOWED = frozenset(
    "event level timestamp service request_id trace_id rpc route method status code reason caller_id caller_kind organization_id duration_ms "
    "topic partition offset subject version type consumer count error fault attempt delay_s cluster_id address signal subjects kind referral_id "
    "delivery_id webhook_id receipt_id table group channel clock percent state port pid where loop loops epoch sequence dropped_fields".split()
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
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.clear_contextvars()
    # Libraries log to stderr from WARNING on; kafka-python repeats every lost connection several times a second at WARNING.
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


class _WithoutMessage(logging.Formatter):
    """Who logs, and the kind and place of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        return f"{record.levelname} {record.name}" + (f" {fault(error)}" if error else "")


def _catch_the_dying() -> None:
    """What Python would print of an exception that nobody caught. Who has put something else in its place (a test run) keeps that."""
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = lambda _, error, __: _died(error)
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = lambda died: _died(died.exc_value)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = lambda unraisable: _died(unraisable.exc_value)


def _died(error: BaseException | None) -> None:
    if error and not isinstance(error, SystemExit):
        file = error.filename if isinstance(error, OSError) else None  # which key or setting there is not
        sys.stderr.write(f"DIED {fault(error)}{f': {file}' if file else ''}\n")


def _only_allowed(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    dropped = sorted(event.keys() - ALLOWED)
    for name in dropped:
        del event[name]
    if dropped:
        event["dropped_fields"] = dropped
    event["service"] = _service
    return event


def get() -> structlog.stdlib.BoundLogger:
    """The logger; use keywords from ALLOWED."""
    return structlog.get_logger()  # type: ignore[no-any-return]


def fault(error: BaseException) -> str:
    """An unexpected error as class names and the lines where it was raised, never its message, which may hold what a caller sent."""
    lines = []
    trace = error.__traceback__
    while trace is not None:
        lines.append(f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f"{type(error).__module__}.{type(error).__name__} at " + " > ".join(lines[-6:])
