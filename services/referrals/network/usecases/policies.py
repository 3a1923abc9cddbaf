"""The deadlines of the network: published versions, and the calendars that use them.

Offices are assumed to be closed on Saturdays and Sundays, and on the public holidays of their
country.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import cache

from chassis import log, metrics
from chassis.db import Transaction
from chassis.errors import NotFound, Stale
from chassis.local_time import zone_of
from chassis.locks import advisory_lock
from chassis.public_holidays import is_public_holiday
from chassis.tokens import Caller
from facts import outbox
from services.referrals.network.domain.deadline import (
    FIRST_POLICY,
    Calendar,
    Key,
    Policy,
    Span,
    is_fixed_or_derived,
)
from services.referrals.network.store import policies
from services.referrals.network.wire.facts import publication_fact

# Creates the counter before the first event, as metrics.publish_loop_state does.
_MISSING = metrics.VERSIONS_MISSING.labels("deadline_policies")


def _first_policy(_: int) -> Policy:
    return FIRST_POLICY


class PlaceCalendar:
    """The calendar of a country, or of one of its departments, under the network's policy.

    An unknown country has weekends but no holidays.
    """

    def __init__(
        self,
        country: str,
        department: str = "",
        policy_of: Callable[[int], Policy] = _first_policy,
    ) -> None:
        self._country = country
        self._zone = zone_of(country, department)
        self._policy_of = policy_of

    def after_working_days(self, start: datetime, count: int) -> datetime:
        """Returns the same local time, `count` working days later."""
        local = start.astimezone(self._zone)
        while count:
            # to the next local day: at a change of the clock, 24 hours would skip or repeat one
            local += timedelta(days=1)
            if local.weekday() < 5 and not is_public_holiday(self._country, local.date()):
                count -= 1
        return local.astimezone(start.tzinfo)

    def policy(self, version: int = 0) -> Policy:
        """Returns one version of the policy; 0 means the newest."""
        return self._policy_of(version)


class Policies:
    """The published policies. A process reads each version only once, since versions never change.

    Every method runs in the transaction `tx`.
    """

    def __init__(self) -> None:
        self._policies = {FIRST_POLICY.version: FIRST_POLICY}

    def calendar(self, tx: Transaction, country: str, department: str) -> Calendar:
        """Returns the calendar of a place, with its working days and the network's deadlines.

        Without a country and a department, these are the working days of Nicaragua.
        """
        return self.calendars(tx)(country, department)

    def calendars(self, tx: Transaction) -> Callable[[str, str], Calendar]:
        """Returns a function that makes the calendar of a place (country, department).

        Requests the newest version now, but waits for it only when a new deadline needs it.
        """
        read_newest_version = policies.query_newest(tx)
        # cached, so that the due time and the stored version number come from the same version
        policy_of = cache(
            lambda version: self.of_deadline(
                tx, version or read_newest_version() or FIRST_POLICY.version
            )
        )
        return lambda country, department: PlaceCalendar(
            country or department[:2] or "NI", department, policy_of
        )

    def newest(self, tx: Transaction) -> Policy:
        """Returns the newest version, which applies to new deadlines."""
        return self.get(tx, policies.query_newest(tx)() or FIRST_POLICY.version)

    def get(self, tx: Transaction, version: int) -> Policy:
        """Returns one version; raises NotFound if there is none."""
        if version not in self._policies:
            policy = policies.get(tx, version)
            if policy is None:
                raise NotFound
            self._policies[version] = policy
        return self._policies[version]

    def of_deadline(self, tx: Transaction, version: int) -> Policy:
        """Returns the version that a deadline names; 0 means the newest.

        If that version is missing, returns the newest and raises an alarm, since a deadline without
        a policy would never be due.
        """
        if version:
            try:
                return self.get(tx, version)
            except NotFound:
                _MISSING.inc()
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
        """Publishes the next version of the policy.

        Raises Stale unless `version` is the next number; if two versions are published at the same
        time, the second is refused. A derived or fixed span in `spans` must be the same in the
        previous or in the new version.
        """
        advisory_lock(tx, "deadline_policies")
        newest_policy = self.newest(tx)
        if version != newest_policy.version + 1:
            raise Stale
        policy = Policy(
            version, {key: span for key, span in spans.items() if not is_fixed_or_derived(key)}
        )
        policy.check()
        policy.check_following(
            {key: span for key, span in spans.items() if is_fixed_or_derived(key)}, newest_policy
        )
        policies.add(tx, policy, caller.id, now)
        outbox.save(tx, [publication_fact("deadline_policy", caller, now)])
        return policy
