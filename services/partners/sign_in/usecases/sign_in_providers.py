"""Sign-in through an organisation's own provider.

Two coordinators set up a provider. The provider is trusted only for that organisation's workers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hmac import compare_digest
from secrets import token_urlsafe

from chassis import log
from chassis.audit import Entry
from chassis.db import Database, Transaction
from chassis.errors import Conflict, NotFound, Unauthenticated, Unavailable
from chassis.ids import is_id, new_id
from chassis.rpc import Call
from chassis.tokens import SYSTEM
from chassis.wire import check_etag, etag
from keys.sealing import Keyring
from protos.partners.v1 import members_pb2 as pb
from services.partners.members.domain.worker import Worker, WorkerStatus
from services.partners.members.store import organizations, workers
from services.partners.members.usecases.independence import with_present_kin
from services.partners.members.usecases.notices import notify_all_managers
from services.partners.members.usecases.passwords import mark_of
from services.partners.members.usecases.standing import lock_account
from services.partners.network.domain.field_change import FieldChange
from services.partners.network.store import field_changes
from services.partners.sign_in.domain.sign_in_provider import ProviderEntry, SignInProvider
from services.partners.sign_in.protocols.oidc import Client, IdentityNotProven, RelyingParty
from services.partners.sign_in.store import sign_in_providers
from services.partners.sign_in.wire.sign_in_providers import sign_in_provider

RETURN_PATH = "/sign-in/return"
"""The path on our site to which a provider sends people back.

