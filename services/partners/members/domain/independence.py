"""The accounts that may belong to one person: how two accounts become kin, and for how long."""

from collections.abc import Collection
from datetime import timedelta

from chassis.second import Kin, mark_of

AFTER = timedelta(days=30)
"""The time for which an invited person is kin of her inviter.

She is also kin of everybody else whom the inviter invited.
"""
DEVICE_KEPT = timedelta(days=180)
"""The time for which a device is remembered from which an account was entered.

The device keeps its cookie for the same time.
"""
MOST = 250
"""The most kin that a token carries.

More are 4 KB in the metadata of each call: such an account is nobody's second person until the
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
