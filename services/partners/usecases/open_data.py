"""What anybody may ask of the directory, without signing in."""

from datetime import datetime

from chassis.db import Transaction
from chassis.errors import NotFound
from chassis.ids import is_id
from services.partners.domain.organization import Organization
from services.partners.store import open_data
from services.partners.store.open_data import Open

__all__ = ["Open", "get_public_service", "list_public_organizations", "list_public_service_at_locations", "list_public_services"]


def list_public_services(
    tx: Transaction, number: int, size: int, *, words: str = "", need: str = "", organization: str = "", after: datetime | None = None
) -> tuple[list[Open], int]:
    """A page of the public services, from 1, and how many there are."""
    if organization and not is_id(organization):
        return [], 0
    return open_data.page(tx, number, size, words=words, need=need, organization=organization, after=after)


def list_public_service_at_locations(
    tx: Transaction,
    number: int,
    size: int,
    *,
    words: str = "",
    need: str = "",
    organization: str = "",
    after: datetime | None = None,
    id: str = "",
) -> tuple[list[Open], int]:
    """A page of public services at their open places, each with the one place, and how many there are."""
    if not all(is_id(each) for each in (organization, id) if each):
        return [], 0
    return open_data.page_of_places(tx, number, size, words=words, need=need, organization=organization, after=after, id=id)


def get_public_service(tx: Transaction, id: str) -> Open:
    """One public service."""
    found = open_data.one(tx, id) if is_id(id) else None
    if found is None:
        raise NotFound
    return found


def list_public_organizations(
    tx: Transaction, number: int, size: int, *, words: str = "", organization: str = ""
) -> tuple[list[Organization], int]:
    """A page of the members that offer something public, and how many there are."""
    if organization and not is_id(organization):
        return [], 0
    return open_data.members(tx, number, size, words=words, organization=organization)
