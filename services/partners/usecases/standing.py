"""Who may act, and for whom: what roles alone do not say."""

from datetime import datetime

from chassis.db import Transaction
from chassis.errors import NotAllowed
from chassis.tokens import Caller
from services.partners.domain.organization import OrganizationStatus
from services.partners.domain.visibility import Tier, Viewer
from services.partners.store import api_keys, organizations, workers


def check_standing(tx: Transaction, caller: Caller, now: datetime) -> None:
    """Refuses a caller whose account or key has ended, or whose organisation is suspended or has left: its token may still live a few seconds."""
    if caller.kind == "worker":
        good = workers.is_in_good_standing(tx, caller.id, caller.organization_id)
    elif caller.kind == "key":
        good = api_keys.is_in_good_standing(tx, caller.id, caller.organization_id, now)
    else:
        good = caller.kind == "system"
    if not good:
        raise NotAllowed("organization_not_active")


def may_act_for(caller: Caller, organization_id: str) -> bool:
    """Whether the caller may change what belongs to this organisation: its own people and systems, and the coordinator."""
    return caller.kind == "system" or caller.has("COORDINATOR") or caller.organization_id == organization_id


def sees_everything(caller: Caller) -> bool:
    """Whether members that are no longer active are listed for the caller."""
    return caller.kind == "system" or caller.has("COORDINATOR") or caller.has("AUDITOR")


def viewer(caller: Caller) -> Viewer:
    """How much the caller sees of entries."""
    return Viewer(Tier.COORDINATOR if sees_everything(caller) else Tier.PARTNER, caller.organization_id)


def worker_of(caller: Caller) -> str:
    """Who it was; nobody in particular when a key acts, or the network itself."""
    return caller.id if caller.kind == "worker" else ""


def sees_shelters(tx: Transaction, caller: Caller) -> bool:
    """Members on probation see no shelters but their own; to them the others do not exist."""
    if caller.kind == "system":
        return True
    return organizations.status_of(tx, caller.organization_id) is OrganizationStatus.APPROVED
