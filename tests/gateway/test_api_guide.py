"""The guide as the gateway serves it: every page is there, every link works, no script runs.

The reference lists every field that may be sent.
"""

from __future__ import annotations

import posixpath
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from services.gateway.api import guide, openapi
from services.gateway.api.reference import Row, operations
from tests.gateway.api_gateway import System

ROOT = Path(__file__).resolve().parents[2]
ADDRESSES = [guide.ADDRESSES[page.file] for page in guide.PAGES.values()]
TAKES: dict[str, dict[str, Row]] = {
    operation["operationId"]: {row.name: row for row in operation["takes"]}
    for group in operations(openapi()).values()
    for operation in group
}


class Read(HTMLParser):
    """A page as a browser reads it: its anchors, its links, and its tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.places: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        attributes = dict(attrs)
        if name := attributes.get("id"):
            self.places.append(name)
        if tag == "a":
            self.links.append(str(attributes["href"]))


def page(system: System, address: str) -> Any:
    return system.get(address.removeprefix("/api/v1"))


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_page_is_served_without_a_key_and_runs_and_loads_nothing(
    system: System, address: str
) -> None:
    answer = system.get(address.removeprefix("/api/v1"), Authorization="")
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    assert answer.headers["Content-Security-Policy"].startswith(
        "default-src 'none'; style-src 'self'"
    )
    read = Read(answer.text)
    assert not read.tags & {"script", "img", "iframe", "form", "style"}
    assert not re.search(r'\sstyle="', answer.text)
    assert len(read.places) == len(set(read.places))
    assert answer.text.count("<h1") == 1
    assert page(system, address).status_code == 200
    assert (
        system.get(
            address.removeprefix("/api/v1"), If_None_Match=answer.headers["ETag"]
        ).status_code
        == 304
    )


def test_every_link_of_every_page_leads_somewhere(system: System) -> None:
    pages = {address: Read(page(system, address).text) for address in [*ADDRESSES, "/api/v1/docs"]}
    served = {
        address: page(system, address).status_code for address in [*pages, "/api/v1/openapi.json"]
    }
    for here, read in pages.items():
        for link in read.links:
            if link.startswith("https://"):
                continue
            address, _, place = link.partition("#")
            address = address or here
            assert served.get(address) == 200, f"{here}: {link}"
            assert not place or place in pages[address].places, f"{here}: {link}"


def test_every_page_links_to_every_other_and_to_the_reference(system: System) -> None:
    for address in [*ADDRESSES, "/api/v1/docs"]:
        assert {*ADDRESSES, "/api/v1/docs", "/api/v1/openapi.json"} <= set(
            Read(page(system, address).text).links
        )


@pytest.mark.parametrize("file", [page.file for page in guide.PAGES.values()] + ["README.md"])
def test_the_same_links_lead_somewhere_in_the_repository(file: str) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / file).read_text(), flags=re.DOTALL)
    for link in re.findall(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        name, _, place = link.partition("#")
        target = ROOT / (
            posixpath.normpath(posixpath.join(posixpath.dirname(file), name)) if name else file
        )
        assert target.exists(), link
        headings = (
            [
                guide.anchor(re.sub(r"[`*]", "", line.lstrip("#")))
                for line in target.read_text().splitlines()
                if line.startswith("#")
            ]
            if place
            else []
        )
        assert not place or place in headings, link


def test_raw_html_is_shown_as_text_and_not_interpreted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.md").write_text(
        "# A\n\n<script>alert(1)</script> [x](javascript:alert(1)) [gone](gone.md) `a|b`\n\n# A\n"
    )
    monkeypatch.setattr(guide, "ROOT", tmp_path)
    monkeypatch.setitem(guide.PAGES, "x", guide.Page("x.md", "X"))
    text = guide.html("x")
    assert "<script" not in text
    assert "<a" not in text
    assert "gone" in text
    assert 'id="a-1"' in text


def test_no_other_file_is_served(system: System) -> None:
    for name in ("operations", "../../README.md", "..%2f..%2fREADME.md", "grpc.md"):
        assert system.get(f"/guide/{name}").status_code == 404


# The reference


def test_the_reference_lists_every_field_of_every_request_with_its_values(
    system: System,
) -> None:
    text = page(system, "/api/v1/docs").text
    document = openapi()
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method == "parameters":
                continue
            rows = TAKES[operation["operationId"]]
            for content in operation.get("requestBody", {}).get("content", {}).values():
                schema = document["components"]["schemas"][
                    content["schema"]["$ref"].rpartition("/")[2]
                ]
                sent = {
                    name
                    for name, field_schema in schema["properties"].items()
                    if not field_schema.get("readOnly")
                }
                assert sent <= rows.keys(), path
                assert {name for name in sent if rows[name].required} == sent & set(
                    schema.get("required", ())
                ), path
            for name in rows:
                assert f">{name}</code>" in text


def test_a_row_of_the_reference_states_kind_limits_words_and_meaning() -> None:
    send, person, patch, token = (
        TAKES["send_referral"],
        TAKES["create_person"],
        TAKES["update_referral"],
        TAKES["issue_token"],
    )
    assert "life_at_risk" in send["override_reason_code"].words
    assert send["note"].limits == "at most 4,000 characters"
    assert (
        send["If-Match"].location,
        send["If-Match"].required,
        send["Idempotency-Key"].required,
    ) == ("header", True, False)
    assert (send["referral_id"].location, send["referral_id"].required) == ("path", True)
    assert "identity.given_name" in person
    assert patch["urgency"].kind == "word, or null to clear it"
    assert {row.one_of for row in token.values()} == {"credential", ""}
    assert [name for name, row in token.items() if not row.one_of] == ["passive"]
    receipt = TAKES["create_receipt"]
    assert (receipt["field_groups"].kind, receipt["field_groups"].limits) == (
        "list: word",
        "at most 10 entries, at least 1",
    )
    assert receipt["field_groups"].required
    assert TAKES["list_referrals"]["limit"].limits == "1 to 200"
