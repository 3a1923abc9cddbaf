"""The texts about a person that journeys type into pages, and the addresses that they open.

Each value contains a mark, and after all journeys no mark may be found anywhere unsealed
(conftest.py). The addresses and titles of all opened pages are recorded here too, because whoever
has the person's phone can read the browser's history.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults.canary import Contents, Marks

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

MARKS = Marks()
_pages: set[str] = set()


def marked(words: str) -> str:
    """Returns the words followed by their mark. The same words always get the same mark."""
    return f"{words} {MARKS.cores.get(words) or MARKS.core(words)}"


def phone() -> str:
    """Returns a phone number that stands for the person's own."""
    return MARKS.phone("phone")


def record_reference(reference: str) -> None:
    """Records what an operator reads out to the person, as it is read and as it is stored."""
    MARKS.cores |= {name: name for name in (reference, reference.replace("-", ""))}


def record_addresses(context: BrowserContext) -> None:
    """Records every address that a browser requests."""
    context.on("request", lambda request: _pages.add(request.url))


def record_title(page: Page) -> None:
    """Records the title of the page."""
    _pages.add(page.title())


def recorded_pages() -> Contents:
    """Returns all recorded addresses and titles."""
    return {"addresses and titles": "\n".join(_pages).encode()}
