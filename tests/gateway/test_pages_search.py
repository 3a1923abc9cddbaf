"""The search.

The typed words are in no URL, another organisation's object looks like one that does not exist,
and a reference shows nothing before its PIN.
"""

import re

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from chassis import errors
from protos.contract.v1 import contract_pb2
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from tests.gateway.page_forms import sent_fields
from tests.gateway.pages_gateway import ID, FakePageServices, missing, signed_in_as, token_of

NOTHING_FOUND = "No encontramos nada con eso."
REFERENCE, PIN = "7QK4-M2X7", "4821"


@pytest.fixture
def fakes() -> FakePageServices:
    return FakePageServices(
        {
            "ListReferrals": r.ListReferralsResponse(),
            "SearchPeople": p.SearchPeopleResponse(),
        }
    )


# parts that differ in each rendering: form tokens, and times relative to now
CHANGING_PARTS = re.compile(r'(value|data-due|data-now)="[^"]*"')


@pytest.fixture
def operator(fakes: FakePageServices) -> FlaskClient:
    return signed_in_as(fakes, contract_pb2.ROLE_OPERATOR)


def post(client: FlaskClient, path: str = "/search", **fields: str) -> TestResponse:
    return client.post(path, data={"form_token": token_of(client.get("/search").text), **fields})


def test_a_code_leads_straight_to_its_referral(
    fakes: FakePageServices, operator: FlaskClient
) -> None:
    fakes.answers["ListReferrals"] = r.ListReferralsResponse(referrals=[r.Referral(id=ID)])
    answer = post(operator, q=" 4bg-z42 ")
    assert (answer.status_code, answer.location) == (303, f"/referrals/{ID}")
    assert fakes.last("ListReferrals").filter == r.ReferralFilter(box=r.BOX_MINE, code="4bgz42")


def test_two_referrals_with_the_same_code_are_both_shown(
    fakes: FakePageServices, operator: FlaskClient
) -> None:
    referrals = [
        r.Referral(id=letter * 32, code="4BGZ42", state=r.STATE_SENT, side=r.SIDE_SENDER)
        for letter in "ab"
    ]
    fakes.answers["ListReferrals"] = r.ListReferralsResponse(referrals=referrals)
    page = post(operator, q="4BGZ42").text
    assert [row.id for row in referrals if f'href="/referrals/{row.id}"' not in page] == []


def test_the_code_of_another_organisations_referral_looks_like_an_unused_code(
    fakes: FakePageServices, operator: FlaskClient
) -> None:
    others_page = post(operator, q="4BGZ42").text
    fakes.answers["ListReferrals"] = errors.Invalid(("filter.code", "malformed"))
    unused_page = post(operator, q="4BGZU2").text
    assert NOTHING_FOUND in others_page
    assert CHANGING_PARTS.sub("", others_page) == CHANGING_PARTS.sub("", unused_page)


def test_a_coordinator_finds_the_networks_referrals_and_no_names(fakes: FakePageServices) -> None:
    post(signed_in_as(fakes, contract_pb2.ROLE_COORDINATOR, contract_pb2.ROLE_WORKER), q="Martha")
    filters = [request.filter for request in fakes.requests("ListReferrals")]
    assert [filter_.box for filter_ in filters if filter_.code] == [r.BOX_MINE, r.BOX_NETWORK]
    assert fakes.requests("SearchPeople") == []


def test_a_search_by_name_shows_codes_and_that_it_is_on_record(
    fakes: FakePageServices, operator: FlaskClient
) -> None:
    person = p.Person(
        id="b" * 32, code="9XW3KD", coarse=r.CoarsePerson(age_band=r.AGE_BAND_18_TO_24)
    )
    fakes.answers["SearchPeople"] = p.SearchPeopleResponse(people=[person], incomplete=True)
    answer = post(operator, q="Ximena Pérez")
    assert fakes.last("SearchPeople").name == "Ximena Pérez"
    expected = (f'href="/people/{"b" * 32}">9XW3KD', "Hay más", "quedó anotada")
    assert missing(answer.text, *expected) == []
    assert "Location" not in answer.headers


def test_a_manager_without_other_roles_searches_no_names(fakes: FakePageServices) -> None:
    assert NOTHING_FOUND in post(signed_in_as(fakes, contract_pb2.ROLE_MANAGER), q="Ximena").text
    assert fakes.requests("SearchPeople") == []


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (errors.Exhausted("too_many_attempts", 300), "5 minutos"),
        (errors.NotAllowed("member_on_probation"), "Los nombres no se buscaron"),
    ],
)
def test_the_page_says_why_names_were_not_searched(
    fakes: FakePageServices, operator: FlaskClient, refusal: errors.Refusal, expected: str
) -> None:
    fakes.answers["SearchPeople"] = refusal
    answer = post(operator, q="Ximena")
    assert (answer.status_code, expected in answer.text) == (200, True)


def test_an_empty_search_calls_no_service_and_says_what_to_type(
    fakes: FakePageServices, operator: FlaskClient
) -> None:
    answer = post(operator, q="  ")
    assert (answer.status_code, 'href="#q"' in answer.text) == (422, True)
    assert fakes.requests("SearchPeople") + fakes.requests("ListReferrals") == []


