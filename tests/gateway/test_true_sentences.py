"""Sentences of the pages that describe a state.

Each is tested with data that make it true and with data that make it false.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from chassis import errors
from chassis.wire import timestamp
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import members_pb2 as m
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import plans_pb2 as pl
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.edge.clients import Clients, ServiceFault
from services.gateway.edge.gates import RECENT_SECONDS, Gate
from services.gateway.site.language import i18n, vocabulary
from services.gateway.site.parts import due, steps
from services.referrals.line.domain.triage import RULES, Rule
from services.referrals.referrals.store.enquiries import UNMET_SINCE
from tests.gateway.api_gateway import ID
from tests.gateway.pages_gateway import SECRET, PlayedServices, enter, pages, signed_in
from tests.gateway.served_gateway import Service, refusing

WORKER, OPERATOR, MANAGER, COORDINATOR = (
    contract_pb2.ROLE_WORKER,
    contract_pb2.ROLE_OPERATOR,
    contract_pb2.ROLE_MANAGER,
    contract_pb2.ROLE_COORDINATOR,
)
Arrange = Callable[[PlayedServices], None]


def stamp(minutes: float) -> Timestamp:
    """Returns the time in `minutes` minutes from now."""
    created = Timestamp()
    created.FromDatetime((datetime.now(UTC) + timedelta(minutes=minutes)).replace(tzinfo=None))
    return created


def clock(minutes: float) -> r.Clock:
    return r.Clock(
        kind=r.CLOCK_KIND_CONTACT, start_time=stamp(minutes - 60), due_time=stamp(minutes)
    )


def contact(minutes: float) -> c.Contact:
    """Returns an open contact that is due in `minutes` minutes."""
    return c.Contact(
        id=ID, reference_hint="VWJF", outcome_code=c.CONTACT_OUTCOME_OPEN, clocks=[clock(minutes)]
    )


def referral(**fields: Any) -> r.Referral:
    created = r.Referral(id=ID, code="4BGZ42", need_code="HOU.EMG", state=r.STATE_SENT, live=True)
    created.MergeFrom(r.Referral(**fields))
    return created


def quiet(played: PlayedServices) -> None:
    """Sets the services so that nothing waits anywhere."""
    played.answers |= {
        "ListReferrals": r.ListReferralsResponse(),
        "CountReferrals": r.CountReferralsResponse(),
        "ListContacts": c.ListContactsResponse(),
        "ListCallbacks": c.ListCallbacksResponse(),
        "ListEnquiries": e.ListEnquiriesResponse(),
        "ListLateSteps": pl.ListLateStepsResponse(),
        "SearchServices": d.SearchServicesResponse(),
    }


def waiting(**answers: Any) -> Arrange:
    """Arranges that only these things wait."""

    def arrange(played: PlayedServices) -> None:
        quiet(played)
        played.answers |= answers

    return arrange


def failing(name: str) -> Arrange:
    def arrange(played: PlayedServices) -> None:
        played.standings[name] = replace(played.standings[name], fails=True)

    return arrange


def standing(planned: float) -> Arrange:
    """Arranges a referral whose first contact is planned for `planned` minutes from now."""
    sent_referral = referral(
        state=r.STATE_ACCEPTED, side=r.SIDE_RECEIVER, planned_first_contact_time=stamp(planned)
    )
    return lambda played: played.answers.update(
        GetReferral=sent_referral, ListReferralEvents=r.ListReferralEventsResponse()
    )


def opened_on(
    side: r.Side.ValueType = r.SIDE_RECEIVER,
    state: r.State.ValueType = r.STATE_ACCEPTED,
    **receipt: Any,
) -> Arrange:
    """Arranges a referral that is based on this receipt, to the reader's organisation by default.

    The receipt covers the identity, and the field groups of `receipt`.
    """
    found = referral(state=state, side=side, person_id=ID, receipt_id=ID)
    named = p.Receipt(id=ID, live=True, field_groups=[p.FIELD_GROUP_IDENTITY])
    named.MergeFrom(p.Receipt(**receipt))
    return lambda played: played.answers.update(
        GetReferral=found,
        ListReferralEvents=r.ListReferralEventsResponse(),
        GetReceipt=named,
    )


def closed_about(*, erased: bool) -> Arrange:
    """Arranges the sender's closed referral of a person whose file may have been erased."""
    closed = r.Referral(
        id=ID, code="4BGZ42", state=r.STATE_CLOSED, side=r.SIDE_SENDER, person_id=ID
    )
    return lambda played: played.answers.update(
        GetReferral=closed,
        ListReferralEvents=r.ListReferralEventsResponse(),
        GetPerson=p.Person(id=ID, erased=erased),
    )


