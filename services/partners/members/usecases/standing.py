"""Standing: whether a caller may act at all, for which organisations, and what the caller sees."""

from datetime import datetime

from chassis.db import Transaction
from chassis.errors import NotAllowed
from chassis.tokens import Caller
from services.partners.members.domain.organization import OrganizationStatus
from services.partners.members.domain.worker import Worker, WorkerStatus
from services.partners.members.store import api_keys, organizations, workers
from services.partners.network.domain.visibility import Tier, Viewer


def check_standing(tx: Transaction, caller: Caller, now: datetime) -> None:
    """Raises NotAllowed if the caller's account, key or organisation may no longer act.

    The account or key may have ended, or the organisation may be suspended or have left, while the
    caller's token is still valid for a few seconds.
    """
    if caller.kind == "worker":
        in_good_standing = workers.is_in_good_standing(tx, caller.id, caller.organization_id)
    elif caller.kind == "key":
        in_good_standing = api_keys.is_in_good_standing(tx, caller.id, caller.organization_id, now)
    else:
        in_good_standing = caller.kind == "system"
    if not in_good_standing:
        raise NotAllowed("organization_not_active")


def lock_account(tx: Transaction, caller: Caller) -> Worker | None:
    """Returns the caller's account, locked; None if the caller is not a worker.

    Used before a step that is undone when the account ends, such as a proposal or an invitation:
    because of the lock, an end at the same moment sees the step. Raises NotAllowed if the account
    has ended.
    """
    if caller.kind != "worker":
        return None
    worker = workers.fetch(tx, caller.id, lock=True)
    if worker is None or worker.status is not WorkerStatus.ACTIVE:
        raise NotAllowed("organization_not_active")
    return worker


def may_act_for(caller: Caller, organization_id: str) -> bool:
    """Returns whether the caller may change entries of this organisation.

    The organisation's own workers and keys may, and so may coordinators and the network itself.
    """
    return (
        caller.kind == "system"
        or caller.has("COORDINATOR")
        or caller.organization_id == organization_id
    )


def is_managed_by_others(tx: Transaction, caller: Caller, organization_id: str) -> bool:
    """Returns whether the caller is not of this organisation, and the organisation has a manager.

    Only the organisation itself then states how to reach it: one coordinator alone could otherwise
    direct callers to a stranger's phone or house.
    """
    return (
        caller.kind != "system"
        and caller.organization_id != organization_id
        and workers.has_manager(tx, organization_id)
    )


def sees_inactive_members(caller: Caller) -> bool:
    """Returns whether lists for the caller include organisations that are not active."""
    return caller.kind == "system" or caller.has("COORDINATOR") or caller.has("AUDITOR")


def viewer(caller: Caller) -> Viewer:
    """Returns a Viewer for the caller, with the tier at which the caller sees entries."""
    return Viewer(
        Tier.COORDINATOR if sees_inactive_members(caller) else Tier.PARTNER, caller.organization_id
    )


def worker_of(caller: Caller) -> str:
    """Returns the id of the worker who calls; "" if the caller is a key, or the network itself."""
    return caller.id if caller.kind == "worker" else ""


def sees_shelters(tx: Transaction, caller: Caller) -> bool:
    """Returns whether the caller sees shelters of other members.

    Members on probation do not see that such shelters exist.
    """
    if caller.kind == "system":
        return True
    return organizations.status_of(tx, caller.organization_id) is OrganizationStatus.APPROVED
