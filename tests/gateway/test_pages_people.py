"""The files of the reader's own organisation.

A file shows who knows what about the person; there her consents can be ended at her request.
"""

import re

import pytest
from flask.testing import FlaskClient
from google.protobuf.timestamp_pb2 import Timestamp

from chassis import errors
from protos.contract.v1 import contract_pb2
from protos.notifications.v1 import notifications_pb2 as n
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.site.language import vocabulary
from services.gateway.site.parts import person_form
from tests.gateway.pages_gateway import (
    ID,
    FakePageServices,
    missing,
    referral,
    send,
    signed_in_as,
    token_of,
)
from tests.gateway.referral_questions import birth_date

FUTURE = Timestamp(seconds=4_000_000_000)
OPEN_ID, OTHER_ID, ENDED_ID = ("b" * 32, "c" * 32, "d" * 32)


@pytest.fixture
def fakes() -> FakePageServices:
    receipts = [
        p.Receipt(
            id=identifier,
            person_id=ID,
            recipient_organization_id=identifier,
            genuine=True,
            until_time=FUTURE,
            withdraw_time=FUTURE if identifier == ENDED_ID else None,
        )
        for identifier in (OPEN_ID, OTHER_ID, ENDED_ID)
    ]
    return FakePageServices(
        {
            "GetPerson": p.Person(id=ID, code="MFSA9D", organization_id=ID, etag="1"),
            "ListReceipts": p.ListReceiptsResponse(receipts=receipts),
        }
    )


def form_fields(page: str, target: str) -> dict[str, str]:
    """Returns the fields of the form with this target."""
    rest = page[page.index(f'action="{target}"') :]
    return dict(re.findall(r'name="(\w+)" value="([^"]*)"', rest[: rest.index("</form>")]))


