"""Marked values, and the search for them in any encoding.

Text that identifies a person must be nowhere but sealed in its store. Each mark has a core that is
found nowhere by chance. The search looks for the core plainly (which finds it also inside JSON,
HTML, URL and quoted-printable escapes of the text around it), as UTF-16, hex, base64 at each of its
three alignments, and backwards.
"""

from __future__ import annotations

import base64
import secrets
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import psycopg
import requests

from tests.parts import topics
from tests.parts.local_stack import SERVICES, LocalStack
from tests.parts.stories import MARKED


class Marks:
    """Makes marked values and remembers each with its meaning."""

    def __init__(self, cores: Mapping[str, str] | None = None) -> None:
        self.cores = dict(cores or {})

    def core(self, what: str) -> str:
        """Returns a word that occurs nowhere else."""
        core = "zq" + "".join(secrets.choice("bcdfghjklmnpqrstvwxz") for _ in range(10))
        self.cores[what] = core
        return core

    def text(self, what: str) -> str:
        """Returns a text with its core among accents and signs.

        Every escape changes some of them.
        """
        return f"Ñu & «{self.core(what)}» <é>"

    def phone(self, what: str) -> str:
        """Returns a marked phone number in E.164."""
        core = "5057" + "".join(secrets.choice("0123456789") for _ in range(7))
        self.cores[what] = core
        return f"+{core}"

    def found_in(self, hay: bytes) -> list[str]:
        """Returns the marks found in the data, each with its encoding."""
        folded = hay.lower()
        return [
            f"{what} ({encoding})"
            for what, core in self.cores.items()
            for encoding, needle, exact in needles(core)
            if (needle if exact else needle.lower()) in (hay if exact else folded)
        ]


def needles(core: str) -> Iterable[tuple[str, bytes, bool]]:
    """Yields (encoding, bytes to look for, whether case matters)."""
    plain = core.encode()
    yield "plain", plain, False
    yield "backwards", plain[::-1], False
    yield "utf-16", core.encode("utf-16-le")[:-1], False  # the part that both byte orders share
    yield "hex", plain.hex().encode(), False
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + plain)
        # Without the characters that also depend on the text before and after.
        yield f"base64+{shift}", encoded[-(-shift * 8 // 6) : (shift + len(plain)) * 8 // 6], True


Place = Mapping[str, bytes]  # name → all its bytes


def in_topics(stack: LocalStack) -> Place:
    """Yields every record, dead letters too: key, body and headers."""
    # a fault run leaves a quarter of a million: they are joined once, not for each mark
    parts = defaultdict[str, list[bytes]](list)
    for record in topics.records(stack.state["kafka"]):
        headers = b"".join(key.encode() + b"\0" + value + b"\0" for key, value in record.headers)
        parts[record.topic].append(record.key + b"\0" + record.value + b"\0" + headers)
    return {topic: b"".join(records) for topic, records in parts.items()}


def in_logs(stack: LocalStack) -> Place:
    """Yields every log file."""
    return {str(file.name): file.read_bytes() for file in stack.logs.glob("**/*") if file.is_file()}


def in_databases(stack: LocalStack) -> Place:
    """Yields all columns of all tables of all services."""
    tables: dict[str, bytes] = {}
    for name in SERVICES:
        with stack.database(name) as database:
            tables |= {f"{name}.{table}": rows for table, rows in dump(database).items()}
    return tables


def dump(database: psycopg.Connection[dict[str, Any]]) -> dict[str, bytes]:
    """Returns a database as text, by table; bytes are returned as hex and as they are."""
    tables = database.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    ).fetchall()
    texts = {}
    for row in tables:
        name = row["tablename"]
        rows = database.execute(f'SELECT t::text AS row FROM "{name}" t')
        texts[name] = "\n".join(row["row"] for row in rows).encode()
    return texts


def in_metrics(stack: LocalStack) -> Place:
    """Yields the metrics that Prometheus scrapes."""
    return {
        name: requests.get(f"http://{part['metrics']}/metrics", timeout=10).content
        for name, part in stack.state["parts"].items()
        if part["metrics"]
    }


def in_folder(folder: Path) -> Place:
    """Yields every file below a folder: its name and its content."""
    return {
        str(file.relative_to(folder)): str(file).encode() + b"\0" + file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def left_in(stack: LocalStack, marks: Marks | None = None) -> list[str]:
    """Returns every mark found in the output of a stack (topics, logs, databases, metrics).

    The given marks and those of the usual stories are searched for.
    """
    sought = Marks(MARKED | (marks.cores if marks else {}))
    return [
        hit
        for place in (in_topics, in_logs, in_databases, in_metrics)
        for hit in hits(sought, place(stack))
    ]


def hits(marks: Marks, place: Place) -> list[str]:
    """Returns every mark found, with its place."""
    return [f"{name}: {hit}" for name, hay in place.items() for hit in marks.found_in(hay)]
