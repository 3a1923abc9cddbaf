"""Network roles, which two coordinators of different members give, suspend and restore."""

from collections.abc import Collection

from chassis.errors import Conflict
from chassis.second import Second, check_second
from services.partners.members.domain.worker import NETWORK_ROLES, Role


def contains_network_role(roles: Collection[Role]) -> bool:
    """Returns whether one of these roles is a network role."""
    return not NETWORK_ROLES.isdisjoint(roles)


def check_second_coordinator(
    second: Second, organization_id: str, first_id: str, first_organization_id: str
) -> None:
    """Raises Conflict if a coordinator can't agree to what the first coordinator proposed.

    The two must belong to different organisations, because whoever controls a member controls all
    accounts of that member.
    """
    check_second(second, first_id)
    if organization_id == first_organization_id:
        raise Conflict("not_independent", "organization")
