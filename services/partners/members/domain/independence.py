"""Which accounts one person may stand behind: what makes two accounts kin, and for how long."""

from collections.abc import Collection
from datetime import timedelta

from chassis.second import Kin, mark_of

AFTER = timedelta(days=30)
"""So long whoever was invited is kin of her inviter, and of everybody else whom that one
invited.
"""
DEVICE_KEPT = timedelta(days=180)
"""So long a device is remembered from which somebody entered: as long as the device itself keeps
its cookie.
"""
MOST = 250
"""Kin that a token carries.

More are 4 KB in the metadata of each call: their account is nobody's second person until the
invitations are old.
"""


def kin(related: Collection[str], *, known: bool, proves_more: bool) -> Kin:
    """Returns the kin of an account whose related accounts and keys these are.

    `known`: how the account came about is on record, or long ago. `proves_more`: it asks for more
    than its password, or need not.
    """
    alone = (
        ""
        if known and proves_more and len(related) <= MOST
        else "unknown"
        if not known
        else "too_many"
        if proves_more
        else "second_factor"
    )
    return Kin(frozenset(map(mark_of, related)) if len(related) <= MOST else frozenset(), alone)
