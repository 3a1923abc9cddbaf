"""Key rotation while the service is at work: the time to rewrap the keys of 10,000 people."""

from __future__ import annotations

import time

from bench.figures import Measurement
from chassis.db import Database
from chassis.ids import new_id
from chassis.tokens import SYSTEM
from keys import key_folder
from keys.rotation import count_older, rewrap
from services.referrals.__main__ import SEALED
from tests.parts.local_stack import LocalStack

PEOPLE = 10_000


def measure(stack: LocalStack) -> list[Measurement]:
    """Adds the people and another sealing key, and rewraps all keys as `rotate-keys` does."""
    folder = stack.var / "keys"
    keyring = key_folder.keyring(folder, "referrals")
    identifiers = [new_id() for _ in range(PEOPLE)]
    with stack.database("referrals") as database:
        cursor = database.cursor()
        cursor.executemany(
            "INSERT INTO people (id, organization_id, version, create_time, update_time,"
            " names_form) VALUES (%s, %s, 1, now(), now(), 9)",
            [(identifier, identifiers[0]) for identifier in identifiers],
        )
        cursor.executemany(
            "INSERT INTO person_keys (person_id, wrapped) VALUES (%s, %s)",
            [
                (identifier, keyring.new_key(f"person_keys/{identifier}/wrapped")[1])
                for identifier in identifiers
            ],
        )
        database.commit()
        url = database.info.dsn + f" password={database.info.password}"
    key_folder.add_to_ring(folder, "sealing.referrals")
    service = Database(url, max_size=2)
    service.open()
    began = time.perf_counter()
    wrapped_count, broken_count = rewrap(service, key_folder.keyring(folder, "referrals"), SEALED)
    seconds = time.perf_counter() - began
    with service.transaction(SYSTEM) as tx:
        assert (broken_count, count_older(tx, key_folder.keyring(folder, "referrals"), SEALED)) == (
            0,
            0,
        )
    service.close()
    return [
        Measurement(
            "rotation_s",
            seconds,
            f"{wrapped_count} keys of people and notes of contacts, the stack running",
        )
    ]
