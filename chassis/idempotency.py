"""Answers a repeated request with the first answer: the request_id, the effect and the answer are one transaction.

Two calls with the same request_id at the same time: the second waits for the first to commit, then gets its answer. The fingerprint is keyed and
the answer sealed, because both may hold a secret that is shown once.
"""

from datetime import datetime

from chassis.db import Transaction
from chassis.errors import Reused
from chassis.sealing import Keyring


class IdempotencyStore:
    """Keeps request ids with their first answers, sealed."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def fingerprint(self, request: bytes) -> str:
        """What stands for a request without telling it."""
        return self._fingerprint(request).hex()

    def begin(self, tx: Transaction, caller_id: str, request_id: str, method: str, request: bytes) -> bytes | None:
        """The first answer, or None when this is the first time (noted now). Refuses with Reused when the body or method differs."""
        fingerprint = self._fingerprint(request)
        fresh = tx.execute(
            "INSERT INTO requests (caller_id, request_id, method, fingerprint) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (caller_id, request_id, method, fingerprint),
        ).rowcount
        if fresh:
            return None
        row = tx.execute(
            "SELECT method, fingerprint, response FROM requests WHERE caller_id = %s AND request_id = %s", (caller_id, request_id)
        ).fetchone()
        if row is None or row["method"] != method or row["fingerprint"] != fingerprint:
            raise Reused
        return self._keyring.open_bytes(row["response"], f"requests/{caller_id}/{request_id}")

    def complete(self, tx: Transaction, caller_id: str, request_id: str, response: bytes) -> None:
        """Keeps the answer with the request."""
        tx.execute(
            "UPDATE requests SET response = %s WHERE caller_id = %s AND request_id = %s",
            (self._keyring.seal_bytes(response, f"requests/{caller_id}/{request_id}"), caller_id, request_id),
        )

    def _fingerprint(self, request: bytes) -> bytes:
        return self._keyring.fingerprint(request, "requests")


def forget(tx: Transaction, before: datetime) -> int:
    """Forgets requests older than a moment (the contract promises 24 hours); returns how many."""
    return tx.execute("DELETE FROM requests WHERE time < %s", (before,)).rowcount