def test_a_reference_asks_for_its_pin_and_shows_nothing_before(
    fakes: FakePageServices, operator: FlaskClient
) -> None:
    page = post(operator, q=REFERENCE).text
    assert missing(
        page, 'action="/search/status"', f'name="reference" value="{REFERENCE}"', NOTHING_FOUND
    ) == [NOTHING_FOUND]
    for rpc in ("GetReferenceStatus", "GetContactByReference", "SearchPeople"):
        assert fakes.requests(rpc) == []


def test_a_name_of_eight_letters_is_treated_as_a_name_and_a_reference(
    fakes: FakePageServices, operator: FlaskClient
) -> None:
    assert 'action="/search/status"' in post(operator, q="Fernanda").text
    assert fakes.last("SearchPeople").name == "Fernanda"


def status(client: FlaskClient, pin: str = PIN) -> TestResponse:
    return post(client, "/search/status", reference=REFERENCE, pin=pin)


def test_with_the_pin_an_operator_of_the_line_gets_a_link_to_the_contact(
    fakes: FakePageServices, operator: FlaskClient
) -> None:
    fakes.answers["GetContactByReference"] = c.Contact(id="b" * 32)
    answer = status(operator)
    assert (answer.status_code, f'href="/line/{"b" * 32}"' in answer.text) == (200, True)
    assert fakes.last("GetContactByReference") == c.GetContactByReferenceRequest(
        reference=REFERENCE, pin=PIN
    )
    assert fakes.last("GetReferenceStatus") == c.GetReferenceStatusRequest(
        reference=REFERENCE, pin=PIN
    )


def test_the_contact_of_another_line_is_not_found(
    fakes: FakePageServices, operator: FlaskClient
) -> None:
    fakes.answers["GetContactByReference"] = errors.NotFound()
    answer = status(operator)
    main = answer.text.partition("<main")[2].partition("</main>")[0]
    assert (answer.status_code, 'href="/line/' in main) == (200, False)


def test_a_worker_who_is_no_operator_sees_the_status_and_nothing_of_the_contact(
    fakes: FakePageServices,
) -> None:
    assert status(signed_in_as(fakes, contract_pb2.ROLE_WORKER)).status_code == 200
    assert fakes.requests("GetContactByReference") == []


def test_after_a_wrong_pin_the_page_asks_again_and_after_too_many_it_states_the_wait(
    fakes: FakePageServices, operator: FlaskClient
) -> None:
    fakes.answers["GetContactByReference"] = errors.Unauthenticated("reference_or_pin_wrong")
    answer = status(operator, "0000")
    assert (
        answer.status_code,
        missing(answer.text, 'action="/search/status"', "no coinciden", "0000"),
    ) == (401, ["0000"])
    fakes.answers["GetContactByReference"] = errors.Exhausted("too_many_attempts", 7200)
    assert "2 horas" in status(operator).text
    assert fakes.requests("GetReferenceStatus") == [], (
        "the line's own guesses are counted, never those of strangers"
    )


def test_searched_text_is_in_no_url_and_no_log(
    fakes: FakePageServices, operator: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("Quetzalli", REFERENCE, "4BGZ42")
    answers = [post(operator, q=text) for text in words] + [status(operator)]
    log = "".join(capsys.readouterr())
    assert "/search" in log
    addresses = "".join(
        " ".join(re.findall(r'(?:href|action|src)="([^"]*)"', answer.text)) + str(answer.headers)
        for answer in answers
    )
    assert [text for text in (*words, PIN) if text in log + addresses] == []


def test_an_operator_records_a_call_under_the_same_reference_without_showing_it_again(
    fakes: FakePageServices, operator: FlaskClient
) -> None:
    assert 'action="/line/new/again"' in status(operator).text
    empty_page = post(operator, "/line/new/again", reference=REFERENCE, pin=PIN)
    assert f'name="reference" value="{REFERENCE}"' in empty_page.text
    assert 'id="pin"' not in empty_page.text, "the caller already has a PIN"
    fakes.answers["CreateContact"] = c.CreateContactResponse(
        contact=c.Contact(id="b" * 32, called_before=True), reference=REFERENCE, pin=PIN
    )
    saved_page = post(operator, "/line/new", reference=REFERENCE, pin=PIN, line_country="CR")
    request = fakes.last("CreateContact")
    assert (request.reference, request.pin, request.contact.line_country) == (REFERENCE, PIN, "CR")
    assert missing(saved_page.text, REFERENCE, "misma referencia") == [REFERENCE]


def test_the_written_text_stays_after_a_wrong_pin(
    fakes: FakePageServices, operator: FlaskClient
) -> None:
    fakes.answers["CreateContact"] = errors.Unauthenticated("reference_or_pin_wrong")
    answer = post(operator, "/line/new", reference=REFERENCE, pin="0000", note="sigue en la casa")
    assert (answer.status_code, missing(answer.text, "no coinciden", "sigue en la casa")) == (
        422,
        [],
    )
    fields = sent_fields(answer.text)
    assert (fields["reference"], fields["pin"]) == (REFERENCE, ""), "both can be corrected"
    fakes.answers["CreateContact"] = c.CreateContactResponse(contact=c.Contact(id="b" * 32))
    operator.post("/line/new", data=fields | {"reference": ""})
    assert fakes.last("CreateContact").contact.note == "sigue en la casa"


def test_a_worker_who_is_no_operator_records_no_calls(fakes: FakePageServices) -> None:
    worker = signed_in_as(fakes, contract_pb2.ROLE_WORKER)
    assert 'action="/line/new/again"' not in status(worker).text
    assert post(worker, "/line/new/again", reference=REFERENCE, pin=PIN).status_code == 404
