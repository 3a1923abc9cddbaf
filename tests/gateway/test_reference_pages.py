"""The page on which a caller looks up her reference, and the forms on that page."""

import html
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from google.protobuf.timestamp_pb2 import Timestamp
from werkzeug.test import TestResponse

from chassis import contract, errors
from chassis.wire import timestamp
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import people_pb2 as p
from services.gateway.site.language import vocabulary
from tests.gateway.arranged_services import stamp
from tests.gateway.pages_gateway import FakePageServices, missing, send, token_of

REFERENCE = {"reference": "w43p-vwjf", "pin": "4821"}


def look_up(visitor: FlaskClient) -> str:
    """Returns the page of her reference."""
    return send(visitor, "/my-referral", **REFERENCE).text


def send_form(visitor: FlaskClient, path: str, **fields: str) -> TestResponse:
    """Looks the reference up, and sends a form of its page."""
    data = {"form_token": token_of(look_up(visitor)), "request_id": "1" * 32}
    return visitor.post(f"/my-referral/{path}", data={**data, **REFERENCE, **fields})


def plain_text(answer: TestResponse) -> str:
    return re.sub("<[^>]+>", "", answer.text)


def status(*items: c.ReferenceItem) -> c.ReferenceStatus:
    """Returns the status of a reference with these requests for help."""
    return c.ReferenceStatus(contact_time_band=c.TIME_BAND_TODAY, items=items)


def test_reference_and_pin_are_never_in_a_url(
    fakes: FakePageServices, visitor: FlaskClient
) -> None:
    item = c.ReferenceItem(
        need_group_code="HOU",
        status_code=c.REFERENCE_STATE_DONE,
        may_confirm=True,
        consent_live=True,
    )
    fakes.answers["GetReferenceStatus"] = fakes.answers["ConfirmHelp"] = status(item)
    page = look_up(visitor)
    assert "Nos dicen que la ayuda ya se dio." in page
    assert "4821" not in "".join(re.findall(r'(?:href|action)="([^"]*)"', page))
    assert send_form(visitor, "confirm", help_came="no").status_code == 200
    assert fakes.last("ConfirmHelp") == c.ConfirmHelpRequest(
        **REFERENCE, help_came=False, request_id="1" * 32
    )


def test_a_caller_adds_a_note_to_her_reference_in_a_form_that_shows_its_errors(
    fakes: FakePageServices, visitor: FlaskClient
) -> None:
    data = {"form_token": token_of(look_up(visitor)), "request_id": "1" * 32, **REFERENCE}
    data["note"] = "ya salió"
    assert "Lo leen solo las líneas" in visitor.post("/my-referral/note", data=data).text
    assert fakes.last("AddNoteByReference").note == "ya salió"
    for refusal, expected in (
        (errors.Invalid(("note", "too_long")), "Lo que quiere que sepan: es demasiado largo"),
        (errors.Conflict("too_much_said"), "Llame a la línea"),
        (errors.Conflict("line_not_active"), "Llame a otra línea: su referencia vale en todas"),
    ):
        fakes.answers["AddNoteByReference"] = refusal
        answer = visitor.post("/my-referral/note", data=data)
        assert (answer.status_code, expected in plain_text(answer)) == (200, True)
        assert missing(answer.text, 'class="note bad"', ">ya salió</textarea>") == [], (
            "her words are not lost"
        )
    fakes.answers["AddNoteByReference"] = errors.Invalid(("note", "required"))
    empty_answer = visitor.post("/my-referral/note", data=data | {"note": ""})
    assert "Lo que quiere que sepan: escríbalo aquí" in plain_text(empty_answer)
    fakes.answers["AddNoteByReference"] = errors.Invalid(("note", "too_long"))
    for status_refusal, code in (
        (errors.Unauthenticated("reference_or_pin_wrong"), 401),
        (errors.Exhausted("too_many_attempts", 60), 429),
    ):
        fakes.answers["GetReferenceStatus"] = status_refusal
        answer = visitor.post("/my-referral/note", data=data)
        assert (answer.status_code, "demasiado largo" in answer.text) == (code, False), (
            "errors in the note are shown only with the right PIN"
        )


