"""The guide's pages: the parts of docs/ for people who connect a system, as HTML.

The pages show the same files as the repository, with the tables of rights and refusals added. A
link to another page of the guide leads to that page as served; a link to a file that is not served
is shown as plain text.
"""

import posixpath
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from services.gateway.api import tables
from services.gateway.api.answers import PREFIX

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Page:
    """A page: its file, its title in the navigation, and the text that is added after the file."""

    file: str
    title: str
    make_tables: Callable[[], str] | None = None

    def text(self) -> str:
        """Returns the whole page as Markdown."""
        file_text = (ROOT / self.file).read_text(encoding="utf-8")
        return f"{file_text}\n{self.make_tables()}" if self.make_tables else file_text


PAGES = {
    "": Page("docs/api.md", "Guide", tables.refusals),
    "quickstart": Page("docs/quickstart.md", "Quick start"),
    "grpc": Page("docs/grpc.md", "gRPC"),
    "codes": Page("docs/codes.md", "Codes"),
    "rights": Page("docs/rights.md", "Rights", tables.rights),
    "contract": Page("protos/README.md", "Contract"),
    "versioning": Page("docs/versioning.md", "Versions"),
    "changelog": Page("docs/api_changelog.md", "Changes"),
}
ADDRESSES = {
    page.file: f"{PREFIX}/guide/{name}".removesuffix("/") for name, page in PAGES.items()
} | {"docs/openapi.json": f"{PREFIX}/openapi.json"}


@cache
def html(name: str) -> str:
    """Returns the text of a page as HTML."""
    page = PAGES[name]
    return render_markdown(page.text(), posixpath.dirname(page.file))


def render_markdown(text: str, folder: str = "") -> str:
    """Renders Markdown as HTML.

    Links are resolved from `folder` of the repository. Raw HTML is shown as text, not interpreted.
    """
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    for kind, tag in (
        ("table_open", '<div class="wide" tabindex="0"><table>'),
        ("table_close", "</table></div>"),
    ):
        markdown.add_render_rule(kind, _constant_rule(tag))
    tokens = markdown.parse(text)
    _name_headings(tokens)
    for token in tokens:
        if token.children:
            _rewrite_links(token.children, folder)
    return str(markdown.renderer.render(tokens, markdown.options, {}))


def anchor(heading: str) -> str:
    """Returns the anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _constant_rule(tag: str) -> Any:
    return lambda self, tokens, number, options, env: tag + "\n"


def _name_headings(tokens: Sequence[Token]) -> None:
    counts: dict[str, int] = {}
    for token, inline in pairwise(tokens):
        if token.type == "heading_open":
            name = anchor("".join(child.content for child in inline.children or ()))
            count = counts[name] = counts.get(name, -1) + 1
            token.attrSet("id", f"{name}-{count}" if count else name)


def _rewrite_links(children: Sequence[Token], folder: str) -> None:
    """Points each link to the URL at which its file is served.

    A link to a file that is not served becomes plain text.
    """
    is_dropped = False
    for token in children:
        if token.type == "link_open":
            file, _, fragment = str(token.attrGet("href") or "").partition("#")
            address = ADDRESSES.get(posixpath.normpath(posixpath.join(folder, file)))
            is_dropped = (
                bool(file)
                and address is None
                and "://" not in file
                and not file.startswith(f"{PREFIX}/")
            )
            token.hidden = is_dropped
            if file and address:
                token.attrSet("href", f"{address}#{fragment}" if fragment else address)
        elif token.type == "link_close":
            token.hidden = is_dropped
