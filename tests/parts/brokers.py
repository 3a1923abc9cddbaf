"""Apache Kafka for tests, as the local stack runs it, in a folder of its own."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from local import broker


class Broker(broker.Broker):
    """A broker of one node on one port; `close` ends it and deletes its folder."""

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="enlace-test-kafka-"))
        super().__init__(self._home / "kafka", self._home / "broker.log")

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._home, ignore_errors=True)


def restart_without_data(created: broker.Broker) -> None:
    """Restarts the broker without its data, as another cluster; this simulates a lost disk."""
    created.kill()
    shutil.rmtree(created.data)
    created.start()
