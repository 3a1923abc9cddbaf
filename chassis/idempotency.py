"""Answers a repeated request with the first answer: the request_id, the effect and the answer are
one transaction.

Two calls with the same request_id at the same time: the second waits for the first to commit, then
gets its answer. Both may hold a reference, a PIN, a note, or a secret that is shown once: so the
fingerprint and the key of the answer derive from the service's key *and* the request_id, which is
not kept. Who has the database and the service's key opens none of it. Limit: a request_id that can
be guessed; ours and UUIDs can't.
"""

from datetime import datetime
from hashlib import sha256

from chassis.db import Transaction
from chassis.errors import Reused
from keys.sealing import Keyring


class IdempotencyStore:
    """Keeps that there was a request, with its first answer, sealed."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def fingerprint(self, request: bytes) -> str:
        """What stands for a request without telling it."""
        return self._keyring.fingerprint(request, "requests").hex()

    def begin(
        self, tx: Transaction, caller_id: str, request_id: str, method: str, request: bytes
    ) -> bytes | None:
        """The first answer, or None when this is the first time (noted now).

        Refuses with Reused when the body or method differs.

        Version 0.1 kept a request under its request_id, with the service's key alone; for a day
        after an update there are such rows.
        """
        key, kept_as = self._key(caller_id, request_id), stored_id(caller_id, request_id)
        request_as = {
            "caller": caller_id,
            "kept_as": kept_as,
            "before": request_id,
            "method": method,
        }
        fingerprint = key.fingerprint(request, "requests")
        fresh = tx.execute(
            "INSERT INTO requests (caller_id, request_id, method, fingerprint)"
            " SELECT %(caller)s, %(kept_as)s, %(method)s, %(fingerprint)s"
            " WHERE NOT EXISTS (SELECT FROM requests WHERE caller_id = %(caller)s"
            " AND request_id = %(before)s) ON CONFLICT DO NOTHING",
            request_as | {"fingerprint": fingerprint},
        ).rowcount
        if fresh:
            return None
        row = tx.execute(
            "SELECT request_id, method, fingerprint, response FROM requests"
            " WHERE caller_id = %(caller)s AND request_id IN (%(kept_as)s, %(before)s)"
            " ORDER BY request_id = %(before)s DESC LIMIT 1",
            request_as,
        ).fetchone()
        if row is not None and row["request_id"] == request_id:
            key, kept_as, fingerprint = (
                self._keyring,
                request_id,
                self._keyring.fingerprint(request, "requests"),
            )
        if row is None or row["method"] != method or row["fingerprint"] != fingerprint:
            raise Reused
        return key.open_bytes(row["response"], f"requests/{caller_id}/{kept_as}")

    def complete(self, tx: Transaction, caller_id: str, request_id: str, response: bytes) -> None:
        """Keeps the answer with the request."""
        kept_as = stored_id(caller_id, request_id)
        sealed = self._key(caller_id, request_id).seal_bytes(
            response, f"requests/{caller_id}/{kept_as}"
        )
        tx.execute(
            "UPDATE requests SET response = %s WHERE caller_id = %s AND request_id = %s",
            (sealed, caller_id, kept_as),
        )

    def _key(self, caller_id: str, request_id: str) -> Keyring:
        return Keyring(
            self._keyring.fingerprint(f"{caller_id}/{request_id}".encode(), "request_key")
        )


def stored_id(caller_id: str, request_id: str) -> str:
    """The id under which a request is kept: two callers' ids may be the same."""
    return sha256(f"{caller_id}/{request_id}".encode()).hexdigest()


def forget(tx: Transaction, before: datetime) -> int:
    """Forgets requests older than a moment (the contract promises 24 hours); returns how many."""
    return tx.execute("DELETE FROM requests WHERE time < %s", (before,)).rowcount
