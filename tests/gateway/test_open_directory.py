"""The public directory: the data that anybody can read, and the data that nobody can read.

The tests also check the search, and the pages that have nothing to show.
"""

import re
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from chassis import errors
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import locations_pb2 as l
from protos.partners.v1 import open_data_pb2 as o
from services.gateway.edge.clients import ServiceFault
from services.gateway.site.language import i18n
from services.gateway.site.public.open_directory import days, hours
from tests.gateway.page_forms import sent_fields
from tests.gateway.pages_gateway import ID, FakePageServices, enter, missing, pages, submit

LAWYER = {"words": "abogada", "need_code": "LEG", "department": "NI-CI"}
PUBLIC_RPCS = {"ListPublicServices", "ListPublicOrganizations", "ListHotlines", "ListTaxonomyTerms"}


@pytest.fixture
def fakes() -> FakePageServices:
    return FakePageServices(
        {
            "ListHotlines": d.ListHotlinesResponse(
                hotlines=[
                    d.Hotline(country="NI", number="133"),
                    d.Hotline(country="CR", number="911"),
                ]
            )
        }
    )


def service(**fields: object) -> o.PublicService:
    """Returns a public service whose location may be shown."""
    message = o.PublicService(
        service=d.Service(
            id=ID,
            organization_id=ID,
            name="Asesoría",
            description="Derechos",
            need_codes=["LEG"],
            country="NI",
            department="NI-CI",
            phone="+50523410000",
            schedules=[
                d.Schedule(
                    freq=d.FREQUENCY_WEEKLY,
                    byday=["MO", "TU", "WE", "TH", "FR"],
                    opens_at="08:00",
                    closes_at="17:00",
                )
            ],
        ),
        organization=d.Organization(
            id=ID,
            name="Casa",
            description="De qué se ocupa",
            country="NI",
            department="NI-CI",
            url="https://casa.example",
        ),
    )
    office = message.service_at_locations.add(
        location=l.Location(name="Oficina", address="Del parque 2c", department="NI-CI")
    )
    office.phones.add(number="+50523410002")
    message.MergeFrom(o.PublicService(**fields))  # type: ignore[arg-type]
    return message


def search(
    visitor: FlaskClient,
    fakes: FakePageServices,
    *services: o.PublicService,
    next_page: str = "",
    **fields: str,
) -> TestResponse:
    """Returns the answer to the form when these services are found."""
    fakes.answers["ListPublicServices"] = o.ListPublicServicesResponse(
        services=services, total_size=len(services), next_page_token=next_page
    )
    return send(visitor, **fields)


def send(visitor: FlaskClient, **fields: str) -> TestResponse:
    """Sends the form of the directory."""
    return submit(visitor, "/services", visitor.get("/services").text, **fields)


def main(text: str) -> str:
    """Returns the content of a page without the frame that all pages have."""
    return text[text.index('<main id="main"') : text.index("</main>")]


def test_the_home_page_links_to_the_directory_which_begins_with_help_for_people_in_danger(
    visitor: FlaskClient,
) -> None:
    assert 'href="/services"' in visitor.get("/").text
    page = main(visitor.get("/services").text)
    assert page.index("Si corre peligro") < page.index('href="tel:133"') < page.index("<form")
    assert 'href="tel:911"' in visitor.get("/services", headers={"Accept-Language": "es-CR"}).text


def test_a_result_states_whom_to_call_when_and_where(
    visitor: FlaskClient, fakes: FakePageServices
) -> None:
    page = main(search(visitor, fakes, service(), words="derechos").text)
    parts = (
        "Asesoría",
        f'href="/services/organizations/{ID}"',
        "Chinandega, Nicaragua",
        'href="tel:+50523410000"',
        "lunes a viernes: 08:00–17:00",
        "Oficina, Del parque 2c, Chinandega",
        'href="tel:+50523410002"',
        'href="https://casa.example" rel="noreferrer nofollow"',
        "Derechos",
    )
    assert missing(page, *parts) == []


@pytest.mark.parametrize(
    ("total", "expected"),
    [(1, "1 servicio"), (999, "999 servicios"), (1000, "Mil servicios o más")],
)
def test_a_total_of_a_thousand_or_more_is_not_stated_exactly(
    visitor: FlaskClient, fakes: FakePageServices, total: int, expected: str
) -> None:
    fakes.answers["ListPublicServices"] = o.ListPublicServicesResponse(
        services=[service()], total_size=total
    )
    assert f'<h2 id="found">{expected}</h2>' in send(visitor).text


