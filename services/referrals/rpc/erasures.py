"""Erasure of files."""

from chassis.ids import object_id
from chassis.rpc import Call
from chassis.wire import PageTokens, page_size
from protos.referrals.v1 import erasures_pb2 as pb
from services.referrals import wire
from services.referrals.usecases.erasing import Erasing


class ErasuresServicer:
    """Answers the rpcs of this name: between messages and use cases."""

    def __init__(self, usecases: Erasing, pages: PageTokens) -> None:
        self._usecases = usecases
        self._pages = pages

    def ProposeErasure(self, request: pb.ProposeErasureRequest, call: Call) -> pb.Erasure:
        """See the .proto, as for every method here."""
        now = call.clock.now()
        return wire.erasure_message(self._usecases.propose(call.tx, call.caller, now, object_id(request.person_id), call.trail), now)

    def ConfirmErasure(self, request: pb.ConfirmErasureRequest, call: Call) -> pb.Erasure:
        now = call.clock.now()
        return wire.erasure_message(self._usecases.confirm(call.tx, call.caller, now, object_id(request.person_id), call.trail), now)

    def GetErasure(self, request: pb.GetErasureRequest, call: Call) -> pb.Erasure:
        return wire.erasure_message(self._usecases.get(call.tx, call.caller, object_id(request.person_id)), call.clock.now())

    def ListErasures(self, request: pb.ListErasuresRequest, call: Call) -> pb.ListErasuresResponse:
        size, after = page_size(request.page_size, default=50, most=200), self._pages.position(request, str, str)
        now = call.clock.now()
        waiting, more = self._usecases.waiting(call.tx, call.caller, now, size, after)
        return pb.ListErasuresResponse(
            erasures=[wire.erasure_message(erasure, now) for erasure in waiting], next_page_token=self._pages.token(request, more)
        )
