"""Words without accents and capitals, and the keys by which names stand in order."""

import unicodedata


def fold(text: str) -> str:
    """Lower case without accents."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return apart if apart.isascii() else "".join(c for c in apart if not unicodedata.combining(c))


def sort_key(name: str) -> str:
    """By which names stand in order, and where a page goes on.

    Folding may make a name many times longer, and a page token must not outgrow its limit.
    """
    return fold(name)[:200]
