"""The import rules work: each contract in pyproject.toml is violated in a copy of the tree.

The contract has to report the violation. One rule goes beyond the contracts: a domain imports only
the standard library, `chassis.errors`, `chassis.languages`, `chassis.second` and itself.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from chassis import wire
from protos.contract.v1 import contract_pb2

ROOT = Path(__file__).resolve().parent.parent.parent
LINTER = Path(sys.executable).parent / "lint-imports"
ROLES = set(wire.names(contract_pb2.Role).values())
SERVICES = ("partners", "referrals", "notifications", "gateway")
PACKAGES = (
    "chassis", "demo", "facts", "keys", "local", "protos", "runtime", "services", "trail",
)  # fmt: skip

# (contract, place of the planted violation, its code)
VIOLATIONS = [
    ("domain", "services/notifications/domain.py", "import chassis.db"),
    ("domain", "services/partners/sign_in/domain.py", "import chassis.db"),
    ("domain", "services/referrals/line/domain.py", "import chassis.db"),
    ("domain", "services/referrals/line/domain.py", "import psycopg"),
    ("services", "services/partners/planted.py", "import services.referrals"),
    ("packages", "chassis/planted.py", "import services"),
    ("packages", "keys/planted.py", "import local"),
    ("packages", "chassis/planted.py", "import facts"),
    ("packages", "keys/planted.py", "import facts"),
    ("packages", "facts/planted.py", "import trail"),
    ("packages", "trail/planted.py", "import runtime"),
    ("packages", "runtime/planted.py", "import local"),
    ("packages", "runtime/planted.py", "import services"),
    ("packages", "protos/planted.py", "import chassis"),
    ("packages", "services/gateway/planted.py", "import demo"),
    ("layers", "services/notifications/wire.py", "import services.notifications.usecases"),
    ("layers", "services/referrals/plans/wire.py", "import services.referrals.plans.store"),
    ("layers", "services/referrals/plans/loose.py", ""),
    ("layers", "services/partners/members/wire.py", "import services.partners.members.store"),
    (
        "layers",
        "services/partners/sign_in/protocols/totp.py",
        "import services.partners.sign_in.store",
    ),
    ("layers", "services/partners/directory/loose.py", ""),
    (
        "partners",
        "services/partners/members/usecases/workers.py",
        "import services.partners.sign_in.usecases.credentials",
    ),
    ("partners", "services/partners/sign_in/store.py", "import services.partners.directory.store"),
    ("partners", "services/partners/network/wire.py", "import services.partners.members.domain"),
    ("partners", "services/partners/loose.py", ""),
    (
        "referrals",
        "services/referrals/line/store.py",
        "import services.referrals.referrals.store",
    ),
    (
        "referrals",
        "services/referrals/files/domain.py",
        "import services.referrals.people.domain",
    ),
    ("referrals", "services/referrals/loose.py", ""),
    (
        "subscriptions",
        "services/notifications/subscriptions.py",
        "import services.notifications.store",
    ),
    (
        "subscriptions",
        "services/referrals/subscriptions.py",
        "import services.referrals.files.store",
    ),
    ("gateway", "services/gateway/api/planted.py", "import services.gateway.site"),
    ("gateway", "services/gateway/site/planted.py", "import services.gateway.api"),
    ("gateway", "services/gateway/edge/planted.py", "import services.gateway.api"),
    ("gateway", "services/gateway/edge/planted.py", "import services.gateway.site"),
    ("gateway", "services/gateway/loose.py", ""),
    (
        "site",
        "services/gateway/site/parts/planted.py",
        "import services.gateway.site.shell.session",
    ),
    ("site", "services/gateway/site/public/home.py", "import services.gateway.site.desk.today"),
    ("site", "services/gateway/site/loose.py", ""),
    ("pages", "services/gateway/site/desk/today.py", "import services.gateway.site.desk.line"),
    (
        "pages",
        "services/gateway/site/network/board.py",
        "import services.gateway.site.network.audit",
    ),
    ("parts", "services/gateway/site/parts/planted.py", "import services.gateway.edge.clients"),
    ("doors", "chassis/planted.py", "import protos"),
    ("doors", "chassis/planted.py", "import local.postgres"),
    ("doors", "chassis/planted.py", "import grpc"),
    ("doors", "services/referrals/config.py", "import flask"),
    ("doors", "services/referrals/line/usecases.py", "from kafka import KafkaProducer"),
    ("doors", "services/referrals/line/store.py", "import psycopg.rows"),
    ("doors", "services/notifications/usecases.py", "import smtplib"),
    ("doors", "services/notifications/usecases.py", "import babel"),
    ("doors", "services/partners/sign_in/usecases.py", "import cryptography"),
    ("doors", "services/partners/sign_in/protocols/totp.py", "import fido2"),
    ("doors", "services/partners/members/store.py", "import pyroaring"),
]


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A copy of the Python files.

    The copy has an empty package for a service that does not exist yet.
    """
    for folder in PACKAGES:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=_all_but_python)
    (tmp_path / "tests" / "project").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "project" / "doors.py", tmp_path / "tests" / "project")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name in SERVICES:
        (tmp_path / "services" / name).mkdir(exist_ok=True)
        (tmp_path / "services" / name / "__init__.py").touch()
    yield tmp_path
    shutil.rmtree(tmp_path)


