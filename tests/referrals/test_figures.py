"""Public figures reveal no count from one to nine.

The attacker of these tests asks every possible question, and knows the rule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.errors import Invalid
from services.referrals.network.domain.counts import (
    FEW,
    SMALLEST,
    STEP,
    published_count,
    round_up,
    time_step_of,
)
from services.referrals.referrals.domain.figures import (
    Answer,
    Cell,
    Question,
    answer,
    end_of,
    last_settled_quarter,
    published_cells,
    quarter_of,
)

QUARTERS = ("2025-Q4", "2026-Q2")
COUNTRIES = ("NI", "HN", "SV")
NEEDS = ("HOU", "MED")
UNTIL = "2026-Q2"
ROUTES = (("NI", "SV"), ("HN", "SV"), ("SV", "NI"))
CELLS = [Cell(quarter, *route, need) for quarter, route, need in product(QUARTERS, ROUTES, NEEDS)]
PERIODS = ("", "2025", "2026", *QUARTERS)
QUESTIONS = [Question(*parts) for parts in product(PERIODS, ("", *COUNTRIES), ("", *NEEDS))]
Counts = dict[Cell, int]

# Counts around the limit, where an attacker might learn something.
counts = st.fixed_dictionaries(
    dict.fromkeys(CELLS, st.one_of(st.just(0), st.integers(0, 9), st.integers(9, 16)))
)
# Realistic people: each was helped several times, in one quarter or more.
people = st.lists(st.frozensets(st.sampled_from(CELLS[:8]), min_size=1, max_size=4), max_size=60)


def all_answers(cell_counts: Counts) -> list[Answer]:
    """Returns the answer to every possible question.

    The page, the spreadsheet file, the arcs and REST are made of these answers only.
    """
    stored = published_cells(cell_counts)
    return [answer(stored, UNTIL, question) for question in QUESTIONS]


def small_cells(cell_counts: Counts) -> list[Cell]:
    return [cell for cell, count in cell_counts.items() if 0 < count < SMALLEST]


def numbers(published: Answer) -> Iterable[int]:
    yield published.total
    for table in (
        published.by_quarter,
        published.by_exploitation_country,
        published.by_country,
        published.by_need_group,
    ):
        yield from (count for _, count in table)
    yield from (count for _, count in published.routes)


def possible_counts(
    cell_counts: Counts, cell: Cell, publish: Callable[[Counts], list[Answer]] = all_answers
) -> set[int]:
    """Returns the counts that a cell may have, for a reader who knows everything else.

    This reader has all answers, and knows the rule and every other count.
    """
    published = publish(cell_counts)
    return {count for count in range(20) if publish(cell_counts | {cell: count}) == published}


@settings(max_examples=40, deadline=None)
@given(counts, st.data())
def test_a_count_below_ten_stays_unknown_to_a_reader_who_knows_all_other_counts(
    cell_counts: Counts, data: st.DataObject
) -> None:
    for cell in data.draw(st.permutations(small_cells(cell_counts)))[:2]:
        assert possible_counts(cell_counts, cell) == set(range(SMALLEST))


@settings(max_examples=200, deadline=None)
@given(counts, st.data())
def test_all_small_counts_together_stay_unknown(cell_counts: Counts, data: st.DataObject) -> None:
    others = {
        cell: data.draw(st.integers(0, SMALLEST - 1))
        for cell, count in cell_counts.items()
        if count < SMALLEST
    }
    assert all_answers(cell_counts | others) == all_answers(cell_counts)


@settings(max_examples=200, deadline=None)
@given(people, st.data())
def test_changes_within_a_small_cell_do_not_change_any_answer(
    helped: list[frozenset[Cell]], data: st.DataObject
) -> None:
    """A person may have been helped in several ways.

    Then the counts of two cells depend on each other, which reveals nothing either.
    """
    counted = Counter(cell for helps in helped for cell in helps)
    published = all_answers(counted)
    hidden = data.draw(st.sampled_from([cell for cell in CELLS if counted[cell] < SMALLEST]))
    without = [helps - {hidden} for helps in helped]
    for count in (0, 1, SMALLEST - 1):
        changed = without + [frozenset({hidden})] * count
        assert all_answers(Counter(cell for helps in changed for cell in helps)) == published


@settings(max_examples=100, deadline=None)
@given(counts)
def test_an_answer_exceeds_a_narrower_one_by_none_or_by_at_least_ten_people(
    cell_counts: Counts,
) -> None:
    stored = published_cells(cell_counts)
    total = {
        tuple(vars(question).values()): max(answer(stored, UNTIL, question).total, 0)
        for question in QUESTIONS
    }
    for wide, narrow in product(total, total):
        if all(part.startswith(prefix) for part, prefix in zip(narrow, wide, strict=True)):
            difference = total[wide] - total[narrow]
            assert difference == 0 or difference >= SMALLEST


@settings(max_examples=40, deadline=None)
@given(counts, st.data())
def test_a_member_that_knows_its_own_people_cannot_compute_the_counts_of_others(
    cell_counts: Counts, data: st.DataObject
) -> None:
    """A dishonest member knows its own people in every cell."""
    own = {cell: data.draw(st.integers(0, count)) for cell, count in cell_counts.items()}
    rest = [cell for cell in CELLS if 0 < cell_counts[cell] - own[cell] < SMALLEST]
    for cell in data.draw(st.permutations(rest))[:2]:
        possible = {count for count in possible_counts(cell_counts, cell) if count >= own[cell]}
        assert len(possible) > 1


@settings(max_examples=100, deadline=None)
@given(counts)
def test_every_number_is_few_or_a_multiple_of_five_from_ten_on_and_never_too_high(
    cell_counts: Counts,
) -> None:
    for question, published in zip(QUESTIONS, all_answers(cell_counts), strict=True):
        assert all(
            number == FEW or (number >= SMALLEST and number % STEP == 0)
            for number in numbers(published)
        )
        assert published.total <= sum(
            count for cell, count in cell_counts.items() if question.covers(cell)
        )
        tables = [
            published.by_quarter,
            published.by_exploitation_country,
            published.by_country,
            published.by_need_group,
            published.routes,
        ]
        assert {sum(max(count, 0) for _, count in table) for table in tables} == {  # type: ignore[attr-defined]
            max(published.total, 0)
        }


def test_the_attacker_finds_a_small_count_in_conventional_tables() -> None:
    """Conventional tables publish the total of all people and omit small cells.

    The same attacker needs one subtraction.
    """
    cell_counts = dict.fromkeys(CELLS, 0) | {CELLS[0]: 20, CELLS[1]: 7}

    def conventional(cell_counts: Counts) -> list[Answer]:
        total = {Cell(UNTIL, "NI", "SV", "HOU"): sum(cell_counts.values())}
        return [answer(total, UNTIL, Question()), *all_answers(cell_counts)]

    assert possible_counts(cell_counts, CELLS[1], conventional) == {7}
    assert possible_counts(cell_counts, CELLS[1]) == set(range(SMALLEST))


def test_a_narrower_question_is_answered_from_the_same_cells() -> None:
    cells = {
        Cell("2025-Q4", "NI", "SV", "HOU"): 20,
        Cell("2026-Q2", "NI", "SV", "HOU"): 10,
        Cell("2026-Q2", "NI", "SV", "MED"): 15,
        Cell("2026-Q2", "HN", "NI", "MED"): 25,
    }
    choices = {
        "years": ["2025", "2026"],
        "countries": ["HN", "NI", "SV"],
        "need_groups": ["HOU", "MED"],
    }
    assert vars(answer(cells, UNTIL, Question())) == choices | {
        "total": 70,
        "by_quarter": [("2025-Q4", 20), ("2026-Q1", FEW), ("2026-Q2", 50)],
        "routes": [(("NI", "SV"), 45), (("HN", "NI"), 25)],
        "by_exploitation_country": [("NI", 45), ("HN", 25)],
        "by_country": [("SV", 45), ("NI", 25)],
        "by_need_group": [("MED", 40), ("HOU", 30)],
    }
    assert vars(answer(cells, UNTIL, Question("2026", "HN", "MED"))) == choices | {
        "total": 25,
        "by_quarter": [("2026-Q1", FEW), ("2026-Q2", 25)],
        "routes": [(("HN", "NI"), 25)],
        "by_exploitation_country": [("HN", 25)],
        "by_country": [("NI", 25)],
        "by_need_group": [("MED", 25)],
    }
    nothing = answer(cells, UNTIL, Question("2031"))
    assert (nothing.total, nothing.by_quarter, nothing.routes) == (FEW, [], [])
    assert answer({}, UNTIL, Question()).by_quarter == [(UNTIL, FEW)]


def test_equal_sums_are_listed_by_name() -> None:
    published = answer(
        {Cell(UNTIL, "SV", "NI", "MED"): 10, Cell(UNTIL, "HN", "GT", "HOU"): 10}, UNTIL, Question()
    )
    assert (
        published.by_exploitation_country,
        published.by_country,
        published.by_need_group,
        published.routes,
    ) == (
        [("HN", 10), ("SV", 10)],
        [("GT", 10), ("NI", 10)],
        [("HOU", 10), ("MED", 10)],
        [(("HN", "GT"), 10), (("SV", "NI"), 10)],
    )


@pytest.mark.parametrize("question", [Question(need_group="HOU.EMG"), Question(need_group="XXX")])
def test_an_impossible_question_is_refused(question: Question) -> None:
    with pytest.raises(Invalid):
        question.check()


@pytest.mark.parametrize(
    ("now", "last"),
    [
        ("2026-01-01", "2025-Q3"),
        ("2026-01-07", "2025-Q3"),
        ("2026-01-08", "2025-Q4"),
        ("2026-04-08", "2026-Q1"),
        ("2026-11-26", "2026-Q3"),
    ],
)
def test_a_quarter_is_counted_a_week_after_its_end(now: str, last: str) -> None:
    assert last_settled_quarter(datetime.fromisoformat(now).replace(tzinfo=UTC)) == last
    assert quarter_of(end_of(last)) > last
    assert quarter_of(end_of(last) - timedelta(microseconds=1)) == last


@pytest.mark.parametrize(
    ("now", "start"),
    [("00:00", "00:00"), ("05:59", "00:00"), ("06:00", "06:00"), ("18:00", "18:00"),
     ("23:59", "18:00")],
)  # fmt: skip
def test_a_count_that_can_always_be_read_changes_every_six_hours(now: str, start: str) -> None:
    moment = datetime.fromisoformat(f"2026-03-04T{now}:59.999999+00:00")
    assert time_step_of(moment) == datetime.fromisoformat(f"2026-03-04T{start}:00+00:00")


@pytest.mark.parametrize(("count", "published"), [(0, FEW), (9, FEW), (10, 10), (14, 10), (15, 15)])
def test_a_count_below_ten_is_not_published_and_another_is_rounded_down(
    count: int, published: int
) -> None:
    assert published_count(count) == published


@pytest.mark.parametrize(("count", "bound"), [(0, 0), (1, 5), (5, 5), (6, 10), (10, 10)])
def test_an_upper_bound_is_a_multiple_of_five(count: int, bound: int) -> None:
    assert round_up(count) == bound
