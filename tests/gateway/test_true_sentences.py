"""Sentences of the pages that describe a state.

Each is tested with data that make it true and with data that make it false.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from protos.contract.v1 import contract_pb2
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import plans_pb2 as pl
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.site.language import i18n, vocabulary
from services.gateway.site.parts import due, steps
from services.referrals.line.domain.triage import RULES, Rule
from services.referrals.referrals.store.enquiries import UNMET_PERIOD
from tests.gateway.arranged_services import (
    COORDINATOR,
    DUE_REFERRAL,
    ENQUIRY_TO_US,
    MANAGER,
    ONE_REFERRAL,
    OPERATOR,
    OWED_CALL,
    WORKER,
    Arrange,
    contact,
    nothing_waits,
    page,
    referral,
    stamp,
    waiting_work,
)
from tests.gateway.pages_gateway import ID, FakePageServices, enter, pages, send, signed_in


def failing_service(name: str) -> Arrange:
    """Arranges that a service failed a short time ago."""

    def arrange(fakes: FakePageServices) -> None:
        fakes.standings[name] = replace(fakes.standings[name], failed_recently=True)

    return arrange


def referral_with(**fields: Any) -> Arrange:
    """Arranges a referral with these fields and without a history."""
    return lambda fakes: fakes.answers.update(
        GetReferral=referral(**fields), ListReferralEvents=r.ListReferralEventsResponse()
    )


def accepted_referral(contact_minutes: float) -> Arrange:
    """Arranges a referral whose first contact is planned for `contact_minutes` minutes from now."""
    return referral_with(
        state=r.STATE_ACCEPTED,
        side=r.SIDE_RECEIVER,
        planned_first_contact_time=stamp(contact_minutes),
    )


def completed_referral(side: r.Side.ValueType) -> Arrange:
    """Arranges a completed referral that the reader may close."""
    return referral_with(
        state=r.STATE_COMPLETED, side=side, main_step="close", allowed_verbs=["close"]
    )


def referral_with_receipt(
    side: r.Side.ValueType = r.SIDE_RECEIVER,
    state: r.State.ValueType = r.STATE_ACCEPTED,
    **receipt: Any,
) -> Arrange:
    """Arranges a referral that is based on this receipt, to the reader's organisation by default.

    The receipt covers the identity, and the field groups of `receipt`.
    """
    complete_receipt = p.Receipt(id=ID, live=True, field_groups=[p.FIELD_GROUP_IDENTITY])
    complete_receipt.MergeFrom(p.Receipt(**receipt))
    return lambda fakes: fakes.answers.update(
        GetReferral=referral(state=state, side=side, person_id=ID, receipt_id=ID),
        ListReferralEvents=r.ListReferralEventsResponse(),
        GetReceipt=complete_receipt,
    )


def closed_referral(*, erased: bool) -> Arrange:
    """Arranges the sender's closed referral of a person whose file may have been erased."""
    message = r.Referral(
        id=ID, code="4BGZ42", state=r.STATE_CLOSED, side=r.SIDE_SENDER, person_id=ID
    )
    return lambda fakes: fakes.answers.update(
        GetReferral=message,
        ListReferralEvents=r.ListReferralEventsResponse(),
        GetPerson=p.Person(id=ID, erased=erased),
    )


def sheet(
    *receipts: p.Receipt, enquiries: Sequence[e.Enquiry] = (), erased: bool = False
) -> Arrange:
    """Arranges the file of a person with these receipts and enquiries."""
    return lambda fakes: fakes.answers.update(
        GetPerson=p.Person(id=ID, organization_id=ID, erased=erased),
        ListReceipts=p.ListReceiptsResponse(receipts=receipts),
        ListReadings=p.ListReadingsResponse(),
        ListReferrals=r.ListReferralsResponse(),
        ListEnquiries=e.ListEnquiriesResponse(enquiries=enquiries),
    )


