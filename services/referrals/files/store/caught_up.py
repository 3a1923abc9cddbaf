"""Whether this store has caught up with the erasures that are known outside it."""

from chassis import log, outbox
from chassis.errors import Unavailable

CAUGHT_UP = f"(SELECT store IN ('', ({outbox.STORE})) FROM erasure_store)"
"""Whether all erasures that are known outside were applied to this store: a part of the statement
that reads a key, which is read often.
"""


def check_caught_up(caught_up: bool) -> None:
    """Refuses to go on in a store that was restored, until that is so: it may hold whom somebody
    erased since.
    """
    if not caught_up:
        log.get().error("erasures_awaited")
        raise Unavailable("store_unavailable")
