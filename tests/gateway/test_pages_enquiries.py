"""The pages of an enquiry.

They have few questions, a preview of what is sent, the answers, and the way to the referral.
Nothing is asked twice.
"""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient

from chassis import errors
from protos.notifications.v1 import notifications_pb2 as n
from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import referrals_pb2 as r
from tests.gateway.api_gateway import ID
from tests.gateway.pages_gateway import Form, PlayedServices, enter, pages, token_of

OTHER = "b" * 32
ASKED = {
    "need_code": "HOU.EMG",
    "urgency": "immediate",
    "age_band": "18-24",
    "department": "NI-CI",
    "languages": "es",
    "unsafe_code": "nothing",
}


@pytest.fixture
def played() -> PlayedServices:
    played = PlayedServices()
    service = d.Service(
        id=OTHER, name="Casa segura", organization_id=OTHER, organization_name="Casa Amanecer"
    )
    own = d.Service(
        id="c" * 32, name="La nuestra", organization_id=ID, organization_name="Casa Puentes"
    )
    fitting = [
        d.Match(service=service, verdict=d.VERDICT_FITS),
        d.Match(service=own, verdict=d.VERDICT_FITS),
    ]
    closed = d.Service(id="d" * 32, name="Cerrada", organization_id=OTHER)
    played.answers["MatchServices"] = d.MatchServicesResponse(
        matches=[*fitting, d.Match(service=closed, verdict=d.VERDICT_DOES_NOT_FIT)]
    )
    played.answers["PreviewEnquiry"] = e.EnquiryPreview(
        service_count=1, organization_count=1, similar_cases=5
    )
    return played


@pytest.fixture
def client(played: PlayedServices) -> FlaskClient:
    return enter(pages(played).test_client())


def post(client: FlaskClient, path: str = "/enquiries/new", **fields: str) -> tuple[int, str, str]:
    answer = client.post(
        path,
        data={
            "form_token": token_of(client.get("/enquiries/new").text),
            "request_id": "once",
            **fields,
        },
    )
    return answer.status_code, answer.text, answer.headers.get("Location", "")


def enquiry(side: r.Side.ValueType = r.SIDE_SENDER, **values: object) -> e.Enquiry:
    content = e.EnquiryContent(
        need_code="HOU.EMG", urgency=r.URGENCY_IMMEDIATE, age_band=r.AGE_BAND_18_TO_24
    )
    defaults: dict[str, object] = {
        "id": ID,
        "etag": "v3",
        "code": "K7M2QX",
        "state": e.ENQUIRY_STATE_OPEN,
        "side": side,
        "content": content,
    }
    return e.Enquiry(**defaults | values)  # type: ignore[arg-type]


def test_data_of_the_contact_are_not_asked_for_again(
    played: PlayedServices, client: FlaskClient
) -> None:
    contact = c.Contact(
        id=ID, need_code="HOU.EMG", urgency=r.URGENCY_EMERGENCY, department="NI-LE", language="miq"
    )
    played.answers["GetContact"] = contact
    fields = Form(client.get(f"/enquiries/new?contact={ID}").text).said
    assert {
        name: fields[name]
        for name in ("need_code", "urgency", "department", "languages", "contact_id")
    } == {
        "need_code": "HOU.EMG",
        "urgency": "emergency",
        "department": "NI-LE",
        "languages": "miq",
        "contact_id": ID,
    }


def test_the_form_does_not_deny_the_department_that_the_services_will_read(
    client: FlaskClient,
) -> None:
    page = client.get("/enquiries/new").text
    assert "ni dónde está" not in page
    assert "lo que sí se dice lo ve usted antes de preguntar" in page
    assert "Chinandega" in post(client, **ASKED)[1].partition("Se dice de ella")[2][:200]


def test_need_urgency_and_where_she_is_not_safe_are_required_and_the_rest_stays(
    client: FlaskClient,
) -> None:
    status, page, _ = post(client, age_band="18-24")
    assert status == 422
    assert page.count('class="error"') == 3
    assert Form(page).said["age_band"] == "18-24"


def test_own_services_and_those_that_do_not_fit_are_not_asked(
    played: PlayedServices, client: FlaskClient
) -> None:
    status, page, _ = post(client, **ASKED)
    assert status == 200
    request = played.last("PreviewEnquiry")
    assert list(request.service_ids) == [OTHER]
    assert request.content == e.EnquiryContent(
        need_code="HOU.EMG",
        urgency=r.URGENCY_IMMEDIATE,
        age_band=r.AGE_BAND_18_TO_24,
        languages=["es"],
        country="NI",
        department="NI-CI",
    )
    assert "Unas 5 organizaciones" in page


