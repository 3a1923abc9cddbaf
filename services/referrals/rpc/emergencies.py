"""Emergency access."""

from chassis.ids import object_id
from chassis.rpc import Call
from chassis.wire import PageTokens, optional_id, page_size, version, word
from protos.referrals.v1 import audit_pb2, referrals_pb2
from protos.referrals.v1 import emergencies_pb2 as pb
from services.referrals import wire
from services.referrals.usecases.emergencies import Emergencies


class EmergenciesServicer:
    """Answers the rpcs of this name: between messages and use cases."""

    def __init__(self, usecases: Emergencies, pages: PageTokens) -> None:
        self._usecases = usecases
        self._pages = pages

    def OpenInEmergency(self, request: pb.OpenInEmergencyRequest, call: Call) -> pb.Emergency:
        """See the .proto, as for every method here."""
        reason = word(referrals_pb2.OverrideReason, request.reason_code, "reason_code")
        now = call.clock.now()
        emergency = self._usecases.open(call.tx, call.caller, now, object_id(request.referral_id), reason, request.note, call.trail)
        return wire.emergency_message(emergency, call.caller, now)

    def ListEmergencies(self, request: pb.ListEmergenciesRequest, call: Call) -> pb.ListEmergenciesResponse:
        size, after = page_size(request.page_size, default=50, most=200), self._pages.position(request, str, str)
        emergencies, more = self._usecases.page(
            call.tx,
            size,
            after,
            person_id=optional_id(request.person_id, "person_id"),
            referral_id=optional_id(request.referral_id, "referral_id"),
            waiting=request.waiting,
        )
        shown = [wire.emergency_message(each, call.caller, call.clock.now()) for each in emergencies]
        return pb.ListEmergenciesResponse(emergencies=shown, next_page_token=self._pages.token(request, more))

    def GetEmergency(self, request: pb.GetEmergencyRequest, call: Call) -> pb.Emergency:
        emergency, note = self._usecases.get(call.tx, call.caller, call.clock.now(), object_id(request.id), call.trail)
        return wire.emergency_message(emergency, call.caller, call.clock.now(), note)

    def ReviewEmergency(self, request: pb.ReviewEmergencyRequest, call: Call) -> pb.Emergency:
        code = word(audit_pb2.ReviewOutcome, request.review_code, "review_code")
        now = call.clock.now()
        emergency = self._usecases.review(call.tx, call.caller, now, object_id(request.id), version(request.etag), code, call.trail)
        return wire.emergency_message(emergency, call.caller, now)
