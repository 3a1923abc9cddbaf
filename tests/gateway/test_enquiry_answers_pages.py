"""The pages of an enquiry that was sent: the answers, and the way to the referral."""

import pytest
from flask.testing import FlaskClient

from chassis import errors
from protos.notifications.v1 import notifications_pb2 as n
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import referrals_pb2 as r
from tests.gateway.page_forms import sent_fields
from tests.gateway.pages_gateway import ID, FakePageServices, missing, send, submit

OTHER_ID = "b" * 32
ENQUIRY = f"/enquiries/{ID}"
MATCHED = e.ENQUIRY_STATE_MATCHED


def enquiry(side: r.Side.ValueType = r.SIDE_SENDER, **fields: object) -> e.Enquiry:
    """Returns an open enquiry as the asker, or as a member that is asked, sees it."""
    values = {
        "id": ID,
        "etag": "v3",
        "code": "K7M2QX",
        "state": e.ENQUIRY_STATE_OPEN,
        "side": side,
        "content": e.EnquiryContent(
            need_code="HOU.EMG", urgency=r.URGENCY_IMMEDIATE, age_band=r.AGE_BAND_18_TO_24
        ),
        **fields,
    }
    return e.Enquiry(**values)  # type: ignore[arg-type]


def test_an_asked_member_answers_with_one_press_and_a_no_has_a_reason(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetEnquiry"] = enquiry(
        r.SIDE_RECEIVER, offers=[e.Offer(service_id=ID, organization_id=ID, holds_content=True)]
    )
    page = client.get(ENQUIRY).text
    assert "No se dice quién es ni quién pregunta." in page
    assert 'name="answer" value="yes"' in page
    assert '<button class="second" name="reason_code" value="no_capacity">' in page, (
        "three taps: open, no, reason"
    )
    yes_answer = send(client, ENQUIRY, f"{ENQUIRY}/answer", service_id=ID, answer="yes")
    assert (yes_answer.status_code, yes_answer.location) == (303, f"{ENQUIRY}?done=answered")
    assert fakes.last("AnswerEnquiry").answer == e.OFFER_ANSWER_YES
    no_fields = {"service_id": ID, "answer": "no"}
    usual_answer = fakes.answers["AnswerEnquiry"]
    fakes.answers["AnswerEnquiry"] = errors.Invalid(("reason_code", "required"))
    response = send(client, ENQUIRY, f"{ENQUIRY}/answer", **no_fields)
    assert (response.status_code, 'id="reason_code-error"' in response.text) == (422, True)
    fakes.answers["AnswerEnquiry"] = usual_answer
    send(client, ENQUIRY, f"{ENQUIRY}/answer", **no_fields, reason_code="no_capacity")
    assert fakes.last("AnswerEnquiry").reason_code == r.DECLINE_REASON_NO_CAPACITY


