"""A service that gets more calls than it can answer.

The service accepts only calls that it can answer in time, and a refused call costs almost nothing.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from chassis import admission, server
from chassis.admission import CallPool
from chassis.config import CALLER_RATE
from chassis.limits import WINDOW
from chassis.metrics import REFUSALS
from tests.chassis.crowd import CrowdedService, crowded_service, outcome
from tests.chassis.world import until
from tests.parts.clocks import SettableClock
from tests.parts.postgres import Server as PostgresServer

THREADS = 2
ROOM = THREADS * 16
METHOD = "enlace.partners.v1.Directory/ListOrganizations"
LONGER = timedelta(seconds=admission.LONGEST_WAIT + 0.1)


@pytest.fixture
def service(postgres: PostgresServer, tmp_path: Path) -> Iterator[CrowdedService]:
    with crowded_service(postgres, tmp_path, THREADS) as created:
        yield created


def fill(service: CrowdedService, count: int = ROOM) -> list[Any]:
    """Starts calls of several callers; returns once each thread runs one of them."""
    calls = [service.call("abcdefgh"[n % 8]) for n in range(count)]
    until(lambda: service.started_calls.total() == THREADS and service.call_count() == count)
    return calls


def test_a_refused_call_costs_neither_a_token_nor_a_transaction_nor_a_thread(
    service: CrowdedService, queue_clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, call_counts = fill(service), Counter[str]()

    def counted_function(name: str, do: Callable[..., Any]) -> Callable[..., Any]:
        def count_and_do(*args: Any, **kwargs: Any) -> Any:
            call_counts[name] += 1
            return do(*args, **kwargs)

        return count_and_do

    for of, name in (
        (service.served.database, "transaction"),
        (service.served.verifier, "_verified_claims"),
        (service.served.server._pool, "submit"),
    ):
        monkeypatch.setattr(of, name, counted_function(name, getattr(of, name)))
    refusals = REFUSALS.labels(METHOD, "too_many_requests")._value
    before = refusals.get()
    refused = [service.call("z") for _ in range(20)]
    assert [outcome(call) for call in refused] == ["RESOURCE_EXHAUSTED"] * 20
    assert (call_counts, refusals.get()) == ({}, before + 20)
    service.release.set()
    assert [outcome(call) for call in calls] == ["OK"] * ROOM
    assert call_counts == {"_verified_claims": ROOM - THREADS, "transaction": ROOM - THREADS}


def test_calls_are_refused_while_the_first_call_in_the_queue_has_waited_too_long(
    service: CrowdedService, queue_clock: SettableClock
) -> None:
    calls = fill(service, THREADS + 1)
    queue_clock.advance(LONGER)
    assert outcome(service.call("z")) == "RESOURCE_EXHAUSTED"
    service.release.set()
    assert [outcome(call) for call in calls] == ["OK"] * (THREADS + 1)
    assert outcome(service.call("z")) == "OK", "the queue is empty again"


def test_long_calls_that_hold_all_threads_do_not_close_the_queue(
    service: CrowdedService, queue_clock: SettableClock
) -> None:
    fill(service, THREADS)
    queue_clock.advance(LONGER)
    waiting = service.call("z")
    until(lambda: service.call_count() == THREADS + 1)
    service.release.set()
    assert outcome(waiting) == "OK"


def test_a_long_wait_for_a_callers_share_closes_the_queue_only_for_that_caller(
    queue_clock: SettableClock,
) -> None:
    pool, release = CallPool(4, 32, share=1), threading.Event()
    for _ in range(2):
        admission.set_lane("greedy")
        pool.submit(release.wait)
    until(lambda: not pool._queued_since)
    assert not pool.is_full("greedy")
    queue_clock.advance(LONGER)
    assert (pool.is_full("greedy"), pool.is_full("modest"), pool.is_full()) == (True, False, False)
    release.set()
    until(lambda: not pool._call_count)
    assert not pool.is_full("greedy")
    pool.shutdown()


def test_a_call_whose_deadline_passes_in_the_queue_is_never_started(
    service: CrowdedService, queue_clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, pool, deadlines = fill(service, THREADS), service.served.server._pool, list[float]()
    submit = pool.submit

    def note_deadline(run: Any, answer: Any, event: Any, *rest: Any) -> Any:
        deadlines.append(event.call_details.deadline)
        return submit(run, answer, event, *rest)

    monkeypatch.setattr(pool, "submit", note_deadline)
    late = [service.call("z", timeout=1) for _ in range(3)]
    until(lambda: len(deadlines) == 3)
    assert [outcome(call) for call in late] == ["DEADLINE_EXCEEDED"] * 3
    # the service counts the time from the arrival of a call, so the deadline passes later there
    until(lambda: time.time() > max(deadlines))
    monkeypatch.undo()
    service.release.set()
    assert [outcome(call) for call in (*calls, service.call("z"))] == ["OK"] * (THREADS + 1)
    assert service.started_calls.total() == THREADS + 1


def test_a_call_that_reaches_its_thread_too_late_is_refused_before_its_token_is_read(
    service: CrowdedService,
) -> None:
    handlers: Any = service.served.servicer.handlers
    context = Mock(spec=grpc.ServicerContext)  # its call has ended, unnoticed by gRPC
    context.invocation_metadata.return_value, context.time_remaining.return_value = [], 0.0
    context.abort_with_status.side_effect = Exception  # as in gRPC
    with pytest.raises(Exception, match=r"^$"):
        handlers._method_handlers[f"/{METHOD}"].unary_unary(b"", context)
    [status] = context.abort_with_status.call_args.args
    assert status.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert not service.started_calls


def test_further_calls_are_cancelled_while_a_busy_interpreter_has_too_many_unseen_calls(
    service: CrowdedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, intercept = threading.Event(), server.AdmissionInterceptor.intercept_service

    def wait_for_release(self: Any, continuation: Any, details: Any) -> Any:
        if details.method == f"/{METHOD}":
            released.wait(20)
        return intercept(self, continuation, details)

    monkeypatch.setattr(server.AdmissionInterceptor, "intercept_service", wait_for_release)
    address = f"127.0.0.1:{service.served.server.port}"
    own_connection = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.insecure_channel(address, options=own_connection) for _ in range(4)]
    calls = [
        service.call("a", channel=channel)
        for channel in channels
        for _ in range(server._MAX_PENDING // 2)
    ]
    max_pending = server._MAX_PENDING + 1  # and the one that the interceptor holds
    until(lambda: sum(call.done() for call in calls) >= len(calls) - max_pending)
    assert {outcome(call) for call in calls if call.done()} == {"CANCELLED"}
    released.set()
    service.release.set()
    assert {outcome(call) for call in calls} <= {"CANCELLED", "OK", "RESOURCE_EXHAUSTED"}
    assert outcome(service.call("a")) == "OK"
    for channel in channels:
        channel.close()


def test_a_burst_within_a_callers_quota_is_never_cancelled(
    service: CrowdedService, queue_clock: SettableClock
) -> None:
    calls = [service.call("a") for _ in range(WINDOW * CALLER_RATE)]
    service.release.set()
    assert {outcome(call) for call in calls} <= {"OK", "RESOURCE_EXHAUSTED"}


def test_health_is_answered_while_calls_are_refused(
    service: CrowdedService, queue_clock: SettableClock
) -> None:
    fill(service)
    assert outcome(service.call("a")) == "RESOURCE_EXHAUSTED"
    stub: Any = HealthStub(service.served.channel)
    request = HealthCheckRequest(service="live")
    assert stub.Check(request, timeout=10).status == HealthCheckResponse.SERVING
    assert next(stub.Watch(request, timeout=10)).status == HealthCheckResponse.SERVING
