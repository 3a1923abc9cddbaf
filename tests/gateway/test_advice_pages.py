"""The pages of advice cards, with fake services, and the cards beside the form of a contact."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from chassis import errors
from protos.contract.v1 import contract_pb2
from protos.referrals.v1 import advice_pb2 as pb
from protos.referrals.v1 import contacts_pb2 as c
from tests.gateway.pages_gateway import FakePageServices, missing, signed_in_as, submit

ES = pb.AdviceText(title="La retienen", lines=["Pregunte cuándo.", "No prometa hora."])
EN = pb.AdviceText(title="Held", lines=["Ask.", "No hour."])
FR = pb.AdviceText(title="Retenue", lines=["Demandez.", "Pas d’heure."])
CARD = pb.AdviceCard(
    id="still_held",
    version=3,
    es=ES,
    en=EN,
    fr=FR,
    opened_by=c.Triage(still_held=c.ANSWER_YES),
    need_code="HOU",
)
OTHER_CARD = pb.AdviceCard(
    id="danger_now",
    version=1,
    es=pb.AdviceText(title="Peligro ahora", lines=["Cuelgue."]),
    en=EN,
    fr=FR,
)


@pytest.fixture
def fakes() -> FakePageServices:
    return FakePageServices(
        {
            "GetAdviceCard": card(),
            "ListAdviceCards": pb.ListAdviceCardsResponse(cards=[OTHER_CARD, CARD]),
        }
    )


def card(**changes: Any) -> pb.AdviceCard:
    """Returns a copy of CARD with changes."""
    return pb.AdviceCard(**{field.name: value for field, value in CARD.ListFields()} | changes)


def publish(client: FlaskClient, **changes: Any) -> TestResponse:
    """Submits the form of CARD as the page shows it, with changes."""
    page = client.get("/advice/publish?card=still_held").text
    fields: dict[str, Any] = {
        "card": "still_held",
        "version": "4",
        "yes": ["still_held"],
        "need_code": "HOU",
    }
    for language, text in (("es", ES), ("en", EN), ("fr", FR)):
        fields |= {f"title_{language}": text.title, f"lines_{language}": "\r\n".join(text.lines)}
    return submit(client, "/advice/publish", page, **fields | changes)


def test_the_unchanged_form_of_a_card_publishes_its_next_version(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    page = client.get("/advice/publish?card=still_held").text
    texts = ("No prometa hora.", "Pas d’heure.", 'value="4"', 'value="still_held" checked')
    assert missing(page, *texts) == []
    fakes.answers["PublishAdviceCard"] = pb.AdviceCard(id="still_held", version=4)
    answer = publish(client)
    assert (answer.status_code, answer.location) == (303, "/advice/still_held?done=card_published")
    assert fakes.last("PublishAdviceCard").card == card(version=4)


def test_errors_are_shown_at_their_fields_and_nothing_typed_is_lost(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers["PublishAdviceCard"] = errors.Invalid(
        ("card.fr.lines", "not_translated"),
        ("card.es.title", "required"),
        ("card.en.lines[2]", "too_long"),
    )
    answer = publish(client, title_es="", lines_fr="Seulement.", no=["safe_place_tonight"])
    texts = (
        "no tiene las mismas frases",
        'id="title_es-error"',
        'id="lines_fr-error"',
        'id="lines_en-error"',
        ">Seulement.<",
        'value="safe_place_tonight" checked',
    )
    assert (answer.status_code, missing(answer.text, *texts)) == (422, [])


def test_the_second_of_two_coordinators_is_told_that_another_version_was_published(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers["PublishAdviceCard"] = errors.Stale()
    answer = publish(client, title_es="La controlan")
    texts = ("Alguien publicó otra versión", "La controlan")
    assert (answer.status_code, missing(answer.text, *texts)) == (422, [])


def test_a_card_states_in_words_when_it_opens_and_is_shown_in_each_language(
    client: FlaskClient,
) -> None:
    texts = ("¿Todavía la retienen o la controlan?", "<b>Sí</b>", "Held", "Retenue", "version=2")
    assert missing(client.get("/advice/still_held").text, *texts) == []


def test_a_card_names_the_answer_that_opens_it_in_the_words_of_the_question(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    shelter_card = card(opened_by=c.Triage(safe_place_tonight=c.ANSWER_NO))
    fakes.answers["GetAdviceCard"] = shelter_card
    page = client.get("/advice/still_held").text
    assert "¿Le falta un lugar seguro para esta noche? <b>Sí</b>" in page
    page = client.get("/advice/publish?card=still_held").text
    assert 'name="yes" value="safe_place_tonight" checked' in page
    fakes.answers["PublishAdviceCard"] = shelter_card
    publish(client, yes=["safe_place_tonight"])
    assert fakes.last("PublishAdviceCard").card.opened_by == shelter_card.opened_by


def test_an_operator_reads_cards_and_only_a_coordinator_publishes_one(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    assert "/advice/publish" in client.get("/advice").text
    operator = signed_in_as(fakes, contract_pb2.ROLE_OPERATOR)
    page = operator.get("/advice").text
    assert missing(page, "La retienen", "/advice/publish") == ["/advice/publish"]
    assert operator.get("/advice/publish").status_code == 404


def test_on_a_contact_an_answer_opens_its_card_and_without_answers_the_first_card_is_open(
    fakes: FakePageServices,
) -> None:
    operator = signed_in_as(fakes, contract_pb2.ROLE_OPERATOR)
    assert open_cards(operator.get("/line/new").text) == ["danger_now"]
    fakes.answers["ListAdviceCards"] = pb.ListAdviceCardsResponse(
        cards=[OTHER_CARD, card(open=True)]
    )
    assert open_cards(operator.get("/line/" + "1" * 32).text) == ["still_held"]
    assert fakes.last("ListAdviceCards").contact_id


def open_cards(page: str) -> list[str]:
    """Returns the keys of the open cards."""
    tags = [part.split(">")[0] for part in page.split('data-card="')[1:]]
    return [tag.split('"')[0] for tag in tags if tag.endswith(" open")]
