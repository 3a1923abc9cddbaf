"""The poster of a hotline, and the public page of the hotline to which the poster leads."""

from itertools import pairwise

import pytest
from flask.testing import FlaskClient
from reportlab.pdfbase.pdfmetrics import stringWidth

from protos.partners.v1.directory_pb2 import Hotline, ListHotlinesResponse
from protos.referrals.v1 import campaigns_pb2 as pb
from protos.referrals.v1 import contacts_pb2 as c
from services.gateway.site.parts import poster
from tests.gateway.pages_gateway import FakePageServices, missing, pages

WORDS = poster.Words(
    language="es",
    title="Llama y Vive",
    question="¿Le obligan a trabajar o a tener sexo? ¿No le dejan irse? ¿Le quitaron sus papeles?",
    call="Llame. Le escuchamos a cualquier hora.",
    number="000-1331",
    promises=("Es gratis.", "Es confidencial.", "No tiene que decir su nombre."),
    address="https://enlace.example/l/7K2V",
    address_hint="Con el teléfono: qué pasa cuando llama.",
    code="Al llamar puede decir: 7K2V",
    warning="Demostración: este número no contesta.",
)


TEXT_LINES = [shape for shape in poster.shapes(WORDS) if isinstance(shape, poster.Line)]
BOXES = [shape for shape in poster.shapes(WORDS) if isinstance(shape, poster.Box)]


def test_nothing_on_the_poster_lies_outside_the_paper_or_on_something_else() -> None:
    assert all(
        box.x >= 0
        and box.x + box.width <= poster.WIDTH + 0.01
        and box.y + box.height <= poster.HEIGHT + 0.01
        for box in BOXES
    )
    assert all(
        stringWidth(line.text, line.font, line.size) <= poster.WIDTH - 2 * poster.MARGIN
        for line in TEXT_LINES
    )
    extents = sorted((line.y - line.size, line.y) for line in TEXT_LINES)
    assert all(below >= above for (_, above), (below, _) in pairwise(extents))
    assert extents[-1][1] <= poster.HEIGHT - poster.MARGIN / 2


def test_all_text_of_the_poster_is_in_both_formats() -> None:
    with pages(FakePageServices()).app_context():
        a4, a3 = poster.svg(WORDS, "A4"), poster.svg(WORDS, "A3")
    assert [line.text for line in TEXT_LINES if line.text not in a4] == []
    assert 'width="210.0mm" height="297.0mm"' in a4
    assert 'width="297.0mm" height="420.0mm"' in a3
    assert poster.pdf(WORDS, "A4").startswith(b"%PDF-")
    assert b"/MediaBox [ 0 0 841.853" in poster.pdf(WORDS, "A3")


def test_markup_in_a_name_stays_text() -> None:
    words = poster.Words(**{**vars(WORDS), "title": "<script>&"})
    with pages(FakePageServices()).app_context():
        assert "<script>" not in poster.svg(words, "A4")
    assert poster.pdf(words, "A4").startswith(b"%PDF-")


@pytest.fixture
def fakes() -> FakePageServices:
    return FakePageServices(
        {
            "ListHotlines": ListHotlinesResponse(
                hotlines=[
                    Hotline(country="NI", number="133"),
                    Hotline(country="CR", number="000-1331"),
                ]
            ),
            "GetPlacement": pb.Placement(
                code="7K2V", medium_code=c.CAMPAIGN_POSTER, country="NI", active=True
            ),
        }
    )


def test_a_poster_leads_to_the_page_of_its_country_with_its_code(visitor: FlaskClient) -> None:
    assert missing(visitor.get("/l/7k2v").text, "tel:133", "7K2V") == []


@pytest.mark.parametrize(
    ("active", "country"), [(False, "NI"), (True, "CR")], ids=["ended", "another country's"]
)
def test_the_code_of_an_ended_campaign_or_of_another_country_is_not_shown(
    active: bool, country: str, fakes: FakePageServices, visitor: FlaskClient
) -> None:
    fakes.answers["GetPlacement"] = pb.Placement(
        code="7K2V", medium_code=c.CAMPAIGN_POSTER, country=country, active=active
    )
    page = visitor.get("/lines/NI?code=7K2V")
    assert (page.status_code, "puede decir" in page.text) == (200, False)


@pytest.mark.parametrize(
    "address",
    ["/lines/ZZ", "/lines/ZZ/radio", "/lines/NI/poster-A5.pdf", "/lines/NI/poster-A4.exe"],
)
def test_a_country_without_a_hotline_and_an_unknown_paper_or_format_are_not_found(
    visitor: FlaskClient, address: str
) -> None:
    assert visitor.get(address).status_code == 404


def test_the_poster_is_in_the_readers_language(visitor: FlaskClient) -> None:
    assert "Appelez" in visitor.get("/lines/NI/poster-A4.svg?lang=fr").text
    assert "Llame" in visitor.get("/lines/NI/poster-A4.svg?lang=es").text


def test_a_placement_with_few_contacts_shows_no_breakdown(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    figures = pb.PlacementFigures(
        placement=pb.Placement(code="7K2V", medium_code=c.CAMPAIGN_POSTER), contacts=-1
    )
    fakes.answers["GetCampaignFigures"] = pb.CampaignFigures(placements=[figures])
    page = client.get("/campaigns/" + "1" * 32).text
    assert missing(page, "&lt;10", "Qué tan urgentes eran") == ["Qué tan urgentes eran"]
