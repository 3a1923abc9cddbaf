"""A process that only publishes the facts of an outbox.

`python -m tests.chassis.publisher DATABASE_URL BROKER TOPIC KEYS MAX_SILENCE`. Its connections
carry its process id in their names. The process ends when its standard input is closed.
"""

import os
import sys
from pathlib import Path

from chassis import locks
from chassis.clock import SystemClock
from chassis.db import Database
from facts.broker import Broker
from facts.kafka import REPLAYS
from facts.relay import Relay
from keys import key_folder
from keys.sealing import Signer
from tests.chassis.world import settings


def main(url: str, bootstrap: str, topic: str, folder: str, max_silence: str) -> None:
    locks.MAX_SILENCE = float(max_silence)
    connect = Database._connect
    Database._connect = lambda self, name: connect(self, f"{name}-{os.getpid()}")  # type: ignore[method-assign]
    database = Database(url, max_size=2)
    watch = Broker(settings(bootstrap), [topic, REPLAYS])
    database.open()
    watch.start()
    Relay(
        "publisher",
        topic,
        database,
        watch,
        Signer(key_folder.signing(Path(folder), "facts.publisher")),
        SystemClock(),
    ).loop().start()
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
