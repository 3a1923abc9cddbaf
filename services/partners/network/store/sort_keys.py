"""Words without accents and capitals, and the keys that order names."""

import unicodedata


def fold(text: str) -> str:
    """Returns the text in lower case without accents."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return apart if apart.isascii() else "".join(c for c in apart if not unicodedata.combining(c))


def sort_key(name: str) -> str:
    """Returns the key by which names are ordered, and which page tokens contain.

    The key is cut to 200 characters, because folding may make a name many times longer, and the
    length of a page token is limited.
    """
    return fold(name)[:200]
