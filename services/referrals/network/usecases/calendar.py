"""Working days by country, from the `holidays` library.

Offices are assumed to be closed on Saturdays and Sundays.
"""

from collections.abc import Callable
from datetime import datetime

from chassis.local_time import day_at
from chassis.public_holidays import is_public_holiday
from services.referrals.network.domain.deadline import FIRST_POLICY, Policy


def _first_policy(_: int) -> Policy:
    return FIRST_POLICY


class CountryCalendar:
    """The calendar of one country under the network's policy.

    An unknown country has weekends but no holidays.
    """

    def __init__(self, country: str, policy_of: Callable[[int], Policy] = _first_policy) -> None:
        self._country = country
        self._policy_of = policy_of

    def is_working_day(self, moment: datetime) -> bool:
        """Returns whether offices are open on the local day of this moment."""
        day = day_at(moment, self._country)
        return day.weekday() < 5 and not is_public_holiday(self._country, day)

    def policy(self, version: int = 0) -> Policy:
        """Returns one version of the policy; 0 means the newest."""
        return self._policy_of(version)
