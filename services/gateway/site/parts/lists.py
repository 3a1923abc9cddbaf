"""Lists that a page shows whole: fetched page by page until the end."""

from collections.abc import Callable
from typing import Any, TypeVar

Row = TypeVar("Row")
MOST = 2000
"""Maximum number of rows of one list on a page. A page says if there are more."""
PAGE = 200  # the maximum of one call


class Listed(list[Row]):
    """Rows of a list. `more`: there are further rows, beyond MOST."""

    more = False


def only(rows: Listed[Row], wanted: Callable[[Row], bool]) -> Listed[Row]:
    """Returns the rows that are wanted. The result keeps `more`."""
    some = Listed(row for row in rows if wanted(row))
    some.more = rows.more
    return some


def all_of(ask: Callable[[Any], Any], question: Any) -> Listed[Any]:
    """Fetches the rows of all pages, MOST at most.

    The rows of an answer are its first field, as in every list of the contract (AIP-158).
    """
    page_request, listed = type(question)(), Listed[Any]()
    page_request.CopyFrom(question)
    page_request.page_size = PAGE
    while True:
        answer = ask(page_request)
        listed.extend(getattr(answer, answer.DESCRIPTOR.fields_by_number[1].name))
        page_request.page_token = answer.next_page_token
        listed.more = bool(page_request.page_token)
        if not listed.more or len(listed) >= MOST:
            return listed
