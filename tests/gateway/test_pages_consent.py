"""The three pages on which a consent is recorded, one after another.

No answer is filled in before the person answers, and the receipt contains only her answers.
"""

import re

import pytest
from flask.testing import FlaskClient
from google.protobuf.timestamp_pb2 import Timestamp
from werkzeug.datastructures import MultiDict
from werkzeug.test import TestResponse

from chassis import errors
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.site.language import vocabulary
from tests.gateway.pages_gateway import ID, FakePageServices, missing, send, signed_in_as

FUTURE = Timestamp(seconds=4_000_000_000)
PAST = Timestamp(seconds=1_180_000_000)
EXPLAINED_CODES = list(vocabulary.TABLES["explained"])
NO_TO_ALL = {f"answer_{group}": "no" for group in vocabulary.TABLES["field_group"]}
ANSWERS = {**NO_TO_ALL, "answer_identity": "yes", "answer_health": "yes"}
LAST_ANSWERS = {
    "giver_code": "person",
    "assent_code": "given",
    "manner_code": "spoken",
    "in_private": "1",
    "until_time": "2027-02-01",
}
CONSENT = f"/referrals/{ID}/consent"


def hidden_fields(page: str) -> MultiDict[str, str]:
    """Returns the hidden fields of the form on a page of the consent."""
    form = next(
        form
        for form in re.findall(r'<form method="post".*?</form>', page, re.DOTALL)
        if 'name="recipient"' in form
    )
    return MultiDict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', form))


def send_page(client: FlaskClient, page: TestResponse, **fields: object) -> TestResponse:
    """Sends the page as a browser would, with these fields filled in."""
    data = hidden_fields(page.text)
    for name, value in fields.items():
        data.setlist(name, value if isinstance(value, list) else [str(value)])
    return client.post(CONSENT, data=data)


def second_page(client: FlaskClient) -> TestResponse:
    """Returns the page that asks for the purposes, and for a yes or no to each group of data."""
    return send_page(client, client.get(CONSENT), explained_codes=EXPLAINED_CODES)


def last_page(client: FlaskClient) -> TestResponse:
    """Returns the page that asks who gave the consent, and how."""
    return send_page(client, second_page(client), purpose_codes="HOU", **ANSWERS)


def ticked_count(page: TestResponse) -> int:
    return len(re.findall(r"<input[^>]* checked", page.text))


def choices_of(page: TestResponse, name: str) -> list[str]:
    """Returns the choices of a question."""
    return re.findall(rf'name="{name}" value="(\w+)"', page.text)


def set_draft(fakes: FakePageServices, age: r.AgeBand.ValueType) -> None:
    """Sets the referral to a draft for a person of this age."""
    fakes.answers["GetReferral"] = r.Referral(
        id=ID,
        etag="1",
        state=r.STATE_DRAFT,
        person_id=ID,
        service_id=ID,
        person=r.CoarsePerson(age_band=age),
    )