def test_no_refusal_sends_a_caller_to_the_coordination() -> None:
    methods = c.DESCRIPTOR.services_by_name["References"].methods
    reasons = {reason for method in methods for reason in contract.rules(method).refusals}
    texts = {reason: vocabulary.TABLES["conflict"].get(reason, "") for reason in reasons}
    assert "line_not_active" in texts
    assert [reason for reason, text in texts.items() if "coordinación" in text] == []


def test_a_caller_withdraws_one_request_and_the_page_says_whether_it_was_stopped(
    fakes: FakePageServices, visitor: FlaskClient
) -> None:
    item, other_item = (
        c.ReferenceItem(
            need_group_code="HOU", status_code=c.REFERENCE_STATE_ASKED, key=key, may_withdraw=True
        )
        for key in ("aa", "bb")
    )
    fakes.answers["GetReferenceStatus"] = status(item, other_item)
    assert re.findall(r'name="item_key" value="(\w+)"', look_up(visitor)) == ["aa", "bb"]
    for is_live, expected in ((False, "ese pedido se detuvo"), (True, "No se pudo detener")):
        stopped_item = c.ReferenceItem(
            need_group_code="HOU",
            status_code=c.REFERENCE_STATE_STOPPED,
            key="aa",
            consent_live=is_live,
        )
        fakes.answers["WithdrawConsentByReference"] = status(stopped_item, other_item)
        assert expected in send_form(visitor, "withdraw", item_key="aa").text
    assert fakes.last("WithdrawConsentByReference").item_key == "aa"


def test_the_accesses_to_her_data_are_shown_on_request_in_plain_words(
    fakes: FakePageServices, visitor: FlaskClient
) -> None:
    look_up(visitor)
    assert fakes.requests("ListReadingsByReference") == []
    access = c.ReferenceReading(
        date="2026-11-25",
        organization_type_code="NGO",
        need_group_code="HOU",
        field_groups=[p.FIELD_GROUP_HEALTH],
        allowed=True,
        count=2,
    )
    attempt = c.ReferenceReading(
        date="2026-11-24",
        organization_type_code="LAW_ENFORCEMENT",
        field_groups=[p.FIELD_GROUP_NOTES],
        count=1,
    )
    fakes.answers["ListReadingsByReference"] = c.ListReadingsByReferenceResponse(
        readings=[access, attempt, c.ReferenceReading(date="2026-11-23", allowed=True, count=1)]
    )
    page = send_form(visitor, "readings").text
    expected = (
        "25 nov 2026",
        "ONG",
        "2 veces",
        "Salud",
        "Vivienda",
        "Policía",
        "Quiso ver y no se le permitió",
        "Lo que usted contó",
        "Cómo llega usted",
    )
    assert missing(page, *expected) == []
    fakes.answers["ListReadingsByReference"] = c.ListReadingsByReferenceResponse()
    fakes.answers["GetReferenceStatus"] = status()
    assert "Nadie abrió sus datos" in send_form(visitor, "readings").text


def test_a_caller_to_whom_only_the_call_is_shown_is_not_told_that_nobody_opened_her_data(
    fakes: FakePageServices, visitor: FlaskClient
) -> None:
    """Checks a list that leaves out her file, because nobody recorded that she herself spoke."""
    fakes.answers["GetReferenceStatus"] = c.ReferenceStatus(only_the_call=True)
    fakes.answers["ListReadingsByReference"] = c.ListReadingsByReferenceResponse()
    page = send_form(visitor, "readings").text
    assert missing(
        page, "Quién vio lo que se anotó de su llamada", "Nadie todavía.", "sus datos"
    ) == ["sus datos"]


