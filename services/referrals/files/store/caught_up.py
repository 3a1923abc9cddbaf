"""Whether this store has applied the erasures that are known outside it."""

from chassis import log, outbox
from chassis.errors import Unavailable

CAUGHT_UP = f"(SELECT store IN ('', ({outbox.STORE})) FROM erasure_store)"
"""Whether all erasures that are known outside have been applied to this store.

It is part of the statement that reads a key, since that is read often.
"""


def check_caught_up(caught_up: bool) -> None:
    """Refuses to go on in a restored store until all known erasures have been applied.

    Until then it may hold a person who was erased since.
    """
    if not caught_up:
        log.get().error("erasures_awaited")
        raise Unavailable("store_unavailable")
