"""`python -m demo`: fills an empty stack with the demo network and writes how to sign in to ENLACE_DEMO_FILE.

Started by `python -m services` when all services answer. Run again it finds everything and only writes the file.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from chassis import keys
from chassis.clock import SystemClock
from chassis.db import Database
from chassis.tokens import SYSTEM
from demo import partners, referrals
from demo.network import Network, id_of, network
from demo.secret_words import Words
from services.notifications.domain.desk import Desk, check
from services.notifications.store import desks

SERVICES = ("partners", "referrals", "notifications")


def main() -> None:
    """Members first: what follows is about them."""
    directory, now, demo_network = Path(os.environ["ENLACE_KEYS"]), SystemClock().now(), network()
    words = Words(keys.keyring(directory, "partners"))
    with _database("partners") as database:
        partners.fill(database, demo_network, words, now)
    with _database("notifications") as database, database.transaction(SYSTEM) as tx:
        keyring = keys.keyring(directory, "notifications")
        if not desks.fetch(tx, keyring, id_of("organization", "coalicion")).email:
            for member in demo_network.members.values():
                desk = Desk(member.id, "en" if member.country == "US" else "es", member.desk)
                check(desk)
                desks.keep(tx, keyring, desk, now)
    with _database("referrals") as database:
        referrals.fill(database, directory, demo_network, words, now)
        _wait_until_heard(
            database, [offer.id for offer in demo_network.offers.values()], [member.id for member in demo_network.members.values()]
        )
    _write(Path(os.environ["ENLACE_DEMO_FILE"]), demo_network, words)


def _wait_until_heard(database: Database, services: list[str], members: list[str], patience: float = 15) -> None:
    """A referral to a service or member that referrals has not heard of is refused: whoever reads "ready" must not meet that. Facts take some seconds to come."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        with database.transaction(SYSTEM) as tx:
            row = tx.execute(
                "SELECT (SELECT count(*) FROM directory_services WHERE id = ANY(%s)) + (SELECT count(*) FROM members WHERE id = ANY(%s)) AS heard",
                (services, members),
            ).fetchone()
        if row and row["heard"] == len(services) + len(members):
            return
        time.sleep(0.1)


def _write(file: Path, demo_network: Network, words: Words) -> None:
    """How to join: for its owner's eyes alone, and there whole or not at all."""
    content = {
        "gateway": os.environ.get("ENLACE_PUBLIC_URL") or f"http://{os.environ['ENLACE_HTTP_LISTEN']}",
        "grpc": {service: os.environ[f"ENLACE_{service.upper()}_ADDRESS"] for service in SERVICES},
        "accounts": [
            {
                "email": worker.email,
                "password": words.password(worker.email),
                "role": worker.roles[-1],
                "organization": demo_network.members[worker.organization].name,
            }
            for worker in demo_network.workers
        ],
        "api_keys": [
            {"key": partners.api_key(key, words), "organization": demo_network.members[key.organization].name, "scopes": list(key.scopes)}
            for key in demo_network.keys
        ],
        # A caller's reference and PIN, to try the public page with.
        "references": [
            {"reference": words.reference(contact), "pin": words.pin(contact)}
            for contact in (id_of("contact", word) for word in ("hospital", "protection", "tonight"))
        ],
    }
    new = file.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        json.dump(content, out, indent=1, ensure_ascii=False)
    new.replace(file)


@contextlib.contextmanager
def _database(service: str) -> Iterator[Database]:
    database = Database(os.environ[f"ENLACE_{service.upper()}_DATABASE_URL"], max_size=2)
    database.open()
    try:
        yield database
    finally:
        database.close()


if __name__ == "__main__":
    main()
