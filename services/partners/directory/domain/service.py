"""A service that a member offers: whom it takes, where, in which languages, and its free room.

A field that is not stated means "ask", never "yes".

The entry of a confidential service has no phone, and states its own location only as a department.
Other members see a change to a shelter's room only after the time step in which the room changed
(`for_others`): a live figure would show them that a person came, and when.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from services.partners.directory.domain.area import Areas
from services.partners.directory.domain.location import Accessibility
from services.partners.directory.domain.schedule import Schedule, check_schedules
from services.partners.directory.domain.taxonomy import Taxonomy
from services.partners.members.domain.organization import OrganizationType
from services.partners.network.domain.check import Check
from services.partners.network.domain.field_change import with_changes
from services.partners.network.domain.subject import Subject
from services.partners.network.domain.time_step import time_step_of
from services.partners.network.domain.visibility import Tier, Viewer

HOUSING = "HOU"
SHELTER_NEEDS = frozenset({"HOU.EMG", "HOU.SAFE"})
USUAL_UNIT = "places"  # the unit if the service states none
# the units that a person occupies until leaving, unlike an appointment
OCCUPIED_UNITS = ("beds", "places")
NARROWABLE = ("phone", "description")
"""The fields that a member may show to fewer viewers than usual.

Other fields can't be narrowed, because search results would reveal them.
"""
ANY_AGE = 99  # a maximum age of 99 or more means no limit


class Gender(StrEnum):
    """The genders of HTCDS prs_Gender."""

    FEMININE = "FEMININE"
    MASCULINE = "MASCULINE"
    TRANSGENDER_FEMININE = "TRANSGENDER_FEMININE"
    TRANSGENDER_MASCULINE = "TRANSGENDER_MASCULINE"
    NON_CONFORMING = "NON_CONFORMING"


class Intake(StrEnum):
    """Whether a service takes people now."""

    OPEN = "OPEN"
    WAITLIST = "WAITLIST"
    CLOSED = "CLOSED"


@dataclass(frozen=True)
class Eligibility:
    """The people that a service takes; None and empty mean "not stated"."""

    minimum_age: int | None = None
    maximum_age: int | None = None
    genders: tuple[Gender, ...] = ()
    takes_dependants: bool | None = None
    maximum_dependants: int | None = None
    takes_pregnant: bool | None = None
    takes_with_addiction: bool | None = None
    takes_without_papers: bool | None = None
    maximum_age_of_boys: int | None = None

    def check(self, check: Check) -> None:
        """Records in `check` what is wrong with the eligibility."""
        if (
            self.minimum_age is not None
            and self.maximum_age is not None
            and self.minimum_age > self.maximum_age
        ):
            check.refuse("eligibility.maximum_age", "out_of_range")
        check.distinct("eligibility.genders", self.genders)
        if self.takes_dependants is False and self.maximum_dependants:
            check.refuse("eligibility.maximum_dependants", "out_of_range")
        if self.takes_dependants is False and self.maximum_age_of_boys:
            check.refuse("eligibility.maximum_age_of_boys", "out_of_range")


@dataclass(frozen=True)
class Capacity:
    """A room figure: what a service states about its free room, and when it stated this.

    A figure without a time can't be relied on.
    """

    intake: Intake | None = None
    available: int | None = None
    maximum: int | None = None
    unit: str = ""
    update_time: datetime | None = None
    declined_time: datetime | None = None
    """When a person was last declined for lack of room after the figure was stated.

    Until the figure is stated again, senders are advised to ask before they rely on it.
    """

    def check(self, check: Check) -> None:
        """Records in `check` what is wrong with the figure."""
        if (
            self.available is not None
            and self.maximum is not None
            and self.available > self.maximum
        ):
            check.refuse("capacity.available", "out_of_range")


NOT_STATED = Capacity()


@dataclass(frozen=True)
class Figure:
    """A room figure together with the promises of room that the service has kept and broken.

    `kept`: how often the service had the room that it had promised; `broken`: how often it did not.
    """

    capacity: Capacity = NOT_STATED
    kept: int = 0
    broken: int = 0
    step: datetime | None = None
    """In a former figure: the beginning of the time step in which another figure replaced it.

    Other organisations see the former figure until that time step ends.
    """


def for_others(live_figure: Figure, former_figure: Figure | None, now: datetime) -> Figure:
    """Returns the figure that other organisations see for a shelter.

    It is the figure at the beginning of the current time step; its times are rounded down to time
    steps. `former_figure`: the figure at the beginning of the last time step with a change; None if
    the live figure is the first figure, which others see at once.
    """
    figure = (
        former_figure
        if former_figure is not None and former_figure.step == time_step_of(now)
        else live_figure
    )
    stated_time, declined_time = figure.capacity.update_time, figure.capacity.declined_time
    rounded_capacity = replace(
        figure.capacity,
        update_time=stated_time and time_step_of(stated_time),
        declined_time=declined_time and time_step_of(declined_time),
    )
    return replace(figure, capacity=rounded_capacity, step=None)


# a bed that is free in the morning may be occupied at night
SHELTER_FIGURE_VALIDITY = timedelta(hours=24)
FIGURE_VALIDITY = timedelta(days=7)


def stale_time(capacity: Capacity, need_codes: Sequence[str]) -> datetime | None:
    """Returns the time from which the figure is stale; None if there is no figure."""
    return capacity.update_time + figure_validity(need_codes) if capacity.update_time else None


def offers_shelter(need_codes: Sequence[str]) -> bool:
    """Returns whether a service with these needs is, or may be, a shelter.

    A service that states only HOUSING may be one: it is asked for emergency shelter, too.
    """
    return not SHELTER_NEEDS.isdisjoint(need_codes) or (
        HOUSING in need_codes and not any(code.startswith(f"{HOUSING}.") for code in need_codes)
    )


def figure_validity(need_codes: Sequence[str]) -> timedelta:
    """Returns how long a figure can be relied on."""
    return SHELTER_FIGURE_VALIDITY if offers_shelter(need_codes) else FIGURE_VALIDITY


@dataclass(frozen=True)
class ServiceEntry:
    """The data that a member enters about a service."""

    name: str
    need_codes: tuple[str, ...]
    description: str = ""
    country: str = ""
    department: str = ""  # empty: the whole country
    languages: tuple[str, ...] = ()
    eligibility: Eligibility = field(default_factory=Eligibility)
    confidential: bool = False
    phone: str = ""
    active: bool = True
    schedules: tuple[Schedule, ...] = ()
    area_codes: tuple[str, ...] = ()
    accessibility: tuple[Accessibility, ...] = ()
    public: bool = False
    tiers: tuple[tuple[str, Tier], ...] = ()

    @property
    def limiting_criteria(self) -> tuple[str, ...]:
        """Returns the criteria that the entry uses to limit whom the service takes.

        Only age, gender, dependants, language and area are considered.
        """
        eligibility = self.eligibility
        limits = {
            "age": bool(eligibility.minimum_age)
            or (eligibility.maximum_age is not None and eligibility.maximum_age < ANY_AGE),
            "gender": bool(eligibility.genders) and set(eligibility.genders) != set(Gender),
            "dependants": eligibility.takes_dependants is False
            or eligibility.maximum_dependants is not None,
            "language": bool(self.languages),
            "area": bool(self.department),
        }
        return tuple(name for name, is_limited in limits.items() if is_limited)

    @property
    def is_shelter(self) -> bool:
        """Returns whether the service is confidential or offers shelter.

        Members on probation see no such service of another member, and can't offer their own.
        """
        return self.confidential or offers_shelter(self.need_codes)

    def check(self, taxonomy: Taxonomy, areas: Areas) -> None:
        """Raises Invalid if a field of the entry is wrong."""
        check = Check("service")
        check.distinct("need_codes", self.need_codes)
        for number, code in enumerate(self.need_codes):
            if not taxonomy.knows(code):
                check.refuse(f"need_codes.{number}", "unknown_code")
        if not self.country:
            check.refuse("country", "required")
        check.department("department", self.department, self.country, areas.knows)
        check.distinct("languages", self.languages)
        self.eligibility.check(check)
        check.phone("phone", self.phone)
        check_schedules(self.schedules, check, "schedules")
        check.distinct("area_codes", self.area_codes)
        for number, code in enumerate(self.area_codes):
            if not areas.knows(code):
                check.refuse(f"area_codes.{number}", "unknown_code")
        check.distinct("accessibility", self.accessibility)
        if self.public and self.is_shelter:
            check.refuse("public", "out_of_range")
        check.distinct("tiers", [name for name, _ in self.tiers])
        for number, (name, tier) in enumerate(self.tiers):
            if name not in NARROWABLE:
                check.refuse(f"tiers.{number}.field", "unknown_code")
            if tier not in (Tier.PARTNER, Tier.COORDINATOR):
                check.refuse(f"tiers.{number}.tier", "out_of_range")
        check.done()


@dataclass
class Service(Subject):
    """A service.

    `organization_name` and `organization_type` are read from the organisation; they are shown with
    the service but not stored with it.
    """

    organization_id: str
    entry: ServiceEntry
    capacity: Capacity = NOT_STATED
    assured_time: datetime | None = None
    organization_name: str = ""
    organization_type: OrganizationType | None = None
    overfull: int = 0
    """The number of people who came although no free place was stated.

    A place becomes free only once more people than this have left.
    """
    kept: int = 0
    broken: int = 0
    figure_before: Figure | None = None
    """The figure at the beginning of the last time step in which the figure changed."""
    entry_time: datetime | None = None
    """When the entry last changed; changes to the room don't count.

    Viewers who don't see the live figure see this time instead of `update_time`. In a service that
    was read from the store, it is the time at which public data of the service or of its places
    last changed. None in a new service.
    """

    @classmethod
    def register(
        cls,
        id: str,
        organization_id: str,
        entry: ServiceEntry,
        capacity: Capacity,
        taxonomy: Taxonomy,
        areas: Areas,
        now: datetime,
    ) -> "Service":
        """Returns a new service, which is confirmed by its registration."""
        entry.check(taxonomy, areas)
        service = cls(
            id=id,
            create_time=now,
            update_time=now,
            organization_id=organization_id,
            entry=_discreet(entry),
            assured_time=now,
        )
        if capacity != NOT_STATED:
            service.capacity = service._stated_now(capacity, now, at="service")
        service.note("registered", now)
        return service

    def change(
        self, changes: Mapping[str, Any], taxonomy: Taxonomy, areas: Areas, now: datetime
    ) -> None:
        """Changes the given fields.

        If `assured_time` is among them, the changed entry is confirmed at the present time; the
        given value is ignored.
        """
        entry_changes = {path: value for path, value in changes.items() if path != "assured_time"}
        confirms = len(entry_changes) < len(changes)
        entry = (
            self.entry
            if confirms and not entry_changes
            else _discreet(with_changes(self.entry, entry_changes, "service"))
        )
        entry.check(taxonomy, areas)
        if entry == self.entry and not confirms:
            return
        self.entry = entry
        if confirms:
            self.assured_time = now
        self.entry_time = now
        self.note("changed", now)

    def set_capacity(self, capacity: Capacity, now: datetime) -> None:
        """Sets the figure as stated now. Stating the same figure again makes it fresh."""
        self.capacity, self.overfull = self._stated_now(capacity, now), 0
        self.note("capacity_changed", now)

    def doubt_capacity(self, decline_time: datetime) -> bool:
        """Marks the figure as doubtful after somebody was declined for lack of room.

        The figure itself stays as stated, and is doubtful until it is stated again. `decline_time`:
        the time of the refusal. Returns False if there is no figure, or if the refusal is not later
        than both the figure and the refusal that is already recorded.
        """
        last_time = self.capacity.declined_time or self.capacity.update_time
        if last_time is None or decline_time <= last_time:
            return False
        self.capacity = replace(self.capacity, declined_time=decline_time)
        return True

    def add_free_places(self, free: int, at: datetime) -> bool:
        """Adds free places after people left, or removes some (`free` < 0) after people came.

        `at`: when the people left or came. The number of free places stays between 0 and the
        maximum; a service with more people than places has a free place once enough have left.
        Returns False if the figure was stated at or after `at`, is missing, does not count beds or
        places, or nothing would change.
        """
        figure = self.capacity
        if (
            figure.available is None
            or figure.update_time is None
            or at <= figure.update_time
            or figure.unit not in OCCUPIED_UNITS
        ):
            return False
        before = figure, self.overfull
        available = figure.available - self.overfull + free
        if figure.maximum is not None:
            available = min(available, figure.maximum)
        self.capacity = replace(figure, available=max(0, available))
        self.overfull = max(0, -available)
        return (self.capacity, self.overfull) != before

    @property
    def is_shelter(self) -> bool:
        """Returns whether the service is hidden from members on probation.

        This applies if the entry says so (`ServiceEntry.is_shelter`), and to every service that is
        not public and belongs to an organisation of type SHELTER.
        """
        return self.entry.is_shelter or (
            self.organization_type is OrganizationType.SHELTER and not self.entry.public
        )

    def figure_for(self, viewer: Viewer, now: datetime) -> Figure:
        """Returns the room figure that a viewer sees.

        For a shelter, only its own organisation sees the live figure; others see the figure of
        `for_others`.
        """
        live_figure = Figure(self.capacity, self.kept, self.broken)
        return (
            live_figure
            if self.is_live_for(viewer)
            else for_others(live_figure, self.figure_before, now)
        )

    def is_live_for(self, viewer: Viewer) -> bool:
        """Returns whether a viewer sees changes to the service's room at once."""
        return not self.is_shelter or viewer.organization_id == self.organization_id

    def data_outside_version(self) -> tuple[str, ...]:
        """Returns the data that is shown with the service but is not covered by its version.

        These are the name and type of the organisation, the time of the refusal that put the room
        figure in doubt, and the number of free places.
        """
        declined_time, available = self.capacity.declined_time, self.capacity.available
        return (
            self.organization_name,
            self.organization_type or "",
            declined_time.isoformat() if declined_time else "",
            "" if available is None else str(available),
        )

    def _stated_now(self, capacity: Capacity, now: datetime, at: str = "") -> Capacity:
        check = Check(at)
        capacity.check(check)
        check.done()
        return replace(
            capacity,
            unit=capacity.unit or self.capacity.unit or USUAL_UNIT,
            update_time=now,
            declined_time=None,
        )


def _discreet(entry: ServiceEntry) -> ServiceEntry:
    """Returns the entry without its phone if the service is confidential.

    Data that is not stored can't be shown by mistake.
    """
    return replace(entry, phone="") if entry.confidential else entry
