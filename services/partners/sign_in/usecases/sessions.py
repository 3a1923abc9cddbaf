"""Sessions: signing in opens a session; a session or an API key yields caller tokens.

These rpcs need no token, so a stranger may learn only whether a sign-in worked: every failed
sign-in gets the same answer and takes the same time. Only SHA-256 hashes of secrets are stored,
which is enough because the secrets have 256 random bits.
"""

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from chassis.audit import Entry
from chassis.db import Transaction
from chassis.errors import Invalid, Unauthenticated
from chassis.guesses import Budget, Guesses
from chassis.rpc import Call
from chassis.tokens import Caller, Issuer
from chassis.wire import number, timestamp
from keys.sealing import Keyring
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import members_pb2 as pb
from services.partners.members.domain import api_key
from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import (
    SECOND_FACTOR_ROLES,
    TOUCH_INTERVAL,
    Worker,
    WorkerStatus,
    normalized_email,
    session_lives,
)
from services.partners.members.store import api_keys, organizations, workers
from services.partners.members.usecases.independence import note_sign_in_device
from services.partners.members.usecases.passwords import mark_of, matches_hash
from services.partners.members.wire import messages
from services.partners.sign_in.protocols.passkeys import Site
from services.partners.sign_in.usecases import second_factors
from services.partners.sign_in.usecases.sign_in_providers import SignInProviders

AUDIENCES = ("enlace.partners", "enlace.referrals", "enlace.notifications")
# NIST SP 800-63B allows 100 wrong passwords before an account is locked. This service does not lock
# an account; after 100 wrong passwords the account accepts only 24 guesses a day.
ACCOUNT_BUDGET = Budget(
    10, timedelta(minutes=5), timedelta(days=30), wrong_limit=100, slow_interval=timedelta(hours=1)
)
# A whole office or hospital, or all customers of a phone company, may share one IP address.
ADDRESS_BUDGET = Budget(50, timedelta(minutes=1), timedelta(0))


@dataclass(frozen=True)
class ProvenCaller:
    """A caller whose identity is proven, with the organisation and the worker that pages show.

    A key has no worker.
    """

    caller: Caller
    organization: Organization
    worker: Worker | None = None


