"""An operator who follows docs/operations.md to the letter.

Commands are read from the page, their placeholders are filled in, and bash runs them. Limitations:
there is only one machine; `make run` is the target of the Makefile, but it uses the folder of the
test's stack and does not check the installed packages.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.parts.default_signals import WITH_DEFAULT_SIGNALS
from tests.parts.local_stack import ROOT

PAGE = ROOT / "docs" / "operations.md"
_CODE = re.compile(r"(?:^    .*\n)+", re.MULTILINE)


def blocks(heading: str, page: Path = PAGE) -> list[list[str]]:
    """Returns the command blocks, as lists of lines, of the section or entry whose heading begins
    with the text `heading`.
    """
    text = page.read_text(encoding="utf-8")
    start = re.search(rf"^(?:## |\*\*){re.escape(heading)}", text, re.MULTILINE)
    assert start, f"{page.name} has no entry {heading!r}"
    end = re.compile(
        r"^## " if start[0].startswith("#") else r"^(?:## |\*\*)", re.MULTILINE
    ).search(text, start.end())
    code_blocks = _CODE.findall(text[start.end() : end.start() if end else len(text)])
    return [[line.removeprefix("    ") for line in block.splitlines()] for block in code_blocks]


class Operator:
    """An operator at the shell of one machine.

    The folder looks like a checkout and has the `var/` of a stack.
    """

    def __init__(self, folder: Path, var: Path) -> None:
        self.folder = folder
        self.var = var
        for part in (
            "chassis",
            "keys",
            "facts",
            "trail",
            "runtime",
            "local",
            "protos",
            "services",
            "demo",
        ):
            (folder / part).symlink_to(ROOT / part)
        (folder / "var").symlink_to(var)

    def documented_command(self, heading: str, words: str, **placeholders: str) -> str:
        """Returns the documented command that contains these words.

        The command that reads the settings, if the entry has one, precedes it.
        """
        lines = [line for block in blocks(heading) for line in block]
        [command] = [line for line in lines if words in line]
        for name, value in placeholders.items():
            assert name in command, f"{command!r} has no {name}"
            command = command.replace(name, value)
        settings = [line for line in lines if line.startswith(". var/")]
        return "\n".join([*settings[:1], command])

    def run(self, script: str, code: int = 0) -> str:
        """Runs a script in a shell of its own; returns its standard output."""
        process = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert process.returncode == code, (
            f"{script}\nended with {process.returncode}\n{process.stdout}\n{process.stderr}"
        )
        return process.stdout

    def run_documented(
        self, heading: str, words: str, code: int = 0, more: str = "", **placeholders: str
    ) -> str:
        """Runs a documented command followed by the text `more`; returns its standard output."""
        return self.run(self.documented_command(heading, words, **placeholders) + more, code)

    @contextmanager
    def running(self, command: str) -> Iterator[None]:
        """Runs a documented `make run …` in a second shell, and ends it with Ctrl-C."""
        assert command.startswith("make run ")
        full_command = command.replace(
            "make run ", f"make -s -C {ROOT} -o .venv/.run run ", 1
        ).replace('ARGS="', f'ARGS="--var {self.var} ')
        shell = subprocess.Popen(
            [*WITH_DEFAULT_SIGNALS, "bash", "-c", full_command],
            cwd=self.folder,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert shell.stdout
        try:
            output = []
            for line in shell.stdout:
                output.append(line)
                if line.startswith("Stop "):
                    break
            else:
                raise AssertionError("".join(output))
            yield
        finally:
            os.killpg(shell.pid, signal.SIGINT)  # to the whole group, as Ctrl-C does
            shell.communicate(timeout=30)

    def _environment(self) -> dict[str, str]:
        """Returns an environment without this checkout's Python and without PostgreSQL.

        The commands of the page have to name both.
        """
        return {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "LANG": "C.UTF-8"}
