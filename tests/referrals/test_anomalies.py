"""Unusual accesses are found in the trail, reported once, and reviewed by an auditor."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial

import pytest

from chassis import audit
from chassis.audit import Entry
from chassis.ids import new_id
from chassis.local_time import zone_of
from chassis.tokens import SYSTEM
from protos.partners.v1 import facts_pb2 as partners
from protos.referrals.v1 import audit_pb2 as pb
from protos.referrals.v1 import contacts_pb2, facts_pb2
from services.referrals.__main__ import MIGRATIONS
from services.referrals.files.domain.openings import READING
from services.referrals.network.store import members
from services.referrals.people.domain import anomaly as rules
from services.referrals.people.domain.anomaly import (
    AnomalyKind,
    DutyAct,
    Opening,
    day_of,
    find_anomalies,
    is_night,
    on_duty,
    span_of,
)
from services.referrals.people.store import anomalies
from services.referrals.people.usecases import anomalies as anomalies_loop
from services.referrals.people.usecases.anomalies import Anomalies
from tests.builders import NOON, NOT_FOUND, pages, refusal
from tests.parts.loops import NEVER, OFTEN, eventually, running
from tests.referrals.conftest import ORG, Client, Service, Story, history, open_identity
from tests.referrals.test_openings import open_person, somebody
from tests.referrals.test_subscriptions import PartnersFacts

OWN_ORGANIZATION = "o" * 32
MANAGUA = zone_of("NI")
MIDNIGHT = NOON + timedelta(hours=12)


def build_openings(
    count: int, organization: Callable[[int], str], time: datetime = NOON
) -> list[Opening]:
    return [Opening(f"person {number}", organization(number), time) for number in range(count)]


@pytest.mark.parametrize(
    ("openings", "expected"),
    [
        (build_openings(20, lambda _: "other"), {}),
        (build_openings(21, lambda _: "other"), {AnomalyKind.OUTSIDE_FILES: 21}),
        (build_openings(200, lambda _: OWN_ORGANIZATION), {}),
        (build_openings(200, lambda _: ""), {}),  # contacts of her own line
        (build_openings(21, lambda _: "other")[:1] * 21, {}),  # one person, opened many times
        (build_openings(4, str), {}),
        (build_openings(5, str), {AnomalyKind.ACROSS_ORGANIZATIONS: 5}),
        (build_openings(2, lambda _: OWN_ORGANIZATION, MIDNIGHT), {AnomalyKind.AT_NIGHT: 2}),
        ([Opening("person", "other", NOON, refused=True)], {AnomalyKind.OPENING_QUOTA: 1}),
    ],
)
def test_unusual_accesses_are_counted_by_kind(
    openings: list[Opening], expected: dict[AnomalyKind, int]
) -> None:
    assert find_anomalies(openings, OWN_ORGANIZATION, MANAGUA, on_duty_at_night=False) == expected


def test_a_worker_on_night_duty_may_open_files_at_night() -> None:
    openings = build_openings(2, lambda _: OWN_ORGANIZATION, MIDNIGHT)
    assert find_anomalies(openings, OWN_ORGANIZATION, MANAGUA, on_duty_at_night=True) == {}


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([MIDNIGHT - timedelta(days=3), MIDNIGHT - timedelta(days=5)], True),
        # one night is not enough, and an access by day does not count
        ([MIDNIGHT - timedelta(hours=1), MIDNIGHT], False),
        ([NOON, MIDNIGHT - timedelta(days=3)], False),
    ],
)
def test_a_worker_is_on_night_duty_if_she_acted_on_two_recent_nights(
    times: list[datetime], expected: bool
) -> None:
    assert on_duty([DutyAct(time, ()) for time in times], MANAGUA) is expected


@pytest.mark.parametrize(
    ("country", "hour", "night"),
    [
        ("NI", 21, False),
        ("NI", 22, True),
        ("NI", 28, True),
        ("NI", 29, False),
        ("PE", 21, True),
        ("PE", 28, False),
    ],
)
def test_a_night_follows_local_time_and_belongs_to_the_preceding_day(
    country: str, hour: int, night: bool
) -> None:
    time = NOON + timedelta(hours=hour - 12)  # `hour` is in local time of Managua
    zone = zone_of(country)
    assert is_night(time, zone) is night
    start, end = span_of(day_of(time, zone), zone)
    assert start <= time < end
    if night:
        assert day_of(time, zone) == date(2026, 3, 4)


@pytest.mark.parametrize(
    ("day", "last_minute"),
    [
        ("2026-03-28", "2026-03-29T02:59"),  # in the night the clocks go forward
        ("2026-10-24", "2026-10-25T03:59"),  # in the night they go back
    ],
)
def test_a_night_in_which_the_clocks_change_ends_at_five_and_belongs_to_one_day(
    day: str, last_minute: str
) -> None:
    madrid, last = zone_of("ES"), datetime.fromisoformat(last_minute).replace(tzinfo=UTC)
    for time, night in ((last, True), (last + timedelta(minutes=1), False)):
        assert is_night(time, madrid) is night
        start, end = span_of(day_of(time, madrid), madrid)
        assert start.astimezone(UTC) <= time < end.astimezone(UTC)
        assert (day_of(time, madrid) == date.fromisoformat(day)) is night


def trail_is_searched(service: Service) -> bool:
    """Returns whether the whole trail has been searched."""
    return not service.in_transaction(anomalies.has_new_rows)


@pytest.mark.parametrize(("announced", "read_again"), [(True, NEVER), (False, OFTEN)])
def test_the_loop_searches_each_access_even_if_its_announcement_is_lost(
    service: Service, monkeypatch: pytest.MonkeyPatch, announced: bool, read_again: float
) -> None:
    monkeypatch.setattr(anomalies_loop, "_PAUSE", 0.1)
    caller, entry = service.as_("ngo", "OPERATOR").caller, Entry("read_notes", new_id())
    loop = Anomalies(service.database, service.clock, read_again=read_again).loop()
    with running(loop):
        assert eventually(lambda: trail_is_searched(service))
        for _ in range(2):
            with service.database.transaction(SYSTEM) as tx:
                if not announced:  # the trigger announces accesses of workers and keys only
                    caller = replace(caller, kind="system")
                audit.record(tx, caller, service.clock.now(), [entry])
            assert eventually(lambda: trail_is_searched(service))


def test_every_access_that_may_be_unusual_is_announced(service: Service) -> None:
    [row] = service.rows(
        "SELECT pg_get_triggerdef(oid) AS trigger FROM pg_trigger WHERE tgname = 'audit_opening'"
    )
    assert {action for action in READING if f"'{action}'" in row["trigger"]} == set(READING)


def anomalies_of(service: Service, worker: Client) -> list[tuple[str, int]]:
    """Searches the trail; returns the kind and the count of each anomaly of a worker."""
    service.made.anomalies.search()
    rows = service.rows(
        "SELECT kind, count FROM anomalies WHERE worker_id = %s ORDER BY kind", worker.caller.id
    )
    return [(row["kind"], row["count"]) for row in rows]


def listed_anomalies(service: Service, worker: Client, *, waiting: bool = True) -> list[pb.Anomaly]:
    """Searches the trail; returns the anomalies of a worker that wait for a review, or all."""
    service.made.anomalies.search()
    return [
        anomaly
        for page in pages(
            service.as_("coalition", "AUDITOR").ListAnomalies, waiting=waiting, page_size=1
        )
        for anomaly in page.anomalies
        if anomaly.worker_id == worker.caller.id
    ]


def open_received_file(story: Story, worker: Client) -> None:
    sent = story.sent()
    open_identity(worker, sent.person_id, sent.id)


def test_an_anomaly_is_reported_once_a_day_and_its_count_is_updated(
    story: Story, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "MAX_OTHER_FILES", 2)
    worker = somebody(service, "shelter")
    for expected in ([], [], [("outside_files", 3)], [("outside_files", 4)]):
        open_received_file(story, worker)
        assert anomalies_of(service, worker) == expected
    rows = service.rows("SELECT payload FROM outbox WHERE type = 'enlace.anomaly.noted.v1'")
    facts = [facts_pb2.AnomalyFact.FromString(row["payload"]) for row in rows]
    assert [
        (fact.kind_code, fact.organization_id, fact.count)
        for fact in facts
        if fact.worker_id == worker.caller.id
    ] == [("outside_files", ORG["shelter"], 3)]
    service.clock.advance(timedelta(days=1))
    open_received_file(story, worker)
    assert anomalies_of(service, worker) == [("outside_files", 4)], "a new day starts at zero"


def test_a_worker_who_opens_files_of_many_organisations_is_reported(
    story: Story, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "MANY_ORGANIZATIONS", 1)
    worker = somebody(service, "shelter")
    open_received_file(story, worker)
    assert anomalies_of(service, worker) == [("across_organizations", 1)]


@pytest.fixture
def worker_over_quota(story: Story, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Returns a worker who opened one file; her quota refused the next file."""
    monkeypatch.setattr(story.service.made.openings, "maximum", 1)
    worker = somebody(story.service)
    open_person(worker, story.person().id)
    assert refusal(lambda: open_person(worker, story.person().id))[1] == "opening_quota"
    return worker


