"""Calls whose transactions wait for each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import psycopg

from chassis.rpc import Call
from protos.partners.v1 import members_pb2
from tests.chassis.test_migrated import serving
from tests.parts.postgres import Server as Postgres


class LockingService:
    """A service whose EndSession locks two rows, in the order that the request states."""

    def __init__(self) -> None:
        self.both_hold = Barrier(2)
        self.one_is_done = Event()
        self.tries = 0

    def __getattr__(self, rpc: str) -> Any:
        return print  # no other rpc is called

    def EndSession(self, request: Any, call: Call) -> members_pb2.EndSessionResponse:
        self.tries += 1
        if self.tries > 2:  # or the second try could meet the other call half-way again
            self.one_is_done.wait(5)
        for place, name in enumerate(request.session_secret):
            call.tx.execute(
                "UPDATE things SET number = number + 1 WHERE name = %s RETURNING name", (name,)
            ).fetchone()
            if place == 0 and self.tries <= 2:
                self.both_hold.wait(5)
        return members_pb2.EndSessionResponse()


def test_two_calls_that_wait_for_each_other_both_succeed(
    postgres: Postgres, tmp_path: Path
) -> None:
    place, service = postgres.database(), LockingService()
    with psycopg.connect(place.migration_url) as owner:
        owner.execute(
            "CREATE TABLE things (name text, number int); GRANT ALL ON things TO PUBLIC;"
            " INSERT INTO things VALUES ('a', 0), ('b', 0)"
        )
    with (
        serving(place, tmp_path, service) as (_, stub),
        ThreadPoolExecutor(2) as callers,
    ):

        def ask(order: str) -> None:
            stub.EndSession(members_pb2.EndSessionRequest(session_secret=order), timeout=9)
            service.one_is_done.set()

        list(callers.map(ask, ["ab", "ba"]))
    assert service.tries == 3
    with psycopg.connect(place.migration_url) as owner:
        assert owner.execute("SELECT number FROM things").fetchall() == [(2,), (2,)]
    postgres.drop(place)
