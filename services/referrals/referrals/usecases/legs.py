"""The interface through which this capability reaches plans, since a referral can be a plan's leg.

A plan knows its referrals, but a referral does not know its plans. So `plans`, which is above this
capability, implements the interface.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from chassis.db import Transaction
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.referrals.domain.record import Actor
from services.referrals.referrals.domain.referral import Referral


class Legs(Protocol):
    """The legs of plans. Each method widens its transaction's scope to the whole service."""

    def update_steps(self, tx: Transaction, now: datetime, *changed_referrals: Referral) -> None:
        """Updates the steps of plans after changes to referrals.

        The calling code must have locked the referrals.
        """

    def check_receipt(self, tx: Transaction, referral: Referral) -> None:
        """Refuses a receipt that another leg of the same plan uses."""

    def legs_of(
        self, tx: Transaction, referral: Referral, actor: Actor, may_see: Callable[[], bool]
    ) -> Sequence[pb.Leg]:
        """Returns the legs of the hand-over that a referral is part of, as this actor may see them.

        The sender of the referral and coordinators see all legs. A receiver for whom `may_see`
        returns True sees the legs directly before and after its own; anybody else sees none.
        """
