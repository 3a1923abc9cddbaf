"""The sheet that tells a person who knows what about her."""

from datetime import UTC, datetime, timedelta

import pytest
from flask.testing import FlaskClient

from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.site.parts import sheet as paper
from tests.gateway.api_gateway import ID
from tests.gateway.pages_gateway import PlayedServices, enter, pages

SHELTER = "a" * 32
NOW = datetime.now(UTC).replace(microsecond=0)


def receipt(**fields: object) -> p.Receipt:
    created = p.Receipt(
        id="b" * 32,
        person_id=ID,
        recipient_organization_id=SHELTER,
        field_groups=[p.FIELD_GROUP_IDENTITY, p.FIELD_GROUP_HEALTH],
        purpose_codes=["HOU.EMG"],
        giver_code=p.GIVER_PERSON,
        genuine=True,
        live=True,
    )
    created.create_time.FromDatetime(NOW - timedelta(days=10))
    created.until_time.FromDatetime(NOW + timedelta(days=80))
    for name, value in fields.items():
        if isinstance(value, datetime):
            getattr(created, name).FromDatetime(value)
        else:
            setattr(created, name, value)
    return created


def reading(days: int, allowed: bool = True, organization: str = SHELTER) -> p.Reading:
    created = p.Reading(
        organization_id=organization, field_groups=[p.FIELD_GROUP_IDENTITY], allowed=allowed
    )
    created.time.FromDatetime(NOW - timedelta(days=days))
    return created


@pytest.fixture
def played() -> PlayedServices:
    created = PlayedServices()
    created.answers["GetPerson"] = p.Person(id=ID, organization_id=ID, code="7QK4M2")
    created.answers["BatchGet"] = d.BatchGetResponse(
        organizations=[
            d.Organization(id=ID, name="Casa Puentes"),
            d.Organization(id=SHELTER, name="Luna Nueva"),
        ]
    )
    created.answers["ListReceipts"] = p.ListReceiptsResponse(receipts=[receipt()])
    created.answers["ListReadings"] = p.ListReadingsResponse(
        readings=[reading(1), reading(3), reading(20), reading(2, allowed=False)]
    )
    created.answers["ListReferrals"] = r.ListReferralsResponse()
    created.answers["ListEnquiries"] = e.ListEnquiriesResponse()
    return created


def sheet(played: PlayedServices, end: str = "") -> str:
    client: FlaskClient = enter(pages(played).test_client())
    answer = client.get(f"/people/{ID}/knows{end}")
    assert answer.status_code == 200
    return answer.text if not end else str(len(answer.data))


def test_the_sheet_states_who_knows_what_for_which_purpose_and_until_when(
    played: PlayedServices,
) -> None:
    page = sheet(played)
    assert "Luna Nueva" in page
    assert "Casa Puentes" in page
    assert "Termina pronto" not in page
    # Opened twice since her consent. Earlier and refused accesses do not count: they gave this
    # organisation no knowledge under this consent.
    assert "2 veces" in page


def test_a_consent_that_ends_soon_is_marked(played: PlayedServices) -> None:
    played.answers["ListReceipts"] = p.ListReceiptsResponse(
        receipts=[receipt(until_time=NOW + timedelta(days=5))]
    )
    assert "Termina pronto" in sheet(played)


@pytest.mark.parametrize(
    ("confirmed", "due", "expected"),
    [
        ([False], 2, "Tienen que confirmar hasta el"),
        ([False], -1, "y todavía no lo hicieron"),
        ([True], 2, "Confirmaron el"),
        ([True, False], 2, "Tienen que confirmar hasta el"),
        ([True, True], 2, "Confirmaron el"),
    ],
)
def test_after_a_withdrawal_the_sheet_states_whether_the_data_were_destroyed(
    played: PlayedServices, confirmed: list[bool], due: int, expected: str
) -> None:
    withdrawn = receipt(live=False, withdraw_time=NOW - timedelta(days=1))
    played.answers["ListReceipts"] = p.ListReceiptsResponse(receipts=[withdrawn])
    referrals = []
    for is_confirmed in confirmed:
        clock = r.Clock(kind=r.CLOCK_KIND_DELETION)
        clock.due_time.FromDatetime(NOW + timedelta(days=due))
        if is_confirmed:
            clock.stop_time.FromDatetime(NOW)
        referrals.append(r.Referral(id=ID, receipt_id=withdrawn.id, clocks=[clock]))
    played.answers["ListReferrals"] = r.ListReferralsResponse(referrals=referrals)
    page = sheet(played)
    assert expected in page
    assert "Se retiró el" in page


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"until_time": NOW - timedelta(days=1)}, "ya no abre nada"),
        (
            {
                "giver_code": p.GIVER_BEST_INTEREST,
                "confirm_until_time": NOW + timedelta(days=80),
            },
            "No abre nada mientras otra persona no lo confirme.",
        ),
        # the account of the worker who recorded it was suspended
        ({"giver_code": p.GIVER_BEST_INTEREST}, "Ahora no abre nada."),
        # nobody confirmed the override in time
        (
            {
                "reason_code": r.OVERRIDE_REASON_LIFE_AT_RISK,
                "confirm_until_time": NOW - timedelta(hours=1),
            },
            "Ahora no abre nada.",
        ),
        ({"giver_code": p.GIVER_PERSON}, "Ahora no abre nada."),
    ],
)
def test_the_sheet_says_that_a_receipt_opens_nothing_and_why(
    played: PlayedServices, fields: dict[str, object], expected: str
) -> None:
    played.answers["ListReceipts"] = p.ListReceiptsResponse(
        receipts=[receipt(live=False, **fields)]
    )
    page = sheet(played)
    assert expected in page
    assert "Hasta el" not in page


