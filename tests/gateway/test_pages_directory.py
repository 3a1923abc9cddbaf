"""The directory's pages: their calls to the services, and their contents.

The contents are capacity, places, languages, and the people whom a service accepts.
"""

import re
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from chassis import errors
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.site.language import i18n, words
from tests.gateway.page_forms import posted_forms, sent_fields
from tests.gateway.pages_gateway import ID, FakePageServices, missing, referral, send, signed_in_as


def directory_forms(page: str) -> list[dict[str, list[str]]]:
    """Returns the fields that a browser would send with each form that posts to the directory."""
    return [form.sent for form in posted_forms(page, "") if form.path == "/directory"]


def room(**fields: object) -> d.Capacity:
    """Returns a capacity that was stated five hours ago: open, with two beds.

    With `declined`, the service declined a request two hours ago.
    """
    capacity = d.Capacity(intake=d.INTAKE_OPEN, available=2, unit=d.CAPACITY_UNIT_BEDS)
    capacity.update_time.FromDatetime(i18n.now() - timedelta(hours=5))
    capacity.stale_time.FromDatetime(i18n.now() + timedelta(hours=19))
    if fields.pop("declined", False):
        capacity.declined_time.FromDatetime(i18n.now() - timedelta(hours=2, minutes=10))
    capacity.MergeFrom(d.Capacity(**fields))  # type: ignore[arg-type]
    return capacity


def results_page(client: FlaskClient, fakes: FakePageServices, **service: object) -> str:
    """Returns the page of results with this one service."""
    found_service = d.Service(
        id=ID, organization_id=ID, name="Albergue", country="NI", need_codes=["HOU.EMG"]
    )
    found_service.MergeFrom(d.Service(**service))  # type: ignore[arg-type]
    fakes.answers["SearchServices"] = d.SearchServicesResponse(
        services=[found_service], total_size=1
    )
    return send(client, "/directory", words="albergue").text


def search_request(**filters: Any) -> d.SearchServicesRequest:
    """Returns the request of a search for the word "casa"."""
    return d.SearchServicesRequest(words="casa", page_size=25, count_country="NI", **filters)


