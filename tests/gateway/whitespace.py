"""The text of a page without the whitespace that a browser ignores.

Templates have short, indented lines, so their HTML has line breaks. Tests compare HTML as a browser
reads it: whitespace beside a block is dropped, and any other whitespace is one space.
"""

import re
from collections.abc import Iterator

BLOCKS = frozenset(
    "html head body div p ul ol li dl dt dd form fieldset legend section main nav header footer"
    " article aside table thead tbody tr td th caption h1 h2 h3 h4 h5 h6 details summary hr option"
    " optgroup datalist meta link title script template dialog figure pre blockquote".split()
)
# The content of these elements is shown, or run, exactly as it is.
_VERBATIM = re.compile(
    r"(<(pre|textarea|script|style|blockquote)\b(?:\"[^\"]*\"|[^>\"])*>)(.*?</\2>)", re.DOTALL
)
_TAG = re.compile(r"(<!--.*?-->|</?[a-zA-Z!](?:\"[^\"]*\"|'[^']*'|[^>\"'])*>)", re.DOTALL)
_NAME = re.compile(r"</?([a-zA-Z0-9]+)")


def without_ignored(html: str) -> str:
    """Returns the HTML without whitespace that a browser ignores."""
    return "".join(_pieces(html))


def _pieces(html: str) -> Iterator[str]:
    position, before = 0, ""
    for match in _VERBATIM.finditer(html):
        yield from _compact(html[position : match.start()], before, match[1])
        yield _tag(match[1]) + match[3]
        position, before = match.end(), match[1]
    yield from _compact(html[position:], before, "")


def _compact(html: str, before: str, after: str) -> Iterator[str]:
    parts = [before, *_TAG.split(html), after]
    for number in range(1, len(parts) - 1):
        if number % 2 == 0:
            yield _tag(parts[number])
            continue
        text = re.sub(r"\s+", " ", parts[number])
        if _is_block(parts[number - 1]):
            text = text.lstrip(" ")
        yield text.rstrip(" ") if _is_block(parts[number + 1]) else text


def _is_block(tag: str) -> bool:
    name = _NAME.match(tag)
    return name is not None and name[1].lower() in BLOCKS


def _tag(tag: str) -> str:
    parts = re.split(r"(\"[^\"]*\"|'[^']*')", tag)
    parts[::2] = [re.sub(r"\s+", " ", outside_quotes) for outside_quotes in parts[::2]]
    return re.sub(r"\s+(/?>)$", r"\1", "".join(parts))
