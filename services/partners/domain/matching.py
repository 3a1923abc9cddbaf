"""Which service fits a person of whom only coarse attributes are known: for each a verdict with the reason per criterion, best first.

One pure function. What a service has not stated, and what is not known of the person where the service has a limit, means "ask", never "fits";
"does not fit" is said only where the service itself has said so. Limit: it ranks by what was entered; whether a promise is kept, it can't see.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from services.partners.domain.codes import Check, Taxonomy
from services.partners.domain.service import ANY_AGE, Capacity, Eligibility, Gender, Intake, stale_time

ASSURED = timedelta(days=183)  # every entry is to be confirmed each six months


class Verdict(IntEnum):
    """Ordered from best to worst; a service's verdict is the worst of its reasons."""

    FITS = 1
    ASK = 2
    DOES_NOT_FIT = 3


@dataclass(frozen=True)
class Reason:
    """One criterion and how it came out; `rank` orders services of the same verdict, smaller is better."""

    criterion: str
    verdict: Verdict
    code: str
    rank: int = 0


@dataclass(frozen=True)
class Question:
    """The coarse attributes; None and empty are "not known", but no language means none in particular."""

    need_code: str
    country: str = ""
    department: str = ""
    age: int | None = None
    gender: Gender | None = None
    dependants: int | None = None
    language: str = ""
    excluded_organization_ids: tuple[str, ...] = ()

    def check(self, taxonomy: Taxonomy) -> None:
        """Refuses a question that is wrong."""
        check = Check()
        if not taxonomy.knows(self.need_code):
            check.say("need_code", "unknown_code")
        check.department("department", self.department, self.country)
        check.done()


@dataclass(frozen=True)
class Candidate:
    """What of a service matters here."""

    service_id: str
    name_key: str
    need_codes: tuple[str, ...]
    department: str
    languages: tuple[str, ...]
    eligibility: Eligibility
    capacity: Capacity
    assured_time: datetime | None


