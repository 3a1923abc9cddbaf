"""Marked values, and the search for them in whatever encoding they may have taken: what identifies
a person must be nowhere but sealed in its store.

Each mark has a core that is found nowhere by chance. The core is looked for plainly (which finds it
also inside JSON, HTML, URL and quoted-printable escapes of what stands around it), as UTF-16, hex,
base64 at each of its three alignments, and backwards.
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
    """Makes marked values and remembers them by what they stand for."""

    def __init__(self, cores: Mapping[str, str] | None = None) -> None:
        self.cores = dict(cores or {})

    def core(self, what: str) -> str:
        """A word that nobody ever said."""
        core = "zq" + "".join(secrets.choice("bcdfghjklmnpqrstvwxz") for _ in range(10))
        self.cores[what] = core
        return core

    def text(self, what: str) -> str:
        """A text with accents and signs around its core, so that every escape has something to
        do.
        """
        return f"Ñu & «{self.core(what)}» <é>"

    def phone(self, what: str) -> str:
        """E.164."""
        core = "5057" + "".join(secrets.choice("0123456789") for _ in range(7))
        self.cores[what] = core
        return f"+{core}"

    def found_in(self, hay: bytes) -> list[str]:
        """What of it is there, and in which encoding."""
        folded = hay.lower()
        return [
            f"{what} ({encoding})"
            for what, core in self.cores.items()
            for encoding, needle, exact in needles(core)
            if (needle if exact else needle.lower()) in (hay if exact else folded)
        ]


def needles(core: str) -> Iterable[tuple[str, bytes, bool]]:
    """(encoding, bytes to look for, whether capitals matter)."""
    plain = core.encode()
    yield "plain", plain, False
    yield "backwards", plain[::-1], False
    yield "utf-16", core.encode("utf-16-le")[:-1], False  # the part that both byte orders share
    yield "hex", plain.hex().encode(), False
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + plain)
        # Without the characters that also depend on what stands before and after.
        yield f"base64+{shift}", encoded[-(-shift * 8 // 6) : (shift + len(plain)) * 8 // 6], True


Place = Mapping[str, bytes]  # what it is called → all its bytes


def in_topics(stack: LocalStack) -> Place:
    """Every record, dead letters too: key, body and headers."""
    # a fault run leaves a quarter of a million: joined once, not at each
    parts = defaultdict[str, list[bytes]](list)
    for record in topics.records(stack.state["kafka"]):
        headers = b"".join(key.encode() + b"\0" + value + b"\0" for key, value in record.headers)
        parts[record.topic].append(record.key + b"\0" + record.value + b"\0" + headers)
    return {topic: b"".join(records) for topic, records in parts.items()}


def in_logs(stack: LocalStack) -> Place:
    """Every file."""
    return {str(file.name): file.read_bytes() for file in stack.logs.glob("**/*") if file.is_file()}


def in_databases(stack: LocalStack) -> Place:
    """All columns of all tables of all services."""
    tables: dict[str, bytes] = {}
    for name in SERVICES:
        with stack.database(name) as database:
            tables |= {f"{name}.{table}": rows for table, rows in dump(database).items()}
    return tables


def dump(database: psycopg.Connection[dict[str, Any]]) -> dict[str, bytes]:
    """A database as text, by table; bytes come as hex and as themselves."""
    tables = database.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    ).fetchall()
    texts = {}
    for row in tables:
        with database.cursor().copy(f'COPY "{row["tablename"]}" TO STDOUT') as copy:
            texts[row["tablename"]] = b"".join(bytes(block) for block in copy)
    return texts


def in_metrics(stack: LocalStack) -> Place:
    """What Prometheus is told."""
    return {
        name: requests.get(f"http://{part['metrics']}/metrics", timeout=10).content
        for name, part in stack.state["parts"].items()
        if part["metrics"]
    }


def in_folder(folder: Path) -> Place:
    """Every file below a folder: its name and what is in it."""
    return {
        str(file.relative_to(folder)): str(file).encode() + b"\0" + file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def left_in(stack: LocalStack, marks: Marks | None = None) -> list[str]:
    """Every mark found in what a stack wrote (topics, logs, databases, metrics): these, and those
    of the usual stories.
    """
    sought = Marks(MARKED | (marks.cores if marks else {}))
    return [
        hit
        for place in (in_topics, in_logs, in_databases, in_metrics)
        for hit in hits(sought, place(stack))
    ]


def hits(marks: Marks, place: Place) -> list[str]:
    """Every mark found, with where."""
    return [f"{name}: {hit}" for name, hay in place.items() for hit in marks.found_in(hay)]
