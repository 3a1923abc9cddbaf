"""A service that gets more calls than it can answer.

The service accepts only calls that it can answer in time, and a refused call costs almost nothing.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from chassis import admission, server
from chassis.admission import CallPool
from chassis.clock import SystemClock
from chassis.config import CALLER_RATE
from chassis.db import Database
from chassis.idempotency import IdempotencyStore
from chassis.limits import WINDOW
from chassis.metrics import REFUSALS
from chassis.rpc import Call, Servicer
from chassis.tokens import Caller, Issuer, Verifier
from keys import key_folder
from keys.sealing import Keyring
from protos.partners.v1 import directory_pb2 as pb
from protos.partners.v1 import directory_pb2_grpc
from tests.builders import NOON
from tests.chassis.world import MIGRATIONS, until
from tests.parts.clocks import SettableClock
from tests.parts.postgres import Server as PostgresServer

THREADS = 2
ROOM = THREADS * 16
METHOD = "enlace.partners.v1.Directory/ListOrganizations"
LONGER = timedelta(seconds=admission.LONGEST_WAIT + 0.1)


class CrowdedService:
    """A service whose calls wait until the test releases them; counts the calls in work."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.in_work, self.let_go = 0, threading.Event()
        key_folder.create(folder, ["partners"])
        self._issuer = Issuer(key_folder.signing(folder, "tokens"), SystemClock())
        self.verifier = Verifier(
            key_folder.verifying(folder, "tokens"), "enlace.tests", SystemClock()
        )
        self.servicer = Servicer(
            pb.DESCRIPTOR.services_by_name["Directory"],
            self,
            database=database,
            verifier=self.verifier,
            idempotency=IdempotencyStore(Keyring(bytes(32))),
            clock=SystemClock(),
            check_standing=lambda tx, caller: None,
        )
        self.server = server.Server(
            "127.0.0.1:0", [self.servicer], threads=THREADS, reflect=False, caller_rate=100_000
        )
        self.server.start()
        self._channels: list[grpc.Channel] = []
        self.channel = self.connect()

    def __getattr__(self, rpc: str) -> Any:
        return print  # no other rpc is called

    def ListOrganizations(
        self, request: pb.ListOrganizationsRequest, call: Call
    ) -> pb.ListOrganizationsResponse:
        self.in_work += 1
        self.let_go.wait(20)
        return pb.ListOrganizationsResponse()

    def connect(self) -> grpc.Channel:
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channels.append(
            grpc.insecure_channel(f"127.0.0.1:{self.server.port}", options=options)
        )
        return self._channels[-1]

    def ask(
        self, *, who: str = "a", timeout: float = 20.0, channel: grpc.Channel | None = None
    ) -> Any:
        """Starts a call; `who` is the letter of the caller's id."""
        caller = Caller(who * 32, "worker", "o" * 32, frozenset({"COORDINATOR"}))
        token = self._issuer.issue(caller, "enlace.tests")[0]
        stub: Any = directory_pb2_grpc.DirectoryStub(channel or self.channel)
        return stub.ListOrganizations.future(
            pb.ListOrganizationsRequest(),
            metadata=(("authorization", f"Bearer {token}"),),
            timeout=timeout,
        )

    def fill(self, count: int = ROOM) -> list[Any]:
        """Starts calls of several callers; returns once each thread has one of them in work."""
        calls = [self.ask(who="abcdefgh"[n % 8]) for n in range(count)]
        until(lambda: self.in_work == THREADS and self.server._pool._accepted == count)
        return calls

    def close(self) -> None:
        self.let_go.set()
        for channel in self._channels:
            channel.close()
        self.server.stop(0).wait(10)


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[Database]:
    created = Database(postgres.database("tests", MIGRATIONS).url, max_size=2 * THREADS)
    created.open()
    yield created
    created.close()


@pytest.fixture
def crowded(database: Database, tmp_path: Path) -> Iterator[CrowdedService]:
    created = CrowdedService(database, tmp_path)
    yield created
    created.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SettableClock:
    """The pool's clock, which stands still until the test advances it."""
    created = SettableClock(NOON)
    monkeypatch.setattr(admission, "monotonic", lambda: created.now().timestamp())
    return created


def outcome(call: Any) -> str:
    return "OK" if call.exception() is None else str(call.code().name)