class Sessions:
    """Handles the rpcs for signing in, and for the tokens of sessions and API keys."""

    def __init__(
        self,
        issuer: Issuer,
        keyring: Keyring,
        site: Site,
        guesses: Guesses,
        code_guesses: Guesses,
        providers: SignInProviders,
        *,
        strict: bool,
    ) -> None:
        """Sets up the handlers.

        `guesses` counts wrong passwords, `code_guesses` wrong codes; `strict`: some roles must
        prove more than a password.
        """
        self._issuer = issuer
        self._keyring = keyring
        self._site = site
        self._guesses = guesses
        self._code_guesses = code_guesses
        self._providers = providers
        self._strict = strict

    def SignIn(self, request: pb.SignInRequest, call: Call) -> pb.SignInResponse:
        """Opens a session.

        If the account needs more than the password, returns the missing factors instead.
        """
        missing = [
            (name, "required") for name in ("email", "password") if not getattr(request, name)
        ]
        if missing:
            raise Invalid(*missing)
        tx, now, email = call.tx, call.clock.now(), request.email
        guess = self._guesses.begin(normalized_email(email), call.origin, now)
        worker_and_hash = workers.by_email(tx, email) if "\x00" not in email else None
        password_matches = matches_hash(
            worker_and_hash[1] if worker_and_hash else None, request.password
        )
        # the check takes long, so the password may have changed meanwhile
        if password_matches and worker_and_hash:
            password_matches = workers.still_has_password(
                tx, worker_and_hash[0].id, worker_and_hash[1]
            )
        organization = (
            organizations.fetch(tx, worker_and_hash[0].organization_id) if worker_and_hash else None
        )
        may_enter = (
            worker_and_hash is not None
            and organization is not None
            and password_matches
            and _may_enter(worker_and_hash[0], organization)
        )
        self._guesses.settle(guess, may_enter, now)
        if worker_and_hash is None or organization is None or not may_enter:
            raise Unauthenticated("sign_in_failed")
        return self._challenge_or_open(
            worker_and_hash[0], organization, now, call, several_factors=False, prove_time=now
        )

    def FinishProviderSignIn(
        self, request: pb.FinishProviderSignInRequest, call: Call
    ) -> pb.SignInResponse:
        """Opens the session of a worker who came back from her organisation's provider.

        If the account needs more than the provider's proof, returns the missing factors instead.
        """
        now = call.clock.now()
        returned_worker = self._providers.finish(
            call.tx, now, request.challenge, request.state, request.code, request.issuer
        )
        organization = organizations.fetch(call.tx, returned_worker.worker.organization_id)
        if organization is None or not _may_enter(returned_worker.worker, organization):
            raise Unauthenticated("sign_in_failed")
        return self._challenge_or_open(
            returned_worker.worker,
            organization,
            now,
            call,
            several_factors=returned_worker.several_factors,
            prove_time=returned_worker.prove_time,
        )

    def FinishSignIn(self, request: pb.FinishSignInRequest, call: Call) -> pb.SignInResponse:
        """Opens the session of an account with its second factor, or with a passkey alone.

        The response has recovery codes if the request activated an app.
        """
        now = call.clock.now()
        worker_id, recovery_codes = second_factors.complete(
            call.tx, self._keyring, self._site, self._code_guesses, now, request
        )
        worker = workers.fetch(call.tx, worker_id)
        organization = organizations.fetch(call.tx, worker.organization_id) if worker else None
        if worker is None or organization is None or not _may_enter(worker, organization):
            raise Unauthenticated("sign_in_failed")
        if recovery_codes:
            call.trail.append(Entry("second_factor_confirm", worker.id))
        response = self._open(worker, organization, now, call, now)
        response.recovery_codes.extend(recovery_codes)
        return response

    def IssueToken(self, request: pb.IssueTokenRequest, call: Call) -> pb.IssueTokenResponse:
        """Returns a token for each service, for a session or an API key."""
        now = call.clock.now()
        match request.WhichOneof("credential"):
            case "session_secret":
                proven_caller = self._from_session(request, now, call)
            case "api_key":
                proven_caller = _from_api_key(call.tx, now, request.api_key)
            case _:
                raise Invalid(("api_key", "required"))
        tokens, expire_time = self._issue(proven_caller.caller, now)
        return pb.IssueTokenResponse(
            tokens=tokens,
            expire_time=timestamp(expire_time),
            worker=messages.worker(proven_caller.worker) if proven_caller.worker else None,
            organization=messages.organization_ref(proven_caller.organization),
            scopes=[
                number(contract_pb2.Scope, scope) for scope in sorted(proven_caller.caller.scopes)
            ],
        )

    def EndSession(self, request: pb.EndSessionRequest, call: Call) -> pb.EndSessionResponse:
        """Ends a session. Does nothing if it has ended already."""
        workers.end_session(call.tx, mark_of(request.session_secret))
        return pb.EndSessionResponse()

    def _challenge_or_open(
        self,
        worker: Worker,
        organization: Organization,
        now: datetime,
        call: Call,
        *,
        several_factors: bool,
        prove_time: datetime,
    ) -> pb.SignInResponse:
        """Opens a session, or returns the factors that the account needs after the first proof.

        `several_factors`: the first proof already used more than one factor; `prove_time`: when she
        gave the first proof, which may be some minutes ago if she gave it to a provider.
        """
        must_set_up = (
            self._strict
            and not several_factors
            and not SECOND_FACTOR_ROLES.isdisjoint(worker.entry.roles)
        )
        challenge = second_factors.required_factors(
            call.tx, self._keyring, self._site, worker, now, must_set_up=must_set_up
        )
        return (
            self._open(worker, organization, now, call, prove_time)
            if challenge is None
            else challenge
        )

    def _open(
        self,
        worker: Worker,
        organization: Organization,
        now: datetime,
        call: Call,
        prove_time: datetime,
    ) -> pb.SignInResponse:
        secret = secrets.token_urlsafe(32)
        workers.open_session(call.tx, mark_of(secret), worker.id, now, prove_time)
        note_sign_in_device(call.tx, worker.id, call.origin.device, now)
        caller = _caller(call.tx, now, worker, prove_time, strict=self._strict)
        tokens, expire_time = self._issue(caller, now)
        call.trail.append(Entry("sign_in", worker.id))
        return pb.SignInResponse(
            session_secret=secret,
            tokens=tokens,
            token_expire_time=timestamp(expire_time),
            worker=messages.worker(worker),
            organization_name=organization.entry.name,
            organization=messages.organization_ref(organization),
        )

    def _from_session(
        self, request: pb.IssueTokenRequest, now: datetime, call: Call
    ) -> ProvenCaller:
        """Returns the worker of a session.

        Restarts the session's idle timer, except for `passive` requests, which were sent by the
        page's script rather than by the user.
        """
        mark = mark_of(request.session_secret)
        session = workers.session(call.tx, mark)
        if session is None:
            raise Unauthenticated("session_ended")
        create_time, last_use_time, prove_time, worker, organization = session
        if not session_lives(create_time, last_use_time, now) or not _may_enter(
            worker, organization
        ):
            raise Unauthenticated("session_ended")
        if not request.passive and abs(now - last_use_time) >= TOUCH_INTERVAL:
            workers.touch_session(call.tx, mark, now)
        return ProvenCaller(
            _caller(call.tx, now, worker, prove_time, strict=self._strict), organization, worker
        )

    def _issue(self, caller: Caller, since: datetime) -> tuple[dict[str, str], datetime]:
        """Returns a token for each service, and the earliest of their expiries."""
        tokens_and_ends = {
            audience: self._issuer.issue(caller, audience, since) for audience in AUDIENCES
        }
        return {audience: token for audience, (token, _) in tokens_and_ends.items()}, min(
            end for _, end in tokens_and_ends.values()
        )


