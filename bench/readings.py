"""Measures how long it takes to list all accesses to a person's file, with a million trail rows."""

from __future__ import annotations

import time

from bench.figures import Measurement, percentile
from protos.referrals.v1 import people_pb2
from tests.parts.local_stack import LocalStack
from tests.parts.stories import Cast

ROWS, ACCESSES, REPETITIONS = 1_000_000, 1_000, 50
# The hashes of these rows form no valid chain, which nothing here verifies. One row in
# ROWS / ACCESSES is an access to the person's file; the others are accesses to the files of 9,990
# other people. Accesses to one file are more than an hour apart, since a worker's accesses in the
# same hour are listed once.
_FILL = (
    "INSERT INTO audit (sequence, time, actor_kind, actor_id, organization_id, action, object_id,"
    " purpose_code, detail_codes, allowed, reason, hash)"
    " SELECT h.sequence + n, now() - n * interval '4 seconds', 'worker', md5((n %% 300)::text),"
    " md5((n %% 50)::text), 'open_identity',"
    " CASE WHEN n %% %(interval)s = 0 THEN %(person_id)s"
    " ELSE md5((n %% 10000)::text) END, 'HOU.EMG', '{contact,identity}', true, '',"
    " sha256(n::text::bytea)"
    " FROM audit_head h, generate_series(1, %(rows)s) AS n"
)


def measure(_stack: LocalStack) -> list[Measurement]:
    """Starts a separate stack to measure in, because the added rows break the trail's chain."""
    stack = LocalStack()
    try:
        stack.start()
        cast = Cast(stack)
        person_id, _receipt = cast.person()
        with stack.database("referrals") as database, database.transaction():
            database.execute("SET LOCAL session_replication_role = replica")
            database.execute("SELECT FROM audit_head FOR UPDATE")
            database.execute(
                _FILL, {"interval": ROWS // ACCESSES, "person_id": person_id, "rows": ROWS}
            )
            database.execute("UPDATE audit_head SET sequence = (SELECT max(sequence) FROM audit)")
            database.execute(
                "UPDATE anomalies_looked SET sequence = (SELECT max(sequence) FROM audit)"
            )  # so that the search for anomalies skips these rows
        with stack.database("referrals") as database:
            database.execute("ANALYZE audit")
        durations = [_time_whole_list(cast, person_id) for _ in range(REPETITIONS)]
    finally:
        stack.stop()
    return [
        Measurement(
            "readings_ms_p99",
            percentile(durations, 99),
            f"{ACCESSES} readings in pages of 200, {ROWS} rows, asked {REPETITIONS} times by gRPC;"
            " beside: the median",
            percentile(durations, 50),
        )
    ]


def _time_whole_list(cast: Cast, person_id: str) -> float:
    began, token, count = time.perf_counter(), "", 0
    while True:
        answer = cast.sender.people.ListReadings(
            people_pb2.ListReadingsRequest(person_id=person_id, page_size=200, page_token=token)
        )
        count, token = count + len(answer.readings), answer.next_page_token
        if not token:
            break
    assert count == ACCESSES, f"{count} of {ACCESSES} readings"
    return (time.perf_counter() - began) * 1000