def test_an_organisation_that_still_holds_an_enquiry_about_her_is_on_the_screen_and_on_the_paper(
    played: PlayedServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = e.EnquiryContent(
        need_code="HOU.EMG", age_band=r.AGE_BAND_18_TO_24, languages=["es"], dependants=0
    )
    put_to = [e.Offer(organization_id=SHELTER, holds_content=True), e.Offer(organization_id=ID)]
    left_out = [e.ENQUIRY_ATTRIBUTE_LANGUAGES]
    values = [
        e.Enquiry(state=state, content=content, offers=put_to, left_out_attributes=left_out)
        for state in (e.ENQUIRY_STATE_OPEN, e.ENQUIRY_STATE_MATCHED)
    ]
    answers = iter(
        [
            e.ListEnquiriesResponse(enquiries=values[:1], next_page_token="more"),
            e.ListEnquiriesResponse(enquiries=values[1:]),
        ]
    )
    played.answers["ListEnquiries"] = lambda request: next(answers)
    played.answers["ListReceipts"] = p.ListReceiptsResponse()
    page = sheet(played)
    assert {request.person_id for name, request, _ in played.asked if name == "ListEnquiries"} == {
        ID
    }
    assert (page.count("<h2>Luna Nueva</h2>"), page.count("<h2>Casa Puentes</h2>")) == (1, 0)
    assert "ayuda y urgencia, edad, hijos o familiares a cargo." in page
    for text in (
        "Hasta que se cierre la consulta: entonces se borra.",
        "Se aceptó lo que ofreció: lo conserva.",
    ):
        assert text in page
    assert "Retirar o imprimir el permiso" not in page, "there is no consent to withdraw"
    printed = list[object]()

    def pdf(*parts: object) -> bytes:
        printed.extend(parts)
        return b"%PDF-"

    monkeypatch.setattr(paper, "pdf", pdf)
    played.answers["ListEnquiries"] = e.ListEnquiriesResponse(enquiries=values)
    sheet(played, ".pdf")
    assert "Luna Nueva" in repr(printed)
    assert "Nadie más sabe" not in repr(printed)


def test_every_access_to_the_file_is_on_the_sheet_however_many_pages_they_fill(
    played: PlayedServices,
) -> None:
    answers = iter(
        [
            p.ListReadingsResponse(readings=[reading(1)], next_page_token="more"),
            p.ListReadingsResponse(readings=[reading(4, organization=ID)]),
        ]
    )
    played.answers["ListReadings"] = lambda request: next(answers)
    assert [request.page_token for name, request, _ in played.asked if name == "ListReadings"] == []
    page = sheet(played)
    assert [request.page_token for name, request, _ in played.asked if name == "ListReadings"] == [
        "",
        "more",
    ]
    assert page.count("Casa Puentes") >= 2


def test_there_is_no_sheet_of_a_file_that_another_organisation_holds(
    played: PlayedServices,
) -> None:
    played.answers["GetPerson"] = p.Person(id=ID, organization_id=SHELTER)
    client = enter(pages(played).test_client())
    assert (
        client.get(f"/people/{ID}/knows").status_code
        == client.get(f"/people/{ID}/knows.pdf").status_code
        == 404
    )


@pytest.mark.parametrize("language", ["es", "en", "fr"])
def test_the_sheet_is_printed_in_the_persons_language_and_never_names_her(
    played: PlayedServices, language: str
) -> None:
    client = enter(pages(played).test_client())
    answer = client.get(f"/people/{ID}/knows.pdf?lang={language}")
    assert answer.status_code == 200
    assert answer.data.startswith(b"%PDF-")
    assert f"/Lang ({language})".encode() in answer.data
    assert {name for name, *_ in played.asked} & {"OpenPerson"} == set()
