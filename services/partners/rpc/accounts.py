"""One's own account."""

from datetime import datetime

from chassis.audit import Entry
from chassis.errors import Invalid
from chassis.guesses import Guesses
from chassis.rpc import Call
from chassis.wire import EnumCodec, moment, timestamp
from keys.sealing import Keyring
from protos.partners.v1 import accounts_pb2 as pb
from services.partners import usecases
from services.partners.domain.codes import MAX_EMAIL
from services.partners.domain.made_lately import MadeKind
from services.partners.sign_in.passkeys import Site
from services.partners.usecases import made_lately, passkeys, proofs, second_factors

_KINDS = EnumCodec(pb.MadeKind, MadeKind)


class Accounts:
    """One method an rpc of the contract, which says what each does and refuses."""

    def __init__(
        self,
        keyring: Keyring,
        mail: Keyring,
        site: Site,
        guesses: Guesses,
        codes: Guesses,
        resets: Guesses,
        providers: usecases.SignInProviders,
    ) -> None:
        """`guesses` counts those of passwords, `codes` those of an app's, `resets` how often a link is asked for. `mail` seals what goes to one mailbox."""
        self._keyring = keyring
        self._mail = mail
        self._resets = resets
        self._site = site
        self._guesses = guesses
        self._codes = codes
        self._providers = providers

    def ChangePassword(self, request: pb.ChangePasswordRequest, call: Call) -> pb.ChangePasswordResponse:
        call.trail.append(Entry("password_change", call.caller.id))
        usecases.change_password(
            call.tx,
            self._mail,
            self._guesses,
            call.caller,
            call.clock.now(),
            request.password,
            request.new_password,
            request.session_secret,
            call.origin,
        )
        return pb.ChangePasswordResponse()

    def RequestPasswordReset(self, request: pb.RequestPasswordResetRequest, call: Call) -> pb.RequestPasswordResetResponse:
        if not request.email:
            raise Invalid(("email", "required"))
        if len(request.email) > MAX_EMAIL:  # it is kept for a moment, whatever it is
            raise Invalid(("email", "too_long"))
        usecases.request_reset(call.tx, self._keyring, self._resets, call.clock.now(), request.email.strip(), call.origin)
        return pb.RequestPasswordResetResponse()

    def ResetPassword(self, request: pb.ResetPasswordRequest, call: Call) -> pb.ResetPasswordResponse:
        if not request.token:
            raise Invalid(("token", "required"))
        worker = usecases.reset_password(call.tx, self._mail, call.clock.now(), request.token, request.password)
        call.trail.append(Entry("password_reset", worker.id))
        return pb.ResetPasswordResponse()

    def ListSessions(self, request: pb.ListSessionsRequest, call: Call) -> pb.ListSessionsResponse:
        sessions = usecases.list_sessions(call.tx, call.caller, call.clock.now(), request.session_secret)
        return pb.ListSessionsResponse(
            sessions=[
                pb.Session(
                    id=each.id, create_time=timestamp(each.create_time), last_use_time=timestamp(each.last_use_time), current=each.current
                )
                for each in sessions
            ]
        )

    def EndSessions(self, request: pb.EndSessionsRequest, call: Call) -> pb.EndSessionsResponse:
        call.trail.append(Entry("sessions_end", call.caller.id))
        return pb.EndSessionsResponse(ended=usecases.end_sessions(call.tx, call.caller, request.id, request.session_secret))

    def GetSecondFactor(self, request: pb.GetSecondFactorRequest, call: Call) -> pb.SecondFactor:
        return self._factor(call)

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
        return self._factor(call)

    def BeginPasskey(self, request: pb.BeginPasskeyRequest, call: Call) -> pb.BeginPasskeyResponse:
        call.trail.append(Entry("passkey_begin", call.caller.id))
        now = call.clock.now()
        challenge, options = passkeys.begin(call.tx, self._site, self._guesses, call.caller, now, request.password, call.origin)
        return pb.BeginPasskeyResponse(challenge=challenge, options=options)

    def CreatePasskey(self, request: pb.CreatePasskeyRequest, call: Call) -> pb.SecondFactor:
        now = call.clock.now()
        made = passkeys.create(call.tx, self._site, call.caller, now, request.challenge, request.credential, request.label)
        call.trail.append(Entry("passkey_create", made.id))
        return self._factor(call)

    def EndPasskey(self, request: pb.EndPasskeyRequest, call: Call) -> pb.SecondFactor:
        call.trail.append(Entry("passkey_end", call.caller.id))
        passkeys.end(call.tx, self._guesses, call.caller, call.clock.now(), request.id, request.password, call.origin)
        return self._factor(call)

    def BeginProof(self, request: pb.BeginProofRequest, call: Call) -> pb.BeginProofResponse:
        asked = proofs.begin(call.tx, self._site, self._providers, call.caller, call.clock.now())
        return pb.BeginProofResponse(
            challenge=asked.challenge,
            asks_code=asked.code,
            asks_password=asked.password,
            passkey_options=asked.passkey_options,
            authorization_url=asked.authorization_url,
        )

    def ProveSession(self, request: pb.ProveSessionRequest, call: Call) -> pb.ProveSessionResponse:
        call.trail.append(Entry("session_prove", call.caller.id))
        came = request.provider
        answer = proofs.Answer(request.challenge, request.code, request.passkey, request.password, came.state, came.code, came.issuer)
        expire_time = proofs.prove_session(
            call.tx,
            self._keyring,
            self._site,
            self._guesses,
            self._codes,
            self._providers,
            call.caller,
            call.clock.now(),
            request.session_secret,
            answer,
            call.origin,
        )
        return pb.ProveSessionResponse(expire_time=timestamp(expire_time))

    def ListMadeLately(self, request: pb.ListMadeLatelyRequest, call: Call) -> pb.ListMadeLatelyResponse:
        listed = made_lately.list_made(call.tx, call.caller, call.clock.now(), _since(request))
        return pb.ListMadeLatelyResponse(
            made=[
                pb.MadeLately(
                    id=each.id,
                    kind=_KINDS.number(each.kind),
                    create_time=timestamp(each.create_time),
                    label=each.label,
                    can_end=each.can_end,
                )
                for each in listed
            ]
        )

    def EndMadeLately(self, request: pb.EndMadeLatelyRequest, call: Call) -> pb.EndMadeLatelyResponse:
        if not request.ids:
            raise Invalid(("ids", "required"))
        ended = made_lately.end_made(call.tx, self._mail, call.caller, call.clock.now(), _since(request), frozenset(request.ids))
        call.trail += [Entry("made_lately_end", each.id, detail_codes=(each.kind,)) for each in ended] or [
            Entry("made_lately_end", call.caller.id)
        ]
        return pb.EndMadeLatelyResponse(ended=len(ended))

    def _factor(self, call: Call) -> pb.SecondFactor:
        factor = second_factors.get(call.tx, call.caller)
        return pb.SecondFactor(
            confirm_time=timestamp(factor.confirm_time),
            recovery_codes_left=len(factor.recovery_hashes),
            passkeys=[
                pb.Passkey(
                    id=each.id, label=each.label, create_time=timestamp(each.create_time), last_use_time=timestamp(each.last_use_time)
                )
                for each in passkeys.listed(call.tx, call.caller)
            ],
            passkeys_available=self._site.can_have,
        )


def _since(request: pb.ListMadeLatelyRequest | pb.EndMadeLatelyRequest) -> datetime:
    since = moment(request, "since_time")
    if since is None:
        raise Invalid(("since_time", "required"))
    return since
