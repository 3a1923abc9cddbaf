"""How a caller proves who it is: e-mail and password open a session, a session or an API key is good for caller tokens.

Whatever goes wrong at the sign-in sounds the same and takes the same time. Of secrets only SHA-256 hashes are kept: they have 256 random bits.
"""

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from chassis.db import Transaction
from chassis.errors import Unauthenticated
from chassis.guesses import Budget, Guesses, Origin
from chassis.tokens import Caller
from keys.sealing import Keyring
from services.partners.domain import api_key
from services.partners.domain.organization import Organization
from services.partners.domain.worker import MUST_PROVE_MORE, TOUCH, Worker, WorkerStatus, same_email, session_lives
from services.partners.sign_in.passkeys import Site
from services.partners.store import api_keys, organizations, workers
from services.partners.usecases import second_factors
from services.partners.usecases.independence import kin_of, note_entry
from services.partners.usecases.passwords import holds, mark_of
from services.partners.usecases.second_factors import Asked
from services.partners.usecases.sign_in_providers import Arrived

# 100 wrong ones are what NIST SP 800-63B allows before an account is closed; here it goes on, with 24 a day.
OF_AN_ACCOUNT = Budget(10, timedelta(minutes=5), timedelta(days=30), most=100, then=timedelta(hours=1))
# An office, a hospital or a country's operator may stand behind one address.
OF_AN_ADDRESS = Budget(50, timedelta(minutes=1), timedelta(0))


@dataclass(frozen=True)
class Proven:
    """Who it is: as a caller, and as what pages show. A key has no worker."""

    caller: Caller
    organization: Organization
    worker: Worker | None = None


def sign_in(
    tx: Transaction,
    keyring: Keyring,
    site: Site,
    guesses: Guesses,
    now: datetime,
    email: str,
    password: str,
    origin: Origin,
    *,
    strict: bool,
) -> tuple[str, Proven] | Asked:
    """Opens a session; returns its secret and whose it is. Of an account that asks for more than the password, only what it asks for; `strict`: so does
    each whose roles must prove more."""
    guess = guesses.begin(same_email(email), origin, now)
    worker_and_hash = workers.by_email(tx, email) if "\x00" not in email else None
    right = holds(worker_and_hash[1] if worker_and_hash else None, password)
    if right and worker_and_hash:  # it takes long to look at, and may have become another one meanwhile
        right = workers.has_still(tx, worker_and_hash[0].id, worker_and_hash[1])
    organization = organizations.fetch(tx, worker_and_hash[0].organization_id) if worker_and_hash else None
    enters = worker_and_hash is not None and organization is not None and right and _may_enter(worker_and_hash[0], organization)
    guesses.settle(guess, enters, now)
    if worker_and_hash is None or organization is None or not enters:
        raise Unauthenticated("sign_in_failed")
    worker = worker_and_hash[0]
    required = strict and not MUST_PROVE_MORE.isdisjoint(worker.entry.roles)
    return second_factors.ask(tx, keyring, site, worker, now, required=required) or _opened(
        tx, now, worker, organization, origin.device, strict=strict
    )


def finish_sign_in(
    tx: Transaction,
    keyring: Keyring,
    site: Site,
    guesses: Guesses,
    now: datetime,
    challenge: str,
    code: str,
    passkey: str,
    device: str,
    *,
    strict: bool,
) -> tuple[str, Proven, tuple[str, ...]]:
    """Opens the session of an account that asks for more than the password, or of a passkey's that signs in alone; with the spare codes, if a code has just
    been taken into use."""
    answered = second_factors.answer(tx, keyring, site, guesses, now, challenge, code, passkey)
    worker = workers.fetch(tx, answered.worker_id)
    organization = organizations.fetch(tx, worker.organization_id) if worker else None
    if worker is None or organization is None or not _may_enter(worker, organization):
        raise Unauthenticated("sign_in_failed")
    return *_opened(tx, now, worker, organization, device, strict=strict), answered.recovery_codes


def by_provider(
    tx: Transaction, keyring: Keyring, site: Site, now: datetime, arrived: Arrived, device: str, *, strict: bool
) -> tuple[str, Proven] | Asked:
    """Opens the session of who came back from her organisation's provider; or what is asked for beside that, as beside a password."""
    worker = arrived.worker
    organization = organizations.fetch(tx, worker.organization_id)
    if organization is None or not _may_enter(worker, organization):
        raise Unauthenticated("sign_in_failed")
    required = strict and not arrived.several_factors and not MUST_PROVE_MORE.isdisjoint(worker.entry.roles)
    return second_factors.ask(tx, keyring, site, worker, now, required=required) or _opened(
        tx, now, worker, organization, device, strict=strict
    )


def _opened(tx: Transaction, now: datetime, worker: Worker, organization: Organization, device: str, *, strict: bool) -> tuple[str, Proven]:
    secret = secrets.token_urlsafe(32)
    workers.open_session(tx, mark_of(secret), worker.id, now)
    note_entry(tx, worker.id, device, now)
    return secret, _worker(tx, now, worker, organization, now, strict=strict)


def from_session(tx: Transaction, now: datetime, secret: str, *, strict: bool, passive: bool = False) -> Proven:
    """Whose session it is; using it keeps it from being idle, unless it was `passive`: a page asked by itself."""
    session = workers.session(tx, mark_of(secret))
    if session is None:
        raise Unauthenticated("session_ended")
    create_time, last_use_time, prove_time, worker, organization = session
    if not session_lives(create_time, last_use_time, now) or not _may_enter(worker, organization):
        raise Unauthenticated("session_ended")
    if not passive and abs(now - last_use_time) >= TOUCH:
        workers.touch_session(tx, mark_of(secret), now)
    return _worker(tx, now, worker, organization, prove_time, strict=strict)


def from_api_key(tx: Transaction, now: datetime, presented_key: str) -> Proven:
    """Whose key it is."""
    parts = api_key.parts(presented_key)
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
    if key.last_use_time is None or abs(now - key.last_use_time) >= api_key.TOUCH:
        api_keys.touch(tx, key.id, now)
    language = organization.entry.languages[0] if organization.entry.languages else "es"
    return Proven(Caller(key.id, "key", key.organization_id, scopes=frozenset(key.entry.scopes), language=language), organization)


def end_session(tx: Transaction, secret: str) -> None:
    """Ends a session; one that has ended stays so."""
    workers.end_session(tx, mark_of(secret))


def _may_enter(worker: Worker, organization: Organization) -> bool:
    return worker.status is WorkerStatus.ACTIVE and organization.is_active


def _worker(tx: Transaction, now: datetime, worker: Worker, organization: Organization, prove_time: datetime, *, strict: bool) -> Proven:
    caller = Caller(
        worker.id,
        "worker",
        worker.organization_id,
        frozenset(worker.entry.roles),
        language=worker.entry.language,
        kin=kin_of(tx, worker.id, now, strict=strict),
        prove_time=prove_time,
    )
    return Proven(caller, organization, worker)
