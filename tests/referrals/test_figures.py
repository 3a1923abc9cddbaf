"""Public figures reveal no count from one to nine.

The attacker of these tests asks every possible question, and knows the rule.
"""

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
# Realistic people: each was helped in one to four cells, in one quarter or more.
people = st.lists(st.frozensets(st.sampled_from(CELLS[:8]), min_size=1, max_size=4), max_size=60)


def all_answers(cell_counts: Counts) -> list[Answer]:
    """Returns the answer to every possible question.

    The page, the spreadsheet file, the arcs and REST are made of these answers only.
    """
    published_counts = published_cells(cell_counts)
    return [answer(published_counts, UNTIL, question) for question in QUESTIONS]


def small_cells(cell_counts: Counts) -> list[Cell]:
    return [cell for cell, count in cell_counts.items() if 0 < count < SMALLEST]


def numbers(answer_: Answer) -> Iterable[int]:
    yield answer_.total
    for table in (
        answer_.by_quarter,
        answer_.by_exploitation_country,
        answer_.by_country,
        answer_.by_need_group,
    ):
        yield from (count for _, count in table)
    yield from (count for _, count in answer_.routes)


def possible_counts(
    cell_counts: Counts, cell: Cell, publish: Callable[[Counts], list[Answer]] = all_answers
) -> set[int]:
    """Returns the counts that a cell may have, for a reader who knows everything else.

    This reader has all answers, and knows the rule and every other count.
    """
    answers = publish(cell_counts)
    return {count for count in range(20) if publish(cell_counts | {cell: count}) == answers}


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
    other_small_counts = {
        cell: data.draw(st.integers(0, SMALLEST - 1))
        for cell, count in cell_counts.items()
        if count < SMALLEST
    }
    assert all_answers(cell_counts | other_small_counts) == all_answers(cell_counts)


@settings(max_examples=200, deadline=None)
@given(people, st.data())
def test_changes_within_a_small_cell_do_not_change_any_answer(
    cells_by_person: list[frozenset[Cell]], data: st.DataObject
) -> None:
    """A person may have been helped in several ways.

    Then the counts of two cells depend on each other. This dependence reveals nothing.
    """
    cell_counts = Counter(cell for cells in cells_by_person for cell in cells)
    answers = all_answers(cell_counts)
    small_cell = data.draw(
        st.sampled_from([cell for cell in CELLS if cell_counts[cell] < SMALLEST])
    )
    other_cells = [cells - {small_cell} for cells in cells_by_person]
    for count in (0, 1, SMALLEST - 1):
        changed_people = other_cells + [frozenset({small_cell})] * count
        assert all_answers(Counter(cell for cells in changed_people for cell in cells)) == answers


@settings(max_examples=100, deadline=None)
@given(counts)
def test_an_answer_exceeds_a_narrower_answer_by_zero_or_at_least_ten_people(
    cell_counts: Counts,
) -> None:
    published_counts = published_cells(cell_counts)
    totals = {
        tuple(vars(question).values()): max(answer(published_counts, UNTIL, question).total, 0)
        for question in QUESTIONS
    }
    for wide_question, narrow_question in product(totals, totals):
        if all(
            part.startswith(prefix)
            for part, prefix in zip(narrow_question, wide_question, strict=True)
        ):
            difference = totals[wide_question] - totals[narrow_question]
            assert difference == 0 or difference >= SMALLEST


@settings(max_examples=40, deadline=None)
@given(counts, st.data())
def test_a_member_that_knows_its_own_people_cannot_compute_the_counts_of_others(
    cell_counts: Counts, data: st.DataObject
) -> None:
    """A dishonest member knows its own people in every cell."""
    own_counts = {cell: data.draw(st.integers(0, count)) for cell, count in cell_counts.items()}
    unknown_cells = [cell for cell in CELLS if 0 < cell_counts[cell] - own_counts[cell] < SMALLEST]
    for cell in data.draw(st.permutations(unknown_cells))[:2]:
        possible_totals = {
            count for count in possible_counts(cell_counts, cell) if count >= own_counts[cell]
        }
        assert len(possible_totals) > 1


@settings(max_examples=100, deadline=None)
@given(counts)
def test_every_number_is_few_or_a_multiple_of_five_from_ten_on_and_never_too_high(
    cell_counts: Counts,
) -> None:
    for question, answer_ in zip(QUESTIONS, all_answers(cell_counts), strict=True):
        assert all(
            number == FEW or (number >= SMALLEST and number % STEP == 0)
            for number in numbers(answer_)
        )
        assert answer_.total <= sum(
            count for cell, count in cell_counts.items() if question.covers(cell)
        )
        tables = [
            answer_.by_quarter,
            answer_.by_exploitation_country,
            answer_.by_country,
            answer_.by_need_group,
            answer_.routes,
        ]
        assert {sum(max(count, 0) for _, count in table) for table in tables} == {  # type: ignore[attr-defined]
            max(answer_.total, 0)
        }


def test_the_attacker_finds_a_small_count_in_conventional_tables() -> None:
    """Conventional tables publish the total of all people and omit small cells.

    The same attacker computes an omitted count by one subtraction.
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
    empty_answer = answer(cells, UNTIL, Question("2031"))
    assert (empty_answer.total, empty_answer.by_quarter, empty_answer.routes) == (FEW, [], [])
    assert answer({}, UNTIL, Question()).by_quarter == [(UNTIL, FEW)]


def test_equal_sums_are_listed_by_name() -> None:
    answer_ = answer(
        {Cell(UNTIL, "SV", "NI", "MED"): 10, Cell(UNTIL, "HN", "GT", "HOU"): 10}, UNTIL, Question()
    )
    assert (
        answer_.by_exploitation_country,
        answer_.by_country,
        answer_.by_need_group,
        answer_.routes,
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
    ("now", "last_quarter"),
    [
        ("2026-01-01", "2025-Q3"),
        ("2026-01-07", "2025-Q3"),
        ("2026-01-08", "2025-Q4"),
        ("2026-04-08", "2026-Q1"),
        ("2026-11-26", "2026-Q3"),
    ],
)
def test_a_quarter_is_counted_a_week_after_its_end(now: str, last_quarter: str) -> None:
    assert last_settled_quarter(datetime.fromisoformat(now).replace(tzinfo=UTC)) == last_quarter
    assert quarter_of(end_of(last_quarter)) > last_quarter
    assert quarter_of(end_of(last_quarter) - timedelta(microseconds=1)) == last_quarter


@pytest.mark.parametrize(
    ("now", "start"),
    [
        ("00:00", "00:00"),
        ("05:59", "00:00"),
        ("06:00", "06:00"),
        ("18:00", "18:00"),
        ("23:59", "18:00"),
    ],
)
def test_a_count_that_can_always_be_read_changes_every_six_hours(now: str, start: str) -> None:
    moment = datetime.fromisoformat(f"2026-03-04T{now}:59.999999+00:00")
    assert time_step_of(moment) == datetime.fromisoformat(f"2026-03-04T{start}:00+00:00")


@pytest.mark.parametrize(("count", "published"), [(0, FEW), (9, FEW), (10, 10), (14, 10), (15, 15)])
def test_a_count_below_ten_is_not_published_and_a_larger_count_is_rounded_down(
    count: int, published: int
) -> None:
    assert published_count(count) == published


@pytest.mark.parametrize(("count", "bound"), [(0, 0), (1, 5), (5, 5), (6, 10), (10, 10)])
def test_an_upper_bound_is_a_multiple_of_five(count: int, bound: int) -> None:
    assert round_up(count) == bound