def receipt(until: float = 60, **fields: Any) -> p.Receipt:
    """Returns a consent that ends in `until` minutes."""
    return p.Receipt(
        id=ID, recipient_organization_id=ID, genuine=True, until_time=stamp(until), **fields
    )


def enquiry(state: e.EnquiryState.ValueType, *holding: bool) -> e.Enquiry:
    """Returns an enquiry with an offer for each of `holding`.

    `holding` tells whether the offer's member still holds the content.
    """
    offers = [e.Offer(service_id=ID, organization_id=ID, holds_content=holds) for holds in holding]
    return e.Enquiry(
        id=ID,
        state=state,
        side=r.SIDE_SENDER,
        content=e.EnquiryContent(need_code="HOU.EMG"),
        offers=offers,
    )


UNANSWERED_NEED = r.CountReferralsResponse(
    unanswered=[r.UnansweredNeed(need_group_code="HOU", department="NI-CI", count=1)]
)

# The sentence, its page, its reader, data that make it true, and each kind of data that makes it
# false.
SENTENCES: list[tuple[str, str, int, Arrange, list[Arrange]]] = [
    (
        "Todas las partes responden.",
        "/status",
        WORKER,
        nothing_waits,
        [
            failing_service("partners"),
            failing_service("referrals"),
            failing_service("notifications"),
        ],
    ),
    (
        "Ninguna: ningún pedido volvió sin ayuda.",
        "/board",
        COORDINATOR,
        nothing_waits,
        [waiting_work(CountReferrals=UNANSWERED_NEED)],
    ),
    (
        "Ninguna remisión está con atraso ni vence en 4 horas, y ningún pedido volvió sin ayuda.",
        "/board",
        COORDINATOR,
        nothing_waits,
        [waiting_work(ListReferrals=ONE_REFERRAL)],
    ),
    (
        "Ninguna remisión vence en las próximas 12 horas.",
        "/board",
        COORDINATOR,
        nothing_waits,
        [waiting_work(ListReferrals=DUE_REFERRAL)],
    ),
    (
        "Nadie espera algo de su organización.",
        "/today",
        OPERATOR,
        nothing_waits,
        [
            waiting_work(ListReferrals=ONE_REFERRAL),
            waiting_work(ListContacts=c.ListContactsResponse(contacts=[contact(30)])),
            waiting_work(ListCallbacks=OWED_CALL),
            waiting_work(ListEnquiries=ENQUIRY_TO_US),
            waiting_work(
                ListLateSteps=pl.ListLateStepsResponse(
                    steps=[pl.LateStep(plan_id=ID, key="a", due_time=stamp(-60))]
                )
            ),
        ],
    ),
    (
        "Pregúntele a quien envió la remisión qué dijo la persona, y anótelo.",
        f"/referrals/{ID}",
        COORDINATOR,
        completed_referral(r.SIDE_NETWORK),
        [completed_referral(r.SIDE_SENDER)],
    ),
    (
        "Nada queda abierto en la línea.",
        "/line/shift",
        OPERATOR,
        waiting_work(ListTakeOvers=c.ListTakeOversResponse()),
        [
            waiting_work(ListTakeOvers=c.ListTakeOversResponse(), **{name: answer})
            for name, answer in {
                "ListContacts": c.ListContactsResponse(contacts=[contact(30)]),
                "ListReferrals": r.ListReferralsResponse(referrals=[referral()]),
                "CountReferrals": r.CountReferralsResponse(waiting_for_other=1),
            }.items()
        ],
    ),
    (
        "No hay remisiones en curso.",
        "/today",
        COORDINATOR,
        nothing_waits,
        [waiting_work(ListReferrals=ONE_REFERRAL)],
    ),
    (
        "Ninguna remisión espera un paso de su organización.",
        "/today",
        MANAGER,
        nothing_waits,
        [waiting_work(ListReferrals=ONE_REFERRAL)],
    ),
    (
        "ya pasó; falta anotar qué pasó",
        f"/referrals/{ID}",
        WORKER,
        accepted_referral(-61),
        [accepted_referral(-30), accepted_referral(0), accepted_referral(15)],
    ),
    (
        "Se abre solo lo que ella autorizó",
        f"/referrals/{ID}",
        WORKER,
        referral_with_receipt(giver_code=p.GIVER_PERSON),
        [
            referral_with_receipt(giver_code=p.GIVER_GUARDIAN),
            referral_with_receipt(reason_code=r.OVERRIDE_REASON_LIFE_AT_RISK),
            referral_with_receipt(
                reason_code=r.OVERRIDE_REASON_LIFE_AT_RISK, confirm_time=stamp(-5)
            ),
        ],
    ),
    (
        "lo que usted escriba lo lee solo quien lleva su expediente",
        f"/referrals/{ID}",
        WORKER,
        referral_with_receipt(giver_code=p.GIVER_PERSON),
        [
            referral_with_receipt(giver_code=p.GIVER_PERSON, field_groups=[p.FIELD_GROUP_NOTES]),
            referral_with_receipt(
                reason_code=r.OVERRIDE_REASON_LIFE_AT_RISK,
                confirm_time=stamp(-5),
                field_groups=[p.FIELD_GROUP_NOTES],
            ),
        ],
    ),
    (
        "no puede leer lo que usted escriba",
        f"/referrals/{ID}",
        WORKER,
        referral_with_receipt(r.SIDE_SENDER),
        [
            referral_with_receipt(r.SIDE_SENDER, field_groups=[p.FIELD_GROUP_NOTES]),
            referral_with_receipt(),
        ],
    ),
    (
        "no puede leer ninguna nota, tampoco la del envío",
        f"/referrals/{ID}",
        WORKER,
        referral_with_receipt(r.SIDE_SENDER, reason_code=r.OVERRIDE_REASON_LIFE_AT_RISK),
        [
            referral_with_receipt(r.SIDE_SENDER),
            referral_with_receipt(
                r.SIDE_SENDER,
                reason_code=r.OVERRIDE_REASON_LIFE_AT_RISK,
                confirm_time=stamp(-5),
                field_groups=[p.FIELD_GROUP_NOTES],
            ),
        ],
    ),
    (
        "Hasta que otra persona lo confirme, ustedes no leen ninguna nota",
        f"/referrals/{ID}",
        WORKER,
        referral_with_receipt(reason_code=r.OVERRIDE_REASON_LIFE_AT_RISK),
        [
            referral_with_receipt(),
            referral_with_receipt(r.SIDE_SENDER, reason_code=r.OVERRIDE_REASON_LIFE_AT_RISK),
        ],
    ),
    (
        "Ver el permiso, o retirarlo si ella lo pide",
        f"/referrals/{ID}",
        WORKER,
        referral_with_receipt(),
        [
            referral_with_receipt(r.SIDE_SENDER),
            referral_with_receipt(r.SIDE_NETWORK),
            referral_with(state=r.STATE_ACCEPTED, side=r.SIDE_RECEIVER, person_id=ID),
        ],
    ),
    (
        "Este expediente se borró.",
        f"/referrals/{ID}",
        WORKER,
        closed_referral(erased=True),
        [closed_referral(erased=False), referral_with_receipt(r.SIDE_SENDER)],
    ),
    (
        "no se sabe",  # how many relatives come with her
        f"/people/{ID}",
        WORKER,
        sheet(),
        [sheet(erased=True)],
    ),
    (
        "Elegir qué abrir",
        f"/referrals/{ID}",
        WORKER,
        closed_referral(erased=False),
        [closed_referral(erased=True)],
    ),
    (
        "no podrá leer esta",
        f"/referrals/{ID}/check",
        WORKER,
        referral_with_receipt(r.SIDE_SENDER, r.STATE_DRAFT),
        [referral_with_receipt(r.SIDE_SENDER, r.STATE_DRAFT, field_groups=[p.FIELD_GROUP_NOTES])],
    ),
    (
        "Nadie más tiene datos de este expediente.",
        f"/people/{ID}/knows",
        WORKER,
        sheet(enquiries=[enquiry(e.ENQUIRY_STATE_CANCELLED, False, False)]),
        [
            sheet(enquiries=[enquiry(e.ENQUIRY_STATE_OPEN, False, True)]),
            sheet(enquiries=[enquiry(e.ENQUIRY_STATE_MATCHED, False, True)]),
            sheet(receipt(live=True)),
            sheet(receipt(withdraw_time=stamp(-5))),
        ],
    ),
    (
        "Hasta el ",
        f"/people/{ID}/knows",
        WORKER,
        sheet(receipt(live=True)),
        [
            sheet(receipt(until=-5)),
            sheet(receipt(giver_code=p.GIVER_BEST_INTEREST)),
            sheet(receipt(reason_code=r.OVERRIDE_REASON_LIFE_AT_RISK)),
            sheet(receipt(giver_code=p.GIVER_PERSON)),
            sheet(receipt(withdraw_time=stamp(-5))),
        ],
    ),
]


