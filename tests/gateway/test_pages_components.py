"""A page is put together from the components of parts.html: none has markup of its own for what stands there."""

from pathlib import Path

import pytest

import services.gateway

TEMPLATES = sorted((Path(services.gateway.__file__).parent / "templates").glob("*.html"))
OWN = {
    "a row": '<li class="row',
    "an empty state": 'class="empty"',
    "a pill": 'class="pill',
    "a summary of errors": 'id="problems"',
    "a field of text": "<textarea",
    "a picture": "<svg",
    "a deadline": 'class="clock',
}


@pytest.mark.parametrize("template", [one for one in TEMPLATES if one.name != "parts.html"], ids=lambda one: one.name)
def test_no_page_has_markup_of_its_own_for_a_component(template: Path) -> None:
    text = template.read_text()
    assert [name for name, markup in OWN.items() if markup in text] == []
