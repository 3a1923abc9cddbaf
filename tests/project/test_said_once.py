"""The contents of the .proto files are not repeated anywhere else.

Python code repeats no code list, no scope and no route. These are allowed: the tables of words that
people read (test_pages_words compares their keys), the enums of the domains, which may not import
the protos (wire.EnumCodec compares them when a service starts), and subsets, because a rule about
some codes has to name them.
"""

import ast
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from chassis import wire
from protos.partners.v1 import directory_pb2
from protos.referrals.v1 import enquiries_pb2
from protos.stubs import SERVICES
from services.gateway.api.binding import bindings
from tests.parts.local_stack import ROOT

FILES = sorted(
    path
    for folder in ("chassis", "facts", "keys", "runtime", "services", "trail")
    for path in (ROOT / folder).rglob("*.py")
    if "vocabulary" not in path.parts
)
# business rules that name nearly every code of a list, and treat each code differently
RULES = (
    # what each code checks, and its effect
    "services/partners/directory/domain/matching.py: enlace.partners.v1.Criterion",
    # the number of days from now to each band
    "services/referrals/line/domain/callback.py: enlace.referrals.v1.DayBand",
    # the start and the end of each band
    "services/referrals/line/domain/callback.py: enlace.referrals.v1.HourBand",
    # the recipients of an override
    "services/referrals/network/domain/codes.py: enlace.partners.v1.OrganizationType",
    # the caller's text for each state
    "services/referrals/line/domain/contact.py: enlace.referrals.v1.State",
    # the three answers, by name, in the rules of the triage
    "services/referrals/line/domain/triage.py: enlace.referrals.v1.Answer",
    # the condition of each box
    "services/referrals/referrals/store/boxes.py: enlace.referrals.v1.Box",
)
# a literal with at least this share of a list's words counts as the list, with some words forgotten
MIN_SHARE = 0.75


def enums() -> dict[str, frozenset[str]]:
    """Returns the words of every enum of a request or answer, by the enum's name."""
    words_by_enum: dict[str, frozenset[str]] = {}
    seen: set[str] = set()

    def walk(message: Any) -> None:
        if message.full_name in seen:
            return
        seen.add(message.full_name)
        for field in message.fields:
            if field.enum_type is not None:
                words_by_enum[field.enum_type.full_name] = frozenset(
                    wire.words(field.enum_type).values()
                )
            if field.message_type is not None:
                walk(field.message_type)

    for method in chain.from_iterable(service.methods for service in SERVICES):
        walk(method.input_type)
        walk(method.output_type)
    return words_by_enum


def literals(tree: ast.AST) -> Iterator[frozenset[str]]:
    """Yields the texts of each literal collection, including those of a text that is split."""
    for node in ast.walk(tree):
        parts: list[ast.expr | None] = []
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            parts = list(node.elts)
        elif isinstance(node, ast.Dict):
            parts = list(node.keys)
        elif (
            isinstance(node, ast.Attribute)
            and node.attr == "split"
            and isinstance(node.value, ast.Constant)
        ):
            yield frozenset(str(node.value.value).split())
        texts = frozenset(
            part.value
            for part in parts
            if isinstance(part, ast.Constant) and isinstance(part.value, str)
        )
        if texts:
            yield texts


def repeated_lists(files: list[Path], lists: dict[str, frozenset[str]]) -> list[str]:
    repeated = []
    for path in files:
        for texts in literals(ast.parse(path.read_text())):
            for name, codes in lists.items():
                shared_codes = {code for code in codes if code in texts or code.upper() in texts}
                if len(shared_codes) >= 3 and len(shared_codes) >= MIN_SHARE * len(codes):
                    repeated.append(f"{path.relative_to(ROOT)}: {name}")
    return repeated


def constants(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def test_no_code_list_of_the_contract_is_repeated_in_the_code() -> None:
    assert sorted(repeated_lists(FILES, enums())) == sorted(RULES)


def test_no_route_of_the_contract_is_repeated_in_the_code() -> None:
    routes = {
        binding.path for service in SERVICES for rpc in service.methods for binding in bindings(rpc)
    }
    assert [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in FILES
        for line, text in constants(path)
        if text in routes
    ] == []


def test_a_repeated_code_list_is_found(tmp_path: Path) -> None:
    file = ROOT / "tests" / "project" / "test_said_once.py"
    copies = (
        'ANSWERS = ("yes", "no", "did_not_say")',
        'X = {"yes": 1, "no": 2, "did_not_say": 3}',
        'X = "yes no did_not_say".split()',
    )
    for copy in copies:
        assert list(literals(ast.parse(copy))) == [frozenset({"yes", "no", "did_not_say"})], copy
    assert repeated_lists([file], {"Answer": frozenset({"yes", "no", "did_not_say"})}) != []


def test_a_places_accessibility_and_a_persons_needs_use_the_same_codes() -> None:
    """Compares the two enums, because matching compares their numbers.

    Two services declare these codes, and neither may import the other's enum.
    """
    place_codes, need_codes = (
        dict(wire.words(enum.DESCRIPTOR))
        for enum in (directory_pb2.Accessibility, enquiries_pb2.Accessibility)
    )
    assert place_codes == need_codes
