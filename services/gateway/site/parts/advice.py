"""Advice cards as operators and coordinators see them."""

from collections.abc import Sequence
from dataclasses import dataclass

from chassis.languages import LANGUAGES, in_language
from protos.referrals.v1 import advice_pb2 as pb
from services.gateway.site.language import i18n, words

REQUIRED = frozenset(
    field.name
    for field in pb.AdviceCard.DESCRIPTOR.fields
    if field.message_type is pb.AdviceText.DESCRIPTOR and not field.is_repeated
)
"""The languages in which every card has a text, each in a field of its own.

Texts in other languages are in the field `translations`.
"""


@dataclass(frozen=True)
class ShownCard:
    """A card in the reader's language, open or folded."""

    card: pb.AdviceCard
    text: pb.AdviceText
    open: bool

    @property
    def opened_by(self) -> list[tuple[str, str]]:
        """Returns the questions and answers that open the card, in words."""
        return [
            (
                words.word("triage", field.name),
                words.word("answer", words.as_asked(field.name, words.code("answer", value))),
            )
            for field, value in self.card.opened_by.ListFields()
        ]


def text_in(card: pb.AdviceCard, language: str) -> pb.AdviceText:
    """Returns the text of a card in one language; adds an empty text if the card has none.

    A change to the returned text changes the card.
    """
    if language in REQUIRED:
        text: pb.AdviceText = getattr(card, language)
        return text
    for text in card.translations:
        if text.language == language:
            return text
    return card.translations.add(language=language)


def texts(card: pb.AdviceCard) -> dict[str, pb.AdviceText]:
    """Returns the texts of a card by language; leaves out languages without a translation."""
    by_language = {language: text_in(card, language) for language in LANGUAGES}
    return {language: text for language, text in by_language.items() if text.title}


def shown_card(card: pb.AdviceCard, *, opened: bool = False) -> ShownCard:
    """Returns a card in the reader's language; in Spanish if it has no text in that language."""
    text = in_language(texts(card), i18n.language())
    return ShownCard(card, text or pb.AdviceText(), opened)


def shown_cards(cards: Sequence[pb.AdviceCard]) -> list[ShownCard]:
    """Returns the cards as they are shown beside the form of a contact, open or folded.

    If no answer opens any card, the first card is open.
    """
    none_is_open = not any(card.open for card in cards)
    return [
        shown_card(card, opened=card.open or (none_is_open and index == 0))
        for index, card in enumerate(cards)
    ]
