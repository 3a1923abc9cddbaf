"""The sheet that tells a person who knows what about her."""

from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from werkzeug.test import TestResponse

from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.site.language import vocabulary
from services.gateway.site.parts import sheet as sheet_module
from tests.gateway.pages_gateway import ID, FakePageServices, enter, missing, pages

SHELTER = "a" * 32
NOW = datetime.now(UTC).replace(microsecond=0)


def receipt(**fields: object) -> p.Receipt:
    """Returns a consent of ten days ago, with these fields in place of the defaults."""
    defaults: dict[str, Any] = {
        "id": "b" * 32,
        "person_id": ID,
        "recipient_organization_id": SHELTER,
        "field_groups": [p.FIELD_GROUP_IDENTITY, p.FIELD_GROUP_HEALTH],
        "purpose_codes": ["HOU.EMG"],
        "giver_code": p.GIVER_PERSON,
        "genuine": True,
        "live": True,
        "create_time": NOW - timedelta(days=10),
        "until_time": NOW + timedelta(days=80),
    }
    return p.Receipt(**defaults | fields)


def reading(days: int, allowed: bool = True, organization: str = SHELTER) -> p.Reading:
    """Returns an access that happened `days` days ago."""
    return p.Reading(
        organization_id=organization,
        field_groups=[p.FIELD_GROUP_IDENTITY],
        allowed=allowed,
        time=NOW - timedelta(days=days),  # type: ignore[arg-type]  # the stubs lack datetime
    )


@pytest.fixture
def fakes() -> FakePageServices:
    members = [
        d.Organization(id=ID, name="Casa Puentes"),
        d.Organization(id=SHELTER, name="Luna Nueva"),
    ]
    readings = [reading(1), reading(3), reading(20), reading(2, allowed=False)]
    return FakePageServices(
        {
            "GetPerson": p.Person(id=ID, organization_id=ID, code="7QK4M2"),
            "BatchGet": d.BatchGetResponse(organizations=members),
            "ListReceipts": p.ListReceiptsResponse(receipts=[receipt()]),
            "ListReadings": p.ListReadingsResponse(readings=readings),
            "ListReferrals": r.ListReferralsResponse(),
            "ListEnquiries": e.ListEnquiriesResponse(),
        }
    )


def get_sheet(fakes: FakePageServices, end: str = "", status: int = 200) -> TestResponse:
    """Returns the answer to a request for the sheet, which has this status."""
    answer = enter(pages(fakes).test_client()).get(f"/people/{ID}/knows{end}")
    assert answer.status_code == status
    return answer


