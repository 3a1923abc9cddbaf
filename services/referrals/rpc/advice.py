"""Advice cards: between messages and use cases."""

from chassis.ids import object_id
from chassis.rpc import Call
from chassis.wire import timestamp
from protos.referrals.v1 import advice_pb2 as pb
from services.referrals import wire
from services.referrals.domain.advice import LANGUAGES, AdviceCard, Text
from services.referrals.usecases.advice import Advice


class AdviceServicer:
    """Answers the rpcs of this name."""

    def __init__(self, advice: Advice) -> None:
        self._advice = advice

    def ListAdviceCards(self, request: pb.ListAdviceCardsRequest, call: Call) -> pb.ListAdviceCardsResponse:
        """See the .proto, as for every method here."""
        used = self._advice.used(call.tx, object_id(request.contact_id) if request.contact_id else "")
        return pb.ListAdviceCardsResponse(cards=[_message(card, opened=opened) for card, opened in used])

    def GetAdviceCard(self, request: pb.GetAdviceCardRequest, call: Call) -> pb.AdviceCard:
        return _message(self._advice.get(call.tx, request.id, request.version))

    def PublishAdviceCard(self, request: pb.PublishAdviceCardRequest, call: Call) -> pb.AdviceCard:
        said = request.card
        texts = {language: _text(getattr(said, language)) for language in LANGUAGES}
        card = AdviceCard(said.id, said.version, texts, wire.triage(said.opened_by, "card.opened_by"), said.need_code, said.retired)
        return _message(self._advice.publish(call.tx, call.caller, call.clock.now(), card))


def _text(said: pb.AdviceText) -> Text:
    return Text(said.title.strip(), tuple(line.strip() for line in said.lines))


def _message(card: AdviceCard, *, opened: bool = False) -> pb.AdviceCard:
    message = pb.AdviceCard(
        id=card.id,
        version=card.version,
        opened_by=wire.triage_message(card.opened_by),
        need_code=card.need_code,
        retired=card.retired,
        open=opened,
        publish_time=timestamp(card.publish_time),
    )
    for language, text in card.texts.items():
        getattr(message, language).MergeFrom(pb.AdviceText(title=text.title, lines=text.lines))
    return message
