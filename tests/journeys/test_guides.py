"""The quick start, the gRPC guide and the requests of the guide work as written.

Every block of the quick start and of the gRPC guide is run against a whole network, and the output
is compared with the text behind `# →`. Every request of the guide is sent, with the ids that the
earlier answers gave.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.parts.local_stack import ROOT

EXPECTED = re.compile(r"# → (.+)$", re.MULTILINE)


@pytest.fixture
def checkout(stack: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like a checkout after `make run`."""
    (tmp_path / "var").symlink_to(stack.var)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def blocks(name: str, language: str) -> str:
    """Returns all blocks of one language as one text.

    Each line keeps its place in the file, so that an error names it.
    """
    kept_lines, is_inside = [], False
    for line in (ROOT / "docs" / name).read_text().splitlines():
        if line.startswith("```"):
            is_inside = line == f"```{language}"
            line = ""
        kept_lines.append(line if is_inside else "")
    return "\n".join(kept_lines) + "\n"


def run_python(name: str) -> None:
    """Runs each statement by itself, and compares its output with the text behind it."""
    source = blocks(name, "python")
    lines = source.splitlines()
    fields: dict[str, Any] = {"__name__": "__guide__"}
    for statement in ast.parse(source).body:
        output_lines: list[str] = []
        fields["print"] = lambda *words, output_lines=output_lines: output_lines.append(
            " ".join(map(str, words))
        )
        exec(compile(ast.Module([statement], []), f"docs/{name}", "exec"), fields)
        expected = EXPECTED.findall("\n".join(lines[statement.lineno - 1 : statement.end_lineno]))
        assert output_lines == expected, f"docs/{name}:{statement.lineno}"


@pytest.mark.parametrize("name", ["quickstart.md", "grpc.md"])
def test_the_python_of_a_guide_does_what_it_says(checkout: Path, name: str) -> None:
    run_python(name)


def test_the_quick_start_in_python_imports_only_requests() -> None:
    imported_modules = {
        module.partition(".")[0]
        for node in ast.walk(ast.parse(blocks("quickstart.md", "python")))
        for module in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [a.name for a in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }
    assert imported_modules - sys.stdlib_module_names == {"requests"}


def test_the_quick_start_with_curl_does_what_it_says(checkout: Path) -> None:
    assert shutil.which("curl"), "the quick start needs curl"
    source = blocks("quickstart.md", "bash")
    process = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", source],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert process.returncode == 0, f"after {process.stdout!r}: {process.stderr}"
    assert process.stdout.splitlines() == EXPECTED.findall(source)


def requests_of_the_guide() -> list[str]:
    """Returns each curl command of docs/api.md, in order."""
    text = (ROOT / "docs" / "api.md").read_text()
    return re.findall(r"^ {4,}(curl .*(?:\n {5,}(?! |curl ).*)*)", text, re.MULTILINE)


class Reader:
    """A reader of the guide, who sends its requests and remembers the ids in the answers."""

    def __init__(self) -> None:
        demo = json.loads(Path("var/demo.json").read_text())
        self._manager = next(a for a in demo["accounts"] if a["email"] == "gestion@puentes.demo")
        own_key, other_key = (key["key"] for key in demo["api_keys"])
        self._variables = {
            "ENLACE": f"{demo['gateway']}/api/v1",
            "KEY": own_key,
            "THEIRS": other_key,
        }
        # the draft that the first example of a change needs
        for path, body in (("people", "{}"), ("referrals", """{"person_id": "'$PERSON'"}""")):
            self.send(
                f"curl -s $ENLACE/{path} -H 'Content-Type: application/json'"
                f""" -H "Authorization: Bearer $KEY" -d '{body}'"""
            )

    def send(self, command: str) -> None:
        """Sends a request, and checks that it is not refused."""
        later_time = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
        command = re.sub(r"20\d\d-\d\d-\d\dT[0-9:]+Z", later_time, command)
        for name in ("email", "password"):
            command = command.replace(f'"{name}": "…"', f'"{name}": "{self._manager[name]}"')
        if "$SESSION" in command:  # an earlier request of the guide ended the session
            self.send(next(c for c in requests_of_the_guide() if '"password"' in c))
        process = subprocess.run(
            ["bash", "-euc", f"uuidgen() {{ echo {uuid.uuid4()}; }}\n{command}"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
            env=os.environ | self._variables,
        )
        answer = json.loads(process.stdout or "{}")
        assert "reason" not in answer, (command, answer)
        self._remember(command.split("$ENLACE")[1].split()[0], answer)

    def _remember(self, path: str, answer: dict[str, Any]) -> None:
        if "etag" in answer:
            self._variables["ETAG"] = f'"{answer["etag"]}"'
        for name, end in {"PERSON": "/people", "RECEIPT": "/receipts", "ID": "/referrals"}.items():
            if path.endswith(end):
                self._variables[name] = answer["id"]
        if path == "/sessions":
            self._variables["SESSION"] = answer["session_secret"]
        if path == "/services/match":
            service = next(
                item["service"]
                for item in answer["items"]
                if item["service"]["organization_name"] == "Albergue Luna Nueva"
            )
            self._variables |= {"SERVICE": service["id"], "SHELTER": service["organization_id"]}


def test_no_request_of_the_guide_is_refused(checkout: Path) -> None:
    reader, commands = Reader(), requests_of_the_guide()
    assert len(commands) > 15
    for command in commands:
        reader.send(command)


def test_python_and_curl_have_the_same_steps() -> None:
    """Each step has as many blocks of Python as of curl. Ten minutes suffice for ten steps."""
    steps = (ROOT / "docs" / "quickstart.md").read_text().split("\n## ")[1:]
    assert len(steps) <= 10
    for step in steps:
        assert step.count("```python") == step.count("```bash") > 0, step.splitlines()[0]


def test_the_webhook_check_of_the_guide_is_the_only_other_code() -> None:
    """A test runs every block that looks like a program.

    The test is in this file or in tests/gateway/test_api_openapi.py.
    """
    counts = {
        file.name: len(re.findall(r"^```(?:python|bash)$", file.read_text(), re.MULTILINE))
        for file in (ROOT / "docs").glob("*.md")
    }
    assert {
        name: count
        for name, count in counts.items()
        if count and name not in ("quickstart.md", "grpc.md")
    } == {"api.md": 1}
