"""Working days by country, from the `holidays` library.

Offices are assumed to be closed on Saturdays and Sundays.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from chassis.local_time import zone_of
from chassis.public_holidays import is_public_holiday
from services.referrals.network.domain.deadline import FIRST_POLICY, Policy


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
