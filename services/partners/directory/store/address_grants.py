"""The grants to open the address of an accepted referral's service, and their use by workers."""

from datetime import datetime

from chassis.db import Transaction
from services.partners.directory.domain.location import AddressGrant


def grant(
    tx: Transaction, referral_id: str, service_id: str, organization_id: str, at: datetime
) -> None:
    """Stores the grant when a service accepts or reopens a referral.

    A later acceptance, by the same or another service, replaces the grant, so that the address may
    be opened once more. A repeated fact changes nothing.
    """
    tx.execute(
        "INSERT INTO address_grants (referral_id, service_id, organization_id, grant_time)"
        " VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (referral_id) DO UPDATE SET service_id = excluded.service_id, organization_id"
        " = excluded.organization_id,"
        " grant_time = excluded.grant_time, end_time = NULL, open_time = NULL, worker_id = ''"
        " WHERE address_grants.grant_time < excluded.grant_time"
        " AND (address_grants.end_time IS NULL OR address_grants.end_time <= excluded.grant_time)",
        (referral_id, service_id, organization_id, at),
    )


def end(tx: Transaction, referral_id: str, at: datetime) -> None:
    """Ends the grant for a referral, unless the grant is newer than `at`."""
    tx.execute(
        "UPDATE address_grants SET end_time = %s WHERE referral_id = %s AND end_time IS NULL"
        " AND grant_time <= %s",
        (at, referral_id, at),
    )


def fetch(tx: Transaction, referral_id: str, organization_id: str) -> AddressGrant | None:
    """Returns the active grant for a referral that this organisation sent.

    The row is locked until the transaction ends.
    """
    row = tx.execute(
        "SELECT * FROM address_grants WHERE referral_id = %s AND organization_id = %s"
        " AND end_time IS NULL FOR UPDATE",
        (referral_id, organization_id),
    ).fetchone()
    return AddressGrant(**row) if row else None


def save(tx: Transaction, grant: AddressGrant) -> None:
    """Stores which worker opened the address, and when."""
    tx.execute(
        "UPDATE address_grants SET open_time = %s, worker_id = %s WHERE referral_id = %s",
        (grant.open_time, grant.worker_id, grant.referral_id),
    )
