"""A language is added as docs/contributing.md says: a catalogue per service, and a row of a table.

Every page and message is then searched for text that is not translated.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import write_po

from chassis.words import path_of
from tests.project.every_text import LEFT, RIGHT, text_outside_brackets
from tests.words import SERVICES, Text, forms

ROOT = Path(__file__).resolve().parent.parent.parent
NEW, NAME = "eo", "Esperanto"  # known to CLDR, and spoken by none of our readers
ROW = '"fr": "Français"'
IGNORED = shutil.ignore_patterns("clients", "html", "released", "*.pyi")


def add_catalogue(texts: Iterable[Text], file: Path) -> None:
    """Writes a catalogue in which each translation is the text in brackets."""
    catalogue = Catalog(locale=NEW)
    for text in texts:
        in_brackets = tuple(f"{LEFT}{form}{RIGHT}" for form in forms(text))
        catalogue.add(text, in_brackets[0] if isinstance(text, str) else in_brackets)
    file.parent.mkdir(parents=True)
    with file.open("wb") as po:
        write_po(po, catalogue)


def test_a_catalogue_per_service_and_one_row_add_a_language_to_every_text(
    tmp_path: Path,
) -> None:
    for package in ROOT.glob("*/__init__.py"):
        name = package.parent.name
        shutil.copytree(ROOT / name, tmp_path / name, ignore=IGNORED)
    table = tmp_path / "chassis" / "languages.py"
    assert ROW in table.read_text()
    table.write_text(table.read_text().replace(ROW, f'{ROW}, "{NEW}": "{NAME}"'))
    for words in SERVICES.values():
        folder = tmp_path / words.folder.relative_to(ROOT)
        add_catalogue(words.source_texts(), path_of(folder, NEW))
    process = subprocess.run(
        [sys.executable, "-m", "tests.project.every_text", NEW],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    report = json.loads(process.stdout.splitlines()[-1])  # the lines before are logs of the pages
    assert report["untranslated"] == {}
    assert report["places"] > 1400


def test_text_outside_of_the_brackets_is_found() -> None:
    assert text_outside_brackets(f"{LEFT}a {LEFT}b{RIGHT} c{RIGHT} d {LEFT}e{RIGHT}").split() == [
        "d"
    ]
