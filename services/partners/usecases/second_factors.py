"""What is asked for beside the password: a code of an app, begun, taken into use, ended; and at the sign-in that, or a passkey."""

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from chassis.db import Transaction
from chassis.errors import Conflict, Invalid, Unauthenticated
from chassis.guesses import Budget, Guesses, Origin
from chassis.tokens import Caller
from keys.sealing import Keyring
from services.partners.domain.second_factor import RECOVERY_CODES, Purpose, SecondFactor
from services.partners.domain.worker import Worker
from services.partners.sign_in import totp
from services.partners.sign_in.passkeys import Site
from services.partners.store import passkeys, second_factors
from services.partners.usecases.passkeys import challenge, signer
from services.partners.usecases.passwords import mark_of, own, prove

OF_A_CODE = Budget(10, timedelta(minutes=5), timedelta(days=30), most=100, then=timedelta(hours=1))
"""A code has a million values, of which three are good: in a year 9,000 guesses. Whoever gets there knew the password, so no address is counted."""
_SECRET = 20  # bytes: RFC 4226 recommends 160 bits


@dataclass(frozen=True)
class Asked:
    """What comes after the password: the challenge with which it comes; whether a code will do; and what a browser is asked, if a passkey will."""

    challenge: str
    code: bool
    passkey_options: str
    set_up: tuple[str, str] = ("", "")
    """The secret of an app, in base 32 and as an app reads it, that a first code takes into use."""


@dataclass(frozen=True)
class Answered:
    """Whose sign-in is complete; the codes for the day on which the app is gone, if it has just been taken into use."""

    worker_id: str
    recovery_codes: tuple[str, ...] = ()


def get(tx: Transaction, caller: Caller) -> SecondFactor:
    """That of whoever asks."""
    return second_factors.get(tx, caller.id) or SecondFactor(caller.id)


def begin(
    tx: Transaction, keyring: Keyring, guesses: Guesses, caller: Caller, now: datetime, password: str, origin: Origin
) -> tuple[str, str]:
    """Another secret, in base 32 and as an app reads it: for who knows the password, or an open screen would be enough to lock its owner out."""
    worker, password_hash = own(tx, caller)
    prove(guesses, worker, password_hash, password, now, origin)
    factor = second_factors.get(tx, caller.id, hold=True)
    if factor is not None and factor.confirm_time is not None:
        raise Conflict("illegal_transition")
    return _begun(tx, keyring, worker)


def confirm(tx: Transaction, keyring: Keyring, guesses: Guesses, caller: Caller, now: datetime, code: str) -> list[str]:
    """Takes it into use by a first code; returns the codes for the day on which the app is gone."""
    factor = second_factors.get(tx, caller.id, hold=True)
    if factor is None or factor.confirm_time is not None:
        raise Conflict("illegal_transition")
    if (codes := _confirmed(tx, keyring, guesses, factor, now, code)) is None:
        raise Invalid(("code", "wrong"))
    return codes


def _begun(tx: Transaction, keyring: Keyring, worker: Worker) -> tuple[str, str]:
    secret = secrets.token_bytes(_SECRET)
    second_factors.begin(tx, keyring, worker.id, secret)
    return totp.words(secret, worker.entry.email)


def _confirmed(tx: Transaction, keyring: Keyring, guesses: Guesses, factor: SecondFactor, now: datetime, code: str) -> list[str] | None:
    """The codes for the day on which the app is gone, now that a first code took it into use; None: it is wrong."""
    guess = guesses.begin(factor.worker_id, Origin(), now)
    right = _takes(tx, keyring, factor, code, now)
    guesses.settle(guess, right, now)
    if not right:
        return None
    made = [secrets.token_hex(5) for _ in range(RECOVERY_CODES)]
    factor.confirm_time, factor.recovery_hashes = now, tuple(mark_of(each) for each in made)
    second_factors.keep(tx, factor)
    return [f"{each[:5]}-{each[5:]}" for each in made]


def end(tx: Transaction, guesses: Guesses, caller: Caller, now: datetime, password: str, origin: Origin) -> None:
    """Ends its use: whoever sits at an open screen has to know the password."""
    prove(guesses, *own(tx, caller), password, now, origin)
    second_factors.end(tx, caller.id)


