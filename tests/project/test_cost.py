"""The cost of a change, counted from the log of a small real repository."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from bench import cost
from bench.cost import Size


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with five commits: three add a step, one adds a fact, one has no trailer.

    One of the commits that add a step adds a resource, too.
    """
    settings = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def git(*arguments: str) -> None:
        subprocess.run(
            ["git", *arguments],
            cwd=tmp_path,
            env=environment | settings,
            check=True,
            capture_output=True,
        )

    def commit(message: str, files: dict[str, int]) -> None:
        for name, lines in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{message[0]}\n" * lines)
        git("add", "-A")
        git("-c", "user.name=A", "-c", "user.email=a@enlace.example", "commit", "-qm", message)

    git("init", "-q")
    commit(
        "A wait\n\nWhy.\n\nCost: step",
        {"services/a.py": 3, "protos/a_pb2.py": 90, "docs/openapi.json": 40},
    )
    commit(
        "No trailer; the text says\nCost: step\nin its middle.\n\nThe end.", {"services/b.py": 70}
    )
    commit(
        "A visit\n\nCost: step",
        {"services/c.py": 5, "services/d.sql": 2, "tests/test_c.py": 9, "x.po": 4},
    )
    commit(
        "A book\n\nCost: step, resource",
        {"services/e.py": 8, "services/e.html": 2, "services/f.py": 1},
    )
    (tmp_path / "picture.png").write_bytes(b"\0\1")
    commit("A picture\n\nCost: fact", {})
    return tmp_path


def test_each_commit_with_a_trailer_is_counted_by_group_of_files(repository: Path) -> None:
    sizes = {entry.subject: entry.sizes for entry in cost.costs(repository)}
    nothing = Size()
    assert sizes == {
        "A picture": {"code": Size(1, 0), "support": nothing, "generated": nothing},
        "A book": {"code": Size(3, 11), "support": nothing, "generated": nothing},
        "A visit": {"code": Size(2, 7), "support": Size(1, 9), "generated": Size(1, 4)},
        "A wait": {"code": Size(1, 3), "support": nothing, "generated": Size(2, 130)},
    }


def test_the_table_has_a_median_for_each_kind(repository: Path) -> None:
    rows = [
        row.split() for row in cost.table(cost.costs(repository)).splitlines() if "median" in row
    ]
    code = {row[0]: (row[2], row[4], row[-1]) for row in rows}  # kind: files, lines, commits
    assert code == {"fact": ("1", "0", "1"), "resource": ("3", "11", "1"), "step": ("2", "7", "3")}


def test_a_history_without_a_trailer_has_an_empty_table() -> None:
    assert cost.table([]) == ""


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("protos/referrals/v1/referrals.proto", "code"),
        ("protos/referrals/v1/referrals_pb2.pyi", "generated"),
        ("protos/comments.json", "generated"),
        ("protos/README.md", "support"),
        ("services/referrals/migrations/20261127000001_appointments.sql", "code"),
        ("services/gateway/site/templates/referral.html", "code"),
        ("services/gateway/site/language/translations/en/LC_MESSAGES/messages.po", "generated"),
        ("pyproject.toml", "code"),
        ("docs/lifecycle.md", "generated"),
        ("docs/api.md", "support"),
        ("tests/referrals/test_lifecycle.py", "support"),
    ],
)
def test_each_file_belongs_to_a_group(path: str, group: str) -> None:
    assert cost.group(path) == group
