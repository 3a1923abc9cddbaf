"""One's own account."""

from chassis.audit import Entry
from chassis.db import Database
from chassis.guesses import Guesses
from chassis.rpc import Call
from chassis.sealing import Keyring
from chassis.wire import timestamp
from protos.partners.v1 import accounts_pb2 as pb
from services.partners import usecases


class Accounts:
    """One method an rpc of the contract, which says what each does and refuses."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._guesses = Guesses(database, keyring, "password", usecases.OF_AN_ACCOUNT, usecases.OF_AN_ADDRESS)

    def ChangePassword(self, request: pb.ChangePasswordRequest, call: Call) -> pb.ChangePasswordResponse:
        call.trail.append(Entry("password_change", call.caller.id))
        usecases.change_password(
            call.tx,
            self._guesses,
            call.caller,
            call.clock.now(),
            request.password,
            request.new_password,
            request.session_secret,
            call.origin,
        )
        return pb.ChangePasswordResponse()

    def ListSessions(self, request: pb.ListSessionsRequest, call: Call) -> pb.ListSessionsResponse:
        found = usecases.list_sessions(call.tx, call.caller, call.clock.now(), request.session_secret)
        return pb.ListSessionsResponse(
            sessions=[
                pb.Session(
                    id=each.id, create_time=timestamp(each.create_time), last_use_time=timestamp(each.last_use_time), current=each.current
                )
                for each in found
            ]
        )

    def EndSessions(self, request: pb.EndSessionsRequest, call: Call) -> pb.EndSessionsResponse:
        call.trail.append(Entry("sessions_end", call.caller.id))
        return pb.EndSessionsResponse(ended=usecases.end_sessions(call.tx, call.caller, request.id, request.session_secret))
