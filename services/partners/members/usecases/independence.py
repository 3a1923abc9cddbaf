"""The present kin of an account: the accounts for which it can't act as a second person."""

from dataclasses import replace
from datetime import datetime

from chassis.db import Transaction
from chassis.second import Kin
from chassis.tokens import Caller
from services.partners.members.domain import independence
from services.partners.members.store import provenance
from services.partners.members.usecases.passwords import mark_of


def kin_of(
    tx: Transaction, worker_id: str, now: datetime, *, meets_second_factor_rule: bool = True
) -> Kin:
    """Returns the kin of an account.

    If the network requires second factors, an account without one (`meets_second_factor_rule` is
    False) can't act as a second person for anybody.
    """
    related = provenance.related_accounts(tx, worker_id, now)
    is_origin_known = provenance.is_origin_known(tx, worker_id, now)
    return independence.kin(
        list(related),
        is_origin_known=is_origin_known,
        meets_second_factor_rule=meets_second_factor_rule,
    )


def with_present_kin(tx: Transaction, caller: Caller, now: datetime) -> Caller:
    """Returns the caller with her present kin, read in this transaction.

    Her token may be older: she may have got new kin since the token was signed. A caller whose
    token states that she is never a second person is returned unchanged.
    """
    if caller.kin.alone:
        return caller
    return replace(caller, kin=kin_of(tx, caller.id, now))


def note_sign_in_device(tx: Transaction, worker_id: str, device: str, now: datetime) -> None:
    """Records the device from which a worker signs in, if the device sent its secret."""
    if device:
        provenance.note_device(tx, worker_id, mark_of(f"device {device}"), now)
