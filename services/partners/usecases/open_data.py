"""What anybody may ask of the directory, without signing in."""

from chassis.db import Transaction
from chassis.errors import NotFound
from chassis.ids import is_id
from chassis.wire import Position
from services.partners.domain.organization import Organization
from services.partners.domain.search import PublicWanted
from services.partners.store import open_data
from services.partners.store.open_data import Open

__all__ = [
    "Open",
    "get_public_service",
    "list_public_organizations",
    "list_public_service_at_locations",
    "list_public_services",
    "search_public_services",
]


def list_public_services(tx: Transaction, wanted: PublicWanted) -> tuple[list[Open], int]:
    """A page of the public services, and how many there are."""
    return open_data.page(tx, wanted) if _may_be(wanted) else ([], 0)


def search_public_services(tx: Transaction, wanted: PublicWanted, after: Position | None) -> tuple[list[Open], Position | None, int]:
    """A page of them by name, where the next page goes on, and how many there are."""
    return open_data.page_by_name(tx, wanted, after) if _may_be(wanted) else ([], None, 0)


def list_public_service_at_locations(tx: Transaction, wanted: PublicWanted) -> tuple[list[Open], int]:
    """A page of public services at their open places, each with the one place, and how many there are."""
    return open_data.page_of_places(tx, wanted) if _may_be(wanted) else ([], 0)


def get_public_service(tx: Transaction, id: str) -> Open:
    """One public service."""
    service = open_data.one(tx, id) if is_id(id) else None
    if service is None:
        raise NotFound
    return service


def list_public_organizations(tx: Transaction, wanted: PublicWanted) -> tuple[list[Organization], int]:
    """A page of the members that offer something public, and how many there are."""
    return open_data.members(tx, wanted) if _may_be(wanted) else ([], 0)


def _may_be(wanted: PublicWanted) -> bool:
    """What is no id is nobody's."""
    return all(is_id(each) for each in (wanted.organization, wanted.id) if each)
