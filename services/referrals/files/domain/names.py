"""Names in the form that a search compares.

A search compares whole words, ignoring accents and case; words that sound alike in Spanish are
equal. Only a keyed hash of each word is stored. Limitation: somebody who has the database but not
the key sees how often a hashed word occurs in the files of one organisation, but not which word it
is.
"""

import re
import unicodedata

RULES_VERSION = 5
"""The version of these rules; a change of the rules or of the key needs a new number.

A file whose words were stored under older rules, or not at all, is processed again.
"""
MAX_WORDS = 12
"""The maximum number of words in all names of a person; further words are ignored."""
_PARTICLES = frozenset("de del la las los el y e da do dos san santa".split())
_SOUNDS = [
    (re.compile(pattern), sound)
    for pattern, sound in (
        (r"qu(?=[ei])", "k"),
        (r"c(?=[eiy])", "s"),
        (r"g(?=[ei])|^x", "j"),
        (r"ph", "f"),
        (r"(?<![cs])h", ""),
        (r"ll", "y"),
        (r"y$|^y(?![aeiou])", "i"),
        (r"[zx]", "s"),
        (r"[vw]", "b"),
        (r"c(?!h)", "k"),
        (r"(.)\1+", r"\1"),
    )
]


def words_of(given_name: str, family_name: str = "") -> frozenset[str]:
    """Returns the words, in this module's form, that find a person with these names.

    The first word of a given name is a name, even if it is a particle elsewhere (Santa).
    """
    given_words, family_words = _plain_words(given_name), _plain_words(family_name)
    words = [
        *_without_particles(given_words),
        *_without_particles(family_words),
        *given_words[:1],
    ]
    return frozenset(map(_sound, words[:MAX_WORDS]))


def searched_words(name: str) -> frozenset[str]:
    """Returns the words that a person's names must have to be found by this name.

    Initials count only if there are no other words: a file may have the name without the initial.
    """
    words = _without_particles(_plain_words(name))[:MAX_WORDS]
    return frozenset(
        map(_sound, [word for word in words if len(word) > 1 or not word.isascii()] or words)
    )


def _plain_words(name: str) -> list[str]:
    decomposed_name = unicodedata.normalize("NFKD", name.casefold())
    unaccented_name = "".join(
        character for character in decomposed_name if not unicodedata.combining(character)
    )
    return [word for word in re.findall(r"\w+", unaccented_name) if len(word) > 1 or word.isalpha()]


def _without_particles(words: list[str]) -> list[str]:
    """Returns the words that are not particles, or all words if all are particles."""
    return [word for word in words if word not in _PARTICLES] or words


def _sound(word: str) -> str:
    sound = word
    for letters, sound_of_letters in _SOUNDS:
        sound = letters.sub(sound_of_letters, sound)
    return sound or word  # a lone "h" has no sound
