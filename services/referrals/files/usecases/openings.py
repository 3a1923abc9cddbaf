"""The quota of openings: whoever would look at more persons in an hour than work can need waits."""

from datetime import datetime

from chassis.clock import AHEAD
from chassis.db import Transaction
from chassis.errors import Exhausted
from chassis.tokens import Caller
from services.referrals.files.domain.openings import HOUR, wait
from services.referrals.files.store import openings


class Openings:
    """Counted on the trail, so that all processes count together."""

    def __init__(self, most: int) -> None:
        self.most = most

    def admit(self, tx: Transaction, caller: Caller, now: datetime, identifier: str) -> None:
        """Lets this person, or contact, be looked at, or raises Exhausted opening_quota.

        Whoever calls this has it among what will be on record.

        A system's looks at its own organisation's files are not counted: it works through all of
        them, and they are not somebody else's.
        """
        is_system = caller.kind == "key"
        if is_system and openings.is_of(tx, identifier, caller.organization_id):
            return
        openings.hold(tx, caller.id)
        longer = wait(
            openings.opened_between(tx, caller.id, now - HOUR, now + AHEAD, others_only=is_system),
            identifier,
            self.most,
            now,
        )
        if longer:
            raise Exhausted("opening_quota", longer.total_seconds())
