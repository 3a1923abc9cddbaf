"""Stored answers are deleted after a while, because a first answer may hold a PIN."""

from datetime import timedelta

from chassis.clock import SystemClock
from chassis.sweeper import REQUEST_LIFETIME, Sweeper
from tests.referrals.conftest import Service, Story


def stored_answers(service: Service) -> int:
    return len(service.rows("SELECT FROM requests"))


def test_stored_answers_are_deleted_after_a_day_and_not_before(
    story: Story, service: Service
) -> None:
    story.contact()
    before = stored_answers(service)
    assert before > 0
    moment = SystemClock().now()  # the database stamps requests by its own clock
    for age, count in ((timedelta(), before), (REQUEST_LIFETIME + timedelta(minutes=1), 0)):
        service.clock.set(moment + age)
        Sweeper(service.database, service.clock).sweep()
        assert stored_answers(service) == count