@pytest.mark.parametrize(
    ("receipts", "shown", "not_shown"),
    [
        pytest.param(
            [receipt()],
            # Opened twice since her consent. Earlier and refused accesses do not count: they gave
            # this organisation no knowledge under this consent.
            ["Luna Nueva", "Casa Puentes", "2 veces"],
            ["Termina pronto"],
            id="who knows what for which purpose and until when",
        ),
        pytest.param(
            [
                receipt(id="c" * 32, create_time=NOW - timedelta(days=4)),
                receipt(live=False, withdraw_time=NOW - timedelta(days=5)),
            ],
            ["2 veces", "Nunca."],
            [],
            id="an access on a later consent does not count as one on a consent that had ended",
        ),
        pytest.param(
            [receipt(until_time=NOW + timedelta(days=5))],
            ["Termina pronto"],
            [],
            id="a consent that ends soon is marked",
        ),
        pytest.param(
            [receipt(live=False, until_time=NOW - timedelta(days=1))],
            ["ya no abre nada"],
            ["Hasta el"],
            id="a consent that has ended opens nothing",
        ),
        pytest.param(
            [
                receipt(
                    live=False,
                    giver_code=p.GIVER_BEST_INTEREST,
                    confirm_until_time=NOW + timedelta(days=80),
                )
            ],
            ["No abre nada mientras otra persona no lo confirme."],
            ["Hasta el"],
            id="a receipt that waits for a second person opens nothing",
        ),
        pytest.param(
            [receipt(live=False, giver_code=p.GIVER_BEST_INTEREST)],
            ["Ahora no abre nada."],
            ["Hasta el"],
            id="the account of the worker who recorded a receipt was suspended",
        ),
        pytest.param(
            [
                receipt(
                    live=False,
                    reason_code=r.OVERRIDE_REASON_LIFE_AT_RISK,
                    confirm_until_time=NOW - timedelta(hours=1),
                )
            ],
            ["Ahora no abre nada."],
            ["Hasta el"],
            id="nobody confirmed an override in time",
        ),
        pytest.param(
            [receipt(live=False, giver_code=p.GIVER_PERSON)],
            ["Ahora no abre nada."],
            ["Hasta el"],
            id="a consent of the person opens nothing now",
        ),
    ],
)
def test_the_sheet_states_who_knows_what_and_which_receipts_open_nothing(
    fakes: FakePageServices, receipts: list[p.Receipt], shown: list[str], not_shown: list[str]
) -> None:
    fakes.answers["ListReceipts"] = p.ListReceiptsResponse(receipts=receipts)
    assert missing(get_sheet(fakes).text, *shown, *not_shown) == not_shown


@pytest.mark.parametrize(
    ("confirmations", "due", "expected"),
    [
        ([False], 2, "Tienen que confirmar hasta el"),
        ([False], -1, "y todavía no lo hicieron"),
        ([True], 2, "Confirmaron el"),
        ([True, False], 2, "Tienen que confirmar hasta el"),
        ([True, True], 2, "Confirmaron el"),
    ],
)
def test_after_a_withdrawal_the_sheet_states_whether_the_data_were_destroyed(
    fakes: FakePageServices, confirmations: list[bool], due: int, expected: str
) -> None:
    withdrawn_receipt = receipt(live=False, withdraw_time=NOW - timedelta(days=1))
    fakes.answers["ListReceipts"] = p.ListReceiptsResponse(receipts=[withdrawn_receipt])
    referrals = []
    for is_confirmed in confirmations:
        clock = r.Clock(kind=r.CLOCK_KIND_DELETION)
        clock.due_time.FromDatetime(NOW + timedelta(days=due))
        if is_confirmed:
            clock.stop_time.FromDatetime(NOW)
        referrals.append(r.Referral(id=ID, receipt_id=withdrawn_receipt.id, clocks=[clock]))
    fakes.answers["ListReferrals"] = r.ListReferralsResponse(referrals=referrals)
    assert missing(get_sheet(fakes).text, expected, "Se retiró el") == []


