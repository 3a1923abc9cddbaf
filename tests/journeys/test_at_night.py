"""A worker at night has to open data without a consent, and the access is reviewed.

The actors work in real browsers on real parts.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from chassis.announcements import AT_ONCE
from chassis.ids import new_id
from protos.referrals.v1 import people_pb2
from protos.referrals.v1 import referrals_pb2 as r
from services.referrals.network.store.deadlines import channel
from tests.journeys.actors import Actor, Actors, ShelterWorker
from tests.journeys.typed import marked
from tests.parts.local_stack import LocalStack, until
from tests.parts.stories import Cast


class NightWorker(ShelterWorker):
    """A worker of the shelter at night; somebody is at the door."""

    def opens_in_an_emergency(self, referral: str, note: str) -> None:
        self.goes_to(f"/referrals/{referral}")
        self.sees("Ahora no hay datos de ella que usted pueda abrir.")
        self.page.locator("#person summary", has_text="Acceso de emergencia").click()
        self.page.locator(
            "#emergency-reason_code-life_at_risk, #person [name=reason_code][value=life_at_risk]"
        ).first.check()
        self.page.fill("#emergency-note", note)
        self.presses("Abrir por emergencia")


def send_referral(stack: LocalStack) -> str:
    """Sends the shelter a referral of a person with asthma, and ends the consent."""
    cast = Cast(stack)
    person, receipt = cast.person(
        people_pb2.Identity(given_name=marked("Ada"), health_note=marked("asma"))
    )
    draft = cast.sender.referrals.CreateReferral(cast.draft(person))
    sent_referral = cast.sender.referrals.SendReferral(
        r.SendReferralRequest(id=draft.id, etag=draft.etag, receipt_id=receipt, request_id=new_id())
    )
    with stack.database("referrals") as database:
        # has the same effect as a consent that has run out
        database.execute("UPDATE receipts SET signature = '' WHERE id = %s", (receipt,))
    return str(sent_referral.id)


def finds_message(actor: Actor, words: str) -> None:
    """Checks that the words are in the actor's messages."""

    def is_there() -> bool:
        actor.goes_to("/inbox")
        return words in actor.page.content()

    until(is_there)


def pass_time(stack: LocalStack, span: str) -> None:
    """Moves the time of every emergency access back by the span."""
    earlier_times = ", ".join(
        f"{time} = {time} - interval '{span}'"
        for time in ("create_time", "end_time", "review_due_time", "next_time")
    )
    with stack.database("referrals") as database:
        database.execute(f"UPDATE emergencies SET {earlier_times}")
        # as the application does whenever it changes the time of a deadline
        database.execute("SELECT pg_notify(%s, %s)", (channel("emergencies"), AT_ONCE.isoformat()))


@pytest.mark.timeout(180)
def test_a_worker_who_opened_data_in_an_emergency_may_do_so_again_only_after_a_review(
    actors: Actors, stack: LocalStack
) -> None:
    shelter = actors.enter_as(NightWorker, "albergue@lunanueva.demo")
    colleague = actors.enter("gestion@lunanueva.demo")
    holder = actors.enter("trabajadora@puentes.demo")
    coordinator = actors.enter("coordinacion@coalicion.demo")
    auditor = actors.enter("auditoria@coalicion.demo")
    first_id, second_id = send_referral(stack), send_referral(stack)

    shelter.opens_in_an_emergency(first_id, "")
    shelter.sees("Hay un problema")
    shelter.opens_in_an_emergency(first_id, marked("No respira bien y no contesta."))
    shelter.sees("Abierto por una hora, solo a usted. Se avisa a quien lleva")
    shelter.page.locator("details", has_text="Elegir qué abrir").last.locator("summary").click()
    shelter.chooses("field_groups", "health")
    shelter.presses("Abrir y dejar constancia")
    shelter.sees("asma")
    colleague.goes_to(f"/referrals/{first_id}")
    colleague.sees("Ahora no hay datos de ella que usted pueda abrir.")

    for actor in (holder, coordinator):
        finds_message(
            actor, "Alguien abrió datos de una persona sin consentimiento, por emergencia"
        )
    holder.page.locator("main .row", has_text="Alguien abrió datos").first.get_by_role(
        "button", name="Abrir"
    ).click()
    holder.sees("Abierto ahora")
    holder.page.locator("#emergencies a").first.click()
    holder.sees("No respira bien")
    emergency = holder.where()

    pass_time(stack, "61 minutes")
    shelter.goes_to(f"/referrals/{first_id}")
    shelter.sees("Ahora no hay datos de ella que usted pueda abrir.")
    pass_time(stack, "72 hours")
    shelter.goes_to(emergency)
    shelter.sees("A revisar hasta")
    expect(shelter.page.get_by_role("heading", name="Decir qué fue")).to_have_count(0)
    finds_message(coordinator, "Nadie revisó a tiempo un acceso de emergencia")
    shelter.opens_in_an_emergency(second_id, marked("Otra, con fiebre."))
    shelter.sees("Falta revisar un acceso de emergencia anterior de su organización.")

    auditor.goes_to("/audit")
    auditor.sees("Albergue Luna Nueva")
    auditor.page.locator(f"main a[href='{emergency}']").click()
    assert "No respira bien" not in auditor.page.content(), (
        "the auditor does not read the note about the person"
    )
    auditor.chooses("review_code", "explained")
    auditor.presses("Guardar")
    auditor.sees("Quedó anotado qué fue.")
    auditor.goes_to("/audit")
    auditor.sees("Ningún acceso de emergencia por revisar.")
    holder.goes_to(f"/referrals/{first_id}")
    holder.presses("Ver su expediente")
    holder.sees("Quién miró su expediente")
    holder.sees("Albergue Luna Nueva")

    shelter.opens_in_an_emergency(second_id, marked("Otra, con fiebre."))
    shelter.sees("Abierto por una hora, solo a usted. Se avisa a quien lleva")
    auditor.goes_to("/audit")
    auditor.page.locator("main a[href^='/emergencies/']").first.click()
    auditor.chooses("review_code", "explained")
    auditor.presses("Guardar")
