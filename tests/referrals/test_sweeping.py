"""Stored answers are deleted after a while, because a first answer may hold a PIN."""

from datetime import timedelta

from chassis.clock import SystemClock
from chassis.sweeper import REQUEST_LIFETIME, Sweeper
from chassis.tokens import SYSTEM
from tests.referrals.conftest import Service, Story


def stored_answers(service: Service) -> int:
    with service.database.transaction(SYSTEM) as tx:
        row = tx.execute("SELECT count(*) AS n FROM requests").fetchone()
    return int(row["n"]) if row else 0


def test_stored_answers_are_deleted_after_a_day_and_not_before(
    story: Story, service: Service
) -> None:
    story.contact()
    before = stored_answers(service)
    assert before > 0
    moment = SystemClock().now()  # the database stamps requests by its own clock
    service.clock.set(moment)
    Sweeper(service.database, service.clock).sweep()
    assert stored_answers(service) == before
    service.clock.set(moment + REQUEST_LIFETIME + timedelta(minutes=1))
    Sweeper(service.database, service.clock).sweep()
    assert stored_answers(service) == 0
