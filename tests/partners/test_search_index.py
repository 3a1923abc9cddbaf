"""The bitmaps of a search.

After any additions, changes and deletions, the hits, their order and their pages are the same as if
each service were checked by itself.
"""

import random
from dataclasses import dataclass, replace

import pytest
from pyroaring import BitMap

from services.partners.directory.store import search_index
from services.partners.directory.store.search_index import WEIGHTS, Entry, Hit, SearchIndex
from services.partners.directory.store.words import Lexeme, Word

WORDS = [
    "casa",
    "casaca",
    "luna",
    "lunes",
    "d'arc",
    "a\\b",
    "so\u00a0l",
]  # some databases treat a no-break space as a letter


@dataclass(frozen=True)
class RandomService:
    """A service; `entry` has its words in the notation of the database."""

    id: str
    name: str
    country: str
    age: int
    words: tuple[tuple[str, str], ...]

    def entry(self) -> Entry:
        tokens = []
        for position, (word, weights) in enumerate(self.words):
            text = word.replace("\\", "\\\\").replace("'", "''")
            positions = ",".join(
                f"{position * 9 + number}{weight if weight != 'D' else ''}"
                for number, weight in enumerate(weights, 1)
            )
            # synonyms are stripped: their lexemes have no positions
            tokens.append(f"'{text}'" + (f":{positions}" if positions else ""))
        return Entry(
            self.id,
            self.name,
            frozenset([("listed", True), ("country", self.country), ("ages", self.age)]),
            " ".join(tokens),
        )

    def weights_of(self, word: Word) -> set[str]:
        """Returns the weights at which the service contains the word."""
        return {
            min(weights or "D")
            for text, weights in self.words
            if any(
                text.startswith(lexeme.text) if lexeme.is_prefix else text == lexeme.text
                for lexeme in word.lexemes
            )
        }


class Chance(random.Random):
    """Random services and words from one seed."""

    def service(self, id: str) -> RandomService:
        words = self.sample(WORDS, self.randint(0, 4))
        weights = ["".join(self.choices(WEIGHTS, k=self.randint(0, 3))) for _ in words]
        return RandomService(
            id,
            self.choice("abc") + str(self.randrange(5)),
            self.choice(["NI", "CR"]),
            self.randrange(4),
            tuple(zip(words, weights, strict=True)),
        )

    def word(self) -> Word:
        lexemes = [
            Lexeme(self.choice([*WORDS, "cas", "lun", "zzz"]), self.random() < 0.5)
            for _ in range(self.randint(1, 2))
        ]
        return Word(tuple(lexemes), is_required=True)


def page_by_page(
    index: SearchIndex, hits: BitMap, tests: list[list[BitMap]], size: int
) -> list[Hit]:
    """Returns all hits in their order, read in pages of this size."""
    hits_in_order: list[Hit] = []
    while page := index.page(hits, tests, size, hits_in_order[-1] if hits_in_order else None):
        hits_in_order += page
    return hits_in_order


@pytest.mark.parametrize("seed", range(20))
def test_hits_and_their_order_are_the_same_as_if_each_service_were_checked_alone(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_index, "_SPARE_SLOTS", 10)
    chance, index = Chance(seed), SearchIndex()
    directory = {
        f"s{number}": chance.service(f"s{number}") for number in range(chance.choice([0, 5, 40]))
    }
    index.fill(
        service.entry()
        for service in sorted(directory.values(), key=lambda service: (service.name, service.id))
    )
    for _ in range(60):
        id = f"s{chance.randrange(60)}"
        if chance.random() < 0.2:
            directory.pop(id, None)
            index.drop([id, "never there"])
        elif id in directory and chance.random() < 0.5:  # keeps its place in the order
            directory[id] = replace(
                directory[id], country=chance.choice(["NI", "CR"]), age=chance.randrange(4)
            )
            index.put([directory[id].entry()])
        else:  # puts its present state, or its former and its present state together
            entries = [chance.service(id) for _ in range(chance.randint(1, 2))]
            entries += [
                replace(entries[-1], country=chance.choice(["NI", "CR"]))
                for _ in range(chance.randint(0, 1))
            ]
            directory[id] = entries[-1]
            index.put(
                [
                    service.entry()
                    for service in (*entries, directory.setdefault("s0", chance.service("s0")))
                ]
            )
        assert len(index) == len(directory)
        words = [chance.word() for _ in range(chance.randint(0, 3))]
        minimum_age = chance.randrange(4)
        country = chance.choice(["NI", "CR"])
        slot_sets = [index.slots_containing(word) for word in words]
        hits = index.slots_with("country", country) & index.slots_matching(
            "ages",
            lambda age, minimum_age=minimum_age: age >= minimum_age,  # type: ignore[misc]
        )
        for sets_by_weight in slot_sets:
            hits &= BitMap.union(*sets_by_weight)
        expected = [
            service
            for service in directory.values()
            if service.country == country
            and service.age >= minimum_age
            and all(service.weights_of(word) for word in words)
        ]

        def rank(service: RandomService, words: list[Word] = words) -> tuple[object, ...]:
            return (
                *(
                    -sum(weight in service.weights_of(word) for word in words)
                    for weight in WEIGHTS[:3]
                ),
                service.name,
                service.id,
            )

        tests = [[sets_by_weight[number] for sets_by_weight in slot_sets] for number in range(3)]
        assert [id for _, _, id in page_by_page(index, hits, tests, chance.choice([1, 3, 50]))] == [
            service.id for service in sorted(expected, key=rank)
        ]
        assert index.count("country", index.slots_of(directory)) == {
            code: number
            for code in ("NI", "CR")
            if (number := sum(service.country == code for service in directory.values()))
        }


def test_an_index_with_too_many_later_additions_reports_that_it_should_be_rebuilt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search_index, "_SPARE_SLOTS", 2)
    index, service = SearchIndex(), replace(Chance(1).service("a"), name="a")
    index.fill([service.entry()])
    for number in range(3):
        assert not index.is_outgrown
        index.put([replace(service, name=f"b{number}").entry()])
        index.put([replace(service, name=f"b{number}", age=number + 10).entry()])
    assert index.is_outgrown
    assert len(index) == 1