def test_only_a_service_that_is_still_asked_has_a_form_for_its_answer(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    ended_offer = e.Offer(service_id=OTHER_ID, organization_id=ID, answer=e.OFFER_ANSWER_NO)
    open_offer = e.Offer(service_id=ID, organization_id=ID, holds_content=True)
    fakes.answers["GetEnquiry"] = enquiry(r.SIDE_RECEIVER, offers=[ended_offer, open_offer])
    page = client.get(ENQUIRY).text
    assert (f'id="no-{ID}"' in page, f'id="no-{OTHER_ID}"' in page) == (True, False)


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
def test_only_a_member_that_offered_help_reads_what_happens_next(
    answer: e.OfferAnswer.ValueType, fakes: FakePageServices, client: FlaskClient
) -> None:
    offer = e.Offer(
        service_id=OTHER_ID, organization_id=OTHER_ID, answer=answer, holds_content=True
    )
    fakes.answers["GetEnquiry"] = enquiry(r.SIDE_RECEIVER, offers=[offer])
    page = client.get(ENQUIRY).text
    has_offered = answer not in (e.OFFER_ANSWER_UNSPECIFIED, e.OFFER_ANSWER_NO)
    assert ("Hasta entonces no viene nadie." in page, "¿Podrían ayudarla?" in page) == (
        has_offered,
        not has_offered,
    )


def test_an_answer_after_an_offer_was_taken_is_refused_with_that_reason(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["AnswerEnquiry"] = errors.Conflict("enquiry_taken")
    response = send(client, ENQUIRY, f"{ENQUIRY}/answer", service_id=ID, answer="yes")
    assert (response.status_code, "Ya se tomó un ofrecimiento" in response.text) == (422, True)


@pytest.mark.parametrize(
    ("reason", "may_ask_again"),
    [("not_taken", True), ("not_referred", True), ("offer_gone", True), ("by_asker", False)],
)
def test_a_cancelled_enquiry_says_that_nobody_comes_and_may_be_asked_again_unless_she_ended_it(
    reason: str, may_ask_again: bool, fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers |= {
        "GetEnquiry": enquiry(
            state=e.ENQUIRY_STATE_CANCELLED, reason_code=reason, person_id=OTHER_ID
        ),
        "TakeOffer": errors.Conflict("enquiry_cancelled"),
    }
    response = send(client, ENQUIRY, f"{ENQUIRY}/take", service_id=ID, answer="yes")
    assert response.status_code == 422
    assert (
        f'href="/enquiries/new?enquiry={ID}&amp;person={OTHER_ID}"' in response.text,
        "por ella ya no llega nadie" in response.text,
        "No hace falta nada más" in response.text,
    ) == (may_ask_again, True, False)


def test_an_enquiry_without_its_content_is_shown_as_closed(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    offer = e.Offer(service_id=ID, organization_id=ID)
    closed_enquiry = enquiry(r.SIDE_RECEIVER, state=MATCHED, offers=[offer])
    closed_enquiry.ClearField("content")
    fakes.answers["GetEnquiry"] = closed_enquiry
    page = client.get(ENQUIRY).text
    assert missing(
        page, "Ya no hace falta responder", 'name="answer"', "Albergue de emergencia"
    ) == ['name="answer"', "Albergue de emergencia"]


def test_a_service_that_offered_help_reads_that_nobody_comes_after_all(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    offers = [
        e.Offer(service_id=ID, organization_id=ID, answer=e.OFFER_ANSWER_NO),
        e.Offer(service_id=OTHER_ID, organization_id=ID, answer=e.OFFER_ANSWER_WAITLIST),
    ]
    for state in (e.ENQUIRY_STATE_CANCELLED, MATCHED):
        closed_enquiry = enquiry(r.SIDE_RECEIVER, state=state, offers=offers)
        fakes.answers["GetEnquiry"] = closed_enquiry
        assert "ya no llega nadie: no guarde el lugar" in client.get(ENQUIRY).text
    closed_enquiry.taken_service_id = OTHER_ID
    assert "no guarde el lugar" not in client.get(ENQUIRY).text


def test_a_service_whose_referral_has_ended_does_not_read_that_a_referral_is_coming(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    offer = e.Offer(service_id=ID, organization_id=ID, answer=e.OFFER_ANSWER_YES)
    closed_enquiry = enquiry(r.SIDE_RECEIVER, state=MATCHED, offers=[offer], taken_service_id=ID)
    fakes.answers["GetEnquiry"] = closed_enquiry
    assert "La remisión llega" in client.get(ENQUIRY).text
    closed_enquiry.ClearField("content")
    assert missing(client.get(ENQUIRY).text, "La remisión llega", "esta consulta se borró") == [
        "La remisión llega"
    ]


def test_a_person_with_a_file_gets_a_draft_at_once_and_others_are_asked_about_safe_contact(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetEnquiry"] = enquiry(person_id=ID, taken_service_id=ID, state=MATCHED)
    refer_answer = send(client, ENQUIRY, f"{ENQUIRY}/refer")
    assert (refer_answer.status_code, refer_answer.location.startswith(f"/referrals/{ID}/")) == (
        303,
        True,
    )
    assert f'action="{ENQUIRY}/cancel"' in client.get(ENQUIRY).text, (
        "a taken offer that is no longer needed is given back"
    )
    request = fakes.last("CreateReferral")
    assert (request.person_id, request.enquiry_id) == (ID, ID)
    fakes.answers["GetEnquiry"] = enquiry(
        taken_service_id=ID, state=MATCHED, unsafe_code=r.UNSAFE_ANSWER_NOTHING
    )
    questions = f"/referrals/new?enquiry={ID}"
    assert send(client, ENQUIRY, f"{ENQUIRY}/refer").location == questions
    page = client.get(questions).text
    assert "Pregunta 1 de 1" in page
    expected = {"enquiry": ID, "need_code": "HOU.EMG", "urgency": "immediate", "age_band": "18-24"}
    assert expected.items() <= sent_fields(page).items()


def test_the_questions_continue_without_an_enquiry_that_was_closed_meanwhile(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetEnquiry"] = enquiry(taken_service_id=ID, state=MATCHED)
    fields = sent_fields(client.get(f"/referrals/new?enquiry={ID}").text)
    fakes.answers["GetEnquiry"] = enquiry(state=e.ENQUIRY_STATE_CANCELLED)
    response = client.post("/referrals/new", data=fields | {"nobody_calls": "1"})
    assert (response.status_code, "Esta consulta se canceló" in response.text) == (422, True)
    response_fields = sent_fields(response.text)
    assert (
        response_fields["need_code"],
        response_fields["channel_code"],
        "enquiry" in response_fields,
    ) == ("HOU.EMG", "none", False)
    assert fakes.requests("CreatePerson") + fakes.requests("CreateReferral") == []


def test_a_second_tab_leads_to_the_draft_that_already_follows_the_enquiry(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    followed_enquiry = enquiry(taken_service_id=ID, state=MATCHED, referral_id=OTHER_ID)
    fakes.answers["GetEnquiry"] = followed_enquiry
    assert client.get(f"/referrals/new?enquiry={ID}").location == f"/referrals/{OTHER_ID}"
    page = client.get("/account").text  # the second tab was opened before the draft
    followed_enquiry.person_id = ID
    fakes.answers["GetReferral"] = r.Referral(id=OTHER_ID, state=r.STATE_DRAFT)
    second_tab = submit(client, f"{ENQUIRY}/refer", page)
    assert second_tab.location == f"/referrals/{OTHER_ID}/need"
    assert fakes.requests("CreateReferral") == []


@pytest.mark.parametrize("page", ["/today", "/enquiries?box=asked"])
def test_the_askers_enquiry_is_listed_until_a_referral_follows_it(
    fakes: FakePageServices, client: FlaskClient, page: str
) -> None:
    unanswered_enquiry = enquiry(id="1" * 32, turn=r.TURN_RECEIVER)
    taken_enquiry = enquiry(id="2" * 32, state=MATCHED, taken_service_id=ID, turn=r.TURN_SENDER)
    followed_enquiry = enquiry(id="3" * 32, state=MATCHED, referral_id=ID)

    def list_enquiries(request: e.ListEnquiriesRequest) -> e.ListEnquiriesResponse:
        if request.box == e.ENQUIRY_BOX_RECEIVED:
            return e.ListEnquiriesResponse()
        rows = (
            [unanswered_enquiry, taken_enquiry]
            if request.live
            else [unanswered_enquiry, taken_enquiry, followed_enquiry]
        )
        return e.ListEnquiriesResponse(enquiries=rows)

    fakes.answers["ListEnquiries"] = list_enquiries
    text = client.get(page).text
    assert [
        f"/enquiries/{row.id}" in text
        for row in (unanswered_enquiry, taken_enquiry, followed_enquiry)
    ] == [True, True, False]


def test_a_message_about_an_enquiry_leads_to_it(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["ListMessages"] = n.ListMessagesResponse(
        messages=[n.Message(id=ID, kind="enquiry_opened", text="Preguntan.", enquiry_id=OTHER_ID)]
    )
    assert f'name="enquiry" value="{OTHER_ID}"' in client.get("/inbox").text
    response = send(client, "/inbox", f"/inbox/{ID}/read", enquiry=OTHER_ID)
    assert response.location == f"/enquiries/{OTHER_ID}"
