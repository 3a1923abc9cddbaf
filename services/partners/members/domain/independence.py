"""Kin, the accounts that may belong to one person: how accounts become kin, and for how long."""

from collections.abc import Collection
from datetime import timedelta

from chassis.second import Kin, mark_of

INVITATION_KINSHIP = timedelta(days=30)
"""How long an invited account is kin of its inviter's account.

Meanwhile the invited account is also kin of the other accounts that the inviter invited in the same
period.
"""
DEVICE_LIFE = timedelta(days=180)
"""How long a device is remembered after the last sign-in from it.

The device keeps its cookie for the same time.
"""
MAX_RELATED = 250
"""The maximum number of kin that a token carries.

More would add over 4 KB of metadata to each call. An account with more kin is nobody's second
person.
"""


def kin(related: Collection[str], *, is_origin_known: bool, meets_second_factor_rule: bool) -> Kin:
    """Returns the kin of an account that has these related accounts and keys.

    `is_origin_known`: the origin is on record, or the account is so old that it does not matter.
    `meets_second_factor_rule`: the account has a second factor, or the network requires none.
    """
    reason = (
        ""
        if is_origin_known and meets_second_factor_rule and len(related) <= MAX_RELATED
        else "unknown"
        if not is_origin_known
        else "too_many"
        if meets_second_factor_rule
        else "second_factor"
    )
    return Kin(
        frozenset(map(mark_of, related)) if len(related) <= MAX_RELATED else frozenset(), reason
    )
