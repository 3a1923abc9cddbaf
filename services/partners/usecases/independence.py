"""The kin of accounts: those beside whom an account is no second person at this moment."""

from dataclasses import replace
from datetime import datetime

from chassis.db import Transaction
from chassis.second import Kin
from chassis.tokens import Caller
from services.partners.domain import independence
from services.partners.store import passkeys, provenance, second_factors
from services.partners.usecases.passwords import mark_of


def kin_of(tx: Transaction, worker_id: str, now: datetime, *, strict: bool) -> Kin:
    """Returns the kin of an account, for its token.

    `strict`: nobody is a second person by a password alone.
    """
    return independence.kin(
        provenance.related(tx, worker_id, now),
        known=provenance.is_known(tx, worker_id, now),
        proves_more=not strict or _proves_more(tx, worker_id),
    )


def second(tx: Transaction, caller: Caller, now: datetime) -> Caller:
    """Returns the caller with the kin that she has in this transaction: an account may have come
    about since her token was signed.
    """
    if caller.kin.alone:
        return caller
    return replace(caller, kin=kin_of(tx, caller.id, now, strict=False))


def note_entry(tx: Transaction, worker_id: str, device: str, now: datetime) -> None:
    """Records the device from which a worker signs in, if it has a secret."""
    if device:
        provenance.note_device(tx, worker_id, mark_of(f"device {device}"), now)


def _proves_more(tx: Transaction, worker_id: str) -> bool:
    factor = second_factors.get(tx, worker_id)
    return (factor is not None and factor.confirm_time is not None) or bool(
        passkeys.of(tx, worker_id)
    )