@pytest.mark.parametrize(
    ("sentence", "path", "role", "makes_true", "make_false"),
    SENTENCES,
    ids=[sentence for sentence, *_ in SENTENCES],
)
def test_a_sentence_is_shown_for_data_that_make_it_true_and_for_no_others(
    sentence: str, path: str, role: int, makes_true: Arrange, make_false: list[Arrange]
) -> None:
    assert sentence in page(path, role, makes_true)
    assert [
        number for number, arrange in enumerate(make_false) if sentence in page(path, role, arrange)
    ] == []


WORDS_OF_ANSWER = {
    "danger_now": "Está en peligro ahora",
    "escape_under_way": "está escapando",
    "child_unsafe": "un niño en peligro",
    "medical_emergency": "una emergencia médica",
    "wants_protection": "pide protección",
    "still_held": "la retienen",
    "safe_place_tonight": "No tiene dónde dormir",
    "exploiters_looking": "la buscan",
    "sexual_violence_120h": "hubo violencia sexual",
    "need_within_days": "Necesita ayuda en estos días",
}
"""The words for each question of triage in the sentence about the urgency."""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.question}, {rule.urgency.value}")
def test_the_sentence_about_an_urgency_names_each_answer_that_leads_to_it(rule: Rule) -> None:
    open_contact = contact(60)
    open_contact.urgency = r.Urgency.Value(f"URGENCY_{rule.urgency.name}")
    text = page(f"/line/{ID}", OPERATOR, waiting_work(GetContact=open_contact))
    assert (
        WORDS_OF_ANSWER[rule.question]
        in text.partition('id="standing"')[2].partition("</section>")[0]
    )


