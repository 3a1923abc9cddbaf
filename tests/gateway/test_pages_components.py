"""A page is made of the frame and the components of templates/parts.

No page has markup of its own for a component, and no page hides a value of the frame.
"""

import ast
import re
from pathlib import Path

import pytest

from services.gateway import site
from services.gateway.site.shell import frame
from tests.gateway.pages_gateway import FakePageServices, pages

TEMPLATES = Path(site.__file__).parent / "templates"
PAGES = sorted(page for page in TEMPLATES.rglob("*.html") if page.parent.name != "parts")
COMPONENT_MARKUP = {
    "a row": '<li class="row',
    "an empty state": 'class="empty"',
    "a pill": 'class="pill',
    "a summary of errors": 'id="problems"',
    "a field of text": "<textarea",
    "a picture": "<svg",
    "a deadline": 'class="clock',
}


@pytest.mark.parametrize("template", PAGES, ids=lambda page: page.relative_to(TEMPLATES).as_posix())
def test_no_page_has_markup_of_its_own_for_a_component(template: Path) -> None:
    text = template.read_text()
    assert [name for name, markup in COMPONENT_MARKUP.items() if markup in text] == []


def test_no_page_passes_a_value_under_a_name_that_the_frame_uses() -> None:
    """The board once passed `live` as its number of live referrals.

    The deadlines on the board then had no server time, and late referrals were shown as calm.
    """
    with pages(FakePageServices()).test_request_context("/"):
        frame_names = frame.context().keys()
    calls = [
        (file.name, node.lineno, keyword.arg)
        for file in Path(site.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "render_template"
        for keyword in node.keywords
    ]
    assert len(calls) > 100
    assert [call for call in calls if call[2] in frame_names] == []


def test_the_lines_of_templates_end_at_a_hundred_characters() -> None:
    long_lines = [
        (file.name, number)
        for file in TEMPLATES.rglob("*.*")
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if len(line) > 100
    ]
    assert long_lines == []


def test_no_block_of_a_template_removes_the_space_before_a_middle_dot() -> None:
    touching = [
        (file.name, match[0])
        for file in TEMPLATES.rglob("*.html")
        for match in re.finditer(r"(-[%}]}\s*|[%}]})·", file.read_text())
    ]
    assert touching == []
