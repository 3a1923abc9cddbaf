"""The token of a call that waits for a thread is judged at the time of the call's arrival.

The service caused the wait, not the caller.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from chassis import admission
from chassis.db import Database, Transaction
from chassis.idempotency import IdempotencyStore
from chassis.rpc import Call, Servicer
from chassis.server import Server
from chassis.tokens import LEEWAY, LIFETIME, Caller, Issuer, Verifier
from keys import key_folder
from keys.sealing import Keyring
from protos.partners.v1 import directory_pb2, directory_pb2_grpc
from tests.builders import NOON, refusal
from tests.chassis.world import MIGRATIONS, until
from tests.parts.clocks import SettableClock
from tests.parts.postgres import Server as PostgresServer

WHO = Caller("w" * 32, "worker", "o" * 32, frozenset({"COORDINATOR"}))
OUTLIVED = LIFETIME + timedelta(seconds=LEEWAY + 1)


class BusyService:
    """A service of one thread, which one call holds until the test releases it."""

    def __init__(self, database: Database, folder: Path, clock: SettableClock) -> None:
        self.held, self.let_go = threading.Event(), threading.Event()
        self.standing_takes, self.checks = 0.0, 0
        key_folder.create(folder, ["partners"])
        self.issuer = Issuer(key_folder.signing(folder, "tokens"), clock)
        servicer = Servicer(
            directory_pb2.DESCRIPTOR.services_by_name["Directory"],
            self,
            database=database,
            verifier=Verifier(key_folder.verifying(folder, "tokens"), "enlace.tests", clock),
            idempotency=IdempotencyStore(Keyring(bytes(32))),
            clock=clock,
            check_standing=self.check_standing,
        )
        self.server = Server("127.0.0.1:0", [servicer], threads=1, reflect=False)
        self.server.start()
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.server.port}")

    def __getattr__(self, rpc: str) -> Any:
        return print  # no other rpc is called

    def check_standing(self, tx: Transaction, caller: Caller) -> None:
        self.checks += 1
        tx.execute("SELECT pg_sleep(%s)", (self.standing_takes,)).fetchone()

    def ListHotlines(
        self, request: directory_pb2.ListHotlinesRequest, call: Call
    ) -> directory_pb2.ListHotlinesResponse:
        self.held.set()
        self.let_go.wait(10)
        return directory_pb2.ListHotlinesResponse()

    def ListOrganizations(
        self, request: directory_pb2.ListOrganizationsRequest, call: Call
    ) -> directory_pb2.ListOrganizationsResponse:
        return directory_pb2.ListOrganizationsResponse()

    def list_organizations(self, token: str) -> None:
        stub = directory_pb2_grpc.DirectoryStub(self.channel)
        stub.ListOrganizations(
            directory_pb2.ListOrganizationsRequest(),
            metadata=(("authorization", f"Bearer {token}"),),
            timeout=10,
        )


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(NOON)


@pytest.fixture
def pass_time(clock: SettableClock, monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    monkeypatch.setattr(admission, "monotonic", lambda: clock.now().timestamp(), raising=False)
    return clock.advance


@pytest.fixture
def busy(postgres: PostgresServer, tmp_path: Path, clock: SettableClock) -> Iterator[BusyService]:
    database = Database(postgres.database("tests", MIGRATIONS).url, max_size=4)
    database.open()
    created = BusyService(database, tmp_path, clock)
    yield created
    created.channel.close()
    created.server.stop(0)
    database.close()


def test_a_token_that_expires_while_its_call_waits_for_a_thread_is_accepted(
    busy: BusyService, pass_time: Callable[[timedelta], None]
) -> None:
    token = busy.issuer.issue(WHO, "enlace.tests")[0]
    with ThreadPoolExecutor(2) as callers:
        holding = callers.submit(
            directory_pb2_grpc.DirectoryStub(busy.channel).ListHotlines,
            directory_pb2.ListHotlinesRequest(),
            timeout=10,
        )
        assert busy.held.wait(10)
        waiting = callers.submit(busy.list_organizations, token)
        until(lambda: busy.server._pool._accepted == 2)
        pass_time(OUTLIVED)
        busy.let_go.set()
        holding.result(10)
        waiting.result(10)


def test_a_token_is_accepted_if_the_clock_shows_less_time_than_its_call_waited(
    tmp_path: Path, clock: SettableClock
) -> None:
    """Checks the case of a clock that was set back during the wait, or stands still in a test."""
    key_folder.create(tmp_path, ["partners"])
    token, end = Issuer(key_folder.signing(tmp_path, "tokens"), clock).issue(WHO, "enlace.tests")
    verifier = Verifier(key_folder.verifying(tmp_path, "tokens"), "enlace.tests", clock)
    assert verifier.verify_until(token, waited=OUTLIVED.total_seconds())[1] == end


def test_a_token_that_had_expired_when_its_call_arrived_is_refused(
    busy: BusyService, pass_time: Callable[[timedelta], None]
) -> None:
    token = busy.issuer.issue(WHO, "enlace.tests")[0]
    pass_time(OUTLIVED)
    assert refusal(lambda: busy.list_organizations(token)) == ("UNAUTHENTICATED", "token_expired")


def test_a_call_whose_first_statement_is_slow_is_tried_twice_and_answered(
    busy: BusyService,
) -> None:
    """Checks that a slow statement, such as the wait of a repeated request for the first one, is
    not taken for a dead connection again and again: each such try leaves a waiting backend.
    """
    token = busy.issuer.issue(WHO, "enlace.tests")[0]
    busy.standing_takes = 2.5  # longer than a connection may take to give its first response
    busy.list_organizations(token)
    assert busy.checks == 2
