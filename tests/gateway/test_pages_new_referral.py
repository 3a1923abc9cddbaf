"""A new referral, one question a page.

Known facts are not asked for, going back loses nothing, and nothing is stored before a service is
chosen.
"""

from __future__ import annotations

import html
import re
from datetime import datetime

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from chassis import errors
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import members_pb2 as m
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.site.language import i18n
from tests.gateway.api_gateway import ID
from tests.gateway.pages_gateway import (
    SECRET,
    Form,
    PlayedServices,
    enter,
    pages,
    signed_in,
    token_of,
)
from tests.gateway.test_pages_flows import asked, send

NEW = "/referrals/new"
OTHER, POLICE = "b" * 32, "c" * 32


@pytest.fixture
def played() -> PlayedServices:
    played = PlayedServices()
    played.answers["GetContact"] = c.Contact(id=ID, etag="1")
    played.answers["CreatePerson"] = p.Person(id=ID)
    played.answers["CreateReferral"] = r.Referral(id=ID)
    played.answers["GetReferral"] = draft()
    played.answers["GetPerson"] = p.Person(
        id=ID, code="K7M2QX", safe_contact=p.SafeContact(channel_code=p.SAFE_CHANNEL_NONE)
    )
    played.answers["UpdateReferral"] = draft(
        need_code="HOU.EMG", urgency=r.URGENCY_URGENT, service_id=ID
    )
    return played


@pytest.fixture
def client(played: PlayedServices) -> FlaskClient:
    return enter(pages(played).test_client())


def draft(**fields: object) -> r.Referral:
    """Returns a draft; by default, the person was asked where she is not safe."""
    defaults: dict[str, object] = {
        "state": r.STATE_DRAFT,
        "unsafe_code": r.UNSAFE_ANSWER_NOTHING,
    }
    return r.Referral(
        id=ID,
        etag="d1",
        side=r.SIDE_SENDER,
        person_id=ID,
        **defaults | fields,  # type: ignore[arg-type]
    )


def answer(client: FlaskClient, page: TestResponse, **fields: object) -> TestResponse:
    """Sends the question on the page, answered."""
    return client.post(NEW, data={**Form(page.text).said, **fields})


def question(page: TestResponse) -> str:
    """Returns the question on a page, and its number."""
    number = re.search(r"Pregunta (\d) de (\d)", page.text)
    return f"{Form(page.text).said['page']} {number[1]}/{number[2]}" if number else ""


def up_to_services(client: FlaskClient, begin: str = NEW) -> TestResponse:
    """Answers all questions but the last one."""
    page = answer(client, client.get(begin), need_code="HOU.EMG")
    page = answer(client, page, urgency="urgent")
    page = answer(client, page, age="19", gender_code="Feminine", department="NI-CI")
    page = answer(
        client,
        page,
        channel_code="phone",
        hours="de 9 a 11",
        given_name="Yolanda",
        message_may_be_left="1",
    )
    return answer(client, page, unsafe_code="nothing")


def test_questions_come_one_by_one_and_choosing_a_service_creates_file_and_draft(
    played: PlayedServices, client: FlaskClient
) -> None:
    pages_ = [client.get(NEW)]
    for text in (
        {"need_code": "HOU.EMG"},
        {"urgency": "urgent"},
        {"age": "19", "gender_code": "Feminine"},
        {"channel_code": "none"},
        {"unsafe_code": "nothing"},
    ):
        pages_.append(answer(client, pages_[-1], **text))
    assert [question(page) for page in pages_] == [
        "need 1/6",
        "urgency 2/6",
        "about 3/6",
        "contact 4/6",
        "unsafe 5/6",
        "services 6/6",
    ]
    assert {"CreatePerson", "CreateReferral", "UpdateReferral"}.isdisjoint(
        rpc for rpc, _, _ in played.asked
    )
    matched = played.last("MatchServices")
    assert (matched.need_code, matched.age, matched.gender) == ("HOU.EMG", 19, d.GENDER_FEMININE)
    last = answer(client, pages_[-1], service_id=ID)
    assert last.headers["Location"] == f"/referrals/{ID}/consent"
    file, draft_answer, consent = (
        played.last("CreatePerson"),
        played.last("CreateReferral"),
        played.last("UpdateReferral"),
    )
    assert (file.identity, file.safe_contact.channel_code) == (p.Identity(), p.SAFE_CHANNEL_NONE)
    assert (file.coarse.age_band, file.coarse.country) == (r.AGE_BAND_18_TO_24, "NI")
    unsafe = ["unsafe_code", "unsafe_organization_ids", "unsafe_departments"]
    assert (draft_answer.person_id, consent.referral.etag, consent.update_mask.paths) == (
        ID,
        "d1",
        ["need_code", "urgency", "service_id", *unsafe],
    )
    assert (consent.referral.need_code, consent.referral.urgency, consent.referral.service_id) == (
        "HOU.EMG",
        r.URGENCY_URGENT,
        ID,
    )
    assert len({file.request_id, draft_answer.request_id, consent.request_id}) == 3


def test_services_that_do_not_fit_are_not_described_as_missing_and_are_shown_at_once(
    played: PlayedServices, client: FlaskClient
) -> None:
    group = d.Service(id=OTHER, name="Grupo de apoyo", organization_name="Fundación Tejer Redes")
    played.answers["MatchServices"] = d.MatchServicesResponse(
        matches=[d.Match(service=group, verdict=d.VERDICT_DOES_NOT_FIT)]
    )
    page = up_to_services(client).text
    assert "Ningún servicio de la red encaja ahora." in page
    assert "da esta ayuda" not in page
    assert re.search(r"<details[^>]* open><summary>1 servicio que no encaja", page)


@pytest.mark.parametrize("begin", [NEW, f"{NEW}?service={ID}"])
def test_no_page_promises_a_choice_of_the_service_that_may_not_come(
    client: FlaskClient, begin: str
) -> None:
    assert "se guarda al contestar la última" in client.get(begin).text


