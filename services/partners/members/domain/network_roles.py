"""Roles of the network are given, suspended and given back by two coordinators of different member
organisations.
"""

from collections.abc import Collection

from chassis.errors import Conflict
from chassis.second import Second, check_second
from services.partners.members.domain.worker import NETWORK_ROLES, Role


def are_of_the_network(roles: Collection[Role]) -> bool:
    """Whether one of these roles is."""
    return not NETWORK_ROLES.isdisjoint(roles)


def check_second_coordinator(
    second: Second, organization_id: str, first_id: str, first_organization_id: str
) -> None:
    """Refuses a coordinator who is no second person beside the first, or whose organisation is the
    same: whoever has one member has all its accounts.
    """
    check_second(second, first_id)
    if organization_id == first_organization_id:
        raise Conflict("not_independent", "organization")