def test_no_result_for_housing_shows_its_place(
    visitor: FlaskClient, fakes: FakePageServices
) -> None:
    shelter = service(service=d.Service(need_codes=["HOU.RENT"]))
    fakes.answers["ListPublicOrganizations"] = o.ListPublicOrganizationsResponse(
        organizations=[shelter.organization]
    )
    results = search(visitor, fakes, shelter).text.partition('<ul class="rows">')[2]
    notice = "no se dice dónde está, por seguridad"
    parts = ["Chinandega", "Oficina", "parque", "23410002", "Derechos", "De qué se ocupa"]
    for page in (
        results.partition("</ul>")[0],
        main(visitor.get(f"/services/organizations/{ID}").text),
    ):
        assert missing(page, notice, *parts) == parts
    legal_pages = (
        main(search(visitor, fakes, service()).text)
        + visitor.get(f"/services/organizations/{ID}").text
    )
    assert legal_pages.count("Chinandega") > 2


def test_the_place_of_a_member_whose_services_fill_more_than_one_page_is_not_shown(
    visitor: FlaskClient, fakes: FakePageServices
) -> None:
    legal = service()
    fakes.answers["ListPublicOrganizations"] = o.ListPublicOrganizationsResponse(
        organizations=[legal.organization]
    )
    fakes.answers["ListPublicServices"] = o.ListPublicServicesResponse(
        services=[legal], total_size=101, next_page_token="next"
    )
    page = main(visitor.get(f"/services/organizations/{ID}").text)
    assert missing(page, "no se dice dónde está, por seguridad") == []
    assert missing(page, "De qué se ocupa") == ["De qué se ocupa"]


def test_a_search_for_housing_says_that_shelters_are_reached_by_phone(
    visitor: FlaskClient, fakes: FakePageServices
) -> None:
    notice = "Los albergues y las casas seguras no están en esta lista"
    for code in ("HOU", "HOU.EMG"):
        assert notice in search(visitor, fakes, need_code=code).text
    assert notice not in search(visitor, fakes, need_code="LEG").text


