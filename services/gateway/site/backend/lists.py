"""Lists that a web page shows in full, up to MAX_ROWS rows, fetched one result page at a time."""

from collections.abc import Callable
from typing import Any, Self, TypeVar

from services.gateway.edge.clients import send

Row = TypeVar("Row")
MAX_ROWS = 2000
"""Usual maximum number of rows of one list. The page says if there are more rows."""
PAGE_SIZE = 200  # maximum number of rows that one call may request


class Rows(list[Row]):
    """Rows of a list. `more` is set if there are further rows that were not fetched."""

    more = False

    def sorted_by(self, key: Callable[[Row], Any]) -> Self:
        """Sorts the rows in place, and returns them."""
        self.sort(key=key)
        return self


def filter_rows(rows: Rows[Row], condition: Callable[[Row], bool]) -> Rows[Row]:
    """Returns the rows that meet `condition`. The result keeps `more`."""
    matching_rows = Rows(row for row in rows if condition(row))
    matching_rows.more = rows.more
    return matching_rows


def all_of(list_request: Any, most: int = 0) -> Rows[Any]:
    """Fetches the rows of all pages of a list, up to `most` rows, by default MAX_ROWS.

    The first field of an answer holds its rows, as in every list of the contract (AIP-158).
    """
    page_request, rows = type(list_request)(), Rows[Any]()
    page_request.CopyFrom(list_request)
    page_request.page_size = PAGE_SIZE
    while True:
        answer = send(page_request)
        rows.extend(getattr(answer, answer.DESCRIPTOR.fields_by_number[1].name))
        page_request.page_token = answer.next_page_token
        rows.more = bool(page_request.page_token)
        if not rows.more or len(rows) >= (most or MAX_ROWS):
            return rows
