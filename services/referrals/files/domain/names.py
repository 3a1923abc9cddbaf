"""Names as they are searched for: whole words, without accents and case, and those that sound alike
in Spanish as one. What is kept of them is a keyed hash.

Limit: who holds the database and not the key sees how often a word occurs among the files of one
organisation, not which it is.
"""

import re
import unicodedata

FORM = 3
"""Of these rules: a file whose words were noted by older ones, or by none, is noted anew.

A change of them, or of the key, is another number.
"""
MOST = 12
"""Words of one name; what comes after them finds nothing."""
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


def words_of(*names: str) -> frozenset[str]:
    """The words by which somebody of these names is found."""
    plain = unicodedata.normalize("NFKD", " ".join(names).casefold())
    bare = "".join(character for character in plain if not unicodedata.combining(character))
    words = [word for word in re.findall(r"\w+", bare) if len(word) > 1 and word not in _PARTICLES]
    return frozenset(_sound(word) for word in words[:MOST])


def _sound(word: str) -> str:
    for spelt, sound in _SOUNDS:
        word = spelt.sub(sound, word)
    return word
