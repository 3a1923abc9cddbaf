"""The page of figures.

A count that is too small to publish has neither number nor bar, the file has the same figures as
the page, and anybody may read the figures of the network.
"""

import csv
import re
from io import StringIO

import pytest
from flask.testing import FlaskClient

from protos.referrals.v1.referrals_pb2 import Figure, Figures, PilotFigures, Route
from services.gateway.site.parts import pictures
from tests.gateway.pages_gateway import FakePageServices, enter, missing, pages


def pilot(**tables: list[tuple[str, int]]) -> PilotFigures:
    values = {
        name: [Figure(code=code, count=count) for code, count in rows]
        for name, rows in tables.items()
    }
    return PilotFigures(
        assisted=26, from_chinandega=13, period_start="2006-01", period_end="2006-10", **values
    )


def read_file(client: FlaskClient, path: str) -> tuple[list[str], dict[tuple[str, str], list[str]]]:
    """Returns the header of a CSV file, and the rest of each row by table and code."""
    header, *rows = csv.reader(StringIO(client.get(path).text.removeprefix("\ufeff")))
    return header, {(table, code): rest for table, code, *rest in rows}


def drawings(page: str) -> list[str]:
    """Returns the SVG pictures of a page."""
    return re.findall(r"<svg(?: class=\"few\")? (?:width|height).*?</svg>", page)


def test_a_small_count_has_no_number_and_is_drawn_the_same_whatever_is_beside_it(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetPilotFigures"] = pilot(
        by_department=[("NI-CI", 13), ("NI-LE", -1), ("NI-MD", -1)]
    )
    page = client.get("/figures/pilot").text
    assert "De enero 2006 a octubre 2006" in page
    assert re.findall(r"<span>(&lt;10|\d+)</span>", page) == ["13", "&lt;10", "&lt;10"]
    visible_picture, *hidden_pictures = drawings(page)
    assert 'width="100.0%"' in visible_picture
    fakes.answers["GetPilotFigures"] = pilot(by_department=[("NI-CI", 1300), ("NI-LE", -1)])
    assert set(hidden_pictures) == {drawings(client.get("/figures/pilot").text)[1]}
    assert "rect" not in hidden_pictures[0]
    assert ">-1<" not in page


def test_every_month_of_the_period_is_a_column_in_its_order(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetPilotFigures"] = pilot(
        by_month=[("2006-03", -1), ("2006-02", 12), ("2006-07", 24)]
    )
    page = client.get("/figures/pilot").text
    assert re.findall(r"<li><b>([^<]+)</b>.*?<span class=\"unseen\">(\w+) 2006</span>", page) == [
        ("0", "enero"),
        ("12", "febrero"),
        ("&lt;10", "marzo"),
        ("0", "abril"),
        ("0", "mayo"),
        ("0", "junio"),
        ("24", "julio"),
        ("0", "agosto"),
        ("0", "septiembre"),
        ("0", "octubre"),
    ]


def test_a_table_without_counts_is_left_out(fakes: FakePageServices, client: FlaskClient) -> None:
    fakes.answers["GetPilotFigures"] = pilot(by_country=[("SV", 10)])
    page = client.get("/figures/pilot").text
    assert "A dónde las habían llevado" in page
    assert not {"De dónde son", "Cuándo"} & set(re.findall(r"<h2>([^<]+)</h2>", page))