def ask(tx: Transaction, keyring: Keyring, site: Site, worker: Worker, now: datetime, *, required: bool) -> Asked | None:
    """What is asked for beside the password; of an account that must have it asked for (`required`) and has not, that it sets up a code first."""
    factor, known = second_factors.get(tx, worker.id), passkeys.of(tx, worker.id)
    code = factor is not None and factor.confirm_time is not None
    if not (code or known or required):
        return None
    if not code and not known:
        secret, _ = challenge(tx, Purpose.SET_UP, now, worker.id)
        return Asked(secret, True, "", _begun(tx, keyring, worker))
    secret, mark = challenge(tx, Purpose.SIGN_IN, now, worker.id)
    return Asked(secret, code, site.ask_to_sign(mark, [each.credential_id for each in known]) if known else "")


def answer(
    tx: Transaction, keyring: Keyring, site: Site, guesses: Guesses, now: datetime, secret: str, code: str, passkey: str
) -> Answered:
    """Whose sign-in this completes: a code, or what a passkey signed. Raises Unauthenticated sign_in_failed, whatever is wrong."""
    mark = mark_of(secret)
    worker_id, purpose = second_factors.challenged(tx, mark, now) or (None, None)
    codes: list[str] = []
    if passkey and purpose in (Purpose.SIGN_IN, Purpose.PASSKEY_SIGN_IN):
        worker_id = signer(tx, site, now, mark, worker_id, passkey)
    elif worker_id and purpose is Purpose.SIGN_IN:
        if not takes_code(tx, keyring, guesses, now, worker_id, code):
            raise Unauthenticated("sign_in_failed")
    elif worker_id and purpose is Purpose.SET_UP:
        codes = _first_code(tx, keyring, guesses, now, worker_id, code)
    else:
        raise Unauthenticated("sign_in_failed")
    second_factors.answered(tx, mark)
    return Answered(worker_id, tuple(codes))


def _first_code(tx: Transaction, keyring: Keyring, guesses: Guesses, now: datetime, worker_id: str, code: str) -> list[str]:
    factor = second_factors.get(tx, worker_id, hold=True)
    # In use already, or a passkey is there: then this question is out of date, and the other one is to be answered.
    if factor is None or factor.confirm_time is not None or passkeys.of(tx, worker_id):
        raise Unauthenticated("sign_in_failed")
    codes = _confirmed(tx, keyring, guesses, factor, now, code)
    if codes is None:
        raise Unauthenticated("sign_in_failed")
    return codes


def takes_code(
    tx: Transaction, keyring: Keyring, guesses: Guesses, now: datetime, worker_id: str, code: str, origin: Origin | None = None
) -> bool:
    """Whether it is a code of her app, or a spare one; then it is good no more. It is counted as one guess."""
    factor = second_factors.get(tx, worker_id, hold=True)
    if factor is None or factor.confirm_time is None:
        return False
    guess = guesses.begin(factor.worker_id, origin or Origin(), now)
    right = _takes(tx, keyring, factor, code, now) or _takes_recovery(factor, code)
    guesses.settle(guess, right, now)
    if right:
        second_factors.keep(tx, factor)
    return right


def _takes(tx: Transaction, keyring: Keyring, factor: SecondFactor, code: str, now: datetime) -> bool:
    """Whether it is a code of the app that is good now; then it is good no more."""
    secret, said = second_factors.secret(tx, keyring, factor.worker_id), "".join(code.split()).encode()
    right = [step for step in factor.steps(int(now.timestamp()) // totp.STEP) if hmac.compare_digest(totp.code(secret, step), said)]
    if right:
        factor.last_step = right[-1]
    return bool(right)


def _takes_recovery(factor: SecondFactor, code: str) -> bool:
    mark = mark_of("".join(code.split()).replace("-", "").lower())
    left = tuple(each for each in factor.recovery_hashes if not hmac.compare_digest(each, mark))
    taken = len(left) < len(factor.recovery_hashes)
    factor.recovery_hashes = left
    return taken
