"""Handles the rpcs for auditors: search and verification of the trail, and anomalies."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chassis import audit
from chassis.audit import START, Entry, Head
from chassis.db import Transaction, elevate_to_system_scope
from chassis.ids import object_id
from chassis.rpc import Call
from chassis.wire import (
    ANY_YEAR,
    Cursor,
    PageTokens,
    moment,
    number,
    optional_id,
    page_size,
    timestamp,
    version,
    word,
)
from protos.referrals.v1 import audit_pb2 as pb
from services.referrals.people.store import anomalies, trail_rows
from services.referrals.people.wire.messages import anomaly_message
from trail import chain
from trail.chain import Finding

_ROWS = 200_000  # the maximum number of rows verified in one call, which takes about two seconds
# the maximum number of findings in one answer, enough to see that the trail is broken
_MAX_FINDINGS = 100


@dataclass(frozen=True)
class Verdict:
    """The result of a verification.

    A verdict has the last verified row, the end of the trail, the number of witnessed heads among
    the verified rows, and the findings.
    """

    until: Head
    end: int
    witnessed_head_count: int
    findings: list[Finding]


class Audit:
    """Handles the rpcs for the trail, one method per rpc.

    The rows have only ids, codes and times; nothing in them is sealed.
    """

    def __init__(
        self, witnessed_heads: Callable[[], Mapping[int, Iterable[bytes]]], pages: PageTokens
    ) -> None:
        self._witnessed_heads = witnessed_heads
        self._pages = pages

    def ListTrail(self, request: pb.ListTrailRequest, call: Call) -> pb.ListTrailResponse:
        """Lists rows of the trail, newest first."""
        size = page_size(request.page_size, default=50, maximum=200)
        after = self._pages.cursor(request, int)
        rows = trail_rows.search(
            call.tx,
            limit=size + 1,
            before=int(after[0]) if after else None,
            object_id=optional_id(request.object_id, "object_id"),
            actor_id=optional_id(request.actor_id, "actor_id"),
            organization_id=optional_id(request.organization_id, "organization_id"),
            action=request.action_code,
            start=moment(request, "start_time", years=ANY_YEAR),
            end=moment(request, "end_time", years=ANY_YEAR),
            refused=request.refused,
        )
        next_cursor: Cursor | None = [rows[size - 1]["sequence"]] if len(rows) > size else None
        return pb.ListTrailResponse(
            rows=map(_row, rows[:size]), next_page_token=self._pages.token(request, next_cursor)
        )

    def VerifyTrail(self, request: pb.VerifyTrailRequest, call: Call) -> pb.VerifyTrailResponse:
        """Verifies as much of the chain as one call can."""
        after = self._pages.cursor(request, int, str)
        start = Head(int(after[0]), bytes.fromhex(str(after[1]))) if after else START
        verdict = verify(call.tx, start, self._witnessed_heads())
        next_cursor: Cursor | None = (
            [verdict.until.sequence, verdict.until.hash.hex()]
            if verdict.until.sequence < verdict.end
            else None
        )
        return pb.VerifyTrailResponse(
            verified_sequence=verdict.until.sequence,
            last_sequence=verdict.end,
            witnessed=verdict.witnessed_head_count,
            findings=[
                pb.TrailFinding(
                    sequence=finding.sequence, fault=number(pb.TrailFault, finding.reason)
                )
                for finding in verdict.findings[:_MAX_FINDINGS]
            ],
            next_page_token=self._pages.token(request, next_cursor),
        )

    def ListAnomalies(
        self, request: pb.ListAnomaliesRequest, call: Call
    ) -> pb.ListAnomaliesResponse:
        """Lists anomalies, newest first.

        Anomalies are in no caller's scope, so this rpc widens the scope to the whole service; only
        auditors may call it.
        """
        size = page_size(request.page_size, default=50, maximum=200)
        after = self._pages.cursor(request, str, str)
        elevate_to_system_scope(call.tx)
        page, next_cursor = anomalies.page(call.tx, size, after, waiting=request.waiting)
        return pb.ListAnomaliesResponse(
            anomalies=map(anomaly_message, page),
            next_page_token=self._pages.token(request, next_cursor),
        )

    def ReviewAnomaly(self, request: pb.ReviewAnomalyRequest, call: Call) -> pb.Anomaly:
        """Records an auditor's review of an anomaly."""
        code = word(pb.ReviewOutcome, request.review_code, "review_code")
        identifier, base_version = object_id(request.id), version(request.etag)
        elevate_to_system_scope(call.tx)
        anomaly = anomalies.get(call.tx, identifier)
        anomaly.review(call.caller, code, base_version, call.clock.now())
        anomalies.save_review(call.tx, anomaly)
        call.trail.append(
            Entry("review_anomaly", identifier, "", (code, f"worker:{anomaly.worker_id}"))
        )
        return anomaly_message(anomaly)


def verify(tx: Transaction, after: Head, witnessed_heads: Mapping[int, Iterable[bytes]]) -> Verdict:
    """Verifies the chain after the row `after`, or as much of it as one call can.

    If the verification reaches the end of the trail, it also reports witnessed heads beyond that
    end. `witnessed_heads` are the heads of this trail that other services keep, by sequence
    (trail.heads). The heads must be read before this call. Otherwise, if a row is added after this
    call has read the end of the trail, the head of that row would seem to lie beyond the end.
    """
    end = audit.head(tx)
    until = min(end.sequence, after.sequence + _ROWS)
    last_head, findings = chain.verify(
        tx, after, until, witnessed_heads, chain.first_marked_sequence(tx)
    )
    if until == end.sequence:
        if last_head != end and not findings:
            findings.append(Finding(end.sequence, "altered"))
        findings += [
            Finding(sequence, "cut")
            for sequence in sorted(witnessed_heads)
            if sequence > last_head.sequence
        ]
    findings += chain.repeated_marks(tx, after.sequence, until)
    witnessed_head_count = sum(after.sequence < sequence <= until for sequence in witnessed_heads)
    return Verdict(Head(until, last_head.hash), end.sequence, witnessed_head_count, findings)


def _row(row: dict[str, Any]) -> pb.TrailRow:
    return pb.TrailRow(
        sequence=row["sequence"],
        time=timestamp(row["time"]),
        actor_kind_code=row["actor_kind"],
        actor_id=row["actor_id"],
        organization_id=row["organization_id"],
        action_code=row["action"],
        object_id=row["object_id"],
        purpose_code=row["purpose_code"],
        detail_codes=row["detail_codes"],
        allowed=row["allowed"],
        reason_code=row["reason"],
    )