The path is constant, and never taken from a request.
"""


@dataclass(frozen=True)
class ReturnedWorker:
    """The worker who came back from a provider, with the time of her proof there.

    `several_factors`: she used more than a password there.
    """

    worker: Worker
    several_factors: bool
    prove_time: datetime


class SignInProviders:
    """Handles the rpcs for sign-in providers, and the sign-ins through them.

    `public_url`: the beginning of the address to which providers send people back.
    """

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        mail: Keyring,
        public_url: str,
        *,
        development: bool,
    ) -> None:
        """Sets up the handlers; `mail` seals e-mails to managers."""
        self._database = database
        self._keyring = keyring
        self._mail = mail
        self._public_url = public_url
        self._development = development
        self._party = RelyingParty(development=development)

    def GetSignInProvider(
        self, request: pb.GetSignInProviderRequest, call: Call
    ) -> pb.SignInProvider:
        """Returns the provider of an organisation; an empty provider if it has none."""
        return self._message(_fetch(call.tx, request.organization_id))

    def ProposeSignInProvider(
        self, request: pb.ProposeSignInProviderRequest, call: Call
    ) -> pb.SignInProvider:
        """Proposes a provider for an organisation, even if it already has one.

        The managers of the organisation are notified by e-mail, and may object. Raises Conflict if
        the organisation is not active, since its managers could not sign in.
        """
        tx, now, client_secret = call.tx, call.clock.now(), request.client_secret.strip()
        entry = ProviderEntry(request.provider.issuer.strip(), request.provider.client_id.strip())
        provider = _fetch_of_active(tx, request.organization_id)
        check_etag(request.etag, etag(provider.version))
        lock_account(tx, call.caller)
        entry.check(client_secret, development=self._development)
        provider.id = provider.id or new_id()
        provider.propose(entry, call.caller.id, now)
        sign_in_providers.save(tx, provider)
        sign_in_providers.set_proposed_secret(tx, self._keyring, provider, client_secret)
        notify_all_managers(tx, self._mail, provider.organization_id, "provider_proposed", now)
        call.trail.append(Entry("sign_in_provider_propose", provider.organization_id))
        return self._message(provider)

    def ConfirmSignInProvider(
        self, request: pb.ConfirmSignInProviderRequest, call: Call
    ) -> pb.SignInProvider:
        """Records a second person's agreement to a proposed provider, and puts it into use.

        Raises Conflict if the organisation is not active, since its managers could not sign in and
        object.
        """
        call.trail.append(Entry("sign_in_provider_confirm", request.organization_id))
        now, provider = call.clock.now(), _fetch_of_active(call.tx, request.organization_id)
        check_etag(request.etag, etag(provider.version))
        before = provider.entry
        provider.confirm(with_present_kin(call.tx, call.caller, now), now)
        sign_in_providers.take_proposed_secret(call.tx, self._keyring, provider)
        # A provider may give each client other ids for the same people (OpenID Connect Core 8.1).
        if before and provider.entry and before.client_id != provider.entry.client_id:
            sign_in_providers.forget_accounts_of(call.tx, provider.organization_id)
        _save(call, provider, before)
        return self._message(provider)

    def ObjectToSignInProvider(
        self, request: pb.ObjectToSignInProviderRequest, call: Call
    ) -> pb.ObjectToSignInProviderResponse:
        """Drops the proposed provider of the caller's own organisation."""
        call.trail.append(Entry("sign_in_provider_object", call.caller.organization_id))
        provider = _fetch(call.tx, call.caller.organization_id, lock=True)
        provider.object()
        sign_in_providers.save(call.tx, provider)
        return pb.ObjectToSignInProviderResponse()

    def EndSignInProvider(
        self, request: pb.EndSignInProviderRequest, call: Call
    ) -> pb.SignInProvider:
        """Ends the use of a provider at once."""
        call.trail.append(Entry("sign_in_provider_end", request.organization_id))
        provider = _fetch(call.tx, request.organization_id, lock=True)
        check_etag(request.etag, etag(provider.version))
        before = provider.entry
        provider.end()
        _save(call, provider, before)
        return self._message(provider)

    def BeginProviderSignIn(
        self, request: pb.BeginProviderSignInRequest, call: Call
    ) -> pb.BeginProviderSignInResponse:
        """Returns the secret that stays in the browser, and the address to send the browser to."""
        secret, address = self.begin(call.tx, call.clock.now(), request.provider_id)
        return pb.BeginProviderSignInResponse(challenge=secret, authorization_url=address)

    def begin(
        self, tx: Transaction, now: datetime, id: str, *, reauthenticate: bool = False
    ) -> tuple[str, str]:
        """Returns the secret that stays in the browser, and the address to send the browser to.

        `reauthenticate`: the provider must authenticate the person even if she is signed in there.
        """
        provider = sign_in_providers.fetch(tx, id=id) if is_id(id) else None
        organization = organizations.fetch(tx, provider.organization_id) if provider else None
        client = self._client(tx, provider) if provider else None
        if provider is None or client is None or organization is None or not organization.is_active:
            raise NotFound
        secret = token_urlsafe(32)
        with _logging_failure(provider):
            address = self._party.authorization_url(
                client, secret, _state(secret), **({"max_age": 0} if reauthenticate else {})
            )
        sign_in_providers.add_sign_in(tx, mark_of(secret), provider, now)
        return secret, address

    def finish(
        self, tx: Transaction, now: datetime, secret: str, state: str, code: str, issuer: str
    ) -> ReturnedWorker:
        """Returns the worker who came back.

        Raises Unauthenticated sign_in_failed, whatever is wrong with the answer, and Unavailable if
        the provider can't be used. An answer with the right `state` uses up the secret, even if the
        answer is wrong.
        """
        if not compare_digest(state.encode(), _state(secret).encode()):
            raise Unauthenticated("sign_in_failed")
        with self._database.transaction(SYSTEM) as own_tx:  # committed even if this call is refused
            sign_in = sign_in_providers.take_sign_in(own_tx, mark_of(secret), now)
        provider = sign_in_providers.fetch(tx, id=sign_in[0]) if sign_in else None
        client = self._client(tx, provider) if provider else None
        # If the provider was replaced meanwhile, the new provider can't check the answer of the old
        # provider.
        if (
            sign_in is None
            or provider is None
            or client is None
            or provider.confirm_time != sign_in[1]
            or not code
        ):
            raise Unauthenticated("sign_in_failed")
        try:
            with _logging_failure(provider):
                identity = self._party.exchange_code(client, secret, code, issuer, now)
        except IdentityNotProven:
            raise Unauthenticated("sign_in_failed") from None
        worker = _bound_worker(
            tx, provider.organization_id, client.issuer, mark_of(identity.subject), identity.email
        )
        if worker is None:
            raise Unauthenticated("sign_in_failed")
        return ReturnedWorker(worker, identity.several_factors, min(identity.prove_time, now))

    def _client(self, tx: Transaction, provider: SignInProvider) -> Client | None:
        entry = provider.entry
        if entry is None:
            return None
        secret = sign_in_providers.secret(tx, self._keyring, provider)
        return Client(entry.issuer, entry.client_id, secret, self._redirect_uri)

    @property
    def _redirect_uri(self) -> str:
        """The address to which a provider sends people back; it must be registered there."""
        return self._public_url + RETURN_PATH

    def _message(self, provider: SignInProvider) -> pb.SignInProvider:
        """Returns the provider as a message.

        If a provider is in use, the message has the address where the organisation's workers sign
        in.
        """
        message = sign_in_provider(provider)
        message.redirect_uri = self._redirect_uri
        message.sign_in_url = (
            f"{self._public_url}/sign-in/with/{provider.id}" if provider.entry else ""
        )
        return message


