"""The id of a request, which follows it through calls, facts, consumers and deliveries. Each log
line carries it as `trace_id`.

The trace id (32 hexadecimal digits) is the one in the caller's `traceparent`, or else the request's
own id. It travels between processes as the W3C's `traceparent`, in the metadata of a call and in
the header of a fact. In a database, columns named `trace` hold it. A consumer's statements
pass it explicitly, since each fact of a batch has its own; elsewhere it comes from the transaction
(chassis.db sets it there). Work that no request causes, such as the handling of a passed deadline,
has no trace id.
"""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

HEADER = "traceparent"
_PARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

_current: ContextVar[str] = ContextVar("trace", default="")


def current() -> str:
    """Returns the trace id of the current work; "" if no request caused it."""
    return _current.get()


def begin(trace_id: str) -> None:
    """Sets the trace id for all further work of this thread."""
    _current.set(trace_id)


@contextmanager
def under(trace_id: str) -> Iterator[None]:
    """Sets the trace id for the block."""
    token = _current.set(trace_id)
    try:
        yield
    finally:
        _current.reset(token)


def parent(trace_id: str) -> str:
    """Returns a traceparent for a trace id; "" for none."""
    return f"00-{trace_id}-{secrets.token_hex(8)}-01" if trace_id else ""


def id_of(traceparent: str) -> str:
    """Returns the trace id of a traceparent; "" if it is malformed, since the id is logged."""
    match = _PARENT.fullmatch(traceparent)
    return match[1] if match else ""
