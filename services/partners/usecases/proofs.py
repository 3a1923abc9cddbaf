"""The step-up: whoever is signed in proves again who she is, before her session does what outlasts it.

She proves it by what her sign-in asks for beside the password; else by her organisation's provider, where she signs in by one; else by her password. Wrong
answers have the sign-in's budget, counted apart: whoever holds a stolen session does not keep her from signing in.
"""

from dataclasses import dataclass
from datetime import datetime

from chassis.db import Transaction
from chassis.errors import Invalid, Unauthenticated
from chassis.guesses import Guesses, Origin
from chassis.tokens import PROOF_LIFE, Caller
from keys.sealing import Keyring
from services.partners.domain.passkey import Passkey
from services.partners.domain.second_factor import Purpose
from services.partners.domain.worker import session_lives
from services.partners.sign_in.passkeys import Site
from services.partners.store import passkeys, second_factors, sign_in_providers, workers
from services.partners.usecases.passkeys import challenge, signer
from services.partners.usecases.passwords import mark_of, own, prove
from services.partners.usecases.second_factors import takes_code
from services.partners.usecases.sign_in_providers import SignInProviders


@dataclass(frozen=True)
class Ways:
    """By what an account proves who it is: by a code or a passkey, or by its provider, or by its password."""

    code: bool
    passkeys: list[Passkey]
    provider_id: str

    @property
    def password(self) -> bool:
        """Whether there is nothing but the password."""
        return not (self.code or self.passkeys or self.provider_id)


@dataclass(frozen=True)
class Question:
    """What is asked for: what comes with a `challenge` answers a passkey's options, or comes back from the provider's address."""

    code: bool
    password: bool
    challenge: str = ""
    passkey_options: str = ""
    authorization_url: str = ""


@dataclass(frozen=True)
class Answer:
    """What somebody answers; all but one kind of it is empty."""

    challenge: str = ""
    code: str = ""
    passkey: str = ""
    password: str = ""
    state: str = ""
    provider_code: str = ""
    issuer: str = ""


def ways_of(tx: Transaction, caller: Caller) -> Ways:
    """Returns by what the caller's account proves who it is."""
    factor, known = second_factors.get(tx, caller.id), passkeys.of(tx, caller.id)
    code = factor is not None and factor.confirm_time is not None
    provider = None
    if not code and not known and sign_in_providers.has_account(tx, caller.id):
        provider = sign_in_providers.fetch(tx, organization_id=caller.organization_id)
    return Ways(code, known, provider.id if provider and provider.entry else "")


def begin(tx: Transaction, site: Site, providers: SignInProviders, caller: Caller, now: datetime) -> Question:
    """Returns what is asked for."""
    ways = ways_of(tx, caller)
    if ways.provider_id:
        secret, address = providers.begin(tx, now, ways.provider_id, again=True)
        return Question(code=False, password=False, challenge=secret, authorization_url=address)
    if not ways.passkeys:
        return Question(ways.code, ways.password)
    secret, mark = challenge(tx, Purpose.PROOF, now, caller.id)
    return Question(
        ways.code, password=False, challenge=secret, passkey_options=site.ask_to_sign(mark, [each.credential_id for each in ways.passkeys])
    )


def prove_session(
    tx: Transaction,
    keyring: Keyring,
    site: Site,
    guesses: Guesses,
    codes: Guesses,
    providers: SignInProviders,
    caller: Caller,
    now: datetime,
    secret: str,
    answer: Answer,
    origin: Origin,
) -> datetime:
    """Has one session of the caller proved by her answer; returns until when that is good. Raises Invalid, by field, for what is wrong."""
    worker, password_hash = own(tx, caller)
    session = workers.session(tx, mark_of(secret))
    if session is None or session[3].id != caller.id or not session_lives(session[0], session[1], now):
        raise Invalid(("session_secret", "wrong"))
    ways, time = ways_of(tx, caller), now
    if ways.provider_id:
        time = _came_back(tx, providers, caller, now, answer)
    elif ways.password:
        if not answer.password:
            raise Invalid(("password", "required"))
        prove(guesses, worker, password_hash, answer.password, now, origin)
    elif ways.passkeys and (answer.passkey or not ways.code):
        _signed(tx, site, caller, now, answer)
    elif not answer.code:
        raise Invalid(("code", "required"))
    elif not takes_code(tx, keyring, codes, now, caller.id, answer.code, Origin(organization_id=caller.organization_id)):
        raise Invalid(("code", "wrong"))
    workers.prove_session(tx, mark_of(secret), caller.id, time)
    return time + PROOF_LIFE


def _signed(tx: Transaction, site: Site, caller: Caller, now: datetime, answer: Answer) -> None:
    if not answer.passkey:
        raise Invalid(("passkey", "required"))
    mark = mark_of(answer.challenge)
    if second_factors.challenged(tx, mark, now) != (caller.id, Purpose.PROOF):
        raise Invalid(("challenge", "wrong"))
    try:
        signer(tx, site, now, mark, caller.id, answer.passkey)
    except Unauthenticated:
        raise Invalid(("passkey", "wrong")) from None
    second_factors.answered(tx, mark)


def _came_back(tx: Transaction, providers: SignInProviders, caller: Caller, now: datetime, answer: Answer) -> datetime:
    """Returns when she proved to her organisation's provider who she is."""
    try:
        arrived = providers.finish(tx, now, answer.challenge, answer.state, answer.provider_code, answer.issuer)
    except Unauthenticated:
        raise Invalid(("challenge", "wrong")) from None
    if arrived.worker.id != caller.id:
        raise Invalid(("challenge", "wrong"))
    return min(arrived.prove_time, now)