def test_one_consent_can_be_ended_on_the_page_that_shows_who_knows_what(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    page = client.get(f"/people/{ID}").text
    assert f"/people/receipts/{ENDED_ID}/withdraw" not in page, (
        "an ended consent cannot be ended again"
    )
    path = f"/people/receipts/{OPEN_ID}/withdraw"
    fakes.answers["WithdrawReceipt"] = p.Receipt(id=OPEN_ID, person_id=ID)
    answer = client.post(path, data=form_fields(page, path))
    assert (answer.status_code, answer.location) == (303, f"/people/{ID}?done=receipt_withdrawn")
    assert [request.id for request in fakes.requests("WithdrawReceipt")] == [OPEN_ID]


def test_everything_is_withdrawn_by_one_call_which_is_repeated_if_the_form_is_sent_again(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    path = f"/people/{ID}/withdraw"
    fields = form_fields(client.get(f"/people/{ID}").text, path)
    fakes.answers["WithdrawAllReceipts"] = errors.Unavailable("store_unavailable")
    assert client.post(path, data=fields).status_code == 503
    fakes.answers["WithdrawAllReceipts"] = p.ListReceiptsResponse()
    fakes.calls.clear()
    answer = client.post(path, data=fields)
    assert (answer.status_code, answer.location) == (303, f"/people/{ID}?done=receipts_withdrawn")
    request = p.WithdrawAllReceiptsRequest(id=ID, request_id=fields["request_id"])
    assert [message for rpc, message, _ in fakes.calls if "Withdraw" in rpc] == [request]
    assert not fakes.requests("ListReferrals"), (
        "the service itself finds the referrals and enquiries about her"
    )


def test_everything_can_be_withdrawn_even_when_only_one_consent_is_left(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    """Drafts, open needs and agreed calls don't end with a single consent."""
    receipts = p.ListReceiptsResponse(receipts=[p.Receipt(id=OPEN_ID, until_time=FUTURE)])
    fakes.answers["ListReceipts"] = receipts
    page = client.get(f"/people/{ID}").text
    assert not missing(page, f"/people/{ID}/withdraw", "Retirar 1 permiso")
    receipts.receipts[0].withdraw_time.CopyFrom(FUTURE)
    assert f"/people/{ID}/withdraw" not in client.get(f"/people/{ID}").text


def test_the_pages_promise_no_more_than_a_withdrawal_or_an_erasure_does(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    page = client.get(f"/people/{ID}").text
    assert missing(page, "La suya conserva el expediente.", "El acceso de todos termina") == [
        "El acceso de todos termina"
    ]
    fakes.answers["GetErasure"] = errors.NotFound()
    page = client.get(f"/people/{ID}/erasure").text
    assert missing(page, "y quienes recibieron las que terminaron antes") == []
    # the receiver of a referral that ended still sees her age band and her department
    steps = vocabulary.STEPS["withdraw"], vocabulary.STEPS["reroute"]
    for text in (steps[0].hint, steps[0].done, steps[1].hint):
        assert "abrir sus datos" in text


def test_the_file_of_another_organisation_has_no_button_that_ends_a_consent(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetPerson"] = p.Person(id=ID, code="MFSA9D", organization_id="e" * 32, etag="1")
    assert "/withdraw" not in client.get(f"/people/{ID}").text


def test_a_file_for_which_nothing_can_be_asked_does_not_name_the_button_for_a_new_referral(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["ListReferrals"] = r.ListReferralsResponse()
    assert client.get(f"/people/{ID}").text.count("Nueva remisión") == 2, "the button and its name"
    for owner_id, erased in ((ID, True), ("e" * 32, False)):
        fakes.answers["GetPerson"] = p.Person(id=ID, organization_id=owner_id, erased=erased)
        assert "Nueva remisión" not in client.get(f"/people/{ID}").text


def test_the_form_that_searches_for_a_file_is_posted(client: FlaskClient) -> None:
    page = client.get("/people").text
    assert token_of(page)
    main = page.partition("<main")[2]
    assert re.search(r'<form method="post" action="/search"[^>]*role="search"', main)


def test_all_accesses_are_listed_in_pages_and_reading_the_list_is_not_itself_an_access(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    reading = p.Reading(
        organization_id=ID, actor_id=ID, field_groups=[p.FIELD_GROUP_CONTACT], allowed=True
    )
    fakes.answers["ListReadings"] = p.ListReadingsResponse(
        readings=[reading], next_page_token="older"
    )
    assert f"/people/{ID}/readings?page=older" in client.get(f"/people/{ID}").text
    fakes.calls.clear()
    page = client.get(f"/people/{ID}/readings?page=older").text
    assert "page=older" in page, "there is a link to the next page"
    assert "Casa Puentes" in page
    assert fakes.last("ListReadings").page_token == "older"
    assert fakes.requests("GetPerson") == []


def test_a_decision_that_waits_for_another_person_is_linked_from_the_files_and_from_its_notice(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    kind, time = "receipt_proposed", Timestamp(seconds=1_774_000_000)
    waiting_receipt = p.Receipt(id=OTHER_ID, giver_code=p.GIVER_BEST_INTEREST, create_time=time)
    fakes.answers["ListProposedReceipts"] = p.ListReceiptsResponse(receipts=[waiting_receipt])
    assert f"/people/receipts/{OTHER_ID}" in client.get("/people").text
    message = n.Message(id=ID, kind=kind, text="Una decisión espera.", create_time=time)
    fakes.answers["ListMessages"] = n.ListMessagesResponse(messages=[message])
    assert f'value="{kind}"' in client.get("/inbox").text
    assert send(client, "/inbox", f"/inbox/{ID}/read", kind=kind).location == "/people"


def test_the_safe_contact_plan_comes_first_in_her_file(client: FlaskClient) -> None:
    page = client.get(f"/people/{ID}").text
    places = [page.index(f'id="{part}"') for part in ("safe", "plans", "knows")]
    assert places == sorted(places)


def test_a_file_shows_no_code_word_and_reads_nothing_until_a_button_opens_it(
    fakes: FakePageServices,
) -> None:
    client = signed_in_as(fakes, contract_pb2.ROLE_WORKER)
    sealed_plan = p.SafeContact(
        channel_code=p.SAFE_CHANNEL_PHONE, hours="de noche", code_word="mango", never_say="refugio"
    )

    def get(request: p.GetPersonRequest) -> p.Person:
        plan = (
            p.SafeContact(channel_code=sealed_plan.channel_code)
            if request.outline_only
            else sealed_plan
        )
        return p.Person(id=ID, code="MFSA9D", organization_id=ID, etag="1", safe_contact=plan)

    fakes.answers["GetPerson"] = get
    page = client.get(f"/people/{ID}").text
    plan_only = ("mango", "de noche", "refugio", f'action="/people/{ID}/safe-contact"')
    assert missing(page, *plan_only) == [*plan_only]
    for path in (
        f"/people/{ID}/knows",
        f"/people/{ID}/erasure",
        f"/plans/{ID}",
        f"/referrals/new?person={ID}",
    ):
        client.get(path)
    assert all(request.outline_only for request in fakes.requests("GetPerson"))
    open_path = f"/people/{ID}/safe-contact/open"
    opened_page = client.post(open_path, data=form_fields(page, open_path + "#safe")).text
    assert missing(opened_page, *plan_only) == []
    assert not fakes.last("GetPerson").outline_only


@pytest.mark.parametrize(
    ("overseeing_roles", "is_offered"),
    [([], True), ([contract_pb2.ROLE_COORDINATOR], False), ([contract_pb2.ROLE_AUDITOR], False)],
)
def test_sealed_data_are_offered_only_to_a_worker_who_may_open_them(
    fakes: FakePageServices,
    overseeing_roles: list[contract_pb2.Role.ValueType],
    is_offered: bool,
) -> None:
    plan = p.SafeContact(channel_code=p.SAFE_CHANNEL_PHONE)
    fakes.answers["GetPerson"] = p.Person(id=ID, organization_id=ID, safe_contact=plan)
    fakes.answers["GetReferral"] = r.Referral(id=ID, state=r.STATE_DRAFT, person_id=ID)
    client = signed_in_as(fakes, contract_pb2.ROLE_WORKER, *overseeing_roles)
    pages = client.get(f"/people/{ID}").text + client.get(f"/referrals/{ID}/check").text
    offers = (
        f'action="/people/{ID}/safe-contact/open',
        f'action="/people/{ID}/open"',
        f'href="/referrals/{ID}/contact"',
    )
    assert [offer in pages for offer in offers] == [is_offered] * 3


@pytest.mark.parametrize(
    ("years", "band"),
    [
        (0, r.AGE_BAND_0_TO_11),
        (11, r.AGE_BAND_0_TO_11),
        (12, r.AGE_BAND_12_TO_17),
        (17, r.AGE_BAND_12_TO_17),
        (18, r.AGE_BAND_18_TO_24),
        (25, r.AGE_BAND_25_TO_59),
        (59, r.AGE_BAND_25_TO_59),
        (60, r.AGE_BAND_60_AND_OVER),
        (120, r.AGE_BAND_60_AND_OVER),
    ],
)
def test_an_age_in_years_is_stored_as_its_band(
    fakes: FakePageServices, client: FlaskClient, years: int, band: r.AgeBand.ValueType
) -> None:
    send(client, "/people/new", channel_code="none", age=str(years))
    assert fakes.last("CreatePerson").coarse.age_band == band


@pytest.mark.parametrize(("department", "country"), [("", "NI"), ("MX-BCN", "MX")])
def test_a_new_file_has_the_country_of_the_department_where_the_person_is(
    fakes: FakePageServices, client: FlaskClient, department: str, country: str
) -> None:
    send(client, "/people/new", channel_code="none", department=department)
    assert fakes.last("CreatePerson").coarse.country == country


@pytest.mark.parametrize(
    ("fields", "is_refused"),
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
    fields: dict[str, str], is_refused: bool, fakes: FakePageServices, client: FlaskClient
) -> None:
    date = birth_date(client, 18)
    answer = send(client, "/people/new", channel_code="none", birth_date=date, **fields)
    assert ("no coincide con la edad" in answer.text) == is_refused
    assert len(fakes.requests("CreatePerson")) == (not is_refused)


def test_contradictory_years_and_age_band_are_refused(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    answer = send(client, "/people/new", channel_code="none", age="17", age_band="18-24")
    assert (answer.status_code, 'href="#age_band"' in answer.text) == (422, True)
    assert fakes.requests("CreatePerson") == []
    second_answer = send(client, "/people/new", channel_code="none", age="17", age_band="12-17")
    assert second_answer.status_code == 303
    send(client, "/people/new", channel_code="none", age_band="60+")
    assert fakes.last("CreatePerson").coarse.age_band == r.AGE_BAND_60_AND_OVER


def test_an_empty_correction_of_an_identity_opens_its_form_again_with_the_reason(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["UpdateIdentity"] = errors.Invalid(("identity", "required"))
    refused = send(client, f"/people/{ID}", f"/people/{ID}/identity")
    assert refused.status_code == 422
    assert "Completar o corregir: escriba por lo menos un dato" in refused.text
    assert ('href="#identity"' in refused.text, '<details id="identity" open>' in refused.text) == (
        True,
        True,
    )


def test_a_field_of_an_identity_is_removed_only_if_the_worker_chose_it(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    path = f"/people/{ID}/identity"
    empty = dict.fromkeys(person_form.IDENTITY, "")
    chosen = {"cleared_fields": ["phone", "family_name", "made_up"]}
    send(client, f"/people/{ID}", path, **empty | {"given_name": "Ana", "family_name": "Ruiz"})
    send(client, f"/people/{ID}", path, **empty | chosen | {"family_name": "Ruiz"})
    send(client, f"/people/{ID}", path, **empty)
    assert [
        (list(request.update_mask.paths), request.identity)
        for request in fakes.requests("UpdateIdentity")
    ] == [
        (["given_name", "family_name"], p.Identity(given_name="Ana", family_name="Ruiz")),
        (["family_name", "phone"], p.Identity(family_name="Ruiz")),
        ([], p.Identity()),
    ]


def test_a_refused_removal_shows_what_the_worker_chose(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["UpdateIdentity"] = errors.Invalid(("identity.birth_date", "required"))
    path = f"/people/{ID}/identity"
    refused = send(client, f"/people/{ID}", path, cleared_fields=["birth_date"])
    assert refused.status_code == 422
    assert "la de una persona menor de edad no se quita" in refused.text
    assert re.findall(r'name="cleared_fields" value="(\w+)"\s+checked', refused.text) == [
        "birth_date"
    ]


def test_a_birth_date_that_makes_a_child_an_adult_is_sent_again_with_an_acknowledgement(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    path, fields = f"/people/{ID}/identity", {"birth_date": "2001-05-04"}
    assert 'value="adulthood_changes"' not in client.get(f"/people/{ID}").text
    fakes.answers["UpdateIdentity"] = errors.Conflict("adulthood_changes")
    refused = send(client, f"/people/{ID}", path, **fields)
    assert (refused.status_code, 'value="adulthood_changes"' in refused.text) == (422, True)
    send(client, f"/people/{ID}", path, **fields, acknowledged_codes="adulthood_changes")
    request = fakes.last("UpdateIdentity")
    assert list(request.acknowledged_codes) == [r.ACKNOWLEDGEMENT_ADULTHOOD_CHANGES]
    assert list(request.update_mask.paths) == ["birth_date"]


def test_a_number_of_relatives_that_cannot_be_read_changes_no_file(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    for page, path in ((f"/people/{ID}", f"/people/{ID}/coarse"), ("/people/new", "/people/new")):
        refusal = send(client, page, path, dependants="3 hijos", channel_code="phone")
        assert (refusal.status_code, 'href="#dependants"' in refusal.text) == (422, True), path
    assert fakes.requests("UpdatePerson") == fakes.requests("CreatePerson") == []


@pytest.mark.parametrize(
    ("role", "status"), [(contract_pb2.ROLE_WORKER, 200), (contract_pb2.ROLE_MANAGER, 404)]
)
def test_a_referral_links_to_the_file_only_for_a_reader_who_may_open_files(
    fakes: FakePageServices, role: contract_pb2.Role.ValueType, status: int
) -> None:
    fakes.answers["GetReferral"] = referral(side=r.SIDE_SENDER)
    reader = signed_in_as(fakes, role)
    assert reader.get(f"/people/{ID}").status_code == status
    has_link = f'href="/people/{ID}"' in reader.get(f"/referrals/{ID}").text
    assert has_link == (status == 200)
