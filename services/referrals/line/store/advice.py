"""Stores the published versions of advice cards."""

import json

from chassis.db import Row, Transaction
from services.referrals.line.domain.advice import AdviceCard, Text
from services.referrals.line.domain.triage import Triage


def newest(tx: Transaction) -> list[AdviceCard]:
    """Returns the newest version of each published card, in the order of first publication."""
    rows = tx.execute(
        "SELECT DISTINCT ON (min(number) OVER (PARTITION BY id), id) * FROM advice_cards"
        " ORDER BY min(number) OVER (PARTITION BY id), id, version DESC"
    )
    return [_read(row) for row in rows]


def get(tx: Transaction, identifier: str, version: int) -> AdviceCard | None:
    """Returns one version; None if it does not exist."""
    row = tx.execute(
        "SELECT * FROM advice_cards WHERE id = %s AND version = %s", (identifier, version)
    ).fetchone()
    return _read(row) if row else None


def add(tx: Transaction, card: AdviceCard, worker_id: str) -> None:
    """Saves a version of a card. A version never changes."""
    texts = {
        language: {"title": text.title, "lines": text.lines}
        for language, text in card.texts.items()
    }
    opened_by = {question: answer for question, answer in vars(card.opened_by).items() if answer}
    tx.execute(
        "INSERT INTO advice_cards (id, version, texts, opened_by, need_code, retired,"
        " published_by_worker_id, publish_time)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            card.id,
            card.version,
            json.dumps(texts),
            json.dumps(opened_by),
            card.need_code,
            card.retired,
            worker_id,
            card.publish_time,
        ),
    )


def _read(row: Row) -> AdviceCard:
    return AdviceCard(
        row["id"],
        row["version"],
        {
            language: Text(text["title"], tuple(text["lines"]))
            for language, text in row["texts"].items()
        },
        Triage(**row["opened_by"]),
        row["need_code"],
        row["retired"],
        row["publish_time"],
    )
