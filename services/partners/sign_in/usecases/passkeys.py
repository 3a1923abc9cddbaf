"""The creation, use and removal of passkeys.

A passkey signs the stored hash of a challenge, so that each signature is valid once and only for a
short time.
"""

import secrets
from datetime import datetime

from chassis.audit import Entry
from chassis.db import Transaction
from chassis.errors import Conflict, Invalid, Unauthenticated
from chassis.guesses import Guesses
from chassis.ids import new_id
from chassis.rpc import Call
from chassis.wire import timestamp
from protos.partners.v1 import accounts_pb2, members_pb2
from services.partners.members.usecases.passwords import check_own_password, mark_of, own_account
from services.partners.sign_in.domain.passkey import Passkey, check_count
from services.partners.sign_in.domain.second_factor import Purpose, SecondFactor
from services.partners.sign_in.protocols.passkeys import (
    Credential,
    Site,
    WrongPasskey,
    ids_in_answer,
)
from services.partners.sign_in.store import passkeys, second_factors


class Passkeys:
    """Handles the rpcs for passkeys."""

    def __init__(self, site: Site, guesses: Guesses) -> None:
        """Sets up the handlers; `guesses` counts wrong passwords."""
        self._site = site
        self._guesses = guesses

    def BeginPasskey(
        self, request: accounts_pb2.BeginPasskeyRequest, call: Call
    ) -> accounts_pb2.BeginPasskeyResponse:
        """Returns a challenge, and the options for the browser.

        Needs the password, because otherwise an unattended screen would be enough to create another
        sign-in method.
        """
        tx, now = call.tx, call.clock.now()
        call.trail.append(Entry("passkey_begin", call.caller.id))
        worker, password_hash = own_account(tx, call.caller)
        check_own_password(self._guesses, worker, password_hash, request.password, now, call.origin)
        if not self._site.supports_passkeys:
            raise Conflict("passkeys_unavailable")
        present_passkeys = passkeys.by_worker(tx, worker.id)
        check_count(len(present_passkeys))
        secret, mark = create_challenge(tx, Purpose.PASSKEY, now, worker.id)
        credential_ids = [passkey.credential_id for passkey in present_passkeys]
        options = self._site.creation_options(
            mark, worker.id, worker.entry.email, worker.entry.name, credential_ids
        )
        return accounts_pb2.BeginPasskeyResponse(challenge=secret, options=options)

    def CreatePasskey(
        self, request: accounts_pb2.CreatePasskeyRequest, call: Call
    ) -> accounts_pb2.SecondFactor:
        """Stores the passkey that was created for the challenge."""
        tx, now = call.tx, call.clock.now()
        # locked, so that passkeys are added and counted one after the other
        worker, _ = own_account(tx, call.caller)
        mark = mark_of(request.challenge)
        if second_factors.challenge_owner(tx, mark, now) != (worker.id, Purpose.PASSKEY):
            raise Invalid(("challenge", "wrong"))
        check_count(len(passkeys.by_worker(tx, worker.id)))
        try:
            credential = self._site.created_credential(mark, request.credential)
        except WrongPasskey:
            raise Invalid(("credential", "wrong")) from None
        passkey = Passkey(
            new_id(),
            worker.id,
            request.label,
            now,
            credential.id,
            credential.data,
            credential.sign_count,
        )
        if not passkeys.add(tx, passkey):
            raise Invalid(("credential", "wrong"))
        second_factors.delete_challenge(tx, mark)
        call.trail.append(Entry("passkey_create", passkey.id))
        return second_factor_message(call, self._site)

    def EndPasskey(
        self, request: accounts_pb2.EndPasskeyRequest, call: Call
    ) -> accounts_pb2.SecondFactor:
        """Removes a passkey. Needs the password: an unattended screen is not enough."""
        call.trail.append(Entry("passkey_end", call.caller.id))
        check_own_password(
            self._guesses,
            *own_account(call.tx, call.caller),
            request.password,
            call.clock.now(),
            call.origin,
        )
        if request.id:
            passkeys.delete(call.tx, call.caller.id, request.id)
        return second_factor_message(call, self._site)

    def BeginPasskeySignIn(
        self, request: members_pb2.BeginPasskeySignInRequest, call: Call
    ) -> members_pb2.BeginPasskeySignInResponse:
        """Returns a challenge, and the options for the browser of a user who is not known yet."""
        if not self._site.supports_passkeys:
            raise Conflict("passkeys_unavailable")
        secret, mark = create_challenge(call.tx, Purpose.PASSKEY_SIGN_IN, call.clock.now())
        return members_pb2.BeginPasskeySignInResponse(
            challenge=secret, passkey_options=self._site.signing_options(mark, [])
        )


def second_factor_message(call: Call, site: Site) -> accounts_pb2.SecondFactor:
    """Returns the second factors of the caller's account."""
    factor = second_factors.get(call.tx, call.caller.id) or SecondFactor(call.caller.id)
    return accounts_pb2.SecondFactor(
        confirm_time=timestamp(factor.confirm_time),
        recovery_codes_left=len(factor.recovery_hashes),
        passkeys=[
            accounts_pb2.Passkey(
                id=passkey.id,
                label=passkey.label,
                create_time=timestamp(passkey.create_time),
                last_use_time=timestamp(passkey.last_use_time),
            )
            for passkey in passkeys.by_worker(call.tx, call.caller.id)
        ],
        passkeys_available=site.supports_passkeys,
    )


def signer(
    tx: Transaction, site: Site, now: datetime, mark: bytes, worker_id: str | None, answer: str
) -> str:
    """Returns the id of the worker whose passkey signed the challenge with this mark.

    `worker_id`: the worker whose passkey must sign; None accepts any worker's passkey if the
    passkey has verified its user. Raises Unauthenticated sign_in_failed.
    """
    try:
        credential_id, account_id = ids_in_answer(answer)
        passkey = passkeys.by_credential(tx, credential_id)
        if (
            passkey is None
            or passkey.worker_id != (worker_id or passkey.worker_id)
            or account_id not in ("", passkey.worker_id)
        ):
            raise WrongPasskey
        credential = Credential(passkey.credential_id, passkey.credential, passkey.sign_count)
        passkey.use(site.signature_count(mark, credential, answer, verified=worker_id is None), now)
    except WrongPasskey:
        raise Unauthenticated("sign_in_failed") from None
    passkeys.record_use(tx, passkey)
    return passkey.worker_id


def create_challenge(
    tx: Transaction, purpose: Purpose, now: datetime, worker_id: str | None = None
) -> tuple[str, bytes]:
    """Stores the hash of a new challenge; returns the challenge's secret, and the hash."""
    secret = secrets.token_urlsafe(32)
    mark = mark_of(secret)
    second_factors.add_challenge(tx, mark, worker_id, purpose, now)
    return secret, mark