def test_a_refused_call_costs_neither_a_token_nor_a_transaction_nor_a_thread(
    crowded: CrowdedService,
    clock: SettableClock,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = crowded.fill()
    spent = Counter[str]()

    def counting(name: str, do: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            spent[name] += 1
            return do(*args, **kwargs)

        return counted

    for of, name in (
        (database, "transaction"),
        (crowded.verifier, "_verified_claims"),
        (crowded.server._pool, "submit"),
    ):
        monkeypatch.setattr(of, name, counting(name, getattr(of, name)))
    before = REFUSALS.labels(METHOD, "too_many_requests")._value.get()
    refused = [crowded.ask(who="z") for _ in range(20)]
    assert [outcome(call) for call in refused] == ["RESOURCE_EXHAUSTED"] * 20
    assert spent == {}
    assert REFUSALS.labels(METHOD, "too_many_requests")._value.get() == before + 20
    crowded.let_go.set()
    assert [outcome(call) for call in calls] == ["OK"] * ROOM
    assert spent == {"_verified_claims": ROOM - THREADS, "transaction": ROOM - THREADS}


def test_calls_are_refused_while_the_first_call_in_the_queue_has_waited_too_long(
    crowded: CrowdedService, clock: SettableClock
) -> None:
    calls = crowded.fill(THREADS + 1)
    clock.advance(LONGER)
    assert outcome(crowded.ask(who="z")) == "RESOURCE_EXHAUSTED"
    crowded.let_go.set()
    assert [outcome(call) for call in calls] == ["OK"] * (THREADS + 1)
    assert outcome(crowded.ask(who="z")) == "OK", "the queue is empty again"


def test_long_calls_that_hold_all_threads_do_not_close_the_queue(
    crowded: CrowdedService, clock: SettableClock
) -> None:
    crowded.fill(THREADS)
    clock.advance(LONGER)
    waiting = crowded.ask(who="z")
    until(lambda: crowded.server._pool._accepted == THREADS + 1)
    crowded.let_go.set()
    assert outcome(waiting) == "OK"


def test_a_long_wait_for_a_callers_share_closes_the_queue_only_for_that_caller(
    clock: SettableClock,
) -> None:
    pool, let_go = CallPool(4, 32, share=1), threading.Event()
    for _ in range(2):
        admission.set_lane("greedy")
        pool.submit(let_go.wait)
    until(lambda: not pool._queued)
    assert not pool.is_full("greedy")
    clock.advance(LONGER)
    assert pool.is_full("greedy")
    assert not pool.is_full("modest")
    assert not pool.is_full()
    let_go.set()
    until(lambda: not pool._accepted)
    assert not pool.is_full("greedy")
    pool.shutdown()


def test_a_call_whose_deadline_passes_in_the_queue_is_never_started(
    crowded: CrowdedService,
) -> None:
    calls = crowded.fill(THREADS)
    late = [crowded.ask(who="z", timeout=0.2) for _ in range(3)]
    assert [outcome(call) for call in late] == ["DEADLINE_EXCEEDED"] * 3
    crowded.let_go.set()
    assert [outcome(call) for call in calls] == ["OK"] * THREADS
    assert outcome(crowded.ask(who="z")) == "OK"
    assert crowded.in_work == THREADS + 1


class _LateContext:
    """The context of a call whose end gRPC has not noticed yet."""

    status: Any = None

    def invocation_metadata(self) -> list[tuple[str, str]]:
        return []

    def time_remaining(self) -> float:
        return 0.0

    def abort_with_status(self, status: Any) -> None:
        self.status = status
        raise Exception


def test_a_call_that_reaches_its_thread_too_late_is_refused_before_its_token_is_read(
    crowded: CrowdedService,
) -> None:
    handlers: Any = crowded.servicer.handlers
    context = _LateContext()
    with pytest.raises(Exception, match=r"^$"):
        handlers._method_handlers[f"/{METHOD}"].unary_unary(b"", context)
    assert context.status.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert crowded.in_work == 0


def test_calls_beyond_a_limit_that_a_busy_interpreter_has_not_seen_are_cancelled(
    crowded: CrowdedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, standing = threading.Event(), server.Door.intercept_service

    def stand_still(self: Any, continuation: Any, details: Any) -> Any:
        if details.method == f"/{METHOD}":
            look.wait(20)
        return standing(self, continuation, details)

    monkeypatch.setattr(server.Door, "intercept_service", stand_still)
    calls = [
        crowded.ask(channel=channel)
        for channel in [crowded.connect() for _ in range(4)]
        for _ in range(server._PENDING // 2)
    ]
    most = server._PENDING + 1  # and the one that the interceptor holds
    until(lambda: sum(call.done() for call in calls) >= len(calls) - most)
    assert {outcome(call) for call in calls if call.done()} == {"CANCELLED"}
    look.set()
    crowded.let_go.set()
    assert {outcome(call) for call in calls} <= {"CANCELLED", "OK", "RESOURCE_EXHAUSTED"}
    assert outcome(crowded.ask()) == "OK"


def test_a_burst_within_a_callers_quota_is_never_cancelled_unseen(
    crowded: CrowdedService, clock: SettableClock
) -> None:
    calls = [crowded.ask() for _ in range(WINDOW * CALLER_RATE)]
    crowded.let_go.set()
    assert {outcome(call) for call in calls} <= {"OK", "RESOURCE_EXHAUSTED"}


def test_health_is_answered_while_calls_are_refused(
    crowded: CrowdedService, clock: SettableClock
) -> None:
    crowded.fill()
    stub: Any = HealthStub(crowded.channel)
    assert outcome(crowded.ask()) == "RESOURCE_EXHAUSTED"
    request = HealthCheckRequest(service="live")
    assert stub.Check(request, timeout=10).status == HealthCheckResponse.SERVING
    assert next(stub.Watch(request, timeout=10)).status == HealthCheckResponse.SERVING
