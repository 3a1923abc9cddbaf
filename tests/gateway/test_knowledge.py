"""Who knows what of a person: the sheet that is hers."""

from datetime import UTC, datetime, timedelta

import pytest
from flask.testing import FlaskClient

from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from tests.gateway.api_gateway import ID
from tests.gateway.pages_gateway import PlayedServices, enter, pages

SHELTER = "a" * 32
NOW = datetime.now(UTC).replace(microsecond=0)


def receipt(**fields: object) -> p.Receipt:
    made = p.Receipt(
        id="b" * 32,
        person_id=ID,
        recipient_organization_id=SHELTER,
        field_groups=[p.FIELD_GROUP_IDENTITY, p.FIELD_GROUP_HEALTH],
        purpose_codes=["HOU.EMG"],
        giver_code=p.GIVER_PERSON,
        genuine=True,
        live=True,
    )
    made.create_time.FromDatetime(NOW - timedelta(days=10))
    made.until_time.FromDatetime(NOW + timedelta(days=80))
    for name, value in fields.items():
        if isinstance(value, datetime):
            getattr(made, name).FromDatetime(value)
        else:
            setattr(made, name, value)
    return made


def reading(days: int, allowed: bool = True, organization: str = SHELTER) -> p.Reading:
    made = p.Reading(organization_id=organization, field_groups=[p.FIELD_GROUP_IDENTITY], allowed=allowed)
    made.time.FromDatetime(NOW - timedelta(days=days))
    return made


@pytest.fixture
def played() -> PlayedServices:
    made = PlayedServices()
    made.answers["GetPerson"] = p.Person(id=ID, organization_id=ID, code="7QK4M2")
    made.answers["BatchGet"] = d.BatchGetResponse(
        organizations=[d.Organization(id=ID, name="Casa Puentes"), d.Organization(id=SHELTER, name="Luna Nueva")]
    )
    made.answers["ListReceipts"] = p.ListReceiptsResponse(receipts=[receipt()])
    made.answers["ListReadings"] = p.ListReadingsResponse(readings=[reading(1), reading(3), reading(20), reading(2, allowed=False)])
    made.answers["ListReferrals"] = r.ListReferralsResponse()
    return made


def sheet(played: PlayedServices, end: str = "") -> str:
    client: FlaskClient = enter(pages(played).test_client())
    answer = client.get(f"/people/{ID}/knows{end}")
    assert answer.status_code == 200
    return answer.text if not end else str(len(answer.data))


def test_it_says_who_knows_what_for_what_and_until_when(played: PlayedServices) -> None:
    page = sheet(played)
    assert "Luna Nueva" in page
    assert "Casa Puentes" in page
    assert "Termina pronto" not in page
    # Opened twice since she allowed it: what came before, and what was refused, is not this organisation's knowledge by this consent.
    assert "2 veces" in page


def test_a_consent_that_ends_soon_is_asked_for_again(played: PlayedServices) -> None:
    played.answers["ListReceipts"] = p.ListReceiptsResponse(receipts=[receipt(until_time=NOW + timedelta(days=5))])
    assert "Termina pronto" in sheet(played)


@pytest.mark.parametrize(("confirmed", "said"), [(False, "Tienen que confirmar hasta el"), (True, "Confirmaron el")])
def test_after_a_withdrawal_it_says_whether_what_they_kept_is_destroyed(played: PlayedServices, confirmed: bool, said: str) -> None:
    gone = receipt(live=False, withdraw_time=NOW - timedelta(days=1))
    played.answers["ListReceipts"] = p.ListReceiptsResponse(receipts=[gone])
    clock = r.Clock(kind=r.CLOCK_KIND_DELETION)
    clock.due_time.FromDatetime(NOW + timedelta(days=2))
    if confirmed:
        clock.stop_time.FromDatetime(NOW)
    played.answers["ListReferrals"] = r.ListReferralsResponse(referrals=[r.Referral(id=ID, receipt_id=gone.id, clocks=[clock])])
    page = sheet(played)
    assert said in page
    assert "Se retiró el" in page


def test_every_look_at_the_file_is_on_it_however_many_pages_they_fill(played: PlayedServices) -> None:
    told = iter(
        [
            p.ListReadingsResponse(readings=[reading(1)], next_page_token="more"),
            p.ListReadingsResponse(readings=[reading(4, organization=ID)]),
        ]
    )
    played.answers["ListReadings"] = lambda request: next(told)
    assert [request.page_token for name, request, _ in played.asked if name == "ListReadings"] == []
    page = sheet(played)
    assert [request.page_token for name, request, _ in played.asked if name == "ListReadings"] == ["", "more"]
    assert page.count("Casa Puentes") >= 2


def test_nobody_has_a_sheet_of_a_file_that_another_organisation_holds(played: PlayedServices) -> None:
    played.answers["GetPerson"] = p.Person(id=ID, organization_id=SHELTER)
    client = enter(pages(played).test_client())
    assert client.get(f"/people/{ID}/knows").status_code == client.get(f"/people/{ID}/knows.pdf").status_code == 404


@pytest.mark.parametrize("language", ["es", "en", "fr"])
def test_it_is_printed_in_her_language_and_never_names_her(played: PlayedServices, language: str) -> None:
    client = enter(pages(played).test_client())
    answer = client.get(f"/people/{ID}/knows.pdf?lang={language}")
    assert answer.status_code == 200
    assert answer.data.startswith(b"%PDF-")
    assert f"/Lang ({language})".encode() in answer.data
    assert {name for name, *_ in played.asked} & {"OpenPerson"} == set()
