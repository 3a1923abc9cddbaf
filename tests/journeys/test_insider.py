"""Somebody who opens too much, and somebody who has to open at night what no consent opens: told by those who work there, in a stack with a small quota."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from chassis.ids import new_id
from protos.notifications.v1 import notifications_pb2 as n
from protos.referrals.v1 import audit_pb2, people_pb2
from protos.referrals.v1 import emergencies_pb2 as em
from protos.referrals.v1 import referrals_pb2 as r
from tests.builders import refusal
from tests.journeys.test_three_actors import Actor
from tests.parts.local_stack import LocalStack, until
from tests.parts.stories import Cast


@pytest.fixture(scope="module")
def narrow() -> Iterator[LocalStack]:
    """In which two persons an hour may be looked at."""
    made = LocalStack(settings={"ENLACE_OPENINGS_AN_HOUR": "2"})
    try:
        yield made.start()
    finally:
        made.stop()


def test_an_insider_who_opens_too_much_is_stopped_and_the_auditor_hears_who_it_was(narrow: LocalStack, browser: Browser) -> None:
    insider = narrow.worker("trabajadora@puentes")
    people = [
        insider.people.CreatePerson(
            people_pb2.CreatePersonRequest(coarse=r.CoarsePerson(language="es", country="NI"), request_id=new_id())
        ).id
        for _ in range(3)
    ]

    def opens(person: str) -> None:
        groups = [people_pb2.FIELD_GROUP_IDENTITY]
        insider.people.OpenPerson(people_pb2.OpenPersonRequest(id=person, purpose_code="HOU.EMG", field_groups=groups))

    for person in people[:2]:
        opens(person)
    assert refusal(lambda: opens(people[2])) == ("RESOURCE_EXHAUSTED", "opening_quota")
    opens(people[0])
    auditor = Actor(browser, narrow)
    auditor.signs_in("auditoria@coalicion.demo")

    def heard() -> bool:
        auditor.goes_to("/inbox")
        return "Algo fuera de lo común" in auditor.page.content()

    until(heard)
    auditor.goes_to("/audit")
    auditor.sees("Quiso abrir más expedientes de lo que permite una hora")
    auditor.sees("Asociación Puentes")
    auditor.page.get_by_text("Ver lo que hizo ese día").first.click()
    auditor.sees("opening_quota")
    auditor.goes_to("/audit")
    auditor.page.get_by_text("Decir qué fue").first.click()
    auditor.chooses("review_code", "misuse")
    auditor.presses("Guardar")
    expect(auditor.page.get_by_role("main")).not_to_contain_text("Quiso abrir más expedientes")


def test_at_night_a_shelter_opens_her_without_a_consent_and_answers_for_it(narrow: LocalStack) -> None:
    cast = Cast(narrow)
    shelter, holder, auditor = (
        narrow.worker("albergue@lunanueva"),
        narrow.worker("trabajadora@puentes"),
        narrow.worker("auditoria@coalicion"),
    )
    person, receipt = cast.person(people_pb2.Identity(given_name="Ejemplo", health_note="asma"))
    draft = cast.sender.referrals.CreateReferral(cast.draft(person))
    sent = cast.sender.referrals.SendReferral(r.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=receipt, request_id=new_id()))
    with narrow.database("referrals") as database:
        database.execute("UPDATE receipts SET signature = '' WHERE id = %s", (receipt,))  # as if it had run out: nothing opens by it

    def opens() -> people_pb2.Identity:
        groups = [people_pb2.FIELD_GROUP_IDENTITY, people_pb2.FIELD_GROUP_HEALTH]
        asked = people_pb2.OpenPersonRequest(id=person, purpose_code="HOU.EMG", field_groups=groups, referral_id=sent.id)
        found: people_pb2.Identity = shelter.people.OpenPerson(asked)
        return found

    assert refusal(opens) == ("FAILED_PRECONDITION", "receipt_missing")
    declared = em.OpenInEmergencyRequest(
        referral_id=sent.id, reason_code=r.OVERRIDE_REASON_LIFE_AT_RISK, note="no respira bien", request_id=new_id()
    )
    emergency = shelter.emergencies.OpenInEmergency(declared)
    assert opens().health_note == "asma"
    for heard_by in (holder, narrow.worker("coordinacion@coalicion")):
        until(lambda: "emergency_opened" in kinds(heard_by))  # noqa: B023 – called at once
    seen = holder.people.ListReadings(people_pb2.ListReadingsRequest(person_id=person)).readings
    assert [reading.organization_id for reading in seen if reading.allowed] == [shelter.organization_id]
    review = em.ReviewEmergencyRequest(
        id=emergency.id, etag=emergency.etag, review_code=audit_pb2.REVIEW_OUTCOME_EXPLAINED, request_id=new_id()
    )
    assert refusal(lambda: shelter.emergencies.ReviewEmergency(review)) == ("FAILED_PRECONDITION", "second_person_required")
    assert auditor.emergencies.ReviewEmergency(review).review_time.seconds


def kinds(client: Any) -> set[str]:
    return {message.kind for message in client.notifications.ListMessages(n.ListMessagesRequest(page_size=50)).messages}
