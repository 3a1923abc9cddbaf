"""Second factors: setting up, confirming and removing an app that makes codes.

Also completes sign-ins with a code or a passkey.
"""

import hmac
import secrets
from datetime import datetime, timedelta

from chassis.audit import Entry
from chassis.db import Transaction
from chassis.errors import Conflict, Invalid, Unauthenticated
from chassis.guesses import Budget, Guesses, Origin
from chassis.rpc import Call
from chassis.second import Kin
from keys.sealing import Keyring
from protos.partners.v1 import accounts_pb2, members_pb2
from services.partners.members.domain.worker import Worker
from services.partners.members.usecases.independence import kin_of
from services.partners.members.usecases.passwords import check_own_password, mark_of, own_account
from services.partners.sign_in.domain.second_factor import RECOVERY_CODES, Purpose, SecondFactor
from services.partners.sign_in.protocols import totp
from services.partners.sign_in.protocols.passkeys import Site
from services.partners.sign_in.store import passkeys, second_factors
from services.partners.sign_in.usecases.passkeys import (
    create_challenge,
    second_factor_message,
    signer,
)

CODE_BUDGET = Budget(
    10, timedelta(minutes=5), timedelta(days=30), wrong_limit=100, slow_interval=timedelta(hours=1)
)
"""The budget for guessing codes.

Of a million possible codes, three are valid at a time; the budget allows 9,000 guesses in a year.
Guesses are not counted by IP address, because a guesser must already know the password.
"""
_SECRET_BYTES = 20  # length of an app's secret; RFC 4226 recommends 160 bits


class SecondFactors:
    """Handles the rpcs for the app that makes an account's codes."""

    def __init__(
        self, keyring: Keyring, site: Site, guesses: Guesses, code_guesses: Guesses
    ) -> None:
        """Sets up the handlers; `guesses` counts wrong passwords, `code_guesses` wrong codes."""
        self._keyring = keyring
        self._site = site
        self._guesses = guesses
        self._code_guesses = code_guesses

    def GetSecondFactor(
        self, request: accounts_pb2.GetSecondFactorRequest, call: Call
    ) -> accounts_pb2.SecondFactor:
        """Returns the second factors of the caller's account."""
        return second_factor_message(call, self._site)

    def BeginSecondFactor(
        self, request: accounts_pb2.BeginSecondFactorRequest, call: Call
    ) -> accounts_pb2.BeginSecondFactorResponse:
        """Returns a new secret, in base 32 and as a URI for an app.

        Needs the password, because otherwise an unattended screen would be enough to lock out the
        owner of the account.
        """
        call.trail.append(Entry("second_factor_begin", call.caller.id))
        worker, password_hash = own_account(call.tx, call.caller)
        check_own_password(
            self._guesses, worker, password_hash, request.password, call.clock.now(), call.origin
        )
        factor = second_factors.get(call.tx, worker.id, lock=True)
        if factor is not None and factor.confirm_time is not None:
            raise Conflict("illegal_transition")
        secret, uri = _store_new_secret(call.tx, self._keyring, worker)
        return accounts_pb2.BeginSecondFactorResponse(secret=secret, uri=uri)

    def ConfirmSecondFactor(
        self, request: accounts_pb2.ConfirmSecondFactorRequest, call: Call
    ) -> accounts_pb2.ConfirmSecondFactorResponse:
        """Activates an app with its first code; returns the recovery codes."""
        call.trail.append(Entry("second_factor_confirm", call.caller.id))
        factor = second_factors.get(call.tx, call.caller.id, lock=True)
        if factor is None or factor.confirm_time is not None:
            raise Conflict("illegal_transition")
        recovery_codes = _activate(
            call.tx, self._keyring, self._code_guesses, factor, call.clock.now(), request.code
        )
        if recovery_codes is None:
            raise Invalid(("code", "wrong"))
        return accounts_pb2.ConfirmSecondFactorResponse(recovery_codes=recovery_codes)

    def EndSecondFactor(
        self, request: accounts_pb2.EndSecondFactorRequest, call: Call
    ) -> accounts_pb2.SecondFactor:
        """Ends the use of an app. Needs the password: an unattended screen is not enough."""
        call.trail.append(Entry("second_factor_end", call.caller.id))
        check_own_password(
            self._guesses,
            *own_account(call.tx, call.caller),
            request.password,
            call.clock.now(),
            call.origin,
        )
        second_factors.end(call.tx, call.caller.id)
        return second_factor_message(call, self._site)


def required_factors(
    tx: Transaction,
    keyring: Keyring,
    site: Site,
    worker: Worker,
    now: datetime,
    *,
    must_set_up: bool,
) -> members_pb2.SignInResponse | None:
    """Returns the factors that a sign-in needs after the first proof; None if it needs none.

    `must_set_up`: an account without a second factor has to set up an app first.
    """
    factor, own_passkeys = second_factors.get(tx, worker.id), passkeys.by_worker(tx, worker.id)
    has_app = factor is not None and factor.confirm_time is not None
    if not (has_app or own_passkeys or must_set_up):
        return None
    if not has_app and not own_passkeys:
        secret, _ = create_challenge(tx, Purpose.SET_UP, now, worker.id)
        set_up_secret, uri = _store_new_secret(tx, keyring, worker)
        return members_pb2.SignInResponse(
            challenge=secret, asks_code=True, set_up_secret=set_up_secret, set_up_uri=uri
        )
    secret, mark = create_challenge(tx, Purpose.SIGN_IN, now, worker.id)
    options = (
        site.signing_options(mark, [passkey.credential_id for passkey in own_passkeys])
        if own_passkeys
        else ""
    )
    return members_pb2.SignInResponse(challenge=secret, asks_code=has_app, passkey_options=options)


