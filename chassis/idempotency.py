"""Answers a repeated request with the first response. The request_id, the effect and the response
are written in one transaction.

Of two parallel calls with the same request_id, the second waits for the first to commit and gets
its response. A request or response may hold a reference, a PIN, a note, or a secret that is shown
once. So the fingerprint and the key of the response derive from the service's key *and* the
request_id, which is not stored: the database and the service's key are not enough to open the
response. Limitation: a response is not protected if its request_id can be guessed; Enlace's own
ids, and UUIDs, can't be guessed.
"""

from collections.abc import Callable
from datetime import datetime
from hashlib import sha256

from chassis.db import Transaction
from chassis.errors import Reused
from keys.sealing import Keyring


class IdempotencyStore:
    """Stores the fingerprint of each request, and the first response to it, sealed."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def fingerprint(self, request: bytes) -> str:
        """Returns a keyed hash of a request."""
        return self._keyring.fingerprint(request, "requests").hex()

    def store_request(
        self, tx: Transaction, caller_id: str, request_id: str, method: str, request: bytes
    ) -> Callable[[], bytes | None]:
        """Stores the request if it is new, and returns a function that waits for the result: the
        first response, or None if the request was new. The function raises Reused if the body or
        the method differs from those of the first request.

        Version 0.1 stored a request under its request_id with the service's key alone; such rows
        exist for a day after an update.
        """
        key, row_id = self._key(caller_id, request_id), stored_id(caller_id, request_id)
        parameters = {
            "caller": caller_id,
            "row_id": row_id,
            "old_id": request_id,
            "method": method,
        }
        fingerprint = key.fingerprint(request, "requests")
        inserted = tx.execute(
            "INSERT INTO requests (caller_id, request_id, method, fingerprint)"
            " SELECT %(caller)s, %(row_id)s, %(method)s, %(fingerprint)s"
            " WHERE NOT EXISTS (SELECT FROM requests WHERE caller_id = %(caller)s"
            " AND request_id = %(old_id)s) ON CONFLICT DO NOTHING",
            parameters | {"fingerprint": fingerprint},
        )

        def first_response() -> bytes | None:
            if inserted.rowcount:
                return None
            row = tx.execute(
                "SELECT request_id, method, fingerprint, response FROM requests"
                " WHERE caller_id = %(caller)s AND request_id IN (%(row_id)s, %(old_id)s)"
                " ORDER BY request_id = %(old_id)s DESC LIMIT 1",
                parameters,
            ).fetchone()
            stored_with = key, row_id, fingerprint
            if row is not None and row["request_id"] == request_id:
                old_fingerprint = self._keyring.fingerprint(request, "requests")
                stored_with = self._keyring, request_id, old_fingerprint
            if row is None or (row["method"], row["fingerprint"]) != (method, stored_with[2]):
                raise Reused
            return stored_with[0].open_bytes(
                row["response"], f"requests/{caller_id}/{stored_with[1]}"
            )

        return first_response

    def store_response(
        self, tx: Transaction, caller_id: str, request_id: str, response: bytes
    ) -> None:
        """Stores the response with its request."""
        row_id = stored_id(caller_id, request_id)
        sealed = self._key(caller_id, request_id).seal_bytes(
            response, f"requests/{caller_id}/{row_id}"
        )
        tx.execute(
            "UPDATE requests SET response = %s WHERE caller_id = %s AND request_id = %s",
            (sealed, caller_id, row_id),
        )

    def _key(self, caller_id: str, request_id: str) -> Keyring:
        return Keyring(
            self._keyring.fingerprint(f"{caller_id}/{request_id}".encode(), "request_key")
        )


def stored_id(caller_id: str, request_id: str) -> str:
    """Returns the id under which a request is stored; two callers may use the same request_id."""
    return sha256(f"{caller_id}/{request_id}".encode()).hexdigest()


def forget(tx: Transaction, before: datetime) -> int:
    """Deletes requests older than `before`; returns how many it deleted. The contract promises
    that requests are stored for 24 hours.
    """
    return tx.execute("DELETE FROM requests WHERE time < %s", (before,)).rowcount
