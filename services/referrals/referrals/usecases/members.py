"""Records facts about members and services; there is one function for each kind of fact."""

from collections.abc import Sequence
from datetime import datetime

from chassis.db import Transaction
from services.referrals.network.domain.service import Ages, Attribute
from services.referrals.network.store import members
from services.referrals.referrals.usecases import enquiries

_IN_GOOD_STANDING = ("PROBATION", "APPROVED")
_NOT_A_MEMBER = ("APPLIED", "REJECTED")


def record_organization(
    tx: Transaction,
    now: datetime,
    identifier: str,
    status: str,
    type_: str,
    country: str,
    department: str,
) -> bool:
    """Records that an organisation was registered, changed, approved, suspended or reinstated.

    A member that is on probation, suspended or gone answers no enquiry: the copies that it has
    received are closed, since taking an offer of this member would close all other copies. Returns
    whether there may be more to do. Nothing is recorded about an organisation that has only
    applied, or whose application was rejected.
    """
    if status in _NOT_A_MEMBER:
        return False
    members.note_member(
        tx,
        "organization",
        identifier,
        status in _IN_GOOD_STANDING,
        status,
        type_,
        country=country,
        department=department,
    )
    return status != "APPROVED" and enquiries.stop_asking(
        tx, now, identifier, on_probation=status == "PROBATION"
    )


def record_worker(tx: Transaction, identifier: str, organization_id: str, active: bool) -> None:
    """Records a worker's organisation, and whether her account is active."""
    members.note_member(tx, "worker", identifier, active, organization_id=organization_id)


def record_key(tx: Transaction, identifier: str, live: bool) -> None:
    """Records whether an API key is live."""
    members.note_member(tx, "key", identifier, live)


def record_service(
    tx: Transaction,
    now: datetime,
    identifier: str,
    organization_id: str,
    active: bool,
    uses: Sequence[Attribute] | None,
    ages: Ages,
    department: str,
    shelter: bool | None,
) -> bool:
    """Records that a service was registered or changed.

    A service that is no longer offered is no longer asked, and its taken offers end, since no
    referral can be sent to it. Returns whether there may be more to do.
    """
    members.note_service(
        tx, identifier, organization_id, active, uses, ages, department, shelter=shelter
    )
    return not active and enquiries.end_service(tx, now, organization_id, identifier)
