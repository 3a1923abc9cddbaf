"""The parts that every service process has. Each object is created here once, after the objects
that it needs.

The `__main__` of a service creates the other objects of that service. A service is one process, or
several on a machine with many cores: processes that answer calls, and one with the loops.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import click

from chassis import metrics
from chassis.audit import Marker
from chassis.clock import Clock, SystemClock
from chassis.config import ServiceSettings, WrongSettings, listening
from chassis.db import Database, Transaction
from chassis.rpc import Servicer
from chassis.server import Server
from chassis.supervisor import Loop
from chassis.tokens import AddressReader, Caller, Verifier
from facts.broker import Broker
from facts.kafka import REPLAYS
from facts.relay import Relay, Replays
from facts.witness import Witness
from keys import key_folder, sealing_keys
from keys.check import KeyCheck
from keys.rotation import DEAD_LETTERS
from keys.sealing import Keyring, Signer
from runtime import service_runner
from runtime.held_facts import HeldFacts
from runtime.sweeper import Sweeper
from trail import heads
from trail.heads import Heads

CALLS, LOOPS = "calls", "loops"
only_option = click.option(
    "--only",
    type=click.Choice([CALLS, LOOPS]),
    help="Only answer calls, or only run the loops. A network needs both kinds of process.",
)


@dataclass(frozen=True)
class Parts:
    """The parts of a service process. `topic` is the topic of the facts that the service publishes.

    `only` is CALLS or LOOPS for a process that does only that, and None for a whole service.
    """

    name: str
    topic: str
    settings: ServiceSettings
    clock: Clock
    keyring: Keyring
    signer: Signer
    verifier: Verifier
    addresses: AddressReader
    database: Database
    broker: Broker
    heads: Heads
    key_check: KeyCheck
    only: str | None = None

    def server(self, servicers: Sequence[Servicer]) -> Server:
        """Returns a server with these servicers, configured by the settings. In a process that only
        runs loops, the server has health checks only.
        """
        settings = self.settings
        with listening("ENLACE_LISTEN"):
            return Server(
                settings.listen,
                [] if self.only == LOOPS else servicers,
                self.addresses,
                threads=settings.rpc_threads,
                reflect=settings.reflection,
                caller_rate=settings.caller_rate,
            )

    def loops(self, sweep: Callable[[Transaction, datetime], object]) -> list[Loop]:
        """Returns the background loops that every service has: they publish facts, repeat facts on
        request, and delete expired rows (`sweep`).
        """
        return [
            Relay(
                self.name, self.topic, self.database, self.broker, self.signer, self.clock
            ).loop(),
            Replays(self.name, self.topic, self.database, self.broker).loop(),
            Sweeper(self.database, self.clock, sweep).loop(),
        ]

    def witness(self, topic: str, publisher: str, kind: str) -> Loop:
        """Returns a loop that stores the records of another service's topic (facts of type `kind`),
        and publishes them again if the broker has lost them.
        """
        # of all services, since other witnesses answer in the topic, too
        trusted_signers = key_folder.trusted_signers(self.settings.keys)
        return Witness(
            self.name,
            topic,
            publisher,
            kind,
            self.database,
            self.broker,
            self.signer,
            trusted_signers,
            self.clock,
        ).loop()

    def run(
        self,
        server: Server,
        loops: Sequence[Loop],
        *,
        for_calls: Sequence[Loop] = (),
        ready: Callable[[], bool] = lambda: True,
    ) -> int:
        """Runs until a signal, or until the keys are found to be wrong; returns the exit code.

        `for_calls` are the loops without which calls can't be answered: each process that answers
        calls runs them. `ready` returns True if such a process has everything that it needs in
        addition to these parts.
        """
        all_loops = [self.key_check.loop(), self.heads.loop()]
        if self.only == CALLS:
            all_loops.append(HeldFacts(self.database, server).loop())
        else:
            all_loops += loops
        if self.only != LOOPS:
            all_loops += for_calls
        return service_runner.run(
            server, self.database, self.broker, all_loops, problem=lambda: self.key_check.problem,
            usable=lambda: self.key_check.confirmed and (self.only == LOOPS or ready()),
            metrics_address=self.settings.metrics_listen,
        )  # fmt: skip


def make(
    name: str,
    topic: str,
    settings: ServiceSettings,
    *,
    only: str | None = None,
    other_topics: Sequence[str] = (),
    view_of: Callable[[Caller], str] = lambda caller: "",
    sealed_tables: Iterable[str] = (),
) -> Parts:
    """Creates the parts; reads the keys, but starts no loop, and connects to neither the database
    nor the broker yet.

    `only` is as in Parts. `other_topics` lists the topics of other services that this service
    reads; `view_of` is as in Database. `sealed_tables` are the service's own tables with sealed
    values.
    """
    if not settings.database_url:  # an empty URL would mean this machine's default database
        raise WrongSettings("wrong settings: ENLACE_DATABASE_URL is not set")
    # shown before the first event, as in metrics.publish_loop_state
    for table in (DEAD_LETTERS.table, *sealed_tables):
        metrics.ROWS_UNREADABLE.labels(table)
    clock = SystemClock()
    keyring = sealing_keys.of(settings, name).keyring()
    signer = Signer(key_folder.signing(settings.keys, f"facts.{name}"))
    token_keys = key_folder.FileCache(
        settings.keys, "tokens*.pub.jwk", partial(key_folder.all_verifying, settings.keys, "tokens")
    )
    verifier = Verifier(token_keys, f"enlace.{name}", clock)
    gateway_keys = key_folder.FileCache(
        settings.keys,
        "calls.gateway*.pub.jwk",
        partial(key_folder.all_verifying, settings.keys, "calls.gateway"),
    )
    addresses = AddressReader(gateway_keys, f"enlace.{name}", clock)
    database = Database(settings.database_url, view_of=view_of, marker=Marker(keyring))
    broker = Broker(settings, [topic, *other_topics, REPLAYS, heads.TOPIC])
    audit_heads = Heads(
        name, database, broker, signer, key_folder.trusted_signers(settings.keys), clock
    )
    return Parts(
        name,
        topic,
        settings,
        clock,
        keyring,
        signer,
        verifier,
        addresses,
        database,
        broker,
        audit_heads,
        KeyCheck(database, keyring),
        only,
    )
