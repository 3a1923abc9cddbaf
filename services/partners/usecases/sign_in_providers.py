"""Signing in by an organisation's own provider: set up by two people of the coordination, and believed of that organisation's workers alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hmac import compare_digest
from secrets import token_urlsafe

from chassis import log
from chassis.db import Database, Transaction
from chassis.errors import NotFound, Unauthenticated, Unavailable
from chassis.ids import is_id, new_id
from chassis.tokens import SYSTEM, Caller
from chassis.wire import check_etag, etag
from keys.sealing import Keyring
from services.partners.domain.field_change import FieldChange
from services.partners.domain.sign_in_provider import ProviderEntry, SignInProvider
from services.partners.domain.worker import Worker, WorkerStatus
from services.partners.sign_in.oidc import Client, NotBelieved, RelyingParty
from services.partners.store import field_changes, organizations, sign_in_providers, workers
from services.partners.usecases.independence import second
from services.partners.usecases.password_resets import tell_her
from services.partners.usecases.passwords import mark_of

RETURN = "/sign-in/return"
"""Of our address, where a provider sends people back; it is never taken from a request."""


def etag_of(provider: SignInProvider) -> str:
    """Another one whenever what a reader sees has changed."""
    return etag(provider.version)


@dataclass(frozen=True)
class Arrived:
    """Who came back from a provider, whether she proved there who she is by more than a password, and when."""

    worker: Worker
    several_factors: bool
    prove_time: datetime


class SignInProviders:
    """The providers of all organisations. Without `public_url` nobody could come back."""

    def __init__(self, database: Database, keyring: Keyring, public_url: str, *, development: bool) -> None:
        self._database = database
        self._keyring = keyring
        self._public_url = public_url
        self._development = development
        self._party = RelyingParty(development=development)

    @property
    def redirect_uri(self) -> str:
        """Where a provider is to send people back; it has to know it."""
        return self._public_url + RETURN

    def link(self, provider: SignInProvider) -> str:
        """By which the people of the organisation sign in; empty while they can't."""
        return f"{self._public_url}/sign-in/with/{provider.id}" if provider.entry else ""

    def get(self, tx: Transaction, organization_id: str, *, hold: bool = False) -> SignInProvider:
        """That of an organisation, which may have none yet; its organisation is held with it."""
        known = organizations.fetch(tx, organization_id, hold="UPDATE" if hold else "") if is_id(organization_id) else None
        if known is None:
            raise NotFound
        return sign_in_providers.fetch(tx, organization_id=organization_id, hold=hold) or SignInProvider("", organization_id)

    def propose(
        self,
        tx: Transaction,
        caller: Caller,
        now: datetime,
        mail: Keyring,
        organization_id: str,
        tag: str,
        entry: ProviderEntry,
        client_secret: str,
    ) -> SignInProvider:
        """Proposes one, or another. The managers of the organisation are told by e-mail."""
        provider = self.get(tx, organization_id, hold=True)
        check_etag(tag, etag_of(provider))
        entry.check(client_secret, development=self._development)
        provider.id = provider.id or new_id()
        provider.propose(entry, caller.id, now)
        sign_in_providers.keep(tx, provider)
        sign_in_providers.set_proposed_secret(tx, self._keyring, provider, client_secret)
        for manager in workers.all_managers(tx, organization_id):
            tell_her(tx, mail, manager, "provider_proposed", now)
        return provider

    def confirm(self, tx: Transaction, caller: Caller, now: datetime, organization_id: str, tag: str) -> SignInProvider:
        """Agrees as a second person beside who proposed it."""
        provider = self.get(tx, organization_id, hold=True)
        check_etag(tag, etag_of(provider))
        before = provider.entry
        provider.confirm(second(tx, caller, now), now)
        sign_in_providers.take_proposed_secret(tx, self._keyring, provider)
        self._kept(tx, caller, now, provider, before)
        return provider

    def object(self, tx: Transaction, caller: Caller) -> SignInProvider:
        """Drops what is proposed for the caller's own organisation."""
        provider = self.get(tx, caller.organization_id, hold=True)
        provider.object()
        sign_in_providers.keep(tx, provider)
        return provider

    def end(self, tx: Transaction, caller: Caller, now: datetime, organization_id: str, tag: str) -> SignInProvider:
        """Ends it at once."""
        provider = self.get(tx, organization_id, hold=True)
        check_etag(tag, etag_of(provider))
        before = provider.entry
        provider.end()
        self._kept(tx, caller, now, provider, before)
        return provider

    def _kept(self, tx: Transaction, caller: Caller, now: datetime, provider: SignInProvider, before: ProviderEntry | None) -> None:
        sign_in_providers.keep(tx, provider)
        old, new = (entry.issuer if entry else None for entry in (before, provider.entry))
        change = FieldChange("sign_in_provider", now, caller.id, old, new)
        field_changes.keep(tx, provider.organization_id, provider.organization_id, [change])

    def begin(self, tx: Transaction, now: datetime, id: str, *, again: bool = False) -> tuple[str, str]:
        """The secret that stays in the browser, and where to send it. `again`: the provider is to ask who it is, also whom it knows."""
        provider = sign_in_providers.fetch(tx, id=id) if is_id(id) else None
        organization = organizations.fetch(tx, provider.organization_id) if provider else None
        client = self._client(tx, provider) if provider else None
        if provider is None or client is None or organization is None or not organization.is_active:
            raise NotFound
        secret = token_urlsafe(32)
        with _noting(provider):
            address = self._party.question(client, secret, _state(secret), **({"max_age": 0} if again else {}))
        sign_in_providers.ask(tx, mark_of(secret), provider, now)
        return secret, address

    def finish(self, tx: Transaction, now: datetime, secret: str, state: str, code: str, issuer: str) -> Arrived:
        """Who came back. Raises Unauthenticated sign_in_failed, whatever is wrong; the question is answered once, also by what is wrong."""
        if not compare_digest(state.encode(), _state(secret).encode()):
            raise Unauthenticated("sign_in_failed")
        with self._database.transaction(SYSTEM) as own:  # stays, also when this call is refused
            asked = sign_in_providers.take(own, mark_of(secret), now)
        provider = sign_in_providers.fetch(tx, id=asked[0]) if asked else None
        client = self._client(tx, provider) if provider else None
        # Another one since: what this one answered is nothing to ask that one about.
        if asked is None or provider is None or client is None or provider.confirm_time != asked[1] or not code:
            raise Unauthenticated("sign_in_failed")
        try:
            with _noting(provider):
                identity = self._party.answer(client, secret, code, issuer, now)
        except NotBelieved:
            raise Unauthenticated("sign_in_failed") from None
        worker = self._worker(tx, provider.organization_id, client.issuer, mark_of(identity.subject), identity.email)
        if worker is None:
            raise Unauthenticated("sign_in_failed")
        return Arrived(worker, identity.several_factors, identity.prove_time)

    def _worker(self, tx: Transaction, organization_id: str, issuer: str, subject_hash: bytes, email: str) -> Worker | None:
        """Whose account it is here; the first time, hers whose e-mail the issuer has verified. Never anybody's of another organisation."""
        bound = sign_in_providers.account(tx, organization_id, issuer, subject_hash)
        if bound is not None:
            worker = workers.fetch(tx, bound)
        else:
            account = workers.by_email(tx, email, hold=True) if email else None
            worker = account[0] if account else None
        if worker is None or worker.organization_id != organization_id or worker.status is not WorkerStatus.ACTIVE:
            return None
        sign_in_providers.bind(tx, organization_id, issuer, subject_hash, worker.id)
        if sign_in_providers.account(tx, organization_id, issuer, subject_hash) != worker.id:  # she has another one there
            return None
        return worker

    def _client(self, tx: Transaction, provider: SignInProvider) -> Client | None:
        entry = provider.entry
        if entry is None:
            return None
        secret = sign_in_providers.secret(tx, self._keyring, provider)
        return Client(entry.issuer, entry.client_id, secret, self.redirect_uri)


@contextmanager
def _noting(provider: SignInProvider) -> Iterator[None]:
    """Logs why a provider can't be used: its people are told only that it does not answer as it must."""
    try:
        yield
    except Unavailable as refusal:
        log.get().warning("sign_in_provider_unusable", provider_id=provider.id, reason=refusal.why)
        raise


def _state(secret: str) -> str:
    """What goes with the browser to the provider and comes back: it tells nothing of the secret, which stays."""
    return mark_of(secret).hex()