@pytest.mark.parametrize(("query", "words"), [("", "Último cambio"), ("?done=saved", "Guardado:")])
def test_a_contact_is_called_saved_only_after_saving(query: str, words: str) -> None:
    """Checks the page after other changes, too: a deadline or a referral changes the contact."""
    open_contact = contact(30)
    open_contact.update_time.CopyFrom(stamp(-5))
    arrange = waiting_work(GetContact=open_contact)
    status = page(f"/line/{ID}{query}", OPERATOR, arrange).partition('id="saved"')[2]
    assert status.partition(">")[2].partition("</p>")[0].startswith(words)


def test_a_sender_in_an_emergency_reads_beforehand_when_the_note_can_be_read() -> None:
    def arrange(fakes: FakePageServices) -> None:
        fakes.answers["IssueToken"] = signed_in(OPERATOR, contract_pb2.ROLE_EMERGENCY)
        referral_with_receipt(r.SIDE_SENDER, r.STATE_DRAFT)(fakes)

    text = page(f"/referrals/{ID}/check", OPERATOR, arrange)
    assert "lo demás, también la nota, cuando otra persona lo confirme" in text


def test_the_time_that_is_proposed_for_a_first_contact_is_still_to_come() -> None:
    for minute in range(60):
        now = datetime(2026, 3, 14, 22, minute, 31, tzinfo=UTC)
        proposed_time = due.proposed_time(now)
        assert timedelta(minutes=15) <= proposed_time - now <= timedelta(minutes=30)
        clock = (proposed_time.minute % 15, proposed_time.second, proposed_time.microsecond)
        assert clock == (0, 0, 0)


