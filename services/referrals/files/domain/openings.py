"""The accesses to protected data, and the limit on a worker's accesses in an hour."""

from collections.abc import Mapping
from datetime import datetime, timedelta

READING = ("open_identity", "read_notes", "read_safe_contact", "read_contact")
"""The actions on the trail that a person learns of when she asks who looked at her file."""
MAX_PER_HOUR = 40
"""The default maximum number of people and contacts whose data one worker may open in an hour.

A call takes ten minutes, and a list that is handed over at the end of a shift has twenty-five
entries. So a busy line stays below the limit, but somebody who combs through files does not: 96
accesses in a second have been observed. Opening the same person's data again within the hour does
not count.
"""
HOUR = timedelta(hours=1)


def waiting_time(
    last_accesses: Mapping[str, datetime], identifier: str, maximum: int, now: datetime
) -> timedelta:
    """Returns how long the worker must wait before this access; zero if not at all.

    `identifier` is the person or contact. `last_accesses` maps each person or contact opened in the
    past hour to the time of the last access.
    """
    if identifier in last_accesses or len(last_accesses) < maximum:
        return timedelta(0)
    times = sorted(last_accesses.values())
    return max(times[len(times) - maximum] + HOUR - now, timedelta(seconds=1))