def test_an_organisation_that_still_holds_an_enquiry_about_her_is_on_the_screen_and_on_the_paper(
    fakes: FakePageServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = e.EnquiryContent(
        need_code="HOU.EMG", age_band=r.AGE_BAND_18_TO_24, languages=["es"], dependants=0
    )
    enquiries = [
        e.Enquiry(
            state=state,
            content=content,
            offers=[
                e.Offer(organization_id=SHELTER, holds_content=True),
                e.Offer(organization_id=ID),
            ],
            left_out_attributes=[e.ENQUIRY_ATTRIBUTE_LANGUAGES],
        )
        for state in (e.ENQUIRY_STATE_OPEN, e.ENQUIRY_STATE_MATCHED)
    ]
    answers = iter(
        [
            e.ListEnquiriesResponse(enquiries=enquiries[:1], next_page_token="more"),
            e.ListEnquiriesResponse(enquiries=enquiries[1:]),
        ]
    )
    fakes.answers |= {
        "ListEnquiries": lambda request: next(answers),
        "ListReceipts": p.ListReceiptsResponse(),
    }
    page = get_sheet(fakes).text
    assert {request.person_id for rpc, request, _ in fakes.calls if rpc == "ListEnquiries"} == {ID}
    assert (page.count("<h2>Luna Nueva</h2>"), page.count("<h2>Casa Puentes</h2>")) == (1, 0)
    texts = (
        "ayuda y urgencia, edad, hijos o familiares a cargo.",
        "Hasta que se cierre la consulta: entonces se borra.",
        "Se aceptó lo que ofreció: se borra cuando termina la remisión.",
    )
    assert missing(page, *texts) == []
    assert "Retirar o imprimir el permiso" not in page, "there is no consent to withdraw"
    draw = Mock(return_value=b"%PDF-")
    monkeypatch.setattr(sheet_module, "pdf", draw)
    fakes.answers["ListEnquiries"] = e.ListEnquiriesResponse(enquiries=enquiries)
    get_sheet(fakes, ".pdf")
    assert missing(repr(draw.call_args), "Luna Nueva", "Nadie más tiene") == ["Nadie más tiene"]


def test_a_person_is_not_told_that_she_has_a_reference_which_only_a_line_gives(
    fakes: FakePageServices,
) -> None:
    assert "si tiene referencia y PIN" in get_sheet(fakes).text
    assert "si los tiene" in vocabulary.TABLES["explained"]["how_to_withdraw"]


def test_every_access_to_the_file_is_on_the_sheet_however_many_pages_they_fill(
    fakes: FakePageServices,
) -> None:
    answers = iter(
        [
            p.ListReadingsResponse(readings=[reading(1)], next_page_token="more"),
            p.ListReadingsResponse(readings=[reading(4, organization=ID)]),
        ]
    )
    fakes.answers["ListReadings"] = lambda request: next(answers)
    page = get_sheet(fakes).text
    assert [request.page_token for request in fakes.requests("ListReadings")] == ["", "more"]
    assert page.count("Casa Puentes") >= 2


def test_there_is_no_sheet_of_a_file_that_another_organisation_holds(
    fakes: FakePageServices,
) -> None:
    fakes.answers["GetPerson"] = p.Person(id=ID, organization_id=SHELTER)
    get_sheet(fakes, status=404)
    get_sheet(fakes, ".pdf", status=404)


@pytest.mark.parametrize("language", ["es", "en", "fr"])
def test_the_sheet_is_printed_in_the_persons_language_and_never_names_her(
    fakes: FakePageServices, language: str
) -> None:
    answer = get_sheet(fakes, f".pdf?lang={language}")
    file = answer.data
    assert (file[:5], f"/Lang ({language})".encode() in file) == (b"%PDF-", True)
    assert "Set-Cookie" not in answer.headers, "the worker's pages stay in her own language"
    assert fakes.requests("OpenPerson") == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"giver_code": p.GIVER_GUARDIAN, "assent_code": p.ASSENT_GIVEN}, "18 años"),
        ({"giver_code": p.GIVER_BEST_INTEREST, "assent_code": p.ASSENT_REFUSED}, "18 años"),
        ({"giver_code": p.GIVER_AUTHORITY, "assent_code": p.ASSENT_TOO_YOUNG}, "12 años"),
        ({"giver_code": p.GIVER_PERSON}, ""),
    ],
)
def test_the_pages_state_the_age_at_which_a_consent_for_a_child_ends_at_the_latest(
    fakes: FakePageServices, fields: dict[str, object], expected: str
) -> None:
    consent = receipt(**fields)
    fakes.answers |= {
        "ListReceipts": p.ListReceiptsResponse(receipts=[consent]),
        "GetReceipt": consent,
    }
    sentence = f"o antes, al cumplir {expected}" if expected else "o antes"
    client = enter(pages(fakes).test_client())
    for path in (f"/people/{ID}", f"/people/{ID}/knows", f"/people/receipts/{ID}"):
        assert (sentence in client.get(path).text) == bool(expected), path
