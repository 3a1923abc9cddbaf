"""Fills the network part by part.

Each part is a transaction of its own, so that a start that was stopped goes on with the missing
part.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from chassis.errors import Exhausted, Late, Stale, Unavailable

PATIENCE = 120.0  # seconds without any progress
_LATER = (Unavailable, Exhausted, Late, Stale)

Part = TypeVar("Part")
Result = TypeVar("Result")


def each(
    what: str, parts: Iterable[Part], fill: Callable[[Part], object], patience: float = PATIENCE
) -> None:
    """Fills each part, and prints a line after it. `fill` does nothing for a present part."""
    all_parts = list(parts)
    for number, part in enumerate(all_parts, 1):
        patiently(what, lambda part=part: fill(part), patience)  # type: ignore[misc]
        print(f"{what}: {number} of {len(all_parts)}", flush=True)


def patiently(what: str, do: Callable[[], Result], patience: float = PATIENCE) -> Result:
    """Calls `do` until the database answers, and returns the result.

    Repeats while the database is late, full or away. Exits with a sentence if that lasts too long.
    """
    tries = Retrying(
        retry=retry_if_exception_type(_LATER),
        wait=wait_random_exponential(multiplier=0.2, max=5),
        stop=stop_after_delay(patience),
        reraise=True,
    )
    try:
        return tries(do)
    except _LATER as refusal:
        raise SystemExit(
            f"{what}: the database has refused for {patience:g} seconds ({refusal.reason})"
        ) from None
