"""What journeys type of a person and read of hers: each value has a mark in it, and when all are
walked no mark may be anywhere but sealed (conftest.py).

Addresses and titles of the pages on the way are kept here too: a browser's history is read by
whoever has her phone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults.canary import Marks, Place

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

MARKS = Marks()
_pages: set[str] = set()


def hers(words: str) -> str:
    """Words of hers with their mark: the same whenever they are said."""
    return f"{words} {MARKS.cores.get(words) or MARKS.core(words)}"


def phone() -> str:
    """A number of hers."""
    return MARKS.phone("phone")


def reads_out(reference: str) -> None:
    """What an operator reads out to her; as it is read and as it is kept."""
    MARKS.cores |= {name: name for name in (reference, reference.replace("-", ""))}


def watch(context: BrowserContext) -> None:
    """Keeps every address that a browser asks for."""
    context.on("request", lambda request: _pages.add(request.url))


def look(page: Page) -> None:
    """Keeps what the page is called."""
    _pages.add(page.title())


def pages() -> Place:
    """All of them."""
    return {"addresses and titles": "\n".join(_pages).encode()}
