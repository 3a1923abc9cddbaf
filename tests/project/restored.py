"""Checks of a stack whose databases were restored from copies: rights, the trail, erasures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
import psycopg
import pytest

from chassis.ids import new_id
from facts.records import unpack
from protos.referrals.v1 import erasures_pb2, people_pb2
from tests.parts.local_stack import SERVICES, LocalStack, until
from tests.parts.stories import NEED

# queries for everything that determines rights in a database
RIGHTS = (
    "SELECT relname, relkind, relacl::text, relowner::regrole::text, relrowsecurity,"
    " relforcerowsecurity FROM pg_class"
    " WHERE relnamespace = 'public'::regnamespace AND NOT EXISTS (SELECT FROM pg_depend d"
    " WHERE d.objid = pg_class.oid AND d.deptype = 'e') ORDER BY 1",
    (
        "SELECT tablename, policyname, permissive, roles::text, cmd, translate(qual, '()', '') AS"
        " qual, with_check FROM pg_policies ORDER BY 1, 2"
    ),
    (
        "SELECT defaclrole::regrole::text, defaclobjtype, defaclacl::text FROM pg_default_acl"
        " ORDER BY 1, 2"
    ),
    (
        "SELECT nspname, nspacl::text, nspowner::regrole::text FROM pg_namespace"
        " WHERE nspname = 'public'"
    ),
    "SELECT datacl::text FROM pg_database WHERE datname = current_database()",
    (
        "SELECT oid::regprocedure::text, proacl::text, prosecdef FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace ORDER BY 1"
    ),
    "SELECT extname FROM pg_extension ORDER BY 1",
)


def rights(stack: LocalStack, service: str) -> list[list[dict[str, Any]]]:
    with stack.database(service) as database:
        return [database.execute(query).fetchall() for query in RIGHTS]


def check_trail_is_append_only(stack: LocalStack) -> None:
    """Checks that the service's own role can't change the trail, even after a restore."""
    for service in SERVICES:
        for statement in ("UPDATE audit SET reason = ''", "DELETE FROM audit", "TRUNCATE audit"):
            with (
                psycopg.connect(stack.database_url(service)) as connection,
                pytest.raises(psycopg.errors.InsufficientPrivilege),
            ):
                connection.execute(statement)


def check_no_row_is_seen_without_a_caller(stack: LocalStack) -> None:
    """Checks row-level security: a statement without a caller sees no row."""
    with psycopg.connect(stack.database_url("referrals")) as connection:
        row = connection.execute("SELECT count(*) FROM referrals").fetchone()
    assert row == (0,)


def erase(stack: LocalStack, person_id: str) -> None:
    """Erases the person's file: a worker of its organisation proposes it, and another confirms it.

    Returns once the erasure is recorded in every place outside of the database.
    """
    stack.worker("trabajadora@puentes.demo").erasures.ProposeErasure(
        erasures_pb2.ProposeErasureRequest(person_id=person_id, request_id=new_id())
    )
    stack.worker("gestion@puentes.demo").erasures.ConfirmErasure(
        erasures_pb2.ConfirmErasureRequest(person_id=person_id, request_id=new_id())
    )

    def is_kept(service: str) -> bool:
        with stack.database(service) as database:
            return person_id.encode() in bodies(
                row["record"].encode()
                for row in database.execute("SELECT record FROM kept_records")
            )

    def is_in_the_file() -> bool:
        file = stack.var / "keys" / "erasures.referrals"
        return file.exists() and person_id.encode() in bodies(file.read_bytes().splitlines())

    until(is_in_the_file, 60)
    until(lambda: is_kept("partners") and is_kept("notifications"), 90)


def bodies(packed: Iterable[bytes]) -> bytes:
    """Returns the bodies of packed records."""
    return b"".join(unpack(line)[1] or b"" for line in packed if line)


def check_stays_erased(stack: LocalStack, person_id: str, another_id: str) -> None:
    """Checks that an erased person stays erased in a store that was restored from an older copy.

    Her file is refused from the first answer; another person's file can soon be opened again.
    """
    sender = stack.client("Puentes")
    refusals: dict[str, set[tuple[str, str]]] = {person_id: set(), another_id: set()}

    def opens(id: str) -> bool:
        try:
            sender.people.OpenPerson(
                people_pb2.OpenPersonRequest(
                    id=id, purpose_code=NEED, field_groups=[people_pb2.FIELD_GROUP_IDENTITY]
                )
            )
        except grpc.RpcError as error:
            refusals[id].add((error.code().name, str(error.details())))
            return False
        return True

    def is_open() -> bool:
        assert not opens(person_id)
        return opens(another_id)

    until(is_open, 60, lambda: refusals)
    assert not opens(person_id)
    unavailable = ("UNAVAILABLE", "store_unavailable")
    assert refusals[person_id] <= {unavailable, ("FAILED_PRECONDITION", "person_erased")}
    assert refusals[another_id] <= {unavailable}
    with stack.database("referrals") as database:
        assert database.execute(
            "SELECT wrapped FROM person_keys WHERE person_id = %s", (person_id,)
        ).fetchall() == [{"wrapped": None}]
