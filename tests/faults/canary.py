"""Marked values, and the search for them in any encoding.

Text that identifies a person may exist only in its store, in sealed form. Each mark has a core that
occurs nowhere by chance. The search looks for the core as plain text (which also finds it if the
text around it is escaped for JSON, HTML, URLs or quoted-printable), as UTF-16, hex, base64 at each
of its three alignments, and backwards.
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
    """Makes marked values, and stores the core of each mark by the mark's name."""

    def __init__(self, cores: Mapping[str, str] | None = None) -> None:
        self.cores = dict(cores or {})

    def core(self, name: str) -> str:
        """Returns a word that occurs nowhere else."""
        core = "zq" + "".join(secrets.choice("bcdfghjklmnpqrstvwxz") for _ in range(10))
        self.cores[name] = core
        return core

    def text(self, name: str) -> str:
        """Returns a text with the core among accents and signs.

        Every way of escaping changes some of those characters.
        """
        return f"Ñu & «{self.core(name)}» <é>"

    def phone(self, name: str) -> str:
        """Returns a marked phone number in E.164."""
        core = "5057" + "".join(secrets.choice("0123456789") for _ in range(7))
        self.cores[name] = core
        return f"+{core}"

    def found_in(self, data: bytes) -> list[str]:
        """Returns the marks found in the data, each with its encoding."""
        folded = data.lower()
        return [
            f"{name} ({encoding})"
            for name, core in self.cores.items()
            for encoding, pattern, exact in search_patterns(core)
            if (pattern if exact else pattern.lower()) in (data if exact else folded)
        ]


def search_patterns(core: str) -> Iterable[tuple[str, bytes, bool]]:
    """Yields (encoding, bytes to search for, whether their case matters)."""
    plain = core.encode()
    yield "plain", plain, False
    yield "backwards", plain[::-1], False
    yield "utf-16", core.encode("utf-16-le")[:-1], False  # the part that both byte orders share
    yield "hex", plain.hex().encode(), False
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + plain)
        # without the characters that also depend on the neighbouring text
        yield f"base64+{shift}", encoded[-(-shift * 8 // 6) : (shift + len(plain)) * 8 // 6], True


Contents = Mapping[str, bytes]  # of one place, by the names of its parts


def in_topics(stack: LocalStack) -> Contents:
    """Returns the key, body and headers of every record, by topic."""
    # A fault run leaves a quarter of a million records: they are joined once, not for each mark.
    parts = defaultdict[str, list[bytes]](list)
    for record in topics.records(stack.state["kafka"]):
        headers = b"".join(key.encode() + b"\0" + value + b"\0" for key, value in record.headers)
        parts[record.topic].append(record.key + b"\0" + record.value + b"\0" + headers)
    return {topic: b"".join(records) for topic, records in parts.items()}


def in_logs(stack: LocalStack) -> Contents:
    """Returns the content of every log file."""
    return {str(file.name): file.read_bytes() for file in stack.logs.glob("**/*") if file.is_file()}


def in_databases(stack: LocalStack) -> Contents:
    """Returns all columns of all tables of all services, by table."""
    tables: dict[str, bytes] = {}
    for name in SERVICES:
        with stack.database(name) as database:
            tables |= {f"{name}.{table}": rows for table, rows in dump(database).items()}
    return tables


def dump(database: psycopg.Connection[dict[str, Any]]) -> dict[str, bytes]:
    """Returns all rows of a database as text, by table; byte columns are in hex."""
    tables = database.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    ).fetchall()
    texts = {}
    for row in tables:
        name = row["tablename"]
        rows = database.execute(f'SELECT t::text AS row FROM "{name}" t')
        texts[name] = "\n".join(row["row"] for row in rows).encode()
    return texts


def in_metrics(stack: LocalStack) -> Contents:
    """Returns the metrics that Prometheus scrapes, by part."""
    return {
        name: requests.get(f"http://{part['metrics']}/metrics", timeout=10).content
        for name, part in stack.state["parts"].items()
        if part["metrics"]
    }


def in_folder(folder: Path) -> Contents:
    """Returns the name and the content of every file below a folder."""
    return {
        str(file.relative_to(folder)): str(file).encode() + b"\0" + file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def left_in(stack: LocalStack, marks: Marks | None = None) -> list[str]:
    """Returns every mark found in the output of a stack (topics, logs, databases, metrics).

    Searches for the given marks and for the marks of the usual stories.
    """
    all_marks = Marks(MARKED | (marks.cores if marks else {}))
    return [
        hit
        for place in (in_topics, in_logs, in_databases, in_metrics)
        for hit in hits(all_marks, place(stack))
    ]


def hits(marks: Marks, place: Contents) -> list[str]:
    """Returns every mark found, with its place."""
    return [f"{name}: {hit}" for name, text in place.items() for hit in marks.found_in(text)]
