"""Pathways: the standard order of help, as versioned data.

Pathways are written by hand. One refusal reports the faults in a text, by line and reason.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from chassis.languages import LANGUAGES
from services.referrals.files.domain.person import CHILDREN
from services.referrals.network.domain.codes import NEED_GROUPS, Check

NEEDS = NEED_GROUPS | frozenset(
    "COM.CMY COM.MEN COM.SPR DOC.BIR DOC.CON DOC.IDN DOC.TRV EDU.LIT EDU.SCH EDU.VOC FAM.DEP"
    " FAM.MED FAM.TRC HOU.EMG HOU.RENT HOU.SAFE HOU.TRANS INF.HOT"
    " INF.RBT INF.RGT LEG.CMP LEG.CRM LEG.IMM LEG.INF LEG.REP LIV.BIZ LIV.FIN LIV.JOB LNG.ACC"
    " LNG.INT LNG.SGN MAT.COM MAT.CSH MAT.FOD MAT.NFI MAT.TRN"
    " MED.DENT MED.EMG MED.MAT MED.PRI MED.SRH MED.SUB MED.SVC PRO.ESC PRO.ORD PRO.REL PRO.RSK"
    " PSS.CNS PSS.GRP PSS.PFA PSS.PSY RET.CHD RET.PRE RET.REC"
    " RET.TRA".split()
)
"""The need codes of the taxonomy, a copy of the directory's list.

Services don't call each other, so a test compares the two lists.
"""
MAX_STEPS = 60
MAX_NAME_LENGTH = 200
MAX_DEADLINE = timedelta(days=3 * 366)
_WORD = re.compile(r"[a-z][a-z0-9_]{0,39}")
_NUMBER = re.compile(r"[0-9]{1,5}")
_COUNTRY = re.compile(r"[A-Z]{2}")


@dataclass(frozen=True)
class TextNode:
    """A part of a hand-written text, with the number of its line.

    Each key of a map has its own line number.
    """

    value: "str | list[TextNode] | dict[Word, TextNode]"
    line: int


@dataclass(frozen=True)
class Word:
    """A key of a map."""

    text: str
    line: int


@dataclass(frozen=True)
class Lists:
    """The contract's code lists that pathways use, and the languages that every name must have."""

    languages: Collection[str]
    age_bands: Collection[str]
    urgencies: Collection[str]
    documents: Collection[str]
    legal_bases: Collection[str]
    roles: Collection[str]


class LegKind(Enum):
    """The role of a step in a hand-over across borders."""

    DEPARTURE = "departure"  # the person leaves
    ARRIVAL = "arrival"  # a receiver takes charge of her after the departure


_LEGS = frozenset(kind.value for kind in LegKind)


@dataclass(frozen=True)
class Step:
    """A step of a pathway.

    The deadline counts from the start of the plan, or from the time another step was settled.
    """

    key: str
    names: Mapping[str, str]
    need_code: str
    role_code: str
    after_keys: tuple[str, ...] = ()
    document_codes: tuple[str, ...] = ()
    legal_basis_codes: tuple[str, ...] = ()
    deadline: timedelta | None = None
    deadline_from_key: str = ""
    leg: LegKind | None = None


@dataclass(frozen=True)
class Pathway:
    """One version of a pathway.

    A pathway is meant for people who match at least one entry in each list. An empty list matches
    everybody.
    """

    id: str
    version: int
    names: Mapping[str, str]
    steps: tuple[Step, ...]
    need_codes: tuple[str, ...] = ()
    age_bands: tuple[str, ...] = ()
    urgencies: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    text: str = ""

    def takes(self, age_band: str) -> bool:
        """Returns whether a person of this age band may follow the pathway.

        An adult, or a person of unknown age, may follow a pathway for children, since her child may
        be the reason. A child may not follow a pathway for adults.
        """
        return not self.age_bands or age_band in self.age_bands or age_band not in CHILDREN


def read(
    node: TextNode, lists: Lists, text: str = "", version: Callable[[str], int] | None = None
) -> Pathway:
    """Returns the pathway in a hand-written text.

    `version` takes the id of a pathway and returns the version that the text must have. Raises
    Invalid with (text.LINE, reason) for each fault, and (text.LINE.WORD, required) for a missing
    word.
    """
    reader = _Reader(lists)
    pathway = reader.pathway(node, text, version)
    reader.check.done()
    assert pathway is not None
    return pathway


