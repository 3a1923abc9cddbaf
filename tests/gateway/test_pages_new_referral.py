"""A new referral, one question a page.

Known facts are not asked for, going back loses nothing, and nothing is stored before a service is
chosen.
"""

import html
import re

import pytest
from flask.testing import FlaskClient

from chassis import errors
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import members_pb2 as m
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from tests.gateway.pages_gateway import ID, SECRET, FakePageServices, missing, signed_in, token_of
from tests.gateway.referral_questions import (
    NEW_REFERRAL,
    OTHER_ID,
    SERVICE_CHOICE,
    answer,
    birth_date,
    draft,
    fields_of,
    go_to_services,
    go_to_urgency,
    question,
    services_with_draft,
)


@pytest.fixture
def fakes() -> FakePageServices:
    return services_with_draft()


def test_questions_come_one_by_one_and_choosing_a_service_creates_file_and_draft(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    question_pages = [client.get(NEW_REFERRAL)]
    for answers in (
        {"need_code": "HOU.EMG"},
        {"urgency": "urgent"},
        {"age": "19", "gender_code": "Feminine"},
        {"channel_code": "none"},
        {"unsafe_code": "nothing"},
    ):
        question_pages.append(answer(client, question_pages[-1], **answers))
    assert [question(page) for page in question_pages] == [
        "need 1/6",
        "urgency 2/6",
        "about 3/6",
        "contact 4/6",
        "unsafe 5/6",
        "services 6/6",
    ]
    assert {"CreatePerson", "CreateReferral", "UpdateReferral"}.isdisjoint(
        rpc for rpc, _, _ in fakes.calls
    )
    match_request = fakes.last("MatchServices")
    assert (match_request.need_code, match_request.age, match_request.gender) == (
        "HOU.EMG",
        19,
        d.GENDER_FEMININE,
    )
    assert answer(client, question_pages[-1], service_id=ID).location == f"/referrals/{ID}/consent"
    file, referral, update = (
        fakes.last(rpc) for rpc in ("CreatePerson", "CreateReferral", "UpdateReferral")
    )
    assert (file.identity, file.safe_contact.channel_code) == (p.Identity(), p.SAFE_CHANNEL_NONE)
    assert (file.coarse.age_band, file.coarse.country) == (r.AGE_BAND_18_TO_24, "NI")
    unsafe = ["unsafe_code", "unsafe_organization_ids", "unsafe_departments"]
    assert (referral.person_id, update.referral.etag, update.update_mask.paths) == (
        ID,
        "d1",
        [*SERVICE_CHOICE, *unsafe],
    )
    assert {name: getattr(update.referral, name) for name in SERVICE_CHOICE} == SERVICE_CHOICE
    assert len({file.request_id, referral.request_id, update.request_id}) == 3


def test_services_that_do_not_fit_are_not_described_as_missing_and_are_shown_at_once(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    group = d.Service(id=OTHER_ID, name="Grupo de apoyo", organization_name="Fundación Tejer Redes")
    fakes.answers["MatchServices"] = d.MatchServicesResponse(
        matches=[d.Match(service=group, verdict=d.VERDICT_DOES_NOT_FIT)]
    )
    page = go_to_services(client).text
    assert missing(page, "Ningún servicio de la red encaja ahora.", "da esta ayuda") == [
        "da esta ayuda"
    ]
    assert re.search(r"<details[^>]* open><summary>1 servicio que no encaja", page)


def test_answers_for_which_no_service_fits_are_saved_as_a_draft_without_a_service(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers |= {
        "MatchServices": d.MatchServicesResponse(),
        "UpdateReferral": draft(need_code="HOU.EMG", urgency=r.URGENCY_URGENT),
    }
    page = go_to_services(client)
    assert 'name="without_service"' in page.text
    assert answer(client, page, without_service="1").location == f"/referrals/{ID}/services"
    assert fakes.last("CreatePerson").coarse.age_band == r.AGE_BAND_18_TO_24


@pytest.mark.parametrize("begin", [NEW_REFERRAL, f"{NEW_REFERRAL}?service={ID}"])
def test_the_first_page_says_that_the_last_answer_stores_the_referral(
    client: FlaskClient, begin: str
) -> None:
    assert "se guarda al contestar la última" in client.get(begin).text


@pytest.mark.parametrize(
    ("answers", "field"), [([], "need_code"), ([{"need_code": "HOU.EMG"}], "urgency")]
)
def test_a_question_left_unanswered_says_what_to_do(
    client: FlaskClient, answers: list[dict[str, str]], field: str
) -> None:
    page = client.get(NEW_REFERRAL)
    for fields in (*answers, {}):
        page = answer(client, page, **fields)
    expected = ("Hay un problema", f'href="#{field}"', f'id="{field}-error"')
    assert (page.status_code, missing(page.text, *expected)) == (422, [])


def test_the_way_to_reach_her_is_the_only_required_answer_about_her(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    contact = answer(client, answer(client, go_to_urgency(client), urgency="urgent"))
    assert "Para llamarla o escribirle hace falta su teléfono" in contact.text
    refusal = answer(client, contact)
    assert (refusal.status_code, 'href="#channel_code"' in refusal.text) == (422, True)
    # the pressed button decides, because it comes last
    unsafe = answer(client, contact, channel_code="phone", nobody_calls="1")
    services = answer(client, unsafe, unsafe_code="nothing")
    assert question(services) == "services 6/6"
    answer(client, services, service_id=ID)
    assert fakes.last("CreatePerson").safe_contact.channel_code == p.SAFE_CHANNEL_NONE


@pytest.mark.parametrize(
    ("answers", "page"),
    [
        ({}, "urgency"),
        ({"urgency": "urgent", "age_band": "", "age": "200", "channel_code": "none"}, "about"),
    ],
)
def test_no_page_can_be_skipped(
    answers: dict[str, str], page: str, fakes: FakePageServices, client: FlaskClient
) -> None:
    fields = {"page": "services", "service_id": ID, "need_code": "HOU.EMG", **answers}
    refusal = answer(client, client.get(NEW_REFERRAL), **fields)
    assert (refusal.status_code, fields_of(refusal)["page"]) == (422, page)
    assert fakes.requests("CreatePerson") == []


def test_going_back_keeps_every_pages_answers(client: FlaskClient) -> None:
    page = go_to_services(client)
    page = answer(client, answer(client, page, back="1"), back="1")
    contact = {
        "channel_code": "phone",
        "hours": "de 9 a 11",
        "given_name": "Yolanda",
        "message_may_be_left": "1",
    }
    assert contact.items() <= fields_of(page).items()
    page = answer(client, page, back="1", hours="de 10 a 12")
    about = {"age": "19", "gender_code": "Feminine", "department": "NI-CI"}
    assert about.items() <= fields_of(page).items()
    page = answer(client, page, back="1")
    assert fields_of(page)["urgency"] == "urgent"
    page = answer(client, page, back="1")
    assert (question(page), 'href="/today">Atrás' in page.text) == ("need 1/6", True)
    page = answer(client, page)
    assert question(page) == "services 6/6", "answered questions are not asked again"
    assert fields_of(page)["hours"] == "de 10 a 12", (
        "text typed just before going back is kept, too"
    )


def test_an_answer_can_be_changed_from_the_last_question_and_leads_back_to_it(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    page = go_to_services(client)
    for to, answers in (("about", {"age": "16"}), ("need", {}), ("urgency", {"urgency": "normal"})):
        page = answer(client, page, to=to)
        assert question(page).startswith(to)
        page = answer(client, page, **answers)
        assert question(page) == "services 6/6"
    assert fakes.last("MatchServices").age == 16
    assert "12 a 17 años" in page.text


def test_the_enter_key_never_goes_back(client: FlaskClient) -> None:
    page = client.get(NEW_REFERRAL)
    for answers in ({"need_code": "HOU.EMG"}, {"urgency": "urgent"}, {}):
        page = answer(client, page, **answers)
        form = page.text[page.text.index('<form method="post" action="/referrals/new"') :]
        first_button = re.search(r"<button[^>]*>", form)
        assert first_button
        assert "name=" not in first_button[0]


def test_a_session_that_ends_loses_no_answer(fakes: FakePageServices, client: FlaskClient) -> None:
    about = answer(client, go_to_urgency(client), urgency="urgent")

    def end_session(request: m.IssueTokenRequest) -> m.IssueTokenResponse:
        if request.session_secret == SECRET:
            raise errors.Unauthenticated("session_ended")
        return signed_in(contract_pb2.ROLE_OPERATOR)

    fakes.answers["IssueToken"] = end_session
    client.application.extensions["exchange"].forget(SECRET)
    sign_in_page = answer(client, about, age="19", department="NI-CI")
    assert (sign_in_page.status_code, "HOU.EMG" in sign_in_page.text) == (401, False)
    sealed_form = re.search(r'name="kept" value="([^"]*)"', sign_in_page.text)
    assert sealed_form
    fakes.answers["SignIn"] = m.SignInResponse(session_secret="fresh", worker=m.Worker(id=ID))
    data = {
        "email": "a@b.demo",
        "password": "p",
        "form_token": token_of(sign_in_page.text),
        "kept": html.unescape(sealed_form[1]),
    }
    offer = client.post("/sign-in", data=data)
    assert f'action="{NEW_REFERRAL}"' in offer.text
    contact = answer(client, offer)
    assert question(contact) == "contact 4/6"
    answers = {"need_code": "HOU.EMG", "urgency": "urgent", "age": "19", "department": "NI-CI"}
    assert answers.items() <= fields_of(contact).items()


def test_reloading_a_page_changes_nothing(client: FlaskClient) -> None:
    data = {**fields_of(go_to_urgency(client)), "urgency": "urgent"}
    first_fields, second_fields = (
        fields_of(client.post(NEW_REFERRAL, data=data)) for _ in range(2)
    )
    for name in ("request_id", "form_token"):  # a new id for each page; a token contains the time
        first_fields[name] = second_fields[name] = ""
    assert first_fields == second_fields


def test_answers_in_two_tabs_do_not_mix(fakes: FakePageServices, client: FlaskClient) -> None:
    first_tab, second_tab = go_to_urgency(client), go_to_urgency(client)
    first_tab, second_tab = (
        answer(client, first_tab, urgency="immediate"),
        answer(client, second_tab, urgency="normal"),
    )
    second_tab = answer(client, second_tab, age="61")
    first_tab = answer(client, first_tab, age="15")
    for page, band, urgency in (
        (first_tab, r.AGE_BAND_12_TO_17, r.URGENCY_IMMEDIATE),
        (second_tab, r.AGE_BAND_60_AND_OVER, r.URGENCY_NORMAL),
    ):
        services = answer(client, answer(client, page, nobody_calls="1"), names_nothing="1")
        answer(client, services, service_id=ID)
        assert (
            fakes.last("CreatePerson").coarse.age_band,
            fakes.last("UpdateReferral").referral.urgency,
        ) == (band, urgency)
    assert len({request.request_id for request in fakes.requests("CreatePerson")}) == 2


def test_going_back_in_the_browser_and_choosing_again_makes_one_file_and_one_draft(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    page = go_to_services(client)
    answer(client, page, service_id=ID)
    # the same page, requested again
    second_page = answer(client, page, page="contact")
    answer(client, second_page, service_id=OTHER_ID)
    for rpc in ("CreatePerson", "CreateReferral"):
        first_request, second_request = fakes.requests(rpc)
        assert first_request == second_request, "the services answer a repeated request as before"
    assert fakes.last("UpdateReferral").referral.service_id == OTHER_ID
    fakes.answers["GetReferral"] = draft(**SERVICE_CHOICE | {"service_id": OTHER_ID})
    fakes.calls.clear()
    assert answer(client, second_page, service_id=OTHER_ID).status_code == 303
    assert fakes.requests("UpdateReferral") == [], "the same choice is not stored twice"


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
    about = answer(client, go_to_urgency(client), urgency="urgent")
    refusal = client.post(f"{NEW_REFERRAL}?lang={language}", data={**fields_of(about), "age": age})
    expected = ('href="#age"', f'id="age-error">{sentence}', f'value="{age}"')
    assert (refusal.status_code, missing(refusal.text, *expected)) == (422, [])


def test_a_number_of_relatives_that_cannot_be_read_is_refused_at_its_field(
    client: FlaskClient,
) -> None:
    about = answer(client, go_to_urgency(client), urgency="urgent")
    refusal = answer(client, about, dependants="3 hijos")
    assert (refusal.status_code, 'href="#dependants"' in refusal.text) == (422, True)


def test_a_birth_date_is_compared_with_the_age_of_an_earlier_question(client: FlaskClient) -> None:
    page = answer(client, answer(client, go_to_urgency(client), urgency="urgent"), age="22")
    page = answer(client, page, channel_code="phone", birth_date=birth_date(client, 14))
    assert (question(page), 'href="#birth_date"' in page.text) == ("contact 4/6", True)


@pytest.mark.parametrize(
    ("contact", "first_question", "back_link"),
    [
        (c.Contact(need_code="HOU.EMG"), "urgency 2/6", ""),
        (
            c.Contact(need_code="HOU", urgency=r.URGENCY_EMERGENCY),
            "need 1/6",
            f'href="/line/{ID}">Atrás',
        ),
        (c.Contact(), "need 1/6", f'href="/line/{ID}">Atrás'),
    ],
)
def test_the_questions_begin_with_the_first_that_the_contact_leaves_open(
    fakes: FakePageServices,
    client: FlaskClient,
    contact: c.Contact,
    first_question: str,
    back_link: str,
) -> None:
    contact.id, contact.etag = ID, "1"
    fakes.answers["GetContact"] = contact
    page = client.get(f"{NEW_REFERRAL}?contact={ID}")
    assert (question(page), back_link in page.text) == (first_question, True)


def test_data_of_the_contact_are_not_asked_for_again(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetContact"] = c.Contact(
        id=ID,
        etag="1",
        need_code="HOU.EMG",
        urgency=r.URGENCY_EMERGENCY,
        language="miq",
        department="NI-CI",
    )
    page = client.get(f"{NEW_REFERRAL}?contact={ID}")
    assert (question(page), missing(page.text, "Albergue", "Emergencia")) == ("about 3/6", [])
    assert {"language": "miq", "department": "NI-CI"}.items() <= fields_of(page).items()
    assert question(answer(client, page, back="1")) == "urgency 2/6", (
        "the question can still be reached"
    )
    unsafe = answer(client, answer(client, page), nobody_calls="1")
    answer(client, answer(client, unsafe, names_nothing="1"), service_id=ID)
    assert (
        fakes.last("CreateReferral").contact_id,
        fakes.last("CreatePerson").contact_id,
        fakes.last("UpdateReferral").referral.urgency,
    ) == (ID, ID, r.URGENCY_EMERGENCY)


def test_a_language_that_nobody_recognised_stays_unknown(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetContact"] = c.Contact(
        id=ID, etag="1", need_code="HOU.EMG", urgency=r.URGENCY_EMERGENCY
    )
    about = client.get(f"{NEW_REFERRAL}?contact={ID}")
    assert fields_of(about)["language"] == ""
    next_page = answer(client, about)
    assert fields_of(answer(client, next_page, back="1"))["language"] == ""
    unsafe = answer(client, next_page, nobody_calls="1")
    answer(client, answer(client, unsafe, names_nothing="1"), service_id=ID)
    assert fakes.last("CreatePerson").coarse.language == ""


def test_an_urgency_that_nobody_assessed_stays_open_until_somebody_chooses(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetContact"] = c.Contact(id=ID, etag="1", need_code="HOU.EMG")
    page = client.get(f"{NEW_REFERRAL}?contact={ID}")
    assert "urgency" not in fields_of(page)
    refusal = answer(client, page)
    assert (refusal.status_code, 'href="#urgency"' in refusal.text) == (422, True)


def test_for_a_person_with_a_file_the_questions_about_her_are_left_out(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetPerson"] = p.Person(
        id=ID, code="K7M2QX", coarse=r.CoarsePerson(age_band=r.AGE_BAND_12_TO_17, language="es")
    )
    page = client.get(f"{NEW_REFERRAL}?person={ID}")
    assert (question(page), missing(page.text, "K7M2QX", f'href="/people/{ID}">Atrás')) == (
        "need 1/4",
        [],
    )
    page = answer(client, answer(client, page, need_code="HOU.EMG"), urgency="urgent")
    page = answer(client, page, names_nothing="1")
    assert question(page) == "services 4/4"
    assert fakes.last("MatchServices").age == 15
    assert answer(client, page, service_id=ID).location == f"/referrals/{ID}/contact", (
        "her file does not say how she may be reached"
    )
    assert (fakes.requests("CreatePerson"), fakes.last("CreateReferral").person_id) == ([], ID)


def test_nothing_about_the_person_is_in_a_url(client: FlaskClient) -> None:
    page = go_to_services(client)
    target = answer(client, page, service_id=ID).headers["Location"]
    addresses = " ".join([*re.findall(r'(?:href|action)="([^"]*)"', page.text), target])
    assert not re.search("Yolanda|Feminine|HOU|phone|19", addresses.replace(ID, ""))


@pytest.mark.parametrize(
    ("rpc", "refusal", "page_name", "sentence"),
    [
        (
            "CreatePerson",
            errors.Invalid(("identity.birth_date", "malformed")),
            "contact",
            'href="#birth_date"',
        ),
        (
            "CreatePerson",
            errors.Invalid(("coarse.dependants", "out_of_range")),
            "about",
            'href="#dependants"',
        ),
        (
            "CreatePerson",
            errors.Conflict("service_unknown"),
            "services",
            "Ese servicio ya no está disponible",
        ),
        (
            "MatchServices",
            errors.Invalid(("dependants", "out_of_range")),
            "about",
            'href="#dependants"',
        ),
    ],
)
def test_a_services_refusal_is_shown_on_the_page_of_its_question(
    rpc: str,
    refusal: errors.Refusal,
    page_name: str,
    sentence: str,
    fakes: FakePageServices,
    client: FlaskClient,
) -> None:
    page = go_to_services(client)
    fakes.answers[rpc] = refusal
    refused_page = answer(client, page, service_id=ID if rpc == "CreatePerson" else "")
    assert (
        refused_page.status_code,
        fields_of(refused_page)["page"],
        sentence in refused_page.text,
    ) == (422, page_name, True)


def test_a_new_referral_needs_a_reason_for_being_less_urgent_than_its_contact(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetContact"] = c.Contact(
        id=ID, etag="1", need_code="HOU.EMG", urgency=r.URGENCY_IMMEDIATE
    )
    page = answer(client, client.get(f"{NEW_REFERRAL}?contact={ID}"), age="19")
    page = answer(client, answer(client, page, channel_code="none"), names_nothing="1")
    fakes.answers["UpdateReferral"] = errors.Invalid(("urgency_reason_code", "required"))
    refusal = answer(client, page, service_id=ID, urgency="urgent")
    assert (refusal.status_code, fields_of(refusal)["page"]) == (422, "urgency")
    assert 'name="urgency_reason_code" value="danger_passed"' in refusal.text
    fakes.answers["UpdateReferral"] = draft(**SERVICE_CHOICE)
    page = answer(client, refusal, urgency="urgent", urgency_reason_code="danger_passed")
    answer(client, page, service_id=ID)
    assert (
        fakes.last("UpdateReferral").referral.urgency_reason_code == r.URGENCY_REASON_DANGER_PASSED
    )
