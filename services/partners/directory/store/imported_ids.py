"""The ids of services and places in files of other directories, by importing organisation."""

from collections.abc import Iterable, Mapping, Sequence

from chassis.db import Transaction
from services.partners.network.store.sort_keys import sort_key

Key = tuple[str, str, str]
"""The organisation that owns the service or place, the kind, and the id in the file."""


def fetch(
    tx: Transaction, importer_id: str, organization_ids: Sequence[str], source_ids: Sequence[str]
) -> dict[Key, str]:
    """Returns our ids, keyed by the ids in one importing organisation's files.

    An id that was stored before importers were recorded is used if the importer has stored none for
    the same key.
    """
    rows = tx.execute(
        "SELECT * FROM imported_ids WHERE importer_id IN ('', %s) AND organization_id = ANY(%s)"
        " AND source_id = ANY(%s) ORDER BY importer_id",
        (importer_id, list(organization_ids), list(source_ids)),
    )
    return {(row["organization_id"], row["kind"], row["source_id"]): row["id"] for row in rows}


def save(tx: Transaction, importer_id: str, ids: Mapping[Key, str]) -> None:
    """Stores our ids, keyed by the ids in the files."""
    with tx.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO imported_ids (importer_id, organization_id, kind, source_id, id)"
            " VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT (importer_id, organization_id, kind, source_id) DO UPDATE"
            " SET id = excluded.id",
            [(importer_id, *key, id) for key, id in ids.items()],
        )


def ids_by_key(tx: Transaction, organization_ids: Iterable[str]) -> dict[Key, list[str]]:
    """Returns the ids of these organisations' services, by name and department (`key_of`).

    The oldest service with a key comes first.
    """
    rows = tx.execute(
        "SELECT organization_id, name, department, id FROM services WHERE organization_id = ANY(%s)"
        " ORDER BY create_time, id",
        (list(organization_ids),),
    )
    ids: dict[Key, list[str]] = {}
    for row in rows:
        ids.setdefault(
            (row["organization_id"], "service", key_of(row["name"], row["department"])), []
        ).append(row["id"])
    return ids


def key_of(name: str, department: str) -> str:
    """Returns the key that finds a service or place whose row has no id."""
    return f"name:{sort_key(name)}@{department}"