def _from_api_key(tx: Transaction, now: datetime, presented_key: str) -> ProvenCaller:
    """Returns the caller who presents a key, and the key's organisation.

    Raises Unauthenticated key_invalid.
    """
    parts = api_key.split_key(presented_key)
    key_and_hash = api_keys.fetch(tx, parts[0]) if parts else None
    if (
        parts is None
        or key_and_hash is None
        or not hmac.compare_digest(mark_of(parts[1]), key_and_hash[1])
        or not key_and_hash[0].is_live(now)
    ):
        raise Unauthenticated("key_invalid")
    key = key_and_hash[0]
    organization = organizations.fetch(tx, key.organization_id)
    if organization is None or not organization.is_active:
        raise Unauthenticated("key_invalid")
    if key.last_use_time is None or abs(now - key.last_use_time) >= api_key.TOUCH_INTERVAL:
        api_keys.touch(tx, key.id, now)
    language = organization.entry.languages[0] if organization.entry.languages else "es"
    return ProvenCaller(
        Caller(
            key.id,
            "key",
            key.organization_id,
            scopes=frozenset(key.entry.scopes),
            language=language,
        ),
        organization,
    )


def _may_enter(worker: Worker, organization: Organization) -> bool:
    return worker.status is WorkerStatus.ACTIVE and organization.is_active


def _caller(
    tx: Transaction, now: datetime, worker: Worker, prove_time: datetime, *, strict: bool
) -> Caller:
    return Caller(
        worker.id,
        "worker",
        worker.organization_id,
        frozenset(worker.entry.roles),
        language=worker.entry.language,
        kin=second_factors.token_kin(tx, worker.id, now, strict=strict),
        prove_time=prove_time,
    )
