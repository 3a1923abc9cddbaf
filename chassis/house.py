"""The running of a service process: starts its parts in any weather, watches its database, ends cleanly on SIGTERM or Ctrl-C within ten seconds."""

import signal
import threading
from collections.abc import Sequence
from typing import Protocol

from chassis import log, metrics
from chassis.db import Database
from chassis.kafka import Broker
from chassis.rpc import Server

_DRAIN = 5.0


class Part(Protocol):
    """A thread that can be asked to end."""

    def start(self) -> None:
        """Begins."""

    def stop(self) -> None:
        """Asks it to end."""

    def join(self, timeout: float | None = None) -> object:
        """Waits until it has."""


def run(server: Server, database: Database, broker: Broker, parts: Sequence[Part], *, metrics_address: str = "") -> int:
    """Runs until a signal comes; returns the exit code. A database or broker that is away is waited for, and said in the health service."""
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    metrics.serve(metrics_address)
    database.open()
    broker.on_change(lambda answers: server.say("broker", answers))
    broker.start()
    for part in parts:
        part.start()
    server.start()
    log.get().info("started", port=server.port)
    ready = False
    while not ending.wait(1.0 if ready else 0.1):
        if database.reachable() != ready:
            ready = not ready
            server.ready(ready)
            log.get().info("ready" if ready else "not_ready")
    log.get().info("stopping")
    server.stop(_DRAIN)
    for part in parts:
        part.stop()
    for part in parts:
        part.join(3)
    broker.stop()
    database.close()
    log.get().info("stopped")
    return 0
