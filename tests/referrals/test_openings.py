"""The number of people whose data a worker may open in an hour.

The trail is counted, across rpcs and processes, and an opening over the limit is recorded.
"""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, cast

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from chassis.ids import new_id
from chassis.second import NONE
from chassis.tokens import Caller
from protos.referrals.v1 import contacts_pb2, people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.files.domain.openings import HOUR, MAX_PER_HOUR, waiting_time
from tests.builders import NOON, NOT_FOUND, refusal, refusal_with_delay
from tests.referrals.conftest import ORG, Client, Service, Story, open_identity
from tests.referrals.test_withdrawal import run_concurrently

QUOTA_EXCEEDED = ("RESOURCE_EXHAUSTED", "opening_quota")
MAX_OPENINGS = 3


@pytest.fixture(autouse=True)
def low_quota(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lowers the limit to three an hour, so that a test need not make forty people."""
    if "service" in request.fixturenames:
        monkeypatch.setattr(
            request.getfixturevalue("service").made.openings, "maximum", MAX_OPENINGS
        )


def somebody(service: Service, organization: str = "ngo", role: str = "WORKER") -> Client:
    """Returns a worker who has opened no file yet."""
    caller = Caller(new_id(), "worker", ORG[organization], frozenset({role}), kin=NONE)
    return Client(caller, service._stubs(), service.issuer, service.gateway)


def open_person(client: Client, person_id: str) -> people_pb2.Identity:
    request = people_pb2.OpenPersonRequest(
        id=person_id, purpose_code="HOU.EMG", field_groups=[people_pb2.FIELD_GROUP_IDENTITY]
    )
    return cast(people_pb2.Identity, client.OpenPerson(request))


def test_a_worker_who_has_used_up_her_quota_waits_until_an_hour_after_the_first_file() -> None:
    opened_times = {f"person {n}": NOON + timedelta(minutes=n) for n in range(MAX_PER_HOUR)}
    now = NOON + timedelta(minutes=45)
    assert waiting_time(opened_times, "another", MAX_PER_HOUR, now) == timedelta(minutes=15)
    assert waiting_time(opened_times, "person 7", MAX_PER_HOUR, now) == timedelta(0), (
        "a file that she has opened may be opened again"
    )
    assert waiting_time(
        dict(list(opened_times.items())[1:]), "another", MAX_PER_HOUR, now
    ) == timedelta(0)
    assert waiting_time({"one": NOON, "two": NOON + HOUR / 2}, "another", 1, now) == timedelta(
        minutes=45
    ), "after the quota was lowered, the latest file counts"


def test_a_file_over_the_hourly_quota_is_refused_and_recorded_and_earlier_ones_stay_open(
    story: Story, service: Service
) -> None:
    worker, people = somebody(service), [story.person().id for _ in range(MAX_OPENINGS + 1)]
    for person in people[:MAX_OPENINGS]:
        assert open_person(worker, person).given_name == "Ximena"
        service.clock.advance(timedelta(minutes=10))
    assert refusal_with_delay(lambda: open_person(worker, people[MAX_OPENINGS])) == (
        *QUOTA_EXCEEDED,
        timedelta(minutes=30),
    )
    assert open_person(worker, people[MAX_OPENINGS - 1]).given_name == "Ximena"
    readings = story.ngo.ListReadings(person_id=people[MAX_OPENINGS]).readings
    assert [(reading.actor_id, reading.allowed) for reading in readings] == [
        (worker.caller.id, False)
    ]
    assert service.rows(
        "SELECT action, reason FROM audit WHERE object_id = %s AND NOT allowed",
        people[MAX_OPENINGS],
    ) == [{"action": "open_identity", "reason": "opening_quota"}]
    assert open_person(somebody(service), people[MAX_OPENINGS]).given_name == "Ximena", (
        "the quota of one worker does not affect another"
    )
    service.clock.advance(timedelta(minutes=30))
    assert open_person(worker, people[MAX_OPENINGS]).given_name == "Ximena"


def system_with_key(service: Service, organization: str) -> Client:
    """Returns a system that calls with a new key and has opened no file yet."""
    scopes = frozenset(
        {
            "people.open",
            "people.read",
            "people.write",
            "referrals.read",
            "referrals.write",
            "contacts.write",
        }
    )
    return Client(
        Caller(new_id(), "key", ORG[organization], frozenset(), scopes),
        service._stubs(),
        service.issuer,
        service.gateway,
    )


def test_a_key_opens_its_own_files_without_limit_and_files_of_others_within_the_quota(
    story: Story, service: Service
) -> None:
    owner, people = (
        system_with_key(service, "ngo"),
        [story.person().id for _ in range(MAX_OPENINGS + 2)],
    )
    assert [open_person(owner, person).given_name for person in people] == ["Ximena"] * len(people)
    receiver = system_with_key(service, "shelter")
    *received, last = (story.sent() for _ in range(MAX_OPENINGS + 1))
    for referral in received:
        assert open_identity(receiver, referral.person_id, referral.id).given_name == "Ximena"
    assert refusal(lambda: open_identity(receiver, last.person_id, last.id)) == QUOTA_EXCEEDED
    assert (
        open_identity(system_with_key(service, "shelter"), last.person_id, last.id).given_name
        == "Ximena"
    ), "each key has its own count"


def test_every_rpc_that_opens_a_person_counts_towards_the_quota_and_enforces_it(
    story: Story, service: Service
) -> None:
    plan = people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_PHONE, code_word="mango")
    draft = story.draft(story.person(plan=plan))
    other = story.person()
    override = story.overridden()
    openings: list[Callable[[Client], Any]] = [
        lambda by: open_person(by, other.id),
        lambda by: by.OpenSafeContact(referral_id=draft.id),
        lambda by: by.GetPerson(id=draft.person_id),
        lambda by: by.ListReferralEvents(referral_id=override.id),
    ]
    for opening in openings:
        worker = somebody(service)
        for _ in range(MAX_OPENINGS):
            open_person(worker, story.person().id)
        assert refusal(partial(opening, worker)) == QUOTA_EXCEEDED
    worker = somebody(service)
    for opening in openings:  # these are three people
        opening(worker)
    assert refusal(lambda: open_person(worker, story.person().id)) == QUOTA_EXCEEDED


def test_notes_of_contacts_count_towards_the_quota_and_a_known_person_counts_once(
    story: Story, service: Service
) -> None:
    operator = somebody(service, "hotline", "OPERATOR")

    def create_contact() -> contacts_pb2.Contact:
        contact = contacts_pb2.Contact(
            line_country="NI",
            kind_code=contacts_pb2.CONTACT_KIND_CRISIS,
            speaker_code=contacts_pb2.SPEAKER_PERSON,
            note="llama",
        )
        created: contacts_pb2.Contact = operator.CreateContact(contact=contact, pin="4821").contact
        return created

    def note_of(contact: contacts_pb2.Contact) -> str:
        return str(operator.GetContact(id=contact.id).note)

    first = create_contact()
    person = operator.CreatePerson(coarse=pb.CoarsePerson(language="es", country="NI"))
    change = contacts_pb2.Contact(id=first.id, etag=first.etag, person_id=person.id)
    changed = operator.UpdateContact(contact=change, update_mask=FieldMask(paths=["person_id"]))
    assert changed.note == "", "an earlier note is opened only by GetContact, which is recorded"
    for contact in (first, create_contact(), create_contact()):
        assert note_of(contact) == "llama"
    assert refusal(lambda: note_of(create_contact())) == QUOTA_EXCEEDED
    assert note_of(first) == "llama"


def test_concurrent_openings_do_not_exceed_the_quota(story: Story, service: Service) -> None:
    """Before a fix, 96 openings in a second were allowed."""
    worker, people = somebody(service), [story.person().id for _ in range(16)]
    attempts = [partial(open_person, worker, person) for person in people]
    assert Counter(run_concurrently(*attempts)) == {
        "OK": MAX_OPENINGS,
        QUOTA_EXCEEDED[1]: len(people) - MAX_OPENINGS,
    }


def test_an_opening_refused_for_another_reason_does_not_count_towards_the_quota(
    story: Story, service: Service
) -> None:
    worker = somebody(service, "clinic")
    for _ in range(MAX_OPENINGS + 1):
        assert refusal(lambda: open_person(worker, story.person().id)) == NOT_FOUND


def test_openings_dated_by_a_fast_clock_do_not_use_the_quota_once_the_clock_is_right(
    story: Story, service: Service
) -> None:
    worker = somebody(service)
    service.clock.advance(timedelta(days=1))
    for _ in range(MAX_OPENINGS):
        open_person(worker, story.person().id)
    service.clock.set(NOON)
    assert open_person(worker, story.person().id).given_name == "Ximena"
