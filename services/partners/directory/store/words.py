"""The words of a search, and the words of the directory that a mistyped one resembles."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from chassis.db import Transaction
from services.partners.network.store.sort_keys import fold


@dataclass(frozen=True, slots=True)
class Lexeme:
    """A word of the documents, or a beginning of words."""

    text: str
    begins: bool


@dataclass(frozen=True, slots=True)
class Word:
    """What says a word: one of these lexemes.

    Where it need not be said, those come first that do.
    """

    lexemes: tuple[Lexeme, ...]
    must: bool


_LEXEME = re.compile(r"'((?:[^']|'')*)'(:\*)?")  # of a tsquery as text
_WORD = re.compile(r"[^\W_]+")
# How people ask, in three languages: "necesito un abogado". Left out where more is said, for no
# service says it of itself.
_ASKING = frozenset(
    "necesito necesita necesitamos busco busca buscamos quiero quiere queremos puedo puede ayuda"
    " ayudar ayudarla urgente favor hoy ya aver haber"
    " gratis gratuito gratuita"
    " i we she he they a an the to for of with my her his our is are in need needs want wants"
    " looking help please urgent"
    " je j nous elle il on un une le la les l d du des de pour avec ma mon sa son ses est besoin"
    " cherche veut aide aider urgent svp".split()
)
# For whom: most services do not say it, and those that do come first. Where nothing else is said,
# it must be found.
_FOR_WHOM = frozenset(
    "mujer mujeres hijo hijos hija hijas nino ninos nina ninas bebe bebes woman women child"
    " children kid kids baby daughter son"
    " femme femmes enfant enfants fille fils".split()
)
_MAX_WORDS = 8  # of one search; more only slow it down
_MAX_LENGTH = 40
# of trigrams, nearest first; some stand twice, for a shelter has written them as well
_CANDIDATES = 20
_ALIKE = 0.75  # of 1: three letters of four are the same and in the same order
_AS_CLOSE = 0.1  # as the closest


def split(text: str) -> list[str]:
    """The words of a text, folded, each once."""
    return list(dict.fromkeys(word[:_MAX_LENGTH] for word in _WORD.findall(fold(text))))


def learn(tx: Transaction, texts: Sequence[str], *, shelter: bool) -> None:
    """Notes the words of these texts of what is offered.

    Sorted, so that two writers can't wait for each other.
    """
    words = sorted({word for text in set(texts) for word in split(text) if len(word) > 2})
    tx.execute(
        "INSERT INTO words (word, shelter) SELECT unnest(%s::text[]), %s ON CONFLICT DO NOTHING",
        (words, shelter),
    )


def without_asking(text: str) -> str:
    """The words of a search that say what is asked for, folded; all, where there are no others.

    "Necesito un abogado" asks for an abogado.
    """
    typed = split(text)
    return " ".join(([word for word in typed if word not in _ASKING] or typed)[:_MAX_WORDS])


def asked(tx: Transaction, text: str, *, sees_shelters: bool) -> list[Word]:
    """The words of a search that say anything: whole, or as a beginning of one or as those that
    resemble it if nobody has written it so.

    What is written of shelters only has nobody written for who may not see them.
    """
    typed = without_asking(text).split()
    if not typed:
        return []
    known = "words" if sees_shelters else "(SELECT word FROM words WHERE NOT shelter) AS words"
    said = tx.execute(
        f"SELECT typed, EXISTS (SELECT FROM {known} WHERE word = typed) AS whole, EXISTS (SELECT"
        f" FROM {known} WHERE word LIKE typed || '%%') AS begins,"
        " to_tsquery('enlace', typed)::text AS as_whole, to_tsquery('enlace', typed || ':*')::text"
        " AS as_beginning FROM unnest(%s::text[]) AS typed",
        (typed,),
    ).fetchall()
    alike = _alike(
        tx, known, [row["typed"] for row in said if not row["begins"] and len(row["typed"]) > 3]
    )
    words = []
    for row in said:
        # The stem of a whole word is no beginning: that of "comida" is "com", with which
        # "community" begins as well.
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
    """The stems of the words that each of these resembles."""
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
            stems[one]
            for one in _closest(word, [row["word"] for row in rows if row["typed"] == word])
        ]
        for word in typed
    }


def _closest(typed: str, words: Sequence[str]) -> list[str]:
    """Those that differ by a slip or two.

    Trigrams find them quickly, but take swapped letters for more than they are.
    """
    close = {
        word: ratio
        for word in words
        if (ratio := SequenceMatcher(None, typed, word, autojunk=False).ratio()) >= _ALIKE
    }
    return [
        word for word in words if word in close and close[word] >= max(close.values()) - _AS_CLOSE
    ]