@pytest.mark.parametrize(("language", "name"), [("es", "El Salvador"), ("fr", "Salvador")])
def test_the_file_of_the_pilot_has_the_figures_of_the_page_with_method_and_date(
    language: str, name: str, fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetPilotFigures"] = pilot(
        by_country=[("SV", 10), ("CR", -1)], by_month=[("2006-07", 12)]
    )
    assert 'href="/figures/pilot.csv"' in client.get(f"/figures/pilot?lang={language}").text
    answer = client.get("/figures/pilot.csv")
    assert (answer.mimetype, answer.headers["Content-Disposition"]) == (
        "text/csv",
        "attachment; filename=enlace-2006.csv",
    )
    header, rows = read_file(client, "/figures/pilot.csv")
    assert header == ["table", "code", "name", "people"]
    assert rows["country", "SV"] == [name, "10"]
    counts = {
        ("total", "assisted"): "26",
        ("country", "CR"): "<10",
        ("month", "2006-07"): "12",
        ("month", "2006-01"): "0",
    }
    assert {key: rows[key][1] for key in counts} == counts
    assert rows["note", "period"][0] == "2006-01/2006-10"
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", rows["note", "date"][0])
    assert "<10" in rows["note", "method"][0]


NETWORK = Figures(
    counted_until="2026-Q3",
    total=70,
    by_quarter=[
        Figure(code="2026-Q1", count=30),
        Figure(code="2026-Q2", count=-1),
        Figure(code="2026-Q3", count=40),
    ],
    by_exploitation_country=[Figure(code="SV", count=45), Figure(code="NI", count=25)],
    by_country=[Figure(code="NI", count=45), Figure(code="HN", count=25)],
    by_need_group=[Figure(code="HOU", count=70)],
    routes=[
        Route(exploitation_country="SV", country="NI", count=45),
        Route(exploitation_country="NI", country="HN", count=25),
    ],
    periods=["2025", "2026"],
    countries=["HN", "NI", "SV"],
    need_group_codes=["HOU"],
)


@pytest.fixture
def public_client(fakes: FakePageServices) -> FlaskClient:
    fakes.answers["GetFigures"] = NETWORK
    return pages(fakes).test_client()


def test_anybody_reads_the_figures_of_the_network_and_reaches_them_from_the_first_page(
    public_client: FlaskClient,
) -> None:
    assert 'href="/figures?lang=es"' in public_client.get("/?lang=es").text
    page = public_client.get("/figures?lang=es").text
    texts = ("<b>70</b>ayudas recibidas, al menos", "hasta el 3.er trimestre de 2026")
    assert missing(page, *texts, "/figures/pilot") == ["/figures/pilot"]
    assert re.findall(r"<li><b>([^<]+)</b>.*?<span class=\"unseen\">([^<]+)</span>", page) == [
        ("30", "1.er trimestre de 2026"),
        ("&lt;10", "2.º trimestre de 2026"),
        ("40", "3.er trimestre de 2026"),
    ]
    assert public_client.get("/figures/pilot").status_code == 302


def test_a_signed_in_reader_reads_the_same_figures_and_finds_them_in_the_navigation(
    fakes: FakePageServices, public_client: FlaskClient
) -> None:
    card = re.compile(r"<section class=\"card\">.*?</section>", re.DOTALL)
    public_cards = card.findall(public_client.get("/figures").text)
    page = enter(public_client).get("/figures").text
    assert card.findall(page) == public_cards
    assert re.search(r'<nav class="rail".*href="/figures" aria-current="true"', page, re.DOTALL)
    assert 'href="/figures/pilot"' in page


def test_every_table_ends_with_a_row_for_unpublished_counts_whether_or_not_there_are_any(
    public_client: FlaskClient,
) -> None:
    page = public_client.get("/figures").text
    names = ("Cualquier otro trayecto", "Cualquier otra ayuda", "Cualquier otro país")
    assert [page.count(name) for name in names] == [1, 1, 2]
    hidden_pictures = [picture for picture in drawings(page) if "few" in picture]
    assert len(hidden_pictures) == 1 + 4
    assert not [picture for picture in hidden_pictures if "rect" in picture]


