"""The tests of `make check`, and the optional hooks, which can be installed and removed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def quick_test_files() -> list[str]:
    """Returns the test files that the Makefile names for `make check`."""
    process = subprocess.run(
        # plain options, because `make test` may be the parent of this make
        ["make", "--no-print-directory", "-f", "Makefile", "-f", "-", "quick"],
        cwd=ROOT,
        input="quick:\n\t@echo $(QUICK)\n",
        capture_output=True,
        text=True,
        check=True,
    )
    return process.stdout.split()


def test_the_tests_of_make_check_exist_and_need_no_part() -> None:
    assert len(quick_test_files()) > 10
    for file in quick_test_files():
        assert not re.search(
            r"\b(postgres|broker|stack|scene)\b[:,)]|\bservice: Service\b",
            (ROOT / file).read_text(encoding="utf-8"),
        ), file


def test_the_hooks_can_be_installed_and_removed_as_documented_and_refuse_bad_style(
    tmp_path: Path,
) -> None:
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    for command in (
        "git init -q",
        "git config user.name A",
        "git config user.email a@enlace.example",
        "make hooks",
    ):
        assert run(*command.split()).returncode == 0
    (tmp_path / "bad.py").write_text("x  =  1\n")
    run("git", "add", "bad.py")
    assert run("git", "commit", "-qm", "Bad style").returncode != 0
    (tmp_path / "bad.py").write_text("x = 1\n")
    run("git", "add", "bad.py")
    assert run("git", "commit", "-qm", "Good style").returncode == 0
    [undo] = re.findall(r"undo: ([^)]+)\)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert run(*undo.split()).returncode == 0
    (tmp_path / "bad.py").write_text("x  =  1\n")
    assert run("git", "commit", "-qam", "Bad style without hooks").returncode == 0


def test_make_mutate_finds_the_tests_of_every_folder_of_the_rules() -> None:
    from mutmut.utils.file_utils import walk_mutatable_files

    from tests.mutants import folder

    folders = {folder(path) for path in walk_mutatable_files()}
    assert folders == {"chassis", "notifications", "partners", "referrals"}
    assert all((ROOT / "tests" / name).is_dir() for name in folders)
