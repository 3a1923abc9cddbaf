"""The words of a search, and the directory's words that a mistyped word resembles."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from chassis.db import Transaction
from services.partners.network.store.sort_keys import fold


@dataclass(frozen=True, slots=True)
class Lexeme:
    """A lexeme to look for in the documents; if `is_prefix`, every lexeme that begins with it."""

    text: str
    is_prefix: bool


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a search. A service contains the word if it contains any of the lexemes.

    A word that is not required (`is_required`) only puts the services that contain it first. If no
    word of a search is required, a service must contain at least one.
    """

    lexemes: tuple[Lexeme, ...]
    is_required: bool


_LEXEME = re.compile(r"'((?:[^']|'')*)'(:\*)?")  # in the text of a tsquery
_WORD = re.compile(r"[^\W_]+")
# Words that people use to phrase a request, in three languages: "necesito un abogado". They are
# ignored if there are other words, because no service has them in its description.
_FILLER_WORDS = frozenset(
    "necesito necesita necesitamos busco busca buscamos quiero quiere queremos puedo puede ayuda"
    " ayudar ayudarla urgente favor hoy ya aver haber"
    " gratis gratuito gratuita una el los las para por con mi mis su sus y en que al"
    " i we she he they a an the to for of with my her his our is are in need needs want wants"
    " looking help please urgent"
    " je j nous elle il on un une le la les l d du des de pour avec ma mon sa son ses est besoin"
    " cherche veut aide aider urgent svp".split()
)
# Words for the people concerned. Most services contain neither these words nor numbers of people,
# so services that contain one come first. If there are no other words, one is required.
_PEOPLE_WORDS = frozenset(
    "mujer mujeres hombre hombres varon varones senora senoras muchacha muchachas muchacho"
    " muchachos joven jovenes adolescente adolescentes embarazada embarazadas hijo hijos hija"
    " hijas nino ninos nina ninas bebe bebes woman women man men girl girls boy boys pregnant"
    " child children kid kids baby daughter son femme femmes homme hommes enceinte enfant"
    " enfants fille fils".split()
)
_MAX_WORDS = 8  # maximum number of words in one search; more words only slow the search down
_MAX_LENGTH = 40
# maximum number of similar words (by trigrams, nearest first) that are compared; a word counts
# twice if both a shelter and another service use it
_CANDIDATES = 20
# at a similarity of 0.75 (of at most 1), three of four letters are the same and in the same order
_MIN_SIMILARITY = 0.75
# maximum difference in similarity between the closest word and another word that is accepted
_TOLERANCE = 0.1

_OPEN_PLACES = (
    "FROM service_at_locations AS a JOIN locations AS l ON l.id = a.location_id"
    " WHERE a.service_id = s.id AND NOT s.confidential AND NOT l.confidential"
)
"""The SQL for the places of a service that lead to no hidden service."""
_STORE_PLACES = (
    "WITH places AS (SELECT s.id, s.listed, coalesce((SELECT string_agg(l.name || ' ' ||"
    f" translate(split_part(l.area_code, '.', 2), '-', ' '), ' ') {_OPEN_PLACES}), '') AS words,"
    f" ARRAY(SELECT DISTINCT unnest(a.languages) {_OPEN_PLACES} ORDER BY 1) AS languages"
    " FROM services AS s WHERE s.id = ANY(%s)),"
    " documents AS (SELECT id, languages, strip(to_tsvector('enlace', words)) AS document"
    " FROM places),"
    " written AS (UPDATE services AS s SET place_document = d.document, place_languages ="
    " d.languages FROM documents AS d WHERE s.id = d.id"
    " AND (s.place_document, s.place_languages) IS DISTINCT FROM (d.document, d.languages))"
    " SELECT id, words FROM places WHERE listed"
)


def split(text: str) -> list[str]:
    """Returns the words of a text, folded, without duplicates."""
    return list(dict.fromkeys(word[:_MAX_LENGTH] for word in _WORD.findall(fold(text))))


def store_words(tx: Transaction, texts: Sequence[str], *, shelter: bool) -> None:
    """Stores the words in these texts of offered services.

    The words are sorted, so that two writers can't deadlock.
    """
    words = sorted({word for text in set(texts) for word in split(text) if len(word) > 2})
    tx.execute(
        "INSERT INTO words (word, shelter) SELECT unnest(%s::text[]), %s ON CONFLICT DO NOTHING",
        (words, shelter),
    )


