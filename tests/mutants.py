"""Changes the rules on purpose, and counts the changes that no test sees: `make mutate` (mutmut).

`pyproject.toml` says which files are changed; mutmut records which test calls which function, and
for a mutant of a function runs only those tests. As a plugin of pytest this file chooses the tests
of a service's folder: all tests that start no part, and of the tests with a database those in files
that are named like a module or folder of the rules (`test_invitations.py`: `invitation.py`). Tests
that start a broker or a browser take seconds for each mutant and are left out.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from subprocess import PIPE

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAX_DATABASE_TESTS = 40
"""Maximum number of tests with a database for one mutant. A survivor counts as unseen."""
UNSEEN = {"survived", "no tests", "suspicious", "not checked"}
QUICK = "ENLACE_MUTANTS_QUICK"
SHARED_SERVER = "ENLACE_TEST_POSTGRES"  # tests.parts.postgres
SEEN = {"killed", "timeout", "segfault"}
_SQL = re.compile(
    r"\b(SELECT|FROM|WHERE|UPDATE|INSERT|DELETE|SET|VALUES|AND|ORDER BY|GROUP BY|WITH|ON CONFLICT"
    r"|RETURNING)\b"
)
_ALWAYS_A_ROW = re.compile(r"if \(?row\)?( or True)? else|\(row (and|or) row")
_TOO_SLOW = {"broker", "own_broker", "browser", "stack"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out tests that do not belong to the rules; puts a mutant's own tests first."""
    from mutmut.utils.file_utils import walk_mutatable_files

    words = {word for path in walk_mutatable_files() for word in path.with_suffix("").parts}
    selected = [item for item in items if _belongs(item, words)]
    mutant = os.environ.get("MUTANT_UNDER_TEST", "")
    if "__mutmut_" in mutant:
        words = set(mutant.partition(".x")[0].split("."))
        selected.sort(key=lambda item: (_has_database(item), not _is_named_like(item, words)))
        without_database = sum(not _has_database(item) for item in selected)
        selected = selected[: without_database + MAX_DATABASE_TESTS]
    config.hook.pytest_deselected(items=[*set(items).difference(selected)])
    items[:] = selected


def folder(path: Path) -> str:
    """Returns the name of the folder of `tests` that has the tests of a file.

    The folder of the chassis also has the tests of `facts`.
    """
    return path.parts[1] if path.parts[0] == "services" else "chassis"


def _belongs(item: pytest.Item, words: set[str]) -> bool:
    if not _TOO_SLOW.isdisjoint(_fixtures(item)):
        return False
    if not _has_database(item):
        return True
    return QUICK not in os.environ and _is_named_like(item, words)


def _has_database(item: pytest.Item) -> bool:
    return "postgres" in _fixtures(item)


def _is_named_like(item: pytest.Item, words: set[str]) -> bool:
    name = item.path.stem.removeprefix("test_")
    return not words.isdisjoint({name, name.removesuffix("s"), name.removesuffix("ies") + "y"})


def _fixtures(item: pytest.Item) -> list[str]:
    return list(getattr(item, "fixturenames", []))


def mutants() -> dict[str, Path]:
    """Makes mutmut write all mutants to mutants/; returns the file of each mutant by its name."""
    from mutmut import __main__ as mutmut

    # an interrupted run may have left half a file
    shutil.rmtree("mutants", ignore_errors=True)
    Path("mutants").mkdir()
    with mutmut.CatchOutput(spinner_title="Generating mutants"):
        mutmut.copy_src_dir()
        mutmut.copy_also_copy_files()
        mutmut.create_mutants(1)
    return {name: path for path in mutmut.walk_mutatable_files() for name in codes(path)}


def codes(path: Path) -> dict[str, int | None]:
    """Returns the tests' exit code for each mutant of a file; None for a mutant not yet tried."""
    from mutmut.mutation.data import SourceFileMutationData

    data = SourceFileMutationData(path=path)
    data.load()
    exit_codes: dict[str, int | None] = data.exit_code_by_key
    return exit_codes


