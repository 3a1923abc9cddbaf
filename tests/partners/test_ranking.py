"""Candidates for a need are ranked together, as judging each one separately would rank them."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from services.partners.directory.domain.location import Accessibility
from services.partners.directory.domain.matching import Candidate, Question, match
from services.partners.directory.domain.ranking import Ranking
from services.partners.directory.domain.service import Capacity, Eligibility, Gender, Intake
from tests.partners.scene import Scene

NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)
CODES = [
    "HOU",
    "HOU.EMG",
    "HOU.SAFE",
    "HOU.TRANS",
    "MED",
    "MED.PRI",
    "MED.DENT",
    "LEG.INF",
    "PSS.CNS",
    "PSS",
]
PLACES = ["", "NI-CI", "NI-MN", "NI-LE", "NI-RI"]


class Chance(random.Random):
    """Random directories and questions from one seed."""

    def time(self, days: float) -> datetime | None:
        return self.choice([None, *(NOW - timedelta(days=self.random() * days) for _ in range(4))])

    def candidate(self, id: str) -> Candidate:
        return Candidate(
            id,
            self.choice("abc") + str(self.randrange(9)),
            tuple(self.sample(CODES, self.randint(1, 4))),
            self.choice(PLACES),
            tuple(self.sample(["es", "es-NI", "en", "miq", "x-lsn"], self.randint(0, 3))),
            Eligibility(
                self.choice([None, 0, 12, 18]),
                self.choice([None, 99, 60, 17]),
                tuple(self.sample(list(Gender), self.randint(0, 5))),
                self.choice([None, True, False]),
                self.choice([None, 0, 1, 2, 5]),
                self.choice([None, True, False]),
                self.choice([None, True, False]),
                self.choice([None, True, False]),
                self.choice([None, 0, 11, 17]),
            ),
            Capacity(
                self.choice([None, *Intake]),
                self.choice([None, 0, 1, 2, 3, 80]),
                None,
                self.choice(["", "beds", "places"]),
                self.time(10),
                self.choice([None, None, NOW]),
            ),
            self.time(250),
            f"o{self.randrange(9)}",
            self.choice(["NI", "NI", "CR"]),
            self.random() < 0.2,
            tuple(self.sample(["NI", "NI-CI", "NI-LE.nagarote", "CR-SJ"], self.randint(0, 2))),
            tuple(self.sample(list(Accessibility), self.randint(0, 3))),
            self.choice([0, 0, 3, 20]),
            self.choice([0, 0, 3, 20]),
        )

    def question(self) -> Question:
        return Question(
            self.choice(CODES),
            self.choice(["", "NI"]),
            self.choice(PLACES),
            self.choice([None, 3, 16, 24, 70]),
            self.choice([None, *Gender]),
            self.choice([None, 0, 1, 3, 50]),
            self.choice(["", "es", "en-US", "x-lsn"]),
            tuple(f"o{self.randrange(9)}" for _ in range(self.randint(0, 3))),
            excluded_areas=tuple(self.sample(PLACES, self.randint(0, 2))),
            pregnant=self.random() < 0.3,
            with_addiction=self.random() < 0.3,
            without_papers=self.random() < 0.3,
            oldest_boy_age=self.choice([None, None, 3, 15]),
            accessibility=tuple(self.sample(list(Accessibility), self.choice([0, 0, 1, 2]))),
        )


def one_by_one(
    question: Question, candidates: list[Candidate], now: datetime, *, sees_shelters: bool
) -> list[str]:
    """Returns the order of candidates when the pure function judges each by itself."""

    def is_eligible(candidate: Candidate) -> bool:
        group = question.need_code.partition(".")[0]
        meets = {question.need_code, group} & set(candidate.need_codes) or (
            question.need_code == group
            and any(code.startswith(f"{group}.") for code in candidate.need_codes)
        )
        is_excluded = candidate.organization_id in question.excluded_organization_ids or (
            candidate.department and candidate.department in question.excluded_areas
        )
        return (
            bool(meets)
            and not is_excluded
            and (not question.country or candidate.country == question.country)
            and (sees_shelters or not candidate.shelter)
        )

    return [
        matched.candidate.service_id
        for matched in match(question, filter(is_eligible, candidates), now)
    ]


@pytest.mark.parametrize("seed", range(12))
def test_the_ranking_always_matches_judging_each_candidate_separately(seed: int) -> None:
    chance, ranking, now = Chance(seed), Ranking(), NOW
    directory = {
        f"s{number}": chance.candidate(f"s{number}")
        for number in range(chance.choice([1, 8, 60, 200]))
    }
    ranking.put(directory.values(), now)
    for _ in range(40):
        for id in chance.sample(sorted(directory), min(len(directory), 3)):
            if chance.random() < 0.2:
                del directory[id]
                ranking.drop([id, "never there"])
            else:
                directory[id] = chance.candidate(id)
                ranking.put([directory[id]], now)
        now += timedelta(hours=chance.choice([0, 1, 24, 24 * 40]))
        ranking.advance(now)
        question = chance.question()
        sees_shelters = chance.random() < 0.5
        size = chance.choice([1, 5, 100])
        expected = one_by_one(question, list(directory.values()), now, sees_shelters=sees_shelters)
        assert ranking.best(question, size, sees_shelters=sees_shelters) == expected[:size]
    assert len(ranking) == len(directory)


def test_a_figure_is_fresh_to_its_last_moment_and_stale_after_it() -> None:
    ranking, question = Ranking(), Question("MED.PRI")
    any_candidate = Chance(1).candidate("")
    for id, stated_time in (("a", NOW), ("b", NOW + timedelta(microseconds=1))):
        room = Capacity(Intake.OPEN, 3, None, "places", stated_time)
        ranking.put(
            [Candidate(id, id, ("MED.PRI",), "", ("es",), any_candidate.eligibility, room, NOW)],
            NOW,
        )
    for later, order in (
        (timedelta(days=7), ["a", "b"]),
        (timedelta(days=7, microseconds=1), ["b", "a"]),
    ):
        ranking.advance(NOW + later)
        assert ranking.best(question, 9, sees_shelters=True) == order


def test_the_best_of_very_many_services_is_found_whatever_its_position(scene: Scene) -> None:
    for number in range(230):
        scene.service(scene.coalition, f"Casa {number:03}", "MED.PRI", room=None)
    scene.service(
        scene.coalition, "Última", "MED.PRI", eligibility=Eligibility(0, 99, tuple(Gender), True, 5)
    )

    def ranked_names(**fields: int) -> list[str]:
        answer = scene.coordinator.MatchServices(
            need_code="MED.PRI",
            country="NI",
            **fields,
        )
        return [match.service.name for match in answer.matches]

    assert ranked_names(limit=1, age=24, dependants=0) == ["Última"]
    assert len(ranked_names(limit=100)) == 100