@pytest.mark.parametrize(
    ("expected", "wanted"), [({}, "need_code"), ({"need_code": "HOU.EMG"}, "urgency")]
)
def test_a_question_left_unanswered_says_what_to_do(
    client: FlaskClient, expected: dict[str, str], wanted: str
) -> None:
    page = client.get(NEW)
    page = answer(client, answer(client, page, **expected) if expected else page)
    assert page.status_code == 422
    assert "Hay un problema" in page.text
    assert f'href="#{wanted}"' in page.text
    assert f'id="{wanted}-error"' in page.text


def test_how_she_may_be_reached_is_the_only_required_answer_about_her(
    played: PlayedServices, client: FlaskClient
) -> None:
    page = answer(client, client.get(NEW), need_code="HOU.EMG")
    contact = answer(client, answer(client, page, urgency="urgent"))
    refused = answer(client, contact)
    assert (refused.status_code, 'href="#channel_code"' in refused.text) == (422, True)
    # the pressed button decides, because it comes last
    unsafe = answer(client, contact, channel_code="phone", nobody_calls="1")
    services = answer(client, unsafe, unsafe_code="nothing")
    assert question(services) == "services 6/6"
    answer(client, services, service_id=ID)
    assert played.last("CreatePerson").safe_contact.channel_code == p.SAFE_CHANNEL_NONE


def test_no_page_can_be_skipped(played: PlayedServices, client: FlaskClient) -> None:
    first = Form(client.get(NEW).text).said
    refused = client.post(
        NEW, data={**first, "page": "services", "service_id": ID, "need_code": "HOU.EMG"}
    )
    assert (refused.status_code, Form(refused.text).said["page"]) == (422, "urgency")
    fields = {
        "need_code": "HOU.EMG",
        "urgency": "urgent",
        "age_band": "",
        "age": "200",
        "channel_code": "none",
    }
    refused = client.post(NEW, data={**first, "page": "services", "service_id": ID, **fields})
    assert (refused.status_code, Form(refused.text).said["page"]) == (422, "about")
    assert asked(played, "CreatePerson") == 0


def test_going_back_keeps_every_pages_answers(client: FlaskClient) -> None:
    page = up_to_services(client)
    page = answer(client, answer(client, page, back="1"), back="1")
    fields = Form(page.text).said
    assert (
        fields["channel_code"],
        fields["hours"],
        fields["given_name"],
        fields["message_may_be_left"],
    ) == ("phone", "de 9 a 11", "Yolanda", "1")
    page = answer(client, page, back="1", hours="de 10 a 12")
    assert [Form(page.text).said[name] for name in ("age", "gender_code", "department")] == [
        "19",
        "Feminine",
        "NI-CI",
    ]
    page = answer(client, page, back="1")
    assert Form(page.text).said["urgency"] == "urgent"
    page = answer(client, page, back="1")
    assert question(page) == "need 1/6"
    assert 'href="/today">Atrás' in page.text
    page = answer(client, page)
    assert question(page) == "services 6/6", "answered questions are not asked again"
    assert Form(page.text).said["hours"] == "de 10 a 12", (
        "text typed just before going back is kept, too"
    )


def test_an_answer_can_be_changed_from_the_last_question_and_leads_back_to_it(
    played: PlayedServices, client: FlaskClient
) -> None:
    page = up_to_services(client)
    for to, answers in (
        ("about", {"age": "16"}),
        ("need", {}),
        ("urgency", {"urgency": "normal"}),
    ):
        page = answer(client, page, to=to)
        assert question(page).startswith(to)
        page = answer(client, page, **answers)
        assert question(page) == "services 6/6"
    assert played.last("MatchServices").age == 16
    assert "12 a 17 años" in page.text


def test_the_enter_key_never_goes_back(client: FlaskClient) -> None:
    page = client.get(NEW)
    for answers in ({"need_code": "HOU.EMG"}, {"urgency": "urgent"}, {}):
        page = answer(client, page, **answers)
        form = page.text[page.text.index('<form method="post" action="/referrals/new"') :]
        first = re.search(r"<button[^>]*>", form)
        assert first
        assert "name=" not in first[0]


def test_a_session_that_ends_loses_no_answer(played: PlayedServices, client: FlaskClient) -> None:
    page = answer(client, client.get(NEW), need_code="HOU.EMG")
    response = answer(client, page, urgency="urgent")

    def ended(request: m.IssueTokenRequest) -> m.IssueTokenResponse:
        if request.session_secret == SECRET:
            raise errors.Unauthenticated("session_ended")
        return signed_in(contract_pb2.ROLE_OPERATOR)

    played.answers["IssueToken"] = ended
    client.application.extensions["exchange"].forget(SECRET)
    entrance = answer(client, response, age="19", department="NI-CI")
    assert entrance.status_code == 401
    assert "HOU.EMG" not in entrance.text
    stored = re.search(r'name="kept" value="([^"]*)"', entrance.text)
    assert stored
    played.answers["SignIn"] = m.SignInResponse(session_secret="fresh", worker=m.Worker(id=ID))
    data = {
        "email": "a@b.demo",
        "password": "p",
        "form_token": token_of(entrance.text),
        "kept": html.unescape(stored[1]),
    }
    second_answer = client.post("/sign-in", data=data)
    assert f'action="{NEW}"' in second_answer.text
    contact = client.post(NEW, data=Form(second_answer.text).said)
    assert question(contact) == "contact 4/6"
    fields = Form(contact.text).said
    assert (fields["need_code"], fields["urgency"], fields["age"], fields["department"]) == (
        "HOU.EMG",
        "urgent",
        "19",
        "NI-CI",
    )


def test_reloading_a_page_changes_nothing(played: PlayedServices, client: FlaskClient) -> None:
    page = answer(client, client.get(NEW), need_code="HOU.EMG")
    fields = {**Form(page.text).said, "urgency": "urgent"}
    first, again = (client.post(NEW, data=fields) for _ in range(2))
    own = {"request_id", "form_token"}  # each page has its own; a token has the second in it
    values = [
        {name: value for name, value in Form(page.text).said.items() if name not in own}
        for page in (first, again)
    ]
    assert values[0] == values[1]