def test_a_call_back_is_offered_only_if_her_plan_allows_it_and_is_requested_for_a_day_and_hours(
    fakes: FakePageServices, visitor: FlaskClient
) -> None:
    for may_ask in (False, True):
        fakes.answers["GetReferenceStatus"] = c.ReferenceStatus(
            contact_time_band=c.TIME_BAND_TODAY, may_ask_for_call=may_ask
        )
        assert ('action="/my-referral/call"' in look_up(visitor)) == may_ask
    answer = send_form(visitor, "call", day_code="tomorrow", hour_code="night")
    assert "solo como usted pidió" in answer.text
    request = fakes.last("AskForCallByReference")
    assert (request.day_code, request.hour_code) == (c.DAY_BAND_TOMORROW, c.HOUR_BAND_NIGHT)
    for refusal, expected in (
        (errors.Invalid(("hour_code", "required")), "A qué hora: elija a qué hora"),
        (errors.Conflict("call_not_safe"), "Se puede llamar a la línea a cualquier hora."),
    ):
        fakes.answers["AskForCallByReference"] = refusal
        assert expected in plain_text(send_form(visitor, "call"))


NOTHING_ASKED = "Ahora no hay nada pedido en su nombre."
EVENING = datetime(2126, 3, 5, 22, tzinfo=UTC)


def deletion_due(time: Timestamp | None) -> dict[str, Any]:
    """Returns the status of a reference whose data have to be deleted by this time."""
    return {"items": [c.ReferenceItem(need_group_code="HOU", deletion_due_time=time)]}


@pytest.mark.parametrize(
    ("fields", "shown", "not_shown"),
    [
        pytest.param(
            {"may_ask_for_call": True, "local_date": "2026-11-29"},
            ["hoy (domingo)", "mañana (lunes)"],
            [],
            id="each day that is offered for a call has its weekday",
        ),
        pytest.param(
            {
                "may_ask_for_call": True,
                "past_hour_codes": [
                    c.HOUR_BAND_MORNING,
                    c.HOUR_BAND_AFTERNOON,
                    c.HOUR_BAND_EVENING,
                ],
            },
            ["): por la noche, de 8 a 11</span>"],
            [],
            id="in the evening, today is offered with the hours that are left",
        ),
        pytest.param(
            {"call_from_time": stamp(-30), "call_until_time": stamp(1000)},
            ["La línea le llama:"],
            ["llame usted"],
            id="during the hours of a call, the line calls her",
        ),
        pytest.param(
            {"call_from_time": stamp(-61), "call_until_time": stamp(-1)},
            ["llame usted"],
            ["La línea le llama:"],
            id="after the hours of a call, she is not told that the line calls her",
        ),
        pytest.param(
            {
                "call_from_time": timestamp(EVENING),
                "call_until_time": timestamp(EVENING + timedelta(hours=3)),
                "call_utc_offset_minutes": -300,  # Peru
            },
            ["La línea le llama: 5 mar 2126, 17:00 a 5 mar 2126, 20:00."],
            [],
            id="the hours of a call are in the local time in which she agreed on them",
        ),
        pytest.param(
            {"contact_time_band": c.TIME_BAND_EARLIER},
            ["Le dieron esta referencia hace más de una semana."],
            ["Usted nos habló"],
            id="the page states the time of the first call, although she may have called again",
        ),
        pytest.param({}, [NOTHING_ASKED], [], id="nothing has been requested for her"),
        pytest.param(
            {"organizations_asked": 1},
            ["Preguntamos quién puede ayudarle", "1 organización tiene una pregunta sobre usted"],
            [NOTHING_ASKED, "Todavía no hay respuesta", "1 organización se le preguntó"],
            id="one of the organisations asked still holds an enquiry about her",
        ),
        pytest.param({"only_the_call": True}, [], [NOTHING_ASKED], id="only a call is known"),
        pytest.param(
            deletion_due(stamp(1000)),
            ["Tienen que confirmar"],
            ["todavía no lo hicieron"],
            id="a confirmation of a deletion is still to come",
        ),
        pytest.param(
            deletion_due(stamp(-30)),
            ["todavía no lo hicieron"],
            ["Tienen que confirmar"],
            id="a late confirmation is not described as still to come",
        ),
        pytest.param(
            deletion_due(timestamp(EVENING)),
            ["Tienen que confirmar hasta el 5 mar 2126 que ya no guardan nada."],
            [],
            id="a deletion is due on a date without a time, because local times differ",
        ),
        pytest.param(
            {"organizations_with_access": 1},
            ["puede abrir datos suyos"],
            ["autorizó"],
            id="the page does not claim that she authorised the access to her data",
        ),
        pytest.param(
            {"organizations_with_access": 1, "file_count": 1},
            ["Ahora 1 organización puede abrir datos suyos, además de quien abrió su expediente."],
            [],
            id="the number of organisations with access says that it omits the file's holder",
        ),
    ],
)
def test_the_page_of_a_reference_says_what_is_true_and_nothing_else(
    fields: dict[str, Any],
    shown: list[str],
    not_shown: list[str],
    fakes: FakePageServices,
    visitor: FlaskClient,
) -> None:
    fakes.answers["GetReferenceStatus"] = c.ReferenceStatus(**fields)
    page = html.unescape(look_up(visitor))
    assert missing(page, *shown, *not_shown) == not_shown