def test_a_worker_who_opens_a_file_at_night_is_reported(story: Story, service: Service) -> None:
    worker, key = somebody(service), service.as_("ngo", scopes=("people.open", "people.read"))
    operator, person = somebody(service, "hotline", "OPERATOR"), story.person()
    service.clock.set(MIDNIGHT)
    contact = contacts_pb2.Contact(
        line_country="NI",
        kind_code=contacts_pb2.CONTACT_KIND_CRISIS,
        speaker_code=contacts_pb2.SPEAKER_PERSON,
        note="x",
    )
    operator.GetContact(id=operator.CreateContact(contact=contact, pin="4821").contact.id)
    story.ngo = worker
    received = story.sent()
    for client in (worker, key):
        open_person(client, person.id)
    open_person(worker, received.person_id)
    assert anomalies_of(service, worker) == [("at_night", 1)], "she sent the other person tonight"
    assert anomalies_of(service, operator) == []
    assert anomalies_of(service, key) == [], "keys are not reported for accesses at night"


@pytest.fixture
def ngo_in_california(service: Service) -> Iterator[None]:
    partners_facts = PartnersFacts(service)
    member = partners.OrganizationFact(
        organization_id=ORG["ngo"],
        organization_type_code="NGO",
        status_code="APPROVED",
        country_code="US",
        department_code="US-CA",
    )
    partners_facts.fact("enlace.organization.changed.v1", member.SerializeToString())
    yield
    partners_facts.organization("ngo", "APPROVED")


