"""The tests that docs/safety.md names for its claims exist."""

import re

from tests.parts.local_stack import ROOT

PAGE = (ROOT / "docs" / "safety.md").read_text(encoding="utf-8")
TESTS = {
    name
    for file in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
}


def test_every_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 30
    assert named <= TESTS
    assert all((ROOT / path).is_file() for path in re.findall(r"`(tests/[\w/]+\.py)`", PAGE))


def test_every_claim_in_a_table_names_a_test() -> None:
    rows = [
        line
        for line in PAGE.splitlines()
        if line.startswith("| ")
        and not line.startswith(("| ---", "| part ", "| he does", "| it does", "| she does"))
    ]
    assert len(rows) > 20
    assert [row for row in rows if "`test" not in row.rsplit("|", 2)[1]] == []
