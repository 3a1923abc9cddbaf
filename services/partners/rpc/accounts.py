"""One's own account."""

from chassis.audit import Entry
from chassis.guesses import Guesses
from chassis.rpc import Call
from chassis.sealing import Keyring
from chassis.wire import timestamp
from protos.partners.v1 import accounts_pb2 as pb
from services.partners import usecases
from services.partners.domain.second_factor import SecondFactor
from services.partners.usecases import second_factors


class Accounts:
    """One method an rpc of the contract, which says what each does and refuses."""

    def __init__(self, keyring: Keyring, guesses: Guesses, codes: Guesses) -> None:
        """`guesses` counts those of passwords, `codes` those of an app's."""
        self._keyring = keyring
        self._guesses = guesses
        self._codes = codes

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

    def GetSecondFactor(self, request: pb.GetSecondFactorRequest, call: Call) -> pb.SecondFactor:
        return _factor(second_factors.get(call.tx, call.caller))

    def BeginSecondFactor(self, request: pb.BeginSecondFactorRequest, call: Call) -> pb.BeginSecondFactorResponse:
        call.trail.append(Entry("second_factor_begin", call.caller.id))
        secret, uri = second_factors.begin(
            call.tx, self._keyring, self._guesses, call.caller, call.clock.now(), request.password, call.origin
        )
        return pb.BeginSecondFactorResponse(secret=secret, uri=uri)

    def ConfirmSecondFactor(self, request: pb.ConfirmSecondFactorRequest, call: Call) -> pb.ConfirmSecondFactorResponse:
        call.trail.append(Entry("second_factor_confirm", call.caller.id))
        codes = second_factors.confirm(call.tx, self._keyring, self._codes, call.caller, call.clock.now(), request.code)
        return pb.ConfirmSecondFactorResponse(recovery_codes=codes)

    def EndSecondFactor(self, request: pb.EndSecondFactorRequest, call: Call) -> pb.SecondFactor:
        call.trail.append(Entry("second_factor_end", call.caller.id))
        second_factors.end(call.tx, self._guesses, call.caller, call.clock.now(), request.password, call.origin)
        return _factor(second_factors.get(call.tx, call.caller))


def _factor(factor: SecondFactor) -> pb.SecondFactor:
    return pb.SecondFactor(confirm_time=timestamp(factor.confirm_time), recovery_codes_left=len(factor.recovery_hashes))
