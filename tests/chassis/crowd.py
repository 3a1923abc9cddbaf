"""A directory service whose calls wait until the test releases them.

A caller is named by a letter, which also fills the caller's id. The calls of NEIGHBOUR do not wait.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from chassis.rpc import Call
from chassis.tokens import Caller
from protos.partners.v1 import directory_pb2 as pb
from protos.partners.v1 import directory_pb2_grpc
from tests.chassis.serving import FewRpcs, Served, serving
from tests.chassis.world import MIGRATIONS
from tests.parts.postgres import Server as Postgres

NEIGHBOUR = "n"


class CrowdedService(FewRpcs):
    """A service with one rpc, whose started calls are counted by caller."""

    served: Served

    def __init__(self) -> None:
        self.started_calls = Counter[str]()
        self.release = threading.Event()
        self._lock = threading.Lock()

    def ListOrganizations(
        self, request: pb.ListOrganizationsRequest, call: Call
    ) -> pb.ListOrganizationsResponse:
        caller = call.caller.id[0]
        with self._lock:
            self.started_calls[caller] += 1
        if caller != NEIGHBOUR:
            self.release.wait(20)
        return pb.ListOrganizationsResponse()

    def issue_token(self, caller: str) -> tuple[str, datetime]:
        """Returns a new token of a caller, and its expiry time."""
        worker = Caller(caller * 32, "worker", "o" * 32, frozenset({"COORDINATOR"}))
        return self.served.issuer.issue(worker, "enlace.tests")

    def call(
        self, caller: str, *, token: str = "", timeout: float = 20, channel: Any = None
    ) -> Any:
        """Starts a call; returns its future."""
        stub: Any = directory_pb2_grpc.DirectoryStub(channel or self.served.channel)
        return stub.ListOrganizations.future(
            pb.ListOrganizationsRequest(),
            metadata=(("authorization", f"Bearer {token or self.issue_token(caller)[0]}"),),
            timeout=timeout,
        )

    def call_count(self) -> int:
        """Returns the number of calls that run or wait for a thread."""
        return self.served.server._pool._call_count


@contextmanager
def crowded_service(
    postgres: Postgres, folder: Path, threads: int, **options: Any
) -> Iterator[CrowdedService]:
    """Serves the service with `threads` threads until the block ends."""
    service = CrowdedService()
    url = postgres.database("tests", MIGRATIONS).url
    directory = pb.DESCRIPTOR.services_by_name["Directory"]
    with serving(url, folder, service, directory, threads=threads, **options) as served:
        service.served = served
        try:
            yield service
        finally:
            service.release.set()


def outcome(call: Any) -> str:
    """Waits for the end of a call; returns the name of its status."""
    return "OK" if call.exception() is None else str(call.code().name)
