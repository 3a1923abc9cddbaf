"""A service of police or prosecution is never listed without its mark."""

import re

import pytest
from flask.testing import FlaskClient

from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import open_data_pb2 as o
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import referrals_pb2 as r
from tests.gateway.pages_gateway import ID, FakePageServices, page_at, routes, submit

NAME, MARK = "Denuncia Ñandú", "comparte con la policía"
POLICE = d.Service(
    id=ID,
    name=NAME,
    organization_id="b" * 32,
    organization_name="Comisaría",
    organization_type=d.ORGANIZATION_TYPE_LAW_ENFORCEMENT,
    shares_with=d.SHARES_WITH_POLICE,
    need_codes=["HOU.EMG"],
    active=True,
)
ITEM = re.compile(
    r"(?=<(?:li|dd|option|label|section|h1|h2)\b|<p class=\"(?:sub|note)|<textarea|<input)"
)
"""The start of the next item: the text before it is about another service."""
NOT_LISTED = {
    "directory.capacity",  # the service's own people set its capacity
    "entry.show",  # the service's own people change its entry
}


@pytest.fixture
def fakes() -> FakePageServices:
    services = FakePageServices()
    names_answer = services.answers["BatchGet"]
    assert isinstance(names_answer, d.BatchGetResponse)
    public_service = o.PublicService(
        service=POLICE,
        organization=d.Organization(id=ID, name="Comisaría", shares_with=d.SHARES_WITH_POLICE),
    )
    match = d.Match(service=POLICE, verdict=d.VERDICT_FITS)
    services.answers |= {
        "MatchServices": d.MatchServicesResponse(matches=[match]),
        "SearchServices": d.SearchServicesResponse(services=[POLICE], total_size=1),
        "GetService": POLICE,
        "BatchGet": d.BatchGetResponse(
            organizations=names_answer.organizations,
            services=[POLICE],
            worker_names=names_answer.worker_names,
        ),
        "ListPublicServices": o.ListPublicServicesResponse(services=[public_service], total_size=1),
        "PreviewEnquiry": e.EnquiryPreview(service_count=1, organization_count=1, similar_cases=5),
    }
    return services


def unmarked_parts(page: str) -> list[str]:
    """Returns the parts of a page that name the service without its mark."""
    main = page.partition('<main id="main"')[2].partition("</main>")[0]
    visible_text = re.sub(r'<span class="unseen">.*?</span>', "", main)
    return [part for part in ITEM.split(visible_text) if NAME in part and MARK not in part]


def test_the_check_detects_a_service_without_its_mark() -> None:
    rows = f"<li><h3>{NAME}</h3><p>Comisaría</p></li><li><h3>Otra</h3><p>{MARK}</p></li>"
    assert len(unmarked_parts(f'<main id="main">{rows}</main>')) == 1


def test_no_page_shows_a_police_service_without_its_mark(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    page_of = {
        endpoint: page_at(client, path)
        for endpoint, path in routes(client.application)
        if endpoint not in NOT_LISTED
    }
    assert {endpoint for endpoint, page in page_of.items() if unmarked_parts(page)} == set()
    assert {endpoint for endpoint, page in page_of.items() if NAME in page} >= {
        "referral.show",
        "referral_new.services",
        "referral_new.check",
        "enquiries.show",
        "directory.organization",
    }


def test_no_answer_to_a_form_lists_a_police_service_without_its_mark(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    form = client.get("/directory").text
    for path in ("/directory", "/services"):
        page = submit(client, path, form, words="denuncia").text
        assert (NAME in page, unmarked_parts(page)) == (True, []), path
    fields = {
        "need_code": "HOU.EMG",
        "urgency": "immediate",
        "unsafe_code": "nothing",
        "languages": "es",
    }
    assert f"Comisaría · {MARK}" in submit(client, "/enquiries/new", form, **fields).text
    fakes.answers["GetReferral"] = r.Referral(
        id=ID, side=r.SIDE_NETWORK, allowed_verbs=["reroute"], need_code="HOU.EMG"
    )
    several_page = submit(client, "/board/several", form, step="reroute", chosen=f"{ID}:v1").text
    assert f"{NAME} · Comisaría · {MARK}" in several_page


@pytest.mark.parametrize(
    ("language", "mark"),
    [("es", MARK), ("en", "shares with the police"), ("fr", "partage avec la police")],
)
def test_the_mark_is_in_the_readers_language(language: str, mark: str, client: FlaskClient) -> None:
    assert mark in client.get(f"/directory/organizations/{ID}?lang={language}").text
