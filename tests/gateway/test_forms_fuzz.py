"""No value in a form or in the query of a URL causes a server error.

The values are times of the year 9999, numbers, emoji, right-to-left text and 100 kB of text.
"""

import re
from functools import cache
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.page_forms import posted_forms
from tests.gateway.pages_gateway import ID, FakePageServices, enter, page_at, pages, routes
from tests.parts.local_stack import ROOT

pytestmark = pytest.mark.long

NASTY_VALUES = (
    "9999-12-31T23:59",
    "0001-01-01",
    "9" * 5000,
    "-1",
    "٣٤",
    "\u202eمرحبا 🧕🏽\u202c",
    "\x00",
    f"{ID}:",
    "{{ 7 * 7 }}%s",
    ID,
    "Ñ" * 100_000,
)
"""Values that some form somewhere did not expect."""
MORE_VALUES = (
    "10000-01-01T00:00",
    "2026-02-30T25:61",
    "2147483648",
    "1e999",
    "NaN",
    "²",
    "½",
    "//evil.example",
    "other",
    "yes",
    "[]",
)
TEXT = st.one_of(
    st.sampled_from([*NASTY_VALUES, *MORE_VALUES]),
    st.text(max_size=40),
    st.datetimes().map(lambda at: at.isoformat()),
    st.integers().map(str),
)
READ_FIELD = re.compile(
    r"""(?:text|texts|flag|whole_number|moment|form\.get|getlist|args\.get)\(\s*["']([a-z_]+)["']"""
)


@cache
def fields_read_in_code() -> frozenset[str]:
    """Returns every field that the code of a page reads from a form or a query."""
    return frozenset(
        name
        for file in Path(ROOT / "services" / "gateway").rglob("*.py")
        for name in READ_FIELD.findall(file.read_text())
    )


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    return enter(pages(FakePageServices()).test_client())


@pytest.fixture(scope="module")
def forms(client: FlaskClient) -> dict[str, dict[str, str]]:
    """The fields of each form of any page, by the form's target."""
    fields_by_form: dict[str, dict[str, str]] = {}
    for _, path in routes(client.application):
        if path != "/sign-out":
            for form in posted_forms(page_at(client, path), path):
                fields_by_form.setdefault(form.path, {}).update(
                    (attributes["name"], attributes.get("value", ""))
                    for _, attributes in form.elements
                    if attributes.get("name")
                )
    return fields_by_form


POSTS = sorted(
    {path for _, path in routes(pages(FakePageServices()), "POST")} - {"/sign-out", "/quick-exit"}
)
GETS = sorted({path for _, path in routes(pages(FakePageServices()))})


def fields_of(forms: dict[str, dict[str, str]], path: str) -> dict[str, str]:
    """Returns the fields of the form with this target.

    If there is no such form, returns all fields that any page reads.
    """
    return forms.get(path) or dict.fromkeys(fields_read_in_code(), "")


def send(client: FlaskClient, path: str, fields: dict[str, str]) -> int:
    token = client.application.extensions["form_token"]
    return client.post(path, data=fields | {"form_token": token}).status_code


@pytest.fixture(scope="module", autouse=True)
def token(client: FlaskClient, forms: dict[str, dict[str, str]]) -> None:
    client.application.extensions["form_token"] = next(
        fields["form_token"] for fields in forms.values() if "form_token" in fields
    )


@pytest.mark.parametrize("path", POSTS)
def test_no_value_in_all_fields_of_a_form_causes_a_server_error(
    client: FlaskClient, forms: dict[str, dict[str, str]], path: str
) -> None:
    fields = fields_of(forms, path)
    assert {
        value[:40]: status
        for value in NASTY_VALUES
        if (status := send(client, path, dict.fromkeys(fields, value))) >= 500
    } == {}


@pytest.mark.parametrize("path", POSTS)
@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_mixture_of_values_in_a_form_causes_a_server_error(
    client: FlaskClient, forms: dict[str, dict[str, str]], path: str, data: st.DataObject
) -> None:
    values = {
        name: data.draw(st.one_of(st.just(value), TEXT), name)
        for name, value in sorted(fields_of(forms, path).items())
    }
    assert send(client, path, values) < 500


@pytest.mark.parametrize("path", GETS)
def test_no_value_in_a_query_causes_a_server_error(client: FlaskClient, path: str) -> None:
    names = sorted(fields_read_in_code())
    statuses = {
        value[:40]: client.get(path, query_string=dict.fromkeys(names, value)).status_code
        for value in NASTY_VALUES
        if len(value) <= 5000
    }
    assert {value: status for value, status in statuses.items() if status >= 500} == {}