def test_the_tree_obeys_all_contracts(tree: Path) -> None:
    process = _lint(tree)
    assert process.returncode == 0, process.stdout


def test_every_contract_has_a_planted_violation() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    assert {contract["id"] for contract in contracts} == {id for id, _, _ in VIOLATIONS}


@pytest.mark.parametrize(("contract", "file_name", "statement"), VIOLATIONS)
def test_a_planted_violation_is_reported(
    tree: Path, contract: str, file_name: str, statement: str
) -> None:
    _plant(tree, file_name, statement)
    process = _lint(tree, "--contract", contract)
    assert process.returncode == 1, process.stdout + process.stderr
    assert "BROKEN" in process.stdout


@pytest.mark.parametrize("service", ["partners", "referrals"])
def test_a_capability_has_only_the_allowed_files(service: str) -> None:
    """Adds a rule to the contract `layers`, which also allows settings and subscriptions."""
    allowed = {"__init__", "domain", "store", "usecases", "wire"}
    for folder in sorted((ROOT / "services" / service).glob("*/__init__.py")):
        names = {path.stem for path in folder.parent.glob("*.py")} | {
            path.parent.name for path in folder.parent.glob("*/__init__.py")
        }
        additional = {"protocols"} if folder.parent.name == "sign_in" else set()
        assert names <= allowed | additional, folder.parent


def _domain_files() -> list[Path]:
    return sorted(
        path
        for path in ROOT.glob("services/**/*.py")
        if "domain" in path.relative_to(ROOT).with_suffix("").parts
    )


@pytest.mark.parametrize("file", _domain_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_domain_imports_only_the_standard_library_and_allowed_modules(file: Path) -> None:
    own_domain = re.compile(rf"services\.{file.relative_to(ROOT).parts[1]}(\.[a-z_]+)?\.domain\..*")
    foreign_imports = {
        name
        for name in _imports(file)
        if name.split(".")[0] not in sys.stdlib_module_names
        and name not in ("chassis.errors", "chassis.languages", "chassis.second")
        and not own_domain.match(f"{name}.")
    }
    assert foreign_imports == set()


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "chassis":
            yield from (f"chassis.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def _plant(tree: Path, file_name: str, statement: str) -> None:
    """Adds a line to the file, or to the module's __init__ if the module has become a folder."""
    file = tree / file_name
    if file.with_suffix("").is_dir():
        file = file.with_suffix("") / "__init__.py"
    with file.open("a") as out:
        out.write(f"\n{statement}\n")


def _lint(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LINTER, "--no-cache", *arguments], cwd=tree, capture_output=True, text=True
    )


def _all_but_python(folder: str, names: list[str]) -> set[str]:
    return {
        name
        for name in names
        if not (name.endswith(".py") or (Path(folder) / name).is_dir()) or name == "__pycache__"
    }


def test_the_shared_packages_name_no_role() -> None:
    for file in [
        file
        for folder in ("chassis", "facts", "keys", "local", "runtime", "trail")
        for file in sorted((ROOT / folder).rglob("*.py"))
    ]:
        words = {
            node.value
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not words & ROLES, file


@pytest.mark.parametrize("service", ["partners", "referrals", "notifications"])
def test_no_two_migrations_have_the_same_version(service: str) -> None:
    # When two branches have each added a migration with the same version, dbmate applies the first
    # and fails at the second.
    versions = [
        path.name.partition("_")[0]
        for path in (ROOT / "services" / service / "migrations").glob("*.sql")
    ]
    assert len(versions) == len(set(versions)) > 1