def store_places(tx: Transaction, service_ids: Sequence[str]) -> dict[str, str]:
    """Stores the words and the languages of the places of locked services.

    The words are names and municipalities. Confidential places, and all places of a confidential
    service, are left out. Returns the words of the offered services, by service id.
    """
    rows = tx.execute(_STORE_PLACES, (list(service_ids),))
    return {row["id"]: row["words"] for row in rows}


def significant_words(text: str) -> str:
    """Returns the first words of a search, folded, without words such as "I need".

    "Necesito un abogado" becomes "abogado". If a search has only such words, they are returned.
    """
    all_words = split(text)
    return " ".join(
        ([word for word in all_words if word not in _FILLER_WORDS] or all_words)[:_MAX_WORDS]
    )


def words_without_people(text: str) -> str:
    """Returns the significant words of a search without words for people, such as "my children".

    If a search has only such words, they are returned, joined by "or" (websearch_to_tsquery).
    """
    words = significant_words(text).split()
    return " ".join(word for word in words if not _is_about_people(word)) or " or ".join(words)


def words_of_search(tx: Transaction, text: str, *, sees_shelters: bool) -> list[Word]:
    """Returns the significant words of a search, in the form in which they are looked up.

    A word that some service contains, or that has fewer than three letters, is searched for as it
    is. Any other word is searched for as the beginning of words. If no word begins with it and it
    has more than three letters, the words that it resembles are searched for, too, except for a
    word for people. For a caller who may not see shelters, words that only shelters use do not
    exist.
    """
    query_words = significant_words(text).split()
    if not query_words:
        return []
    words_table = (
        "words" if sees_shelters else "(SELECT word FROM words WHERE NOT shelter) AS words"
    )
    rows = tx.execute(
        f"SELECT typed, EXISTS (SELECT FROM {words_table} WHERE word = typed) AS whole,"
        f" EXISTS (SELECT FROM {words_table} WHERE word LIKE typed || '%%') AS begins,"
        " to_tsquery('enlace', typed)::text AS as_whole, to_tsquery('enlace', typed || ':*')::text"
        " AS as_beginning FROM unnest(%s::text[]) AS typed",
        (query_words,),
    ).fetchall()
    stems_by_word = _stems_of_similar(
        tx,
        words_table,
        [
            row["typed"]
            for row in rows
            if not row["begins"] and len(row["typed"]) > 3 and not _is_about_people(row["typed"])
        ],
    )
    words = []
    for row in rows:
        # The stem of a whole word is not searched for as a beginning: the stem of "comida" is
        # "com", and "community" begins with it, too.
        # A short word for people would begin many others: "men", "mental".
        is_whole = row["whole"] or len(row["typed"]) < (4 if _is_about_people(row["typed"]) else 3)
        stems = [
            row["as_whole"] if is_whole else row["as_beginning"],
            *stems_by_word.get(row["typed"], ()),
        ]
        lexemes = [
            Lexeme(text.replace("''", "'"), bool(begins))
            for stem in stems
            for text, begins in _LEXEME.findall(stem)
        ]
        if lexemes:
            is_required = not _is_about_people(row["typed"])
            words.append(Word(tuple(dict.fromkeys(lexemes)), is_required))
    return words


def _is_about_people(word: str) -> bool:
    return word in _PEOPLE_WORDS or word.isdigit()


def _stems_of_similar(
    tx: Transaction, words_table: str, query_words: Sequence[str]
) -> dict[str, list[str]]:
    """Returns, for each typed word, the stems of the words that it resembles."""
    if not query_words:
        return {}
    rows = tx.execute(
        "SELECT typed, word, to_tsquery('enlace', word)::text AS stem"
        " FROM unnest(%s::text[]) AS typed"
        f" CROSS JOIN LATERAL (SELECT word FROM {words_table} ORDER BY word <-> typed LIMIT %s)"
        " AS similar_words",
        (query_words, _CANDIDATES),
    ).fetchall()
    stems = {row["word"]: row["stem"] for row in rows}
    return {
        word: [
            stems[similar]
            for similar in _closest(word, [row["word"] for row in rows if row["typed"] == word])
        ]
        for word in query_words
    }


def _closest(query_word: str, words: Sequence[str]) -> list[str]:
    """Returns the words that differ from `query_word` by one or two typing errors.

    The words were found by their trigrams, which is quick but rates words with swapped letters too
    low. So the words are compared again here.
    """
    similarities = {
        word: similarity
        for word in words
        if (similarity := SequenceMatcher(None, query_word, word, autojunk=False).ratio())
        >= _MIN_SIMILARITY
    }
    return [
        word
        for word in words
        if word in similarities and similarities[word] >= max(similarities.values()) - _TOLERANCE
    ]
