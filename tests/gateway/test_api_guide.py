"""The guide as the gateway serves it: every page is there, every link works, no script runs.

The reference lists every field that may be sent.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

import pytest

from services.gateway.api import guide, openapi
from services.gateway.api.reference import Row, operations
from tests.gateway.api_gateway import System
from tests.gateway.page_forms import Page
from tests.gateway.pages_gateway import missing
from tests.parts.local_stack import ROOT

ADDRESSES = [guide.ADDRESSES[page.file] for page in guide.PAGES.values()]
HTML = [*ADDRESSES, "/api/v1/docs"]
SERVED = [*HTML, "/api/v1/openapi.json"]
ROWS: dict[str, dict[str, Row]] = {
    operation["operationId"]: {row.name: row for row in operation["takes"]}
    for group in operations(openapi()).values()
    for operation in group
}


def links(page: str) -> list[str]:
    return [attributes["href"] for tag, attributes in Page(page).elements if tag == "a"]


def anchors_of(page: str) -> list[str]:
    return [attributes["id"] for _, attributes in Page(page).elements if attributes.get("id")]


def get(system: System, address: str, **headers: str) -> Any:
    return system.get(address.removeprefix("/api/v1"), **headers)


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_page_is_served_without_a_key_and_has_no_script_and_no_embedded_content(
    system: System, address: str
) -> None:
    answer = get(system, address, Authorization="")
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    assert answer.headers["Content-Security-Policy"].startswith(
        "default-src 'none'; style-src 'self'"
    )
    tags = {tag for tag, _ in Page(answer.text).elements}
    assert not tags & {"script", "img", "iframe", "form", "style"}
    assert not re.search(r'\sstyle="', answer.text)
    assert len(anchors_of(answer.text)) == len(set(anchors_of(answer.text)))
    assert answer.text.count("<h1") == 1
    cached = get(system, address, If_None_Match=answer.headers["ETag"])
    assert (get(system, address).status_code, cached.status_code) == (200, 304)


def test_every_link_of_every_page_leads_somewhere(system: System) -> None:
    pages = {address: get(system, address).text for address in HTML}
    assert [get(system, address).status_code for address in SERVED] == [200] * len(SERVED)
    anchors_by_page = {address: anchors_of(page) for address, page in pages.items()}
    internal = [
        (here, *link.partition("#")[::2])
        for here, page in pages.items()
        for link in links(page)
        if not link.startswith("https://")
    ]
    assert [
        (here, address, anchor)
        for here, address, anchor in internal
        if (address or here) not in SERVED
        or (anchor and anchor not in anchors_by_page[address or here])
    ] == []


def test_every_page_links_to_every_other_and_to_the_reference(system: System) -> None:
    for address in HTML:
        assert set(SERVED) <= set(links(get(system, address).text))


@pytest.mark.parametrize("file", [page.file for page in guide.PAGES.values()] + ["README.md"])
def test_every_link_of_a_guide_page_leads_somewhere_in_the_repository_too(file: str) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / file).read_text(), flags=re.DOTALL)
    for link in re.findall(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        name, _, place = link.partition("#")
        target = ROOT / (
            posixpath.normpath(posixpath.join(posixpath.dirname(file), name)) if name else file
        )
        assert target.exists(), link
        assert not place or place in anchors(target), link


def anchors(file: Path) -> list[str]:
    """Returns the anchors of the headings of a Markdown file."""
    return [
        guide.anchor(re.sub(r"[`*]", "", line.lstrip("#")))
        for line in file.read_text().splitlines()
        if line.startswith("#")
    ]


def test_raw_html_is_shown_as_text_and_not_interpreted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.md").write_text(
        "# A\n\n<script>alert(1)</script> [x](javascript:alert(1)) [gone](gone.md) `a|b`\n\n# A\n"
    )
    monkeypatch.setattr(guide, "ROOT", tmp_path)
    monkeypatch.setitem(guide.PAGES, "x", guide.Page("x.md", "X"))
    assert missing(guide.html("x"), "<script", "<a", "gone", 'id="a-1"') == ["<script", "<a"]


def test_no_other_file_is_served(system: System) -> None:
    for name in ("operations", "../../README.md", "..%2f..%2fREADME.md", "grpc.md"):
        assert system.get(f"/guide/{name}").status_code == 404


# The reference


def test_the_reference_lists_every_field_of_every_request_with_its_values(system: System) -> None:
    text = get(system, "/api/v1/docs").text
    document = openapi()
    described = [
        operation
        for item in document["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    ]
    for operation in described:
        rows = ROWS[operation["operationId"]]
        assert missing(text, *(f">{name}</code>" for name in rows)) == []
        for content in operation.get("requestBody", {}).get("content", {}).values():
            name = content["schema"]["$ref"].rpartition("/")[2]
            schema = document["components"]["schemas"][name]
            writable = {
                key for key, field in schema["properties"].items() if not field.get("readOnly")
            }
            assert writable <= rows.keys(), name
            required_names = {key for key in writable if rows[key].required}
            assert required_names == writable & set(schema.get("required", ())), name


PARAMETERS = {
    "If-Match": ("header", True),
    "Idempotency-Key": ("header", False),
    "referral_id": ("path", True),
}


def test_a_row_of_the_reference_states_kind_limits_words_and_meaning() -> None:
    send = ROWS["send_referral"]
    assert "life_at_risk" in send["override_reason_code"].words
    assert send["note"].limits == "at most 4,000 characters"
    assert {name: (send[name].location, send[name].required) for name in PARAMETERS} == PARAMETERS
    assert "identity.given_name" in ROWS["create_person"]
    assert ROWS["update_referral"]["urgency"].kind == "word, or null to clear it"
    one_of = {name: row.one_of for name, row in ROWS["issue_token"].items()}
    assert {*one_of.values()} == {"credential", ""}
    assert [name for name, group in one_of.items() if not group] == ["passive"]
    groups = ROWS["create_receipt"]["field_groups"]
    assert (groups.kind, groups.limits, groups.required) == (
        "list: word",
        "at most 10 entries, at least 1",
        True,
    )
    assert ROWS["list_referrals"]["limit"].limits == "1 to 200"
