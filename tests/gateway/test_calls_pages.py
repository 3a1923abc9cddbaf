"""The calls that the line owes: their list, their forms, and the days and hours on the pages."""

import re
from datetime import UTC, datetime

import pytest
from flask.testing import FlaskClient

from chassis import errors
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.site.language import i18n
from tests.gateway.page_forms import posted_forms
from tests.gateway.pages_gateway import ID, FakePageServices, missing, send, token_of


def owe_call(fakes: FakePageServices, **fields: object) -> None:
    """Makes a call with these fields the only call that the line owes."""
    values = {"id": ID, "contact_id": ID, "clocks": [r.Clock()], **fields}
    callback = c.Callback(**values)  # type: ignore[arg-type]
    fakes.answers["ListCallbacks"] = c.ListCallbacksResponse(callbacks=[callback])


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (p.Person(safe_contact=p.SafeContact(channel_code=p.SAFE_CHANNEL_PHONE)), ""),
        (
            p.Person(safe_contact=p.SafeContact(channel_code=p.SAFE_CHANNEL_VISIT)),
            "El plan de contacto no permite llamadas.",
        ),
        (p.Person(), "Falta decir cómo se la puede contactar sin peligro"),
        (p.Person(erased=True), "Este expediente se borró."),
    ],
)
def test_a_call_is_offered_to_a_caller_with_a_file_only_if_her_plan_allows_it(
    file: p.Person, reason: str, fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers |= {"GetContact": c.Contact(id=ID, person_id=ID), "GetPerson": file}
    page = client.get(f"/line/{ID}").text
    assert (f'action="/line/{ID}/call"' in page, reason in page) == (not reason, True)


@pytest.mark.parametrize(
    ("page", "form"), [(f"/line/{ID}", f"{ID}/call"), ("/line", f"calls/{ID}")]
)
def test_no_hours_are_chosen_for_a_call_before_somebody_chooses_them(
    page: str, form: str, fakes: FakePageServices, client: FlaskClient
) -> None:
    """Hours that are chosen already would be over if she chose today in the evening."""
    owe_call(fakes)
    fakes.answers["GetContact"] = c.Contact(id=ID)
    hours = [
        each.sent["hour_code"]
        for each in posted_forms(client.get(page).text, page)
        if each.path == f"/line/{form}" and "hour_code" in each.sent
    ]
    assert hours == [[""]]


@pytest.mark.parametrize("of_this_contact", [True, False])
def test_the_page_of_a_contact_shows_only_the_call_that_is_owed_to_this_contact(
    of_this_contact: bool, fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetContact"] = c.Contact(id=ID)
    owe_call(
        fakes,
        id="c" * 32,
        contact_id=ID if of_this_contact else "b" * 32,
        asked_by_herself=True,
        clocks=[r.Clock(kind=r.CLOCK_KIND_CALLBACK)],
    )
    page = client.get(f"/line/{ID}").text
    texts = (
        "la pidió ella",
        f'action="/line/calls/{"c" * 32}"',
        "Otra hora reemplaza a la que ya se debe.",
    )
    assert [text in page for text in texts] == [of_this_contact] * 3


def test_the_sheet_of_a_shift_gives_dates_with_the_hours_because_it_is_read_after_midnight(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    hours = r.Clock(kind=r.CLOCK_KIND_CALLBACK)
    hours.start_time.FromJsonString("2026-11-30T14:00:00Z")
    hours.due_time.FromJsonString("2026-11-30T18:00:00Z")
    owe_call(fakes, clocks=[hours])
    page = client.get("/line/shift").text
    assert "30 de noviembre de 2026, 08:00 – 30 de noviembre de 2026, 12:00" in page


def test_the_line_sees_the_calls_that_it_owes_without_their_numbers(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    page = client.get("/line").text
    assert missing(
        page, "Llamadas que debemos", "Antes de marcar: vea cómo llamarla sin peligro", "+505"
    ) == ["+505"]
    answer = send(client, "/line", f"/line/calls/{ID}", etag="v7", outcome_code="reached")
    assert answer.status_code == 303
    request = fakes.last("SettleCallback")
    assert (request.id, request.etag, request.outcome_code) == (
        ID,
        "v7",
        c.CALLBACK_OUTCOME_REACHED,
    )
    # the form of a call that is yet to be agreed has no etag
    data = {"form_token": token_of(page), "day_code": "today", "hour_code": "evening"}
    assert client.post(f"/line/{ID}/call", data=data).status_code == 303
    assert fakes.last("CreateCallback").callback == c.Callback(
        contact_id=ID, day_code=c.DAY_BAND_TODAY, hour_code=c.HOUR_BAND_EVENING
    )
    fakes.answers["CreateCallback"] = errors.Conflict("call_not_safe")
    refusal = client.post(f"/line/{ID}/call", data=data)
    assert (refusal.status_code, "no permite llamadas" in refusal.text) == (422, True)


@pytest.mark.parametrize(
    ("now", "country", "expected"),
    [
        ("2026-11-30T05:30", "NI", '<option value="today">hoy (domingo)</option>'),
        ("2026-11-30T06:30", "NI", '<option value="today">hoy (lunes)</option>'),
        # 23:30, before a day of 23 hours; 00:30 on a day of 25 hours
        ("2026-03-28T22:30", "ES", ">mañana (domingo)</option>"),
        ("2026-10-24T22:30", "ES", ">mañana (lunes)</option>"),
    ],
)
def test_each_day_offered_for_a_call_has_its_weekday_in_the_callers_time_zone(
    now: str,
    country: str,
    expected: str,
    fakes: FakePageServices,
    client: FlaskClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Tomorrow is the next day even when the clocks change."""
    fakes.answers["GetContact"] = c.Contact(id=ID, line_country=country)
    monkeypatch.setattr(i18n, "now", lambda: datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert expected in client.get(f"/line/{ID}").text


def test_each_day_offered_for_another_try_has_its_weekday_in_the_callers_time_zone(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    owe_call(fakes, local_date="2026-11-29")
    assert '<option value="today">hoy (domingo)</option>' in client.get("/line").text


@pytest.mark.parametrize("page", [f"/line/{ID}", "/line", "/my-referral"])
@pytest.mark.parametrize(("hours", "offers_today"), [([], True), (c.HourBand.values()[1:], False)])
def test_today_is_not_offered_for_a_call_once_all_its_hours_are_over(
    page: str,
    hours: list[c.HourBand.ValueType],
    offers_today: bool,
    fakes: FakePageServices,
    client: FlaskClient,
) -> None:
    owe_call(fakes, past_hour_codes=hours)
    fakes.answers |= {
        "GetContact": c.Contact(id=ID, line_country="NI", past_hour_codes=hours),
        "GetReferenceStatus": c.ReferenceStatus(may_ask_for_call=True, past_hour_codes=hours),
    }
    text = client.get(page).text
    if page == "/my-referral":
        data = {"form_token": token_of(text), "reference": "7QK4-M2X7", "pin": "4821"}
        text = client.post(page, data=data).text
    assert ('value="today"' in text, 'value="tomorrow"' in text) == (offers_today, True)


@pytest.mark.parametrize(
    ("page", "form", "rpc"),
    [
        (f"/line/{ID}", f"/line/{ID}/call", "CreateCallback"),
        ("/line", f"/line/calls/{ID}", "SettleCallback"),
        ("/my-referral", "/my-referral/call", "AskForCallByReference"),
    ],
)
def test_the_form_for_a_call_states_the_date_from_which_its_days_count(
    page: str,
    form: str,
    rpc: str,
    fakes: FakePageServices,
    client: FlaskClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    date = "2026-11-29"
    monkeypatch.setattr(i18n, "now", lambda: datetime(2026, 11, 30, 5, 30, tzinfo=UTC))
    owe_call(fakes, local_date=date)
    fakes.answers |= {
        "GetContact": c.Contact(id=ID, line_country="NI"),
        "GetReferenceStatus": c.ReferenceStatus(may_ask_for_call=True, local_date=date),
    }
    text = client.get(page).text
    data = {"form_token": token_of(text), "reference": "7QK4-M2X7", "pin": "4821"}
    if page == "/my-referral":
        text = client.post(page, data=data).text
    assert f'<input type="hidden" name="local_date" value="{date}">' in text
    day = {"local_date": date, "day_code": "tomorrow", "hour_code": "evening"}
    client.post(form, data=data | day | {"etag": "v7", "outcome_code": "again"})
    request = fakes.last(rpc)
    assert (request.callback if rpc == "CreateCallback" else request).local_date == date


def test_hours_that_are_over_are_refused_in_the_list_where_other_hours_can_be_chosen(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["SettleCallback"] = errors.Invalid(("hour_code", "out_of_range"))
    choice = {"outcome_code": "again", "day_code": "today", "hour_code": "morning"}
    answer = send(client, "/line", f"/line/calls/{ID}", **choice)
    expected = (
        "de esas horas ya no queda tiempo; elija otras, u otro día",
        f'href="#{ID}-hour_code"',
        f'<select id="{ID}-hour_code"',
    )
    assert (answer.status_code, missing(answer.text, *expected)) == (422, [])
    assert "Enviarlo otra vez" not in answer.text


@pytest.mark.parametrize("path", ["/line", "/today", "/line/shift", f"/line/{ID}"])
def test_two_calls_owed_to_one_person_warn_that_she_may_be_called_twice(
    path: str, fakes: FakePageServices, client: FlaskClient
) -> None:
    hints, other_file = {"1": "7K", "2": "M4"}, c.Callback(id="3" * 32, person_id="f" * 32)
    calls = [
        c.Callback(
            id=number * 32,
            contact_id=number * 32,
            person_id=ID,
            reference_hint=hint,
            clocks=[r.Clock()],
        )
        for number, hint in hints.items()
    ]
    other_file.MergeFrom(c.Callback(contact_id=ID, clocks=[r.Clock()]))
    fakes.answers |= {
        "GetContact": c.Contact(id=ID, person_id=ID, line_country="NI"),
        "ListCallbacks": c.ListCallbacksResponse(callbacks=[calls[0], other_file]),
    }
    assert "se debe otra llamada" not in client.get(path).text
    fakes.answers["ListCallbacks"] = c.ListCallbacksResponse(callbacks=[*calls, other_file])
    assert re.findall(r"se debe otra llamada: …(\w+)\.", client.get(path).text) == ["M4", "7K"]


def test_calls_without_a_file_are_not_taken_for_calls_to_one_person(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    calls = [c.Callback(id=number * 32, clocks=[r.Clock()]) for number in "12"]
    fakes.answers["ListCallbacks"] = c.ListCallbacksResponse(callbacks=calls)
    assert "se debe otra llamada" not in client.get("/line").text
