"""The page of a referral: its steps, their refusals, and the person's data."""

import re

import pytest
from flask.testing import FlaskClient
from google.protobuf.timestamp_pb2 import Timestamp
from werkzeug.test import TestResponse

from chassis import errors
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import emergencies_pb2 as em
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from tests.gateway.pages_gateway import (
    ID,
    FakePageServices,
    enter,
    missing,
    pages,
    referral,
    send,
    signed_in,
    signed_in_as,
)

PAGE = f"/referrals/{ID}"


@pytest.fixture
def worker(fakes: FakePageServices) -> FlaskClient:
    """A browser of a worker who has no other role."""
    fakes.answers["IssueToken"] = signed_in(contract_pb2.ROLE_WORKER)
    return enter(pages(fakes).test_client(), "a-worker")


def take(client: FlaskClient, verb: str, **fields: object) -> TestResponse:
    """Sends the form of a step."""
    return send(client, PAGE, f"{PAGE}/do/{verb}", **fields)


def received_referral(*allowed_verbs: str, **fields: object) -> r.Referral:
    """Returns a referral as its receiver sees it."""
    values = {"id": ID, "etag": "e1", "need_code": "HOU.EMG", "side": r.SIDE_RECEIVER, **fields}
    return r.Referral(allowed_verbs=allowed_verbs, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("side", [r.SIDE_SENDER, r.SIDE_RECEIVER])
@pytest.mark.parametrize(
    ("verb", "expected"),
    [("side_out", "quedó suspendida o se retiró: "), ("side_back", "está otra vez en la red: ")],
)
def test_a_member_whose_standing_changed_is_named_to_either_side(
    fakes: FakePageServices, client: FlaskClient, side: r.Side.ValueType, verb: str, expected: str
) -> None:
    other_id = "c" * 32
    fakes.add_organization(other_id, "Luna Nueva")
    events = [
        r.ReferralEvent(
            version=2,
            verb=verb,
            actor_kind=r.ACTOR_KIND_SYSTEM,
            actor_id="members",
            actor_organization_id=organization_id,
        )
        for organization_id in (other_id, ID)
    ]
    fakes.answers |= {
        "GetReferral": referral(side=side),
        "ListReferralEvents": r.ListReferralEventsResponse(events=events),
    }
    page = client.get(PAGE).text
    assert missing(page, expected + "Luna Nueva", expected + "Casa Puentes") == []
    assert "La otra organización" not in page[page.index('id="timeline"') :]


def test_a_step_is_taken_on_the_version_that_was_seen(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    answer = take(client, "accept", planned_first_contact_time="2026-12-01T08:30")
    assert answer.location == f"{PAGE}?done=accept"
    request = fakes.last("AcceptReferral")
    assert (request.id, request.etag) == (ID, "e1")
    assert request.planned_first_contact_time.ToJsonString() == "2026-12-01T14:30:00Z"


def test_a_receiver_who_is_asked_for_news_finds_the_form_for_news_first(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetReferral"] = received_referral(
        "add_note", "complete", state=r.STATE_IN_PROGRESS, main_step="add_note"
    )
    assert (
        '<details class="first" id="form-add_note"><summary>Dar noticias</summary><form'
        ' method="post" id="add_note"'
    ) in client.get(PAGE).text
    assert 'href="#add_note-note"' in take(client, "add_note").text
    assert take(client, "add_note", note="Está bien").location == f"{PAGE}?done=add_note"
    assert fakes.last("AddNote").note == "Está bien"


def test_an_operator_who_sent_a_referral_is_led_back_to_its_contact(
    fakes: FakePageServices,
) -> None:
    fakes.answers["GetReferral"] = r.Referral(
        id=ID, side=r.SIDE_SENDER, state=r.STATE_SENT, contact_id=ID
    )
    operator = signed_in_as(fakes, contract_pb2.ROLE_OPERATOR)
    sent_page = operator.get(f"{PAGE}?done=send").text
    assert missing(sent_page, "Anote en el contacto de la línea", f'href="/line/{ID}"') == []
    assert "Anote en el contacto de la línea" not in operator.get(PAGE).text
    worker = signed_in_as(fakes, contract_pb2.ROLE_WORKER)
    assert f'href="/line/{ID}"' not in worker.get(PAGE).text


def test_a_receiver_sees_yes_and_no_before_all_other_steps(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    steps = ["accept", "ask", "waitlist", "decline", "add_note"]
    fakes.answers["GetReferral"] = received_referral(
        *steps, state=r.STATE_ACKNOWLEDGED, main_step="accept"
    )
    page = client.get(PAGE).text
    assert re.findall(r'<details[^>]* id="form-(\w+)"', page)[:2] == ["accept", "decline"]
    assert page.index('id="form-decline"') < page.index("Más…")
    assert missing(page.partition('class="stick"')[2], ">Aceptar<", ">No podemos recibirla<") == []


@pytest.mark.parametrize("side", [r.SIDE_SENDER, r.SIDE_RECEIVER, r.SIDE_NETWORK])
def test_the_phone_number_of_the_service_cannot_be_mistaken_for_her_own(
    side: r.Side.ValueType, fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers |= {
        "BatchGet": d.BatchGetResponse(services=[d.Service(id=ID, phone="+50500000102")]),
        "GetReferral": received_referral(service_id=ID, state=r.STATE_ACKNOWLEDGED, side=side),
    }
    page = client.get(PAGE).text
    assert ("+50500000102" in page) == (side != r.SIDE_RECEIVER), (
        "a receiver needs no number of its own service"
    )
    assert "<dt>Teléfono</dt>" not in page
    assert ("Teléfono del servicio" in page) == (side != r.SIDE_RECEIVER)


def test_a_step_without_a_required_field_is_shown_again_with_the_error_at_the_field(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    answer = take(client, "decline", note="Llena")
    assert answer.status_code == 422
    expected = (
        'href="#decline-reason_code"',
        'aria-describedby="reason_code-error"',
        "Llena</textarea>",
    )
    assert missing(answer.text, *expected) == []
    assert fakes.requests("DeclineReferral") == []


def test_another_reason_has_to_be_explained_and_is_then_shown_without_the_instruction(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    assert "Otro motivo (explíquelo)" in client.get(PAGE).text
    fakes.answers["GetReferral"] = r.Referral(
        id=ID, state=r.STATE_DECLINED, side=r.SIDE_SENDER, reason_code="other"
    )
    assert missing(client.get(PAGE).text, "Motivo: Otro motivo</p>", "explíquelo") == ["explíquelo"]


def test_a_review_that_is_promised_for_a_day_is_not_late_before_that_day_is_over(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetReferral"] = received_referral("waitlist", state=r.STATE_ACKNOWLEDGED)
    take(client, "waitlist", expected_wait_days="3", review_time="2026-12-05")
    review_time = fakes.last("WaitlistReferral").review_time
    assert review_time.ToJsonString() == "2026-12-06T05:59:00Z", "the end of the day in Managua"


def test_the_form_that_ends_the_help_assumes_no_help_and_keeps_what_was_ticked(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers |= {
        "GetReferral": received_referral("complete", state=r.STATE_IN_PROGRESS),
        "CompleteReferral": errors.Invalid(("delivered_need_codes", "contradicts")),
    }
    ticked_code = re.compile(r'name="delivered_need_codes" value="([^"]*)" checked')
    assert not ticked_code.findall(client.get(PAGE).text)
    answer = take(client, "complete", outcome_code="not_met", delivered_need_codes=["HOU.EMG"])
    assert ticked_code.findall(answer.text) == ["HOU.EMG"]
    assert "si no se resolvió, no se dio ninguna" in answer.text


@pytest.mark.parametrize(
    ("step", "rpc", "field", "expected"),
    [
        ("schedule_appointment", "ScheduleAppointment", "appointment_time", "en los próximos 90"),
        ("waitlist", "WaitlistReferral", "review_time", "elija un día desde hoy"),
        ("accept", "AcceptReferral", "planned_first_contact_time", "elija un día desde hoy"),
    ],
)
def test_an_impossible_time_is_refused_with_the_possible_times(
    fakes: FakePageServices, client: FlaskClient, step: str, rpc: str, field: str, expected: str
) -> None:
    fakes.answers |= {
        "GetReferral": received_referral(step),
        rpc: errors.Invalid((field, "out_of_range")),
    }
    answer = take(client, step, expected_wait_days="3", **{field: "2020-01-02T10:00"})
    assert (answer.status_code, answer.text.count(expected)) == (422, 2)
    assert "fuera de lo permitido" not in answer.text


def test_a_step_that_came_too_late_shows_the_present_state(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["AcknowledgeReferral"] = errors.Conflict("illegal_transition")
    answer = take(client, "acknowledge")
    assert (answer.status_code, "Alguien ya dio este paso" in answer.text) == (422, True)


def test_no_made_up_verb_reaches_a_service(client: FlaskClient) -> None:
    assert take(client, "approve").status_code == 404


def test_an_identity_is_shown_only_in_the_answer_that_opened_it(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["OpenPerson"] = p.Identity(given_name="Marisol", opened=[p.FIELD_GROUP_IDENTITY])
    answer = send(client, PAGE, f"{PAGE}/open", field_groups=["identity"], purpose_code="HOU.EMG")
    request = fakes.last("OpenPerson")
    assert (request.purpose_code, request.referral_id, list(request.field_groups)) == (
        "HOU.EMG",
        ID,
        [p.FIELD_GROUP_IDENTITY],
    )
    assert ("Marisol" in answer.text, "Marisol" in client.get(PAGE).text) == (True, False)


@pytest.mark.parametrize(("live", "receipt_live"), [(True, True), (True, False), (False, True)])
def test_a_receiver_may_open_what_the_receipt_names_while_referral_and_receipt_are_live(
    live: bool, receipt_live: bool, fakes: FakePageServices, worker: FlaskClient
) -> None:
    fakes.answers |= {
        "GetReferral": received_referral(person_id=ID, receipt_id=ID, live=live),
        "GetReceipt": p.Receipt(id=ID, field_groups=[p.FIELD_GROUP_HEALTH], live=receipt_live),
        "ListEmergencies": em.ListEmergenciesResponse(),
    }
    page = worker.get(PAGE).text
    may_open = live and receipt_live
    assert ('value="health"' in page, "Ahora no hay datos" in page) == (may_open, not may_open)
    assert 'value="identity"' not in page


@pytest.mark.parametrize(
    ("receipt", "expected"),
    [
        (p.Receipt(giver_code=p.GIVER_PERSON), "Se abre solo lo que ella autorizó"),
        (p.Receipt(giver_code=p.GIVER_BEST_INTEREST), "Ella no dio el permiso"),
        (
            p.Receipt(
                reason_code=r.OVERRIDE_REASON_LIFE_AT_RISK, confirm_time=Timestamp(seconds=1)
            ),
            "otra persona lo confirmó",
        ),
        (
            p.Receipt(reason_code=r.OVERRIDE_REASON_LIFE_AT_RISK),
            "Hasta que otra persona lo confirme se abren solo su nombre de pila",
        ),
    ],
)
def test_the_page_states_the_ground_on_which_her_data_can_be_opened(
    fakes: FakePageServices, worker: FlaskClient, receipt: p.Receipt, expected: str
) -> None:
    complete_receipt = p.Receipt(
        id=ID, field_groups=[p.FIELD_GROUP_IDENTITY, p.FIELD_GROUP_HEALTH], live=True
    )
    complete_receipt.MergeFrom(receipt)
    fakes.answers |= {
        "GetReferral": received_referral(person_id=ID, receipt_id=ID, live=True),
        "GetReceipt": complete_receipt,
        "ListEmergencies": em.ListEmergenciesResponse(),
    }
    page = worker.get(PAGE).text
    is_unconfirmed = "nombre de pila" in expected
    assert expected in page
    assert ("lo que ella autorizó" in page) is (receipt.giver_code == p.GIVER_PERSON)
    assert ('value="health"' in page, "Acceso de emergencia" in page) == (
        not is_unconfirmed,
        is_unconfirmed,
    )


def test_a_reader_who_may_open_no_data_has_no_form_to_open_them(
    fakes: FakePageServices, worker: FlaskClient
) -> None:
    assert f"{PAGE}/open" in worker.get(PAGE).text
    coordinator = enter(pages(FakePageServices()).test_client())
    assert f"{PAGE}/open" not in coordinator.get(PAGE).text, (
        "coordinators and auditors open nothing"
    )
    fakes.answers["BatchGet"].organizations[0].status = d.ORGANIZATION_STATUS_PROBATION  # type: ignore[union-attr]
    page = worker.get(PAGE).text
    assert missing(page, f"{PAGE}/open", "Su organización está en período de prueba") == [
        f"{PAGE}/open"
    ]


def test_the_way_to_call_her_comes_before_the_steps_and_sealed_details_take_one_press(
    fakes: FakePageServices, worker: FlaskClient
) -> None:
    fakes.answers |= {
        "GetSafeContact": p.SafeContact(channel_code=p.SAFE_CHANNEL_PHONE),
        "OpenSafeContact": p.SafeContact(
            channel_code=p.SAFE_CHANNEL_PHONE,
            hours="de 9 a 11",
            code_word="tía Chepa",
            never_say="Enlace",
            message_may_be_left=True,
        ),
    }
    page = worker.get(PAGE).text
    assert page.index("Llamarla por teléfono") < page.index("Qué hacer ahora")
    assert "No deje recado" in page
    assert fakes.requests("OpenSafeContact") == []
    opened_page = send(worker, PAGE, f"{PAGE}/safe-contact").text
    expected = ("de 9 a 11", "tía Chepa", "Enlace", "Se puede dejar recado", "Quedó anotado")
    assert missing(opened_page, *expected) == []
    assert fakes.last("OpenSafeContact").referral_id == ID
    assert "tía Chepa" not in worker.get(PAGE).text


@pytest.mark.parametrize(
    ("answer", "sentence", "do_not_call"),
    [
        (
            p.SafeContact(channel_code=p.SAFE_CHANNEL_NONE),
            "No la contacte: nadie puede llamarla.",
            False,
        ),
        (
            errors.Conflict("receipt_field_group_differs"),
            "El permiso no abarca que ustedes la contacten.",
            True,
        ),
        (errors.Conflict("receipt_expired"), "El permiso para contactarla ya venció.", True),
        (
            errors.NotAllowed("member_on_probation"),
            "Su organización está en período de prueba y no ve cómo contactarla.",
            True,
        ),
        (errors.NotAllowed("right_missing"), "", False),
        (errors.NotFound(), "", False),
    ],
)
def test_the_page_says_why_she_must_not_be_called_and_offers_no_details(
    answer: p.SafeContact | errors.Refusal,
    sentence: str,
    do_not_call: bool,
    fakes: FakePageServices,
    worker: FlaskClient,
) -> None:
    fakes.answers["GetSafeContact"] = answer
    page = worker.get(PAGE).text
    assert (sentence in page, "No la llame" in page, "Ver cómo contactarla" in page) == (
        True,
        do_not_call,
        False,
    )


def test_no_contact_plan_is_requested_for_an_ended_referral(
    fakes: FakePageServices, worker: FlaskClient
) -> None:
    fakes.answers["GetReferral"] = received_referral(state=r.STATE_CLOSED, person_id=ID)
    assert worker.get(PAGE).status_code == 200
    assert fakes.requests("GetSafeContact") == []


def test_the_printed_slip_has_the_code_and_no_name(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    slip = re.search(r'<section class="slip".*?</section>', client.get(PAGE).text, re.DOTALL)
    assert slip
    code = fakes.answers["GetReferral"].code  # type: ignore[union-attr]
    assert missing(slip[0], code, 'class="qr"', "Rosa") == ["Rosa"]
    assert "hoy" not in slip[0], "the slip has a date that is still true tomorrow"
    assert not re.search(r"<(button|form|input)", slip[0])


def test_the_page_advises_to_send_a_stale_step_again_only_if_it_is_still_possible(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["AcceptReferral"] = errors.Stale()
    advice = "envíelo otra vez si lo suyo debe quedar"
    for allowed_verbs, is_possible in ((("accept",), True), ((), False)):
        fakes.answers["GetReferral"] = received_referral(*allowed_verbs)
        form = {"planned_first_contact_time": "2026-12-01T08:30"}
        answer = take(client, "accept", **form)
        assert (advice in answer.text, "o ya no es posible" in answer.text) == (
            is_possible,
            not is_possible,
        )


def test_services_are_suggested_for_the_age_and_the_gender_of_the_person(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    coarse = r.CoarsePerson(
        age_band=r.AGE_BAND_25_TO_59, gender_code=r.PERSON_GENDER_FEMININE, dependants=1
    )
    fakes.answers["GetReferral"] = received_referral("decline", person=coarse)
    client.get(PAGE)
    request = fakes.last("MatchServices")
    assert (request.age, request.gender, request.dependants) == (40, d.GENDER_FEMININE, 1)


@pytest.mark.parametrize(
    ("rpc", "form", "fields"),
    [
        ("OpenPerson", "open", {"field_groups": "identity"}),
        ("OpenSafeContact", "safe-contact", {}),
        ("OpenInEmergency", "emergency", {"reason_code": "life_at_risk", "note": "No responde"}),
    ],
)
def test_a_page_whose_referral_has_ended_says_that_nothing_can_be_opened(
    rpc: str, form: str, fields: dict[str, str], fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers |= {
        "GetReferral": received_referral(state=r.STATE_DECLINED, person_id=ID),
        rpc: errors.NotFound(),
    }
    answer = send(client, PAGE, f"{PAGE}/{form}", **fields)
    assert (
        answer.status_code,
        missing(
            answer.text, "Ahora no hay datos de ella que usted pueda abrir.", "Aquí no hay nada"
        ),
    ) == (404, ["Aquí no hay nada"])