@pytest.mark.usefixtures("ngo_in_california")
def test_night_follows_the_local_time_of_the_members_department(
    story: Story, service: Service
) -> None:
    person = story.person()
    for hour, expected in ((20, []), (3, [("at_night", 1)])):
        worker = somebody(service)
        service.clock.set(datetime(2026, 3, 4, hour, tzinfo=zone_of("US", "US-CA")).astimezone(UTC))
        open_person(worker, person.id)
        assert anomalies_of(service, worker) == expected


@pytest.mark.parametrize(
    ("departments", "expected"), [(["US-CA", "US-CA"], "US-CA"), (["US-CA", "US-NY"], ""), ([], "")]
)
def test_the_migration_takes_the_department_of_a_member_from_its_services(
    service: Service, departments: list[str], expected: str
) -> None:
    migration = (MIGRATIONS[1] / "20261224100001_department_of_member.sql").read_text()
    member = new_id()
    with service.database.transaction(SYSTEM) as tx:
        members.note_member(tx, "organization", member, True, country="US")
        for department in departments:
            members.note_service(tx, new_id(), member, True, department=department)
    service.as_owner("UPDATE" + migration.partition("UPDATE")[2].partition(";")[0])
    assert service.in_transaction(members.place, member) == ("US", expected)


def test_concurrent_searches_report_a_worker_over_her_quota_only_once(
    story: Story, service: Service, worker_over_quota: Client
) -> None:
    replicas = [Anomalies(service.database, service.clock) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(Anomalies.search, replicas))
    assert anomalies_of(service, worker_over_quota) == [("opening_quota", 1)]
    refusal(lambda: open_person(worker_over_quota, story.person().id))
    assert anomalies_of(service, worker_over_quota) == [("opening_quota", 2)]


