"""The trail: how fast its chain is computed anew."""

from __future__ import annotations

import time

from bench.figures import Measured
from chassis import audit
from tests.parts.local_stack import LocalStack

ROWS, CHUNK = 100_000, 500  # a row of the head has so many versions until the end of its transaction, and each is passed over
_FILL = (
    "INSERT INTO audit (time, actor_kind, actor_id, organization_id, action, object_id, purpose_code, detail_codes, allowed)"
    " SELECT now(), 'worker', md5(n::text), md5((n %% 50)::text), 'get_referral', md5((-n)::text), 'HOU.EMG', '{contact,identity}', true"
    " FROM generate_series(%s::int + 1, %s) AS n"
)


def measure(stack: LocalStack) -> list[Measured]:
    """Fills the trail of referrals as its service's role would, and verifies all of it."""
    with stack.database("referrals") as database:
        began = time.perf_counter()
        for row in range(0, ROWS, CHUNK):
            database.execute(_FILL, (row, row + CHUNK))
            database.commit()
        filled = time.perf_counter() - began
        end = audit.head(database)
        began = time.perf_counter()
        last, findings = audit.verify(database, audit.START, end.sequence, {})
        seconds = time.perf_counter() - began
    assert last == end, "the trail does not fit"
    assert not findings, "the trail does not fit"
    return [
        Measured(
            "audit_verify_rows_per_s",
            end.sequence / seconds,
            f"{end.sequence} rows, one thread; beside: rows chained a second",
            ROWS / filled,
        )
    ]