def sheet(*receipts: p.Receipt, enquiries: Sequence[e.Enquiry] = ()) -> Arrange:
    """Arranges the file of a person with these receipts and enquiries."""
    return lambda played: played.answers.update(
        GetPerson=p.Person(id=ID, organization_id=ID),
        ListReceipts=p.ListReceiptsResponse(receipts=receipts),
        ListReadings=p.ListReadingsResponse(),
        ListReferrals=r.ListReferralsResponse(),
        ListEnquiries=e.ListEnquiriesResponse(enquiries=enquiries),
    )


def receipt(until: float = 60, **fields: Any) -> p.Receipt:
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


ROW = r.ListReferralsResponse(referrals=[referral()])
DUE = r.ListReferralsResponse(referrals=[referral(next_due_time=stamp(60))])
OWED = c.ListCallbacksResponse(callbacks=[c.Callback(id=ID, contact_id=ID, clocks=[clock(30)])])
PUT_TO_US = e.ListEnquiriesResponse(
    enquiries=[
        e.Enquiry(
            id=ID,
            side=r.SIDE_RECEIVER,
            turn=r.TURN_RECEIVER,
            state=e.ENQUIRY_STATE_OPEN,
            due_time=stamp(30),
        )
    ]
)
CAME_BACK = r.CountReferralsResponse(
    unanswered=[r.UnansweredNeed(need_group_code="HOU", department="NI-CI", count=1)]
)