def test_only_an_auditor_reviews_an_anomaly(
    story: Story, service: Service, auditor: Client, worker_over_quota: Client
) -> None:
    worker_id = worker_over_quota.caller.id
    listed = partial(listed_anomalies, service, worker_over_quota)
    [anomaly] = listed()
    assert (anomaly.kind, anomaly.day, anomaly.count) == (
        pb.ANOMALY_KIND_OPENING_QUOTA,
        "2026-03-04",
        1,
    )
    request = pb.ReviewAnomalyRequest(
        id=anomaly.id, etag=anomaly.etag, review_code=pb.REVIEW_OUTCOME_EXPLAINED
    )
    for client in (story.coordinator, story.ngo, service.as_("ngo", "MANAGER")):
        assert [refusal(partial(client.ReviewAnomaly, request)), refusal(client.ListAnomalies)] == [
            ("PERMISSION_DENIED", "right_missing")
        ] * 2
    reviewed_anomaly = auditor.ReviewAnomaly(request)
    assert (reviewed_anomaly.reviewed_by_worker_id, reviewed_anomaly.review_code) == (
        auditor.caller.id,
        pb.REVIEW_OUTCOME_EXPLAINED,
    )
    assert (listed(), listed(waiting=False)) == ([], [reviewed_anomaly])
    for fields, expected in (
        ({}, ("FAILED_PRECONDITION", "nothing_to_review")),
        ({"etag": reviewed_anomaly.etag}, ("FAILED_PRECONDITION", "nothing_to_review")),
        ({"id": new_id()}, NOT_FOUND),
    ):
        request.MergeFrom(pb.ReviewAnomalyRequest(**fields))
        assert refusal(lambda: auditor.ReviewAnomaly(request)) == expected
    assert service.rows(
        "SELECT detail_codes FROM audit WHERE action = 'review_anomaly' AND object_id = %s"
        " AND allowed",
        anomaly.id,
    ) == [{"detail_codes": ["explained", f"worker:{worker_id}"]}]


def test_reading_notes_counts_as_an_access(story: Story, service: Service) -> None:
    worker, override = somebody(service), story.overridden()
    service.clock.set(MIDNIGHT)
    history(worker, override.id)
    assert anomalies_of(service, worker) == [("at_night", 1)]


def test_an_anomaly_that_grows_after_its_review_waits_for_a_review_again(
    story: Story, service: Service, worker_over_quota: Client, auditor: Client
) -> None:
    waiting = partial(listed_anomalies, service, worker_over_quota)
    [first] = waiting()
    review = partial(auditor.ReviewAnomaly, id=first.id, review_code=pb.REVIEW_OUTCOME_EXPLAINED)
    review(etag=first.etag)
    assert waiting() == []
    refusal(lambda: open_person(worker_over_quota, story.person().id))
    [grown_anomaly] = waiting()
    assert (grown_anomaly.id, grown_anomaly.count) == (first.id, 2)
    assert refusal(lambda: review(etag=first.etag)) == ("ABORTED", "stale_etag")
    assert review(etag=grown_anomaly.etag).review_code == pb.REVIEW_OUTCOME_EXPLAINED