def outcomes(names: dict[str, Path]) -> dict[str, str]:
    """Returns the result of each mutant: killed, survived, no tests, timeout."""
    from mutmut.stats import status_by_exit_code

    codes_by_path = {path: codes(path) for path in set(names.values())}
    return {
        name: str(status_by_exit_code[codes_by_path[path][name]]) for name, path in names.items()
    }


def equivalence(diff: str) -> str:
    """Returns why a mutant behaves like the original; "" if no reason is known."""
    lines = diff.splitlines()
    removed = "".join(line[1:] for line in lines if re.match(r"-(?!--)", line))
    added = "".join(line[1:] for line in lines if re.match(r"\+(?!\+\+)", line))
    # Looks at the original: a mutant also writes "from", the name of a field, in capitals.
    if removed.casefold() == added.casefold() and _SQL.search(removed):
        return "SQL does not tell upper from lower case"
    if _ALWAYS_A_ROW.search(added) and _ALWAYS_A_ROW.search(removed):
        return "an aggregate always gives a row; the other branch is for the type checker"
    return ""


def report(names: dict[str, Path], results: dict[str, str]) -> str:
    """Returns the score of each folder of tests, and of all folders together."""
    lines = []
    for place in [*sorted({folder(path) for path in names.values()}), "all"]:
        counts = Counter(
            results[name] for name, path in names.items() if place in ("all", folder(path))
        )
        caught = sum(counts[kind] for kind in SEEN)
        total = caught + sum(counts[kind] for kind in UNSEEN)
        kinds = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
        lines.append(f"{place:15} {caught / max(total, 1):7.1%}  ({kinds})")
    return "\n".join(lines)


def main() -> None:
    """Runs mutmut with one PostgreSQL, prints the score, and writes unseen mutants to build/."""
    from mutmut import __main__ as mutmut
    from mutmut.configuration import config

    parser = argparse.ArgumentParser(prog="make mutate", description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", help="only these: services/partners/*")
    parser.add_argument("--sample", type=int, help="so many mutants, chosen by chance")
    parser.add_argument("--seed", type=int, default=1, help="of that choice")
    parser.add_argument("--quick", action="store_true", help="no test with a database")
    parser.add_argument("--tests", nargs="+", help="only these, instead of the service's folder")
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    os.chdir(ROOT)
    if arguments.quick:
        os.environ[QUICK] = "1"
    if arguments.files:
        paths = [str(path) for path in mutmut.walk_mutatable_files()]
        config().only_mutate = [
            path for pattern in arguments.files for path in fnmatch.filter(paths, pattern)
        ]
    folders = sorted({folder(path) for path in mutmut.walk_mutatable_files()})
    config().pytest_add_cli_args_test_selection = arguments.tests or [
        f"tests/{name}" for name in folders
    ]
    names = mutants()
    total = len(names)
    if arguments.sample is not None and arguments.sample < total:
        sample = random.Random(arguments.seed).sample(sorted(names), arguments.sample)
        names = {name: names[name] for name in sorted(sample)}
    # No module of ours may be imported here, or the tests would use it instead of its mutants.
    command = [sys.executable, "-m", "tests.parts.postgres"]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True) as server:
        assert server.stdout, "a pipe"
        os.environ[SHARED_SERVER] = server.stdout.readline().strip()
        sys.modules.pop("tests", None)
        mutmut._run(list(names) if len(names) < total else [], arguments.processes)
    results = outcomes(names)
    file = ROOT / "build" / "mutants.txt"
    file.parent.mkdir(exist_ok=True)
    unseen = []
    for name, path in names.items():
        if results[name] not in SEEN:
            diff = mutmut.get_diff_for_mutant(name, path=path)
            results[name] = equivalence(diff) or results[name]
            unseen.append(f"# {name}: {results[name]}\n{diff}")
    file.write_text("\n".join(unseen))
    print(report(names, results))
    print(
        f"{len(names)} of {total} mutants; those that no test saw are in {file.relative_to(ROOT)}"
    )


if __name__ == "__main__":
    main()