# The sentence, its page, its reader, data that make it true, and each kind of data that makes it
# false.
SENTENCES: list[tuple[str, str, int, Arrange, list[Arrange]]] = [
    (
        "Todas las partes responden.",
        "/status",
        WORKER,
        quiet,
        [failing("partners"), failing("referrals"), failing("notifications")],
    ),
    (
        "Ninguna: ningún pedido volvió sin ayuda.",
        "/board",
        COORDINATOR,
        quiet,
        [waiting(CountReferrals=CAME_BACK)],
    ),
    (
        "Ninguna remisión está con atraso ni vence en 4 horas, y ningún pedido volvió sin ayuda.",
        "/board",
        COORDINATOR,
        quiet,
        [waiting(ListReferrals=ROW)],
    ),
    (
        "Ninguna remisión vence en las próximas 12 horas.",
        "/board",
        COORDINATOR,
        quiet,
        [waiting(ListReferrals=DUE)],
    ),
    (
        "Nadie espera algo de su organización.",
        "/today",
        OPERATOR,
        quiet,
        [
            waiting(ListReferrals=ROW),
            waiting(ListContacts=c.ListContactsResponse(contacts=[contact(30)])),
            waiting(ListCallbacks=OWED),
            waiting(ListEnquiries=PUT_TO_US),
            waiting(
                ListLateSteps=pl.ListLateStepsResponse(
                    steps=[pl.LateStep(plan_id=ID, key="a", due_time=stamp(-60))]
                )
            ),
        ],
    ),
    (
        "Nada queda abierto en la línea.",
        "/line/shift",
        OPERATOR,
        waiting(ListTakeOvers=c.ListTakeOversResponse()),
        [
            waiting(ListTakeOvers=c.ListTakeOversResponse(), **{name: answer})
            for name, answer in {
                "ListContacts": c.ListContactsResponse(contacts=[contact(30)]),
                "ListReferrals": r.ListReferralsResponse(referrals=[referral()]),
                "CountReferrals": r.CountReferralsResponse(waiting_for_other=1),
            }.items()
        ],
    ),
    ("No hay remisiones en curso.", "/today", COORDINATOR, quiet, [waiting(ListReferrals=ROW)]),
    (
        "Ninguna remisión espera un paso de su organización.",
        "/today",
        MANAGER,
        quiet,
        [waiting(ListReferrals=ROW)],
    ),
    (
        "ya pasó; falta anotar qué pasó",
        f"/referrals/{ID}",
        WORKER,
        standing(-61),
        [standing(-30), standing(0), standing(15)],
    ),
    (
        "Se abre solo lo que ella autorizó",
        f"/referrals/{ID}",
        WORKER,
        opened_on(giver_code=p.GIVER_PERSON),
        [
            opened_on(giver_code=p.GIVER_GUARDIAN),
            opened_on(reason_code=r.OVERRIDE_REASON_LIFE_AT_RISK),
            opened_on(reason_code=r.OVERRIDE_REASON_LIFE_AT_RISK, confirm_time=stamp(-5)),
        ],
    ),
    (
        "lo que usted escriba lo lee solo quien lleva su expediente",
        f"/referrals/{ID}",
        WORKER,
        opened_on(giver_code=p.GIVER_PERSON),
        [
            opened_on(giver_code=p.GIVER_PERSON, field_groups=[p.FIELD_GROUP_NOTES]),
            opened_on(
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
        opened_on(r.SIDE_SENDER),
        [opened_on(r.SIDE_SENDER, field_groups=[p.FIELD_GROUP_NOTES]), opened_on()],
    ),
    (
        "no puede leer ninguna nota, tampoco la del envío",
        f"/referrals/{ID}",
        WORKER,
        opened_on(r.SIDE_SENDER, reason_code=r.OVERRIDE_REASON_LIFE_AT_RISK),
        [
            opened_on(r.SIDE_SENDER),
            opened_on(
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
        opened_on(reason_code=r.OVERRIDE_REASON_LIFE_AT_RISK),
        [opened_on(), opened_on(r.SIDE_SENDER, reason_code=r.OVERRIDE_REASON_LIFE_AT_RISK)],
    ),
    (
        "Este expediente se borró.",
        f"/referrals/{ID}",
        WORKER,
        closed_about(erased=True),
        [closed_about(erased=False), opened_on(r.SIDE_SENDER)],
    ),
    (
        "Elegir qué abrir",
        f"/referrals/{ID}",
        WORKER,
        closed_about(erased=False),
        [closed_about(erased=True)],
    ),
    (
        "no podrá leer esta",
        f"/referrals/{ID}/check",
        WORKER,
        opened_on(r.SIDE_SENDER, r.STATE_DRAFT),
        [opened_on(r.SIDE_SENDER, r.STATE_DRAFT, field_groups=[p.FIELD_GROUP_NOTES])],
    ),
    (
        "Nadie más sabe nada de usted por esta red.",
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


def page(path: str, role: int, arrange: Arrange) -> str:
    played = PlayedServices()
    played.answers["IssueToken"] = signed_in(role)  # type: ignore[arg-type]
    arrange(played)
    return enter(pages(played).test_client()).get(path).text


# D25
@pytest.mark.parametrize(
    ("sentence", "path", "role", "true", "false"),
    SENTENCES,
    ids=[sentence for sentence, *_ in SENTENCES],
)
def test_d25_a_sentence_is_shown_for_data_that_make_it_true_and_for_no_others(
    sentence: str, path: str, role: int, true: Arrange, false: list[Arrange]
) -> None:
    assert sentence in page(path, role, true)
    assert [
        number for number, arrange in enumerate(false) if sentence in page(path, role, arrange)
    ] == []


NAMED = {
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


# D25
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.question}, {rule.urgency.value}")
def test_d25_the_sentence_about_an_urgency_names_each_answer_that_leads_to_it(rule: Rule) -> None:
    open_contact = contact(60)
    open_contact.urgency = r.Urgency.Value(f"URGENCY_{rule.urgency.name}")
    text = page(
        f"/line/{ID}", OPERATOR, lambda played: played.answers.update(GetContact=open_contact)
    )
    standing = text[text.index('id="standing"') :]
    assert NAMED[rule.question] in standing[: standing.index("</section>")]


# D25
def test_d25_a_manager_with_referrals_under_way_is_not_told_that_there_are_none() -> None:
    counted = r.CountReferralsResponse(waiting_for_other=3, total=3)
    assert "No hay remisiones en curso." not in page(
        "/today", MANAGER, waiting(CountReferrals=counted)
    )


# D25
def test_d25_work_due_within_the_hour_comes_first_and_the_rest_is_not_called_today() -> None:
    rows = [referral(next_due_time=stamp(minutes)) for minutes in (30, 19 * 24 * 60)]
    both = waiting(
        ListReferrals=lambda request: r.ListReferralsResponse(
            referrals=[] if request.filter.unanswered else rows
        ),
        ListEnquiries=PUT_TO_US,
    )
    work = page("/today", WORKER, both).partition('id="work"')[2]
    assert [heading.strip() for heading in re.findall(r"<h2>([^<]+)", work)] == [
        "Ahora",
        "Le preguntan: ¿puede recibirla?",
        "Sus consultas",
        "Lo demás que le toca a su organización",
    ]


def test_an_operator_sees_open_contacts_first_and_the_calls_that_are_due_before_answers() -> None:
    all_at_once = waiting(
        ListReferrals=lambda request: r.ListReferralsResponse(
            referrals=[] if request.filter.unanswered else [referral(next_due_time=stamp(30))]
        ),
        ListContacts=c.ListContactsResponse(contacts=[contact(30)]),
        ListCallbacks=OWED,
        ListEnquiries=PUT_TO_US,
    )
    work = page("/today", OPERATOR, all_at_once).partition('id="work"')[2]
    assert [heading.strip() for heading in re.findall(r"<h2>([^<]+)", work)] == [
        "Contactos abiertos",
        "Ahora",
        "Llamadas que debemos",
        "Le preguntan: ¿puede recibirla?",
        "Sus consultas",
    ]


# D25
@pytest.mark.parametrize(("query", "words"), [("", "Último cambio"), ("?done=saved", "Guardado:")])
def test_d25_a_contact_is_called_saved_only_after_saving(query: str, words: str) -> None:
    """Checks the page after other changes, too: a deadline or a referral changes the contact."""
    open_contact = contact(30)
    open_contact.update_time.CopyFrom(stamp(-5))
    arrange = waiting(GetContact=open_contact)
    status = page(f"/line/{ID}{query}", OPERATOR, arrange).partition('id="saved"')[2]
    assert status.partition(">")[2].partition("</p>")[0].startswith(words)


# D25
def test_d25_the_network_is_told_that_all_is_listed_only_where_all_is_listed() -> None:
    rows = {minutes: referral(next_due_time=stamp(minutes)) for minutes in (30, 600)}

    def headings(*listed: int) -> list[str]:
        work = page(
            "/today",
            COORDINATOR,
            waiting(
                ListReferrals=lambda request: r.ListReferralsResponse(
                    referrals=[]
                    if request.filter.unanswered
                    else [rows[minutes] for minutes in listed]
                )
            ),
        ).partition('id="work"')[2]
        return [heading.strip() for heading in re.findall(r"<h2>([^<]+)", work)]

    assert headings(600) == ["Todo lo que espera algo en la red"]
    assert headings(30, 600) == ["Ahora", "Lo demás que espera algo en la red"]


# D25
@pytest.mark.parametrize(("beds", "expected"), [(1, "libre de 14"), (2, "libres de 14")])
def test_d25_one_free_bed_is_counted_as_one(beds: int, expected: str) -> None:
    room = d.Capacity(available=beds, maximum=14, unit=d.CAPACITY_UNIT_BEDS)
    shelter = d.Service(id=ID, name="Casa segura", capacity=room)
    page_text = page(
        "/today", WORKER, waiting(SearchServices=d.SearchServicesResponse(services=[shelter]))
    )
    assert f">{expected}<" in page_text


def tiles(text: str) -> dict[str, int]:
    numbers = re.findall(r'show=(\w+)"[^>]*><b>(\d+)</b>', text)
    return {key: int(number) for key, number in numbers}


# D25
def test_d25_the_number_of_late_rows_counts_every_late_row_and_opens_exactly_these() -> None:
    late = waiting(
        CountReferrals=r.CountReferralsResponse(late=1, due_soon=1),
        ListContacts=c.ListContactsResponse(
            contacts=[contact(-90), contact(-80), contact(-70), contact(60), contact(600)]
        ),
        ListCallbacks=c.ListCallbacksResponse(
            callbacks=[c.Callback(id=ID, contact_id=ID, clocks=[clock(-10)])]
        ),
        ListLateSteps=pl.ListLateStepsResponse(
            steps=[pl.LateStep(plan_id=ID, key="a", due_time=stamp(-60))]
        ),
        ListReferrals=ROW,
    )
    assert tiles(page("/today", OPERATOR, late)) == {
        "late": 1 + 3 + 1 + 1,
        "soon": 1 + 1,
        "new": 0,
        "running": 0,
    }
    assert len(re.findall(r'<li class="row', page("/today?show=late", OPERATOR, late))) == 6
    assert len(re.findall(r'<li class="row', page("/today?show=soon", OPERATOR, late))) == 2
    assert len(re.findall(r'<li class="row', page("/today?show=new", OPERATOR, late))) == 1


# D25
def test_d25_a_sender_in_an_emergency_reads_beforehand_when_the_note_can_be_read() -> None:
    def arrange(played: PlayedServices) -> None:
        played.answers["IssueToken"] = signed_in(OPERATOR, contract_pb2.ROLE_EMERGENCY)
        opened_on(r.SIDE_SENDER, r.STATE_DRAFT)(played)

    page_text = page(f"/referrals/{ID}/check", OPERATOR, arrange)
    assert "lo demás, también la nota, cuando otra persona lo confirme" in page_text


# D25
def test_d25_the_number_of_unseen_referrals_does_not_deny_those_that_the_desk_has_sent() -> None:
    sent = waiting(
        CountReferrals=lambda request: r.CountReferralsResponse(
            fresh=0 if request.filter.waiting_for_me else 2
        )
    )
    for role, label, count in ((OPERATOR, "Recibidas sin ver", 0), (COORDINATOR, "Enviadas", 2)):
        text = page("/today", role, sent)
        assert tiles(text)["new"] == count
        tile = text[text.index('show=new"') :].partition("</a>")[0]
        assert label in tile
        assert "Sin respuesta" not in tile


# D25
def test_d25_the_time_that_is_proposed_for_a_first_contact_is_still_to_come() -> None:
    for minute in range(60):
        now = datetime(2026, 3, 14, 22, minute, 31, tzinfo=UTC)
        proposed = due.proposed_time(now)
        assert timedelta(minutes=15) <= proposed - now <= timedelta(minutes=30)
        assert (proposed.minute % 15, proposed.second, proposed.microsecond) == (0, 0, 0)


# D25
def test_d25_the_proposed_time_of_first_contact_has_not_passed_when_the_referral_is_accepted() -> (
    None
):
    played = PlayedServices()
    played.answers["IssueToken"] = signed_in(WORKER)
    sent_referral = referral(
        side=r.SIDE_RECEIVER, main_step="accept", allowed_verbs=["accept"], etag="v1"
    )
    played.answers |= {
        "GetReferral": sent_referral,
        "ListReferralEvents": r.ListReferralEventsResponse(),
    }
    client = enter(pages(played).test_client())
    form = client.get(f"/referrals/{ID}").text
    value = re.search(r'name="planned_first_contact_time"[^>]*value="([^"]+)"', form)
    assert value
    token = re.search(r'name="form_token" value="([^"]+)"', form)
    assert token
    client.post(
        f"/referrals/{ID}/do/accept",
        data={"form_token": token[1], "etag": "v1", "planned_first_contact_time": value[1]},
    )
    planned = played.last("AcceptReferral").planned_first_contact_time
    assert planned.ToDatetime(UTC) > i18n.now()
    played.answers["GetReferral"] = referral(
        state=r.STATE_ACCEPTED, side=r.SIDE_RECEIVER, planned_first_contact_time=planned
    )
    assert "ya pasó" not in client.get(f"/referrals/{ID}").text


# D25
def test_d25_no_text_after_a_step_claims_that_it_was_in_time_or_is_known_already() -> None:
    claims = re.compile(
        r"a tiempo|ya lo sabe|ya sabe|ya tienen|ya (se )?avis|autorizó|autorice", re.IGNORECASE
    )
    after = {
        word
        for table in ("done", "conflict", "event", "verb_hint")
        for word in vocabulary.TABLES[table].values()
    }
    after |= {words for step in vocabulary.STEPS.values() for words in (step.done, step.hint)}
    assert {word for word in after if claims.search(word)} - KNOWN == set()


# D25
def test_d25_no_page_claims_that_somebody_who_may_not_have_looked_knows_of_something() -> None:
    claims = re.compile(r"ya lo sabe|ya sabe|ya tienen|ya (se )?avis", re.IGNORECASE)
    pages_and_templates = [
        file
        for ending in ("*.html", "*.py")
        for file in Path(vocabulary.__file__).parents[2].rglob(ending)
    ]
    assert len(pages_and_templates) > 150
    assert [
        (file.name, claim[0])
        for file in pages_and_templates
        if (claim := claims.search(file.read_text()))
    ] == []


def test_d25_an_exhausted_enquiry_is_on_the_board_for_as_long_as_its_page_says() -> None:
    played = PlayedServices()
    played.answers["GetEnquiry"] = enquiry(e.ENQUIRY_STATE_EXHAUSTED, False)
    text = enter(pages(played).test_client()).get(f"/enquiries/{ID}").text
    assert f"en el tablero de la coordinación durante {UNMET_SINCE.days} días" in text


KNOWN = {
    # "a tiempo" refers to the future here.
    (
        "Se envió sin preguntarle a ella. Confirme solo si esperar la ponía en peligro;"
        " si nadie confirma a tiempo, el acceso se cierra."
    ),
}


def status_said(**fields: Any) -> str:
    """Returns the page that the caller reads with her reference."""
    played = PlayedServices()
    played.answers["GetReferenceStatus"] = c.ReferenceStatus(**fields)
    client = pages(played).test_client()
    token = re.search(r'name="form_token" value="([^"]+)"', client.get("/my-referral").text)
    assert token
    return client.post(
        "/my-referral", data={"form_token": token[1], "reference": "W43P-VWJF", "pin": "4821"}
    ).text


# D25
def test_d25_she_is_not_told_that_the_line_calls_her_after_the_time_has_passed() -> None:
    def call(minutes: float) -> str:
        return status_said(call_from_time=stamp(minutes - 60), call_until_time=stamp(minutes))

    assert ("La línea la llama:" in call(30), "llame usted" in call(30)) == (True, False)
    assert ("La línea la llama:" in call(-1), "llame usted" in call(-1)) == (False, True)


def test_she_reads_the_hours_of_a_call_in_the_local_time_in_which_she_agreed_on_them() -> None:
    start = datetime(2126, 3, 5, 22, tzinfo=UTC)
    sentence = status_said(
        call_from_time=timestamp(start),
        call_until_time=timestamp(start + timedelta(hours=3)),
        call_utc_offset_minutes=-300,  # Peru
    )
    assert "La línea la llama: 5 mar 2126, 17:00 a 5 mar 2126, 20:00." in sentence


# D25
def test_d25_she_is_told_that_nothing_is_asked_for_her_only_if_no_organisation_is_asked() -> None:
    nothing = "Ahora no hay nada pedido en su nombre."
    assert nothing in status_said()
    assert nothing not in status_said(organizations_asked=3)
    assert nothing not in status_said(only_the_call=True)


# D25
def test_d25_a_late_confirmation_is_not_described_as_still_to_come() -> None:
    def item(minutes: float) -> str:
        return status_said(
            items=[c.ReferenceItem(need_group_code="HOU", deletion_due_time=stamp(minutes))]
        )

    assert "Tienen que confirmar" in item(30)
    assert "Tienen que confirmar" not in item(-30)
    assert "todavía no lo hicieron" in item(-30)


def test_a_deletion_is_due_on_a_day_since_an_hour_would_be_of_another_country() -> None:
    due = timestamp(datetime(2126, 3, 5, 22, tzinfo=UTC))
    said = status_said(items=[c.ReferenceItem(need_group_code="HOU", deletion_due_time=due)])
    assert "Tienen que confirmar hasta el 5 mar 2126 que ya no guardan nada." in said


# D25
def test_d25_the_page_does_not_claim_that_she_authorised_those_who_can_open_her_data() -> None:
    sentence = status_said(organizations_with_access=1)
    assert "puede abrir datos suyos" in sentence
    assert "autorizó" not in sentence


# D25
def test_d25_the_number_of_those_who_can_open_her_data_names_the_one_it_leaves_out() -> None:
    sentence = status_said(organizations_with_access=1, file_count=1)
    assert "Ahora 1 organización puede abrir datos suyos, además de quien abrió su expediente." in (
        html.unescape(sentence)
    )


@pytest.mark.parametrize("state", [r.STATE_CONSENT_WITHDRAWN, r.STATE_ENTERED_IN_ERROR])
def test_a_draft_that_ended_is_not_shown_as_sent(state: r.State.ValueType) -> None:
    never, once = (
        [text for text, _, _ in said_of(r.Referral(state=state, send_time=sent))]
        for sent in (None, stamp(-5))
    )
    assert (never[0], once[0]) == ("Borrador", "Enviada")


# D25
@pytest.mark.parametrize("side", [r.SIDE_SENDER, r.SIDE_RECEIVER])
def test_d25_a_pause_of_the_receivers_deadline_is_not_read_as_a_pause_of_the_question(
    side: r.Side.ValueType,
) -> None:
    paused = referral(state=r.STATE_INFO_REQUESTED, side=side)
    page_text = page(
        f"/referrals/{ID}",
        WORKER,
        lambda played: played.answers.update(
            GetReferral=paused, ListReferralEvents=r.ListReferralEventsResponse()
        ),
    )
    assert "el plazo de quien la recibe está en pausa hasta que se responda" in page_text


def said_of(referral: r.Referral) -> list[tuple[str, str, bool]]:
    with pages(PlayedServices()).test_request_context():
        return steps.progress(referral)


class Time:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def ask(gate: Gate, method: str, ends: Exception | None = None) -> None:
    try:
        with gate.passage("", method):
            if ends:
                raise ends
    except (errors.Refusal, ServiceFault):
        pass


# D25
@pytest.mark.parametrize(
    "ends",
    [
        errors.Unavailable("store_full"),
        errors.Unavailable("deadline_exceeded"),
        ServiceFault("INTERNAL"),
    ],
    ids=repr,
)
def test_d25_a_failed_call_is_remembered_until_the_same_one_succeeds_or_for_five_minutes(
    ends: Exception,
) -> None:
    time = Time()
    gate = Gate("partners", lambda: True, capacity=4, clock=time)
    ask(gate, "SignIn", ends)
    ask(gate, "GetService")
    assert gate.fails()
    ask(gate, "SignIn", errors.Unauthenticated("sign_in_failed"))
    assert not gate.fails(), "a wrong password was checked, so the call succeeded"
    ask(gate, "SignIn", ends)
    time.now += RECENT_SECONDS
    assert not gate.fails()
    gate.close()


# D25
def test_d25_a_callers_error_is_no_failure_of_the_service() -> None:
    gate = Gate("partners", lambda: True, capacity=4, clock=Time())
    for refusal in (
        errors.Stale(),
        errors.NotFound(),
        errors.Conflict("person_erased"),
        errors.Exhausted("too_many_attempts", 9),
    ):
        ask(gate, "SignIn", refusal)
    assert not gate.fails()
    gate.close()


# D25
def test_d25_the_status_page_reports_that_every_sign_in_fails_though_health_reports_no_fault(
    service: Service,
) -> None:
    def broken(rpc: str, context: grpc.ServicerContext) -> None:
        if rpc == "SignIn":
            context.abort(grpc.StatusCode.INTERNAL, "")

    clients = Clients(*[f"127.0.0.1:{service.port}"] * 3)
    client = pages(clients).test_client()
    assert "No responde" not in client.get("/status").text
    service.answer = broken
    with pytest.raises(ServiceFault):
        clients.tokens.SignIn(m.SignInRequest(email="a@b.demo", password="p"))
    text = client.get("/status").text
    assert "Algo falló hace poco" in text
    assert "Hace poco, algo que se pidió no se pudo hacer" in text
    service.answer = lambda _rpc, _context: None
    clients.tokens.SignIn(m.SignInRequest(email="a@b.demo", password="p"))
    assert "hace poco" not in client.get("/status").text
    clients.close()


# D25
@pytest.mark.parametrize(("fails", "saved"), [("CreateReferral", False), ("UpdatePlanStep", True)])
def test_d25_the_page_does_not_say_that_nothing_was_saved_when_a_part_of_the_form_was(
    service: Service, fails: str, saved: bool
) -> None:
    clients = Clients(*[f"127.0.0.1:{service.port}"] * 3)
    service.answer = lambda rpc, _context: (
        m.SignInResponse(session_secret=SECRET) if rpc == "SignIn" else None
    )
    client = enter(pages(clients).test_client())
    token = re.search(r'name="form_token" value="([^"]+)"', client.get("/line/new").text)
    assert token
    service.answer = refusing("store_unavailable", "UNAVAILABLE", only=fails)
    text = client.post(
        f"/plans/{ID}/refer/housing",
        data={"form_token": token[1], "etag": "", "request_id": "1" * 32},
    ).text
    assert ("Puede que se haya guardado." in text, "No se guardó nada." in text) == (
        saved,
        not saved,
    )
    clients.close()
