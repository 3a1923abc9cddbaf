"""The step-up: a signed-in worker proves again who she is before a lasting step.

She uses her second factor if she has one, otherwise her organisation's provider if she signs in
through it, otherwise her password. Wrong answers have the same budget as at sign-in but are counted
separately, so that somebody with a stolen session can't keep her from signing in.
"""

from dataclasses import dataclass
from datetime import datetime

from chassis.audit import Entry
from chassis.db import Transaction
from chassis.errors import Invalid, Unauthenticated
from chassis.guesses import Guesses, Origin
from chassis.rpc import Call
from chassis.tokens import PROOF_LIFE, Caller
from chassis.wire import timestamp
from keys.sealing import Keyring
from protos.partners.v1 import accounts_pb2 as pb
from services.partners.members.domain.worker import session_lives
from services.partners.members.store import workers
from services.partners.members.usecases.passwords import check_own_password, mark_of, own_account
from services.partners.sign_in.domain.passkey import Passkey
from services.partners.sign_in.domain.second_factor import Purpose
from services.partners.sign_in.protocols.passkeys import Site
from services.partners.sign_in.store import passkeys, second_factors, sign_in_providers
from services.partners.sign_in.usecases.passkeys import create_challenge, signer
from services.partners.sign_in.usecases.second_factors import use_code
from services.partners.sign_in.usecases.sign_in_providers import SignInProviders


@dataclass(frozen=True)
class Ways:
    """The ways in which the user of an account can prove who she is.

    She uses a code or a passkey. If the account has neither an app nor a passkey, she uses her
    provider or, without a provider, her password.
    """

    code: bool
    passkeys: list[Passkey]
    provider_id: str

    @property
    def only_password(self) -> bool:
        """Returns whether the password is the only way."""
        return not (self.code or self.passkeys or self.provider_id)


class Proofs:
    """Handles the rpcs for step-ups."""

    def __init__(
        self,
        keyring: Keyring,
        site: Site,
        guesses: Guesses,
        code_guesses: Guesses,
        providers: SignInProviders,
    ) -> None:
        """Sets up the handlers; `guesses` counts wrong passwords, `code_guesses` wrong codes."""
        self._keyring = keyring
        self._site = site
        self._guesses = guesses
        self._code_guesses = code_guesses
        self._providers = providers

    def BeginProof(self, request: pb.BeginProofRequest, call: Call) -> pb.BeginProofResponse:
        """Returns the factors with which the caller can prove her session."""
        ways, now = ways_of(call.tx, call.caller), call.clock.now()
        if ways.provider_id:
            secret, address = self._providers.begin(
                call.tx, now, ways.provider_id, reauthenticate=True
            )
            return pb.BeginProofResponse(challenge=secret, authorization_url=address)
        if not ways.passkeys:
            return pb.BeginProofResponse(asks_code=ways.code, asks_password=ways.only_password)
        secret, mark = create_challenge(call.tx, Purpose.PROOF, now, call.caller.id)
        options = self._site.signing_options(
            mark, [passkey.credential_id for passkey in ways.passkeys]
        )
        return pb.BeginProofResponse(asks_code=ways.code, challenge=secret, passkey_options=options)

    def ProveSession(self, request: pb.ProveSessionRequest, call: Call) -> pb.ProveSessionResponse:
        """Proves a session of the caller with her answer; returns when the proof expires.

        Raises Invalid with the field that is wrong.
        """
        call.trail.append(Entry("session_prove", call.caller.id))
        tx, caller, now = call.tx, call.caller, call.clock.now()
        worker, password_hash = own_account(tx, caller)
        session = workers.session(tx, mark_of(request.session_secret))
        if (
            session is None
            or session[3].id != caller.id
            or not session_lives(session[0], session[1], now)
        ):
            raise Invalid(("session_secret", "wrong"))
        ways, time = ways_of(tx, caller), now
        if ways.provider_id:
            time = self._provider_proof_time(request, call)
        elif ways.only_password:
            if not request.password:
                raise Invalid(("password", "required"))
            check_own_password(
                self._guesses, worker, password_hash, request.password, now, call.origin
            )
        elif ways.passkeys and (request.passkey or not ways.code):
            self._check_passkey(request, call)
        elif not request.code:
            raise Invalid(("code", "required"))
        else:
            origin = Origin(organization_id=caller.organization_id)
            if not use_code(
                tx, self._keyring, self._code_guesses, now, caller.id, request.code, origin
            ):
                raise Invalid(("code", "wrong"))
        workers.prove_session(tx, mark_of(request.session_secret), caller.id, time)
        return pb.ProveSessionResponse(expire_time=timestamp(time + PROOF_LIFE))

    def _check_passkey(self, request: pb.ProveSessionRequest, call: Call) -> None:
        if not request.passkey:
            raise Invalid(("passkey", "required"))
        mark, now = mark_of(request.challenge), call.clock.now()
        if second_factors.challenge_owner(call.tx, mark, now) != (call.caller.id, Purpose.PROOF):
            raise Invalid(("challenge", "wrong"))
        try:
            signer(call.tx, self._site, now, mark, call.caller.id, request.passkey)
        except Unauthenticated:
            raise Invalid(("passkey", "wrong")) from None
        second_factors.delete_challenge(call.tx, mark)

    def _provider_proof_time(self, request: pb.ProveSessionRequest, call: Call) -> datetime:
        """Returns when the caller proved her identity to her organisation's provider."""
        answer, now = request.provider, call.clock.now()
        try:
            returned_worker = self._providers.finish(
                call.tx, now, request.challenge, answer.state, answer.code, answer.issuer
            )
        except Unauthenticated:
            raise Invalid(("challenge", "wrong")) from None
        if returned_worker.worker.id != call.caller.id:
            raise Invalid(("challenge", "wrong"))
        return returned_worker.prove_time


def ways_of(tx: Transaction, caller: Caller) -> Ways:
    """Returns the ways in which the caller can prove who she is."""
    factor, own_passkeys = second_factors.get(tx, caller.id), passkeys.by_worker(tx, caller.id)
    code = factor is not None and factor.confirm_time is not None
    provider = None
    if not code and not own_passkeys and sign_in_providers.has_account(tx, caller.id):
        provider = sign_in_providers.fetch(tx, organization_id=caller.organization_id)
    return Ways(code, own_passkeys, provider.id if provider and provider.entry else "")
