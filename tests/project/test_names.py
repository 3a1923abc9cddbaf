"""Names say what they hold: a reader of the field should not have to open the file for one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.parts.local_stack import ROOT

CODE = ("chassis", "keys", "local", "services", "demo", "bench")
# Of what nobody can tell what it holds.
EMPTY = {"_found", "found", "whole"}
# Pictures, for which the field has words: pool, endpoint, servicer, local stack, low latency, supervisor, signer.
PICTURES = {"crowd", "door", "doors", "face", "house", "hurry", "keeper", "voice", "voices", "weather"}


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.arg(arg=name) | ast.keyword(arg=str(name)) | ast.alias(asname=str(name)):
                yield node.lineno, name
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield node.lineno, name


def pictures_of(name: str) -> set[str]:
    return PICTURES & set(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_"))


@cache
def names_in(root: str) -> list[tuple[str, str]]:
    return [
        (f"{path.relative_to(ROOT)}:{line}: {name}", name)
        for path in sorted((ROOT / root).rglob("*.py"))
        for line, name in names(ast.parse(path.read_text()))
    ]


@pytest.mark.parametrize("root", [*CODE, "tests"])
def test_no_name_leaves_open_what_it_holds(root: str) -> None:
    assert [where for where, name in names_in(root) if name in EMPTY] == []


@pytest.mark.parametrize("root", CODE)
def test_no_name_is_a_picture(root: str) -> None:
    """The names of tests are sentences, which may have one."""
    assert [where for where, name in names_in(root) if pictures_of(name)] == []


def test_such_a_name_is_seen() -> None:
    for source in (
        "found = 1",
        "def f(whole): pass",
        "f(whole=1)",
        "x.found",
        "for found in y: pass",
        "lambda whole: 1",
        "import x as found",
    ):
        assert EMPTY & {name for _, name in names(ast.parse(source))}, source
    assert pictures_of("HouseRunner") == {"house"}
    assert pictures_of("at_the_door") == {"door"}
    assert not pictures_of("warehouse_surface")
