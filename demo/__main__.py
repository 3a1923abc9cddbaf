"""`python -m demo`: fills an empty stack with the demo network.

Writes the sign-in accounts and the API keys to the file that ENLACE_DEMO_FILE names, and prints its
progress. `python -m services` starts the demo as soon as the databases are migrated, while the
services start. If the demo is stopped and run again, it adds what is still missing.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from chassis.clock import SystemClock
from chassis.db import Database
from chassis.tokens import SYSTEM
from demo import partners, referrals, steps
from demo.network import Member, Network, id_of, network
from demo.secret_words import DemoSecrets
from keys import key_folder
from keys.sealing import Keyring
from services.notifications.domain.desk import Desk, check_desk
from services.notifications.store import desks

SERVICES = ("partners", "referrals", "notifications")
WAIT_SECONDS = 600.0  # seconds to wait for the next fact; the services may still be starting


def main() -> None:
    """Adds what is missing, and writes the file with the accounts. If there is no such file yet,
    first waits until the referrals service has received the facts.
    """
    key_files = Path(os.environ["ENLACE_KEYS"])
    file = Path(os.environ["ENLACE_DEMO_FILE"])
    demo_network = network()
    demo_secrets = DemoSecrets(key_folder.keyring(key_files, "partners"))
    fill(key_files, demo_network, demo_secrets, SystemClock().now())
    # If the file exists, the facts arrived in an earlier run. Waiting again might never end,
    # because a member may have been removed since.
    if not file.exists():
        wait_until_received(demo_network)
    write(file, demo_network, demo_secrets)


def fill(key_files: Path, demo_network: Network, demo_secrets: DemoSecrets, now: datetime) -> None:
    """Fills the services: first the campaign and the figures, since the campaign records the start
    of the run; then the members; then everything that refers to members.

    Times are relative to `now`, or to the start of an earlier run.
    """
    with _database("referrals") as database:
        now = steps.retry("figures", lambda: referrals.begin(database, demo_network, now))
    with _database("partners") as database:
        partners.fill(database, demo_network, demo_secrets, now)
    with _database("notifications") as database:
        _fill_desks(database, key_folder.keyring(key_files, "notifications"), demo_network, now)
    with _database("referrals") as database:
        referrals.fill(database, key_files, demo_network, demo_secrets, now)


def wait_until_received(demo_network: Network, patience: float = WAIT_SECONDS) -> None:
    """Waits until the referrals service has received the facts about all members and services.

    The referrals service refuses a request that names a member or service whose facts have not
    arrived; once the stack reports "ready", nobody must get such a refusal. Exits if no fact
    arrives for `patience` seconds.
    """
    ids = (
        [member.id for member in demo_network.members.values()],
        [offer.id for offer in demo_network.offers.values()],
    )
    total, last_count, end = sum(map(len, ids)), -1, 0.0
    with _database("referrals") as database:
        while (count := steps.retry("facts", lambda: _count_received(database, *ids))) < total:
            if count > last_count:
                print(f"facts about members and services: {count} of {total}", flush=True)
                last_count, end = count, time.monotonic() + patience
            elif time.monotonic() > end:
                raise SystemExit(
                    f"{count} of {total} facts about members and services have arrived, none"
                    f" of them in the last {patience:g} seconds"
                )
            time.sleep(0.1)


def _count_received(database: Database, members: list[str], services: list[str]) -> int:
    with database.transaction(SYSTEM) as tx:
        row = tx.execute(
            "SELECT (SELECT count(*) FROM directory_services WHERE id = ANY(%s)) + (SELECT count(*)"
            " FROM members WHERE id = ANY(%s)) AS received",
            (services, members),
        ).fetchone()
    return int(row["received"]) if row else 0


def _fill_desks(database: Database, keyring: Keyring, demo_network: Network, now: datetime) -> None:
    def save_desk(member: Member) -> None:
        desk = Desk(member.id, "en" if member.country == "US" else "es", member.desk)
        check_desk(desk)
        with database.transaction(SYSTEM) as tx:
            if not tx.execute(
                "SELECT 1 FROM desks WHERE organization_id = %s", (member.id,)
            ).fetchone():
                desks.save(tx, keyring, desk, now)

    steps.fill_each("desks", demo_network.members.values(), save_desk)


def write(file: Path, demo_network: Network, demo_secrets: DemoSecrets) -> None:
    """Writes the addresses, accounts, API keys and references for trying the network.

    Only the owner can read the file. The file appears complete or not at all.
    """
    content = {
        "gateway": os.environ.get("ENLACE_PUBLIC_URL")
        or f"http://{os.environ['ENLACE_HTTP_LISTEN']}",
        "grpc": {service: os.environ[f"ENLACE_{service.upper()}_ADDRESS"] for service in SERVICES},
        "accounts": [
            {
                "email": worker.email,
                "password": demo_secrets.password(worker.email),
                "role": worker.roles[-1],
                "organization": demo_network.members[worker.organization].name,
            }
            for worker in demo_network.workers
        ],
        "api_keys": [
            {
                "key": partners.api_key(key, demo_secrets),
                "organization": demo_network.members[key.organization].name,
                "scopes": list(key.scopes),
            }
            for key in demo_network.keys
        ],
        # references and PINs of people who called the line, to try the public page with
        "references": [
            {"reference": demo_secrets.reference(contact), "pin": demo_secrets.pin(contact)}
            for contact in (
                id_of("contact", word) for word in ("hospital", "protection", "tonight")
            )
        ],
    }
    new_file = file.with_suffix(".new")
    with os.fdopen(os.open(new_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        json.dump(content, out, indent=1, ensure_ascii=False)
    new_file.replace(file)


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
