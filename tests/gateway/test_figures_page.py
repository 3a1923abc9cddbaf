"""The page of figures.

A count that is too small to publish has neither number nor bar, the file has the same figures as
the page, and anybody may read the figures of the network.
"""

from __future__ import annotations

import csv
import re
from io import StringIO

import pytest
from flask.testing import FlaskClient

from protos.referrals.v1.referrals_pb2 import Figure, Figures, PilotFigures, Route
from services.gateway.site.parts import pictures
from tests.gateway.pages_gateway import PlayedServices, enter, pages


@pytest.fixture
def played() -> PlayedServices:
    return PlayedServices()


@pytest.fixture
def client(played: PlayedServices) -> FlaskClient:
    return enter(pages(played).test_client())


def pilot(**tables: list[tuple[str, int]]) -> PilotFigures:
    values = {
        name: [Figure(code=code, count=count) for code, count in rows]
        for name, rows in tables.items()
    }
    return PilotFigures(
        assisted=26, from_chinandega=13, period_start="2006-01", period_end="2006-10", **values
    )


def drawn(page: str) -> list[str]:
    """Returns the pictures of a page without their texts."""
    return re.findall(r"<svg(?: class=\"few\")? (?:width|height).*?</svg>", page)


def test_a_small_count_has_no_number_and_is_drawn_the_same_whatever_is_beside_it(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["GetPilotFigures"] = pilot(
        by_department=[("NI-CI", 13), ("NI-LE", -1), ("NI-MD", -1)]
    )
    page = client.get("/figures/pilot").text
    assert "De enero 2006 a octubre 2006" in page
    assert re.findall(r"<span>(&lt;10|\d+)</span>", page) == ["13", "&lt;10", "&lt;10"]
    visible, *hidden = drawn(page)
    assert 'width="100.0%"' in visible
    played.answers["GetPilotFigures"] = pilot(by_department=[("NI-CI", 1300), ("NI-LE", -1)])
    assert set(hidden) == {drawn(client.get("/figures/pilot").text)[1]}
    assert "rect" not in hidden[0]
    assert ">-1<" not in page


def test_every_month_of_the_period_is_a_column_in_its_order(
    played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["GetPilotFigures"] = pilot(
        by_month=[("2006-03", -1), ("2006-02", 12), ("2006-07", 24)]
    )
    page = client.get("/figures/pilot").text
    columns = re.findall(r"<li><b>([^<]+)</b>.*?<span class=\"unseen\">(\w+) 2006</span>", page)
    assert [
        name for _, name in columns
    ] == "enero febrero marzo abril mayo junio julio agosto septiembre octubre".split()
    assert [number for number, _ in columns] == [
        "0",
        "12",
        "&lt;10",
        "0",
        "0",
        "0",
        "24",
        "0",
        "0",
        "0",
    ]


def test_a_table_without_counts_is_left_out(played: PlayedServices, client: FlaskClient) -> None:
    played.answers["GetPilotFigures"] = pilot(by_country=[("SV", 10)])
    page = client.get("/figures/pilot").text
    assert "A dónde las habían llevado" in page
    assert not {"De dónde son", "Cuándo"} & set(re.findall(r"<h2>([^<]+)</h2>", page))


@pytest.mark.parametrize(("language", "name"), [("es", "El Salvador"), ("fr", "Salvador")])
def test_the_file_of_the_pilot_has_the_figures_of_the_page_with_method_and_date(
    language: str, name: str, played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["GetPilotFigures"] = pilot(
        by_country=[("SV", 10), ("CR", -1)], by_month=[("2006-07", 12)]
    )
    assert 'href="/figures/pilot.csv"' in client.get(f"/figures/pilot?lang={language}").text
    answer = client.get("/figures/pilot.csv")
    assert (answer.mimetype, answer.headers["Content-Disposition"]) == (
        "text/csv",
        "attachment; filename=enlace-2006.csv",
    )
    rows = list(csv.reader(StringIO(answer.text.removeprefix("\ufeff"))))
    assert rows[0] == ["table", "code", "name", "people"]
    values = {(table, code): (word, people) for table, code, word, people in rows[1:]}
    assert values["total", "assisted"][1] == "26"
    assert values["country", "SV"] == (name, "10")
    assert (
        values["country", "CR"][1],
        values["month", "2006-07"][1],
        values["month", "2006-01"][1],
    ) == (
        "<10",
        "12",
        "0",
    )
    assert values["note", "period"][0] == "2006-01/2006-10"
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", values["note", "date"][0])
    assert "<10" in values["note", "method"][0]


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
def anybody(played: PlayedServices) -> FlaskClient:
    played.answers["GetFigures"] = NETWORK
    return pages(played).test_client()


def test_anybody_reads_the_figures_of_the_network_and_reaches_them_from_the_first_page(
    anybody: FlaskClient,
) -> None:
    assert 'href="/figures?lang=es"' in anybody.get("/?lang=es").text
    page = anybody.get("/figures?lang=es").text
    assert "<b>70</b>ayudas recibidas, al menos" in page
    assert "hasta el 3.er trimestre de 2026" in page
    assert re.findall(r"<li><b>([^<]+)</b>.*?<span class=\"unseen\">([^<]+)</span>", page) == [
        ("30", "1.er trimestre de 2026"),
        ("&lt;10", "2.º trimestre de 2026"),
        ("40", "3.er trimestre de 2026"),
    ]
    assert "/figures/pilot" not in page
    assert anybody.get("/figures/pilot").status_code == 302


def test_a_signed_in_reader_reads_the_same_figures_and_finds_them_in_the_navigation(
    played: PlayedServices, anybody: FlaskClient
) -> None:
    outside = re.findall(
        r"<section class=\"card\">.*?</section>", anybody.get("/figures").text, re.DOTALL
    )
    page = enter(anybody).get("/figures").text
    assert re.findall(r"<section class=\"card\">.*?</section>", page, re.DOTALL) == outside
    assert re.search(r'<nav class="rail".*href="/figures" aria-current="true"', page, re.DOTALL)
    assert 'href="/figures/pilot"' in page


def test_every_table_ends_with_a_row_for_unpublished_counts_whether_or_not_there_are_any(
    anybody: FlaskClient,
) -> None:
    page = anybody.get("/figures").text
    assert [name for name in ("Cualquier otra ruta", "Cualquier otra ayuda",
        "Cualquier otro país") for _ in range(page.count(name))] == [
        "Cualquier otra ruta", "Cualquier otra ayuda", "Cualquier otro país", "Cualquier otro país",
    ]  # fmt: skip
    hidden = [picture for picture in drawn(page) if "few" in picture]
    assert len(hidden) == 1 + 4
    assert not [picture for picture in hidden if "rect" in picture]


def test_the_filters_are_sent_to_the_service_kept_in_the_form_and_printed(
    played: PlayedServices, anybody: FlaskClient
) -> None:
    page = anybody.get("/figures?period=2026&country=NI&need_group_code=HOU").text
    request = played.last("GetFigures")
    assert (request.period, request.country, request.need_group_code) == ("2026", "NI", "HOU")
    for code in ("2026", "NI", "HOU"):
        assert f'<option value="{code}" selected>' in page
    assert "2026 · Nicaragua · Vivienda" in page
    assert "Qué ayuda recibieron" not in page, "the table with only the chosen group is left out"
    assert 'href="/figures.csv?period=2026&amp;country=NI&amp;need_group_code=HOU"' in page


def test_without_publishable_figures_there_is_no_empty_box_and_there_is_a_way_back(
    played: PlayedServices, anybody: FlaskClient
) -> None:
    played.answers["GetFigures"] = Figures(
        counted_until="2026-Q3", total=-1, by_quarter=[Figure(code="2026-Q3", count=-1)]
    )
    page = anybody.get("/figures?country=PA").text
    assert "Aquí no hay ninguna cifra" in page
    assert '<svg class="few"' not in page
    assert 'href="/figures"' in page


def test_the_page_has_the_last_two_years_and_the_file_has_all(
    played: PlayedServices, anybody: FlaskClient
) -> None:
    quarters = [f"{year}-Q{number}" for year in range(2020, 2026) for number in (1, 2, 3, 4)]
    played.answers["GetFigures"] = Figures(
        counted_until="2025-Q4",
        total=240,
        by_quarter=[Figure(code=quarter, count=10) for quarter in quarters],
    )
    assert anybody.get("/figures").text.count(" trimestre de 202") == 8 + 1
    assert [
        row[1]
        for row in csv.reader(StringIO(anybody.get("/figures.csv").text))
        if row[0] == "quarter"
    ] == quarters


def test_the_file_of_the_network_states_its_contents_method_and_date(
    anybody: FlaskClient,
) -> None:
    answer = anybody.get("/figures.csv?period=2026&country=NI")
    assert (answer.mimetype, answer.headers["Content-Disposition"]) == (
        "text/csv",
        "attachment; filename=enlace.csv",
    )
    rows = list(csv.reader(StringIO(answer.text.removeprefix("\ufeff"))))
    values = {(table, code): (word, people) for table, code, word, people in rows[1:]}
    assert (rows[0], values["total", "all"][1]) == (["table", "code", "name", "at_least"], "70")
    assert values["route", "SV>NI"] == ("El Salvador → Nicaragua", "45")
    assert (
        values["quarter", "2026-Q2"][1],
        values["route", "other"][1],
        values["country", "HN"][1],
    ) == (
        "<10",
        "<10",
        "25",
    )
    assert (
        values["note", "period"][0],
        values["note", "country"][0],
        values["note", "counted_until"][0],
    ) == ("2026", "NI", "2026-Q3")
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", values["note", "date"][0])
    assert "de cinco en cinco" in values["note", "method"][0]


def test_a_demo_network_states_on_every_page_and_in_every_file_that_it_is_made_up(
    anybody: FlaskClient,
) -> None:
    statement = "las cifras, es inventado"
    for path in ("/", "/figures", "/figures.csv"):
        assert statement not in anybody.get(path).text
    anybody.application.config["DEMO"] = True
    for path in ("/", "/figures", "/figures.csv"):
        assert statement in anybody.get(path).text
    assert statement in enter(anybody).get("/today").text


def test_arcs_go_south_on_the_right_and_north_on_the_left_and_are_as_broad_as_their_number() -> (
    None
):
    arcs = pictures.arcs([("NI", "SV", 40), ("NI", "CR", 20), ("NI", "NI", 10), ("ES", "NI", 10)])
    assert [code for code, _ in arcs["countries"]] == ["SV", "NI", "CR", "ES"]
    starts = [float(line[1:].split()[0]) for line, _head, _width in arcs["arcs"]]
    assert [start > pictures.MIDDLE for start in starts] == [False, True, True, False]
    assert [width for _line, _head, width in arcs["arcs"]] == [10.0, 6.0, 4.0, 4.0]
    assert pictures.arcs([])["countries"] == []
