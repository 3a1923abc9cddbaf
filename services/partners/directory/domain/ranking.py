"""An index of all services in the directory by the attributes that matching looks at.

Thousands of services are ordered in a millisecond, exactly as if each were judged by itself.
Services with the same statement are judged alike (matching.CRITERIA). So for each group of needs,
each statement has one long integer whose bits show which services make it. Each statement is judged
once, and the order results from bitwise operations. Limitation: the ranking knows only the
candidates that it was given.
"""

import heapq
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import compress
from typing import Any

from services.partners.directory.domain.matching import (
    CRITERIA,
    HIDDEN_CRITERIA,
    ORDERING_CRITERIA,
    Candidate,
    Question,
    StatementTimes,
    Verdict,
    criteria,
)

Statement = tuple[str, Hashable]  # a criterion and what a service states about it
Flips = defaultdict[str, defaultdict[int, list[int]]]  # slots by group and statement number
_TO_BYTES = bytes.maketrans(b"01", b"\0\1")
# up to this many services, the slots are listed one by one; for more services, all names are
# filtered
_FEW = 50


@dataclass(frozen=True, slots=True)
class _Entry:
    """A service as it was last put into the ranking.

    `name`: the key by which its name is sorted, and its id; `statements`: the numbers of the
    statements that the service makes on all shelves; `needs`: for each group, the numbers of the
    statements that it makes only on that group's shelf; `slots`: its slot on each shelf, in the
    order of `needs`; `valid_until`: when `times` next change a statement.
    """

    name: tuple[str, str]
    organization_id: str
    statements: tuple[int, ...]
    needs: dict[str, tuple[int, ...]]
    slots: tuple[int, ...]
    times: StatementTimes
    valid_until: datetime | None

    @property
    def slot_by_group(self) -> dict[str, int]:
        """Returns the slot of the service on each shelf, by group."""
        return dict(zip(self.needs, self.slots, strict=True))


class _Shelf:
    """The services that meet needs of one group, each in a numbered slot."""

    def __init__(self) -> None:
        self.names: list[tuple[str, str]] = []
        self.statements: defaultdict[str, dict[Hashable, int]] = defaultdict(dict)
        self._free: list[int] = []

    def put(self, name: tuple[str, str], slot: int | None) -> int:
        """Puts the name in this slot (None: in a free or new slot), and returns the slot."""
        if slot is None and self._free:
            slot = self._free.pop()
        if slot is None:
            self.names.append(name)
            return len(self.names) - 1
        self.names[slot] = name
        return slot

    def clear(self, slot: int) -> None:
        """Frees a slot for another service."""
        self._free.append(slot)

    def flip(self, statement: Statement, slots: list[int]) -> None:
        """Adds the statement to these slots, or removes it from the slots that already have it.

        A slot that is listed twice stays as it is.
        """
        criterion, value = statement
        self.statements[criterion][value] = self.statements[criterion].get(value, 0) ^ bits_of(
            slots
        )
        if not self.statements[criterion][value]:
            del self.statements[criterion][value]

    def bits_stating(self, criterion: str, *values: Hashable) -> int:
        """Returns the bits of the services that state any of these values for the criterion."""
        bits = 0
        for value in values:
            bits |= self.statements[criterion].get(value, 0)
        return bits

    def bits_by_outcome(self, criterion: str, question: Question) -> dict[tuple[Verdict, int], int]:
        """Returns the bits of the services by verdict and rank on the criterion."""
        outcomes: dict[tuple[Verdict, int], int] = {}
        for value, bits in self.statements[criterion].items():
            reason = CRITERIA[criterion].judge(question, value)
            outcomes[reason.verdict, reason.rank] = (
                outcomes.get((reason.verdict, reason.rank), 0) | bits
            )
        return outcomes

    def first_ids(self, bits: int, size: int) -> list[str]:
        """Returns the ids of at most `size` of these services, in the order of their names."""
        if bits.bit_count() <= _FEW:
            return [id for _, id in sorted(self.names[slot] for slot in _slots(bits))[:size]]
        return [
            id
            for _, id in heapq.nsmallest(
                size, compress(self.names, f"{bits:b}"[::-1].encode().translate(_TO_BYTES))
            )
        ]