class _Reader:
    """The reader of a pathway.

    The reader continues after a fault, so that it finds all faults. Values that it can't read are
    left empty.
    """

    def __init__(self, lists: Lists) -> None:
        self.check = Check()
        self._lists = lists

    def pathway(
        self, node: TextNode, text: str, version: Callable[[str], int] | None
    ) -> Pathway | None:
        parts = self._map(node, "id version names steps".split(), ["for_whom"])
        if not parts:
            return None
        identifier = self._text(parts.get("id"), _WORD)
        number = self._text(parts.get("version"), _NUMBER)
        if "version" in parts and number and identifier:
            expected = version(identifier) if version else int(number)
            self._require(
                int(number) == expected and expected >= 1, parts["version"], "out_of_range"
            )
        criteria = (
            self._map(parts["for_whom"], [], "needs age_bands urgencies countries".split())
            if "for_whom" in parts
            else {}
        )
        step_nodes = self._list(parts.get("steps"), MAX_STEPS)
        if "steps" in parts:
            self._require(parts["steps"].value != [], parts["steps"], "too_short")
        steps = [(part, step) for part in step_nodes if (step := self._step(part))]
        self._check_order(steps)
        return Pathway(
            identifier,
            int(number or 0),
            self._names(parts.get("names")),
            tuple(step for _, step in steps),
            need_codes=self._codes(criteria.get("needs"), NEEDS),
            age_bands=self._codes(criteria.get("age_bands"), self._lists.age_bands),
            urgencies=self._codes(criteria.get("urgencies"), self._lists.urgencies),
            countries=tuple(
                self._text(part, _COUNTRY) for part in self._list(criteria.get("countries"))
            ),
            text=text,
        )

    def _step(self, node: TextNode) -> Step | None:
        parts = self._map(
            node, "key names need role legal_basis".split(), "after documents deadline leg".split()
        )
        if not parts:
            return None
        span, start = self._deadline(parts.get("deadline"))
        return Step(
            self._text(parts.get("key"), _WORD),
            self._names(parts.get("names")),
            self._code(parts.get("need"), NEEDS),
            self._code(parts.get("role"), self._lists.roles),
            tuple(self._text(part) for part in self._list(parts.get("after"))),
            self._codes(parts.get("documents"), self._lists.documents),
            self._codes(parts.get("legal_basis"), self._lists.legal_bases),
            span,
            start,
            LegKind(leg) if (leg := self._code(parts.get("leg"), _LEGS)) in _LEGS else None,
        )

    def _deadline(self, node: TextNode | None) -> tuple[timedelta | None, str]:
        if node is None:
            return None, ""
        parts = self._map(node, [], ["hours", "days", "from"])
        units = [unit for unit in ("hours", "days") if unit in parts]
        self.check.require(bool(units), f"text.{node.line}.hours", "required")
        self._require(len(units) <= 1, node, "repeated")
        if len(units) != 1:
            return None, ""
        number = self._text(parts[units[0]], _NUMBER)
        span = timedelta(**{units[0]: int(number or 0)})
        self._require(
            not number or timedelta(0) < span <= MAX_DEADLINE, parts[units[0]], "out_of_range"
        )
        return span, self._text(parts.get("from"))

    def _check_order(self, steps: list[tuple[TextNode, Step]]) -> None:
        """Refuses repeated keys, unknown steps, and cycles of steps that wait for each other."""
        lines = {step.key: node for node, step in steps}
        step_keys = set[str]()
        for node, step in steps:
            self._require(step.key not in step_keys, node, "repeated")
            step_keys.add(step.key)
            for other in earlier_steps(step):
                self._require(other in lines, self._line_of(node, other), "unknown_step")
        for key in _keys_in_cycles(
            {
                step.key: [other for other in earlier_steps(step) if other in lines]
                for _, step in steps
            }
        ):
            self._require(False, lines[key], "cycle")
        self._check_legs(steps)

    def _check_legs(self, steps: list[tuple[TextNode, Step]]) -> None:
        """Refuses a second departure, and an arrival that does not wait for the departure.

        An arrival may wait for the departure directly or through other steps.
        """
        waits, departure = {step.key: step.after_keys for _, step in steps}, ""
        for node, step in steps:
            if step.leg is LegKind.DEPARTURE:
                self._require(not departure, self._leg_of(node), "repeated")
                departure = departure or step.key
            elif step.leg is LegKind.ARRIVAL:
                self._require(
                    bool(departure) and _reaches(step.key, departure, waits),
                    self._leg_of(node),
                    "required",
                )

    @staticmethod
    def _leg_of(node: TextNode) -> TextNode:
        """Returns the part `leg` of a step that has a leg."""
        assert isinstance(node.value, dict)
        return next(part for word, part in node.value.items() if word.text == "leg")

    @staticmethod
    def _line_of(node: TextNode, text: str) -> TextNode:
        """Returns the item with this text in a step's lists and maps, or else the step itself."""
        for part in node.value.values() if isinstance(node.value, dict) else []:
            inner = (
                part.value
                if isinstance(part.value, list)
                else part.value.values()
                if isinstance(part.value, dict)
                else []
            )
            for item in inner:
                if item.value == text:
                    return item
        return node

    def _map(
        self, node: TextNode, required: Iterable[str], optional: Iterable[str]
    ) -> dict[str, TextNode]:
        required = list(required)
        if not isinstance(node.value, dict):
            self._require(False, node, "malformed")
            return {}
        parts = dict[str, TextNode]()
        for word, value in node.value.items():
            if word.text not in (*required, *optional):
                self.check.require(False, f"text.{word.line}", "unknown_field")
            elif word.text in parts:
                self.check.require(False, f"text.{word.line}", "repeated")
            parts[word.text] = value
        for name in required:
            self.check.require(name in parts, f"text.{node.line}.{name}", "required")
        return parts

    def _list(self, node: TextNode | None, maximum: int = 50) -> list[TextNode]:
        if node is None:
            return []
        if not isinstance(node.value, list):
            self._require(False, node, "malformed")
            return []
        self._require(len(node.value) <= maximum, node, "too_long")
        return node.value[:maximum]

    def _names(self, node: TextNode | None) -> dict[str, str]:
        if node is None:
            return {}
        parts = self._map(node, [], LANGUAGES)
        for language in self._lists.languages if isinstance(node.value, dict) else ():
            self._require(
                bool(language in parts and parts[language].value), node, "language_missing"
            )
        names = {
            language: self._text(parts[language]) for language in LANGUAGES if language in parts
        }
        for language, name in names.items():
            self._require(len(name) <= MAX_NAME_LENGTH, parts[language], "too_long")
        return names

    def _text(self, node: TextNode | None, pattern: re.Pattern[str] | None = None) -> str:
        if node is None:
            return ""
        if not isinstance(node.value, str) or (pattern and not pattern.fullmatch(node.value)):
            self._require(False, node, "malformed")
            return ""
        return node.value

    def _code(self, node: TextNode | None, codes: Collection[str]) -> str:
        text = self._text(node)
        if node is not None and isinstance(node.value, str):
            self._require(text in codes, node, "unknown_code")
        return text

    def _codes(self, node: TextNode | None, codes: Collection[str]) -> tuple[str, ...]:
        return tuple(self._code(part, codes) for part in self._list(node))

    def _require(self, holds: bool, node: TextNode, reason: str) -> None:
        self.check.require(holds, f"text.{node.line}", reason)


def earlier_steps(step: Step) -> Iterator[str]:
    """Yields the keys of the steps that a step, or its deadline, waits for."""
    yield from step.after_keys
    if step.deadline_from_key:
        yield step.deadline_from_key


def _keys_in_cycles(waits: Mapping[str, Collection[str]]) -> list[str]:
    """Returns the steps that wait for themselves, directly or through other steps.

    Repeatedly removes the steps that wait for no remaining step. Of the steps that are left,
    returns those that wait for themselves.
    """
    remaining = dict(waits)
    while free_keys := [
        key
        for key, earlier_keys in remaining.items()
        if not any(other in remaining for other in earlier_keys)
    ]:
        for key in free_keys:
            del remaining[key]
    return [key for key in remaining if _reaches(key, key, remaining)]


def _reaches(start: str, goal: str, waits: Mapping[str, Collection[str]]) -> bool:
    visited_keys, queue = set[str](), [start]
    while queue:
        for other in waits.get(queue.pop(), ()):
            if other == goal:
                return True
            if other not in visited_keys:
                visited_keys.add(other)
                queue.append(other)
    return False
