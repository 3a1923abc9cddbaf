"""Advice cards.

A caller's answers open cards. A card has the same content in three languages, and the coordinators
publish it in versions.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from chassis.languages import LANGUAGES
from protos.referrals.v1 import advice_pb2 as pb
from protos.referrals.v1 import contacts_pb2 as c
from services.referrals.line.domain.advice import AdviceCard, Text
from services.referrals.line.domain.triage import NO, YES, Triage
from services.referrals.line.usecases.advice import shipped_cards
from services.referrals.line.wire.advice import card as parse
from services.referrals.line.wire.advice import card_message
from services.referrals.network.wire.languages import REQUIRED
from tests.builders import NOT_FOUND, refusal, violations_of
from tests.referrals.conftest import Client, Story

TEXT = Text("Un tema", ("Una frase.", "Otra."))
CARD = AdviceCard(
    "one", 1, dict.fromkeys(REQUIRED, TEXT), Triage(still_held=YES, safe_place_tonight=NO), "HOU"
)


@pytest.mark.parametrize(
    ("answers", "need_code", "opens"),
    [
        (Triage(), "", False),
        (Triage(still_held=YES), "", True),
        (Triage(still_held=NO), "", False),
        (Triage(safe_place_tonight=NO), "", True),
        (Triage(safe_place_tonight="did_not_say"), "", False),
        (Triage(danger_now=YES), "", False),
        (Triage(), "HOU.EMG", True),
        (Triage(), "HOU", True),
        (Triage(), "MED.PRI", False),
    ],
)
def test_an_answer_or_a_need_opens_an_advice_card(
    answers: Triage, need_code: str, opens: bool
) -> None:
    assert CARD.opens(answers, need_code) is opens


@pytest.mark.parametrize(
    ("text", "field", "reason"),
    [
        (Text("", TEXT.lines), "card.fr.title", "required"),
        (Text("Sujet", ()), "card.fr.lines", "required"),
        (Text("Sujet", ("Une phrase.", "")), "card.fr.lines", "required"),
        (Text("Sujet", ("Une phrase.",)), "card.fr.lines", "not_translated"),
    ],
)
def test_an_incomplete_translation_is_refused_and_the_error_names_the_language(
    text: Text, field: str, reason: str
) -> None:
    violations = violations_of(replace(CARD, texts={**CARD.texts, "fr": text}).check)
    assert (field, reason) in violations
    assert {path.split(".")[1] for path, _ in violations} == {"fr"}


def test_a_complete_advice_card_may_name_no_need_or_a_known_need_but_not_an_unknown_one() -> None:
    for need_code in ("", "HOU", "HOU.EMG"):
        replace(CARD, need_code=need_code).check()
    assert violations_of(replace(CARD, need_code="XXX").check) == [
        ("card.need_code", "unknown_code")
    ]


def test_a_card_may_be_translated_into_a_new_language_but_only_completely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cards = shipped_cards()
    monkeypatch.setitem(LANGUAGES, "qu", "Runasimi")
    assert shipped_cards() == cards
    message = card_message(CARD)
    assert parse(message) == CARD
    message.translations.add(language="qu", title="Huk", lines=["Huk rimay."])
    assert violations_of(parse(message).check) == [("card.qu.lines", "not_translated")]
    message.translations[0].lines.append("Hukpas.")
    complete_card = parse(message)
    complete_card.check()
    assert complete_card.texts["qu"] == Text("Huk", ("Huk rimay.", "Hukpas."))
    assert parse(card_message(complete_card)) == complete_card


def test_the_shipped_cards_cover_every_question_about_danger() -> None:
    covered_questions = {
        question
        for card in shipped_cards()
        for question, answer in vars(card.opened_by).items()
        if answer
    }
    assert covered_questions >= {
        "danger_now",
        "escape_under_way",
        "still_held",
        "child_unsafe",
        "medical_emergency",
        "sexual_violence_120h",
    }


def test_an_invalid_shipped_card_prevents_the_service_from_starting(tmp_path: Path) -> None:
    file = tmp_path / "advice.yaml"
    texts = "\n".join(
        f"  {language}: {{title: T, lines: [{'A, B' if language == 'es' else 'A'}]}}"
        for language in REQUIRED
    )
    file.write_text(f"- id: wrong\n{texts}\n")
    with pytest.raises(ValueError, match=r"advice\.yaml: wrong: .*not_translated"):
        shipped_cards(file)


def unique_text(story: Story, title: str, *lines: str) -> pb.AdviceText:
    return pb.AdviceText(title=f"{title} {story.request_id()}", lines=lines or ("Escuche.",))


STALE = ("ABORTED", "stale_etag")


@pytest.fixture
def operator(story: Story) -> Client:
    return story.service.as_("hotline", "OPERATOR")


def texts_of(story: Story) -> dict[str, Any]:
    return {language: unique_text(story, language) for language in REQUIRED}


def publish(story: Story, **fields: Any) -> pb.AdviceCard:
    card = pb.AdviceCard(**{"version": 1, **texts_of(story), **fields})
    published_card: pb.AdviceCard = story.coordinator.PublishAdviceCard(
        pb.PublishAdviceCardRequest(card=card, request_id=story.request_id())
    )
    return published_card


def current_cards(client: Client, contact_id: str = "") -> dict[str, pb.AdviceCard]:
    """Returns the current version of each card that is not retired, by id."""
    answer = client.ListAdviceCards(pb.ListAdviceCardsRequest(contact_id=contact_id))
    return {card.id: card for card in answer.cards}


def read_card(client: Client, card_id: str, version: int = 0) -> pb.AdviceCard:
    """Returns a version of a card, or the current version."""
    card: pb.AdviceCard = client.GetAdviceCard(pb.GetAdviceCardRequest(id=card_id, version=version))
    return card


def test_an_operator_reads_a_card_as_soon_as_it_is_published(
    story: Story, operator: Client
) -> None:
    first_version = publish(story, opened_by=c.Triage(wants_out=c.ANSWER_YES))
    second_version = publish(story, id=first_version.id, version=2, need_code="EDU")
    cards = current_cards(operator)
    assert (cards[first_version.id].version, cards[first_version.id].es) == (2, second_version.es)
    assert list(cards)[: len(shipped_cards())] == [card.id for card in shipped_cards()]
    assert read_card(operator, first_version.id, 1).opened_by.wants_out == c.ANSWER_YES
    assert read_card(operator, first_version.id) == second_version


def test_a_shipped_card_can_be_replaced_and_its_first_version_remains_readable(
    story: Story, operator: Client
) -> None:
    shipped_card = read_card(operator, "information")
    second_version = publish(story, id=shipped_card.id, version=shipped_card.version + 1)
    assert current_cards(operator)[shipped_card.id].es == second_version.es
    first_version = read_card(operator, shipped_card.id, 1)
    assert (first_version.es.title, first_version.HasField("publish_time")) == (
        "Solo quiere informarse",
        False,
    )


def test_a_retired_card_is_not_shown_but_can_be_published_again(
    story: Story, operator: Client
) -> None:
    card = publish(story)
    publish(story, id=card.id, version=2, retired=True)
    assert card.id not in current_cards(operator)
    assert read_card(operator, card.id).retired
    publish(story, id=card.id, version=3)
    assert card.id in current_cards(operator)


def test_the_answers_of_a_contact_open_cards_only_for_operators_of_its_own_line(
    story: Story, operator: Client
) -> None:
    contact = story.contact(still_held=c.ANSWER_YES, safe_place_tonight=c.ANSWER_NO).contact
    assert {card.id for card in current_cards(operator, contact.id).values() if card.open} >= {
        "still_held",
        "nowhere_to_sleep",
    }
    assert not any(card.open for card in current_cards(operator).values())
    for stranger in (story.service.as_("ngo", "OPERATOR"), story.coordinator):
        assert refusal(partial(current_cards, stranger, contact.id)) == NOT_FOUND


def test_a_card_version_that_is_not_the_next_one_is_refused_as_stale(story: Story) -> None:
    card = publish(story)
    publish(story, id=card.id, version=2)
    for card_id, version, expected in (
        (card.id, 1, STALE),
        (card.id, 2, STALE),
        (card.id, 4, STALE),
        ("", 2, STALE),
        ("no_such_card", 1, NOT_FOUND),
    ):
        assert refusal(partial(publish, story, id=card_id, version=version)) == expected
    assert refusal(partial(read_card, story.coordinator, card.id, 3)) == NOT_FOUND


def test_a_repeated_request_publishes_a_card_once(story: Story) -> None:
    request = pb.PublishAdviceCardRequest(
        card=pb.AdviceCard(version=1, **texts_of(story)), request_id=story.request_id()
    )
    assert story.coordinator.PublishAdviceCard(request) == story.coordinator.PublishAdviceCard(
        request
    )


def test_an_incomplete_or_invalid_card_is_refused(story: Story) -> None:
    long_text = unique_text(story, "largo", *("frase",) * 9)
    for fields in (
        {"en": pb.AdviceText(title="A", lines=["One.", "Two."])},
        {"need_code": "XXX"},
        {"es": long_text, "en": long_text, "fr": long_text},
    ):
        assert refusal(partial(publish, story, **fields)) == ("INVALID_ARGUMENT", "invalid_fields")
