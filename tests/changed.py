"""The tests of `make check`: those of the domain, and of what changed as many as run within half a minute. Prints the arguments for pytest.

`python -m tests.changed [PATH…]`: without a path git is asked, for the working tree and the commits that upstream has not.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from tests import times

ROOT = times.ROOT
SECONDS = 25.0
DOMAIN = [
    "tests/referrals/test_lifecycle.py",
    "tests/notifications/test_delivery_rules.py",
    "tests/notifications/test_drafts.py",
    "tests/notifications/test_rules.py",
    "tests/notifications/test_texts.py",
]
"""Tests that need no part at all, so that they take no time: the rules themselves."""

BESIDE = {
    ".ci/": "tests/project/test_check.py",
    "Makefile": "tests/project/test_check.py",
    "bench/": "tests/project/test_figures.py",
    "demo/": "tests/project/test_demo.py",
    "deploy/": "tests/project/test_deploy.py",
    "docs/": "tests/project/test_docs.py",
    "protos/": "tests/project/test_contracts.py",
    "pyproject.toml": "tests/project/test_law.py",
    "tests/changed.py": "tests/project/test_check.py",
}
"""What has tests elsewhere than in the folder of its name."""


def tests_of(path: str, files: Sequence[str]) -> list[str]:
    """The files of tests for a changed path: itself, or those of its part's folder."""
    if path in files:
        return [path]
    first, *rest = Path(path).parts
    folder = first if first == "chassis" else rest[0] if first in ("services", "protos", "tests") and rest else ""
    beside = [file for start, file in BESIDE.items() if path.startswith(start)]
    return [file for file in files if folder and file.startswith(f"tests/{folder}/")] + beside


def chosen(
    changed: Sequence[str], files: Sequence[str], seconds: Mapping[str, float], limit: float = SECONDS
) -> tuple[list[str], list[str]]:
    """Of the tests for these paths those to run, and those for which there is no time. First tests that changed themselves, then those with the name of
    what changed (`test_invitations` for `usecases/invitations.py`), then the quickest.
    """
    wanted: dict[str, tuple[int, float]] = {}
    for path in changed:
        for file in tests_of(path, files):
            nearness = 0 if file == path else 1 if Path(path).stem in Path(file).stem else 2
            rank = nearness, seconds.get(file, times.UNKNOWN)
            wanted[file] = min(rank, wanted.get(file, rank))
    run, left, taken = list[str](), list[str](), 0.0
    for file in sorted(wanted.keys() - set(DOMAIN), key=lambda file: (wanted[file], file)):
        _, takes = wanted[file]
        if taken + takes > limit:
            left.append(file)
            continue
        run.append(file)
        taken += takes
    return run, left


def git(*words: str) -> list[str]:
    """The lines that git answers; none when it refuses."""
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.splitlines()


def changed_paths() -> list[str]:
    """What differs from the newest commit that upstream has (or `main`, without an upstream), and what git does not know yet."""
    [base] = git("merge-base", "HEAD", "@{upstream}") or git("merge-base", "HEAD", "main") or ["HEAD"]
    return git("diff", "--name-only", base) + git("ls-files", "--others", "--exclude-standard")


@click.command(help="Print the arguments for pytest. Without a PATH git is asked what changed.")
@click.argument("paths", nargs=-1)
def main(paths: tuple[str, ...]) -> None:
    files = sorted(str(file.relative_to(ROOT)) for file in (ROOT / "tests").glob("*/test_*.py"))
    run, left = chosen(paths or changed_paths(), files, times.known())
    if left:
        click.echo(f"No time for {len(left)} more files of tests about this change (make test has it): {' '.join(left)}", err=True)
    click.echo(" ".join([*DOMAIN, *run]))


if __name__ == "__main__":
    main()
