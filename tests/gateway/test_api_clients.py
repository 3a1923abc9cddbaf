"""The OpenAPI document as its readers' tools see it.

Two linters find no error, and the TypeScript client and the Python client that are generated from
it work. tests/clients/package-lock.json lists the npm packages, which are installed below build/
again whenever that file changes.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.parts.local_stack import ROOT

pytestmark = pytest.mark.long

HERE = ROOT / "tests" / "clients"
NPM = "node_modules/.bin"
DOCUMENT = str(ROOT / "docs" / "openapi.json")
PROGRAMS = Path(sys.executable).parent
# The linters send no telemetry and make no request while they run. The generator of the Python
# client calls programs beside it.
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
    "REDOCLY_TELEMETRY": "off",
    "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true",
    "NO_COLOR": "1",
}


@pytest.fixture(scope="module")
def clients() -> Path:
    """The folder of the npm packages, with the files of tests/clients."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("no Node: on Debian `make test` installs it as root")
    folder = ROOT / "build" / "clients"
    folder.mkdir(parents=True, exist_ok=True)
    state = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    for file in HERE.iterdir():
        shutil.copy(file, folder)
    mark = folder / "installed"
    if not (mark.exists() and mark.read_text() == state):
        run(folder, "npm", "ci")
        mark.write_text(state)
    return folder


def run(folder: Path, *command: str) -> str:
    """Returns the output of a program; fails with the output if the program fails."""
    process = subprocess.run(
        command,
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert process.returncode == 0, f"{' '.join(command[:3])}\n{process.stdout}{process.stderr}"
    return process.stdout


@pytest.mark.parametrize(
    ("linter", "options"),
    [("redocly", ()), ("spectral", ("--ruleset", ".spectral.yaml", "--fail-severity", "error"))],
)
def test_a_linter_finds_no_error(clients: Path, linter: str, options: tuple[str, ...]) -> None:
    run(clients, f"{NPM}/{linter}", "lint", DOCUMENT, *options)


@pytest.mark.timeout(300)  # npm downloads packages, and a stack starts
def test_a_generated_typescript_client_passes_strict_checks_and_a_referral_is_accepted(
    clients: Path, stack: Any
) -> None:
    run(clients, f"{NPM}/openapi-typescript", DOCUMENT, "--output", "api.d.ts")
    run(clients, f"{NPM}/tsc", "--project", ".")
    keys = [
        stack.api_key(organization)
        for organization in ("Asociación Puentes", "Albergue Luna Nueva")
    ]
    assert run(clients, "node", "made/referral.js", stack.gateway, *keys) == "accepted\n"


def test_a_python_client_is_generated_without_a_warning_and_finds_a_service(
    stack: Any, tmp_path: Path
) -> None:
    options = ("--path", DOCUMENT, "--meta", "none", "--output-path", "enlace", "--fail-on-warning")
    run(tmp_path, str(PROGRAMS / "openapi-python-client"), "generate", *options)
    (tmp_path / "search.py").write_text(SEARCH)
    assert run(
        tmp_path, sys.executable, "search.py", stack.gateway, stack.api_key("Asociación Puentes")
    ).startswith("Albergue")


SEARCH = """
import sys

from enlace.api.directory import search_services
from enlace.client import AuthenticatedClient
from enlace.models import SearchServicesBody, ServicePage

client = AuthenticatedClient(sys.argv[1], token=sys.argv[2])
found = search_services.sync(client=client, body=SearchServicesBody(words="Luna Nueva"))
assert isinstance(found, ServicePage), found
print(found.items[0].organization_name)
"""


def test_the_lock_file_contains_no_url_of_a_registry() -> None:
    """npm takes the packages from any configured registry; the hashes decide what it accepts."""
    text = (HERE / "package-lock.json").read_text()
    assert '"resolved"' not in text
    assert text.count('"integrity": "sha512-') > 100
