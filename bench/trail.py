"""The trail: how fast its chain is recomputed, with a check of the marks of its rows."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from hashlib import sha256

from bench.figures import Measurement
from chassis import audit
from chassis.audit import Entry, Marker
from chassis.db import Database
from chassis.ids import new_id
from chassis.tokens import SYSTEM, Caller, Evidence
from keys import key_folder
from tests.parts.local_stack import LocalStack
from trail import chain

# a transaction creates CHUNK versions of the head's row, and each update skips all earlier versions
ROWS, CHUNK = 100_000, 500


def measure(stack: LocalStack) -> list[Measurement]:
    """Fills the trail of referrals as the service does, and verifies all of it."""
    database = Database(
        stack.database_url("referrals"),
        max_size=1,
        marker=Marker(key_folder.keyring(stack.var / "keys", "referrals")),
    )
    database.open()
    caller = Caller(
        new_id(),
        "worker",
        new_id(),
        token=Evidence(sha256(b"token").hexdigest(), datetime.now(UTC)),
    )
    began = time.perf_counter()
    for _ in range(0, ROWS, CHUNK):
        with database.transaction(SYSTEM, timeout=60) as tx:
            entries = [
                Entry("get_referral", new_id(), "HOU.EMG", ("contact", "identity"))
                for _ in range(CHUNK)
            ]
            audit.record(tx, caller, datetime.now(UTC), entries)
    fill_seconds = time.perf_counter() - began
    with database.transaction(SYSTEM, timeout=600) as tx:
        end, marked = audit.head(tx), chain.first_marked_sequence(tx)
        began = time.perf_counter()
        last, findings = chain.verify(tx, audit.START, end.sequence, {}, marked)
        seconds = time.perf_counter() - began
    database.close()
    assert last == end, "the recomputed head differs"
    assert not findings, findings[:3]
    return [
        Measurement(
            "audit_verify_rows_per_s",
            end.sequence / seconds,
            f"{end.sequence} rows, one thread; beside: rows chained a second",
            ROWS / fill_seconds,
        )
    ]
