"""A caller that floods a service uses only a share of the service's threads.

The caller's further calls have to wait, and another caller's call starts at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chassis.crowd import NEIGHBOUR, CrowdedService, crowded_service, outcome
from tests.chassis.world import until
from tests.parts.clocks import SettableClock
from tests.parts.postgres import Server as PostgresServer

THREADS, SHARE = 8, 2
# calls of one caller, running and waiting: three quarters of sixteen times the number of threads
MAX_CALLS = 96


@pytest.fixture
def service(
    postgres: PostgresServer, tmp_path: Path, queue_clock: SettableClock
) -> Iterator[CrowdedService]:
    with crowded_service(postgres, tmp_path, THREADS) as created:
        yield created


def flood(service: CrowdedService, count: int) -> list[Any]:
    """Starts `count` calls of one caller; returns once the caller's share of them is running."""
    calls = [service.call("a") for _ in range(count)]
    until(lambda: service.started_calls["a"] == SHARE)
    return calls


def test_a_call_starts_at_once_while_another_caller_uses_its_whole_share(
    service: CrowdedService,
) -> None:
    calls = flood(service, 20)
    for _ in range(3):
        assert outcome(service.call(NEIGHBOUR)) == "OK"
    assert service.started_calls == {"a": SHARE, NEIGHBOUR: 3}
    service.release.set()
    assert [outcome(call) for call in calls] == ["OK"] * 20, (
        "calls that waited for their caller's share are answered, too"
    )


def test_a_flood_leaves_room_in_the_queue_for_other_callers(service: CrowdedService) -> None:
    calls = flood(service, MAX_CALLS + 30)
    until(lambda: sum(call.done() for call in calls) == 30)
    assert outcome(service.call(NEIGHBOUR)) == "OK"
    service.release.set()
    assert Counter(map(outcome, calls)) == {"OK": MAX_CALLS, "RESOURCE_EXHAUSTED": 30}


def test_a_caller_gets_its_whole_share_again_after_a_flood(service: CrowdedService) -> None:
    calls = flood(service, 5)
    service.release.set()
    assert [outcome(call) for call in calls] == ["OK"] * 5
    service.release.clear()
    service.started_calls.clear()
    flood(service, 3)


def test_a_stop_refuses_at_once_the_calls_that_wait_for_their_callers_share(
    service: CrowdedService,
) -> None:
    calls = flood(service, 20)
    until(lambda: service.call_count() == 20)
    stop_event = service.served.server.stop(10)
    until(lambda: sum(call.done() for call in calls) == 20 - SHARE)
    assert Counter(outcome(call) for call in calls if call.done()) == {"UNAVAILABLE": 20 - SHARE}
    service.release.set()
    assert Counter(map(outcome, calls)) == {"UNAVAILABLE": 20 - SHARE, "OK": SHARE}
    assert stop_event.wait(10)
