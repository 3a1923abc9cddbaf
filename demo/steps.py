"""Fills the network part by part.

Each part is a transaction of its own, so that a second run after a stop fills only the missing
parts.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from chassis.errors import Exhausted, Late, Stale, Unavailable

PATIENCE = 120.0  # seconds to wait while nothing succeeds
_TRANSIENT = (Unavailable, Exhausted, Late, Stale)

Part = TypeVar("Part")
Result = TypeVar("Result")


def fill_each(
    task: str, parts: Iterable[Part], fill: Callable[[Part], object], patience: float = PATIENCE
) -> None:
    """Fills each part, and prints a line after it.

    `fill` must do nothing for a part that is already there.
    """
    all_parts = list(parts)
    for number, part in enumerate(all_parts, 1):
        retry(task, lambda part=part: fill(part), patience)  # type: ignore[misc]
        print(f"{task}: {number} of {len(all_parts)}", flush=True)


def retry(task: str, act: Callable[[], Result], patience: float = PATIENCE) -> Result:
    """Calls `act` until it succeeds, and returns the result.

    Repeats the call while the database is too slow, full or unavailable, or if another process
    changed the same row. Exits with a message after `patience` seconds.
    """
    tries = Retrying(
        retry=retry_if_exception_type(_TRANSIENT),
        wait=wait_random_exponential(multiplier=0.2, max=5),
        stop=stop_after_delay(patience),
        reraise=True,
    )
    try:
        return tries(act)
    except _TRANSIENT as refusal:
        raise SystemExit(
            f"{task}: the database has refused every attempt for {patience:g} seconds"
            f" ({refusal.reason})"
        ) from None