def test_answers_in_two_tabs_do_not_mix(played: PlayedServices, client: FlaskClient) -> None:
    one = answer(client, client.get(NEW), need_code="HOU.EMG")
    two = answer(client, client.get(NEW), need_code="HOU.EMG")
    one, two = answer(client, one, urgency="immediate"), answer(client, two, urgency="normal")
    two = answer(client, two, age="61")
    one = answer(client, one, age="15")
    for page, band, urgency in (
        (one, r.AGE_BAND_12_TO_17, r.URGENCY_IMMEDIATE),
        (two, r.AGE_BAND_60_AND_OVER, r.URGENCY_NORMAL),
    ):
        answer(
            client,
            answer(client, answer(client, page, nobody_calls="1"), names_nothing="1"),
            service_id=ID,
        )
        assert (
            played.last("CreatePerson").coarse.age_band,
            played.last("UpdateReferral").referral.urgency,
        ) == (band, urgency)
    assert (
        len({request.request_id for rpc, request, _ in played.asked if rpc == "CreatePerson"}) == 2
    )


def test_going_back_in_the_browser_and_choosing_again_makes_one_file_and_one_draft(
    played: PlayedServices, client: FlaskClient
) -> None:
    page = up_to_services(client)
    answer(client, page, service_id=ID)
    # the same page, requested again
    second_answer = client.post(NEW, data={**Form(page.text).said, "page": "contact"})
    answer(client, second_answer, service_id=OTHER)
    for rpc in ("CreatePerson", "CreateReferral"):
        first, second = (request for name, request, _ in played.asked if name == rpc)
        assert first == second, "the services answer a repeated request as before"
    assert played.last("UpdateReferral").referral.service_id == OTHER
    played.answers["GetReferral"] = draft(
        need_code="HOU.EMG", urgency=r.URGENCY_URGENT, service_id=OTHER
    )
    before = asked(played, "UpdateReferral")
    assert answer(client, second_answer, service_id=OTHER).status_code == 303
    assert asked(played, "UpdateReferral") == before, "pressed twice"


@pytest.mark.parametrize(
    ("years", "band"),
    [
        (0, "0-11"),
        (11, "0-11"),
        (12, "12-17"),
        (17, "12-17"),
        (18, "18-24"),
        (25, "25-59"),
        (59, "25-59"),
        (60, "60+"),
        (120, "60+"),
    ],
)
def test_an_age_in_years_is_stored_as_its_band(
    played: PlayedServices, client: FlaskClient, years: int, band: str
) -> None:
    send(client, "/people/new", channel_code="none", age=str(years))
    assert played.last("CreatePerson").coarse.age_band == r.AgeBand.Value(
        "AGE_BAND_" + {"60+": "60_AND_OVER"}.get(band, band.replace("-", "_TO_"))
    )


@pytest.mark.parametrize("age", ["121", "-1", "diecinueve", "19,5", "1" * 12])
@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("es", "escriba los años con cifras, de 0 a 120"),
        ("en", "write the years in figures"),
        ("fr", "écrivez les années en chiffres"),
    ],
)
def test_an_invalid_age_is_refused_at_its_field(
    client: FlaskClient, age: str, language: str, sentence: str
) -> None:
    page = answer(client, client.get(NEW), need_code="HOU.EMG")
    response = Form(answer(client, page, urgency="urgent").text).said
    refused = client.post(f"{NEW}?lang={language}", data={**response, "age": age})
    assert refused.status_code == 422
    assert 'href="#age"' in refused.text
    assert re.search(rf'id="age-error">{sentence}', refused.text)
    assert f'value="{age}"' in refused.text


def born(client: FlaskClient, years: int) -> str:
    """Returns the birth date of a person who is this old; the 28th exists in each month."""
    with client.application.test_request_context("/"):
        today = i18n.today()
    return today.replace(year=today.year - years, day=min(28, today.day)).isoformat()


@pytest.mark.parametrize(
    ("expected", "refused"),
    [
        ({"age": "40"}, True),
        ({"age": "17"}, True),
        ({"age_band": "25-59"}, True),
        ({"age": "18"}, False),
        ({"age_band": "18-24"}, False),
        ({}, False),
    ],
)
def test_a_birth_date_does_not_silently_replace_the_stated_age(
    expected: dict[str, str], refused: bool, played: PlayedServices, client: FlaskClient
) -> None:
    date = born(client, 18)
    sent = send(client, "/people/new", channel_code="none", birth_date=date, **expected)
    assert ("no coincide con la edad" in sent.text) == refused
    assert asked(played, "CreatePerson") == (not refused)


def test_a_birth_date_is_compared_with_the_age_of_an_earlier_question(
    client: FlaskClient,
) -> None:
    page = answer(client, client.get(NEW), need_code="HOU.EMG")
    page = answer(client, answer(client, page, urgency="urgent"), age="22")
    page = answer(client, page, channel_code="phone", birth_date=born(client, 14))
    assert (question(page), 'href="#birth_date"' in page.text) == ("contact 4/6", True)


def test_contradictory_years_and_age_band_are_refused(
    played: PlayedServices, client: FlaskClient
) -> None:
    refused = send(client, "/people/new", channel_code="none", age="17", age_band="18-24")
    assert (refused.status_code, 'href="#age_band"' in refused.text) == (422, True)
    assert asked(played, "CreatePerson") == 0
    assert (
        send(client, "/people/new", channel_code="none", age="17", age_band="12-17").status_code
        == 303
    )
    send(client, "/people/new", channel_code="none", age_band="60+")
    assert played.last("CreatePerson").coarse.age_band == r.AGE_BAND_60_AND_OVER


