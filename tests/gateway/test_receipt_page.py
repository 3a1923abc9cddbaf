"""The pages of consents: a receipt and how long it lives, in a file and on a referral."""

import pytest
from flask.testing import FlaskClient
from google.protobuf.timestamp_pb2 import Timestamp

from protos.contract.v1 import contract_pb2
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from tests.gateway.pages_gateway import ID, FakePageServices, missing, send, signed_in_as
from tests.gateway.test_pages_consent import FUTURE, PAST

RECEIPT = f"/people/receipts/{ID}"


def test_a_consent_given_in_her_place_waits_for_a_second_person_on_its_page(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    receipt = fakes.answers["GetReceipt"] = p.Receipt(
        id=ID,
        genuine=True,
        giver_code=p.GIVER_AUTHORITY,
        giver_ground_code=p.GIVER_GROUND_COURT_ORDER,
        recorded_by_worker_id="b" * 32,
        until_time=FUTURE,
        confirm_until_time=FUTURE,
    )
    confirm = "Confirmar como segunda persona"
    page = client.get(RECEIPT).text
    assert missing(page, "Un juez nombró a quien decide por ella", confirm) == []
    # the account of the worker who recorded it was suspended
    receipt.ClearField("confirm_until_time")
    page = client.get(RECEIPT).text
    assert missing(page, "Anótelo otra vez", confirm) == [confirm]
    # the time of the consent is over
    receipt.until_time.CopyFrom(PAST)
    receipt.confirm_until_time.CopyFrom(PAST)
    page = client.get(RECEIPT).text
    assert missing(page, "hasta que otra persona del equipo", confirm) == [
        "hasta que otra persona del equipo",
        confirm,
    ]


def test_the_page_of_a_receipt_says_if_it_no_longer_opens_any_data(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    receipt = p.Receipt(id=ID, genuine=True, giver_code=p.GIVER_PERSON, until_time=FUTURE)
    fakes.answers["GetReceipt"] = receipt
    sentence = "Ya no abre nada: lo que dice su expediente cambió"
    assert sentence in client.get(RECEIPT).text
    receipt.live = True
    assert "Ya no abre nada" not in client.get(RECEIPT).text


@pytest.mark.parametrize("live", [True, False])
def test_the_page_of_an_override_says_that_it_will_end_only_while_it_opens_data(
    live: bool, fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetReceipt"] = p.Receipt(
        id=ID,
        genuine=True,
        live=live,
        reason_code=r.OVERRIDE_REASON_LIFE_AT_RISK,
        until_time=FUTURE,
        confirm_until_time=FUTURE if live else PAST,
    )
    page = client.get(RECEIPT).text
    assert ("deja de abrir los datos:" in page, "Ahora no abre nada." in page) == (live, not live)


def test_the_page_of_a_receipt_says_that_she_may_have_been_told_other_words(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetReceipt"] = p.Receipt(
        id=ID, genuine=True, giver_code=p.GIVER_PERSON, explained_codes=[p.EXPLAINED_PURPOSE]
    )
    assert "las que se le dijeron ese día pueden ser otras" in client.get(RECEIPT).text


def test_a_receiver_withdraws_a_consent_for_the_person_from_the_page_of_the_referral(
    fakes: FakePageServices,
) -> None:
    fakes.answers["GetReferral"] = r.Referral(
        id=ID,
        state=r.STATE_ACCEPTED,
        side=r.SIDE_RECEIVER,
        live=True,
        person_id=ID,
        receipt_id=ID,
    )
    fakes.answers["GetReceipt"] = fakes.answers["WithdrawReceipt"] = p.Receipt(
        id=ID, person_id=ID, recipient_organization_id=ID, genuine=True, live=True
    )
    client = signed_in_as(fakes, contract_pb2.ROLE_WORKER)
    assert f'href="{RECEIPT}"' in client.get(f"/referrals/{ID}").text
    page = client.get(RECEIPT).text
    assert f'href="/people/{ID}"' not in page, (
        "after a withdrawal, the receiver can't find the file"
    )
    answer = send(client, RECEIPT, f"{RECEIPT}/withdraw")
    assert (answer.status_code, answer.location) == (303, f"{RECEIPT}?done=receipt_withdrawn")
    assert fakes.last("WithdrawReceipt").id == ID


@pytest.mark.parametrize(("until", "is_over"), [(FUTURE, False), (PAST, True)])
def test_the_page_of_an_expired_receipt_says_that_it_expired_and_promises_no_end_of_access(
    until: Timestamp, is_over: bool, fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetReceipt"] = p.Receipt(
        id=ID, genuine=True, giver_code=p.GIVER_PERSON, live=True, until_time=until
    )
    page = client.get(RECEIPT).text
    assert (
        "Ya venció" in page,
        "El acceso termina al instante" in page,
        "Retirar este consentimiento" in page,
    ) == (is_over, not is_over, True)


def test_the_file_states_for_each_receipt_whether_it_waits_or_no_longer_opens_any_data(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    waiting_receipt = p.Receipt(
        id="a" * 32,
        genuine=True,
        giver_code=p.GIVER_AUTHORITY,
        giver_ground_code=p.GIVER_GROUND_COURT_ORDER,
        confirm_until_time=FUTURE,
    )
    outdated_receipt = p.Receipt(id="b" * 32, genuine=True, giver_code=p.GIVER_PERSON)
    live_receipt = p.Receipt(id="b" * 32, genuine=True, giver_code=p.GIVER_PERSON, live=True)
    for receipt, waits, opens_nothing in (
        (waiting_receipt, True, False),
        (outdated_receipt, False, True),
        (live_receipt, False, False),
    ):
        fakes.answers["ListReceipts"] = p.ListReceiptsResponse(receipts=[receipt])
        page = client.get(f"/people/{ID}").text
        assert ("Falta confirmar" in page, "Ya no abre nada" in page) == (waits, opens_nothing)
