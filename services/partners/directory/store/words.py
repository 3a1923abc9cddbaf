"""The words of a search, and the words of the directory that a mistyped word resembles."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from chassis.db import Transaction
from services.partners.network.store.sort_keys import fold


@dataclass(frozen=True, slots=True)
class Lexeme:
    """A word of the documents, or the beginning of words."""

    text: str
    begins: bool


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a search: any of its lexemes matches it.

    If the word is not required, the services that contain it come first.
    """

    lexemes: tuple[Lexeme, ...]
    must: bool


_LEXEME = re.compile(r"'((?:[^']|'')*)'(:\*)?")  # in the text of a tsquery
_WORD = re.compile(r"[^\W_]+")
# Words of requests in three languages: "necesito un abogado". They are left out if there are other
# words, for no service has them in its description.
_ASKING = frozenset(
    "necesito necesita necesitamos busco busca buscamos quiero quiere queremos puedo puede ayuda"
    " ayudar ayudarla urgente favor hoy ya aver haber"
    " gratis gratuito gratuita"
    " i we she he they a an the to for of with my her his our is are in need needs want wants"
    " looking help please urgent"
    " je j nous elle il on un une le la les l d du des de pour avec ma mon sa son ses est besoin"
    " cherche veut aide aider urgent svp".split()
)
# Words for the people concerned: most services do not contain them, and those that do come first.
# Without other words they are required.
_FOR_WHOM = frozenset(
    "mujer mujeres hijo hijos hija hijas nino ninos nina ninas bebe bebes woman women child"
    " children kid kids baby daughter son"
    " femme femmes enfant enfants fille fils".split()
)
_MAX_WORDS = 8  # in one search; more only slow it down
_MAX_LENGTH = 40
# by trigrams, nearest first; some occur twice, for a shelter has written them as well
_CANDIDATES = 20
_ALIKE = 0.75  # of 1: three letters of four are the same and in the same order
_AS_CLOSE = 0.1  # to the closest word


def split(text: str) -> list[str]:
    """Returns the words of a text, folded, without duplicates."""
    return list(dict.fromkeys(word[:_MAX_LENGTH] for word in _WORD.findall(fold(text))))


def learn(tx: Transaction, texts: Sequence[str], *, shelter: bool) -> None:
    """Stores the words of these texts of offered services.

    Words are sorted, so that two writers can't wait for each other.
    """
    words = sorted({word for text in set(texts) for word in split(text) if len(word) > 2})
    tx.execute(
        "INSERT INTO words (word, shelter) SELECT unnest(%s::text[]), %s ON CONFLICT DO NOTHING",
        (words, shelter),
    )


def without_asking(text: str) -> str:
    """Returns the words of a search without words such as "I need", folded.

    "Necesito un abogado" becomes "abogado". If there are no other words, all are returned.
    """
    typed = split(text)
    return " ".join(([word for word in typed if word not in _ASKING] or typed)[:_MAX_WORDS])


def asked(tx: Transaction, text: str, *, sees_shelters: bool) -> list[Word]:
    """Returns the words of a search that have a meaning.

    A word is taken whole. If no service contains it, it is the beginning of words, or stands for
    the words that it resembles. Words of shelters alone do not exist for a caller who may not see
    shelters.
    """
    typed = without_asking(text).split()
    if not typed:
        return []
    known = "words" if sees_shelters else "(SELECT word FROM words WHERE NOT shelter) AS words"
    rows = tx.execute(
        f"SELECT typed, EXISTS (SELECT FROM {known} WHERE word = typed) AS whole, EXISTS (SELECT"
        f" FROM {known} WHERE word LIKE typed || '%%') AS begins,"
        " to_tsquery('enlace', typed)::text AS as_whole, to_tsquery('enlace', typed || ':*')::text"
        " AS as_beginning FROM unnest(%s::text[]) AS typed",
        (typed,),
    ).fetchall()
    alike = _alike(
        tx, known, [row["typed"] for row in rows if not row["begins"] and len(row["typed"]) > 3]
    )
    words = []
    for row in rows:
        # The stem of a whole word is not used as a beginning: the stem of "comida" is "com", with
        # which "community" begins as well.
        stems = [
            row["as_whole"] if row["whole"] or len(row["typed"]) < 3 else row["as_beginning"],
            *alike.get(row["typed"], ()),
        ]
        lexemes = [
            Lexeme(text.replace("''", "'"), bool(begins))
            for stem in stems
            for text, begins in _LEXEME.findall(stem)
        ]
        if lexemes:
            words.append(Word(tuple(dict.fromkeys(lexemes)), must=row["typed"] not in _FOR_WHOM))
    return (
        words if any(word.must for word in words) else [replace(word, must=True) for word in words]
    )


def _alike(tx: Transaction, known: str, typed: Sequence[str]) -> dict[str, list[str]]:
    """Returns the stems of the words that each of these resembles."""
    if not typed:
        return {}
    rows = tx.execute(
        "SELECT typed, word, to_tsquery('enlace', word)::text AS stem"
        " FROM unnest(%s::text[]) AS typed"
        f" CROSS JOIN LATERAL (SELECT word FROM {known} ORDER BY word <-> typed LIMIT %s) AS alike",
        (typed, _CANDIDATES),
    ).fetchall()
    stems = {row["word"]: row["stem"] for row in rows}
    return {
        word: [
            stems[similar]
            for similar in _closest(word, [row["word"] for row in rows if row["typed"] == word])
        ]
        for word in typed
    }


def _closest(typed: str, words: Sequence[str]) -> list[str]:
    """Returns the words that differ by a slip or two.

    Trigrams find them quickly, but overrate swapped letters.
    """
    close = {
        word: ratio
        for word in words
        if (ratio := SequenceMatcher(None, typed, word, autojunk=False).ratio()) >= _ALIKE
    }
    return [
        word for word in words if word in close and close[word] >= max(close.values()) - _AS_CLOSE
    ]
