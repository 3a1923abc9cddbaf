"""Advice cards as operators and coordinators see them."""

from chassis.languages import LANGUAGES, in_language
from protos.referrals.v1 import advice_pb2 as pb
from services.gateway.site.language import i18n, words

REQUIRED_LANGUAGES = frozenset(
    field.name
    for field in pb.AdviceCard.DESCRIPTOR.fields
    if field.message_type is pb.AdviceText.DESCRIPTOR and not field.is_repeated
)
"""The languages in which every card has a text, each in a field of its own.

Texts in other languages are in the field `translations`.
"""


def opened_by(card: pb.AdviceCard) -> list[tuple[str, str]]:
    """Returns the questions and answers that open the card, in words."""
    return [
        (
            words.word("triage", field.name),
            words.word("answer", words.as_asked(field.name, words.code("answer", value))),
        )
        for field, value in card.opened_by.ListFields()
    ]


def text_in(card: pb.AdviceCard, language: str) -> pb.AdviceText:
    """Returns the text of a card in one language; adds an empty text if the card has none.

    A change to the returned text changes the card.
    """
    if language in REQUIRED_LANGUAGES:
        text: pb.AdviceText = getattr(card, language)
        return text
    translations = (text for text in card.translations if text.language == language)
    return next(translations, None) or card.translations.add(language=language)


def texts(card: pb.AdviceCard) -> dict[str, pb.AdviceText]:
    """Returns the texts of a card by language; leaves out languages without a translation."""
    by_language = {language: text_in(card, language) for language in LANGUAGES}
    return {language: text for language, text in by_language.items() if text.title}


def text(card: pb.AdviceCard) -> pb.AdviceText:
    """Returns the text of a card for the reader; in Spanish if it has no text in her language."""
    return in_language(texts(card), i18n.language()) or pb.AdviceText()
