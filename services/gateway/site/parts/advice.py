"""Advice cards as an operator or coordinator reads them."""

from collections.abc import Sequence
from dataclasses import dataclass

from protos.referrals.v1 import advice_pb2 as pb
from services.gateway.site.language import i18n, words


@dataclass(frozen=True)
class Shown:
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


def shown(card: pb.AdviceCard, *, opened: bool = False) -> Shown:
    """Returns a card in the reader's language."""
    return Shown(card, getattr(card, i18n.language()), opened)


def beside(cards: Sequence[pb.AdviceCard]) -> list[Shown]:
    """Returns the cards beside the form of a contact.

    The first card is open as long as no answer opens one.
    """
    none = not any(card.open for card in cards)
    return [
        shown(card, opened=card.open or (none and index == 0)) for index, card in enumerate(cards)
    ]
