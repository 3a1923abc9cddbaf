"""A rule that requires two people uses `chassis.second`, and does not compare ids itself.

Two ids may belong to the same person.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FIRST = re.compile(
    r"(proposed|recorded|registered|approved|confirmed|made|override)_?(by_)?worker_id$|^(first_id|first_worker_id)$"
)
"""Matches the names of fields with a first person's id."""
OF_AN_ACCOUNT = {
    # A proposal ends when the account that made it is suspended.
    "services/partners/members/domain/organization.py": [
        "self.approval_proposed_by_worker_id == worker_id"
    ],
}
"""Allowed comparisons: they ask which account it is, in rules that do not require two people."""


def _comparisons(file: Path) -> list[str]:
    by_id = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Compare):
            sides = [ast.unparse(side) for side in (node.left, *node.comparators)]
            names_first_person = any(FIRST.search(side.rpartition(".")[2]) for side in sides)
            if names_first_person and not {"''", "None"} & set(sides):
                by_id.append(ast.unparse(node))
    return by_id


def _files() -> list[Path]:
    return sorted(
        path
        for name in ("partners", "referrals", "notifications")
        for path in (ROOT / "services" / name).rglob("*.py")
    )


@pytest.mark.parametrize("name", ["partners", "referrals", "notifications"])
def test_no_rule_that_requires_two_people_compares_ids(name: str) -> None:
    folder = ROOT / "services" / name
    compared = {
        str(file.relative_to(ROOT)): _comparisons(file)
        for file in _files()
        if file.is_relative_to(folder)
    }
    allowed = {
        file: comparisons
        for file, comparisons in OF_AN_ACCOUNT.items()
        if (ROOT / file).is_relative_to(folder)
    }
    assert {file: comparisons for file, comparisons in compared.items() if comparisons} == allowed


def test_a_missing_second_person_is_detected_by_the_shared_check_only() -> None:
    """Checks that the reason `second_person_required` occurs only in `chassis.second`.

    The two exceptions refuse an organisation as a whole, and a system.
    """
    named = {
        str(file.relative_to(ROOT)): file.read_text().count('"second_person_required"')
        for file in (*_files(), ROOT / "chassis" / "second.py")
        if '"second_person_required"' in file.read_text()
    }
    assert named == {
        "chassis/second.py": 1,
        "services/referrals/files/domain/emergency.py": 1,  # the organisation that opened the data
        "services/referrals/plans/domain/plan.py": 1,  # a system, not a person
    }


def test_the_guard_detects_a_comparison_of_ids(tmp_path: Path) -> None:
    file = tmp_path / "rule.py"
    file.write_text(
        "def confirm(self, worker_id):\n    if worker_id == self.proposed_by_worker_id:\n"
        "        raise Conflict('no')\n"
    )
    assert _comparisons(file) == ["worker_id == self.proposed_by_worker_id"]