def _fetch(tx: Transaction, organization_id: str, *, lock: bool = False) -> SignInProvider:
    """Returns the provider of an organisation; an empty provider if it has none.

    With `lock`, the provider and its organisation are locked.
    """
    organization = (
        organizations.fetch(tx, organization_id, lock="UPDATE" if lock else "")
        if is_id(organization_id)
        else None
    )
    if organization is None:
        raise NotFound
    return sign_in_providers.fetch(
        tx, organization_id=organization_id, lock=lock
    ) or SignInProvider("", organization_id)


def _fetch_of_active(tx: Transaction, organization_id: str) -> SignInProvider:
    """Returns the provider of an organisation, locked.

    Raises Conflict if the organisation is not active.
    """
    provider = _fetch(tx, organization_id, lock=True)
    organization = organizations.fetch(tx, organization_id)
    if organization is None or not organization.is_active:
        raise Conflict("illegal_transition")
    return provider


def _save(call: Call, provider: SignInProvider, before: ProviderEntry | None) -> None:
    sign_in_providers.save(call.tx, provider)
    old, new = (entry.issuer if entry else None for entry in (before, provider.entry))
    change = FieldChange("sign_in_provider", call.clock.now(), call.caller.id, old, new)
    field_changes.save(call.tx, provider.organization_id, provider.organization_id, [change])


def _bound_worker(
    tx: Transaction, organization_id: str, issuer: str, subject_hash: bytes, email: str
) -> Worker | None:
    """Returns the worker of the organisation whom the issuer names.

    At her first sign-in, the worker is found by the e-mail address that the issuer has verified.
    Returns None if no active account is found, or if it is bound to another subject of the issuer.
    """
    bound_worker_id = sign_in_providers.account(tx, organization_id, issuer, subject_hash)
    if bound_worker_id is not None:
        worker = workers.fetch(tx, bound_worker_id)
    else:
        account = workers.by_email(tx, email, lock=True) if email else None
        worker = account[0] if account else None
    if (
        worker is None
        or worker.organization_id != organization_id
        or worker.status is not WorkerStatus.ACTIVE
    ):
        return None
    sign_in_providers.bind(tx, organization_id, issuer, subject_hash, worker.id)
    # she has another account at the provider
    if sign_in_providers.account(tx, organization_id, issuer, subject_hash) != worker.id:
        return None
    return worker


@contextmanager
def _logging_failure(provider: SignInProvider) -> Iterator[None]:
    """Logs why a provider can't be used.

    The organisation's workers see only that the provider does not answer as it should.
    """
    try:
        yield
    except Unavailable as refusal:
        log.get().warning(
            "sign_in_provider_unusable", provider_id=provider.id, reason=refusal.cause
        )
        raise


def _state(secret: str) -> str:
    """Returns the state that goes with the browser to the provider and comes back.

    It does not reveal the secret, which stays in the browser.
    """
    return mark_of(secret).hex()