def complete(
    tx: Transaction,
    keyring: Keyring,
    site: Site,
    guesses: Guesses,
    now: datetime,
    request: members_pb2.FinishSignInRequest,
) -> tuple[str, list[str]]:
    """Returns the id of the worker whose sign-in the request completes.

    Also returns recovery codes if the request activated an app. Raises Unauthenticated
    sign_in_failed, whatever is wrong.
    """
    mark = mark_of(request.challenge)
    worker_id, purpose = second_factors.challenge_owner(tx, mark, now) or (None, None)
    recovery_codes: list[str] = []
    if request.passkey and purpose in (Purpose.SIGN_IN, Purpose.PASSKEY_SIGN_IN):
        worker_id = signer(tx, site, now, mark, worker_id, request.passkey)
    elif worker_id and purpose is Purpose.SIGN_IN:
        if not use_code(tx, keyring, guesses, now, worker_id, request.code):
            raise Unauthenticated("sign_in_failed")
    elif worker_id and purpose is Purpose.SET_UP:
        recovery_codes = _set_up_app(tx, keyring, guesses, now, worker_id, request.code)
    else:
        raise Unauthenticated("sign_in_failed")
    second_factors.delete_challenge(tx, mark)
    return worker_id, recovery_codes


def _store_new_secret(tx: Transaction, keyring: Keyring, worker: Worker) -> tuple[str, str]:
    secret = secrets.token_bytes(_SECRET_BYTES)
    second_factors.begin(tx, keyring, worker.id, secret)
    return totp.secret_and_uri(secret, worker.entry.email)


def _activate(
    tx: Transaction,
    keyring: Keyring,
    guesses: Guesses,
    factor: SecondFactor,
    now: datetime,
    code: str,
) -> list[str] | None:
    """Activates the app with a first code.

    Returns the recovery codes; None if the code is wrong.
    """
    guess = guesses.begin(factor.worker_id, Origin(), now)
    is_accepted = _use_app_code(tx, keyring, factor, code, now)
    guesses.settle(guess, is_accepted, now)
    if not is_accepted:
        return None
    recovery_codes = [secrets.token_hex(5) for _ in range(RECOVERY_CODES)]
    factor.confirm_time = now
    factor.recovery_hashes = tuple(map(mark_of, recovery_codes))
    second_factors.save(tx, factor)
    return [f"{recovery_code[:5]}-{recovery_code[5:]}" for recovery_code in recovery_codes]


def _set_up_app(
    tx: Transaction, keyring: Keyring, guesses: Guesses, now: datetime, worker_id: str, code: str
) -> list[str]:
    factor = second_factors.get(tx, worker_id, lock=True)
    # If an app is already in use, or there is a passkey, this challenge is out of date, and a newer
    # challenge must be answered.
    if factor is None or factor.confirm_time is not None or passkeys.by_worker(tx, worker_id):
        raise Unauthenticated("sign_in_failed")
    recovery_codes = _activate(tx, keyring, guesses, factor, now, code)
    if recovery_codes is None:
        raise Unauthenticated("sign_in_failed")
    return recovery_codes


def use_code(
    tx: Transaction,
    keyring: Keyring,
    guesses: Guesses,
    now: datetime,
    worker_id: str,
    code: str,
    origin: Origin | None = None,
) -> bool:
    """Returns whether the code comes from the worker's app or is a recovery code, and uses it up.

    The check counts as one guess.
    """
    factor = second_factors.get(tx, worker_id, lock=True)
    if factor is None or factor.confirm_time is None:
        return False
    guess = guesses.begin(factor.worker_id, origin or Origin(), now)
    is_accepted = _use_app_code(tx, keyring, factor, code, now) or _use_recovery_code(factor, code)
    guesses.settle(guess, is_accepted, now)
    if is_accepted:
        second_factors.save(tx, factor)
    return is_accepted


def token_kin(tx: Transaction, worker_id: str, now: datetime, *, strict: bool) -> Kin:
    """Returns the kin of an account, for its token.

    `strict`: an account with only a password is nobody's second person.
    """
    return kin_of(
        tx, worker_id, now, meets_second_factor_rule=not strict or _has_second_factor(tx, worker_id)
    )


def _has_second_factor(tx: Transaction, worker_id: str) -> bool:
    factor = second_factors.get(tx, worker_id)
    return (factor is not None and factor.confirm_time is not None) or bool(
        passkeys.by_worker(tx, worker_id)
    )


def _use_app_code(
    tx: Transaction, keyring: Keyring, factor: SecondFactor, code: str, now: datetime
) -> bool:
    """Returns whether the code is one of the app's codes that are valid now, and uses it up."""
    secret = second_factors.secret(tx, keyring, factor.worker_id)
    presented_code = "".join(code.split()).encode()
    matching_steps = [
        step
        for step in factor.steps(int(now.timestamp()) // totp.STEP)
        if hmac.compare_digest(totp.code(secret, step), presented_code)
    ]
    if matching_steps:
        factor.last_step = matching_steps[-1]
    return bool(matching_steps)


def _use_recovery_code(factor: SecondFactor, code: str) -> bool:
    mark = mark_of("".join(code.split()).replace("-", "").lower())
    remaining_hashes = tuple(
        stored_mark
        for stored_mark in factor.recovery_hashes
        if not hmac.compare_digest(stored_mark, mark)
    )
    is_valid = len(remaining_hashes) < len(factor.recovery_hashes)
    factor.recovery_hashes = remaining_hashes
    return is_valid
