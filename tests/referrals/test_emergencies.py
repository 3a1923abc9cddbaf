"""Emergency access.

The tests cover who may declare an emergency, what it opens and for how long, who is notified, and
its review.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from chassis.tokens import SYSTEM
from protos.referrals.v1 import audit_pb2, facts_pb2, people_pb2
from protos.referrals.v1 import emergencies_pb2 as pb
from protos.referrals.v1 import referrals_pb2 as r
from services.referrals.files.store import emergencies as book
from services.referrals.network.store import members
from services.referrals.network.usecases.deadlines import DeadlineScheduler
from tests.builders import NOON, refusal
from tests.referrals.conftest import ORG, Client, Service, Story
from tests.referrals.test_openings import somebody

G = people_pb2
NOT_THERE = ("NOT_FOUND", "not_found")
MISSING = ("FAILED_PRECONDITION", "receipt_missing")
NOTE = "no respira bien y nadie contesta"
PLAN = people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_PHONE, code_word="mango")


@pytest.fixture
def nurse(service: Service) -> Client:
    """Returns a worker of the shelter who has opened nothing yet."""
    return somebody(service, "shelter")


@pytest.fixture(autouse=True)
def nothing_owed(request: pytest.FixtureRequest) -> None:
    """Deletes the emergency accesses of other tests, whose reviews may still be due."""
    with request.getfixturevalue("service").database.transaction(SYSTEM) as tx:
        tx.execute("DELETE FROM emergencies")


def expired(story: Story, service: Service, *, days: int = 90, **values: Any) -> r.Referral:
    """Makes a live referral whose consent has expired."""
    sent = story.sent(person=story.person(plan=PLAN, health_note="asma"), **values)
    service.clock.advance(timedelta(days=days))
    return sent


def declare(
    client: Client, referral: r.Referral, reason: str = "life_at_risk", note: str = NOTE
) -> pb.Emergency:
    reason_code = r.OverrideReason.Value(f"OVERRIDE_REASON_{reason.upper()}")
    created: pb.Emergency = client.OpenInEmergency(
        pb.OpenInEmergencyRequest(referral_id=referral.id, reason_code=reason_code, note=note)
    )
    return created


def opens(
    client: Client, referral: r.Referral, *groups: people_pb2.FieldGroup.ValueType
) -> people_pb2.Identity:
    request = people_pb2.OpenPersonRequest(
        id=referral.person_id,
        purpose_code="HOU.EMG",
        field_groups=groups or [G.FIELD_GROUP_IDENTITY],
        referral_id=referral.id,
    )
    identity: people_pb2.Identity = client.OpenPerson(request)
    return identity


def fire_deadlines(service: Service) -> None:
    DeadlineScheduler(
        service.made.emergencies, service.database, service.clock, book.next_time, "emergencies"
    ).fire()


def published_verbs(service: Service, identifier: str) -> list[str]:
    with service.database.transaction(SYSTEM) as tx:
        rows = tx.execute(
            "SELECT type, payload FROM outbox WHERE subject = %s ORDER BY version", (identifier,)
        ).fetchall()
    for row in rows:
        fact = facts_pb2.EmergencyFact.FromString(row["payload"])
        assert (fact.organization_id, fact.opened_by_organization_id) == (
            ORG["ngo"],
            ORG["shelter"],
        )
        assert NOTE.encode() not in row["payload"]
    return [row["type"].split(".")[2] for row in rows]


OPENINGS: dict[str, Callable[[Client, r.Referral], Any]] = {
    "identity": opens,
    "plan": lambda by, of: by.OpenSafeContact(people_pb2.OpenSafeContactRequest(referral_id=of.id)),
    "outline": lambda by, of: by.GetSafeContact(
        people_pb2.GetSafeContactRequest(referral_id=of.id)
    ),
}


def refusal_reasons(client: Client, referral: r.Referral) -> set[str]:
    """Returns the reasons for which all ways to open the data are refused.

    Notes are withheld without a refusal.
    """
    # the lambda is called at once
    return {refusal(lambda: ask(client, referral))[1] for ask in OPENINGS.values()}  # noqa: B023


def test_emergency_access_opens_the_data_needed_to_act_for_an_hour_and_only_to_its_declarer(
    story: Story, service: Service, nurse: Client
) -> None:
    referral = expired(story, service)
    assert refusal_reasons(nurse, referral) == {"receipt_expired"}
    emergency = declare(nurse, referral)
    assert (emergency.live, emergency.note, emergency.person_id) == (True, "", referral.person_id)
    assert (
        opens(nurse, referral, G.FIELD_GROUP_IDENTITY, G.FIELD_GROUP_HEALTH).health_note == "asma"
    )
    assert OPENINGS["plan"](nurse, referral).code_word == "mango"
    OPENINGS["outline"](nurse, referral)
    story.shelter.ListReferralEvents(r.ListReferralEventsRequest(referral_id=referral.id))
    differs = ("FAILED_PRECONDITION", "receipt_field_group_differs")
    assert refusal(lambda: opens(nurse, referral, G.FIELD_GROUP_EXPLOITATION)) == differs, (
        "her story is not needed in an emergency"
    )
    assert refusal_reasons(story.shelter, referral) == {"receipt_expired"}, (
        "a colleague has to declare her own emergency"
    )
    assert refusal(lambda: opens(somebody(service, "clinic"), referral)) == NOT_THERE
    service.clock.advance(timedelta(minutes=60))
    assert refusal_reasons(nurse, referral) == {"receipt_expired"}


def test_notes_are_readable_only_during_an_emergency_access(
    story: Story, service: Service, nurse: Client
) -> None:
    referral = story.overridden()
    service.clock.advance(timedelta(hours=13))  # nobody has confirmed it
    history = r.ListReferralEventsRequest(referral_id=referral.id)

    def notes(client: Client) -> list[str]:
        return [event.note for event in client.ListReferralEvents(history).events if event.note]

    assert notes(nurse) == []
    declare(nurse, referral)
    assert (len(notes(nurse)), notes(story.shelter)) == (1, [])
    service.clock.advance(timedelta(minutes=60))
    assert notes(nurse) == []


def test_each_access_names_its_emergency_in_the_trail_and_is_listed_as_a_reading(
    story: Story, service: Service, nurse: Client
) -> None:
    referral = expired(story, service)
    emergency = declare(nurse, referral)
    opens(nurse, referral)
    OPENINGS["plan"](nurse, referral)
    with service.database.transaction(SYSTEM) as tx:
        rows = tx.execute(
            "SELECT action, detail_codes FROM audit WHERE object_id = %s AND actor_id = %s"
            " ORDER BY sequence",
            (referral.person_id, nurse.caller.id),
        ).fetchall()
    assert [row["action"] for row in rows] == [
        "open_in_emergency",
        "open_identity",
        "read_safe_contact",
    ]
    assert rows[0]["detail_codes"] == [f"referral:{referral.id}", "life_at_risk"]
    assert all(f"emergency:{emergency.id}" in row["detail_codes"] for row in rows[1:])
    response = story.ngo.ListReadings(
        people_pb2.ListReadingsRequest(person_id=referral.person_id)
    ).readings
    assert [reading.actor_id for reading in response] == [nurse.caller.id] * 2


def test_an_emergency_access_is_notified_at_once_ends_in_time_and_is_due_for_review_in_72_hours(
    story: Story, service: Service, nurse: Client
) -> None:
    referral = expired(story, service, days=91)
    emergency = declare(nurse, referral)
    assert published_verbs(service, emergency.id) == ["opened"]
    service.clock.advance(timedelta(minutes=59))
    fire_deadlines(service)
    assert published_verbs(service, emergency.id) == ["opened"]
    service.clock.advance(timedelta(minutes=1))
    fire_deadlines(service)
    assert published_verbs(service, emergency.id) == ["opened", "ended"]
    service.clock.advance(timedelta(hours=71))
    fire_deadlines(service)
    fire_deadlines(service)
    assert published_verbs(service, emergency.id) == ["opened", "ended", "review_overdue"]
    assert refusal(lambda: declare(somebody(service, "shelter"), referral)) == (
        "FAILED_PRECONDITION",
        "review_owed",
    )
    review(story.ngo, emergency)
    assert published_verbs(service, emergency.id)[-1] == "reviewed"
    assert declare(nurse, referral).live


def review(
    client: Client, emergency: pb.Emergency, code: int = audit_pb2.REVIEW_OUTCOME_EXPLAINED
) -> pb.Emergency:
    now = client.GetEmergency(pb.GetEmergencyRequest(id=emergency.id))
    reviewed: pb.Emergency = client.ReviewEmergency(
        pb.ReviewEmergencyRequest(id=emergency.id, etag=now.etag, review_code=code)  # type: ignore[arg-type]
    )
    return reviewed


def test_an_emergency_is_reviewed_by_the_files_organisation_or_an_auditor_not_by_its_declarer(
    story: Story, service: Service, nurse: Client
) -> None:
    referral = expired(story, service)
    first, second = declare(nurse, referral), declare(nurse, referral)
    assert refusal(lambda: review(nurse, first)) == (
        "FAILED_PRECONDITION",
        "second_person_required",
    )
    assert refusal(lambda: review(story.shelter, first)) == (
        "FAILED_PRECONDITION",
        "second_person_required",
    )
    assert refusal(lambda: review(somebody(service, "clinic"), first)) == NOT_THERE
    assert refusal(lambda: review(story.coordinator, first)) == (
        "PERMISSION_DENIED",
        "right_missing",
    )
    reviewed = review(story.ngo, first, audit_pb2.REVIEW_OUTCOME_MISUSE)
    assert (reviewed.reviewed_by_worker_id, reviewed.review_code) == (
        story.ngo.caller.id,
        audit_pb2.REVIEW_OUTCOME_MISUSE,
    )
    assert refusal(lambda: review(story.ngo, first)) == ("FAILED_PRECONDITION", "nothing_to_review")
    auditor = service.as_("coalition", "AUDITOR")
    assert review(auditor, second).person_id == "", "an auditor never learns who a person is"


def test_only_those_who_work_with_people_at_the_files_organisation_read_an_emergencys_note(
    story: Story, service: Service, nurse: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    referral = expired(story, service)
    emergency = declare(nurse, referral)

    def text(client: Client) -> str:
        shown: pb.Emergency = client.GetEmergency(pb.GetEmergencyRequest(id=emergency.id))
        return shown.note

    others = (
        nurse,
        story.coordinator,
        service.as_("coalition", "AUDITOR"),
        service.as_("ngo", "MANAGER"),
        service.as_("ngo", "AUDITOR", "WORKER"),
    )
    assert (text(story.ngo), [text(other) for other in others]) == (NOTE, [""] * 5)
    response = story.ngo.ListReadings(
        people_pb2.ListReadingsRequest(person_id=referral.person_id)
    ).readings
    assert [(reading.actor_id, list(reading.field_groups)) for reading in response] == [
        (story.ngo.caller.id, [G.FIELD_GROUP_NOTES])
    ]
    with psycopg.connect(service.migration_url) as owner:
        [(sealed,)] = owner.execute(
            "SELECT note FROM emergencies WHERE id = %s", (emergency.id,)
        ).fetchall()
    assert NOTE.encode() not in bytes(sealed)
    monkeypatch.setattr(service.made.openings, "most", 1)
    busy = somebody(service)
    busy.GetPerson(people_pb2.GetPersonRequest(id=story.person().id))
    assert refusal(lambda: text(busy)) == ("RESOURCE_EXHAUSTED", "opening_quota")
    with psycopg.connect(service.migration_url, autocommit=True) as owner:
        owner.execute(
            "UPDATE person_keys SET wrapped = NULL WHERE person_id = %s", (referral.person_id,)
        )
    monkeypatch.setattr(service.made.openings, "most", 100_000)
    assert refusal(lambda: text(story.ngo)) == ("FAILED_PRECONDITION", "person_erased")


def test_an_emergency_does_not_widen_a_live_consent(
    story: Story, service: Service, nurse: Client
) -> None:
    referral = story.sent(field_groups=[G.FIELD_GROUP_IDENTITY])
    assert refusal(lambda: declare(nurse, referral)) == (
        "FAILED_PRECONDITION",
        "emergency_not_needed",
    )
    assert refusal(lambda: opens(nurse, referral, G.FIELD_GROUP_HEALTH)) == (
        "FAILED_PRECONDITION",
        "receipt_field_group_differs",
    )


def test_only_the_receiver_of_a_live_referral_can_declare_an_emergency(
    story: Story, service: Service, nurse: Client
) -> None:
    referral, draft = expired(story, service), story.draft()
    for stranger in (somebody(service, "clinic"), story.ngo):
        # the lambda is called at once
        assert refusal(lambda: declare(stranger, referral)) == NOT_THERE  # noqa: B023
    assert refusal(lambda: declare(nurse, draft)) == NOT_THERE
    emergency = declare(nurse, referral)
    story.ngo.WithdrawReferral(
        r.WithdrawReferralRequest(
            id=referral.id, etag=referral.etag, reason_code=r.WITHDRAW_REASON_MOVED
        )
    )
    assert refusal(lambda: opens(nurse, referral)) == NOT_THERE, (
        "the emergency ends with the referral"
    )
    assert refusal(lambda: declare(nurse, referral)) == NOT_THERE
    assert [
        emergency.id
        for emergency in story.ngo.ListEmergencies(
            pb.ListEmergenciesRequest(person_id=referral.person_id)
        ).emergencies
    ] == [emergency.id]


def test_police_members_on_probation_and_keys_cannot_declare_an_emergency(
    story: Story, service: Service, nurse: Client
) -> None:
    referral = expired(story, service)
    for kind, status, expected in (
        ("LAW_ENFORCEMENT", "APPROVED", MISSING),
        ("NGO", "PROBATION", ("PERMISSION_DENIED", "member_on_probation")),
    ):
        note_shelter(service, status, kind)
        try:
            assert refusal(lambda: declare(nurse, referral)) == expected
        finally:
            note_shelter(service, "APPROVED", "NGO")
    emergency = declare(nurse, referral)
    note_shelter(service, "APPROVED", "LAW_ENFORCEMENT")
    try:
        assert emergency.live
        assert refusal(lambda: opens(nurse, referral)) == MISSING, (
            "the member's status and kind are checked again at every read"
        )
    finally:
        note_shelter(service, "APPROVED", "NGO")
    for other in (
        service.as_("shelter", scopes=("people.open",)),
        service.as_("shelter", "MANAGER"),
        service.as_("shelter", "AUDITOR", "WORKER"),
    ):
        assert refusal(lambda: declare(other, referral))[0] == "PERMISSION_DENIED"  # noqa: B023
    assert refusal(lambda: declare(nurse, referral, note="  "))[1] == "invalid_fields"


def note_shelter(service: Service, status: str, kind: str) -> None:
    with service.database.transaction(SYSTEM) as tx:
        members.note_member(tx, "organization", ORG["shelter"], True, status, kind, country="NI")


def test_a_withdrawal_ends_an_emergency_at_once_and_only_a_new_danger_starts_another(
    story: Story, service: Service, nurse: Client
) -> None:
    referral = expired(story, service)
    emergency = declare(nurse, referral)
    story.ngo.WithdrawReceipt(people_pb2.WithdrawReceiptRequest(id=referral.receipt_id))
    assert refusal(lambda: opens(nurse, referral)) == NOT_THERE
    assert not story.ngo.GetEmergency(pb.GetEmergencyRequest(id=emergency.id)).live
    assert published_verbs(service, emergency.id) == ["opened", "ended"]
    again = story.overridden("danger_after_withdrawal", person=person_of(story, referral))
    service.clock.advance(timedelta(hours=13))
    assert refusal(lambda: declare(nurse, again)) == (
        "FAILED_PRECONDITION",
        "override_after_withdrawal",
    )
    assert declare(nurse, again, "danger_after_withdrawal").live
    fresh = expired(story, service)
    assert refusal(lambda: declare(nurse, fresh, "danger_after_withdrawal"))[1] == "invalid_fields"


def person_of(story: Story, referral: r.Referral) -> people_pb2.Person:
    person: people_pb2.Person = story.ngo.GetPerson(
        people_pb2.GetPersonRequest(id=referral.person_id)
    )
    return person


def test_no_emergency_can_be_declared_for_an_erased_person(
    story: Story, service: Service, nurse: Client
) -> None:
    referral = expired(story, service)
    with psycopg.connect(service.migration_url, autocommit=True) as owner:
        owner.execute("UPDATE people SET erased = true WHERE id = %s", (referral.person_id,))
    assert refusal(lambda: declare(nurse, referral)) == ("FAILED_PRECONDITION", "person_erased")


def test_a_refused_emergency_is_recorded_with_the_person(story: Story, service: Service) -> None:
    referral = story.sent()
    refusal(lambda: declare(story.shelter, referral))
    with service.database.transaction(SYSTEM) as tx:
        rows = tx.execute(
            "SELECT action, reason FROM audit WHERE object_id = %s AND NOT allowed",
            (referral.person_id,),
        ).fetchall()
    assert rows == [{"action": "open_in_emergency", "reason": "emergency_not_needed"}]
    assert service.clock.now() == NOON
