"""A consent, one page after the other.

No answer is filled in before the person answers, and the receipt holds only what she said.
"""

from __future__ import annotations

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
from tests.gateway.api_gateway import ID
from tests.gateway.pages_gateway import PlayedServices, enter, pages, signed_in
from tests.gateway.test_pages_flows import asked, send

LATER = Timestamp(seconds=4_000_000_000)


@pytest.fixture
def played() -> PlayedServices:
    return PlayedServices()


@pytest.fixture
def client(played: PlayedServices) -> FlaskClient:
    return enter(pages(played).test_client())


SEVEN = list(vocabulary.TABLES["explained"])
NO_TO_ALL = {f"answer_{group}": "no" for group in vocabulary.TABLES["field_group"]}
ANSWERS = {**NO_TO_ALL, "answer_identity": "yes", "answer_health": "yes"}
GIVEN = {
    "giver_code": "person",
    "assent_code": "given",
    "manner_code": "spoken",
    "in_private": "1",
    "until_time": "2027-02-01",
}
CONSENT = f"/referrals/{ID}/consent"


def hidden_fields(page: str) -> MultiDict[str, str]:
    """Returns the hidden fields of the one form of a page of the consent."""
    form = next(
        form
        for form in re.findall(r'<form method="post".*?</form>', page, re.DOTALL)
        if 'name="recipient"' in form
    )
    return MultiDict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', form))


def send_page(client: FlaskClient, page: TestResponse, **fields: object) -> TestResponse:
    """Sends the page with what is filled in, as a browser would."""
    data = hidden_fields(page.text)
    for name, value in fields.items():
        data.setlist(name, value if isinstance(value, list) else [str(value)])
    return client.post(CONSENT, data=data)


def ticked(page: TestResponse) -> int:
    return len(re.findall(r"<input[^>]* checked", page.text))


def test_a_consent_is_stored_as_given_and_only_on_the_last_of_three_pages(
    played: PlayedServices, client: FlaskClient
) -> None:
    first = client.get(CONSENT)
    second = send_page(client, first, explained_codes=SEVEN)
    third = send_page(client, second, purpose_codes="HOU.EMG", **ANSWERS)
    assert [page.status_code for page in (first, second, third)] == [200] * 3
    assert [ticked(page) for page in (first, second, third)] == [0] * 3, (
        "nothing is ticked before she answers"
    )
    assert (asked(played, "CreateReceipt"), asked(played, "UpdateReferral")) == (0, 0)
    answer = send_page(client, third, **GIVEN)
    assert answer.headers["Location"] == f"/referrals/{ID}/check"
    receipt = played.last("CreateReceipt").receipt
    assert list(receipt.field_groups) == [p.FIELD_GROUP_IDENTITY, p.FIELD_GROUP_HEALTH]
    assert {number for number in p.Explained.values() if number} == set(receipt.explained_codes)
    assert (receipt.giver_code, receipt.manner_code, receipt.in_private) == (
        p.GIVER_PERSON,
        p.MANNER_SPOKEN,
        True,
    )
    assert (receipt.recipient_organization_id, list(receipt.purpose_codes)) == (ID, ["HOU.EMG"])
    assert receipt.until_time.ToJsonString() == "2027-02-02T05:59:00Z", "the whole day in Managua"
    assert played.last("UpdateReferral").update_mask.paths == ["receipt_id"]
    send_page(client, third, **GIVEN)
    first_, again = [
        request.request_id for rpc, request, _ in played.asked if rpc == "CreateReceipt"
    ]
    assert first_ == again, "the form sent twice makes one receipt"


def test_a_point_that_was_not_explained_is_named_and_the_others_stay_ticked(
    played: PlayedServices, client: FlaskClient
) -> None:
    answer = send_page(client, client.get(CONSENT), explained_codes=SEVEN[1:])
    assert answer.status_code == 422
    assert f'href="#point_{SEVEN[0]}"' in answer.text
    assert f'href="#point_{SEVEN[1]}"' not in answer.text
    assert ticked(answer) == 6