@pytest.mark.parametrize(
    ("expected", "first"),
    [
        (
            {
                "need_code": "HOU.EMG",
                "urgency": r.URGENCY_EMERGENCY,
                "language": "miq",
                "department": "NI-CI",
            },
            "about 3/6",
        ),
        ({"need_code": "HOU.EMG"}, "urgency 2/6"),
        ({"need_code": "HOU", "urgency": r.URGENCY_EMERGENCY}, "need 1/6"),
        ({}, "need 1/6"),
    ],
)
def test_data_of_the_contact_are_not_asked_for_again(
    played: PlayedServices, client: FlaskClient, expected: dict[str, object], first: str
) -> None:
    played.answers["GetContact"] = c.Contact(id=ID, etag="1", **expected)  # type: ignore[arg-type]
    page = client.get(f"{NEW}?contact={ID}")
    assert question(page) == first
    if first == "about 3/6":
        assert "Albergue" in page.text
        assert "Emergencia" in page.text
        assert [Form(page.text).said[name] for name in ("language", "department")] == [
            "miq",
            "NI-CI",
        ]
        assert question(answer(client, page, back="1")) == "urgency 2/6", (
            "the question can still be reached"
        )
        unsafe = answer(client, answer(client, page), nobody_calls="1")
        answer(client, answer(client, unsafe, names_nothing="1"), service_id=ID)
        assert (
            played.last("CreateReferral").contact_id,
            played.last("CreatePerson").contact_id,
        ) == (ID, ID)
        assert played.last("UpdateReferral").referral.urgency == r.URGENCY_EMERGENCY
    else:
        assert f'href="/line/{ID}">Atrás' in page.text or first != "need 1/6"


