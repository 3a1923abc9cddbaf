"""What the auditor looks at."""

from typing import Any

from chassis.audit import START, Head
from chassis.ids import object_id
from chassis.rpc import Call
from chassis.wire import ANY_YEAR, PageTokens, Position, moment, number, optional_id, page_size, timestamp, version, word
from protos.referrals.v1 import audit_pb2 as pb
from services.referrals import wire
from services.referrals.usecases.anomalies import Anomalies
from services.referrals.usecases.trail import TrailBook

_MOST_TOLD = 100  # findings; a trail that is broken in more places is broken


class AuditServicer:
    """Answers the rpcs of this name: between messages and use cases."""

    def __init__(self, trail: TrailBook, anomalies: Anomalies, pages: PageTokens) -> None:
        self._trail = trail
        self._anomalies = anomalies
        self._pages = pages

    def ListTrail(self, request: pb.ListTrailRequest, call: Call) -> pb.ListTrailResponse:
        """See the .proto, as for every method here."""
        size, after = page_size(request.page_size, default=50, most=200), self._pages.position(request, int)
        rows = self._trail.search(
            call.tx,
            size + 1,
            int(after[0]) if after else None,
            object_id=optional_id(request.object_id, "object_id"),
            actor_id=optional_id(request.actor_id, "actor_id"),
            organization_id=optional_id(request.organization_id, "organization_id"),
            action=request.action_code,
            start=moment(request, "start_time", years=ANY_YEAR),
            end=moment(request, "end_time", years=ANY_YEAR),
            refused=request.refused,
        )
        more: Position | None = [rows[size - 1]["sequence"]] if len(rows) > size else None
        return pb.ListTrailResponse(rows=map(_row, rows[:size]), next_page_token=self._pages.token(request, more))

    def VerifyTrail(self, request: pb.VerifyTrailRequest, call: Call) -> pb.VerifyTrailResponse:
        after = self._pages.position(request, int, str)
        verdict = self._trail.verify(call.tx, Head(int(after[0]), bytes.fromhex(str(after[1]))) if after else START)
        more: Position | None = [verdict.until.sequence, verdict.until.hash.hex()] if verdict.until.sequence < verdict.end else None
        return pb.VerifyTrailResponse(
            verified_sequence=verdict.until.sequence,
            last_sequence=verdict.end,
            witnessed=verdict.witnesses,
            findings=[
                pb.TrailFinding(sequence=one.sequence, fault=number(pb.TrailFault, one.reason)) for one in verdict.findings[:_MOST_TOLD]
            ],
            next_page_token=self._pages.token(request, more),
        )

    def ListAnomalies(self, request: pb.ListAnomaliesRequest, call: Call) -> pb.ListAnomaliesResponse:
        size, after = page_size(request.page_size, default=50, most=200), self._pages.position(request, str, str)
        anomalies, more = self._anomalies.page(call.tx, size, after, waiting=request.waiting)
        return pb.ListAnomaliesResponse(anomalies=map(wire.anomaly_message, anomalies), next_page_token=self._pages.token(request, more))

    def ReviewAnomaly(self, request: pb.ReviewAnomalyRequest, call: Call) -> pb.Anomaly:
        code = word(pb.ReviewOutcome, request.review_code, "review_code")
        return wire.anomaly_message(
            self._anomalies.review(call.tx, call.caller, call.clock.now(), object_id(request.id), version(request.etag), code, call.trail)
        )


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
