"""The pages of advice cards, with fake services, and the cards beside the form of a contact."""

import pytest
from flask.testing import FlaskClient

from chassis import errors
from protos.contract.v1 import contract_pb2
from protos.referrals.v1 import advice_pb2 as pb
from protos.referrals.v1 import contacts_pb2 as c
from tests.gateway.pages_gateway import PlayedServices, enter, pages, signed_in, token_of

ES, EN = (
    pb.AdviceText(title="La retienen", lines=["Pregunte cuándo.", "No prometa hora."]),
    pb.AdviceText(title="Held", lines=["Ask.", "No hour."]),
)
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
OTHER = pb.AdviceCard(
    id="danger_now",
    version=1,
    es=pb.AdviceText(title="Peligro ahora", lines=["Cuelgue."]),
    en=EN,
    fr=FR,
)


@pytest.fixture
def played() -> PlayedServices:
    services = PlayedServices()
    # a copy for each test, because a test may change its answer
    services.answers["GetAdviceCard"] = pb.AdviceCard.FromString(CARD.SerializeToString())
    services.answers["ListAdviceCards"] = pb.ListAdviceCardsResponse(cards=[OTHER, CARD])
    return services


@pytest.fixture
def client(played: PlayedServices) -> FlaskClient:
    return enter(pages(played).test_client())


def form(page: str, **changes: object) -> dict[str, object]:
    """Returns the fields that a browser would send with CARD's form, with changes."""
    fields = {
        "form_token": token_of(page),
        "request_id": "one",
        "card": "still_held",
        "version": "4",
        "yes": ["still_held"],
        "need_code": "HOU",
    }
    for language, text in (("es", ES), ("en", EN), ("fr", FR)):
        fields |= {f"title_{language}": text.title, f"lines_{language}": "\r\n".join(text.lines)}
    return fields | changes


def test_the_unchanged_form_of_a_card_publishes_its_next_version(
    client: FlaskClient, played: PlayedServices
) -> None:
    page = client.get("/advice/publish?card=still_held").text
    assert all(
        text in page
        for text in ("No prometa hora.", "Pas d’heure.", 'value="4"', 'value="still_held" checked')
    )
    played.answers["PublishAdviceCard"] = pb.AdviceCard(id="still_held", version=4)
    answer = client.post("/advice/publish", data=form(page))
    assert (answer.status_code, answer.location) == (303, "/advice/still_held?done=card_published")
    card = pb.AdviceCard()
    card.CopyFrom(CARD)
    card.version = 4
    assert played.last("PublishAdviceCard").card == card


def test_errors_are_shown_at_their_fields_and_nothing_typed_is_lost(
    client: FlaskClient, played: PlayedServices
) -> None:
    page = client.get("/advice/publish?card=still_held").text
    played.answers["PublishAdviceCard"] = errors.Invalid(
        ("card.fr.lines", "not_translated"),
        ("card.es.title", "required"),
        ("card.en.lines[2]", "too_long"),
    )
    answer = client.post(
        "/advice/publish",
        data=form(page, title_es="", lines_fr="Seulement.", no=["safe_place_tonight"]),
    )
    assert answer.status_code == 422
    for text in (
        "no tiene las mismas frases",
        'id="title_es-error"',
        'id="lines_fr-error"',
        'id="lines_en-error"',
        ">Seulement.<",
    ):
        assert text in answer.text, text
    assert 'value="safe_place_tonight" checked' in answer.text


def test_the_second_of_two_coordinators_is_told_that_another_version_was_published(
    client: FlaskClient, played: PlayedServices
) -> None:
    page = client.get("/advice/publish?card=still_held").text
    played.answers["PublishAdviceCard"] = errors.Stale()
    answer = client.post("/advice/publish", data=form(page, title_es="La controlan"))
    assert (
        answer.status_code,
        "Alguien publicó otra versión" in answer.text,
        "La controlan" in answer.text,
    ) == (422, True, True)


def test_a_card_states_in_words_when_it_opens_and_is_shown_in_each_language(
    client: FlaskClient,
) -> None:
    page = client.get("/advice/still_held").text
    assert all(
        text in page
        for text in (
            "¿Todavía la retienen o la controlan?",
            "<b>Sí</b>",
            "Held",
            "Retenue",
            "version=2",
        )
    )


def test_d18_a_card_names_the_answer_that_opens_it_as_the_question_is_worded(
    client: FlaskClient, played: PlayedServices
) -> None:
    nowhere = pb.AdviceCard()
    nowhere.CopyFrom(CARD)
    nowhere.opened_by.CopyFrom(c.Triage(safe_place_tonight=c.ANSWER_NO))
    played.answers["GetAdviceCard"] = nowhere
    page = client.get("/advice/still_held").text
    assert "¿Le falta un lugar seguro para esta noche? <b>Sí</b>" in page
    page = client.get("/advice/publish?card=still_held").text
    assert 'name="yes" value="safe_place_tonight" checked' in page
    played.answers["PublishAdviceCard"] = nowhere
    client.post("/advice/publish", data=form(page, yes=["safe_place_tonight"]))
    assert played.last("PublishAdviceCard").card.opened_by == c.Triage(
        safe_place_tonight=c.ANSWER_NO
    )


def test_an_operator_reads_cards_and_only_a_coordinator_publishes_one(
    client: FlaskClient, played: PlayedServices
) -> None:
    assert "/advice/publish" in client.get("/advice").text
    played.answers["IssueToken"] = signed_in(contract_pb2.ROLE_OPERATOR)
    operator = enter(pages(played).test_client())
    page = operator.get("/advice").text
    assert ("La retienen" in page, "/advice/publish" in page) == (True, False)
    assert operator.get("/advice/publish").status_code == 404


def test_on_a_contact_an_answer_opens_its_card_and_without_answers_the_first_card_is_open(
    played: PlayedServices,
) -> None:
    played.answers["IssueToken"] = signed_in(contract_pb2.ROLE_OPERATOR)
    operator = enter(pages(played).test_client())
    assert open_cards(operator.get("/line/new").text) == ["danger_now"]
    chosen = pb.AdviceCard()
    chosen.CopyFrom(CARD)
    chosen.open = True
    played.answers["ListAdviceCards"] = pb.ListAdviceCardsResponse(cards=[OTHER, chosen])
    assert open_cards(operator.get("/line/" + "1" * 32).text) == ["still_held"]
    assert played.last("ListAdviceCards").contact_id


def open_cards(page: str) -> list[str]:
    """Returns the keys of the open cards."""
    tags = [part.split(">")[0] for part in page.split('data-card="')[1:]]
    return [tag.split('"')[0] for tag in tags if tag.endswith(" open")]
