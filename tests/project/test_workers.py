"""A stack whose services are several processes: two that answer calls, and one with the loops."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from chassis.ids import new_id
from protos.stubs import ReferralsStubs
from tests.parts.local_stack import ROOT, SERVICES, LocalStack, until
from tests.parts.paused import paused_process
from tests.parts.scenes import Scenes
from tests.parts.stories import STEPS, Cast

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    local_stack = LocalStack(processes_per_service=2)
    try:
        yield local_stack.start()
    finally:
        local_stack.stop()


@pytest.fixture(scope="module")
def cast(stack: LocalStack) -> Cast:
    return Cast(stack)


def _metrics(stack: LocalStack, part: str) -> str:
    address = stack.state["parts"][part]["metrics"]
    return requests.get(f"http://{address}/metrics", timeout=10).text


def _answered_rpcs(stack: LocalStack, part: str) -> float:
    """Returns the number of rpcs that a process has answered."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(_metrics(stack, part))
        for sample in family.samples
        if sample.name == "enlace_rpc_seconds_count"
    )


def test_each_counter_whose_increase_is_an_alarm_is_shown_before_its_first_event(
    stack: LocalStack,
) -> None:
    operations = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    alarms = set(re.findall(r"^\| `(\w+)(?:{.*})?`.*\| (?:any increase|rising:)", operations, re.M))
    samples = {
        part: {
            (sample.name, *sample.labels.values())
            for family in text_string_to_metric_families(_metrics(stack, part))
            for sample in family.samples
        }
        for part in stack.state["parts"]
        if stack.state["parts"][part]["metrics"]
    }
    all_samples = set().union(*samples.values())
    assert len(alarms) >= 7
    assert alarms <= {name for name, *_ in all_samples}
    assert all_samples >= {
        ("enlace_deliveries_total", channel, "DEAD") for channel in ("email", "webhook")
    }
    unreadable = "enlace_rows_unreadable_total"
    assert samples["referrals"] >= {(unreadable, "person_sealed"), (unreadable, "person_keys")}
    assert samples["partners"] >= {(unreadable, "second_factors"), (unreadable, "dead_letters")}
    assert samples["notifications"] >= {(unreadable, "desks")}
    assert samples["referrals.loops"] >= {("enlace_rows_put_aside_total", "clocks")}


def _list_status(stack: LocalStack, cast: Cast) -> int:
    """Lists the sender's referrals through the gateway; returns the HTTP status."""
    return requests.get(
        f"{stack.gateway}/api/v1/referrals",
        headers={"Authorization": f"Bearer {cast.sender.api_key}"},
        timeout=10,
    ).status_code


def test_each_service_is_three_processes_and_the_gateway_calls_the_two_that_answer(
    stack: LocalStack, cast: Cast
) -> None:
    assert stack.state["parts"].keys() >= {
        f"{service}{process}" for service in SERVICES for process in ("", ".2", ".loops")
    }
    before = {part: _answered_rpcs(stack, part) for part in ("referrals", "referrals.2")}
    assert {_list_status(stack, cast) for _ in range(10)} == {200}
    assert all(_answered_rpcs(stack, part) > count for part, count in before.items())
    assert _answered_rpcs(stack, "referrals.loops") == 0


def test_a_request_sent_to_both_processes_takes_effect_once(stack: LocalStack, cast: Cast) -> None:
    person_id, _ = cast.person()
    token = ("authorization", f"Bearer {cast.sender.token()}")
    addresses = [stack.address(part) for part in ("referrals", "referrals.2")]
    channels = [grpc.insecure_channel(address) for address in addresses]
    stubs = [ReferralsStubs(channel).referrals for channel in channels]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(20):
            request = cast.draft(person_id, new_id())
            drafts = list(
                pool.map(
                    lambda stub, request=request: stub.CreateReferral(
                        request, metadata=[token], timeout=10
                    ),
                    stubs,
                )
            )
            assert drafts[0].id == drafts[1].id
    for channel in channels:
        channel.close()
    with stack.database("referrals") as database:
        row = database.execute(
            "SELECT count(*) FROM referrals WHERE person_id = %s", (person_id,)
        ).fetchone()
    assert row == {"count": 20}


def test_steps_succeed_while_the_loops_are_down_and_their_facts_are_published_afterwards(
    stack: LocalStack, cast: Cast
) -> None:
    scenes = Scenes(stack, cast)
    killed = stack.kill("referrals.loops")
    referral = scenes.send()
    for step in STEPS:
        referral = scenes.step(referral, step)
    stack.wait_healthy(killed)
    until(
        lambda: "referral_closed" in scenes.kinds(referral.id),
        otherwise=lambda: scenes.kinds(referral.id),
    )


def test_steps_succeed_while_the_loops_hang_and_each_hung_process_is_replaced(
    stack: LocalStack, cast: Cast
) -> None:
    scenes = Scenes(stack, cast)
    hung_pids = [stack.pid(part) or 0 for part in ("referrals.loops", "gateway")]
    with paused_process(hung_pids[0]), paused_process(hung_pids[1]):
        referral = scenes.send()
        for step in STEPS:
            referral = scenes.step(referral, step)
        stack.wait_healthy(*hung_pids, timeout=120)
    until(
        lambda: "referral_closed" in scenes.kinds(referral.id),
        otherwise=lambda: scenes.kinds(referral.id),
    )


def test_no_call_of_the_gateway_fails_while_a_process_stops(stack: LocalStack, cast: Cast) -> None:
    stopped_pid = stack.pid("referrals.2")
    assert stopped_pid is not None
    os.kill(stopped_pid, signal.SIGTERM)
    codes = set[int]()
    while stack.pid("referrals.2") == stopped_pid:
        codes.add(_list_status(stack, cast))
    stack.wait_healthy(stopped_pid)
    assert codes == {200}


def test_the_status_page_shows_that_a_fact_is_held(stack: LocalStack) -> None:
    sentence = "Responde; algo quedó en espera"
    assert sentence not in requests.get(f"{stack.gateway}/status", timeout=10).text
    with stack.database("notifications") as database:
        database.execute(
            "INSERT INTO inbox_parked (consumer, subject, version, topic, type, payload, time,"
            " reason, next_try_time)"
            " VALUES ('a-test', 'a-test', 1, '', '', '', now(), 'internal', 'infinity')"
        )
    until(lambda: sentence in requests.get(f"{stack.gateway}/status", timeout=10).text)
