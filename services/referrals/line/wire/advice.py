"""Translates advice cards between the domain and the messages."""

from chassis.languages import LANGUAGES
from chassis.wire import timestamp
from protos.referrals.v1 import advice_pb2 as pb
from services.referrals.line.domain.advice import AdviceCard, Text
from services.referrals.line.wire.messages import read_triage, triage_message
from services.referrals.network.wire.languages import REQUIRED


def card(message: pb.AdviceCard) -> AdviceCard:
    """Parses the card in a request, with its texts in the required and in other known languages."""
    texts = {language: _text(getattr(message, language)) for language in REQUIRED}
    texts |= {
        text.language: _text(text)
        for text in message.translations
        if text.language in LANGUAGES.keys() - REQUIRED
    }
    opened_by = read_triage(message.opened_by, "card.opened_by")
    return AdviceCard(
        message.id, message.version, texts, opened_by, message.need_code, message.retired
    )


def _text(message: pb.AdviceText) -> Text:
    return Text(message.title.strip(), tuple(line.strip() for line in message.lines))


def card_message(card: AdviceCard, *, is_opened: bool = False) -> pb.AdviceCard:
    """Returns a card as a message; `is_opened` is True if the contact opens the card."""
    message = pb.AdviceCard(
        id=card.id,
        version=card.version,
        opened_by=triage_message(card.opened_by),
        need_code=card.need_code,
        retired=card.retired,
        open=is_opened,
        publish_time=timestamp(card.publish_time),
    )
    for language, text in card.texts.items():
        message_text = pb.AdviceText(title=text.title, lines=text.lines)
        if language in REQUIRED:
            getattr(message, language).MergeFrom(message_text)
        else:
            message_text.language = language
            message.translations.append(message_text)
    return message
