"""An inverted index: for each word and each fact, the services that have it, as a set of slots.

Sets of 100,000 slots are combined in microseconds. A slot is the number of a service. The first
slots are in the order of the services' names; services added later get slots at the end.
Limitation: the index knows only the entries that it was given.
"""

from array import array
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from itertools import islice, takewhile
from typing import Any

from pyroaring import BitMap

from services.partners.directory.store.words import Lexeme, Word

Fact = tuple[str, Hashable]  # a kind and a value
Hit = tuple[int, str, str]  # rank, name_key, id; hits of a higher rank come first
# the parts of an entry that contain words: name, organisation's name, names of needs, description;
# words of places count as words of the description
WEIGHTS = "ABCD"
# This many entries are always allowed at the end: comparing their names one by one takes 2 ms.
_SPARE_SLOTS = 2000


@dataclass(frozen=True, slots=True)
class Entry:
    """A service as it is indexed. `document` is the text of a tsvector."""

    id: str
    name_key: str
    facts: frozenset[Fact]
    document: str


class SearchIndex:
    """Stores entries and finds them. Not thread-safe."""

    def __init__(self) -> None:
        self._names: list[tuple[str, str]] = []
        self._in_order = 0  # the number of slots that are in the order of names
        self._slots: dict[str, int] = {}
        self._document_hashes: list[int] = []
        self._facts_of: list[frozenset[Fact]] = []
        self._facts: defaultdict[str, defaultdict[Hashable, BitMap]] = defaultdict(
            lambda: defaultdict(BitMap)
        )
        self._words: tuple[dict[str, BitMap], ...] = tuple({} for _ in WEIGHTS)
        self._lexemes: list[str] = []

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def is_outgrown(self) -> bool:
        """Returns whether so many entries were added at the end that a new index is faster."""
        return len(self._names) - self._in_order > max(_SPARE_SLOTS, self._in_order // 8)

    def fill(self, entries: Iterable[Entry]) -> None:
        """Adds the first entries, which must be in the order of their names."""
        self.put(entries)
        self._in_order = len(self._names)

    def put(self, entries: Iterable[Entry]) -> None:
        """Adds entries, or updates the entries that the index already has.

        An entry with another name or other words gets a new slot at the end; its old slot matches
        nothing.
        """
        first_new_slot, equal_facts = len(self._names), dict[frozenset[Fact], frozenset[Fact]]()
        # Collects slots by token first, because many tokens occur again and again.
        slots_by_token: defaultdict[str, array[int]] = defaultdict(lambda: array("I"))
        for entry in entries:
            facts = equal_facts.setdefault(entry.facts, entry.facts)
            document_hash = hash(entry.document)
            slot = self._slots.get(entry.id)
            if (
                slot is not None
                and self._document_hashes[slot] == document_hash
                and self._names[slot][0] == entry.name_key
            ):
                self._set_facts(slot, facts, first_new_slot)
                continue
            if slot is not None:
                self._set_facts(slot, frozenset(), first_new_slot)
            slot = self._slots[entry.id] = len(self._names)
            self._names.append((entry.name_key, entry.id))
            self._document_hashes.append(document_hash)
            self._facts_of.append(facts)
            for token in entry.document.split(" "):
                slots_by_token[token].append(slot)
        slots_by_facts: defaultdict[frozenset[Fact], array[int]] = defaultdict(lambda: array("I"))
        for slot in range(first_new_slot, len(self._names)):
            slots_by_facts[self._facts_of[slot]].append(slot)
        for facts, slots in slots_by_facts.items():
            for kind, value in facts:
                self._facts[kind][value].update(slots)
        self._add_words(slots_by_token)

    def drop(self, ids: Iterable[str]) -> None:
        """Removes the services with these ids."""
        for id in ids:
            slot = self._slots.pop(id, None)
            if slot is not None:
                self._set_facts(slot, frozenset(), len(self._names))

    def slots_with(self, kind: str, *values: Hashable) -> BitMap:
        """Returns the slots that have any of these values for the fact.

        The caller owns the returned set.
        """
        slots_by_value = self._facts[kind]
        return BitMap.union(
            BitMap(), *(slots_by_value[value] for value in values if value in slots_by_value)
        )

    def slots_matching(self, kind: str, accepts: Callable[[Any], bool]) -> BitMap:
        """Returns the slots whose value of the fact passes `accepts`. Each value is tested once."""
        return self.slots_with(kind, *filter(accepts, self._facts[kind]))

    def values(self, kind: str) -> list[Hashable]:
        """Returns every value that occurs for the fact."""
        return list(self._facts[kind])

    def slots_of(self, ids: Iterable[str]) -> BitMap:
        """Returns the slots of these ids."""
        return BitMap(self._slots[id] for id in ids if id in self._slots)

    def count(self, kind: str, hits: BitMap) -> dict[Hashable, int]:
        """Counts the hits by value of the fact, without zeros."""
        count_by_value = {
            value: hits.intersection_cardinality(slots)
            for value, slots in self._facts[kind].items()
        }
        return {value: number for value, number in count_by_value.items() if number}

    def slots_containing(self, word: Word) -> list[BitMap]:
        """Returns the slots that contain the word, in one set for each part of WEIGHTS."""
        by_lexeme = [self._slots_by_weight(lexeme) for lexeme in word.lexemes]
        return [BitMap.union(BitMap(), *sets) for sets in zip(*by_lexeme, strict=True)]

    def page(
        self, hits: BitMap, rankings: Sequence[Sequence[BitMap]], size: int, after: Hit | None
    ) -> list[Hit]:
        """Returns the first `size` hits after a position.

        Hits that are in more sets of the first ranking come first; equal hits are ordered by the
        next ranking, and finally by name.
        """
        page: list[Hit] = []
        for rank, slots in _levels(hits, rankings):
            if after and rank > after[0]:
                continue
            after_hit = (after[1], after[2]) if after and rank == after[0] else None
            page += [(rank, *name) for name in self._by_name(slots, size - len(page), after_hit)]
            if len(page) >= size:
                break
        return page

    def _add_words(self, slots_by_token: Mapping[str, Sequence[int]]) -> None:
        new_lexemes = set()
        for token, slots in slots_by_token.items():
            weight, lexeme = _token(token)
            if not any(lexeme in slots_by_lexeme for slots_by_lexeme in self._words):
                new_lexemes.add(lexeme)
            self._words[weight].setdefault(lexeme, BitMap()).update(slots)
        if len(new_lexemes) > len(self._lexemes) // 8:
            self._lexemes = sorted({*self._lexemes, *new_lexemes})
            return
        for lexeme in new_lexemes:
            insort(self._lexemes, lexeme)

    def _set_facts(self, slot: int, facts: frozenset[Fact], first_new_slot: int) -> None:
        """Sets the facts of a slot.

        For slots from `first_new_slot` on, `put` itself adds the facts to the sets.
        """
        former_facts, self._facts_of[slot] = self._facts_of[slot], facts
        if slot >= first_new_slot:
            return
        for kind, value in former_facts - facts:
            slots = self._facts[kind][value]
            slots.discard(slot)
            if not slots:
                del self._facts[kind][value]
        for kind, value in facts - former_facts:
            self._facts[kind][value].add(slot)

    def _slots_by_weight(self, lexeme: Lexeme) -> list[BitMap]:
        if not lexeme.is_prefix:
            return [slots_by_lexeme.get(lexeme.text, BitMap()) for slots_by_lexeme in self._words]
        first = bisect_left(self._lexemes, lexeme.text)
        matching_lexemes = list(
            takewhile(lambda text: text.startswith(lexeme.text), islice(self._lexemes, first, None))
        )
        return [
            BitMap.union(
                BitMap(),
                *(slots_by_lexeme[text] for text in matching_lexemes if text in slots_by_lexeme),
            )
            for slots_by_lexeme in self._words
        ]

    def _by_name(
        self, slots: BitMap, size: int, after: tuple[str, str] | None
    ) -> list[tuple[str, str]]:
        start = bisect_right(self._names, after, hi=self._in_order) if after else 0
        ordered_slots = takewhile(
            lambda slot: slot < self._in_order, slots.iter_equal_or_larger(start)
        )
        later_names = (self._names[slot] for slot in slots.iter_equal_or_larger(self._in_order))
        first_names = [self._names[slot] for slot in islice(ordered_slots, size)]
        return nsmallest(
            size, [*first_names, *(name for name in later_names if after is None or name > after)]
        )


def _levels(
    hits: BitMap, rankings: Sequence[Sequence[BitMap]], rank: int = 0
) -> Iterator[tuple[int, BitMap]]:
    if not hits:
        return
    if not rankings:
        yield rank, hits
        return
    at_least = [hits]  # at index n: the slots that are in at least n of the sets
    for slots in rankings[0]:
        at_least = [
            hits,
            *(
                more | (fewer & slots)
                for fewer, more in zip(at_least, [*at_least[1:], BitMap()], strict=True)
            ),
        ]
    for number in range(len(rankings[0]), -1, -1):
        exactly = (
            at_least[number] - at_least[number + 1]
            if number < len(rankings[0])
            else at_least[number]
        )
        yield from _levels(exactly, rankings[1:], rank * (len(rankings[0]) + 1) + number)


def _token(token: str) -> tuple[int, str]:
    """Returns the index in WEIGHTS of a lexeme's first weight, and the lexeme.

    'albergu':1A,5 means that albergu is in the name (A) and in the description (D, which tsvectors
    do not print). Quotes and backslashes are doubled.
    """
    text, _, positions = token.rpartition("'")
    weight = next(
        (number for number, letter in enumerate(WEIGHTS) if letter in positions), WEIGHTS.index("D")
    )
    return weight, text[1:].replace("''", "'").replace("\\\\", "\\")
