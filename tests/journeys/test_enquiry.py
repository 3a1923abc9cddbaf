"""An enquiry at midnight with one yes among twelve.

The enquiry leads from a contact on the line to a draft. Nothing is typed again, and phones without
JavaScript suffice.
"""

from typing import Any

import pytest
from playwright.sync_api import expect

from chassis.ids import new_id
from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import referrals_pb2 as r
from tests.journeys.actors import Actors
from tests.parts.local_stack import LocalStack, until

NEED = "HOU.RENT"
SERVICES_OF = {
    "albergue@lunanueva.demo": 1,
    "casa@amanecer.demo": 4,
    "hogar@jicaro.demo": 4,
    "psicologia@tejerredes.demo": 3,
}
"""The number of services of each member, by the account with which the member answers."""
AUTHORS = {
    "albergue@lunanueva.demo": "gestion@lunanueva.demo",
    "hogar@jicaro.demo": "coordinacion@coalicion.demo",
}
"""The accounts that add the services of a member if the account that answers may not."""


@pytest.fixture(scope="module")
def members(stack: LocalStack) -> dict[str, Any]:
    """Members, all signed in, with twelve services that state whom they accept."""
    staff = {email: stack.worker(email) for email in SERVICES_OF}
    service_ids: list[str] = []
    for email, number in SERVICES_OF.items():
        author = stack.worker(AUTHORS.get(email, email))
        for _ in range(number):
            service = d.Service(
                organization_id=staff[email].organization_id,
                name=f"Alquiler {len(service_ids) + 1}",
                need_codes=[NEED],
                eligibility=d.Eligibility(minimum_age=18),
            )
            service_request = d.CreateServiceRequest(service=service, request_id=new_id())
            service_ids.append(author.directory.CreateService(service_request).id)
    with stack.database("referrals") as database:
        count_services = "SELECT count(*) AS n FROM directory_services WHERE id = ANY(%s)"
        until(lambda: database.execute(count_services, (service_ids,)).fetchone() == {"n": 12})
    return staff


def decline_eleven_times(staff: dict[str, Any], enquiry_id: str) -> None:
    """Declines eleven times, each time as another member."""
    for email, client in staff.items():
        if email.startswith("albergue"):
            continue
        for _ in range(SERVICES_OF[email]):
            enquiry = client.enquiries.GetEnquiry(e.GetEnquiryRequest(id=enquiry_id))
            offer = next(offer for offer in enquiry.offers if not offer.answer)
            client.enquiries.AnswerEnquiry(
                e.AnswerEnquiryRequest(
                    id=enquiry_id,
                    etag=enquiry.etag,
                    service_id=offer.service_id,
                    answer=e.OFFER_ANSWER_NO,
                    reason_code=r.DECLINE_REASON_NO_CAPACITY,
                    request_id=new_id(),
                )
            )


def test_one_yes_among_twelve_answers_leads_to_a_draft(
    actors: Actors, stack: LocalStack, members: dict[str, Any]
) -> None:
    operator = actors.enter("operadora@llamayvive.demo")
    petrona = actors.enter("albergue@lunanueva.demo")

    operator.goes_to("/line/new")
    operator.chooses("danger_now", "no")
    operator.chooses("safe_place_tonight", "no")
    operator.page.select_option("[name=speaker_code]", "person")
    operator.page.select_option("[name=need_code]", NEED)
    operator.page.select_option("[name=department]", "NI-LE")
    operator.presses("Guardar y dar referencia")
    operator.presses("Preguntar a varios")

    # The contact's data are filled in; the preview gives the number of recipients, and warns that
    # she could be recognised.
    assert operator.page.input_value("[name=need_code]") == NEED
    assert operator.page.is_checked("[name=urgency][value=emergency]")
    assert operator.page.input_value("[name=department]") == "NI-LE"
    operator.page.select_option("[name=age_band]", "25-59")
    operator.page.fill("[name=dependants]", "2")
    operator.chooses("unsafe_code", "named")
    operator.presses("Ver a quién se preguntaría")
    operator.page.get_by_label("Asociación Puentes").check()
    operator.presses("Mirar otra vez")
    operator.sees("Se preguntará a 12 servicios de 4 organizaciones.")
    # no service decides by these attributes
    operator.sees("no se dirá: departamento, idioma, hijos o familiares a cargo.")
    operator.presses("Preguntar ahora")
    operator.sees("12 sin respuesta")
    enquiry_id = operator.where().rpartition("/")[2]

    # The asked member finds the enquiry in Today and answers in two taps; nothing there
    # reveals who asks.
    petrona.goes_to("/today")
    petrona.sees("Le preguntan: ¿puede recibirla?")
    petrona.page.locator(f"main a.button[href='/enquiries/{enquiry_id}']").click()
    petrona.sees("25 a 59 años")
    assert "Llama y Vive" not in petrona.page.inner_text("main")
    petrona.presses("^Sí")
    petrona.sees("Respuesta enviada")
    decline_eleven_times(members, enquiry_id)

    operator.goes_to("/today")
    operator.sees("Sus consultas")
    operator.goes_to(f"/enquiries/{enquiry_id}")
    operator.sees("1 sí · 11 no")
    operator.presses("^Tomar")
    operator.sees("Lo que ya se dijo no se pregunta otra vez.")
    closed_copy = members["casa@amanecer.demo"].enquiries.GetEnquiry(
        e.GetEnquiryRequest(id=enquiry_id)
    )
    assert (closed_copy.state, closed_copy.HasField("content")) == (e.ENQUIRY_STATE_MATCHED, False)

    # The operator answers one question that an enquiry never asks, and gets the draft.
    operator.presses("Empezar la remisión")
    expect(operator.page.get_by_role("heading", level=1)).to_have_text("Contacto seguro")
    operator.presses("Nadie debe contactarla: seguir")
    operator.sees("Consentimiento")
    draft_id = operator.page.url.rpartition("/referrals/")[2].partition("/")[0]
    referrals = stack.worker("operadora@llamayvive").referrals
    draft = referrals.GetReferral(r.GetReferralRequest(id=draft_id))
    assert (draft.state, draft.need_code, draft.urgency) == (
        r.STATE_DRAFT,
        NEED,
        r.URGENCY_EMERGENCY,
    )
    assert draft.receiver_organization_id == members["albergue@lunanueva.demo"].organization_id
    assert (draft.person.age_band, draft.person.dependants, draft.person.department) == (
        r.AGE_BAND_25_TO_59,
        2,
        "NI-LE",
    )
    assert draft.contact_id
    operator.goes_to(f"/enquiries/{enquiry_id}")
    operator.sees("Ver la remisión")

    # The person does not come: the draft is discarded, and the shelter need not keep a place.
    petrona.goes_to(f"/enquiries/{enquiry_id}")
    petrona.sees("La remisión llega a «Remisiones»")
    referrals.EnterReferralInError(
        r.EnterReferralInErrorRequest(id=draft.id, etag=draft.etag, request_id=new_id())
    )

    def notice_arrived() -> bool:
        petrona.goes_to("/inbox")
        return "no guarde el lugar" in petrona.main.inner_text()

    until(notice_arrived)
    petrona.goes_to(f"/enquiries/{enquiry_id}")
    petrona.sees("Lo que decía se borró")
