"""A call that waits for a thread needs a token that is valid when the call arrives.

The service causes the wait, not the caller.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from chassis.db import Transaction
from chassis.tokens import LEEWAY, LIFETIME, Caller
from tests.builders import refusal
from tests.chassis.crowd import NEIGHBOUR, CrowdedService, crowded_service, outcome
from tests.chassis.world import until
from tests.parts.clocks import SettableClock
from tests.parts.postgres import Server as PostgresServer

AFTER_EXPIRY = LIFETIME + timedelta(seconds=LEEWAY + 1)


@pytest.fixture
def service(
    postgres: PostgresServer, tmp_path: Path, queue_clock: SettableClock
) -> Iterator[CrowdedService]:
    """A service with one thread; its tokens and its queue have the same clock."""
    with crowded_service(postgres, tmp_path, 1, clock=queue_clock) as created:
        yield created


def test_a_token_that_expires_while_its_call_waits_for_a_thread_is_accepted(
    service: CrowdedService, queue_clock: SettableClock
) -> None:
    running = service.call("a")
    until(lambda: service.started_calls["a"] == 1)
    waiting = service.call(NEIGHBOUR)
    until(lambda: service.call_count() == 2)
    queue_clock.advance(AFTER_EXPIRY)
    service.release.set()
    assert (outcome(running), outcome(waiting)) == ("OK", "OK")


def test_a_token_is_accepted_if_the_clock_shows_less_time_than_its_call_waited(
    service: CrowdedService,
) -> None:
    """Covers a clock that was set back during the wait, or that stands still in a test."""
    token, end = service.issue_token("a")
    waited = AFTER_EXPIRY.total_seconds()
    assert service.served.verifier.verify_with_expiry(token, seconds_waited=waited)[1] == end


def test_a_token_that_had_expired_when_its_call_arrived_is_refused(
    service: CrowdedService, queue_clock: SettableClock
) -> None:
    token = service.issue_token(NEIGHBOUR)[0]
    queue_clock.advance(AFTER_EXPIRY)
    assert refusal(service.call(NEIGHBOUR, token=token).result) == (
        "UNAUTHENTICATED",
        "token_expired",
    )


def test_a_call_whose_first_statement_is_slow_is_tried_twice_and_answered(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    """Checks that a slow statement (a repeated request that waits for the first one, for example)
    is taken for a dead connection only once: each such try leaves a waiting backend.
    """
    callers = list[Caller]()

    def check_slowly(tx: Transaction, caller: Caller) -> None:
        callers.append(caller)
        # longer than a connection may take to give its first response
        tx.execute("SELECT pg_sleep(2.5)").fetchone()

    with crowded_service(postgres, tmp_path, 1, check_standing=check_slowly) as service:
        assert outcome(service.call(NEIGHBOUR)) == "OK"
    assert len(callers) == 2
