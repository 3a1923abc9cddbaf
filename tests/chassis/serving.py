"""A gRPC server with one service, in this process, and an issuer of tokens for its callers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from chassis.clock import Clock, SystemClock
from chassis.db import Database, Transaction
from chassis.idempotency import IdempotencyStore
from chassis.rpc import Servicer
from chassis.server import Server
from chassis.tokens import Caller, Issuer, Verifier
from keys import key_folder
from keys.sealing import Keyring
from protos.partners.v1 import members_pb2

THREADS = 8
TOKENS = members_pb2.DESCRIPTOR.services_by_name["Tokens"]


class FewRpcs:
    """The base of services that implement only the rpcs that a test calls."""

    def __getattr__(self, rpc: str) -> Any:
        return print  # any callable: the server looks up each rpc, but a test calls no other


@dataclass
class Served:
    """A running server and its parts, and a channel to it."""

    database: Database
    verifier: Verifier
    servicer: Servicer
    server: Server
    issuer: Issuer
    channel: grpc.Channel


@contextmanager
def serving(
    url: str,
    keys: Path,
    service: object,
    descriptor: ServiceDescriptor = TOKENS,
    *,
    threads: int = THREADS,
    clock: Clock | None = None,
    check_standing: Callable[[Transaction, Caller], None] = lambda tx, caller: None,
) -> Iterator[Served]:
    """Serves the rpcs of a service on a database until the block ends."""
    clock = clock or SystemClock()
    key_folder.create(keys, [])
    database = Database(url)
    database.fit(threads, 1)
    database.open()
    verifier = Verifier(key_folder.verifying(keys, "tokens"), "enlace.tests", clock)
    servicer = Servicer(
        descriptor,
        service,
        database=database,
        verifier=verifier,
        idempotency=IdempotencyStore(Keyring(bytes(32))),
        clock=clock,
        check_standing=check_standing,
    )
    server = Server("127.0.0.1:0", [servicer], threads=threads, reflect=False, caller_rate=100_000)
    server.start()
    assert database.reachable()
    issuer = Issuer(key_folder.signing(keys, "tokens"), clock)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield Served(database, verifier, servicer, server, issuer, channel)
    finally:
        server.stop(0).wait(10)
        database.close()
