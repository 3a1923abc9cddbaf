"""Names say what they hold: a reader of the field should not have to open the file for one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.parts.local_stack import ROOT

# Of what nobody can tell what it holds.
EMPTY = {"_found", "found", "whole"}
# Pictures, for which the field has words: pool, endpoint, servicer, local stack, low latency, supervisor, signer.
PICTURES = {"crowd", "door", "doors", "face", "house", "hurry", "keeper", "voice", "voices", "weather"}


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.arg(arg=name) | ast.keyword(arg=str(name)):
                yield node.lineno, name


def wrong(source: str) -> list[tuple[int, str]]:
    return [
        (line, name)
        for line, name in names(ast.parse(source))
        if name in EMPTY or PICTURES & set(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_"))
    ]


def files() -> list[Path]:
    return [path for root in ("chassis", "services", "demo", "bench") for path in sorted((ROOT / root).rglob("*.py"))]


def test_no_name_leaves_open_what_it_holds_or_is_a_picture() -> None:
    assert [f"{path.relative_to(ROOT)}:{line}: {name}" for path in files() for line, name in wrong(path.read_text())] == []


def test_such_a_name_is_seen() -> None:
    for source in ("found = 1", "def f(whole): pass", "f(whole=1)", "x.found", "class HouseRunner: pass", "def at_the_door(): pass"):
        assert wrong(source), source
    assert not wrong("not_found = warehouse = unfound = 1")
