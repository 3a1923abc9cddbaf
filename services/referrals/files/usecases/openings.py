"""The access quota: a worker who opens the data of too many people in an hour has to wait."""

from datetime import datetime

from chassis.clock import MAX_CLOCK_DIFFERENCE
from chassis.db import Transaction
from chassis.errors import Exhausted
from chassis.tokens import Caller
from services.referrals.files.domain.openings import HOUR, waiting_time
from services.referrals.files.store import openings


class Openings:
    """The access quota. Accesses are counted on the trail, and so across all processes."""

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum

    def admit(self, tx: Transaction, caller: Caller, now: datetime, identifier: str) -> None:
        """Allows an access to a person or contact, or raises Exhausted (opening_quota).

        The calling code must put the access on the trail. An API key's accesses to files and
        contacts of its own organisation are not counted, since a system works through all of them,
        and they hold no data of other organisations.
        """
        is_system = caller.kind == "key"
        if is_system and openings.belongs_to(tx, identifier, caller.organization_id):
            return
        openings.lock(tx, caller.id)
        delay = waiting_time(
            openings.opened_between(
                tx, caller.id, now - HOUR, now + MAX_CLOCK_DIFFERENCE, others_only=is_system
            ),
            identifier,
            self.maximum,
            now,
        )
        if delay:
            raise Exhausted("opening_quota", delay.total_seconds())