def test_a_service_that_declined_for_lack_of_room_is_not_shown_as_having_room(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    assert ">Hay lugar</span>" in results_page(client, fakes, capacity=room())
    page = results_page(client, fakes, capacity=room(declined=True))
    assert missing(
        page,
        ">Hay lugar</span>",
        ">Pregunte si hay lugar</span> rechazó por falta de lugar hace 2 h 10",
        "antes dijo: hay lugar, camas: 2",
    ) == [">Hay lugar</span>"]
    assert ">Sin lugar</span>" in results_page(
        client, fakes, capacity=room(declined=True, intake=d.INTAKE_CLOSED)
    )


def test_a_service_whose_last_free_bed_was_taken_is_not_shown_as_having_room(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    capacity = room()
    capacity.available = 0
    page = results_page(client, fakes, capacity=capacity)
    assert missing(page, ">Sin lugar</span>", ">Hay lugar</span>") == [">Hay lugar</span>"]


def test_a_service_that_takes_nobody_now_shows_no_free_beds(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    page = results_page(client, fakes, capacity=room(intake=d.INTAKE_CLOSED))
    assert missing(page, ">Sin lugar</span>", "camas: 2") == ["camas: 2"]


def test_an_old_zero_is_not_shown_as_a_full_house(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    capacity = room()
    capacity.available = 0
    capacity.stale_time.FromDatetime(i18n.now() - timedelta(minutes=1))
    page = results_page(client, fakes, capacity=capacity)
    texts = (
        ">Sin lugar</span>",
        ">Pregunte si hay lugar</span>",
        "antes dijo: sin lugar, camas: 0",
    )
    assert missing(page, *texts) == [">Sin lugar</span>"]


def test_the_choice_of_a_service_for_a_referral_shows_that_a_service_declined(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    reason = d.MatchReason(
        criterion=d.CRITERION_ROOM, verdict=d.VERDICT_ASK, reason_code="room_declined"
    )
    service = d.Service(id=ID, name="Albergue", capacity=room(declined=True))
    fakes.answers["MatchServices"] = d.MatchServicesResponse(
        matches=[d.Match(service=service, verdict=d.VERDICT_ASK, reasons=[reason])]
    )
    page = client.get(f"/referrals/{ID}/services").text
    assert (
        missing(
            page,
            "rechazó por falta de lugar hace 2 h 10",
            "rechazó por falta de lugar: pregunte antes",
        )
        == []
    )


@pytest.mark.parametrize(
    ("side", "reason", "last_step", "has_link"),
    [
        (r.SIDE_RECEIVER, "no_capacity", "decline", True),
        (r.SIDE_RECEIVER, "not_eligible", "decline", False),
        (r.SIDE_SENDER, "no_capacity", "decline", False),
        (r.SIDE_RECEIVER, "no_capacity", "", False),
    ],
)
def test_a_worker_who_declines_for_lack_of_room_is_led_to_the_page_of_capacity(
    client: FlaskClient,
    fakes: FakePageServices,
    side: r.Side.ValueType,
    reason: str,
    last_step: str,
    has_link: bool,
) -> None:
    fakes.answers["GetReferral"] = referral(side=side, state=r.STATE_DECLINED, reason_code=reason)
    page = client.get(f"/referrals/{ID}?done={last_step}").text
    assert (f'href="/capacity/{ID}"' in page) is has_link


def test_before_a_search_the_needs_are_shown_as_tiles_that_search(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    page = client.get("/directory").text
    assert re.findall(r'<button class="tile" name="need_code" value="([^"]+)">([^<]+)<', page) == [
        ("HOU", "Vivienda")
    ]
    answer = send(client, "/directory", need_code="HOU")
    assert fakes.last("SearchServices").need_code == "HOU"
    assert 'class="tile"' not in answer.text


@pytest.mark.parametrize(
    ("chip", "filters", "pressed_chips"),
    [
        ("room", {"has_room": True}, ["room"]),
        ("here", {"department": "NI-CI"}, ["here"]),
        ("mothers", {"gender": d.GENDER_FEMININE, "dependants": 1}, ["mothers"]),
        ("something else", {}, []),
    ],
)
def test_a_chip_sets_a_filter_with_one_tap_and_removes_it_with_another(
    client: FlaskClient,
    fakes: FakePageServices,
    chip: str,
    filters: dict[str, Any],
    pressed_chips: list[str],
) -> None:
    page = send(client, "/directory", words="casa", chip=chip).text
    assert fakes.last("SearchServices") == search_request(**filters)
    assert re.findall(r'name="chip" value="(\w+)" aria-pressed="true"', page) == pressed_chips
    client.post("/directory", data={**directory_forms(page)[0], "chip": chip})
    assert fakes.last("SearchServices") == search_request()


def test_a_search_by_words_without_a_result_also_advises_fewer_words(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers["SearchServices"] = d.SearchServicesResponse()
    assert "Pruebe con menos palabras" in send(client, "/directory", words="zzz").text


def test_the_chip_of_the_readers_department_replaces_the_filter_for_another_country(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    send(client, "/directory", words="casa", country="CR", chip="here")
    assert fakes.last("SearchServices") == search_request(department="NI-CI")


def test_a_search_jumps_to_its_results_because_on_a_phone_they_are_below_the_form(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    tiles = client.get("/directory").text
    assert tiles.count('action="/directory#found"') == 2, "the form and the tiles"
    assert '<h2 id="found">1 servicio</h2>' in results_page(client, fakes)


def test_results_of_a_search_by_words_explain_their_order(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    assert "Por qué en este orden" in send(client, "/directory", words="casa").text
    # sorted by name, which is obvious
    assert "Por qué en este orden" not in send(client, "/directory", need_code="HOU").text


def test_counts_by_department_of_everything_found_are_shown_beside_the_list(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    counts = [
        d.DepartmentCount(department="NI-CI", count=7),
        d.DepartmentCount(department="NI-LE", count=1),
        d.DepartmentCount(count=3),
    ]
    service = d.Service(
        id=ID, organization_id=ID, name="Casa", country="NI", need_codes=["HOU.EMG"]
    )
    fakes.answers["SearchServices"] = d.SearchServicesResponse(
        services=[service], total_size=11, departments=counts
    )
    page = send(client, "/directory", words="casa").text
    assert page.index('class="rows"') < page.index('<svg class="map"'), (
        "on a phone the list comes first"
    )
    assert missing(page, "<title>Chinandega: 7</title>", "<title>Managua: 0</title>") == []
    table = page[page.index("<table>") : page.index("</table>")]
    assert re.findall(r">([^<]+)</(?:button|td)>", table) == [
        "Chinandega",
        "7",
        "León",
        "1",
        "Todo el país",
        "3",
    ]
    actions = re.findall(r'action="/directory([^"]*)"', page)
    assert actions == ["#found"] * 2, "the form and the table lead to the results"
    form = {**directory_forms(page)[-1], "department": "NI-LE"}
    client.post("/directory", data=form)
    assert fakes.last("SearchServices") == search_request(department="NI-LE")
    page = send(client, "/directory", words="casa", department="NI-LE").text
    client.post("/directory", data=directory_forms(page)[-1])  # and back to all departments
    assert fakes.last("SearchServices") == search_request()


@pytest.mark.parametrize(
    ("request_fields", "country", "has_map"),
    [
        ({}, "NI", True),
        ({"country": "CR"}, "CR", False),
        ({"department": "SV-SS"}, "SV", False),
        ({"department": "XX-1"}, "NI", True),
        ({"country": "../.."}, "NI", True),
    ],
)
def test_results_are_counted_in_the_country_searched_or_else_the_readers_even_without_a_map(
    client: FlaskClient,
    fakes: FakePageServices,
    request_fields: dict[str, str],
    country: str,
    has_map: bool,
) -> None:
    counts = [d.DepartmentCount(department=f"{country}-SS", count=2)]
    fakes.answers["SearchServices"] = d.SearchServicesResponse(
        services=[d.Service(id=ID, name="Casa")], departments=counts
    )
    page = send(client, "/directory", words="casa", **request_fields).text
    assert fakes.last("SearchServices").count_country == country
    assert ('<svg class="map"' in page) is has_map
    assert "Servicios encontrados por departamento" in page


def test_the_next_page_repeats_the_search(client: FlaskClient, fakes: FakePageServices) -> None:
    fields = {
        "words": "casa",
        "need_code": "HOU",
        "language": "es",
        "age": "19",
        "dependants": "2",
        "gender": "feminine",
        "has_room": "1",
    }
    page = send(client, "/directory", **fields).text
    assert page.count('action="/directory#found"') == 3, "the form, the next page and the table"
    first_request = fakes.last("SearchServices")
    client.post("/directory", data=next(form for form in directory_forms(page) if "page" in form))
    second_request = fakes.last("SearchServices")
    assert second_request.page_token
    second_request.page_token = ""
    assert second_request == first_request


@pytest.mark.parametrize(
    ("field", "value", "is_open"),
    [
        ("department", "NI-LE", True),
        ("gender", "feminine", True),
        ("dependants", "0", True),
        ("words", "casa", False),
        ("has_room", "1", False),
    ],
)
def test_the_collapsed_filters_are_open_if_one_of_them_is_set(
    client: FlaskClient, fakes: FakePageServices, field: str, value: str, is_open: bool
) -> None:
    page = send(client, "/directory", **{field: value}).text
    assert ("<details open><summary>Más filtros" in re.sub(r">\s+<", "><", page)) is is_open


def test_a_search_for_an_age_that_cannot_be_read_is_refused_and_keeps_its_fields(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    answer = send(client, "/directory", age="unos 19", has_room="1")
    texts = ('href="#age"', 'value="unos 19"', 'name="has_room" value="1"')
    assert (answer.status_code, missing(answer.text, *texts)) == (422, [])
    assert not any(request.has_room for request in fakes.requests("SearchServices"))


@pytest.mark.parametrize(
    ("genders", "expected", "unexpected"),
    [
        ([gender for gender in d.Gender.values() if gender], "· todas las personas", "mujer trans"),
        (
            [d.GENDER_FEMININE, d.GENDER_TRANSGENDER_FEMININE],
            "· mujer, mujer trans",
            "todas las personas",
        ),
    ],
    ids=["every gender", "two genders"],
)
def test_a_service_for_everybody_does_not_list_every_gender(
    client: FlaskClient,
    fakes: FakePageServices,
    genders: list[d.Gender.ValueType],
    expected: str,
    unexpected: str,
) -> None:
    page = results_page(client, fakes, eligibility=d.Eligibility(genders=genders))
    assert missing(page, expected, unexpected) == [unexpected]


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("miq", "miskito"),
        ("x-lsn", "lengua de señas de Nicaragua"),
        ("qu", "quechua"),
        ("es-NI", "español (Nicaragua)"),
        ("pt-BR", "portugués (Brasil)"),
        ("zh-Hant-TW", "chino (Taiwán)"),
        ("ht", "criollo haitiano"),
        ("x-abc", "otro idioma"),
        ("zzz", "otro idioma"),
        ("", "–"),
    ],
)
def test_no_language_is_shown_as_a_code(client: FlaskClient, tag: str, expected: str) -> None:
    with client.application.test_request_context():
        assert words.language(tag) == expected


@pytest.mark.parametrize(
    ("subdivision", "country", "expected", "place_name"),
    [
        ("NI-CI", "NI", "Chinandega", "Chinandega, Nicaragua"),
        ("US-CA", "US", "California", "California, Estados Unidos"),
        ("", "CR", "–", "Costa Rica"),
        ("QX-1", "QX", "otro país", "otro país"),
    ],
)
def test_no_place_is_shown_as_a_code(
    client: FlaskClient, subdivision: str, country: str, expected: str, place_name: str
) -> None:
    with client.application.test_request_context():
        assert words.department(subdivision).startswith(expected)
        assert words.place(subdivision, country).startswith(place_name)


def test_no_code_is_shown_on_a_result(client: FlaskClient, fakes: FakePageServices) -> None:
    page = results_page(
        client,
        fakes,
        country="US",
        department="US-CA",
        languages=["miq", "x-lsn"],
        eligibility=d.Eligibility(genders=[d.GENDER_FEMININE]),
    )
    rows = re.sub(r"<[^>]+>", " ", re.findall(r'<li class="row two">.*?</li>', page, re.DOTALL)[0])
    assert not re.search(r"miq|x-lsn|US|GENDER|_", rows)


def test_a_result_leads_to_a_new_referral_to_that_service_if_it_fits(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    page = results_page(client, fakes, organization_id="f" * 32, active=True)
    assert f'href="/referrals/new?service={ID}"' in page
    shelter = d.Service(
        id=ID, name="Albergue", organization_name="Casa Puentes", need_codes=["HOU.EMG"]
    )
    fakes.answers["BatchGet"] = d.BatchGetResponse(services=[shelter])
    first_page = client.get(f"/referrals/new?service={ID}").text
    assert "Para remitir a: <b>Albergue</b> · Casa Puentes" in first_page
    fakes.answers["MatchServices"] = d.MatchServicesResponse(
        matches=[d.Match(service=shelter, verdict=d.VERDICT_ASK)]
    )
    fakes.answers["CreateReferral"] = fakes.answers["GetReferral"] = r.Referral(
        id=ID, etag="d", state=r.STATE_DRAFT, person_id=ID
    )
    fakes.answers["UpdateReferral"] = r.Referral(
        id=ID,
        etag="e",
        state=r.STATE_DRAFT,
        person_id=ID,
        need_code="HOU.EMG",
        urgency=r.URGENCY_URGENT,
        service_id=ID,
        unsafe_code=r.UNSAFE_ANSWER_NOTHING,
    )
    assert answer_all(client, first_page).location == f"/referrals/{ID}/consent"
    referral_fields = fakes.last("UpdateReferral").referral
    assert (referral_fields.service_id, referral_fields.need_code, referral_fields.etag) == (
        ID,
        "HOU.EMG",
        "d",
    )


def answer_all(client: FlaskClient, page: str) -> TestResponse:
    """Answers all questions before the choice of a service.

    The kind of help is not asked for if the service has only one.
    """
    answers = {"need": {"need_code": "HOU.EMG"}, "urgency": {"urgency": "urgent"}, "about": {}}
    while (fields := sent_fields(page))["page"] in answers:
        page = client.post("/referrals/new", data={**fields, **answers[fields["page"]]}).text
    page = client.post("/referrals/new", data={**sent_fields(page), "channel_code": "phone"}).text
    return client.post("/referrals/new", data={**sent_fields(page), "names_nothing": "1"})


@pytest.mark.parametrize("matches", [True, False])
def test_a_chosen_service_that_does_not_fit_is_named_with_the_reason(
    client: FlaskClient, fakes: FakePageServices, matches: bool
) -> None:
    fakes.answers["BatchGet"] = d.BatchGetResponse(
        services=[d.Service(id=ID, name="Albergue", need_codes=["HOU", "HOU.EMG"])]
    )
    reason = d.MatchReason(
        criterion=d.CRITERION_AGE, verdict=d.VERDICT_DOES_NOT_FIT, reason_code="age_too_low"
    )
    match = d.Match(
        service=d.Service(id=ID, name="Albergue"), verdict=d.VERDICT_DOES_NOT_FIT, reasons=[reason]
    )
    fakes.answers["MatchServices"] = d.MatchServicesResponse(matches=[match] if matches else [])
    first_page = client.get(f"/referrals/new?service={ID}").text
    page = answer_all(client, first_page).text
    assert fakes.requests("CreatePerson") + fakes.requests("CreateReferral") == []
    assert (
        "Albergue no puede recibirla:" in page,
        "es demasiado joven para este servicio." in page,
        "no está entre los que dan esta ayuda." in page,
    ) == (True, matches, not matches)
    fakes.answers["MatchServices"] = errors.Invalid(("dependants", "out_of_range"))
    assert 'href="#dependants"' in answer_all(client, first_page).text


def test_a_chosen_service_that_no_longer_exists_does_not_stop_the_referral(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers["BatchGet"] = d.BatchGetResponse()
    page = client.get(f"/referrals/new?service={ID}")
    assert (page.status_code, "Para remitir a:" in page.text) == (200, False)


def test_the_chosen_service_is_kept_while_looking_for_the_persons_file(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers["GetPerson"] = p.Person(id=ID, organization_id=ID)
    for page, link in (
        ("/referrals/new", f"/people?service={ID}"),
        ("/people", f"/people/{ID}?service={ID}"),
        (f"/people/{ID}", f"/referrals/new?person={ID}&amp;service={ID}"),
    ):
        assert f'href="{link}"' in client.get(f"{page}?service={ID}").text, page


def test_a_reader_who_may_not_refer_is_not_offered_a_referral(fakes: FakePageServices) -> None:
    client = signed_in_as(fakes, contract_pb2.ROLE_COORDINATOR)
    assert "Remitir aquí" not in results_page(client, fakes, organization_id="f" * 32, active=True)