class Ranking:
    """Stores candidates and orders them. Not thread-safe."""

    def __init__(self) -> None:
        self._shelves: defaultdict[str, _Shelf] = defaultdict(_Shelf)
        self._entries: dict[str, _Entry] = {}
        self._ids_by_organization: defaultdict[str, set[str]] = defaultdict(set)
        self._numbers: dict[Statement, int] = {}
        self._statements: list[Statement] = []
        self._shared_numbers: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._needs: dict[tuple[str, ...], dict[str, tuple[int, ...]]] = {}
        self._ends: list[tuple[datetime, str]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, candidates: Iterable[Candidate], now: datetime) -> None:
        """Stores these candidates in place of their former state."""
        flips: Flips = defaultdict(lambda: defaultdict(list))
        for candidate in candidates:
            self._put_or_remove(candidate.service_id, self._entry_of(candidate, now), flips)
        self._flip(flips)

    def drop(self, ids: Iterable[str]) -> None:
        """Removes services that are no longer offered."""
        flips: Flips = defaultdict(lambda: defaultdict(list))
        for id in ids:
            self._put_or_remove(id, None, flips)
        self._flip(flips)

    def advance(self, now: datetime) -> None:
        """Updates the statements about room and freshness that have changed with time alone."""
        flips: Flips = defaultdict(lambda: defaultdict(list))
        while self._ends and self._ends[0][0] < now:
            end, id = heapq.heappop(self._ends)
            entry = self._entries.get(id)
            if entry is not None and entry.valid_until == end:
                aged_entry = replace(
                    entry,
                    statements=self._aged_statements(entry, now),
                    valid_until=entry.times.unchanged_until(now),
                )
                for group, slot in entry.slot_by_group.items():
                    for statement in {*entry.statements} ^ {*aged_entry.statements}:
                        flips[group][statement].append(slot)
                self._store(id, aged_entry)
        self._flip(flips)

    def best(self, question: Question, size: int, *, sees_shelters: bool) -> list[str]:
        """Returns the ids of the best candidates, `size` at most, in the order of matching.match.

        Candidates are left out if they can't meet the need, are in another country than the person,
        are excluded by the question, or must not be seen.
        """
        group = question.need_code.partition(".")[0]
        shelf = self._shelves[group]
        # The need for a group is met by any service in the group. The need for a kind of help is
        # met only by services that name this kind, or the group itself.
        pool = (
            shelf.bits_stating("group", group)
            if question.need_code == group
            else shelf.bits_stating("code", question.need_code, group)
        )
        if question.country:
            pool &= shelf.bits_stating("country", question.country)
        if not sees_shelters:
            pool &= shelf.bits_stating("shelter", False)
        pool &= ~shelf.bits_stating("department", *filter(None, question.excluded_areas))
        pool &= ~bits_of(
            self._entries[id].slot_by_group.get(group)
            for organization_id in set(question.excluded_organization_ids)
            for id in self._ids_by_organization.get(organization_id, ())
        )
        outcomes_by_criterion = {
            name: shelf.bits_by_outcome(name, question)
            for name in (*criteria(question), *HIDDEN_CRITERIA)
        }
        excluded_bits = _union(
            bits
            for outcome in outcomes_by_criterion.values()
            for (verdict, _), bits in outcome.items()
            if verdict is Verdict.DOES_NOT_FIT
        )
        uncertain_bits = _union(
            bits
            for outcome in outcomes_by_criterion.values()
            for (verdict, _), bits in outcome.items()
            if verdict is Verdict.ASK
        )
        levels = [
            [
                outcomes_by_criterion[name][outcome]
                for outcome in sorted(outcomes_by_criterion[name])
            ]
            for name in ORDERING_CRITERIA
            if name in outcomes_by_criterion
        ]
        ids: list[str] = []
        for part in (
            pool & ~excluded_bits & ~uncertain_bits,
            pool & uncertain_bits & ~excluded_bits,
            pool & excluded_bits,
        ):
            for equal_bits in _in_order(part, levels):
                ids += shelf.first_ids(equal_bits, size - len(ids))
                if len(ids) >= size:
                    return ids
        return ids

    def _entry_of(self, candidate: Candidate, now: datetime) -> _Entry:
        groups: dict[str, list[str]] = {}
        for code in sorted(candidate.need_codes):
            groups.setdefault(code.partition(".")[0], []).append(code)
        statements = [
            (name, rule.read_statement(candidate, now))
            for name, rule in CRITERIA.items()
            if name != "need"
        ]
        statements += [
            ("country", candidate.country),
            ("shelter", candidate.shelter),
            ("department", candidate.department),
        ]
        if candidate.need_codes not in self._needs:
            self._needs[candidate.need_codes] = {
                group: tuple(
                    map(
                        self._number,
                        [
                            ("need", tuple(codes)),
                            ("group", group),
                            *(("code", code) for code in codes),
                        ],
                    )
                )
                for group, codes in groups.items()
            }
        numbers = tuple(map(self._number, statements))
        return _Entry(
            (candidate.name_key, candidate.service_id),
            candidate.organization_id,
            self._shared_numbers.setdefault(numbers, numbers),
            self._needs[candidate.need_codes],
            (),
            candidate.times,
            candidate.times.unchanged_until(now),
        )

    def _aged_statements(self, entry: _Entry, now: datetime) -> tuple[int, ...]:
        statements: dict[str, Any] = dict(self._statements[number] for number in entry.statements)
        statements |= {
            "room": statements["room"]._replace(age=entry.times.age(now)),
            "freshness": entry.times.freshness(now),
        }
        return tuple(map(self._number, statements.items()))

    def _put_or_remove(self, id: str, entry: _Entry | None, flips: Flips) -> None:
        former_entry = self._entries.pop(id, None)
        if former_entry is not None:
            self._ids_by_organization[former_entry.organization_id].discard(id)
            for group, slot in former_entry.slot_by_group.items():
                for statement in (*former_entry.statements, *former_entry.needs[group]):
                    flips[group][statement].append(slot)
                if entry is None or group not in entry.needs:
                    self._shelves[group].clear(slot)
        if entry is None:
            return
        former_slots = former_entry.slot_by_group if former_entry else {}
        entry = replace(
            entry,
            slots=tuple(
                self._shelves[group].put(entry.name, former_slots.get(group))
                for group in entry.needs
            ),
        )
        for group, slot in entry.slot_by_group.items():
            for statement in (*entry.statements, *entry.needs[group]):
                flips[group][statement].append(slot)
        self._ids_by_organization[entry.organization_id].add(id)
        self._store(id, entry)

    def _store(self, id: str, entry: _Entry) -> None:
        self._entries[id] = entry
        if entry.valid_until is not None:
            heapq.heappush(self._ends, (entry.valid_until, id))

    def _number(self, statement: Statement) -> int:
        """Returns the number of a statement.

        Thousands of services share the same few statements.
        """
        if statement not in self._numbers:
            self._numbers[statement] = len(self._statements)
            self._statements.append(statement)
        return self._numbers[statement]

    def _flip(self, flips: Flips) -> None:
        for group, slots_by_statement in flips.items():
            for statement, slots in slots_by_statement.items():
                self._shelves[group].flip(self._statements[statement], slots)


def _slots(bits: int) -> Iterator[int]:
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def bits_of(slots: Iterable[int | None]) -> int:
    """Returns the integer in which these bits are set; a bit that is listed twice is not set."""
    values = [slot for slot in slots if slot is not None]
    bits = bytearray(max(values, default=0) // 8 + 1)
    for slot in values:
        bits[slot >> 3] ^= 1 << (slot & 7)
    return int.from_bytes(bits, "little")


def _union(numbers: Iterable[int]) -> int:
    union = 0
    for bits in numbers:
        union |= bits
    return union


def _in_order(bits: int, levels: list[list[int]]) -> Iterator[int]:
    """Yields the bits of services of equal rank, best rank first."""
    if not bits:
        return
    if not levels:
        yield bits
        return
    for level in levels[0]:
        yield from _in_order(bits & level, levels[1:])
