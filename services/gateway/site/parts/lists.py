"""Lists that a page shows whole: asked page by page until nothing is left."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

Row = TypeVar("Row")
MOST = 2000
"""No page shows more rows of one list; it says so where there are."""
PAGE = 200  # as many as one question may bring


class Listed(list[Row]):
    """Rows; `more` says that there are others, which the list has no room for."""

    more = False


def only(rows: Listed[Row], wanted: Callable[[Row], bool]) -> Listed[Row]:
    """Returns those of a list that are wanted; it says of them, too, when there are others that it
    had no room for.
    """
    some = Listed(row for row in rows if wanted(row))
    some.more = rows.more
    return some


def all_of(
    ask: Callable[[Any], Any], question: Any, rows: Callable[[Any], Iterable[Row]]
) -> Listed[Row]:
    """Asks for the rows of all pages, MOST at most; `rows` names them in an answer."""
    asked, listed = type(question)(), Listed[Row]()
    asked.CopyFrom(question)
    asked.page_size = PAGE
    while True:
        answer = ask(asked)
        listed.extend(rows(answer))
        asked.page_token = answer.next_page_token
        listed.more = bool(asked.page_token)
        if not listed.more or len(listed) >= MOST:
            return listed
