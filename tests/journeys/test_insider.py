"""A worker who opens too many files, in a stack with a small quota."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from chassis.ids import new_id
from protos.referrals.v1 import people_pb2
from protos.referrals.v1 import referrals_pb2 as r
from tests.builders import refusal
from tests.faults import canary
from tests.journeys import typed
from tests.journeys.actors import Actors
from tests.journeys.typed import marked
from tests.parts.local_stack import LocalStack, until


@pytest.fixture(scope="module")
def small_quota() -> Iterator[LocalStack]:
    """A stack in which a worker may open the data of two people an hour."""
    stack = LocalStack(settings={"ENLACE_OPENINGS_AN_HOUR": "2"})
    try:
        yield stack.start()
        assert canary.left_in(stack, typed.MARKS) == []
    finally:
        stack.stop()


def test_a_worker_who_opens_too_many_files_is_stopped_and_reported_to_the_auditor(
    small_quota: LocalStack, browser: Browser
) -> None:
    insider = small_quota.worker("trabajadora@puentes")
    person_ids = [
        insider.people.CreatePerson(
            people_pb2.CreatePersonRequest(
                identity=people_pb2.Identity(given_name=marked("Ada")),
                coarse=r.CoarsePerson(language="es", country="NI"),
                request_id=new_id(),
            )
        ).id
        for _ in range(3)
    ]

    def open_file(person_id: str) -> None:
        groups = [people_pb2.FIELD_GROUP_IDENTITY]
        insider.people.OpenPerson(
            people_pb2.OpenPersonRequest(id=person_id, purpose_code="HOU.EMG", field_groups=groups)
        )

    for person_id in person_ids[:2]:
        open_file(person_id)
    assert refusal(lambda: open_file(person_ids[2])) == ("RESOURCE_EXHAUSTED", "opening_quota")
    open_file(person_ids[0])
    auditor = Actors(browser, small_quota).enter("auditoria@coalicion.demo")

    def is_notified() -> bool:
        auditor.goes_to("/inbox")
        return "Algo fuera de lo común" in auditor.page.content()

    until(is_notified)
    auditor.page.locator("main .row", has_text="Algo fuera de lo común").first.get_by_role(
        "button", name="Abrir"
    ).click()
    auditor.sees("Quiso abrir más expedientes de los que permite una hora")
    auditor.sees("Asociación Puentes")
    auditor.page.get_by_text("Ver lo que hizo ese día").first.click()
    auditor.sees("ya había abierto demasiados expedientes en una hora")
    auditor.goes_to("/audit")
    auditor.page.get_by_text("Decir qué fue").first.click()
    auditor.chooses("review_code", "misuse")
    auditor.presses("Guardar")
    auditor.sees_no("Quiso abrir más expedientes")
