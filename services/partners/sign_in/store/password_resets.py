"""Links for setting a new password, and requests for such links.

Only hashes of secrets are stored, and addresses are sealed.
"""

from datetime import datetime

from chassis.announcements import AT_ONCE, announce
from chassis.db import Row, Transaction
from chassis.ids import new_id
from keys.sealing import CannotOpen, Keyring
from services.partners.members.store.account_notices import publish
from services.partners.sign_in.domain.password_reset import LINK_LIFE, PasswordReset

REQUESTS = "password_reset_requests"
"""The channel that announces requests."""


def add_request(tx: Transaction, keyring: Keyring, email: str, now: datetime) -> None:
    """Stores a request without checking whether the account exists."""
    id = new_id()
    tx.execute(
        "INSERT INTO password_reset_requests (id, email, create_time) VALUES (%s, %s, %s)",
        (id, keyring.seal(email, _context(id)), now),
    )
    announce(tx, REQUESTS, AT_ONCE)


def next_time(tx: Transaction) -> datetime | None:
    """Returns when the next request is due: AT_ONCE if there is any request, otherwise None."""
    return AT_ONCE if tx.execute("SELECT FROM password_reset_requests LIMIT 1").fetchall() else None


def take_requests(tx: Transaction, keyring: Keyring, limit: int) -> list[tuple[str, datetime]]:
    """Deletes the oldest requests, at most `limit`, so that each request is handled once.

    Returns them as (address, time). A request that can't be opened raises an alarm instead.
    """
    rows = tx.execute(
        "DELETE FROM password_reset_requests WHERE id IN"
        " (SELECT id FROM password_reset_requests ORDER BY create_time, id"
        " LIMIT %s FOR UPDATE SKIP LOCKED) RETURNING *",
        (limit,),
    ).fetchall()
    requests = []
    for row in sorted(rows, key=lambda row: (row["create_time"], row["id"])):
        try:
            requests.append((keyring.open(row["email"], _context(row["id"])), row["create_time"]))
        except CannotOpen as error:  # a damaged request must not block the others
            error.alarm()
    return requests


def add(tx: Transaction, reset: PasswordReset, token_hash: bytes, sealed_letter: bytes) -> None:
    """Stores a new link with its fact. The fact carries the sealed e-mail.

    The caller must have locked the account, and ended the previous link.
    """
    tx.execute(
        "INSERT INTO password_resets (id, version, worker_id, token_hash, expire_time, create_time)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        (
            reset.id,
            reset.version,
            reset.worker_id,
            token_hash,
            reset.expire_time,
            reset.create_time,
        ),
    )
    publish(tx, reset, sealed_letter)


def by_token(tx: Transaction, token_hash: bytes) -> PasswordReset | None:
    """Returns the link whose secret has this hash; None if there is none."""
    row = tx.execute(f"{_SELECT} WHERE r.token_hash = %s", (token_hash,)).fetchone()
    return _read(row) if row else None


def by_worker(tx: Transaction, worker_id: str) -> PasswordReset | None:
    """Returns an account's link; None if it has none."""
    row = tx.execute(f"{_SELECT} WHERE r.worker_id = %s", (worker_id,)).fetchone()
    return _read(row) if row else None


def end(tx: Transaction, reset: PasswordReset, sealed_letter: bytes = b"") -> None:
    """Deletes a link, and publishes its facts."""
    tx.execute("DELETE FROM password_resets WHERE id = %s", (reset.id,))
    publish(tx, reset, sealed_letter)


def forget(tx: Transaction, now: datetime) -> int:
    """Deletes expired links, and requests that were not handled for LINK_LIFE; returns how many."""
    deleted_links = tx.execute(
        "DELETE FROM password_resets WHERE expire_time <= %s", (now,)
    ).rowcount
    return (
        deleted_links
        + tx.execute(
            "DELETE FROM password_reset_requests WHERE create_time <= %s", (now - LINK_LIFE,)
        ).rowcount
    )


_SELECT = (
    "SELECT r.*, w.organization_id FROM password_resets AS r"
    " JOIN workers AS w ON w.id = r.worker_id"
)


def _read(row: Row) -> PasswordReset:
    return PasswordReset(
        id=row["id"],
        version=row["version"],
        create_time=row["create_time"],
        update_time=row["create_time"],
        worker_id=row["worker_id"],
        organization_id=row["organization_id"],
        expire_time=row["expire_time"],
    )


def _context(id: str) -> str:
    return f"password_reset_requests/{id}/email"
