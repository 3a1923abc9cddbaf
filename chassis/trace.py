"""The id that follows one request: from the gateway through calls, facts, consumers and deliveries;
each log line on the way carries it as `trace_id`.

It is the request's own id (32 hexadecimal digits), and travels between processes as the W3C's
`traceparent`: in the metadata of a call, and in the header of a fact. In a store the columns
`trace` take it from the transaction that writes them (chassis.db says it there). What nobody asked
for, as a deadline that is over, has none.
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
    """Returns the id of what is under way; "" if nobody asked for it."""
    return _current.get()


def begin(trace_id: str) -> None:
    """Sets the id for all that follows on this thread."""
    _current.set(trace_id)


@contextmanager
def under(trace_id: str) -> Iterator[None]:
    """Sets the id for what is done inside."""
    token = _current.set(trace_id)
    try:
        yield
    finally:
        _current.reset(token)


def parent(trace_id: str) -> str:
    """Returns a traceparent for this id; "" for none."""
    return f"00-{trace_id}-{secrets.token_hex(8)}-01" if trace_id else ""


def id_of(traceparent: str) -> str:
    """Returns the id in a traceparent; "" if it is none, for it is written to logs."""
    match = _PARENT.fullmatch(traceparent)
    return match[1] if match else ""
