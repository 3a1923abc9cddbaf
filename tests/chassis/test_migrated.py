"""A migration while calls are under way.

No call fails because a statement was prepared before the migration, in either of two versions that
run side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import psycopg

from chassis.clock import SystemClock
from chassis.db import Database
from chassis.idempotency import IdempotencyStore
from chassis.rpc import Call, Servicer
from chassis.server import Server
from chassis.tokens import SYSTEM, Verifier
from keys import key_folder
from keys.sealing import Keyring
from protos.partners.v1 import members_pb2, members_pb2_grpc
from tests.parts import postgres as parts
from tests.parts.postgres import Server as Postgres

THREADS = 8


class ReadingService:
    """A service whose EndSession reads whole rows; the rpc needs no token."""

    def __getattr__(self, rpc: str) -> Any:
        return print  # no other rpc is called

    def EndSession(self, request: Any, call: Call) -> members_pb2.EndSessionResponse:
        assert call.tx.execute("SELECT * FROM things").fetchall()
        call.tx.execute("SELECT pg_sleep(0.01)")  # so that several connections are busy with it
        return members_pb2.EndSessionResponse()


@contextmanager
def serving(
    place: parts.Database, folder: Path, service: object
) -> Iterator[tuple[Database, members_pb2_grpc.TokensStub]]:
    """Serves the rpcs of a service; yields its database and a stub."""
    key_folder.create(folder, ["tests"])
    database = Database(place.url)
    database.fit(THREADS, 1)
    database.open()
    servicer = Servicer(
        members_pb2.DESCRIPTOR.services_by_name["Tokens"],
        service,
        database=database,
        verifier=Verifier(key_folder.verifying(folder, "tokens"), "enlace.tests", SystemClock()),
        idempotency=IdempotencyStore(Keyring(key_folder.secret(folder, "sealing.tests"))),
        clock=SystemClock(),
        check_standing=lambda tx, caller: None,
    )
    server = Server("127.0.0.1:0", [servicer], threads=THREADS, reflect=False, caller_rate=100_000)
    server.start()
    assert database.reachable()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield database, members_pb2_grpc.TokensStub(channel)
    finally:
        server.stop(0).wait(5)
        database.close()


# D24
def test_a_migration_that_adds_a_column_fails_no_call_of_a_process_with_prepared_statements(
    postgres: Postgres, tmp_path: Path
) -> None:
    place = postgres.database()
    with psycopg.connect(place.migration_url) as owner:
        owner.execute(
            "CREATE TABLE things (id int); GRANT ALL ON things TO PUBLIC; INSERT INTO things"
            " VALUES (1)"
        )
    with (
        serving(place, tmp_path, ReadingService()) as (database, stub),
        ThreadPoolExecutor(THREADS) as callers,
    ):

        def ask(_: int) -> None:
            stub.EndSession(members_pb2.EndSessionRequest(), timeout=9)

        list(callers.map(ask, range(20 * THREADS)))
        with database.transaction(SYSTEM) as tx:
            prepared = tx.execute(
                "SELECT count(*) AS n FROM pg_prepared_statements WHERE statement LIKE '%things%'"
            ).fetchone()
        assert prepared == {"n": 1}, "otherwise the test would prove nothing"
        with psycopg.connect(place.migration_url) as owner:
            owner.execute("ALTER TABLE things ADD COLUMN name text")
        list(callers.map(ask, range(4 * THREADS)))
    postgres.drop(place)
