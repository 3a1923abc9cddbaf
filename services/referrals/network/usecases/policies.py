"""The network's deadlines: the versions that a coordinator published, and the calendars that go by
them.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import cache, partial

from chassis import log, metrics
from chassis.db import Transaction, take_turn
from chassis.errors import NotFound, Stale
from chassis.tokens import Caller
from services.referrals.network.domain.deadline import (
    FIRST_POLICY,
    Calendar,
    Key,
    Policy,
    Span,
    follows,
)
from services.referrals.network.store import policies
from services.referrals.network.usecases.calendar import CountryCalendar


class Policies:
    """What is published never changes, so it is read once in a process.

    Every method runs in the transaction `tx`.
    """

    def __init__(self) -> None:
        self._read = {FIRST_POLICY.version: FIRST_POLICY}

    def calendar(self, tx: Transaction, country: str, department: str) -> Calendar:
        """The working days where somebody is, Nicaragua's when it isn't known, and the network's
        deadlines.
        """
        # asked for the due time and again for the number, which must be of one version
        policy_of = cache(partial(self.by_clock, tx))
        return CountryCalendar(country or department[:2] or "NI", policy_of)

    def newest(self, tx: Transaction) -> Policy:
        """The version by which clocks begin."""
        return self.get(tx, policies.newest(tx) or FIRST_POLICY.version)

    def get(self, tx: Transaction, version: int) -> Policy:
        """One version. NotFound when there is none."""
        if version not in self._read:
            policy = policies.get(tx, version)
            if policy is None:
                raise NotFound
            self._read[version] = policy
        return self._read[version]

    def by_clock(self, tx: Transaction, version: int) -> Policy:
        """The version that a clock names; 0 is the newest.

        One that vanished is replaced by the newest, and operations are told: a clock without a
        policy would never be due.
        """
        if version:
            try:
                return self.get(tx, version)
            except NotFound:
                metrics.VERSIONS_MISSING.labels("deadline_policies").inc()
                log.get().error("deadline_policy_missing", version=version)
        return self.newest(tx)

    def publish(
        self,
        tx: Transaction,
        caller: Caller,
        now: datetime,
        version: int,
        spans: Mapping[Key, Span],
    ) -> Policy:
        """The next version, which must be the one that is named: of two that are written at once
        the second is refused.

        `spans` may also say what follows from these, as it was read from the version before or as
        it will be.
        """
        take_turn(tx, "deadline_policies")
        newest = self.newest(tx)
        if version != newest.version + 1:
            raise Stale
        policy = Policy(version, {key: span for key, span in spans.items() if not follows(key)})
        policy.check()
        policy.check_following({key: span for key, span in spans.items() if follows(key)}, newest)
        policies.add(tx, policy, caller.id, now)
        return policy
