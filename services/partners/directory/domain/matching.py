"""Matches services with the coarse attributes of a person.

One pure function gives each service a verdict, with a reason for each criterion, and orders the
services, best first. The verdict is "ask", never "fits", if the service has not stated what the
criterion compares, or if it limits an attribute and the person's attribute is not known. The
verdict is "does not fit" only if the service itself excludes the person. Exceptions: area and room
can fit even if the person's department or number of dependants is not known, and a person without
dependants fits even if the service has not stated how many dependants it takes. Limitation:
services are ranked by what they entered, which may differ from what they do.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any, NamedTuple

from services.partners.directory.domain.location import Accessibility
from services.partners.directory.domain.service import (
    ANY_AGE,
    Capacity,
    Eligibility,
    Gender,
    Intake,
    figure_validity,
)
from services.partners.directory.domain.taxonomy import Taxonomy
from services.partners.directory.domain.truth import rank
from services.partners.network.domain.check import Check

CONFIRMATION_INTERVAL = timedelta(days=183)  # each entry should be confirmed every six months
MAX_COMPANIONS = 50  # the maximum number of accompanying people in a request
ORDERING_CRITERIA = ("room", "freshness", "truth", "area", "language", "need")
"""The criteria that order services of the same verdict, the most important first."""
HIDDEN_CRITERIA = ("truth",)
"""The criteria that affect the order but are not shown as reasons.

Only the service's own organisation, coordinators and auditors may see how often the service really
had the room that it had stated.
"""


class FigureAge(IntEnum):
    """The age classes of a room figure: how far the figure can be relied on."""

    FRESH = 1
    OLD = 2
    NONE = 3


class Verdict(IntEnum):
    """The verdicts from best to worst; a service's verdict is the worst of its reasons."""

    FITS = 1
    ASK = 2
    DOES_NOT_FIT = 3


@dataclass(frozen=True)
class Reason:
    """A criterion with its outcome.

    `rank` orders services of the same verdict; a smaller rank is better.
    """

    criterion: str
    verdict: Verdict
    code: str
    rank: int = 0


@dataclass(frozen=True)
class Question:
    """The need and the coarse attributes of a person, and what to leave out.

    None, and an empty country or department, mean "not known"; without an `oldest_boy_age`, no boys
    are considered. An empty language or accessibility means that the person needs none.
    """

    need_code: str
    country: str = ""
    department: str = ""
    age: int | None = None
    gender: Gender | None = None
    dependants: int | None = None
    language: str = ""
    excluded_organization_ids: tuple[str, ...] = ()
    excluded_areas: tuple[str, ...] = ()
    pregnant: bool = False
    with_addiction: bool = False
    without_papers: bool = False
    oldest_boy_age: int | None = None
    accessibility: tuple[Accessibility, ...] = ()

    def check(self, taxonomy: Taxonomy) -> None:
        """Raises Invalid if an attribute is wrong."""
        check = Check()
        if not taxonomy.knows(self.need_code):
            check.refuse("need_code", "unknown_code")
        check.department("department", self.department, self.country)
        check.distinct("accessibility", self.accessibility)
        check.done()


@dataclass(frozen=True)
class Candidate:
    """The data about a service that matching looks at."""

    service_id: str
    name_key: str
    need_codes: tuple[str, ...]
    department: str
    languages: tuple[str, ...]
    eligibility: Eligibility
    capacity: Capacity
    assured_time: datetime | None
    organization_id: str = ""
    country: str = ""
    shelter: bool = False
    area_codes: tuple[str, ...] = ()
    accessibility: tuple[Accessibility, ...] = ()
    promises_kept: int = 0
    promises_broken: int = 0

    @property
    def times(self) -> "StatementTimes":
        """Returns when the service made its statements."""
        return StatementTimes(
            self.capacity.update_time, figure_validity(self.need_codes), self.assured_time
        )


