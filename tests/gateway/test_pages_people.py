"""The files of the reader's own organisation.

They show who knows what about a person, and how that is ended at her request.
"""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient
from google.protobuf.timestamp_pb2 import Timestamp

from chassis import errors
from protos.notifications.v1 import notifications_pb2 as n
from protos.referrals.v1 import people_pb2 as p
from tests.gateway.api_gateway import ID
from tests.gateway.pages_gateway import PlayedServices, enter, pages, token_of

LATER = Timestamp(seconds=4_000_000_000)
OPEN, OTHER, ENDED = ("b" * 32, "c" * 32, "d" * 32)


@pytest.fixture
def played() -> PlayedServices:
    played = PlayedServices()
    played.answers["GetPerson"] = p.Person(id=ID, code="MFSA9D", organization_id=ID, etag="1")
    played.answers["ListReceipts"] = p.ListReceiptsResponse(
        receipts=[
            p.Receipt(
                id=OPEN,
                person_id=ID,
                recipient_organization_id=OPEN,
                genuine=True,
                until_time=LATER,
            ),
            p.Receipt(
                id=OTHER,
                person_id=ID,
                recipient_organization_id=OTHER,
                genuine=True,
                until_time=LATER,
            ),
            p.Receipt(
                id=ENDED,
                person_id=ID,
                recipient_organization_id=ENDED,
                genuine=True,
                until_time=LATER,
                withdraw_time=LATER,
            ),
        ]
    )
    played.answers["WithdrawReceipt"] = lambda request: p.Receipt(id=request.id, person_id=ID)
    return played


@pytest.fixture
def client(played: PlayedServices) -> FlaskClient:
    return enter(pages(played).test_client())


def form(page: str, to: str) -> dict[str, str]:
    """Returns the fields of the form with this target."""
    inside = page[page.index(f'action="{to}"') :]
    return dict(re.findall(r'name="(\w+)" value="([^"]*)"', inside[: inside.index("</form>")]))


def withdrawn(played: PlayedServices) -> list[str]:
    return [request.id for rpc, request, _ in played.asked if rpc == "WithdrawReceipt"]


def test_one_consent_can_be_ended_on_the_page_that_shows_who_knows_what(
    played: PlayedServices, client: FlaskClient
) -> None:
    page = client.get(f"/people/{ID}").text
    assert f"/people/receipts/{ENDED}/withdraw" not in page, (
        "an ended consent cannot be ended again"
    )
    to = f"/people/receipts/{OPEN}/withdraw"
    answer = client.post(to, data=form(page, to))
    assert (answer.status_code, answer.headers["Location"]) == (
        303,
        f"/people/{ID}?done=receipt_withdrawn",
    )
    assert withdrawn(played) == [OPEN]


def test_all_consents_are_ended_at_once_and_an_interrupted_form_continues_with_the_rest(
    played: PlayedServices, client: FlaskClient
) -> None:
    to = f"/people/{ID}/withdraw"
    fields = form(client.get(f"/people/{ID}").text, to)

    def withdraw(request: p.WithdrawReceiptRequest) -> p.Receipt:
        if request.id == OTHER:
            raise errors.Stale
        return p.Receipt(id=request.id, person_id=ID)

    played.answers["WithdrawReceipt"] = withdraw
    assert client.post(to, data=fields).status_code in (409, 412, 422)
    played.answers["WithdrawReceipt"] = lambda sent_request: p.Receipt(
        id=sent_request.id, person_id=ID
    )
    answer = client.post(to, data=fields)
    assert (answer.status_code, answer.headers["Location"]) == (
        303,
        f"/people/{ID}?done=receipts_withdrawn",
    )
    assert withdrawn(played) == [OPEN, OTHER, OPEN, OTHER]
    request_ids = [
        sent_request.request_id for rpc, sent_request, _ in played.asked if rpc == "WithdrawReceipt"
    ]
    assert request_ids[:2] == request_ids[2:], (
        "each call repeats an earlier request id, so it acts once"
    )
    assert request_ids[0] != request_ids[1]