def test_the_proposed_time_of_first_contact_is_still_to_come_after_the_acceptance() -> None:
    fakes, path = FakePageServices(), f"/referrals/{ID}"
    fakes.answers["IssueToken"] = signed_in(WORKER)
    referral_with(side=r.SIDE_RECEIVER, main_step="accept", allowed_verbs=["accept"])(fakes)
    client = enter(pages(fakes).test_client())
    value = re.search(
        r'name="planned_first_contact_time"[^>]*value="([^"]+)"', client.get(path).text
    )
    assert value
    send(client, path, f"{path}/do/accept", planned_first_contact_time=value[1])
    planned_time = fakes.last("AcceptReferral").planned_first_contact_time
    assert planned_time.ToDatetime(UTC) > i18n.now()
    fakes.answers["GetReferral"] = referral(
        state=r.STATE_ACCEPTED, side=r.SIDE_RECEIVER, planned_first_contact_time=planned_time
    )
    assert "ya pasó" not in client.get(path).text


def test_no_text_after_a_step_claims_that_it_was_in_time_or_is_known_already() -> None:
    claims = re.compile(
        r"a tiempo|ya lo sabe|ya sabe|ya tienen|ya (se )?avis|autorizó|autorice", re.IGNORECASE
    )
    sentences = {
        sentence
        for table in ("done", "conflict", "event", "verb_hint")
        for sentence in vocabulary.TABLES[table].values()
    }
    sentences |= {text for step in vocabulary.STEPS.values() for text in (step.done, step.hint)}
    # "a tiempo" refers to the future here
    sentences.remove(
        "Se envió sin preguntarle a ella. Confirme solo si esperar la ponía en peligro;"
        " si nadie confirma a tiempo, el acceso se cierra."
    )
    assert [sentence for sentence in sentences if claims.search(sentence)] == []


def test_no_text_claims_that_a_person_already_knows_of_something() -> None:
    claims = re.compile(r"ya lo sabe|ya sabe|ya tienen|ya (se )?avis", re.IGNORECASE)
    folder = Path(vocabulary.__file__).parents[2]
    files = [*folder.rglob("*.html"), *folder.rglob("*.py")]
    assert len(files) > 150
    assert [file.name for file in files if claims.search(file.read_text())] == []


def test_an_exhausted_enquiry_is_on_the_board_for_as_long_as_its_page_says() -> None:
    exhausted = waiting_work(GetEnquiry=enquiry(e.ENQUIRY_STATE_EXHAUSTED, False))
    text = page(f"/enquiries/{ID}", WORKER, exhausted)
    assert f"en el tablero de la coordinación durante {UNMET_PERIOD.days} días" in text


@pytest.mark.parametrize("state", [r.STATE_CONSENT_WITHDRAWN, r.STATE_ENTERED_IN_ERROR])
def test_a_draft_that_ended_is_not_shown_as_sent(state: r.State.ValueType) -> None:
    for send_time, expected in ((None, "Borrador"), (stamp(-5), "Enviada")):
        with pages(FakePageServices()).test_request_context():
            first_step, *_ = steps.progress(r.Referral(state=state, send_time=send_time))
        assert first_step[0] == expected


@pytest.mark.parametrize("side", [r.SIDE_SENDER, r.SIDE_RECEIVER])
def test_a_pause_of_the_receivers_deadline_is_not_read_as_a_pause_of_the_question(
    side: r.Side.ValueType,
) -> None:
    text = page(f"/referrals/{ID}", WORKER, referral_with(state=r.STATE_INFO_REQUESTED, side=side))
    assert "el plazo de quien la recibe está en pausa hasta que se responda" in text