@dataclass(frozen=True, slots=True)
class StatementTimes:
    """The times at which a service made its statements.

    `figure_time`: when the service stated the figure about its room; `validity`: how long this
    figure can be relied on; `assured_time`: when the entry was last confirmed.
    """

    figure_time: datetime | None
    validity: timedelta
    assured_time: datetime | None

    def age(self, now: datetime) -> FigureAge:
        """Returns the age class of the figure."""
        if self.figure_time is None:
            return FigureAge.NONE
        return FigureAge.OLD if now - self.figure_time > self.validity else FigureAge.FRESH

    def freshness(self, now: datetime) -> tuple[FigureAge, bool]:
        """Returns the figure's age class, and whether the entry was confirmed within six months."""
        return self.age(
            now
        ), self.assured_time is not None and now - self.assured_time <= CONFIRMATION_INTERVAL

    def unchanged_until(self, now: datetime) -> datetime | None:
        """Returns until when `freshness` gives the same result as now; None: for ever."""
        ends = [
            self.figure_time + self.validity if self.figure_time else None,
            self.assured_time + CONFIRMATION_INTERVAL if self.assured_time else None,
        ]
        return min((end for end in ends if end is not None and end >= now), default=None)


@dataclass(frozen=True)
class Match:
    """A service with its verdict."""

    candidate: Candidate
    reasons: tuple[Reason, ...]
    hidden_reasons: tuple[Reason, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Returns the worst verdict of the reasons."""
        return max(reason.verdict for reason in self.reasons)


def match(question: Question, candidates: Iterable[Candidate], now: datetime) -> list[Match]:
    """Returns every candidate with its reasons, best first.

    The order is by verdict, room, freshness, kept promises, area, language, need, then by name.
    """
    matches = (
        Match(
            candidate,
            _reasons(criteria(question), question, candidate, now),
            _reasons(HIDDEN_CRITERIA, question, candidate, now),
        )
        for candidate in candidates
    )
    return sorted(matches, key=_order)


def criteria(question: Question) -> list[str]:
    """Returns the criteria that are judged, in the order in which they are shown."""
    is_judged = {
        "language": bool(question.language),
        "pregnancy": question.pregnant,
        "addiction": question.with_addiction,
        "papers": question.without_papers,
        "boys": question.oldest_boy_age is not None,
        "accessibility": bool(question.accessibility),
    }
    return [name for name in CRITERIA if is_judged.get(name, True) and name not in HIDDEN_CRITERIA]


def _reasons(
    names: Iterable[str], question: Question, candidate: Candidate, now: datetime
) -> tuple[Reason, ...]:
    return tuple(
        CRITERIA[name].judge(question, CRITERIA[name].read_statement(candidate, now))
        for name in names
    )


def _order(match: Match) -> tuple[object, ...]:
    ranks = {
        reason.criterion: (reason.verdict, reason.rank)
        for reason in (*match.reasons, *match.hidden_reasons)
    }
    ordering_ranks = [ranks[criterion] for criterion in ORDERING_CRITERIA if criterion in ranks]
    return match.verdict, ordering_ranks, match.candidate.name_key, match.candidate.service_id


def _need(need: str, offered_codes: tuple[str, ...]) -> Reason:
    if need in offered_codes:
        return Reason("need", Verdict.FITS, "need_offered")
    if any(code.startswith(f"{need}.") for code in offered_codes):
        return Reason("need", Verdict.FITS, "need_offered_in_part", 1)
    # the service states "medical care", but not which kind
    return Reason("need", Verdict.ASK, "need_group_only")


def _age(age: int | None, statement: tuple[int | None, int | None]) -> Reason:
    low, high = statement
    if age is not None and low is not None and age < low:
        return Reason("age", Verdict.DOES_NOT_FIT, "age_too_low")
    if age is not None and high is not None and age > high:
        return Reason("age", Verdict.DOES_NOT_FIT, "age_too_high")
    if low is None or high is None:
        return Reason("age", Verdict.ASK, "age_not_stated")
    if age is None and (low > 0 or high < ANY_AGE):
        return Reason("age", Verdict.ASK, "age_unknown")
    return Reason("age", Verdict.FITS, "age_in_range")


def _gender(gender: Gender | None, served_genders: tuple[Gender, ...]) -> Reason:
    if not served_genders:
        return Reason("gender", Verdict.ASK, "gender_not_stated")
    if set(served_genders) == set(Gender) or gender in served_genders:
        return Reason("gender", Verdict.FITS, "gender_served")
    if gender is None:
        return Reason("gender", Verdict.ASK, "gender_unknown")
    return Reason("gender", Verdict.DOES_NOT_FIT, "gender_not_served")


def _dependants(dependants: int | None, statement: tuple[bool | None, int | None]) -> Reason:
    accepts, maximum = statement
    maximum = 0 if accepts is False else maximum
    if dependants == 0:
        return Reason("dependants", Verdict.FITS, "dependants_none")
    if dependants is None:
        return Reason("dependants", Verdict.ASK, "dependants_unknown")
    if maximum == 0:
        return Reason("dependants", Verdict.DOES_NOT_FIT, "dependants_not_taken")
    if maximum is not None and dependants > maximum:
        return Reason("dependants", Verdict.DOES_NOT_FIT, "dependants_too_many")
    if maximum is None and accepts is None:
        return Reason("dependants", Verdict.ASK, "dependants_not_stated")
    if maximum is None:
        return Reason("dependants", Verdict.ASK, "dependants_how_many")
    return Reason("dependants", Verdict.FITS, "dependants_taken")


def _language(language: str, spoken_languages: tuple[str, ...]) -> Reason:
    if not spoken_languages:
        return Reason("language", Verdict.ASK, "language_not_stated", 1)
    if _base_language(language) in spoken_languages:
        return Reason("language", Verdict.FITS, "language_spoken")
    return Reason("language", Verdict.ASK, "language_other", 2)  # an interpreter may help


def _attribute(criterion: str, accepts: bool | None) -> Reason:
    """Judges whether a service takes people with an attribute; None means that it does not say."""
    if accepts is None:
        return Reason(criterion, Verdict.ASK, f"{criterion}_not_stated")
    return Reason(
        criterion,
        Verdict.FITS if accepts else Verdict.DOES_NOT_FIT,
        f"{criterion}_taken" if accepts else f"{criterion}_not_taken",
    )


def _boys(age: int | None, max_age: int | None) -> Reason:
    if max_age is None:
        return Reason("boys", Verdict.ASK, "boys_not_stated")
    if max_age == 0:
        return Reason("boys", Verdict.DOES_NOT_FIT, "boys_not_taken")
    if age is not None and age > max_age:
        return Reason("boys", Verdict.DOES_NOT_FIT, "boys_too_old")
    return Reason("boys", Verdict.FITS, "boys_taken")


def _accessibility(
    needed_means: tuple[Accessibility, ...], offered_means: tuple[Accessibility, ...]
) -> Reason:
    if set(needed_means) <= set(offered_means):
        return Reason("accessibility", Verdict.FITS, "accessibility_there")
    return Reason("accessibility", Verdict.ASK, "accessibility_not_stated")


def _truth(level: int) -> Reason:
    return Reason("truth", Verdict.FITS, "", level)


def _area(department: str, statement: tuple[str, tuple[str, ...]]) -> Reason:
    own_department, covered_areas = statement
    if (
        department
        and department != own_department
        and (department in covered_areas or department[:2] in covered_areas)
    ):
        return Reason("area", Verdict.FITS, "area_covered", 1)
    if not own_department:
        return Reason("area", Verdict.FITS, "whole_country", 1)
    if not department:
        return Reason("area", Verdict.FITS, "country_same", 2)
    if department == own_department:
        return Reason("area", Verdict.FITS, "department_same")
    # the person may be glad to be far away, or unable to travel
    return Reason("area", Verdict.ASK, "department_other")


class Room(NamedTuple):
    """The statement of a service about its room.

    Large figures are capped where a larger one makes no difference, so that thousands of services
    share a few values.
    """

    intake: Intake | None
    available: int | None
    beds: bool
    declined: bool
    age: FigureAge

    @classmethod
    def of(cls, figure: Capacity, age: FigureAge) -> "Room":
        """Returns the statement that a figure makes, given the figure's age class."""
        beds = figure.unit == "beds"
        available = (
            None
            if figure.available is None
            else min(figure.available, MAX_COMPANIONS + 1 if beds else 1)
        )
        return cls(figure.intake, available, beds, figure.declined_time is not None, age)


def _room(dependants: int | None, room: Room) -> Reason:
    if room.intake is Intake.CLOSED:
        return Reason("room", Verdict.DOES_NOT_FIT, "room_closed", 1)
    if room.intake is Intake.WAITLIST:
        return Reason("room", Verdict.ASK, "room_waitlist", 3)
    if room.available == 0 and room.age is FigureAge.FRESH and room.intake is not None:
        return Reason("room", Verdict.DOES_NOT_FIT, "room_none")
    if room.declined:
        # the refusal may have been for a larger family: ask
        return Reason("room", Verdict.ASK, "room_declined", 4)
    if room.intake is None or room.available is None:
        return Reason("room", Verdict.ASK, "room_not_stated", 2)
    if room.available == 0:
        return Reason("room", Verdict.ASK, "room_none", 4)  # an old "none" rules nobody out
    if room.beds and room.available < 1 + (dependants or 0):
        return Reason("room", Verdict.ASK, "room_not_for_all", 1)
    return Reason("room", Verdict.FITS, "room_free")


def _freshness(freshness: tuple[FigureAge, bool]) -> Reason:
    age, is_confirmed = freshness
    if age is FigureAge.NONE:
        return Reason("freshness", Verdict.ASK, "figure_none", 2)
    if age is FigureAge.OLD:
        return Reason("freshness", Verdict.ASK, "figure_old", 1)
    if not is_confirmed:
        return Reason("freshness", Verdict.ASK, "entry_not_confirmed")
    return Reason("freshness", Verdict.FITS, "figure_fresh")


def _base_language(tag: str) -> str:
    """Returns the language itself, "es" for "es-NI". A private tag ("x-lsn") stays whole."""
    return tag.lower() if tag.startswith("x-") else tag.lower().split("-")[0]


@dataclass(frozen=True)
class Rule:
    """A criterion, with the functions that read and judge a candidate's statement about it.

    Two candidates with the same statement are judged alike.
    """

    read_statement: Callable[[Candidate, datetime], Hashable]
    judge: Callable[[Question, Any], Reason]


CRITERIA = {
    "need": Rule(
        lambda candidate, now: tuple(sorted(candidate.need_codes)),
        lambda question, statement: _need(question.need_code, statement),
    ),
    "age": Rule(
        lambda candidate, now: (
            candidate.eligibility.minimum_age,
            candidate.eligibility.maximum_age,
        ),
        lambda question, statement: _age(question.age, statement),
    ),
    "gender": Rule(
        lambda candidate, now: tuple(sorted(candidate.eligibility.genders)),
        lambda question, statement: _gender(question.gender, statement),
    ),
    "dependants": Rule(
        lambda candidate, now: (
            candidate.eligibility.takes_dependants,
            candidate.eligibility.maximum_dependants,
        ),
        lambda question, statement: _dependants(question.dependants, statement),
    ),
    "language": Rule(
        lambda candidate, now: tuple(sorted({_base_language(tag) for tag in candidate.languages})),
        lambda question, statement: _language(question.language, statement),
    ),
    "pregnancy": Rule(
        lambda candidate, now: candidate.eligibility.takes_pregnant,
        lambda question, statement: _attribute("pregnancy", statement),
    ),
    "addiction": Rule(
        lambda candidate, now: candidate.eligibility.takes_with_addiction,
        lambda question, statement: _attribute("addiction", statement),
    ),
    "papers": Rule(
        lambda candidate, now: candidate.eligibility.takes_without_papers,
        lambda question, statement: _attribute("papers", statement),
    ),
    "boys": Rule(
        lambda candidate, now: candidate.eligibility.maximum_age_of_boys,
        lambda question, statement: _boys(question.oldest_boy_age, statement),
    ),
    "accessibility": Rule(
        lambda candidate, now: tuple(sorted(candidate.accessibility)),
        lambda question, statement: _accessibility(question.accessibility, statement),
    ),
    "area": Rule(
        lambda candidate, now: (
            candidate.department,
            tuple(sorted({code.partition(".")[0] for code in candidate.area_codes})),
        ),
        lambda question, statement: _area(question.department, statement),
    ),
    "room": Rule(
        lambda candidate, now: Room.of(candidate.capacity, candidate.times.age(now)),
        lambda question, statement: _room(question.dependants, statement),
    ),
    "freshness": Rule(
        lambda candidate, now: candidate.times.freshness(now),
        lambda question, statement: _freshness(statement),
    ),
    "truth": Rule(
        lambda candidate, now: rank(candidate.promises_kept, candidate.promises_broken),
        lambda question, statement: _truth(statement),
    ),
}
