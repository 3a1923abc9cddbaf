"""What the auditor looks at: the trail, searched and computed anew against what was witnessed of
it, and what was unusual on it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chassis import audit
from chassis.audit import START, Entry, Finding, Head
from chassis.db import Transaction, elevate_to_system_scope
from chassis.ids import object_id
from chassis.rpc import Call
from chassis.wire import (
    ANY_YEAR,
    PageTokens,
    Position,
    moment,
    number,
    optional_id,
    page_size,
    timestamp,
    version,
    word,
)
from protos.referrals.v1 import audit_pb2 as pb
from services.referrals.people.store import anomalies
from services.referrals.people.wire.messages import anomaly_message

_ROWS = 200_000  # computed anew in one call: two seconds' work
_MOST_TOLD = 100  # findings; a trail that is broken in more places is broken


@dataclass(frozen=True)
class Verdict:
    """Up to which row it was looked at, where the trail ends, against how many witnessed heads of
    these rows, and what is wrong.
    """

    until: Head
    end: int
    witnesses: int
    findings: list[Finding]


class Audit:
    """Each method answers the rpc of its name.

    Rows hold ids and codes only; there is nothing sealed in them.
    """

    def __init__(
        self, witnessed: Callable[[], Mapping[int, Iterable[bytes]]], pages: PageTokens
    ) -> None:
        self._witnessed = witnessed
        self._pages = pages

    def ListTrail(self, request: pb.ListTrailRequest, call: Call) -> pb.ListTrailResponse:
        """Rows, newest first."""
        size, after = (
            page_size(request.page_size, default=50, most=200),
            self._pages.position(request, int),
        )
        rows = audit.search(
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
        more: Position | None = [rows[size - 1]["sequence"]] if len(rows) > size else None
        return pb.ListTrailResponse(
            rows=map(_row, rows[:size]), next_page_token=self._pages.token(request, more)
        )

    def VerifyTrail(self, request: pb.VerifyTrailRequest, call: Call) -> pb.VerifyTrailResponse:
        """The chain computed anew, as far as one call gets."""
        after = self._pages.position(request, int, str)
        start = Head(int(after[0]), bytes.fromhex(str(after[1]))) if after else START
        verdict = verify(call.tx, start, self._witnessed())
        more: Position | None = (
            [verdict.until.sequence, verdict.until.hash.hex()]
            if verdict.until.sequence < verdict.end
            else None
        )
        return pb.VerifyTrailResponse(
            verified_sequence=verdict.until.sequence,
            last_sequence=verdict.end,
            witnessed=verdict.witnesses,
            findings=[
                pb.TrailFinding(sequence=one.sequence, fault=number(pb.TrailFault, one.reason))
                for one in verdict.findings[:_MOST_TOLD]
            ],
            next_page_token=self._pages.token(request, more),
        )

    def ListAnomalies(
        self, request: pb.ListAnomaliesRequest, call: Call
    ) -> pb.ListAnomaliesResponse:
        """What was found, newest first.

        It is in nobody's scope: whoever calls this has the right of an auditor.
        """
        size, after = (
            page_size(request.page_size, default=50, most=200),
            self._pages.position(request, str, str),
        )
        elevate_to_system_scope(call.tx)
        page, more = anomalies.page(call.tx, size, after, waiting=request.waiting)
        return pb.ListAnomaliesResponse(
            anomalies=map(anomaly_message, page),
            next_page_token=self._pages.token(request, more),
        )

    def ReviewAnomaly(self, request: pb.ReviewAnomalyRequest, call: Call) -> pb.Anomaly:
        """An auditor says what it was."""
        code = word(pb.ReviewOutcome, request.review_code, "review_code")
        identifier, based_on = object_id(request.id), version(request.etag)
        elevate_to_system_scope(call.tx)
        anomaly = anomalies.get(call.tx, identifier)
        anomaly.review(call.caller.id, code, based_on, call.clock.now())
        anomalies.keep_review(call.tx, anomaly)
        call.trail.append(
            Entry("review_anomaly", identifier, "", (code, f"worker:{anomaly.worker_id}"))
        )
        return anomaly_message(anomaly)


def verify(tx: Transaction, after: Head, witnessed: Mapping[int, Iterable[bytes]]) -> Verdict:
    """Computes the chain anew from the row after `after` on, as far as one call gets; at its end
    also what was witnessed beyond it.

    `witnessed` are the heads of this trail that others keep, by their sequence (chassis.heads).
    Read them before this call: none is then beyond the end.
    """
    end = audit.head(tx)
    until = min(end.sequence, after.sequence + _ROWS)
    last, findings = audit.verify(tx, after, until, witnessed, audit.marked_since(tx))
    if until == end.sequence:
        if last != end and not findings:
            findings.append(Finding(end.sequence, "altered"))
        findings += [
            Finding(sequence, "cut") for sequence in sorted(witnessed) if sequence > last.sequence
        ]
        findings += audit.repeated(tx)
    seen = sum(after.sequence < sequence <= until for sequence in witnessed)
    return Verdict(Head(until, last.hash), end.sequence, seen, findings)


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
