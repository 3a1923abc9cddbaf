"""A caller that floods a service uses only a share of the service's threads.

The caller's calls wait behind each other, and another caller's call starts at once.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from chassis import admission
from chassis.clock import SystemClock
from chassis.db import Database
from chassis.idempotency import IdempotencyStore
from chassis.rpc import Call, Servicer
from chassis.server import Server
from chassis.tokens import Caller, Issuer, Verifier
from keys import key_folder
from keys.sealing import Keyring
from protos.partners.v1 import directory_pb2 as pb
from protos.partners.v1 import directory_pb2_grpc
from tests.chassis.world import MIGRATIONS, until
from tests.parts.postgres import Server as PostgresServer

THREADS, SHARE = 8, 2
# calls of one caller, running and waiting: three quarters of sixteen times the number of threads
WAITING = 96
FLOODS, NEIGHBOUR = (
    Caller(letter * 32, "worker", "o" * 32, frozenset({"COORDINATOR"})) for letter in "ab"
)


class FloodedService:
    """A service in which the calls of one caller wait until the test releases them."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.running = Counter[str]()
        self.release = threading.Event()
        self._counting = threading.Lock()
        key_folder.create(folder, ["partners"])
        self._issuer = Issuer(key_folder.signing(folder, "tokens"), SystemClock())
        servicer = Servicer(
            pb.DESCRIPTOR.services_by_name["Directory"],
            self,
            database=database,
            verifier=Verifier(
                key_folder.verifying(folder, "tokens"), "enlace.tests", SystemClock()
            ),
            idempotency=IdempotencyStore(Keyring(bytes(32))),
            clock=SystemClock(),
            check_standing=lambda tx, caller: None,
        )
        self.server = Server(
            "127.0.0.1:0", [servicer], threads=THREADS, reflect=False, caller_rate=100_000
        )
        self.server.start()
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.server.port}")

    def __getattr__(self, rpc: str) -> Any:
        return print  # no other rpc is called

    def ListOrganizations(
        self, request: pb.ListOrganizationsRequest, call: Call
    ) -> pb.ListOrganizationsResponse:
        with self._counting:
            self.running[call.caller.id] += 1
        if call.caller == FLOODS:
            self.release.wait(10)
        return pb.ListOrganizationsResponse()

    def ask(self, caller: Caller) -> Any:
        token = self._issuer.issue(caller, "enlace.tests")[0]
        stub: Any = directory_pb2_grpc.DirectoryStub(self.channel)
        return stub.ListOrganizations.future(
            pb.ListOrganizationsRequest(),
            metadata=(("authorization", f"Bearer {token}"),),
            timeout=10,
        )

    def flood(self, often: int) -> list[Any]:
        """Starts `often` calls; returns once the caller's share of them is running."""
        calls = [self.ask(FLOODS) for _ in range(often)]
        until(lambda: self.running[FLOODS.id] == SHARE)
        return calls


@pytest.fixture
def flooded(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FloodedService]:
    # a stopped clock: the queue refuses no call for the time that the first has waited
    # (tests/chassis/test_overload.py)
    monkeypatch.setattr(admission, "monotonic", lambda: 0.0)
    database = Database(postgres.database("tests", MIGRATIONS).url, max_size=2 * THREADS)
    database.open()
    service = FloodedService(database, tmp_path)
    yield service
    service.release.set()
    service.channel.close()
    service.server.stop(0).wait(10)
    database.close()


def outcome(call: Any) -> str:
    return "OK" if call.exception() is None else str(call.code().name)


def test_c15_a_call_starts_at_once_while_another_caller_uses_its_whole_share(
    flooded: FloodedService,
) -> None:
    calls = flooded.flood(20)
    for _ in range(3):
        assert outcome(flooded.ask(NEIGHBOUR)) == "OK"
    assert flooded.running == {FLOODS.id: SHARE, NEIGHBOUR.id: 3}
    flooded.release.set()
    assert [outcome(call) for call in calls] == ["OK"] * 20, (
        "calls that waited for their caller's share are answered, too"
    )


def test_c15_a_flood_leaves_room_in_the_queue_for_other_callers(flooded: FloodedService) -> None:
    calls = flooded.flood(WAITING + 30)
    until(lambda: sum(call.done() for call in calls) == 30)
    assert outcome(flooded.ask(NEIGHBOUR)) == "OK"
    flooded.release.set()
    assert Counter(map(outcome, calls)) == {"OK": WAITING, "RESOURCE_EXHAUSTED": 30}


def test_c15_a_caller_gets_its_whole_share_again_after_a_flood(flooded: FloodedService) -> None:
    calls = flooded.flood(5)
    flooded.release.set()
    assert [outcome(call) for call in calls] == ["OK"] * 5
    flooded.release.clear()
    flooded.running.clear()
    flooded.flood(3)


def test_c15_a_stop_refuses_at_once_the_calls_that_wait_for_their_callers_share(
    flooded: FloodedService,
) -> None:
    calls = flooded.flood(20)
    until(lambda: flooded.server._pool._accepted == 20)
    stopped = flooded.server.stop(10)
    until(lambda: sum(call.done() for call in calls) == 20 - SHARE)
    assert Counter(outcome(call) for call in calls if call.done()) == {"UNAVAILABLE": 20 - SHARE}
    flooded.release.set()
    assert Counter(map(outcome, calls)) == {"UNAVAILABLE": 20 - SHARE, "OK": SHARE}
    assert stopped.wait(10)
