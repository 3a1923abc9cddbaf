"""Calls whose transactions wait for each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event
from typing import Any

from chassis.rpc import Call
from chassis.tokens import SYSTEM
from protos.partners.v1 import members_pb2, members_pb2_grpc
from tests.chassis.serving import FewRpcs, serving
from tests.parts.postgres import Server as Postgres


class LockingService(FewRpcs):
    """A service whose EndSession locks two rows, in the order that the request states."""

    def __init__(self) -> None:
        self.both_hold = Barrier(2)
        self.one_is_done = Event()
        self.tries = 0

    def EndSession(self, request: Any, call: Call) -> members_pb2.EndSessionResponse:
        self.tries += 1
        if self.tries > 2:  # otherwise the second try could deadlock with the other call again
            self.one_is_done.wait(5)
        for position, name in enumerate(request.session_secret):
            call.tx.execute(
                "UPDATE things SET number = number + 1 WHERE name = %s RETURNING name", (name,)
            ).fetchone()
            if position == 0 and self.tries <= 2:
                self.both_hold.wait(5)
        return members_pb2.EndSessionResponse()


def test_two_calls_that_wait_for_each_other_both_succeed(
    postgres: Postgres, tmp_path: Path
) -> None:
    pg_database, service = postgres.database(), LockingService()
    pg_database.run_as_owner(
        "CREATE TABLE things (name text, number int); GRANT ALL ON things TO PUBLIC;"
        " INSERT INTO things VALUES ('a', 0), ('b', 0)"
    )
    with serving(pg_database.url, tmp_path, service) as served, ThreadPoolExecutor(2) as callers:

        def end_session(order: str) -> None:
            stub = members_pb2_grpc.TokensStub(served.channel)
            stub.EndSession(members_pb2.EndSessionRequest(session_secret=order), timeout=9)
            service.one_is_done.set()

        list(callers.map(end_session, ["ab", "ba"]))
        with served.database.transaction(SYSTEM) as tx:
            assert tx.execute("SELECT number FROM things").fetchall() == [{"number": 2}] * 2
    assert service.tries == 3
    postgres.drop(pg_database)
