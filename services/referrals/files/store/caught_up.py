"""Checks whether this store has applied the erasures that are known outside it."""

from chassis import log
from chassis.errors import Unavailable
from facts import outbox

CAUGHT_UP = f"(SELECT store IN ('', ({outbox.STORE})) FROM erasure_store)"
"""The SQL expression for whether all erasures known outside this store have been applied to it.

The statement that reads a key includes this expression: keys are read too often to check this in a
separate statement.
"""


def check_caught_up(caught_up: bool) -> None:
    """Refuses access to a restored store until all known erasures have been applied to it.

    Until then the store may hold data of a person who was erased after the copy was made.
    """
    if not caught_up:
        log.get().error("erasures_awaited")
        raise Unavailable("store_unavailable")