def test_the_filters_are_sent_to_the_service_kept_in_the_form_and_printed(
    fakes: FakePageServices, public_client: FlaskClient
) -> None:
    page = public_client.get("/figures?period=2026&country=NI&need_group_code=HOU").text
    request = fakes.last("GetFigures")
    assert (request.period, request.country, request.need_group_code) == ("2026", "NI", "HOU")
    texts = (
        *(f'<option value="{code}" selected>' for code in ("2026", "NI", "HOU")),
        "2026 · Nicaragua · Vivienda",
        'href="/figures.csv?period=2026&amp;country=NI&amp;need_group_code=HOU"',
    )
    assert missing(page, *texts) == []
    assert "Qué ayuda recibieron" not in page, "the table with only the chosen group is left out"


def test_without_publishable_figures_there_is_no_empty_box_and_there_is_a_way_back(
    fakes: FakePageServices, public_client: FlaskClient
) -> None:
    fakes.answers["GetFigures"] = Figures(
        counted_until="2026-Q3", total=-1, by_quarter=[Figure(code="2026-Q3", count=-1)]
    )
    page = public_client.get("/figures?country=PA").text
    texts = ("Aquí no hay ninguna cifra", 'href="/figures"', '<svg class="few"')
    assert missing(page, *texts) == ['<svg class="few"']


def test_the_page_has_the_last_two_years_and_the_file_has_all(
    fakes: FakePageServices, public_client: FlaskClient
) -> None:
    quarters = [f"{year}-Q{number}" for year in range(2020, 2026) for number in (1, 2, 3, 4)]
    fakes.answers["GetFigures"] = Figures(
        counted_until="2025-Q4",
        total=240,
        by_quarter=[Figure(code=quarter, count=10) for quarter in quarters],
    )
    assert public_client.get("/figures").text.count(" trimestre de 202") == 8 + 1
    _, rows = read_file(public_client, "/figures.csv")
    assert [code for table, code in rows if table == "quarter"] == quarters


def test_the_file_of_the_network_states_its_contents_method_and_date(
    public_client: FlaskClient,
) -> None:
    path = "/figures.csv?period=2026&country=NI"
    answer = public_client.get(path)
    assert (answer.mimetype, answer.headers["Content-Disposition"]) == (
        "text/csv",
        "attachment; filename=enlace.csv",
    )
    header, rows = read_file(public_client, path)
    assert header == ["table", "code", "name", "at_least"]
    assert rows["route", "SV>NI"] == ["El Salvador → Nicaragua", "45"]
    counts = {
        ("total", "all"): "70",
        ("quarter", "2026-Q2"): "<10",
        ("route", "other"): "<10",
        ("country", "HN"): "25",
    }
    assert {key: rows[key][1] for key in counts} == counts
    notes = {"period": "2026", "country": "NI", "counted_until": "2026-Q3"}
    assert {code: rows["note", code][0] for code in notes} == notes
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", rows["note", "date"][0])
    assert "de cinco en cinco" in rows["note", "method"][0]


def test_a_demo_network_states_on_every_page_and_in_every_file_that_it_is_made_up(
    public_client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    statement = "las cifras, es inventado"
    for is_demo in (False, True):
        # the apps of all tests have one configuration
        monkeypatch.setitem(public_client.application.config, "DEMO", is_demo)
        for path in ("/", "/figures", "/figures.csv"):
            assert (statement in public_client.get(path).text) is is_demo, path
    assert statement in enter(public_client).get("/today").text


def test_arcs_go_south_on_the_right_and_north_on_the_left_and_widen_with_the_count() -> None:
    arcs = pictures.arcs([("NI", "SV", 40), ("NI", "CR", 20), ("NI", "NI", 10), ("ES", "NI", 10)])
    assert [code for code, _ in arcs["countries"]] == ["SV", "NI", "CR", "ES"]
    starts = [float(line[1:].split()[0]) for line, _head, _width in arcs["arcs"]]
    assert [start > pictures.MIDDLE for start in starts] == [False, True, True, False]
    assert [width for _line, _head, width in arcs["arcs"]] == [10.0, 6.0, 4.0, 4.0]
    assert pictures.arcs([])["countries"] == []