def test_every_group_of_fields_has_to_be_answered_yes_or_no(client: FlaskClient) -> None:
    second = send_page(client, client.get(CONSENT), explained_codes=SEVEN)
    answer = send_page(
        client, second, purpose_codes="HOU", answer_identity="yes", answer_health="no"
    )
    assert answer.status_code == 422
    open_ = set(re.findall(r'href="#(answer_\w+)"', answer.text))
    assert open_ == NO_TO_ALL.keys() - {"answer_identity", "answer_health"}
    assert ticked(answer) == 2


def test_no_to_the_rest_answers_every_open_group_with_no(
    played: PlayedServices, client: FlaskClient
) -> None:
    second = send_page(client, client.get(CONSENT), explained_codes=SEVEN)
    third = send_page(
        client,
        second,
        purpose_codes="HOU",
        answer_identity="yes",
        answer_health="no",
        no_to_the_rest="1",
    )
    assert third.status_code == 200
    send_page(client, third, **GIVEN)
    assert list(played.last("CreateReceipt").receipt.field_groups) == [p.FIELD_GROUP_IDENTITY]


def test_a_no_to_everything_gives_no_consent(played: PlayedServices, client: FlaskClient) -> None:
    second = send_page(client, client.get(CONSENT), explained_codes=SEVEN)
    answer = send_page(client, second, purpose_codes="HOU", no_to_the_rest="1")
    assert "Sin su permiso no se envía nada" in answer.text
    assert asked(played, "CreateReceipt") == 0


def test_a_person_who_says_yes_to_nothing_gives_no_consent_and_can_still_be_helped(
    played: PlayedServices, client: FlaskClient
) -> None:
    second = send_page(client, client.get(CONSENT), explained_codes=SEVEN)
    answer = send_page(client, second, purpose_codes="HOU", **NO_TO_ALL)
    assert "Sin su permiso no se envía nada; puede recibir ayuda igual." in answer.text
    back = send_page(client, answer, back="1")
    assert ticked(back) == len(NO_TO_ALL), "her answers can be changed"
    assert asked(played, "CreateReceipt") == 0


def test_going_back_keeps_the_answers_of_every_page(client: FlaskClient) -> None:
    second = send_page(client, client.get(CONSENT), explained_codes=SEVEN)
    third = send_page(client, second, purpose_codes="HOU", **ANSWERS)
    second = send_page(client, third, back="1", **GIVEN)
    assert ticked(second) == len(ANSWERS)
    first = send_page(client, second, back="1", purpose_codes="HOU", **ANSWERS)
    assert ticked(first) == 7
    third = send_page(
        client, send_page(client, first, explained_codes=SEVEN), purpose_codes="HOU", **ANSWERS
    )
    assert ticked(third) == 4, "giver, a child's assent, manner, and that nobody listened"
    assert 'value="2027-02-01"' in third.text


def test_no_page_can_be_skipped(played: PlayedServices, client: FlaskClient) -> None:
    start = hidden_fields(client.get(CONSENT).text)
    for answers, missing in (({}, "point_uses"), ({"explained_codes": SEVEN}, "answer_identity")):
        answer = client.post(
            CONSENT, data={**start.to_dict(), "page": "manner", **GIVEN, **answers}
        )
        assert answer.status_code == 422
        assert f'href="#{missing}"' in answer.text
    assert asked(played, "CreateReceipt") == 0


def test_how_the_consent_was_given_must_be_stated(
    played: PlayedServices, client: FlaskClient
) -> None:
    second = send_page(client, client.get(CONSENT), explained_codes=SEVEN)
    answer = send_page(client, send_page(client, second, purpose_codes="HOU", **ANSWERS))
    assert answer.status_code == 422
    named = re.findall(r'href="#(\w+)"', answer.text)
    assert [name for name in named if name in ("giver_code", "manner_code")] == [
        "giver_code",
        "manner_code",
    ], "in the order of the page"
    for text in ("marque quién lo da", "marque si fue de palabra o por escrito"):
        assert answer.text.count(text) == 2, "in the list, and at the field"
    assert asked(played, "CreateReceipt") == 0


