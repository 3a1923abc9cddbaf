"""What the auditor looks at."""

from chassis.ids import object_id
from chassis.rpc import Call
from chassis.wire import PageTokens, page_size, version, word
from protos.referrals.v1 import audit_pb2 as pb
from services.referrals import wire
from services.referrals.usecases.anomalies import Anomalies


class AuditServicer:
    """Answers the rpcs of this name: between messages and use cases."""

    def __init__(self, anomalies: Anomalies, pages: PageTokens) -> None:
        self._anomalies = anomalies
        self._pages = pages

    def ListAnomalies(self, request: pb.ListAnomaliesRequest, call: Call) -> pb.ListAnomaliesResponse:
        """See the .proto, as for every method here."""
        size, after = page_size(request.page_size, default=50, most=200), self._pages.position(request, str, str)
        found, more = self._anomalies.page(call.tx, size, after, waiting=request.waiting)
        return pb.ListAnomaliesResponse(anomalies=map(wire.anomaly_message, found), next_page_token=self._pages.token(request, more))

    def ReviewAnomaly(self, request: pb.ReviewAnomalyRequest, call: Call) -> pb.Anomaly:
        code = word(pb.ReviewOutcome, request.review_code, "review_code")
        return wire.anomaly_message(
            self._anomalies.review(call.tx, call.caller, call.clock.now(), object_id(request.id), version(request.etag), code, call.trail)
        )
