"""A handler that fails for a while in the running stack.

Facts are held and reported, and once the cause is repaired each fact takes effect once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from tests.faults import checker
from tests.faults.checker import RunData
from tests.faults.observer import samples
from tests.faults.run import read_health_reports
from tests.faults.work import Work
from tests.parts.local_stack import ROOT, SERVICES, LocalStack, until
from tests.parts.stories import Cast


@pytest.mark.timeout(300)
def test_facts_are_held_while_a_handler_fails_and_applied_once_when_it_is_repaired(
    faulty_stack: LocalStack, cast: Cast, cleanup: ExitStack
) -> None:
    work = Work(faulty_stack, cast, [cast.person() for _ in range(4)], threads=3)
    since = checker.run_start()
    partners, referrals, notifications = (
        cleanup.enter_context(faulty_stack.database(name)) for name in SERVICES
    )
    run_data = RunData(partners, referrals, notifications, work.operations, [], since)
    work.begin()
    assert work.wait_for(20, 60)

    # Without this table the handler fails, and so do the loops that send.
    notifications.execute("ALTER TABLE deliveries RENAME TO deliveries_away")
    cleanup.callback(
        lambda: notifications.execute("ALTER TABLE IF EXISTS deliveries_away RENAME TO deliveries")
    )
    until(lambda: len(held_facts(faulty_stack)) >= 5)
    assert work.wait_for(work.answered_count + 20, 60)  # callers are not affected
    until(lambda: held_count(faulty_stack) >= 5)
    assert {letter["reason"] for letter in held_facts(faulty_stack)} == {"fault"}
    assert not facts_check_passes(faulty_stack)
    until(lambda: any("mail" in problem for problem in loop_problems(run_data, faulty_stack)))

    # As after a fault of an hour, the next try is minutes away. Otherwise all facts could be
    # applied before the command starts, and none would be left to redrive.
    notifications.execute(
        "UPDATE inbox_parked SET next_try_time = now() + interval '5 minutes' WHERE reason <> ''"
    )
    notifications.execute("ALTER TABLE deliveries_away RENAME TO deliveries")
    assert command(faulty_stack, "redrive", "--all", "--reason", "handler_mended")["count"] > 0
    work.end()

    def remaining() -> list[str]:
        return checker.nothing_is_waiting(run_data) + checker.every_fact_was_applied(run_data)

    # A fact that was held only after the redrive is retried within eight seconds, too.
    until(lambda: not remaining(), 90, lambda: remaining()[:10], every=0.5)
    assert held_facts(faulty_stack) == []
    until(lambda: held_count(faulty_stack) == 0 and facts_check_passes(faulty_stack))
    until(lambda: loop_problems(run_data, faulty_stack) == [])
    assert checker.each_fact_made_its_messages_once(run_data) == []
    assert checker.each_message_is_delivered_once_to_an_address(run_data) == []
    assert not work.refusals
    redriven = (
        "SELECT FROM audit WHERE action = 'redrive_dead_letter' AND purpose_code = 'handler_mended'"
        " AND time >= %s"
    )
    assert notifications.execute(redriven, (since,)).rowcount > 0


def held_facts(stack: LocalStack) -> list[dict[str, Any]]:
    """Returns the held facts as an operator sees them."""
    letters: list[dict[str, Any]] = command(stack, "list")
    return [letter for letter in letters if letter["kind"] == "held"]


def command(stack: LocalStack, *arguments: str) -> Any:
    """Runs `python -m services.notifications dead-letters …` beside the running service."""
    environment = {
        **os.environ,
        "ENLACE_DATABASE_URL": stack.database_url("notifications"),
        "ENLACE_KEYS": str(stack.var / "keys"),
    }
    program = [sys.executable, "-m", "services.notifications", "dead-letters"]
    process = subprocess.run(
        [*program, *arguments, "--json"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def held_count(stack: LocalStack) -> float:
    """Returns the number of held facts in the service's metrics."""
    return sum(
        sample.value
        for sample in samples(stack, "notifications", 5)
        if sample.name == "enlace_facts_held"
    )


def facts_check_passes(stack: LocalStack) -> bool:
    """Returns whether the health check for facts passes: no fact is held."""
    stub = HealthStub(stack.channel("notifications"))
    return bool(
        stub.Check(HealthCheckRequest(service="facts"), timeout=5).status  # type: ignore[attr-defined]
        == HealthCheckResponse.SERVING
    )


def loop_problems(run_data: RunData, stack: LocalStack) -> list[str]:
    """Returns the problems of loops that the services report now."""
    return checker.every_loop_is_well(replace(run_data, health_reports=read_health_reports(stack)))