def test_an_explanation_about_one_organisation_is_no_consent_for_another(
    played: PlayedServices, client: FlaskClient
) -> None:
    second = send_page(client, client.get(CONSENT), explained_codes=SEVEN)
    third = send_page(client, second, purpose_codes="HOU", **ANSWERS)
    played.answers["GetService"] = d.Service(id=ID, organization_id="b" * 32, name="Otro")
    answer = send_page(client, third, **GIVEN)
    assert answer.status_code == 422
    assert "Cambió el servicio" in answer.text
    assert (ticked(answer), asked(played, "CreateReceipt")) == (0, 0)


def test_for_a_child_who_was_not_asked_a_best_interest_decision_and_her_assent_have_to_be_recorded(
    played: PlayedServices, client: FlaskClient
) -> None:
    child = r.Referral(
        id=ID,
        etag="1",
        state=r.STATE_DRAFT,
        person_id=ID,
        service_id=ID,
        person=r.CoarsePerson(age_band=r.AGE_BAND_0_TO_11),
    )
    played.answers["GetReferral"] = child
    second = send_page(client, client.get(CONSENT), unasked="1")
    third = send_page(client, second, purpose_codes="HOU", **ANSWERS)
    assert 'value="guardian"' not in third.text
    assert (
        send_page(client, third, giver_code="best_interest", manner_code="spoken").status_code
        == 422
    )
    send_page(
        client, third, giver_code="best_interest", manner_code="spoken", assent_code="too_young"
    )
    receipt = played.last("CreateReceipt").receipt
    assert (receipt.giver_code, receipt.assent_code, list(receipt.explained_codes)) == (
        p.GIVER_BEST_INTEREST,
        p.ASSENT_TOO_YOUNG,
        [],
    )


def test_a_consent_that_the_service_refuses_comes_back_on_its_page(
    played: PlayedServices, client: FlaskClient
) -> None:
    second = send_page(client, client.get(CONSENT), explained_codes=SEVEN)
    third = send_page(client, second, purpose_codes="HOU", **ANSWERS)
    for refusal, sentence in (
        (errors.Invalid(("receipt.until_time", "out_of_range")), 'href="#until_time"'),
        (errors.Invalid(("receipt.explained_codes", "required")), "Léale esto"),
        (errors.Conflict("guardian_required"), "Es menor de edad"),
    ):
        played.answers["CreateReceipt"] = refusal
        answer = send_page(client, third, **GIVEN)
        assert answer.status_code == 422
        assert sentence in answer.text


def test_reading_the_text_in_another_language_unticks_nothing(
    played: PlayedServices, client: FlaskClient
) -> None:
    again = send_page(client, client.get(CONSENT), explained_codes=SEVEN[:3], speak="fr")
    assert again.status_code == 200
    assert ("faire une pause" in again.text, ticked(again)) == (True, 3)
    assert "faire une pause" in send_page(client, again, explained_codes=SEVEN[:4]).text, (
        "the next page keeps the language"
    )


