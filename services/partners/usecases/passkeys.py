"""A passkey: made, asked for at the sign-in, ended. What it signs is the hash by which a challenge is kept, so each is good once and not for long."""

import secrets
from datetime import datetime

from chassis.db import Transaction
from chassis.errors import Conflict, Invalid, Unauthenticated
from chassis.guesses import Guesses, Origin
from chassis.ids import new_id
from chassis.tokens import Caller
from services.partners.domain.passkey import Passkey, check_room
from services.partners.domain.second_factor import Purpose
from services.partners.sign_in.passkeys import Credential, Site, WrongPasskey, names
from services.partners.store import passkeys, second_factors
from services.partners.usecases.passwords import mark_of, own, prove


def listed(tx: Transaction, caller: Caller) -> list[Passkey]:
    """Those of whoever asks, the oldest first."""
    return passkeys.of(tx, caller.id)


def begin(tx: Transaction, site: Site, guesses: Guesses, caller: Caller, now: datetime, password: str, origin: Origin) -> tuple[str, str]:
    """A challenge, and what a browser is asked: for who knows the password, or an open screen would be enough to make oneself a way in."""
    worker, password_hash = own(tx, caller)
    prove(guesses, worker, password_hash, password, now, origin)
    if not site.can_have:
        raise Conflict("passkeys_unavailable")
    known = passkeys.of(tx, worker.id)
    check_room(len(known))
    secret, mark = challenge(tx, Purpose.PASSKEY, now, worker.id)
    return secret, site.ask_to_make(mark, worker.id, worker.entry.email, worker.entry.name, [each.credential_id for each in known])


def create(tx: Transaction, site: Site, caller: Caller, now: datetime, secret: str, said: str, label: str) -> Passkey:
    """Keeps the one that was made for the challenge."""
    worker, _ = own(tx, caller)  # held, so that they are counted one after the other
    mark = mark_of(secret)
    if second_factors.challenged(tx, mark, now) != (worker.id, Purpose.PASSKEY):
        raise Invalid(("challenge", "wrong"))
    check_room(len(passkeys.of(tx, worker.id)))
    try:
        made = site.made(mark, said)
    except WrongPasskey:
        raise Invalid(("credential", "wrong")) from None
    passkey = Passkey(new_id(), worker.id, label, now, made.id, made.data, made.sign_count)
    if not passkeys.add(tx, passkey):
        raise Invalid(("credential", "wrong"))
    second_factors.answered(tx, mark)
    return passkey


def end(tx: Transaction, guesses: Guesses, caller: Caller, now: datetime, id: str, password: str, origin: Origin) -> None:
    """Takes one of hers away: whoever sits at an open screen has to know the password."""
    prove(guesses, *own(tx, caller), password, now, origin)
    if id:
        passkeys.end(tx, caller.id, id)


def ask_anybody(tx: Transaction, site: Site, now: datetime) -> tuple[str, str]:
    """A challenge, and what a browser is asked, of whom nothing is known yet."""
    if not site.can_have:
        raise Conflict("passkeys_unavailable")
    secret, mark = challenge(tx, Purpose.PASSKEY_SIGN_IN, now)
    return secret, site.ask_to_sign(mark, [])


def signer(tx: Transaction, site: Site, now: datetime, mark: bytes, worker_id: str | None, said: str) -> str:
    """Whose passkey signed the challenge with this mark: hers who is known by her password, or anybody's if it made sure whose finger it is."""
    try:
        credential_id, account_id = names(said)
        passkey = passkeys.by_credential(tx, credential_id)
        if passkey is None or passkey.worker_id != (worker_id or passkey.worker_id) or account_id not in ("", passkey.worker_id):
            raise WrongPasskey
        credential = Credential(passkey.credential_id, passkey.credential, passkey.sign_count)
        passkey.use(site.signs(mark, credential, said, verified=worker_id is None), now)
    except WrongPasskey:
        raise Unauthenticated("sign_in_failed") from None
    passkeys.keep(tx, passkey)
    return passkey.worker_id


def challenge(tx: Transaction, purpose: Purpose, now: datetime, worker_id: str | None = None) -> tuple[str, bytes]:
    """A question of which only a hash is kept; returns its secret, and that hash."""
    secret = secrets.token_urlsafe(32)
    mark = mark_of(secret)
    second_factors.challenge(tx, mark, worker_id, purpose, now)
    return secret, mark
