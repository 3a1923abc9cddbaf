"""Looking at what is protected: which acts it is, and how many persons one worker may look at in an
hour.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

READING = ("open_identity", "read_notes", "read_safe_contact", "read_contact")
"""Acts that a person hears of when she asks who looked at her file."""
AN_HOUR = 40
"""Persons and contacts.

A call takes ten minutes, and a list that is handed over at the end of a shift holds twenty-five: a
busy line stays below it, and what nobody needs for work (96 in a second were seen) does not. Whom
she has looked at in this hour she may look at as often as she wants.
"""
HOUR = timedelta(hours=1)


def wait(opened: Mapping[str, datetime], identifier: str, most: int, now: datetime) -> timedelta:
    """How long this one has to wait; `opened` says when each that was looked at in the last hour
    was so last. Zero if it need not.
    """
    if identifier in opened or len(opened) < most:
        return timedelta(0)
    return max(sorted(opened.values())[len(opened) - most] + HOUR - now, timedelta(seconds=1))
