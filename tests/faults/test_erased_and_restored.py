"""Two people erase a file in the browser, and an older copy of the database is restored.

Nobody can open the person's data, and the figures are unchanged. The test has a stack of its own,
because after the restore the other services have received facts that the outbox no longer has;
apart from that it is a journey like those of tests/journeys.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from playwright.sync_api import Browser, expect

from chassis.migrate import migrate
from protos.referrals.v1 import people_pb2
from services.referrals.__main__ import MIGRATIONS
from tests.builders import refusal
from tests.faults import canary
from tests.faults.injector import supervisor_stopped
from tests.faults.test_away import send_and_step
from tests.journeys.actors import Actor, Actors
from tests.parts.local_stack import Client, LocalStack, until
from tests.parts.stories import MARKED, NEED, STEPS, Cast

pytestmark = pytest.mark.long


@pytest.fixture
def erasure_stack() -> Iterator[LocalStack]:
    """A stack with its demo network; at the end, texts about a person may exist only sealed."""
    stack = LocalStack()
    try:
        yield stack.start()
        assert canary.left_in(stack) == []
    finally:
        stack.stop()


def postgres(stack: LocalStack, program: str, *arguments: str) -> None:
    """Runs one of PostgreSQL's own programs."""
    process = subprocess.run(
        [stack.programs / program, *arguments],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
        timeout=60,
    )
    assert process.returncode == 0, process.stderr


def owner(stack: LocalStack) -> str:
    return str(stack.state["environment"]["ENLACE_REFERRALS_MIGRATION_URL"])


def restore(stack: LocalStack, copy: Path, person_id: str) -> None:
    """Restores the copy as docs/operations.md describes.

    A kill stops the service, which stays down because its supervisor is stopped meanwhile.
    """
    with supervisor_stopped(stack.state["pid"]):
        killed = stack.kill("referrals")
        postgres(
            stack,
            "pg_restore",
            "--clean",
            "--if-exists",
            "--no-owner",
            "--single-transaction",
            f"--dbname={owner(stack)}",
            str(copy),
        )
        migrate(owner(stack), MIGRATIONS)
        with stack.database("referrals") as database:
            row = database.execute(
                "SELECT wrapped IS NULL AS gone FROM person_keys WHERE person_id = %s", (person_id,)
            ).fetchone()
        assert row == {"gone": False}, "the copy has her key"
    stack.wait_healthy(killed)


def name_of(client: Client, person_id: str) -> str:
    """Returns the person's name, opened for the need of the usual story."""
    request = people_pb2.OpenPersonRequest(
        id=person_id, purpose_code=NEED, field_groups=[people_pb2.FIELD_GROUP_IDENTITY]
    )
    return str(client.people.OpenPerson(request).given_name)


def figures(stack: LocalStack, reader: Actor, person_id: str) -> tuple[str, list[dict[str, Any]]]:
    """Returns the figures as anybody reads them, and the counts that include the person."""
    reader.goes_to("/figures")
    reader.sees("Cifras de la red")
    with stack.database("referrals") as database:
        rows = database.execute(
            "SELECT p.country, p.department, p.exploitation_country, r.need_code, r.country AS"
            " asked_in"
            " FROM people p JOIN referrals r ON r.person_id = p.id WHERE p.id = %s ORDER BY r.id",
            (person_id,),
        ).fetchall()
    return reader.main.inner_text(), rows


@pytest.mark.timeout(240)
def test_a_person_erased_by_two_people_stays_erased_after_an_older_copy_is_restored(
    erasure_stack: LocalStack, browser: Browser, tmp_path: Path
) -> None:
    cast = Cast(erasure_stack)
    actors = Actors(browser, erasure_stack)
    first = actors.enter("trabajadora@puentes.demo")
    second = actors.enter("gestion@puentes.demo")
    shelter = actors.enter("albergue@lunanueva.demo")
    reader = actors.enter()
    (person_id, receipt), (other_id, _) = cast.person(), cast.person()
    referral = send_and_step(cast, person_id, receipt, STEPS[0], STEPS[3]).id
    before = figures(erasure_stack, reader, person_id)

    first.goes_to(f"/people/{person_id}")
    first.presses("Borrar este expediente")
    first.presses("Proponer el borrado")
    first.sees("Espera a otra persona de su organización")
    expect(first.page.get_by_role("button", name="Borrar para siempre")).to_have_count(0)
    assert MARKED["her name"] in name_of(cast.sender, person_id), "one person alone changes nothing"
    copy = tmp_path / "referrals.dump"
    postgres(
        erasure_stack,
        "pg_dump",
        "--format=custom",
        "--exclude-extension=*",
        f"--file={copy}",
        owner(erasure_stack),
    )

    second.goes_to("/people")
    second.presses("Borrados que esperan a otra persona")
    second.page.locator(f"main a[href*='{person_id}']").first.click()
    second.presses("Borrar para siempre")
    second.sees("Constancia de borrado")
    second.sees("la llave que los abría")
    proof = second.page.locator("main dl code").all_inner_texts()

    def is_kept_elsewhere() -> bool:
        second.goes_to(f"/people/{person_id}/erasure")
        return "Anotado fuera de la base de datos" in second.page.content()

    until(is_kept_elsewhere)
    shelter.goes_to(f"/referrals/{referral}")
    shelter.finds_it("Consentimiento retirado")

    restore(erasure_stack, copy, person_id)

    def is_erased_again() -> bool:
        first.goes_to(f"/people/{person_id}")
        assert MARKED["her name"] not in first.page.content()
        return "Este expediente se borró" in first.page.content()

    until(is_erased_again)
    expect(first.page.get_by_role("button", name="Abrir y dejar constancia")).to_have_count(0)
    first.presses("Ver la constancia")
    assert first.page.locator("main dl code").all_inner_texts() == proof
    assert refusal(lambda: name_of(cast.sender, person_id)) == (
        "FAILED_PRECONDITION",
        "person_erased",
    )

    def another_file_opens() -> bool:
        """Returns whether the files of other people can be opened.

        No file can be opened until the service has received all erasures that others store.
        """
        with suppress(grpc.RpcError):
            return MARKED["her name"] in name_of(cast.sender, other_id)
        return False

    until(another_file_opens)
    with erasure_stack.database("referrals") as database:
        rows = database.execute(
            "SELECT wrapped FROM person_keys WHERE person_id = %s", (person_id,)
        ).fetchall()
    assert rows == [{"wrapped": None}]
    shelter.goes_to(f"/referrals/{referral}")
    shelter.finds_it("Consentimiento retirado")
    assert figures(erasure_stack, reader, person_id) == before
    actors.leave()
