"""Handles the rpcs for advice cards: cards that come with the service, and published versions."""

from dataclasses import replace
from pathlib import Path

import yaml

from chassis.db import Transaction
from chassis.errors import Invalid, NotFound, Stale
from chassis.ids import new_id, object_id
from chassis.languages import LANGUAGES, SOURCE
from chassis.locks import advisory_lock
from chassis.rpc import Call
from facts import outbox
from protos.referrals.v1 import advice_pb2 as pb
from services.referrals.line.domain.advice import AdviceCard, Text
from services.referrals.line.domain.triage import Triage
from services.referrals.line.store import advice
from services.referrals.line.store.contacts import answers_of
from services.referrals.line.wire.advice import card as parse
from services.referrals.line.wire.advice import card_message
from services.referrals.network.wire.facts import publication_fact

SHIPPED = Path(__file__).parent.parent / "advice.yaml"


def shipped_cards(file: Path = SHIPPED) -> list[AdviceCard]:
    """Returns the cards that come with the service.

    Raises ValueError with the id of the first invalid card, so that the service does not start.
    """
    cards = []
    for entry in yaml.safe_load(file.read_text(encoding="utf-8")):
        texts = {
            language: Text(entry[language]["title"], tuple(entry[language]["lines"]))
            for language in LANGUAGES
            if language in entry or language == SOURCE
        }
        card = AdviceCard(
            entry["id"], 1, texts, Triage(**entry.get("opened_by", {})), entry.get("need", "")
        )
        try:
            card.check()
        except Invalid as refusal:
            raise ValueError(f"{file.name}: {card.id}: {refusal.violations}") from None
        cards.append(card)
    return cards


class AdviceRpcs:
    """Handles the rpcs for advice cards, one method per rpc."""

    def __init__(self, shipped: list[AdviceCard]) -> None:
        self._shipped = {card.id: card for card in shipped}

    def ListAdviceCards(
        self, request: pb.ListAdviceCardsRequest, call: Call
    ) -> pb.ListAdviceCardsResponse:
        """Lists the cards that are not retired, and marks the cards that a contact opens.

        A contact opens a card with its answers or its need. Raises NotFound for a contact of
        another organisation.
        """
        contact_id = object_id(request.contact_id) if request.contact_id else ""
        triage, need_code = answers_of(call.tx, contact_id) if contact_id else (Triage(), "")
        current_cards = [card for card in self._newest(call.tx).values() if not card.retired]
        return pb.ListAdviceCardsResponse(
            cards=[
                card_message(card, is_opened=card.opens(triage, need_code))
                for card in current_cards
            ]
        )

    def GetAdviceCard(self, request: pb.GetAdviceCardRequest, call: Call) -> pb.AdviceCard:
        """Returns one version of a card; version 0 means the newest."""
        return card_message(self._get(call.tx, request.id, request.version))

    def PublishAdviceCard(self, request: pb.PublishAdviceCardRequest, call: Call) -> pb.AdviceCard:
        """Publishes a card, or the next version of a card.

        The request must contain the number of that version; any other number is refused as Stale.
        So if two requests publish the same version, the second is refused.
        """
        card = parse(request.card)
        card.check()
        advisory_lock(call.tx, "advice_cards")
        if not card.id:
            card, newest_version = replace(card, id=new_id()), 0
        else:
            newest_version = self._get(call.tx, card.id, 0).version
        if card.version != newest_version + 1:
            raise Stale
        now = call.clock.now()
        card = replace(card, publish_time=now)
        advice.add(call.tx, card, call.caller.id)
        outbox.save(call.tx, [publication_fact("advice_card", call.caller, now)])
        return card_message(card)

    def _get(self, tx: Transaction, identifier: str, version: int) -> AdviceCard:
        if not version:
            card = self._newest(tx).get(identifier)
        elif version == 1 and identifier in self._shipped:
            card = self._shipped[identifier]
        else:
            card = advice.get(tx, identifier, version)
        if card is None:
            raise NotFound
        return card

    def _newest(self, tx: Transaction) -> dict[str, AdviceCard]:
        """Returns the newest version of each card by its id, in the order of the list.

        Retired cards are included.
        """
        return self._shipped | {card.id: card for card in advice.newest(tx)}
