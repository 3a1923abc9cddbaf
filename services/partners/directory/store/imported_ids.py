"""The ids that services and places have in the files of other directories, by the organisation that
imported the file.
"""

from collections.abc import Iterable, Mapping, Sequence

from chassis.db import Transaction
from services.partners.network.store.sort_keys import sort_key

Key = tuple[str, str, str]
"""Organisation whose service or place it is, kind, id in the file."""


def fetch(
    tx: Transaction, importer_id: str, organization_ids: Sequence[str], source_ids: Sequence[str]
) -> dict[Key, str]:
    """Ours by theirs, of the files of one importing organisation; ids from before importers were
    noted count where it has none of its own.
    """
    rows = tx.execute(
        "SELECT * FROM imported_ids WHERE importer_id IN ('', %s) AND organization_id = ANY(%s)"
        " AND source_id = ANY(%s) ORDER BY importer_id",
        (importer_id, list(organization_ids), list(source_ids)),
    )
    return {(row["organization_id"], row["kind"], row["source_id"]): row["id"] for row in rows}


def keep(tx: Transaction, importer_id: str, ids: Mapping[Key, str]) -> None:
    """Notes ours of theirs."""
    with tx.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO imported_ids (importer_id, organization_id, kind, source_id, id)"
            " VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT (importer_id, organization_id, kind, source_id) DO UPDATE"
            " SET id = excluded.id",
            [(importer_id, *key, id) for key, id in ids.items()],
        )


def named(tx: Transaction, organization_ids: Iterable[str]) -> dict[Key, list[str]]:
    """The services of these organisations by the key that a row without an id has, the oldest
    first.
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
    """What stands for an id where a row has none."""
    return f"name:{sort_key(name)}@{department}"