def test_a_consent_is_stored_as_given_and_only_on_the_last_of_three_pages(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    points_page = client.get(CONSENT)
    answers_page = send_page(client, points_page, explained_codes=EXPLAINED_CODES)
    manner_page = send_page(client, answers_page, purpose_codes="HOU.EMG", **ANSWERS)
    assert [
        (page.status_code, ticked_count(page)) for page in (points_page, answers_page, manner_page)
    ] == [(200, 0)] * 3, "nothing is ticked before she answers"
    assert fakes.requests("CreateReceipt") + fakes.requests("UpdateReferral") == []
    assert send_page(client, manner_page, **LAST_ANSWERS).location == f"/referrals/{ID}/check"
    receipt = fakes.last("CreateReceipt").receipt
    assert list(receipt.field_groups) == [p.FIELD_GROUP_IDENTITY, p.FIELD_GROUP_HEALTH]
    assert {number for number in p.Explained.values() if number} == set(receipt.explained_codes)
    assert (receipt.giver_code, receipt.manner_code, receipt.in_private) == (
        p.GIVER_PERSON,
        p.MANNER_SPOKEN,
        True,
    )
    assert (receipt.recipient_organization_id, list(receipt.purpose_codes)) == (ID, ["HOU.EMG"])
    assert receipt.until_time.ToJsonString() == "2027-02-02T05:59:00Z", "the whole day in Managua"
    assert fakes.last("UpdateReferral").update_mask.paths == ["receipt_id"]
    send_page(client, manner_page, **LAST_ANSWERS)
    first_request, second_request = fakes.requests("CreateReceipt")
    assert first_request.request_id == second_request.request_id, (
        "the form sent twice makes one receipt"
    )


def test_a_point_that_was_not_explained_is_named_and_the_others_stay_ticked(
    client: FlaskClient,
) -> None:
    response = send_page(client, client.get(CONSENT), explained_codes=EXPLAINED_CODES[1:])
    named_points = re.findall(r'href="#point_(\w+)"', response.text)
    assert (response.status_code, named_points, ticked_count(response)) == (
        422,
        [EXPLAINED_CODES[0]],
        6,
    )


def test_every_group_of_fields_has_to_be_answered_yes_or_no(client: FlaskClient) -> None:
    answers = {"answer_identity": "yes", "answer_health": "no"}
    response = send_page(client, second_page(client), purpose_codes="HOU", **answers)
    unanswered_fields = set(re.findall(r'href="#(answer_\w+)"', response.text))
    assert (response.status_code, unanswered_fields, ticked_count(response)) == (
        422,
        NO_TO_ALL.keys() - answers.keys(),
        2,
    )


def test_the_no_to_the_rest_button_sets_every_unanswered_group_to_no(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    manner_page = send_page(
        client,
        second_page(client),
        purpose_codes="HOU",
        answer_identity="yes",
        answer_health="no",
        no_to_the_rest="1",
    )
    assert manner_page.status_code == 200
    send_page(client, manner_page, **LAST_ANSWERS)
    assert list(fakes.last("CreateReceipt").receipt.field_groups) == [p.FIELD_GROUP_IDENTITY]


def test_a_person_who_says_yes_to_nothing_gives_no_consent_and_can_still_be_helped(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    answers_page = second_page(client)
    for answers in ({"no_to_the_rest": "1"}, NO_TO_ALL):
        response = send_page(client, answers_page, purpose_codes="HOU", **answers)
        assert "Sin su permiso no se envía nada; puede recibir ayuda igual." in response.text
    previous_page = send_page(client, response, back="1")
    assert ticked_count(previous_page) == len(NO_TO_ALL), "her answers can be changed"
    assert fakes.requests("CreateReceipt") == []


@pytest.mark.parametrize(
    ("confidential", "advice"),
    [(True, "no le diga dónde está"), (False, "Dele los datos del servicio")],
)
def test_a_person_who_does_not_consent_is_not_told_where_a_shelter_is(
    fakes: FakePageServices, client: FlaskClient, confidential: bool, advice: str
) -> None:
    fakes.answers["GetService"] = d.Service(
        id=ID, organization_id=ID, name="Casa segura", active=True, confidential=confidential
    )
    page = send_page(client, second_page(client), purpose_codes="HOU", no_to_the_rest="1").text
    assert advice in page
    assert ("Ver los datos del servicio" in page) != confidential


def test_going_back_keeps_the_answers_of_every_page(client: FlaskClient) -> None:
    answers_page = send_page(client, last_page(client), back="1", **LAST_ANSWERS)
    assert ticked_count(answers_page) == len(ANSWERS)
    points_page = send_page(client, answers_page, back="1", purpose_codes="HOU", **ANSWERS)
    assert ticked_count(points_page) == 7
    answers_page = send_page(client, points_page, explained_codes=EXPLAINED_CODES)
    manner_page = send_page(client, answers_page, purpose_codes="HOU", **ANSWERS)
    assert ticked_count(manner_page) == 4, (
        "giver, a child's assent, manner, and that nobody overheard it"
    )
    assert 'value="2027-02-01"' in manner_page.text


@pytest.mark.parametrize(
    ("answers", "field"),
    [({}, "point_uses"), ({"explained_codes": EXPLAINED_CODES}, "answer_identity")],
)
def test_no_page_can_be_skipped(
    answers: dict[str, object], field: str, fakes: FakePageServices, client: FlaskClient
) -> None:
    fields = hidden_fields(client.get(CONSENT).text).to_dict()
    response = client.post(CONSENT, data={**fields, "page": "manner", **LAST_ANSWERS, **answers})
    assert (response.status_code, f'href="#{field}"' in response.text) == (422, True)
    assert fakes.requests("CreateReceipt") == []


def test_how_the_consent_was_given_must_be_stated(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    response = send_page(client, last_page(client))
    assert response.status_code == 422
    assert re.findall(r'href="#(giver_code|manner_code)"', response.text) == [
        "giver_code",
        "manner_code",
    ], "in the order of the page"
    for text in ("marque quién lo da", "marque si fue de palabra o por escrito"):
        assert response.text.count(text) == 2, "in the list, and at the field"
    assert fakes.requests("CreateReceipt") == []


def test_an_explanation_about_one_organisation_is_no_consent_for_another(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    manner_page = last_page(client)
    fakes.answers["GetService"] = d.Service(id=ID, organization_id="b" * 32, name="Otro")
    response = send_page(client, manner_page, **LAST_ANSWERS)
    assert (
        response.status_code,
        "Cambió el servicio" in response.text,
        ticked_count(response),
    ) == (
        422,
        True,
        0,
    )
    assert fakes.requests("CreateReceipt") == []


def test_a_child_who_was_not_asked_needs_a_best_interest_decision_and_a_reason_for_no_assent(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    set_draft(fakes, r.AGE_BAND_0_TO_11)
    answers_page = send_page(client, client.get(CONSENT), unasked="1")
    manner_page = send_page(client, answers_page, purpose_codes="HOU", **ANSWERS)
    assert 'value="guardian"' not in manner_page.text
    fields = {"giver_code": "best_interest", "manner_code": "spoken"}
    assert send_page(client, manner_page, **fields).status_code == 422
    send_page(client, manner_page, **fields, assent_code="too_young")
    receipt = fakes.last("CreateReceipt").receipt
    assert (receipt.giver_code, receipt.assent_code, list(receipt.explained_codes)) == (
        p.GIVER_BEST_INTEREST,
        p.ASSENT_TOO_YOUNG,
        [],
    )


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        (errors.Invalid(("receipt.until_time", "out_of_range")), 'href="#until_time"'),
        (errors.Invalid(("receipt.explained_codes", "required")), "Léale esto"),
        (errors.Conflict("guardian_required"), "elija quién lo da: su madre, padre o tutor"),
    ],
)
def test_if_the_service_refuses_a_consent_the_page_that_has_the_mistake_is_shown_again(
    refusal: errors.Refusal, sentence: str, fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["CreateReceipt"] = refusal
    response = send_page(client, last_page(client), **LAST_ANSWERS)
    assert (response.status_code, sentence in response.text) == (422, True)


def test_reading_the_text_in_another_language_unticks_nothing(client: FlaskClient) -> None:
    page = send_page(client, client.get(CONSENT), explained_codes=EXPLAINED_CODES[:3], speak="fr")
    assert (page.status_code, "faire une pause" in page.text, ticked_count(page)) == (200, True, 3)
    assert "faire une pause" in send_page(client, page, explained_codes=EXPLAINED_CODES[:4]).text, (
        "the next page keeps the language"
    )


def test_only_existing_consents_that_the_service_lists_for_the_referral_are_offered(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["ListReceipts"] = p.ListReceiptsResponse(receipts=[p.Receipt(id="b" * 32)])
    page = client.get(CONSENT).text
    assert fakes.last("ListReceipts") == p.ListReceiptsRequest(person_id=ID, referral_id=ID)
    assert f'value="{"b" * 32}"' in page


def test_the_text_to_read_aloud_is_in_the_persons_language(client: FlaskClient) -> None:
    page = client.get(f"{CONSENT}?read=fr").text
    assert missing(page, '<html lang="es"', "faire une pause") == []
    assert [code for code in EXPLAINED_CODES if f'value="{code}"' not in page] == []


def test_sending_without_a_consent_says_what_is_missing_and_keeps_the_note(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["SendReferral"] = errors.Conflict("receipt_missing")
    response = send(client, f"/referrals/{ID}/check", note="Llega a las seis")
    assert response.status_code == 422
    assert missing(response.text, "Falta el consentimiento", "Llega a las seis") == []


def test_an_unknown_age_is_asked_for_and_a_rejected_form_keeps_its_answers(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    set_draft(fakes, r.AGE_BAND_UNSPECIFIED)
    manner_page = last_page(client)
    assert choices_of(manner_page, "adult_ground_code") == [
        "her_word",
        "document",
        "known_to_service",
        "unmistakable",
        "unknown",
    ]
    assert ticked_count(manner_page) == 0, "no ground for being an adult is preselected"
    for answers, field, count in (
        ({}, "adult_ground_code", 1),
        ({"giver_code": "guardian", "adult_ground_code": "unknown"}, "assent_code", 3),
    ):
        response = send_page(client, manner_page, manner_code="spoken", **answers)
        assert (
            response.status_code,
            f'href="#{field}"' in response.text,
            ticked_count(response),
        ) == (
            422,
            True,
            count,
        )
    send_page(client, manner_page, manner_code="spoken", adult_ground_code="document")
    receipt = fakes.last("CreateReceipt").receipt
    assert (receipt.adult_ground_code, receipt.giver_code) == (
        p.ADULT_GROUND_DOCUMENT,
        p.GIVER_PERSON,
    ), "an adult consents herself"


@pytest.mark.parametrize(
    ("age", "choices"),
    [
        (r.AGE_BAND_0_TO_11, ["given", "refused", "too_young"]),
        (r.AGE_BAND_12_TO_17, ["given", "refused"]),
        (r.AGE_BAND_25_TO_59, []),
    ],
)
def test_only_a_small_child_can_be_recorded_as_too_young(
    age: r.AgeBand.ValueType, choices: list[str], fakes: FakePageServices, client: FlaskClient
) -> None:
    set_draft(fakes, age)
    assert choices_of(last_page(client), "assent_code") == choices


def test_after_a_childs_refusal_the_page_states_the_only_decision_that_is_still_possible(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    set_draft(fakes, r.AGE_BAND_12_TO_17)
    fakes.answers["CreateReceipt"] = errors.Conflict("assent_required")
    response = send_page(
        client,
        last_page(client),
        giver_code="guardian",
        manner_code="spoken",
        assent_code="refused",
    )
    assert (response.status_code, ticked_count(response)) == (422, 3)
    assert "Contra su no, solo por su interés superior, entre dos." in response.text


def test_only_workers_who_may_override_are_offered_another_giver_for_an_adult(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    set_draft(fakes, r.AGE_BAND_25_TO_59)
    time_limit = "Si lo da otra persona por una adulta, termina a las 72 horas, sin esta fecha."
    manner_page = last_page(client)
    assert (
        choices_of(manner_page, "giver_code"),
        choices_of(manner_page, "giver_ground_code"),
        time_limit in manner_page.text,
    ) == (["person"], [], False)
    rescuer = signed_in_as(fakes, contract_pb2.ROLE_WORKER, contract_pb2.ROLE_EMERGENCY)
    manner_page = last_page(rescuer)
    assert (choices_of(manner_page, "giver_code"), time_limit in manner_page.text) == (
        ["person", "guardian", "authority"],
        True,
    )
    send_page(
        rescuer,
        manner_page,
        giver_code="authority",
        manner_code="written",
        giver_ground_code="court_order",
        until_time="2027-02-01",
    )
    receipt = fakes.last("CreateReceipt").receipt
    assert receipt.giver_ground_code == p.GIVER_GROUND_COURT_ORDER
    assert not receipt.HasField("until_time"), "the service sets the 72 hours"


def test_going_back_after_answering_no_to_the_rest_shows_each_answer(client: FlaskClient) -> None:
    manner = send_page(
        client, second_page(client), purpose_codes="HOU", answer_health="yes", no_to_the_rest="1"
    )
    previous_page = send_page(client, manner, back="1")
    refused_page = send_page(client, second_page(client), purpose_codes="HOU", no_to_the_rest="1")
    previous_page_after_refusal = send_page(client, refused_page, back="1")
    assert (ticked_count(previous_page), ticked_count(previous_page_after_refusal)) == (
        len(NO_TO_ALL),
        len(NO_TO_ALL),
    )
    assert re.findall(r'name="answer_(\w+)" value="yes"[^>]* checked', previous_page.text) == [
        "health"
    ]
