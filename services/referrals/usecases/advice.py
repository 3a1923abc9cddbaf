"""Advice cards: those that come with the service, and the versions that a coordinator published."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import yaml

from chassis.db import Transaction, take_turn
from chassis.errors import Invalid, NotFound, Stale
from chassis.ids import new_id
from chassis.tokens import Caller
from services.referrals.domain.advice import LANGUAGES, AdviceCard, Text
from services.referrals.domain.triage import Triage
from services.referrals.store import advice
from services.referrals.store.contacts import answers_of

SHIPPED = Path(__file__).parent.parent / "data" / "advice.yaml"


def shipped(file: Path = SHIPPED) -> list[AdviceCard]:
    """The cards that come with the service. ValueError with the card for one that is wrong: the service does not start with it."""
    cards = []
    for each in yaml.safe_load(file.read_text(encoding="utf-8")):
        texts = {language: Text(each[language]["title"], tuple(each[language]["lines"])) for language in LANGUAGES}
        card = AdviceCard(each["id"], 1, texts, Triage(**each.get("opened_by", {})), each.get("need", ""))
        try:
            card.check()
        except Invalid as refusal:
            raise ValueError(f"{file.name}: {card.id}: {refusal.violations}") from None
        cards.append(card)
    return cards


class Advice:
    """Every method runs in the transaction `tx`."""

    def __init__(self, first: list[AdviceCard]) -> None:
        self._first = {card.id: card for card in first}

    def used(self, tx: Transaction, contact_id: str) -> list[tuple[AdviceCard, bool]]:
        """The cards in use, and whether what was answered in a contact opens each; NotFound for a contact that is not the caller's."""
        said, need_code = answers_of(tx, contact_id) if contact_id else (Triage(), "")
        return [(card, card.opens(said, need_code)) for card in self._newest(tx).values() if not card.retired]

    def get(self, tx: Transaction, identifier: str, version: int) -> AdviceCard:
        """One version; 0 is the newest. NotFound when there is none."""
        if not version:
            card = self._newest(tx).get(identifier)
        elif version == 1 and identifier in self._first:
            card = self._first[identifier]
        else:
            card = advice.get(tx, identifier, version)
        if card is None:
            raise NotFound
        return card

    def publish(self, tx: Transaction, caller: Caller, now: datetime, card: AdviceCard) -> AdviceCard:
        """The next version, which must be the one that is named: of two that are written at once the second is refused."""
        card.check()
        take_turn(tx, "advice_cards")
        if not card.id:
            card, newest = replace(card, id=new_id()), 0
        else:
            newest = self.get(tx, card.id, 0).version
        if card.version != newest + 1:
            raise Stale
        card = replace(card, publish_time=now)
        advice.add(tx, card, caller.id)
        return card

    def _newest(self, tx: Transaction) -> dict[str, AdviceCard]:
        """Each in its newest version, in the order in which they are shown; also those that are not used any more."""
        return self._first | {card.id: card for card in advice.newest(tx)}
