"""What `make check` runs for a change, and that the optional hooks can be put in and taken out."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import changed

ROOT = Path(__file__).resolve().parents[2]
FILES = [
    "tests/chassis/test_limits.py",
    "tests/chassis/test_stopping.py",
    "tests/partners/test_invitations.py",
    "tests/partners/test_search.py",
    "tests/project/test_docs.py",
    "tests/referrals/test_clocks.py",
]
SECONDS = dict.fromkeys(FILES, 5.0) | {"tests/chassis/test_stopping.py": 20.0}


def run(*paths: str, limit: float = 25.0) -> list[str]:
    return changed.chosen(paths, FILES, SECONDS, limit)[0]


@pytest.mark.parametrize(
    ("path", "files"),
    [
        ("services/partners/usecases/invitations.py", ["tests/partners/test_invitations.py", "tests/partners/test_search.py"]),
        ("services/partners/store/search.py", ["tests/partners/test_search.py", "tests/partners/test_invitations.py"]),
        ("chassis/limits.py", ["tests/chassis/test_limits.py", "tests/chassis/test_stopping.py"]),
        ("tests/referrals/test_clocks.py", ["tests/referrals/test_clocks.py"]),
        ("tests/referrals/conftest.py", ["tests/referrals/test_clocks.py"]),
        ("docs/api.md", ["tests/project/test_docs.py"]),
        ("LICENSE", []),
    ],
)
def test_a_changed_path_has_the_tests_of_its_part_and_those_of_its_name_first(path: str, files: list[str]) -> None:
    assert run(path) == files


def test_what_takes_too_long_is_left_and_named() -> None:
    run, left = changed.chosen(["chassis/limits.py"], FILES, SECONDS, limit=10.0)
    assert (run, left) == (["tests/chassis/test_limits.py"], ["tests/chassis/test_stopping.py"])


def test_a_test_that_changed_itself_goes_before_all_others() -> None:
    assert run("services/partners/usecases/search.py", "tests/chassis/test_stopping.py", limit=20.0) == ["tests/chassis/test_stopping.py"]


def test_whatever_the_rule_names_exists() -> None:
    assert [file for file in [*changed.DOMAIN, *changed.BESIDE.values()] if not (ROOT / file).exists()] == []


def test_the_tests_of_the_domain_need_no_part() -> None:
    for file in changed.DOMAIN:
        assert not re.search(r"\b(postgres|broker|stack|service|scene)\b[:,)]", (ROOT / file).read_text(encoding="utf-8")), file


def test_the_hooks_are_put_in_refuse_bad_style_and_are_taken_out_as_the_list_of_targets_says(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def do(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False)

    for words in ("git init -q", "git config user.name A", "git config user.email a@enlace.example", "make hooks"):
        assert do(*words.split()).returncode == 0
    (tmp_path / "bad.py").write_text("x  =  1\n")
    do("git", "add", "bad.py")
    assert do("git", "commit", "-qm", "Bad style").returncode != 0
    (tmp_path / "bad.py").write_text("x = 1\n")
    do("git", "add", "bad.py")
    assert do("git", "commit", "-qm", "Good style").returncode == 0
    [out] = re.findall(r"again without: ([^)]+)\)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert do(*out.split()).returncode == 0
    (tmp_path / "bad.py").write_text("x  =  1\n")
    assert do("git", "commit", "-qam", "Bad style without hooks").returncode == 0
