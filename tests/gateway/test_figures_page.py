"""The figures of the pilot: what is too little to say has neither number nor length, and the file says the same as the page."""

from __future__ import annotations

import csv
import re
from io import StringIO

import pytest
from flask.testing import FlaskClient

from protos.referrals.v1.referrals_pb2 import Figure, PilotFigures
from tests.gateway.pages_gateway import PlayedServices, enter, pages


@pytest.fixture
def played() -> PlayedServices:
    return PlayedServices()


@pytest.fixture
def client(played: PlayedServices) -> FlaskClient:
    return enter(pages(played).test_client())


def pilot(**tables: list[tuple[str, int]]) -> PilotFigures:
    said = {name: [Figure(code=code, count=count) for code, count in rows] for name, rows in tables.items()}
    return PilotFigures(assisted=26, from_chinandega=13, period_start="2006-01", period_end="2006-10", **said)


def drawn(page: str) -> list[str]:
    """The pictures of a page without their words."""
    return re.findall(r"<svg(?: class=\"few\")? (?:width|height).*?</svg>", page)


def test_a_small_count_has_no_number_and_is_drawn_the_same_whatever_stands_beside_it(played: PlayedServices, client: FlaskClient) -> None:
    played.answers["GetPilotFigures"] = pilot(by_department=[("NI-CI", 13), ("NI-LE", -1), ("NI-MD", -1)])
    page = client.get("/figures").text
    assert "De enero 2006 a octubre 2006" in page
    assert re.findall(r"<span>(&lt;10|\d+)</span>", page) == ["13", "&lt;10", "&lt;10"]
    shown, *hidden = drawn(page)
    assert 'width="100.0%"' in shown
    played.answers["GetPilotFigures"] = pilot(by_department=[("NI-CI", 1300), ("NI-LE", -1)])
    assert set(hidden) == {drawn(client.get("/figures").text)[1]}
    assert "rect" not in hidden[0]
    assert ">-1<" not in page


def test_every_month_of_the_period_is_a_column_in_its_order(played: PlayedServices, client: FlaskClient) -> None:
    played.answers["GetPilotFigures"] = pilot(by_month=[("2006-03", -1), ("2006-02", 12), ("2006-07", 24)])
    page = client.get("/figures").text
    columns = re.findall(r"<li><b>([^<]+)</b>.*?<span class=\"unseen\">(\w+) 2006</span>", page)
    assert [name for _, name in columns] == "enero febrero marzo abril mayo junio julio agosto septiembre octubre".split()
    assert [number for number, _ in columns] == ["0", "12", "&lt;10", "0", "0", "0", "24", "0", "0", "0"]


def test_what_nobody_counted_has_no_empty_box(played: PlayedServices, client: FlaskClient) -> None:
    played.answers["GetPilotFigures"] = pilot(by_country=[("SV", 10)])
    page = client.get("/figures").text
    assert "A dónde las habían llevado" in page
    assert not {"De dónde son", "Cuándo"} & set(re.findall(r"<h2>([^<]+)</h2>", page))


@pytest.mark.parametrize(("language", "name"), [("es", "El Salvador"), ("fr", "Salvador")])
def test_the_file_says_what_the_page_says_with_method_and_date(
    language: str, name: str, played: PlayedServices, client: FlaskClient
) -> None:
    played.answers["GetPilotFigures"] = pilot(by_country=[("SV", 10), ("CR", -1)], by_month=[("2006-07", 12)])
    assert 'href="/figures.csv"' in client.get(f"/figures?lang={language}").text
    answer = client.get("/figures.csv")
    assert (answer.mimetype, answer.headers["Content-Disposition"]) == ("text/csv", "attachment; filename=enlace-2006.csv")
    rows = list(csv.reader(StringIO(answer.text.removeprefix("\ufeff"))))
    assert rows[0] == ["table", "code", "name", "people"]
    said = {(table, code): (word, people) for table, code, word, people in rows[1:]}
    assert said["total", "assisted"][1] == "26"
    assert said["country", "SV"] == (name, "10")
    assert (said["country", "CR"][1], said["month", "2006-07"][1], said["month", "2006-01"][1]) == ("<10", "12", "0")
    assert said["note", "period"][0] == "2006-01/2006-10"
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", said["note", "date"][0])
    assert "<10" in said["note", "method"][0]