def test_an_urgency_that_nobody_assessed_stays_open_until_somebody_chooses(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["GetContact"] = c.Contact(id=ID, etag="1", need_code="HOU.EMG")
    page = client.get(f"{NEW}?contact={ID}")
    assert "urgency" not in Form(page.text).said
    refused = answer(client, page)
    assert (refused.status_code, 'href="#urgency"' in refused.text) == (422, True)


def test_for_a_person_with_a_file_the_questions_about_her_are_left_out(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["GetPerson"] = p.Person(
        id=ID, code="K7M2QX", coarse=r.CoarsePerson(age_band=r.AGE_BAND_12_TO_17, language="es")
    )
    page = client.get(f"{NEW}?person={ID}")
    assert question(page) == "need 1/4"
    assert "K7M2QX" in page.text
    assert f'href="/people/{ID}">Atrás' in page.text
    page = answer(client, answer(client, page, need_code="HOU.EMG"), urgency="urgent")
    page = answer(client, page, names_nothing="1")
    assert question(page) == "services 4/4"
    assert played.last("MatchServices").age == 15
    last = answer(client, page, service_id=ID)
    assert last.headers["Location"] == f"/referrals/{ID}/contact", (
        "her file does not say how she may be reached"
    )
    assert (asked(played, "CreatePerson"), played.last("CreateReferral").person_id) == (0, ID)


def test_nothing_about_her_is_in_an_address(client: FlaskClient) -> None:
    page = up_to_services(client)
    addresses = (
        " ".join(re.findall(r'(?:href|action)="([^"]*)"', page.text))
        + answer(client, page, service_id=ID).headers["Location"]
    )
    assert not re.search("Yolanda|Feminine|HOU|phone|19", addresses.replace(ID, ""))


def test_a_services_refusal_is_shown_on_the_page_of_its_question(
    played: PlayedServices, client: FlaskClient
) -> None:
    page = up_to_services(client)
    for refusal, shown, sentence in (
        (errors.Invalid(("identity.birth_date", "malformed")), "contact", 'href="#birth_date"'),
        (errors.Invalid(("coarse.dependants", "out_of_range")), "about", 'href="#dependants"'),
        (errors.Conflict("service_unknown"), "services", "Ese servicio ya no está disponible"),
    ):
        played.answers["CreatePerson"] = refusal
        refused = answer(client, page, service_id=ID)
        assert (refused.status_code, Form(refused.text).said["page"]) == (422, shown)
        assert sentence in refused.text
    played.answers["MatchServices"] = errors.Invalid(("dependants", "out_of_range"))
    refused = answer(client, page)
    assert (refused.status_code, Form(refused.text).said["page"]) == (422, "about")


def test_matching_is_requested_with_coarse_attributes_only(
    played: PlayedServices, client: FlaskClient
) -> None:
    coarse = r.CoarsePerson(
        age_band=r.AGE_BAND_12_TO_17,
        gender_code=r.PERSON_GENDER_TRANSGENDER_FEMININE,
        language="es",
        dependants=1,
        country="NI",
        department="NI-CI",
    )
    played.answers["GetReferral"] = draft(need_code="HOU.EMG", person=coarse)
    client.get(f"/referrals/{ID}/services")
    assert played.last("MatchServices") == d.MatchServicesRequest(
        need_code="HOU.EMG",
        country="NI",
        department="NI-CI",
        age=15,
        gender=d.GENDER_TRANSGENDER_FEMININE,
        dependants=1,
        language="es",
        limit=30,
    )


def test_the_choice_of_another_service_warns_that_the_one_that_offered_is_notified_at_once(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["GetReferral"] = draft(need_code="HOU.EMG")
    warning = "se le avisa en ese momento que ya no llegará"
    for referral_id, warned in ((ID, True), (POLICE, False)):
        enquiry = e.Enquiry(state=e.ENQUIRY_STATE_MATCHED, referral_id=referral_id)
        played.answers["ListEnquiries"] = e.ListEnquiriesResponse(enquiries=[enquiry])
        assert (warning in client.get(f"/referrals/{ID}/services").text) == warned
    assert played.last("ListEnquiries").person_id == ID


@pytest.mark.parametrize(
    ("expected", "page"),
    [
        ({}, "need"),
        ({"need_code": "HOU.EMG"}, "urgency"),
        ({"need_code": "HOU.EMG", "urgency": r.URGENCY_URGENT, "unsafe_code": 0}, "unsafe"),
        ({"need_code": "HOU.EMG", "urgency": r.URGENCY_URGENT}, "services"),
        ({"need_code": "HOU.EMG", "urgency": r.URGENCY_URGENT, "service_id": ID}, "consent"),
        (
            {
                "need_code": "HOU.EMG",
                "urgency": r.URGENCY_URGENT,
                "service_id": ID,
                "receipt_id": ID,
            },
            "check",
        ),
    ],
)
def test_a_draft_continues_where_something_is_missing(
    played: PlayedServices, client: FlaskClient, expected: dict[str, object], page: str
) -> None:
    played.answers["GetReferral"] = draft(**expected)
    assert client.get(f"/referrals/{ID}/draft").headers["Location"] == f"/referrals/{ID}/{page}"


def test_the_address_of_a_draft_leads_to_the_referral_once_it_is_sent(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["GetReferral"] = r.Referral(id=ID, state=r.STATE_SENT)
    assert client.get(f"/referrals/{ID}/draft").location == f"/referrals/{ID}"


QUESTIONS = ("need", "urgency", "unsafe", "services", "contact", "check")


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ({"live": True}, "Hasta el"),
        ({"withdraw_time": 1}, "Retirado"),
        ({"confirm_until_time": 1}, "Falta confirmar"),
        ({}, "Ya no abre nada"),
    ],
)
def test_the_last_check_says_if_the_consent_opens_nothing_any_more(
    played: PlayedServices, client: FlaskClient, state: dict[str, int], shown: str
) -> None:
    receipt = p.Receipt(id=ID, live="live" in state)
    receipt.until_time.seconds = 1_800_000_000
    for name in state.keys() - {"live"}:
        getattr(receipt, name).seconds = 1_790_000_000
    played.answers["GetReceipt"] = receipt
    played.answers["GetReferral"] = draft(need_code="HOU.EMG", service_id=ID, receipt_id=ID)
    page = client.get(f"/referrals/{ID}/check").text
    says = [
        each
        for each in ("Hasta el", "Retirado", "Falta confirmar", "Ya no abre nada")
        if each in page
    ]
    assert says == [shown]


@pytest.mark.parametrize("active", [True, False])
def test_before_the_consent_is_asked_a_page_says_that_the_service_is_no_longer_offered(
    played: PlayedServices, client: FlaskClient, active: bool
) -> None:
    service = d.Service(id=ID, organization_id=ID, name="Albergue", active=active)
    played.answers["GetService"] = service
    played.answers["BatchGet"] = d.BatchGetResponse(services=[service])
    played.answers["GetReferral"] = draft(need_code="HOU.EMG", service_id=ID)
    asking = client.get(f"/referrals/{ID}/consent").text
    assert ("Ese servicio ya no está disponible" in asking) == (not active)
    assert f'href="/referrals/{ID}/services"' in asking
    checked = client.get(f"/referrals/{ID}/check").text
    assert ("No se ofrece ahora" in checked) == (not active)


def test_going_back_in_the_browser_after_sending_leads_from_every_question_to_the_referral(
    played: PlayedServices, client: FlaskClient
) -> None:
    form_token = token_of(client.get(f"/referrals/{ID}/need").text)
    for state in (r.STATE_SENT, r.STATE_CONSENT_WITHDRAWN):
        played.answers["GetReferral"] = draft(need_code="HOU.EMG", service_id=ID, state=state)
        calls = len(played.asked)
        for page in (*QUESTIONS, "consent"):
            assert client.get(f"/referrals/{ID}/{page}").location == f"/referrals/{ID}", page
        played.answers["SendReferral"] = errors.Stale()
        for page in QUESTIONS:
            answer = client.post(
                f"/referrals/{ID}/{page}",
                data={"form_token": form_token, "channel_code": "phone", "note": "con su hijo"},
            )
            assert (answer.status_code, "Ya no es un borrador" in answer.text) == (409, True), page
        written = {rpc for rpc, _, _ in played.asked[calls:]} - {"GetReferral", "SendReferral"}
        assert not written & {"UpdateReferral", "SetSafeContact", "OpenPerson"}, written
    assert "con su hijo" in answer.text, "nothing that she typed is lost"


def test_the_consent_page_of_a_referral_says_that_it_was_sent(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["GetReferral"] = draft(
        code="K7M2QX", service_id=ID, state=r.STATE_SENT, allowed_verbs=["attach_consent"]
    )
    page = client.get(f"/referrals/{ID}/consent").text
    assert re.search(rf'<p class="crumb">.*href="/referrals/{ID}">K7M2QX</a>.*Enviada', page)
    assert "Borrador" not in page


def test_choosing_a_service_again_after_sending_leads_to_the_referral(
    played: PlayedServices, client: FlaskClient
) -> None:
    page = up_to_services(client)
    answer(client, page, service_id=ID)
    played.answers["GetReferral"] = draft(state=r.STATE_SENT, service_id=ID)
    before = asked(played, "UpdateReferral")
    for service_id in (ID, OTHER):
        assert answer(client, page, service_id=service_id).location == f"/referrals/{ID}"
    assert asked(played, "UpdateReferral") == before


def test_a_change_in_a_draft_leads_back_to_the_check_unless_other_answers_depend_on_it(
    played: PlayedServices, client: FlaskClient
) -> None:
    complete_draft = draft(
        need_code="HOU.EMG", urgency=r.URGENCY_URGENT, service_id=ID, receipt_id=ID
    )
    played.answers["GetReferral"] = played.answers["UpdateReferral"] = complete_draft
    for page, changes, target in (
        ("urgency", {"urgency": "normal"}, "check"),
        ("need", {"need_code": "HOU.EMG"}, "services"),
        ("services", {"service_id": ID}, "consent"),
    ):
        assert f'href="/referrals/{ID}/{page}"' in client.get(f"/referrals/{ID}/check").text
        empty = client.post(
            f"/referrals/{ID}/{page}",
            data={"form_token": token_of(client.get(f"/referrals/{ID}/{page}").text)},
        )
        assert (empty.status_code, f'href="#{next(iter(changes))}"' in empty.text) == (422, True)
        assert (
            send(client, f"/referrals/{ID}/{page}", **changes).headers["Location"]
            == f"/referrals/{ID}/{target}"
        )
        assert played.last("UpdateReferral").update_mask.paths == [*changes]
    contact = f"/referrals/{ID}/contact"
    assert f'href="{contact}"' in client.get(f"/referrals/{ID}/check").text
    assert 'value="none" checked' in client.get(contact).text
    stored = played.answers["SetSafeContact"]
    played.answers["SetSafeContact"] = errors.Invalid(("safe_contact.channel_code", "required"))
    assert 'href="#channel_code"' in send(client, contact).text
    played.answers["SetSafeContact"] = stored
    answer = {"channel_code": "phone", "hours": "de 9 a 11"}
    form_token, calls = token_of(client.get(contact).text), len(played.asked)
    saved = client.post(contact, data={**answer, "form_token": form_token})
    assert saved.headers["Location"] == f"/referrals/{ID}/check"
    assert all(
        request.outline_only for rpc, request, _ in played.asked[calls:] if rpc == "GetPerson"
    ), "nothing is read when it is only written"
    asked_for = played.last("SetSafeContact")
    assert (asked_for.id, asked_for.safe_contact.channel_code, asked_for.safe_contact.hours) == (
        ID,
        p.SAFE_CHANNEL_PHONE,
        "de 9 a 11",
    )


REASON = {"urgency": "urgent", "urgency_reason_code": "danger_passed"}


def test_b9_a_draft_that_is_less_urgent_than_her_answers_comes_back_asking_why(
    played: PlayedServices, client: FlaskClient
) -> None:
    complete = draft(
        need_code="HOU.EMG",
        urgency=r.URGENCY_IMMEDIATE,
        service_id=ID,
        receipt_id=ID,
        contact_id=ID,
    )
    played.answers["GetReferral"] = complete
    played.answers["UpdateReferral"] = errors.Invalid(("urgency_reason_code", "required"))
    refused = send(client, f"/referrals/{ID}/urgency", urgency="urgent")
    assert (refused.status_code, 'href="#urgency_reason_code"' in refused.text) == (422, True)
    assert 'value="urgent" checked' in refused.text
    played.answers["UpdateReferral"] = complete
    assert send(client, f"/referrals/{ID}/urgency", **REASON).status_code == 303
    asked_for = played.last("UpdateReferral")
    assert asked_for.referral.urgency_reason_code == r.URGENCY_REASON_DANGER_PASSED
    assert asked_for.update_mask.paths == ["urgency", "urgency_reason_code"]


def test_a_time_of_an_assault_that_is_emptied_in_the_form_of_a_draft_is_removed(
    played: PlayedServices, client: FlaskClient
) -> None:
    complete = draft(need_code="HOU.EMG", urgency=r.URGENCY_EMERGENCY, service_id=ID, receipt_id=ID)
    complete.assault_time.FromDatetime(datetime(2026, 3, 4, 10))
    played.answers["GetReferral"] = played.answers["UpdateReferral"] = complete
    send(client, f"/referrals/{ID}/urgency", urgency="normal", assault_time="")
    asked_for = played.last("UpdateReferral")
    assert asked_for.update_mask.paths == ["urgency", "assault_time"]
    assert not asked_for.referral.HasField("assault_time")
    refused = send(client, f"/referrals/{ID}/urgency", urgency="normal", assault_time="yesterday")
    assert (refused.status_code, 'href="#assault_time"' in refused.text) == (422, True)
    assert 'value="yesterday"' in refused.text
    assert played.last("UpdateReferral") == asked_for


def test_b9_a_new_referral_needs_a_reason_for_being_less_urgent_than_its_contact(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["GetContact"] = c.Contact(
        id=ID, etag="1", need_code="HOU.EMG", urgency=r.URGENCY_IMMEDIATE
    )
    page = answer(client, client.get(f"{NEW}?contact={ID}"), age="19")
    page = answer(client, answer(client, page, channel_code="none"), names_nothing="1")
    played.answers["UpdateReferral"] = errors.Invalid(("urgency_reason_code", "required"))
    refused = answer(client, page, service_id=ID, urgency="urgent")
    assert (refused.status_code, Form(refused.text).said["page"]) == (422, "urgency")
    assert 'name="urgency_reason_code" value="danger_passed"' in refused.text
    played.answers["UpdateReferral"] = draft(
        need_code="HOU.EMG", urgency=r.URGENCY_URGENT, service_id=ID
    )
    last = answer(client, refused, **REASON)
    answer(client, last, service_id=ID)
    assert (
        played.last("UpdateReferral").referral.urgency_reason_code == r.URGENCY_REASON_DANGER_PASSED
    )


def test_b9_sending_her_where_her_age_is_not_accepted_has_to_be_acknowledged(
    played: PlayedServices, client: FlaskClient
) -> None:
    check = f"/referrals/{ID}/check"
    assert "acknowledged_codes" not in client.get(check).text, (
        "nothing can be acknowledged before it was refused"
    )
    played.answers["SendReferral"] = errors.Conflict("age_not_taken")
    refused = send(client, check, note="Llega a las seis")
    assert refused.status_code == 422
    for text in (
        "No es para su edad.",
        'name="acknowledged_codes" value="age_not_taken"',
        "Llega a las seis",
    ):
        assert text in refused.text
    played.answers["SendReferral"] = draft()
    assert send(client, check, acknowledged_codes="age_not_taken").status_code == 303
    assert list(played.last("SendReferral").acknowledged_codes) == [r.ACKNOWLEDGEMENT_AGE_NOT_TAKEN]


@pytest.mark.parametrize("channel", [p.SAFE_CHANNEL_NONE, p.SAFE_CHANNEL_PHONE])
def test_d19_how_she_arrives_is_asked_where_nobody_may_contact_her(
    played: PlayedServices, client: FlaskClient, channel: p.SafeChannel.ValueType
) -> None:
    check = f"/referrals/{ID}/check"
    played.answers["GetPerson"] = p.Person(
        id=ID, code="K7M2QX", safe_contact=p.SafeContact(channel_code=channel)
    )
    played.answers["GetReferral"] = draft(
        need_code="HOU.EMG", urgency=r.URGENCY_URGENT, service_id=ID, code="H7JX7J"
    )
    form = Form(client.get(check).text).said
    assert ("expected" in form) == (channel == p.SAFE_CHANNEL_NONE)
    assert ("H7JX7J" in form.get("sign", "")) == (channel == p.SAFE_CHANNEL_NONE)
    unsafe = (
        {"expected": "hoy a las siete", "way": "en bus", "company": "sola"}
        if channel == p.SAFE_CHANNEL_NONE
        else {}
    )
    assert client.post(check, data={**form, **unsafe}).status_code == 303
    arrival = played.last("SendReferral").arrival
    assert {name: getattr(arrival, name) for name in unsafe} == unsafe
    assert bool(arrival.sign) == bool(unsafe)


def test_d19_missing_answers_about_her_arrival_are_reported_at_their_fields_and_nothing_is_lost(
    played: PlayedServices, client: FlaskClient
) -> None:
    check = f"/referrals/{ID}/check"
    played.answers["SendReferral"] = errors.Invalid(
        ("arrival.expected", "required"), ("arrival.company", "required")
    )
    form = Form(client.get(check).text).said
    answer = client.post(
        check, data={**form, "way": "en bus desde Somotillo", "note": "lleva una mochila"}
    )
    assert answer.status_code == 422
    for text in (
        "diga cuándo llega",
        "diga con quién viene",
        "en bus desde Somotillo",
        "lleva una mochila",
        'id="expected-error"',
    ):
        assert text in answer.text, text


def test_d23_the_question_with_whom_or_where_she_is_not_safe_needs_an_answer(
    played: PlayedServices, client: FlaskClient
) -> None:
    distant = d.Service(
        id=OTHER,
        name="Casa segura",
        organization_id=OTHER,
        organization_name="Casa Amanecer",
        department="NI-LE",
    )
    played.answers["MatchServices"] = d.MatchServicesResponse(
        matches=[d.Match(service=distant, verdict=d.VERDICT_FITS)]
    )
    asked_it = answer(client, up_to_services(client), back="1")
    assert question(asked_it) == "unsafe 5/6"
    assert all(name in asked_it.text for name in ("Casa Amanecer", "León"))
    values = {
        name: value for name, value in Form(asked_it.text).said.items() if name != "unsafe_code"
    }
    refused = client.post(NEW, data=values)
    assert (
        refused.status_code,
        'id="unsafe_code-error"' in refused.text,
        Form(refused.text).said["hours"],
    ) == (422, True, "de 9 a 11")
    refused = client.post(NEW, data={**values, "unsafe_code": "named"})
    assert (refused.status_code, 'id="unsafe_organization_ids-error"' in refused.text) == (
        422,
        True,
    )
    services = client.post(
        NEW,
        data={
            **values,
            "unsafe_code": "nothing",
            "unsafe_organization_ids": OTHER,
            "unsafe_departments": "NI-LE",
        },
    )
    assert question(services) == "services 6/6"
    matched = played.last("MatchServices")
    assert (list(matched.excluded_organization_ids), list(matched.excluded_areas)) == (
        [OTHER],
        ["NI-LE"],
    )
    answer(client, services, service_id=ID)
    referral_sent = played.last("UpdateReferral").referral
    assert (
        referral_sent.unsafe_code,
        list(referral_sent.unsafe_organization_ids),
        list(referral_sent.unsafe_departments),
    ) == (
        r.UNSAFE_ANSWER_NAMED,
        [OTHER],
        ["NI-LE"],
    )


def police(name: str = "Policía de Chinandega", identifier: str = POLICE) -> d.Service:
    return d.Service(
        id=ID,
        name="Denuncias",
        organization_id=identifier,
        organization_name=name,
        department="NI-CI",
    )


def test_d23_she_can_name_an_organisation_that_does_not_give_this_help(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["MatchServices"] = d.MatchServicesResponse()
    played.answers["SearchServices"] = d.SearchServicesResponse(services=[police(), police()])
    named = played.answers["BatchGet"]
    assert isinstance(named, d.BatchGetResponse)
    named.organizations.append(d.Organization(id=POLICE, name="Policía de Chinandega"))
    asked_it = answer(client, up_to_services(client), back="1")
    assert "Policía de Chinandega" not in asked_it.text
    # with the button, or by going on with a typed name that was not searched for
    for pressed in ({"unsafe_look": "1"}, {}):
        page = answer(client, asked_it, unsafe_search=" policía ", **pressed)
        assert (question(page), page.status_code) == ("unsafe 5/6", 200)
        assert played.last("SearchServices").words == "policía"
        assert page.text.count(f'name="unsafe_organization_ids" value="{POLICE}"') == 1
    services = answer(client, page, unsafe_organization_ids=POLICE)
    assert question(services) == "services 6/6"
    assert list(played.last("MatchServices").excluded_organization_ids) == [POLICE]
    back = answer(client, services, back="1")
    assert (question(back), Form(back.text).said["unsafe_organization_ids"]) == (
        "unsafe 5/6",
        POLICE,
    ), "the organisation is shown with its name, though nothing was searched for"
    assert "Policía de Chinandega" in back.text
    played.answers["SearchServices"] = d.SearchServicesResponse()
    assert (
        "Nadie del directorio aparece con ese nombre."
        in answer(client, back, unsafe_search="x", unsafe_look="1").text
    )
    many = [police(f"Policía {number:02}", f"{number:032x}") for number in range(31)]
    played.answers["SearchServices"] = d.SearchServicesResponse(services=many)
    page_text = answer(client, back, unsafe_search="policía", unsafe_look="1").text
    assert (page_text.count(">Policía "), "Hay más: escriba más del nombre." in page_text) == (
        31,
        True,
    ), "thirty results and the ticked organisation"


def test_d23_she_can_name_a_department_without_any_listed_service(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["MatchServices"] = d.MatchServicesResponse()
    asked_it = answer(client, up_to_services(client), back="1")
    assert asked_it.text.count('name="unsafe_departments" value="NI-LE"') == 1
    services = answer(client, asked_it, unsafe_departments="NI-LE")
    assert question(services) == "services 6/6"
    assert list(played.last("MatchServices").excluded_areas) == ["NI-LE"]


def test_d23_a_draft_is_not_saved_during_a_search_for_a_name_and_keeps_what_was_ticked(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["SearchServices"] = d.SearchServicesResponse(services=[police()])
    played.answers["GetReferral"] = draft(
        need_code="HOU.EMG",
        urgency=r.URGENCY_URGENT,
        service_id=ID,
        unsafe_code=r.UNSAFE_ANSWER_NAMED,
        unsafe_organization_ids=[POLICE],
        unsafe_departments=["NI-LE"],
    )
    form = Form(client.get(f"/referrals/{ID}/unsafe").text).said
    assert (form["unsafe_organization_ids"], form["unsafe_departments"]) == (POLICE, "NI-LE"), (
        "named ones are kept, though none of the listed services belongs to them"
    )
    del form["unsafe_departments"]
    response = client.post(f"/referrals/{ID}/unsafe", data=form | {"unsafe_search": "policía"})
    assert (response.status_code, Form(response.text).said.get("unsafe_departments")) == (200, None)
    assert not asked(played, "UpdateReferral")
    client.post(f"/referrals/{ID}/unsafe", data=Form(response.text).said)
    assert list(played.last("UpdateReferral").referral.unsafe_organization_ids) == [POLICE]


def test_d23_a_draft_without_the_safety_answer_asks_for_it_and_shows_it_before_sending(
    played: PlayedServices, client: FlaskClient
) -> None:
    draft_answer = draft(
        need_code="HOU.EMG", urgency=r.URGENCY_URGENT, service_id=ID, receipt_id=ID, unsafe_code=0
    )
    played.answers["GetReferral"] = draft_answer
    assert client.get(f"/referrals/{ID}/draft").location == f"/referrals/{ID}/unsafe"
    page = client.get(f"/referrals/{ID}/unsafe")
    played.answers["UpdateReferral"] = draft(
        need_code="HOU.EMG",
        urgency=r.URGENCY_URGENT,
        service_id=ID,
        receipt_id=ID,
        unsafe_code=r.UNSAFE_ANSWER_NOTHING,
    )
    typed = {"form_token": token_of(page.text), "request_id": "one", "etag": "d1"}
    assert client.post(f"/referrals/{ID}/unsafe", data=typed).status_code == 422
    onward = client.post(f"/referrals/{ID}/unsafe", data=typed | {"unsafe_code": "nothing"})
    assert (onward.status_code, onward.location) == (303, f"/referrals/{ID}/check")
    check = client.get(f"/referrals/{ID}/check").text
    assert f'href="/referrals/{ID}/unsafe"' in check


@pytest.mark.parametrize(
    ("named", "page"),
    [
        ({"unsafe_departments": ["NI-LE"]}, "services"),
        ({"unsafe_organization_ids": [OTHER]}, "services"),
        ({"unsafe_departments": ["NI-CI"]}, "check"),
        ({"unsafe_organization_ids": [ID]}, "check"),
    ],
)
def test_d23_naming_the_place_of_the_chosen_service_leads_to_another_choice_at_once(
    played: PlayedServices, client: FlaskClient, named: dict[str, list[str]], page: str
) -> None:
    played.answers["BatchGet"] = d.BatchGetResponse(
        services=[d.Service(id=ID, name="Albergue", organization_id=OTHER, department="NI-LE")]
    )
    stored = {
        "need_code": "HOU.EMG",
        "urgency": r.URGENCY_URGENT,
        "service_id": ID,
        "receiver_organization_id": OTHER,
        "receipt_id": ID,
    }
    played.answers["GetReferral"] = draft(**stored)
    played.answers["UpdateReferral"] = draft(
        **stored, **{"unsafe_code": r.UNSAFE_ANSWER_NAMED} | named
    )
    typed = {
        "form_token": token_of(client.get(f"/referrals/{ID}/unsafe").text),
        "request_id": "one",
        "etag": "d1",
        **named,
    }
    assert client.post(f"/referrals/{ID}/unsafe", data=typed).location == f"/referrals/{ID}/{page}"


def test_d23_a_referral_to_somebody_she_named_needs_an_acknowledgement_and_the_note_stays(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["GetReferral"] = draft(
        need_code="HOU.EMG", urgency=r.URGENCY_URGENT, service_id=ID, receipt_id=ID, unsafe_code=2
    )
    played.answers["SendReferral"] = errors.Conflict("unsafe_for_her")
    token = {
        "form_token": token_of(client.get(f"/referrals/{ID}/check").text),
        "request_id": "one",
        "etag": "d1",
    }
    refused = client.post(f"/referrals/{ID}/check", data=token | {"note": "Llega sola."})
    assert (refused.status_code, "Llega sola." in refused.text) == (422, True)
    assert 'name="acknowledged_codes" value="unsafe_for_her"' in refused.text
    assert 'value="age_not_taken"' not in refused.text
    client.post(f"/referrals/{ID}/check", data=token | {"acknowledged_codes": "unsafe_for_her"})
    assert list(played.last("SendReferral").acknowledged_codes) == [
        r.ACKNOWLEDGEMENT_UNSAFE_FOR_HER
    ]