def test_only_consents_that_the_service_names_for_the_referral_are_offered(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["ListReceipts"] = p.ListReceiptsResponse(receipts=[p.Receipt(id="b" * 32)])
    page = client.get(f"/referrals/{ID}/consent").text
    assert played.last("ListReceipts") == p.ListReceiptsRequest(person_id=ID, referral_id=ID)
    assert f'value="{"b" * 32}"' in page


def test_the_text_to_read_aloud_is_in_the_persons_language(
    played: PlayedServices, client: FlaskClient
) -> None:
    page = client.get(f"/referrals/{ID}/consent?read=fr").text
    assert '<html lang="es"' in page
    assert "faire une pause" in page
    assert all(f'value="{code}"' in page for code in vocabulary.TABLES["explained"])


def test_a_refused_sending_says_what_is_missing_and_keeps_the_note(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["SendReferral"] = errors.Conflict("receipt_missing")
    answer = send(client, f"/referrals/{ID}/check", note="Llega a las seis")
    assert answer.status_code == 422
    assert "Falta el consentimiento" in answer.text
    assert "Llega a las seis" in answer.text


def draft_of(age: r.AgeBand.ValueType) -> r.Referral:
    return r.Referral(
        id=ID,
        etag="1",
        state=r.STATE_DRAFT,
        person_id=ID,
        service_id=ID,
        person=r.CoarsePerson(age_band=age),
    )


def last_page(client: FlaskClient, **first: object) -> TestResponse:
    """Returns the page that asks how the consent was given."""
    second = send_page(client, client.get(CONSENT), **(first or {"explained_codes": SEVEN}))
    return send_page(client, second, purpose_codes="HOU", **ANSWERS)


def offered(page: TestResponse, name: str) -> list[str]:
    return re.findall(rf'name="{name}" value="(\w+)"', page.text)


def test_b6_an_unknown_age_is_asked_for_and_a_refused_answer_comes_back(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["GetReferral"] = draft_of(r.AGE_BAND_UNSPECIFIED)
    third = last_page(client)
    assert offered(third, "adult_ground_code") == [
        "her_word",
        "document",
        "known_to_service",
        "unmistakable",
        "unknown",
    ]
    assert ticked(third) == 0, "no ground for being an adult is preselected"
    answer = send_page(client, third, manner_code="spoken")
    assert (answer.status_code, 'href="#adult_ground_code"' in answer.text, ticked(answer)) == (
        422,
        True,
        1,
    )
    minor = send_page(
        client, third, giver_code="guardian", manner_code="spoken", adult_ground_code="unknown"
    )
    assert (minor.status_code, 'href="#assent_code"' in minor.text, ticked(minor)) == (422, True, 3)
    send_page(client, third, manner_code="spoken", adult_ground_code="document")
    receipt = played.last("CreateReceipt").receipt
    assert (receipt.adult_ground_code, receipt.giver_code) == (
        p.ADULT_GROUND_DOCUMENT,
        p.GIVER_PERSON,
    ), "an adult consents herself"


def test_b6_only_a_small_child_can_be_recorded_as_too_young(
    played: PlayedServices, client: FlaskClient
) -> None:
    for age, words in (
        (r.AGE_BAND_0_TO_11, ["given", "refused", "too_young"]),
        (r.AGE_BAND_12_TO_17, ["given", "refused"]),
        (r.AGE_BAND_25_TO_59, []),
    ):
        played.answers["GetReferral"] = draft_of(age)
        assert offered(last_page(client), "assent_code") == words


def test_b6_a_childs_no_comes_back_with_what_is_possible(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["GetReferral"] = draft_of(r.AGE_BAND_12_TO_17)
    played.answers["CreateReceipt"] = errors.Conflict("assent_required")
    answer = send_page(
        client,
        last_page(client),
        giver_code="guardian",
        manner_code="spoken",
        assent_code="refused",
    )
    assert (answer.status_code, ticked(answer)) == (422, 3)
    assert "Contra su no, solo por su interés superior, entre dos." in answer.text


def test_b7_for_an_adult_another_giver_is_offered_only_to_workers_who_may_override(
    played: PlayedServices,
) -> None:
    played.answers["GetReferral"] = draft_of(r.AGE_BAND_25_TO_59)
    worker = last_page(enter(pages(played).test_client()))
    assert (offered(worker, "giver_code"), offered(worker, "giver_ground_code")) == (["person"], [])
    played.answers["IssueToken"] = signed_in(contract_pb2.ROLE_WORKER, contract_pb2.ROLE_EMERGENCY)
    rescuer = enter(pages(played).test_client())
    third = last_page(rescuer)
    assert offered(third, "giver_code") == ["person", "guardian", "authority"]
    ends = "Si lo da otra persona por una adulta, termina a las 72 horas, sin esta fecha."
    assert (ends in third.text, ends in worker.text) == (True, False)
    send_page(
        rescuer,
        third,
        giver_code="authority",
        manner_code="written",
        giver_ground_code="court_order",
        until_time="2027-02-01",
    )
    receipt = played.last("CreateReceipt").receipt
    assert receipt.giver_ground_code == p.GIVER_GROUND_COURT_ORDER
    assert not receipt.HasField("until_time"), "the service states the 72 hours"


def test_b7_a_consent_in_her_place_waits_for_a_second_person_on_its_page(
    played: PlayedServices, client: FlaskClient
) -> None:
    receipt = played.answers["GetReceipt"] = p.Receipt(
        id=ID,
        genuine=True,
        giver_code=p.GIVER_AUTHORITY,
        giver_ground_code=p.GIVER_GROUND_COURT_ORDER,
        recorded_by_worker_id="b" * 32,
        until_time=LATER,
        confirm_until_time=LATER,
    )
    page = client.get(f"/people/receipts/{ID}").text
    assert "Un juez nombró a quien decide por ella" in page
    assert "Confirmar como segunda persona" in page
    # the account of the worker who recorded it was suspended
    receipt.ClearField("confirm_until_time")
    page = client.get(f"/people/receipts/{ID}").text
    assert "Anótelo otra vez" in page
    assert "Confirmar como segunda persona" not in page
    # its time is over
    receipt.until_time.FromJsonString("2026-01-01T00:00:00Z")
    receipt.confirm_until_time.FromJsonString("2026-01-01T00:00:00Z")
    page = client.get(f"/people/receipts/{ID}").text
    assert "hasta que otra persona del equipo" not in page
    assert "Confirmar como segunda persona" not in page


def test_b6_the_page_of_a_receipt_that_no_longer_opens_anything_says_so(
    played: PlayedServices, client: FlaskClient
) -> None:
    receipt = p.Receipt(id=ID, genuine=True, giver_code=p.GIVER_PERSON)
    receipt.until_time.FromJsonString("2100-01-01T00:00:00Z")
    played.answers["GetReceipt"] = receipt
    assert (
        "Ya no abre nada: lo que dice su expediente cambió"
        in client.get(f"/people/receipts/{ID}").text
    )
    receipt.live = True
    assert "Ya no abre nada" not in client.get(f"/people/receipts/{ID}").text


def test_the_page_of_a_receipt_whose_time_is_over_says_so_and_promises_no_end_of_access(
    played: PlayedServices, client: FlaskClient
) -> None:
    receipt = p.Receipt(id=ID, genuine=True, giver_code=p.GIVER_PERSON, live=True)
    for until, over in (("2100-01-01T00:00:00Z", False), ("2007-05-05T00:00:00Z", True)):
        receipt.until_time.FromJsonString(until)
        played.answers["GetReceipt"] = receipt
        page = client.get(f"/people/receipts/{ID}").text
        assert ("Ya venció" in page) == over
        assert ("El acceso termina al instante" in page) == (not over)
        assert "Retirar este consentimiento" in page


def test_b6_the_file_states_for_each_receipt_whether_it_waits_or_no_longer_opens_anything(
    played: PlayedServices, client: FlaskClient
) -> None:
    waiting = p.Receipt(
        id="a" * 32,
        genuine=True,
        giver_code=p.GIVER_AUTHORITY,
        giver_ground_code=p.GIVER_GROUND_COURT_ORDER,
        confirm_until_time=LATER,
    )
    outdated = p.Receipt(id="b" * 32, genuine=True, giver_code=p.GIVER_PERSON)
    for receipt, sentence in ((waiting, "Falta confirmar"), (outdated, "Ya no abre nada")):
        played.answers["ListReceipts"] = p.ListReceiptsResponse(receipts=[receipt])
        assert sentence in client.get(f"/people/{ID}").text
    outdated.live = True
    played.answers["ListReceipts"] = p.ListReceiptsResponse(receipts=[outdated])
    assert "Ya no abre nada" not in client.get(f"/people/{ID}").text
