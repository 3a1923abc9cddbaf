"""The Nu HTML checker, which says whether a page is valid HTML: the W3C's own, from Maven Central, as a child process. It needs Java."""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
POM = ROOT / "tests" / "html" / "pom.xml"
KEPT = ROOT / "build" / "html"  # its jars, kept between runs

# SVG 2 has it (https://www.w3.org/TR/SVG2/paths.html#PathLengthAttribute), every browser knows it, the checker's schema is of SVG 1.1.
_NOT_WRONG = re.compile("Attribute “pathLength” not allowed on element “circle”")


def faults(pages: dict[str, str]) -> list[str]:
    """What is wrong with these pages, errors only, a line each: the page's name, what, where."""
    with tempfile.TemporaryDirectory(prefix="enlace-test-html-") as folder:
        files = {}
        for number, (name, content) in enumerate(pages.items()):
            file = Path(folder) / f"{number}.html"
            file.write_text(content, encoding="utf-8")
            files[file.as_uri().replace("file:///", "file:/")] = name
        java = ["java", "-Xss2m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{_libraries()}/*"]
        checker = ["nu.validator.client.SimpleCommandLineValidator", "--format", "json", "--errors-only", "--exit-zero-always"]
        done = subprocess.run([*java, *checker, folder], capture_output=True, text=True, timeout=300, check=True)
        messages = json.loads(done.stderr)["messages"]
    return [
        f"{files[message['url']]}: {message['message']} {' '.join(message.get('extract', '').split())}"
        for message in messages
        if not _NOT_WRONG.match(message["message"])
    ]


def _libraries() -> Path:
    """Its jars, which Maven lays down once."""
    libraries = KEPT / f"libs-{hashlib.sha256(POM.read_bytes()).hexdigest()[:16]}"
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test process may be at it
        if not libraries.exists():
            new = Path(tempfile.mkdtemp(dir=KEPT))
            where = ["-f", str(POM), f"-DoutputDirectory={new}", "-DincludeScope=runtime"]
            subprocess.run(["mvn", "-q", "-B", *where, "dependency:copy-dependencies"], timeout=300, check=True)
            new.rename(libraries)
    return libraries