def test_a_line_of_one_country_can_ask_services_in_another(
    played: PlayedServices, client: FlaskClient
) -> None:
    elsewhere = {**ASKED, "country": "CR", "department": "CR-G"}
    _, page, _ = post(client, **elsewhere)
    assert played.last("MatchServices").country == "CR"
    assert (played.last("PreviewEnquiry").content.country, Form(page).said["country"]) == (
        "CR",
        "CR",
    )
    assert "Costa Rica" in page
    played.answers["GetEnquiry"] = enquiry(
        content=e.EnquiryContent(need_code="HOU.EMG", country="CR", department="CR-G")
    )
    assert Form(client.get(f"/referrals/new?enquiry={ID}").text).said["country"] == "CR", (
        "otherwise the place in her file would be in no country"
    )


def test_an_attribute_that_makes_her_recognisable_is_named_and_left_out_with_one_press(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["PreviewEnquiry"] = e.EnquiryPreview(
        service_count=1, few=True, coarser_attribute=e.ENQUIRY_ATTRIBUTE_DEPARTMENT
    )
    _, page, _ = post(client, **ASKED)
    assert 0 < page.index("podría reconocerla") < page.index("Preguntar ahora"), (
        "the warning is read before the button is pressed"
    )
    assert 'name="drop" value="department"' in page
    _, page, _ = post(client, **ASKED, drop="department")
    assert played.last("PreviewEnquiry").content.department == ""
    assert "department" not in Form(page).said
    post(client, **ASKED, gender_code="Feminine", drop="gender")
    assert played.last("PreviewEnquiry").content.gender_code == 0


def test_an_enquiry_is_sent_with_all_answers_and_without_those_whom_she_named(
    played: PlayedServices, client: FlaskClient
) -> None:
    status, _, location = post(
        client, **ASKED, contact_id=ID, excluded_organization_ids=OTHER, keep_unused="1", sure="1"
    )
    assert (status, location) == (303, f"/enquiries/{ID}?done=asked")
    request = played.last("CreateEnquiry")
    assert (request.contact_id, list(request.excluded_organization_ids), request.keep_unused) == (
        ID,
        [OTHER],
        True,
    )
    assert request.request_id == "once"


def test_nobody_is_asked_where_she_is_not_safe_and_going_back_does_not_forget_it(
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
    _, page, _ = post(client, **ASKED)
    assert 'name="unsafe_departments" value="NI-LE"' in page
    assert list(played.last("MatchServices").excluded_areas) == []
    _, page, _ = post(client, **ASKED, unsafe_departments="NI-LE")
    assert list(played.last("MatchServices").excluded_areas) == ["NI-LE"]
    assert Form(page).said["unsafe_departments"] == "NI-LE"
    named = {"unsafe_departments": "NI-LE", "excluded_organization_ids": OTHER}
    for page in (
        post(client, **ASKED, **named, back="1")[1],
        post(client, need_code="", **named)[1],
    ):
        assert {name: Form(page).said[name] for name in named} == named
    played.answers["PreviewEnquiry"] = e.EnquiryPreview()
    _, page, _ = post(client, **ASKED, **named)
    assert {name: Form(page).said[name] for name in named} == named, (
        "the answers are kept even if nobody is left to be asked"
    )


def test_d23_the_question_is_visible_needs_an_answer_and_loses_nothing(
    played: PlayedServices, client: FlaskClient
) -> None:
    form = client.get("/enquiries/new").text
    folded = re.sub(r"<details.*?</details>", "", form, flags=re.DOTALL)
    assert "<legend>¿Con quién o dónde no está a salvo?" in folded
    unanswered = {name: value for name, value in ASKED.items() if name != "unsafe_code"}
    status, page, _ = post(client, **unanswered, sure="1")
    assert (status, 'id="unsafe_code-error"' in page) == (422, True)
    assert {name: Form(page).said[name] for name in unanswered} == unanswered
    status, page, _ = post(client, **{**ASKED, "unsafe_code": "named"})
    assert (
        status,
        "No preguntar a" in re.sub(r"<details.*?</details>", "", page, flags=re.DOTALL),
    ) == (200, True)
    status, page, _ = post(client, **{**ASKED, "unsafe_code": "named"}, sure="1")
    assert (
        status,
        'id="excluded_organization_ids-error"' in page,
        Form(page).said["department"],
    ) == (422, True, "NI-CI")
    assert not [rpc for rpc, _, _ in played.asked if rpc == "CreateEnquiry"]
    status, _, _ = post(client, **{**ASKED, "unsafe_code": "not_alone"}, sure="1")
    assert (status, played.last("CreateEnquiry").unsafe_code) == (303, r.UNSAFE_ANSWER_NOT_ALONE)
    status, _, _ = post(
        client, **ASKED, excluded_organization_ids=OTHER, unsafe_departments="NI-LE", sure="1"
    )
    request = played.last("CreateEnquiry")
    assert (status, request.unsafe_code, list(request.unsafe_departments)) == (
        303,
        r.UNSAFE_ANSWER_NAMED,
        ["NI-LE"],
    )


def test_d23_she_can_name_an_organisation_that_does_not_give_this_help(
    played: PlayedServices, client: FlaskClient
) -> None:
    clinic = d.Service(
        id=ID, organization_id="f" * 32, organization_name="Clínica San José", department="NI-LE"
    )
    played.answers["SearchServices"] = d.SearchServicesResponse(services=[clinic])
    # a typed name is searched for first
    for pressed in ({"unsafe_look": "1"}, {"sure": "1"}):
        status, page, _ = post(client, **ASKED, **pressed, unsafe_search="san josé")
        assert (status, played.last("SearchServices").words) == (200, "san josé")
        assert f'name="excluded_organization_ids" value="{"f" * 32}"' in page
    assert not [rpc for rpc, _, _ in played.asked if rpc == "CreateEnquiry"]
    named = played.answers["BatchGet"]
    assert isinstance(named, d.BatchGetResponse)
    named.organizations.append(d.Organization(id="f" * 32, name="Clínica San José"))
    _, page, _ = post(client, **ASKED, excluded_organization_ids="f" * 32)
    assert (Form(page).said["excluded_organization_ids"], "Clínica San José" in page) == (
        "f" * 32,
        True,
    )
    values = Form(page).said | {"sure": "1"}
    assert client.post("/enquiries/new", data=values).status_code == 303
    assert list(played.last("CreateEnquiry").excluded_organization_ids) == ["f" * 32]


@pytest.mark.parametrize(
    ("many", "request_fields", "more"), [(50, 50, False), (51, 50, True), (100, 50, True)]
)
def test_the_page_says_so_when_more_services_fit_than_one_enquiry_asks(
    played: PlayedServices, client: FlaskClient, many: int, request_fields: int, more: bool
) -> None:
    matches = [
        d.Match(service=d.Service(id=f"{each:032x}", organization_id=OTHER), verdict=d.VERDICT_FITS)
        for each in range(many)
    ]
    played.answers["MatchServices"] = d.MatchServicesResponse(matches=matches)
    _, page, _ = post(client, **ASKED)
    assert len(played.last("PreviewEnquiry").service_ids) == request_fields
    assert ("Encajan más servicios de los que caben en una consulta" in page) == more


def test_the_page_says_so_when_no_service_fits_and_asks_nobody(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["MatchServices"] = d.MatchServicesResponse()
    _, page, _ = post(client, **ASKED)
    assert "No hay a quién preguntar" in page
    assert "Preguntar ahora" not in page


def test_a_refusal_is_shown_on_the_form_and_nothing_is_lost(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["CreateEnquiry"] = errors.Conflict("too_many_enquiries")
    status, page, _ = post(client, **ASKED, sure="1")
    assert status == 422
    assert "demasiadas consultas" in page
    assert Form(page).said["department"] == "NI-CI"


def test_an_asked_member_answers_with_one_press_and_a_no_has_a_reason(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["GetEnquiry"] = enquiry(
        r.SIDE_RECEIVER, offers=[e.Offer(service_id=ID, organization_id=ID)]
    )
    page = client.get(f"/enquiries/{ID}").text
    assert "No se dice quién es ni quién pregunta." in page
    assert 'name="answer" value="yes"' in page
    assert '<button class="second" name="reason_code" value="no_capacity">' in page, (
        "three taps: open, no, reason"
    )
    status, _, location = post(
        client, f"/enquiries/{ID}/answer", service_id=ID, answer="yes", etag="v3"
    )
    assert (status, location) == (303, f"/enquiries/{ID}?done=answered")
    assert played.last("AnswerEnquiry").answer == e.OFFER_ANSWER_YES
    status, page, _ = post(client, f"/enquiries/{ID}/answer", service_id=ID, answer="no", etag="v3")
    assert status == 422
    assert 'id="reason_code-error"' in page
    post(
        client,
        f"/enquiries/{ID}/answer",
        service_id=ID,
        answer="no",
        reason_code="no_capacity",
        etag="v3",
    )
    assert played.last("AnswerEnquiry").reason_code == r.DECLINE_REASON_NO_CAPACITY


@pytest.mark.parametrize(
    "answer",
    [
        e.OFFER_ANSWER_UNSPECIFIED,
        e.OFFER_ANSWER_YES,
        e.OFFER_ANSWER_MAYBE,
        e.OFFER_ANSWER_WAITLIST,
        e.OFFER_ANSWER_NO,
    ],
)
def test_a_member_that_offered_help_reads_what_happens_next(
    answer: e.OfferAnswer.ValueType, played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["GetEnquiry"] = e.Enquiry(
        id=ID,
        state=e.ENQUIRY_STATE_OPEN,
        side=r.SIDE_RECEIVER,
        offers=[e.Offer(service_id=OTHER, organization_id=OTHER, answer=answer)],
    )
    page = client.get(f"/enquiries/{ID}").text
    offered = answer not in (e.OFFER_ANSWER_UNSPECIFIED, e.OFFER_ANSWER_NO)
    assert ("Hasta entonces no viene nadie." in page) == offered
    assert ("¿Podrían ayudarla?" in page) == (not offered)


def test_an_answer_after_an_offer_was_taken_is_refused_with_that_reason(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["AnswerEnquiry"] = errors.Conflict("enquiry_taken")
    status, page, _ = post(
        client, f"/enquiries/{ID}/answer", service_id=ID, answer="yes", etag="v3"
    )
    assert status == 422
    assert "Ya se tomó un ofrecimiento" in page


def test_an_asker_whose_enquiry_was_closed_by_its_deadline_is_not_told_that_nothing_is_missing(
    played: PlayedServices, client: FlaskClient
) -> None:
    again = f'href="/enquiries/new?person={OTHER}"'
    for reason, offered in (
        ("not_taken", True),
        ("not_referred", True),
        ("offer_gone", True),
        ("by_asker", False),
    ):
        played.answers["GetEnquiry"] = enquiry(
            state=e.ENQUIRY_STATE_CANCELLED, reason_code=reason, person_id=OTHER
        )
        played.answers["TakeOffer"] = errors.Conflict("enquiry_cancelled")
        status, page, _ = post(client, f"/enquiries/{ID}/take", service_id=ID, answer="yes")
        assert (status, again in page) == (422, offered)
        assert "por ella ya no llega nadie" in page
        assert "No hace falta nada más" not in page


def test_a_blanked_enquiry_is_shown_as_closed_and_with_nothing_more(
    played: PlayedServices, client: FlaskClient
) -> None:
    closed = enquiry(
        r.SIDE_RECEIVER,
        state=e.ENQUIRY_STATE_MATCHED,
        offers=[e.Offer(service_id=ID, organization_id=ID)],
    )
    closed.ClearField("content")
    played.answers["GetEnquiry"] = closed
    page = client.get(f"/enquiries/{ID}").text
    assert "Ya no hace falta responder" in page
    assert 'name="answer"' not in page
    assert "Albergue de emergencia" not in page


def test_a_service_that_offered_help_reads_that_nobody_comes_after_all(
    played: PlayedServices, client: FlaskClient
) -> None:
    offers = [
        e.Offer(service_id=ID, organization_id=ID, answer=e.OFFER_ANSWER_NO),
        e.Offer(service_id=OTHER, organization_id=ID, answer=e.OFFER_ANSWER_WAITLIST),
    ]
    for state in (e.ENQUIRY_STATE_CANCELLED, e.ENQUIRY_STATE_MATCHED):
        closed = enquiry(r.SIDE_RECEIVER, state=state, offers=offers)
        played.answers["GetEnquiry"] = closed
        assert "ya no llega nadie: no guarde el lugar" in client.get(f"/enquiries/{ID}").text
    closed.taken_service_id = OTHER
    assert "no guarde el lugar" not in client.get(f"/enquiries/{ID}").text


def test_a_person_with_a_file_gets_a_draft_at_once_and_others_are_asked_about_safe_contact(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["GetEnquiry"] = enquiry(
        person_id=ID, taken_service_id=ID, state=e.ENQUIRY_STATE_MATCHED
    )
    status, _, location = post(client, f"/enquiries/{ID}/refer")
    assert (status, location.startswith(f"/referrals/{ID}/")) == (303, True)
    assert f'action="/enquiries/{ID}/cancel"' in client.get(f"/enquiries/{ID}").text, (
        "a taken offer that is no longer needed is given back"
    )
    request = played.last("CreateReferral")
    assert (request.person_id, request.enquiry_id) == (ID, ID)
    unsafe_code = r.UNSAFE_ANSWER_NOTHING
    played.answers["GetEnquiry"] = enquiry(
        taken_service_id=ID, state=e.ENQUIRY_STATE_MATCHED, unsafe_code=unsafe_code
    )
    assert post(client, f"/enquiries/{ID}/refer")[2] == f"/referrals/new?enquiry={ID}"
    page = client.get(f"/referrals/new?enquiry={ID}").text
    assert "Pregunta 1 de 1" in page
    fields = Form(page).said
    assert (fields["enquiry"], fields["need_code"], fields["urgency"], fields["age_band"]) == (
        ID,
        "HOU.EMG",
        "immediate",
        "18-24",
    )


def test_the_questions_continue_without_an_enquiry_that_was_closed_meanwhile(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["GetEnquiry"] = enquiry(taken_service_id=ID, state=e.ENQUIRY_STATE_MATCHED)
    fields = Form(client.get(f"/referrals/new?enquiry={ID}").text).said
    played.answers["GetEnquiry"] = enquiry(state=e.ENQUIRY_STATE_CANCELLED)
    answer = client.post("/referrals/new", data=fields | {"nobody_calls": "1"})
    assert answer.status_code == 422
    assert "Esta consulta se canceló" in answer.text
    stored = Form(answer.text).said
    assert (stored["need_code"], stored["channel_code"], "enquiry" in stored) == (
        "HOU.EMG",
        "none",
        False,
    )
    assert not [name for name, *_ in played.asked if name in ("CreatePerson", "CreateReferral")]


def test_a_second_tab_leads_to_the_draft_that_follows_the_enquiry_already(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["GetEnquiry"] = enquiry(
        taken_service_id=ID, state=e.ENQUIRY_STATE_MATCHED, referral_id=OTHER
    )
    answer = client.get(f"/referrals/new?enquiry={ID}")
    assert answer.headers["Location"] == f"/referrals/{OTHER}"


@pytest.mark.parametrize("page", ["/today", "/enquiries?box=asked"])
def test_an_own_enquiry_is_listed_until_a_referral_follows_it_and_none_is_fetched_after_that(
    played: PlayedServices, client: FlaskClient, page: str
) -> None:
    unanswered, taken, followed = "1" * 32, "2" * 32, "3" * 32

    def listed(request: e.ListEnquiriesRequest) -> e.ListEnquiriesResponse:
        if request.box == e.ENQUIRY_BOX_RECEIVED:
            return e.ListEnquiriesResponse()
        sender, matched = r.TURN_SENDER, e.ENQUIRY_STATE_MATCHED
        rows = [
            enquiry(id=unanswered, turn=r.TURN_RECEIVER),
            enquiry(id=taken, state=matched, taken_service_id=ID, turn=sender),
        ]
        if not request.live:
            rows.append(enquiry(id=followed, state=matched, referral_id=ID))
        return e.ListEnquiriesResponse(enquiries=rows)

    played.answers["ListEnquiries"] = listed
    page_text = client.get(page).text
    assert [f"/enquiries/{each}" in page_text for each in (unanswered, taken, followed)] == [
        True,
        True,
        False,
    ]


def test_a_message_about_an_enquiry_leads_to_it(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["ListMessages"] = n.ListMessagesResponse(
        messages=[n.Message(id=ID, kind="enquiry_opened", text="Preguntan.", enquiry_id=OTHER)]
    )
    assert f'name="enquiry" value="{OTHER}"' in client.get("/inbox").text
    assert post(client, f"/inbox/{ID}/read", enquiry=OTHER)[2] == f"/enquiries/{OTHER}"


def test_an_unavailable_service_is_reported_and_not_shown_as_a_broken_preview(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["PreviewEnquiry"] = errors.Unavailable("store_unavailable")
    assert post(client, **ASKED)[0] == 503


def test_b9_an_enquiry_that_is_less_urgent_than_its_contact_comes_back_asking_why(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["CreateEnquiry"] = errors.Invalid(("urgency_reason_code", "required"))
    fields = {
        "need_code": "HOU.EMG",
        "urgency": "normal",
        "unsafe_code": "nothing",
        "contact_id": ID,
        "sure": "1",
    }
    status, text, _location = post(client, "/enquiries/new", **fields)
    assert (status, 'href="#urgency_reason_code"' in text, 'value="normal" checked' in text) == (
        422,
        True,
        True,
    )
    played.answers["CreateEnquiry"] = enquiry()
    assert post(client, "/enquiries/new", urgency_reason_code="safe_elsewhere", **fields)[0] == 303
    assert played.last("CreateEnquiry").urgency_reason_code == r.URGENCY_REASON_SAFE_ELSEWHERE
