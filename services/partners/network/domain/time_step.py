"""The time steps in which other members see changes to a shelter's room."""

from datetime import datetime, timedelta

STEP = timedelta(hours=6)
"""How long other members see the same room figure of a shelter: 00:00 to 06:00 UTC, and so on."""


def time_step_of(time: datetime) -> datetime:
    """Returns the beginning of the time step that contains this time."""
    midnight = time.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (time - midnight) // STEP * STEP
