"""Words without accents and capitals, and the words of the directory that a mistyped one resembles."""

import re
import unicodedata
from collections.abc import Sequence

from chassis.db import Transaction

_WORD = re.compile(r"[^\W_]+")
_MAX_WORDS = 8  # of one search; more only slow it down
_MAX_LENGTH = 40
_ALTERNATIVES = 4
_CLOSE = 0.15  # as similar as the best one, less this


def fold(text: str) -> str:
    """Lower case without accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))


def split(text: str) -> list[str]:
    """The words of a text, folded, each once."""
    return list(dict.fromkeys(word[:_MAX_LENGTH] for word in _WORD.findall(fold(text))))


def learn(tx: Transaction, texts: Sequence[str]) -> None:
    """Notes the words of these texts. Sorted, so that two writers can't wait for each other."""
    found = sorted({word for text in texts for word in split(text) if len(word) > 2})
    tx.execute("INSERT INTO words (word) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING", (found,))


def query(tx: Transaction, text: str) -> str:
    """The text as a tsquery: every word must be found, whole or as a beginning, or one that resembles it if nobody has written it so.

    Empty if it holds no word that says anything.
    """
    typed = split(text)[:_MAX_WORDS]
    if not typed:
        return ""
    rows = tx.execute(
        "SELECT typed, word, similarity(word, typed) AS closeness FROM unnest(%s::text[]) AS typed"
        " CROSS JOIN LATERAL (SELECT word FROM words WHERE word %% typed ORDER BY similarity(word, typed) DESC, word LIMIT %s) AS alike"
        " WHERE length(typed) > 3 AND NOT EXISTS (SELECT FROM words WHERE word LIKE typed || '%%') ORDER BY closeness DESC, word",
        (typed, _ALTERNATIVES),
    ).fetchall()
    best: dict[str, float] = {}
    alike: dict[str, list[str]] = {}
    for row in rows:
        if row["closeness"] >= best.setdefault(row["typed"], row["closeness"]) - _CLOSE:
            alike.setdefault(row["typed"], []).append(row["word"])
    parts = ["(" + " | ".join([f"{word}:*" if len(word) > 2 else word, *alike.get(word, [])]) + ")" for word in typed]
    made = tx.execute("SELECT to_tsquery('enlace', %s)::text AS query", (" & ".join(parts),)).fetchone()
    return str(made["query"]) if made else ""
