"""Parses pathways from their texts, and looks up and publishes their versions.

The first versions of some pathways come with the service.
"""

from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from chassis.db import Transaction
from chassis.errors import Invalid, NotFound
from chassis.locks import advisory_lock
from chassis.tokens import Caller
from chassis.wire import words
from facts import outbox
from protos.referrals.v1 import plans_pb2, referrals_pb2
from services.referrals.network.wire.facts import publication_fact
from services.referrals.network.wire.languages import REQUIRED
from services.referrals.plans.domain.pathway import Lists, Pathway, TextNode, Word, read
from services.referrals.plans.store import plans

SHIPPED = Path(__file__).parent.parent / "data"
MAX_DEPTH = 8
LISTS = Lists(
    REQUIRED,
    *(
        tuple(words(enum.DESCRIPTOR).values())
        for enum in (
            referrals_pb2.AgeBand,
            referrals_pb2.Urgency,
            plans_pb2.PlanDocument,
            plans_pb2.LegalBasis,
            plans_pb2.PlanRole,
        )
    ),
)


def parse(text: str) -> TextNode:
    """Parses a YAML text into parts with line numbers: maps, lists and plain texts only.

    Raises Invalid: (text.1, required) for an empty text, (text.LINE, malformed) for any other text
    that is not of this kind.
    """
    try:
        _check_plain(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise Invalid(
            (f"text.{_line(error.problem_mark or error.context_mark)}", "malformed")
        ) from None
    except yaml.YAMLError:
        raise Invalid(("text.1", "malformed")) from None
    if node is None:
        raise Invalid(("text.1", "required"))
    return _text_node(node)


def _check_plain(text: str) -> None:
    """Refuses a YAML text that uses more of the language than a pathway needs.

    Deep nesting and aliases are refused; an alias could make a short text expand without end.
    """
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(
            event, yaml.CollectionEndEvent
        )
        if depth > MAX_DEPTH or isinstance(event, yaml.AliasEvent):
            raise Invalid((f"text.{_line(event.start_mark)}", "malformed"))


def _text_node(node: yaml.Node) -> TextNode:
    line = _line(node.start_mark)
    if isinstance(node, yaml.MappingNode):
        return TextNode(
            {
                Word(str(key.value), _line(key.start_mark)): _text_node(value)
                for key, value in node.value
            },
            line,
        )
    if isinstance(node, yaml.SequenceNode):
        return TextNode([_text_node(item) for item in node.value], line)
    return TextNode(str(node.value), line)


def _line(mark: Any) -> int:
    return mark.line + 1 if mark else 1


@cache  # a process parses the same texts repeatedly, and each takes 50 ms
def _shipped_pathway(text: str) -> Pathway:
    return read(parse(text), LISTS, text, lambda _: 1)


def shipped_pathways(folder: Path = SHIPPED) -> dict[str, Pathway]:
    """Returns the pathways that come with the service, by id.

    Raises ValueError with file and reason for an invalid pathway, so that the service does not
    start.
    """
    pathways = {}
    for file in sorted(folder.glob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        try:
            pathway = _shipped_pathway(text)
        except Invalid as refusal:
            faults = "; ".join(
                f"line {field.removeprefix('text.')}: {reason}"
                for field, reason in refusal.violations
            )
            raise ValueError(f"{file.name}: {faults}") from None
        if pathway.id != file.stem:
            raise ValueError(f"{file.name}: its id is {pathway.id}")
        pathways[pathway.id] = pathway
    return pathways


class Pathways:
    """All versions of the pathways. A process reads each one only once, since it never changes."""

    def __init__(self, shipped: dict[str, Pathway]) -> None:
        self._shipped = shipped
        self._pathways = {(pathway.id, pathway.version): pathway for pathway in shipped.values()}

    def newest(self, tx: Transaction) -> list[Pathway]:
        """Returns the newest version of each pathway, ordered by id."""
        return [
            self.get(tx, *id_and_version)
            for id_and_version in sorted(self._newest_versions(tx).items())
        ]

    def get(self, tx: Transaction, identifier: str, version: int = 0) -> Pathway:
        """Returns one version; 0 means the newest. Raises NotFound if there is none."""
        if pathway := self._pathways.get((identifier, version)):
            return pathway
        newest_version = self._newest_versions(tx).get(identifier, 0)
        key = identifier, version or newest_version
        if not 1 <= key[1] <= newest_version:
            raise NotFound
        if key not in self._pathways:
            text = plans.text_of(tx, *key)
            self._pathways[key] = read(parse(text), LISTS, text)
        return self._pathways[key]

    def versions(self, tx: Transaction, identifier: str) -> list[tuple[int, datetime | None]]:
        """Returns (version, publish time) of each version, newest first.

        The time is None for a version that came with the service. Raises NotFound for an unknown
        pathway.
        """
        rows: list[tuple[int, datetime | None]] = [
            (row["version"], row["publish_time"])
            for row in plans.published_versions(tx)
            if row["pathway_id"] == identifier
        ]
        versions = ([(1, None)] if identifier in self._shipped else []) + rows
        if not versions:
            raise NotFound
        return versions[::-1]

    def publish(self, tx: Transaction, caller: Caller, now: datetime, text: str) -> Pathway:
        """Publishes the next version.

        Each text names its version. If two texts name the same version, the second is refused.
        """
        advisory_lock(tx, "pathways")
        newest_versions = self._newest_versions(tx)
        pathway = read(
            parse(text), LISTS, text, lambda identifier: newest_versions.get(identifier, 0) + 1
        )
        plans.publish(tx, pathway, caller.id, now)
        outbox.save(tx, [publication_fact("pathway", caller, now)])
        return pathway

    def _newest_versions(self, tx: Transaction) -> dict[str, int]:
        """Returns the number of each pathway's newest version, by id."""
        return dict.fromkeys(self._shipped, 1) | {
            row["pathway_id"]: row["version"] for row in plans.published_versions(tx)
        }