def test_search_words_appear_in_no_url_and_only_open_data_are_requested(
    visitor: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.calls.clear()
    page = search(visitor, fakes, service(), next_page="siguiente", **LAWYER).text
    visitor.get(f"/services/organizations/{ID}")
    assert {rpc for rpc, _, _ in fakes.calls} <= PUBLIC_RPCS
    assert 'method="get"' not in page
    assert "abogada" not in "".join(re.findall(r'(?:href|action)="([^"]*)"', page))
    fakes.calls.clear()
    # a signed-in reader sees the same, and no more
    search(enter(visitor), fakes, service(), words="abogada")
    frame_rpcs = {"IssueToken", "CountUnread", "SignIn"}
    assert {rpc for rpc, _, _ in fakes.calls} <= PUBLIC_RPCS | frame_rpcs


def test_the_next_page_repeats_the_search_and_a_tile_starts_one(
    visitor: FlaskClient, fakes: FakePageServices
) -> None:
    page = search(visitor, fakes, service(), next_page="siguiente", **LAWYER).text
    request = o.ListPublicServicesRequest(by_name=True, page_size=20, **LAWYER)  # type: ignore[arg-type]
    assert fakes.last("ListPublicServices") == request
    last_form = page[page.index('name="page"') - 600 :]
    fields = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', last_form)
    visitor.post("/services", data=dict(fields))
    request.page_token = "siguiente"
    assert fakes.last("ListPublicServices") == request
    tiles = r'class="tile" name="need_code" value="(\w+)"'
    assert re.findall(tiles, visitor.get("/services").text) == ["HOU"]


def test_forged_fields_get_no_larger_page_and_no_other_order(
    visitor: FlaskClient, fakes: FakePageServices
) -> None:
    search(visitor, fakes, page_size="100000", by_name="0", modified_after="2020-01-01")
    expected = o.ListPublicServicesRequest(by_name=True, page_size=20)
    assert fakes.last("ListPublicServices") == expected


def test_an_outdated_page_token_leads_back_to_the_first_page(
    visitor: FlaskClient, fakes: FakePageServices
) -> None:
    def refuse_old_token(request: o.ListPublicServicesRequest) -> o.ListPublicServicesResponse:
        if request.page_token:
            raise errors.Invalid(("page_token", "malformed"))
        return o.ListPublicServicesResponse(services=[service()], total_size=1)

    fakes.answers["ListPublicServices"] = refuse_old_token
    answer = send(visitor, page="de otra búsqueda")
    assert (answer.status_code, "Asesoría" in answer.text) == (200, True)


def test_invalid_search_terms_are_reported_at_their_fields(
    visitor: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers["ListPublicServices"] = errors.Invalid(
        ("words", "too_long"), ("department", "malformed")
    )
    answer = send(visitor, words="a" * 5000, department="<b>")
    assert answer.status_code == 422
    assert missing(answer.text, 'href="#words"', 'id="department-error"') == []
    assert "<b>" not in main(answer.text).replace("<b>Hay", "").replace("<b>133", "").replace(
        "<p><b>", ""
    )


def test_an_empty_result_says_what_to_do(visitor: FlaskClient, fakes: FakePageServices) -> None:
    page = main(search(visitor, fakes, words="zzz").text)
    assert ("llame a la línea" in page, page.count('href="tel:133"')) == (True, 2)


@pytest.mark.parametrize("reason", ["service_away", "deadline_exceeded"])
def test_while_the_directory_is_down_the_page_says_what_to_do(
    visitor: FlaskClient, fakes: FakePageServices, reason: str
) -> None:
    form = visitor.get("/services").text
    fakes.answers |= dict.fromkeys(PUBLIC_RPCS, errors.Unavailable(reason))
    new_client = pages(fakes).test_client()
    # on a process that never received the numbers, and on one that did
    no_number, number = "llame a la policía si corre peligro", "tel:133"
    for text, answer in (
        (no_number, new_client.get("/services")),
        (no_number, new_client.get(f"/services/organizations/{ID}")),
        (number, submit(visitor, "/services", form, words="abogada")),
    ):
        assert answer.status_code in (503, 504)
        assert (bool(answer.headers["Retry-After"]), answer.headers["Cache-Control"]) == (
            True,
            "no-store",
        )
        unwanted = "Puede que se haya guardado"
        assert missing(answer.text, text, 'class="exit"', 'href="/services"', unwanted) == [
            unwanted
        ]
    fakes.answers["ListHotlines"] = ServiceFault("INTERNAL")
    assert new_client.get("/services").status_code in (503, 504)


def test_markup_in_a_members_texts_stays_text_and_its_url_must_be_a_web_address(
    visitor: FlaskClient, fakes: FakePageServices
) -> None:
    script = '"><script>alert(1)</script>{{ 7*7 }}'
    malicious_service = service(
        service=d.Service(name=script, description=script, phone='+505"onclick=x'),
        organization=d.Organization(name=script, url="javascript:alert(1)", description=script),
    )
    fakes.answers["ListPublicOrganizations"] = o.ListPublicOrganizationsResponse(
        organizations=[malicious_service.organization]
    )
    dangerous_texts = ["<script>alert", "javascript:", '"onclick']
    for page in (
        search(visitor, fakes, malicious_service, next_page=script, words=script).text,
        visitor.get(f"/services/organizations/{ID}").text,
    ):
        assert missing(page, "{{ 7*7 }}", *dangerous_texts) == dangerous_texts


def test_a_member_without_public_services_has_no_page(
    visitor: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers["ListPublicOrganizations"] = o.ListPublicOrganizationsResponse()
    answers = [
        visitor.get(f"/services/organizations/{id}")
        for id in (ID, "x", "A" * 32, "..%2f", "a" * 3000)
    ]
    assert {answer.status_code for answer in answers} == {404}


def test_requests_to_the_public_directory_are_limited(fakes: FakePageServices) -> None:
    visitor = pages(fakes, caller_rate=1).test_client()
    assert {visitor.get("/services").status_code for _ in range(40)} == {200, 429}


def test_hours_are_worded_as_people_say_them(visitor: FlaskClient) -> None:
    morning: dict[str, Any] = {"opens_at": "09:00", "closes_at": "10:00"}
    with visitor.application.test_request_context("/services"):
        today = i18n.now().date()
        round_the_clock = d.Schedule(freq=d.FREQUENCY_WEEKLY, opens_at="08:00", closes_at="08:00")
        expired = d.Schedule(
            freq=d.FREQUENCY_WEEKLY, valid_to=str(today - timedelta(days=3)), **morning
        )
        future = d.Schedule(
            freq=d.FREQUENCY_WEEKLY, valid_from=str(today + timedelta(days=3)), **morning
        )
        monthly = d.Schedule(freq=d.FREQUENCY_MONTHLY, byday=["1MO"], **morning)
        assert hours([]) == []
        assert hours([round_the_clock, expired, future, monthly]) == [
            "todos los días: las 24 horas",
            "otros días del mes: pregunte",
        ]
        for codes, words in (
            ("SU SA", "sábado, domingo"),
            ("WE MO TU", "lunes a miércoles"),
            ("MO WE FR", "lunes, miércoles, viernes"),
            ("MO TU WE TH FR SA SU", "todos los días"),
        ):
            assert days(codes.split()) == words


@pytest.mark.parametrize(
    ("language", "expected"), [("en", "Find help"), ("fr", "Trouver de"), ("es", "Buscar ayuda")]
)
def test_the_directory_has_three_languages_and_keeps_the_chosen_one(
    visitor: FlaskClient, language: str, expected: str
) -> None:
    page = visitor.get(f"/services?lang={language}").text
    assert missing(page, expected, f'action="/services?lang={language}#found"') == []
    assert sent_fields(page)["form_token"]
