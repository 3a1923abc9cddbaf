"""Words without accents and capitals, and the keys that order names."""

import unicodedata


def fold(text: str) -> str:
    """Returns the text in lower case without accents."""
    decomposed_text = unicodedata.normalize("NFKD", text.casefold())
    if decomposed_text.isascii():
        return decomposed_text
    return "".join(letter for letter in decomposed_text if not unicodedata.combining(letter))


def sort_key(name: str) -> str:
    """Returns the key that orders names; page tokens contain it.

    The key is cut to 200 characters, because folding may make a name many times longer, and the
    length of a page token is limited.
    """
    return fold(name)[:200]