@pytest.mark.parametrize(
    ("language", "promise"),
    [
        ("es", "Se pondrán en contacto"),
        ("en", "They will get in touch"),
        ("fr", "On prendra contact"),
    ],
)
def test_contact_is_promised_only_if_her_plan_and_an_accepted_request_allow_it(
    fakes: FakePageServices, visitor: FlaskClient, language: str, promise: str
) -> None:
    for state in c.ReferenceState.values():
        for may_contact in (False, True):
            fakes.answers["GetReferenceStatus"] = status(
                c.ReferenceItem(
                    need_group_code="HOU", status_code=state, may_be_contacted=may_contact
                )
            )
            page = send(visitor, f"/my-referral?lang={language}", **REFERENCE).text
            assert (promise in page) == (may_contact and state == c.REFERENCE_STATE_ACCEPTED)


def test_the_status_of_a_reference_promises_no_contact_and_no_search() -> None:
    promise = re.compile("pronto|contacto|buscamos|estamos buscando|la llamar", re.IGNORECASE)
    sentences = vocabulary.TABLES["reference_status"].values()
    assert [text for text in sentences if promise.search(text)] == []


def test_a_wrong_pin_and_an_unknown_reference_get_the_same_answer(
    fakes: FakePageServices, visitor: FlaskClient
) -> None:
    fakes.answers["GetReferenceStatus"] = errors.Unauthenticated("reference_or_pin_wrong")
    first_answer, second_answer = (
        send(visitor, "/my-referral", reference=text, pin="0000")
        for text in ("W43P-VWJF", "AAAA-AAAA")
    )
    assert first_answer.status_code == second_answer.status_code == 401
    alert = re.compile(r'role="alert".*?</p>', re.DOTALL)
    assert alert.findall(first_answer.text) == alert.findall(second_answer.text) != []


@pytest.mark.parametrize(("minutes", "expected"), [(-360, "4 mar 2026"), (-300, "5 mar 2026")])
def test_the_dates_on_the_page_of_a_reference_are_in_the_callers_time_zone(
    minutes: int, expected: str, fakes: FakePageServices, visitor: FlaskClient
) -> None:
    time = timestamp(datetime(2026, 3, 5, 5, 30, tzinfo=UTC))
    fakes.answers["GetReferenceStatus"] = status(
        c.ReferenceItem(
            need_group_code="HOU",
            status_code=c.REFERENCE_STATE_STOPPED,
            update_time=time,
            deletion_confirm_time=time,
            utc_offset_minutes=minutes,
        )
    )
    assert look_up(visitor).count(expected) == 2


def test_a_note_that_is_refused_after_too_many_attempts_can_be_sent_again_later(
    fakes: FakePageServices, visitor: FlaskClient
) -> None:
    data = {"form_token": token_of(look_up(visitor)), "request_id": "1" * 32, **REFERENCE}
    fakes.answers["AddNoteByReference"] = errors.Exhausted("too_many_attempts", 90)
    answer = visitor.post("/my-referral/note", data=data | {"note": "ya salió"})
    assert (answer.status_code, "ya salió" in answer.text) == (429, True)
    assert "Enviarlo otra vez" in answer.text
