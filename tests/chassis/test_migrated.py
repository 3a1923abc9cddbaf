"""A migration while calls are under way.

No call fails because its statement was prepared before the migration. So the previous version of a
service can keep running beside the next one.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from chassis.rpc import Call
from chassis.tokens import SYSTEM
from protos.partners.v1 import members_pb2, members_pb2_grpc
from tests.chassis.serving import THREADS, FewRpcs, serving
from tests.parts.postgres import Server as Postgres


class ReadingService(FewRpcs):
    """A service whose EndSession reads whole rows; the rpc needs no token."""

    def EndSession(self, request: Any, call: Call) -> members_pb2.EndSessionResponse:
        assert call.tx.execute("SELECT * FROM things").fetchall()
        call.tx.execute("SELECT pg_sleep(0.01)")  # so that several connections are busy with it
        return members_pb2.EndSessionResponse()


def test_a_migration_that_adds_a_column_fails_no_call_of_a_process_with_prepared_statements(
    postgres: Postgres, tmp_path: Path
) -> None:
    pg_database = postgres.database()
    pg_database.run_as_owner(
        "CREATE TABLE things (id int); GRANT ALL ON things TO PUBLIC; INSERT INTO things VALUES (1)"
    )
    with (
        serving(pg_database.url, tmp_path, ReadingService()) as served,
        ThreadPoolExecutor(THREADS) as callers,
    ):

        def end_session(_: int) -> None:
            stub = members_pb2_grpc.TokensStub(served.channel)
            stub.EndSession(members_pb2.EndSessionRequest(), timeout=9)

        list(callers.map(end_session, range(20 * THREADS)))
        with served.database.transaction(SYSTEM) as tx:
            prepared = tx.execute(
                "SELECT count(*) AS n FROM pg_prepared_statements WHERE statement LIKE '%things%'"
            ).fetchone()
        assert prepared == {"n": 1}, "otherwise the test would prove nothing"
        pg_database.run_as_owner("ALTER TABLE things ADD COLUMN name text")
        list(callers.map(end_session, range(4 * THREADS)))
    postgres.drop(pg_database)