@dataclass(frozen=True)
class Match:
    """A service with its verdict."""

    candidate: Candidate
    reasons: tuple[Reason, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of the reasons."""
        return max(reason.verdict for reason in self.reasons)


def match(question: Question, candidates: Iterable[Candidate], now: datetime) -> list[Match]:
    """Every candidate with its reasons, best first: verdict, room, freshness, nearness, language, need, then by name."""
    return sorted((Match(candidate, _reasons(question, candidate, now)) for candidate in candidates), key=_order)


def _reasons(question: Question, candidate: Candidate, now: datetime) -> tuple[Reason, ...]:
    stated, figure = candidate.eligibility, candidate.capacity
    old = _figure_is_old(candidate, now)
    reasons = [
        _need(question.need_code, candidate.need_codes),
        _age(question.age, stated),
        _gender(question.gender, stated),
        _dependants(question.dependants, stated),
        _area(question.department, candidate.department),
        _room(question.dependants, figure, old),
        _freshness(candidate, now, old),
    ]
    if question.language:
        reasons.insert(4, _language(question.language, candidate.languages))
    return tuple(reasons)


def _order(match: Match) -> tuple[object, ...]:
    rank = {reason.criterion: (reason.verdict, reason.rank) for reason in match.reasons}
    important = [rank[criterion] for criterion in ("room", "freshness", "area", "language", "need") if criterion in rank]
    return match.verdict, important, match.candidate.name_key, match.candidate.service_id


def _need(need: str, offered: tuple[str, ...]) -> Reason:
    if need in offered:
        return Reason("need", Verdict.FITS, "need_offered")
    if any(code.startswith(f"{need}.") for code in offered):
        return Reason("need", Verdict.FITS, "need_offered_in_part", 1)
    return Reason("need", Verdict.ASK, "need_group_only")  # it says "medical care", and does not say which


def _age(age: int | None, stated: Eligibility) -> Reason:
    low, high = stated.minimum_age, stated.maximum_age
    if age is not None and low is not None and age < low:
        return Reason("age", Verdict.DOES_NOT_FIT, "age_too_low")
    if age is not None and high is not None and age > high:
        return Reason("age", Verdict.DOES_NOT_FIT, "age_too_high")
    if low is None or high is None:
        return Reason("age", Verdict.ASK, "age_not_stated")
    if age is None and (low > 0 or high < ANY_AGE):
        return Reason("age", Verdict.ASK, "age_unknown")
    return Reason("age", Verdict.FITS, "age_in_range")


def _gender(gender: Gender | None, stated: Eligibility) -> Reason:
    if not stated.genders:
        return Reason("gender", Verdict.ASK, "gender_not_stated")
    if set(stated.genders) == set(Gender) or gender in stated.genders:
        return Reason("gender", Verdict.FITS, "gender_served")
    if gender is None:
        return Reason("gender", Verdict.ASK, "gender_unknown")
    return Reason("gender", Verdict.DOES_NOT_FIT, "gender_not_served")


def _dependants(dependants: int | None, stated: Eligibility) -> Reason:
    most = 0 if stated.takes_dependants is False else stated.maximum_dependants
    if dependants == 0:
        return Reason("dependants", Verdict.FITS, "dependants_none")
    if dependants is None:
        return Reason("dependants", Verdict.ASK, "dependants_unknown")
    if most == 0:
        return Reason("dependants", Verdict.DOES_NOT_FIT, "dependants_not_taken")
    if most is not None and dependants > most:
        return Reason("dependants", Verdict.DOES_NOT_FIT, "dependants_too_many")
    if most is None and stated.takes_dependants is None:
        return Reason("dependants", Verdict.ASK, "dependants_not_stated")
    if most is None:
        return Reason("dependants", Verdict.ASK, "dependants_how_many")
    return Reason("dependants", Verdict.FITS, "dependants_taken")


def _language(language: str, spoken: tuple[str, ...]) -> Reason:
    if not spoken:
        return Reason("language", Verdict.ASK, "language_not_stated", 1)
    if _tongue(language) in {_tongue(tag) for tag in spoken}:
        return Reason("language", Verdict.FITS, "language_spoken")
    return Reason("language", Verdict.ASK, "language_other", 2)  # an interpreter may bridge it


def _area(department: str, where: str) -> Reason:
    if not where:
        return Reason("area", Verdict.FITS, "whole_country", 1)
    if not department:
        return Reason("area", Verdict.FITS, "country_same", 2)
    if department == where:
        return Reason("area", Verdict.FITS, "department_same")
    return Reason("area", Verdict.ASK, "department_other")  # she may be glad to be far away, or not able to travel


def _room(dependants: int | None, figure: Capacity, old: bool) -> Reason:
    if figure.intake is Intake.CLOSED:
        return Reason("room", Verdict.DOES_NOT_FIT, "room_closed", 1)
    if figure.intake is Intake.WAITLIST:
        return Reason("room", Verdict.ASK, "room_waitlist", 3)
    if figure.available == 0 and not old and figure.intake is not None:
        return Reason("room", Verdict.DOES_NOT_FIT, "room_none")
    if figure.declined_time is not None:
        return Reason("room", Verdict.ASK, "room_declined", 4)  # it may have been for another size of family: ask
    if figure.intake is None or figure.available is None:
        return Reason("room", Verdict.ASK, "room_not_stated", 2)
    if figure.available == 0:
        return Reason("room", Verdict.ASK, "room_none", 4)  # "none" of long ago rules nobody out
    if figure.unit == "beds" and figure.available < 1 + (dependants or 0):
        return Reason("room", Verdict.ASK, "room_not_for_all", 1)
    return Reason("room", Verdict.FITS, "room_free")


def _freshness(candidate: Candidate, now: datetime, old: bool) -> Reason:
    if candidate.capacity.update_time is None:
        return Reason("freshness", Verdict.ASK, "figure_none", 2)
    if old:
        return Reason("freshness", Verdict.ASK, "figure_old", 1)
    if candidate.assured_time is None or now - candidate.assured_time > ASSURED:
        return Reason("freshness", Verdict.ASK, "entry_not_confirmed")
    return Reason("freshness", Verdict.FITS, "figure_fresh")


def _figure_is_old(candidate: Candidate, now: datetime) -> bool:
    stale = stale_time(candidate.capacity, candidate.need_codes)
    return stale is None or now > stale


def _tongue(tag: str) -> str:
    """The language itself: es of es-NI. A private tag (x-lsn) is one whole."""
    return tag.lower() if tag.startswith("x-") else tag.lower().split("-")[0]
