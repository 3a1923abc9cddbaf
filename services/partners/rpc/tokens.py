"""Tokens: who has no token yet proves who it is. Needs no token, so it tells a stranger nothing but yes or no."""

from datetime import datetime

from chassis.audit import Entry
from chassis.errors import Invalid
from chassis.guesses import Guesses
from chassis.rpc import Call
from chassis.tokens import Caller, Issuer
from chassis.wire import number, timestamp
from keys.sealing import Keyring
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import members_pb2 as pb
from services.partners import usecases, wire
from services.partners.sign_in.passkeys import Site
from services.partners.usecases import passkeys
from services.partners.usecases.second_factors import Asked

AUDIENCES = ("enlace.partners", "enlace.referrals", "enlace.notifications")


class Tokens:
    """One method an rpc of the contract, which says what each does and refuses."""

    def __init__(
        self,
        issuer: Issuer,
        keyring: Keyring,
        site: Site,
        guesses: Guesses,
        codes: Guesses,
        providers: usecases.SignInProviders,
        *,
        strict: bool,
    ) -> None:
        """`guesses` counts those of passwords, `codes` those of an app's; `strict`: some roles must prove more than a password."""
        self._strict = strict
        self._issuer = issuer
        self._site = site
        self._keyring = keyring
        self._guesses = guesses
        self._codes = codes
        self._providers = providers

    def SignIn(self, request: pb.SignInRequest, call: Call) -> pb.SignInResponse:
        missing = [(name, "required") for name in ("email", "password") if not getattr(request, name)]
        if missing:
            raise Invalid(*missing)
        now = call.clock.now()
        result = usecases.sign_in(
            call.tx, self._keyring, self._site, self._guesses, now, request.email, request.password, call.origin, strict=self._strict
        )
        return self._after(result, now, call)

    def BeginProviderSignIn(self, request: pb.BeginProviderSignInRequest, call: Call) -> pb.BeginProviderSignInResponse:
        secret, address = self._providers.begin(call.tx, call.clock.now(), request.provider_id)
        return pb.BeginProviderSignInResponse(challenge=secret, authorization_url=address)

    def FinishProviderSignIn(self, request: pb.FinishProviderSignInRequest, call: Call) -> pb.SignInResponse:
        now = call.clock.now()
        arrived = self._providers.finish(call.tx, now, request.challenge, request.state, request.code, request.issuer)
        result = usecases.by_provider(call.tx, self._keyring, self._site, now, arrived, call.origin.device, strict=self._strict)
        return self._after(result, now, call)

    def FinishSignIn(self, request: pb.FinishSignInRequest, call: Call) -> pb.SignInResponse:
        now = call.clock.now()
        secret, proven, spare = usecases.finish_sign_in(
            call.tx,
            self._keyring,
            self._site,
            self._codes,
            now,
            request.challenge,
            request.code,
            request.passkey,
            call.origin.device,
            strict=self._strict,
        )
        if spare:
            call.trail.append(Entry("second_factor_confirm", proven.caller.id))
        answer = self._entered(secret, proven, now, call)
        answer.recovery_codes.extend(spare)
        return answer

    def BeginPasskeySignIn(self, request: pb.BeginPasskeySignInRequest, call: Call) -> pb.BeginPasskeySignInResponse:
        challenge, options = passkeys.ask_anybody(call.tx, self._site, call.clock.now())
        return pb.BeginPasskeySignInResponse(challenge=challenge, passkey_options=options)

    def _after(self, result: tuple[str, usecases.Proven] | Asked, now: datetime, call: Call) -> pb.SignInResponse:
        """The session, or what is asked for first."""
        if not isinstance(result, Asked):
            return self._entered(*result, now, call)
        secret, uri = result.set_up
        return pb.SignInResponse(
            challenge=result.challenge, asks_code=result.code, passkey_options=result.passkey_options, set_up_secret=secret, set_up_uri=uri
        )

    def _entered(self, secret: str, proven: usecases.Proven, now: datetime, call: Call) -> pb.SignInResponse:
        tokens, expire_time = self._issue(proven.caller, now)
        call.trail.append(Entry("sign_in", proven.caller.id))
        return pb.SignInResponse(
            session_secret=secret,
            tokens=tokens,
            token_expire_time=timestamp(expire_time),
            worker=wire.worker(proven.worker) if proven.worker else None,
            organization_name=proven.organization.entry.name,
            organization=wire.organization_ref(proven.organization),
        )

    def IssueToken(self, request: pb.IssueTokenRequest, call: Call) -> pb.IssueTokenResponse:
        now = call.clock.now()
        match request.WhichOneof("credential"):
            case "session_secret":
                proven = usecases.from_session(call.tx, now, request.session_secret, strict=self._strict, passive=request.passive)
            case "api_key":
                proven = usecases.from_api_key(call.tx, now, request.api_key)
            case _:
                raise Invalid(("credential", "required"))
        tokens, expire_time = self._issue(proven.caller, now)
        return pb.IssueTokenResponse(
            tokens=tokens,
            expire_time=timestamp(expire_time),
            worker=wire.worker(proven.worker) if proven.worker else None,
            organization=wire.organization_ref(proven.organization),
            scopes=[number(contract_pb2.Scope, scope) for scope in sorted(proven.caller.scopes)],
        )

    def EndSession(self, request: pb.EndSessionRequest, call: Call) -> pb.EndSessionResponse:
        usecases.end_session(call.tx, request.session_secret)
        return pb.EndSessionResponse()

    def _issue(self, caller: Caller, since: datetime) -> tuple[dict[str, str], datetime]:
        """A token for each service, and when the first of them ends."""
        issued = {audience: self._issuer.issue(caller, audience, since) for audience in AUDIENCES}
        return {audience: token for audience, (token, _) in issued.items()}, min(end for _, end in issued.values())