def test_an_organisation_that_does_not_hold_a_file_ends_no_consent_from_it(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["GetPerson"] = p.Person(id=ID, code="MFSA9D", organization_id="e" * 32, etag="1")
    assert "/withdraw" not in client.get(f"/people/{ID}").text


def test_a_file_is_searched_for_by_a_form_that_is_posted(client: FlaskClient) -> None:
    page = client.get("/people").text
    assert token_of(page)
    assert re.search(
        r'<form method="post" action="/search"[^>]*role="search"', page.split("<main", 1)[1]
    )


def test_the_list_of_accesses_is_complete_and_reading_it_is_no_access(
    played: PlayedServices,
) -> None:
    client = enter(pages(played).test_client())
    reading = p.Reading(
        organization_id=ID, actor_id=ID, field_groups=[p.FIELD_GROUP_CONTACT], allowed=True
    )
    played.answers["ListReadings"] = p.ListReadingsResponse(
        readings=[reading], next_page_token="older"
    )
    assert f"/people/{ID}/readings?page=older" in client.get(f"/people/{ID}").text
    before = len(played.asked)
    page = client.get(f"/people/{ID}/readings?page=older").text
    assert "page=older" in page, "there is a link to the next page"
    assert "Casa Puentes" in page
    assert played.last("ListReadings").page_token == "older"
    assert "GetPerson" not in [rpc for rpc, _, _ in played.asked[before:]]


def test_a_decision_that_waits_for_another_person_is_linked_from_the_files_and_from_its_notice(
    client: FlaskClient, played: PlayedServices
) -> None:
    waits = p.Receipt(id="c" * 32, giver_code=p.GIVER_BEST_INTEREST)
    waits.create_time.FromSeconds(1_774_000_000)
    played.answers["ListProposedReceipts"] = p.ListReceiptsResponse(receipts=[waits])
    assert "/people/receipts/" + "c" * 32 in client.get("/people").text
    message = n.Message(id=ID, kind="receipt_proposed", text="Una decisión espera.")
    message.create_time.FromSeconds(1_774_000_000)
    played.answers["ListMessages"] = n.ListMessagesResponse(messages=[message])
    notices = client.get("/inbox").text
    assert 'value="receipt_proposed"' in notices
    fields = {"form_token": token_of(notices), "request_id": "one", "kind": "receipt_proposed"}
    assert client.post(f"/inbox/{ID}/read", data=fields).location == "/people"


def test_how_she_may_be_contacted_comes_first_in_her_file(client: FlaskClient) -> None:
    page = client.get(f"/people/{ID}").text
    places = [page.index(f'id="{part}"') for part in ("safe", "plans", "knows")]
    assert places == sorted(places)


def test_d22_a_file_shows_no_code_word_and_reads_nothing_until_a_button_opens_it(
    played: PlayedServices, client: FlaskClient
) -> None:
    sealed = p.SafeContact(
        channel_code=p.SAFE_CHANNEL_PHONE, hours="de noche", code_word="mango", never_say="refugio"
    )

    def get(request: p.GetPersonRequest) -> p.Person:
        plan = p.SafeContact(channel_code=sealed.channel_code) if request.outline_only else sealed
        return p.Person(id=ID, code="MFSA9D", organization_id=ID, etag="1", safe_contact=plan)

    played.answers["GetPerson"] = get
    page = client.get(f"/people/{ID}").text
    assert not [
        text
        for text in ("mango", "de noche", "refugio", f'action="/people/{ID}/safe-contact"')
        if text in page
    ]
    for path in (
        f"/people/{ID}/knows",
        f"/people/{ID}/erasure",
        f"/plans/{ID}",
        f"/referrals/new?person={ID}",
    ):
        client.get(path)
    assert all(asked.outline_only for rpc, asked, _ in played.asked if rpc == "GetPerson")
    to = f"/people/{ID}/safe-contact/open"
    page_with_plan = client.post(to, data=form(page, to + "#safe")).text
    assert [
        text
        for text in ("mango", "de noche", "refugio", f'action="/people/{ID}/safe-contact"')
        if text in page_with_plan
    ]
    assert not played.last("GetPerson").outline_only
