"""Emergency access.

The tests cover who may declare an emergency, what it opens and for how long, who is notified, and
its review.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from protos.referrals.v1 import audit_pb2, facts_pb2, people_pb2
from protos.referrals.v1 import emergencies_pb2 as pb
from protos.referrals.v1 import referrals_pb2 as r
from services.referrals.files.store import emergencies as emergency_store
from services.referrals.network.usecases.deadlines import DeadlineScheduler
from tests.builders import NOT_FOUND, refusal
from tests.referrals.conftest import ORG, Client, Service, Story, history
from tests.referrals.contact_calls import credentials
from tests.referrals.test_contacts import referred_caller
from tests.referrals.test_openings import somebody

G = people_pb2
MISSING = ("FAILED_PRECONDITION", "receipt_missing")
DIFFERS = ("FAILED_PRECONDITION", "receipt_field_group_differs")
SECOND_PERSON = ("FAILED_PRECONDITION", "second_person_required")
NOTE = "no respira bien y nadie contesta"
PLAN = people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_PHONE, code_word="mango")


@pytest.fixture
def nurse(service: Service) -> Client:
    """Returns a worker of the shelter who has opened nothing yet."""
    return somebody(service, "shelter")


@pytest.fixture(autouse=True)
def no_earlier_emergencies(service: Service) -> None:
    """Deletes the emergency accesses of other tests, whose reviews may still be due."""
    service.as_owner("DELETE FROM emergencies")


def referral_with_expired_consent(
    story: Story, service: Service, *, days: int = 90, **values: Any
) -> r.Referral:
    """Makes a live referral whose consent has expired."""
    sent = story.sent(person=story.person(plan=PLAN, health_note="asma"), **values)
    service.clock.advance(timedelta(days=days))
    return sent


def declare(
    client: Client, referral: r.Referral, reason: str = "life_at_risk", note: str = NOTE
) -> pb.Emergency:
    emergency: pb.Emergency = client.OpenInEmergency(
        referral_id=referral.id,
        reason_code=r.OverrideReason.Value(f"OVERRIDE_REASON_{reason.upper()}"),
        note=note,
    )
    return emergency


def open_fields(
    client: Client, referral: r.Referral, *groups: people_pb2.FieldGroup.ValueType
) -> people_pb2.Identity:
    """Opens these field groups of the person, by default her identity."""
    identity: people_pb2.Identity = client.OpenPerson(
        id=referral.person_id,
        purpose_code="HOU.EMG",
        field_groups=groups or [G.FIELD_GROUP_IDENTITY],
        referral_id=referral.id,
    )
    return identity


def fire_deadlines(service: Service) -> None:
    DeadlineScheduler(
        service.made.emergencies,
        service.database,
        service.clock,
        emergency_store.next_time,
        "emergencies",
    ).fire()


def published_verbs(service: Service, emergency_id: str) -> list[str]:
    """Returns the verbs of the facts about an emergency; checks that the facts hold only ids."""
    rows = service.rows("SELECT payload FROM outbox WHERE subject = %s", emergency_id)
    for row in rows:
        fact = facts_pb2.EmergencyFact.FromString(row["payload"])
        assert (fact.organization_id, fact.opened_by_organization_id) == (
            ORG["ngo"],
            ORG["shelter"],
        )
        assert NOTE.encode() not in row["payload"]
    return [type_.split(".")[2] for type_ in service.fact_types(emergency_id)]


OPENINGS: dict[str, Callable[[Client, r.Referral], Any]] = {
    "identity": open_fields,
    "plan": lambda client, referral: client.OpenSafeContact(referral_id=referral.id),
    "outline": lambda client, referral: client.GetSafeContact(referral_id=referral.id),
}


def refusal_reasons(client: Client, referral: r.Referral) -> set[str]:
    """Returns the reasons for which all ways to open the data are refused.

    Notes are not tried: they are left out without a refusal.
    """
    return {refusal(partial(open_data, client, referral))[1] for open_data in OPENINGS.values()}


def test_emergency_access_opens_the_data_needed_to_act_for_an_hour_and_to_its_declarer_alone(
    story: Story, service: Service, nurse: Client
) -> None:
    referral = referral_with_expired_consent(story, service)
    assert refusal_reasons(nurse, referral) == {"receipt_expired"}
    emergency = declare(nurse, referral)
    assert (emergency.live, emergency.note, emergency.person_id) == (True, "", referral.person_id)
    identity = open_fields(nurse, referral, G.FIELD_GROUP_IDENTITY, G.FIELD_GROUP_HEALTH)
    assert identity.health_note == "asma"
    assert OPENINGS["plan"](nurse, referral).code_word == "mango"
    OPENINGS["outline"](nurse, referral)
    history(story.shelter, referral.id)
    assert refusal(lambda: open_fields(nurse, referral, G.FIELD_GROUP_EXPLOITATION)) == DIFFERS, (
        "her story is not needed in an emergency"
    )
    assert refusal_reasons(story.shelter, referral) == {"receipt_expired"}, (
        "a colleague has to declare her own emergency"
    )
    assert refusal(lambda: open_fields(somebody(service, "clinic"), referral)) == NOT_FOUND
    service.clock.advance(timedelta(minutes=60))
    assert refusal_reasons(nurse, referral) == {"receipt_expired"}


def test_notes_are_readable_only_during_an_emergency_access(
    story: Story, service: Service, nurse: Client
) -> None:
    referral = story.overridden()
    service.clock.advance(timedelta(hours=13))  # nobody has confirmed the override

    def notes(client: Client) -> list[str]:
        return [event.note for event in history(client, referral.id) if event.note]

    assert notes(nurse) == []
    declare(nurse, referral)
    assert (len(notes(nurse)), notes(story.shelter)) == (1, [])
    service.clock.advance(timedelta(minutes=60))
    assert notes(nurse) == []


def test_each_reading_in_an_emergency_is_on_the_trail_with_that_emergency_and_listed_for_the_file(
    story: Story, service: Service, nurse: Client
) -> None:
    referral = referral_with_expired_consent(story, service)
    emergency = declare(nurse, referral)
    open_fields(nurse, referral)
    OPENINGS["plan"](nurse, referral)
    rows = service.rows(
        "SELECT action, detail_codes FROM audit WHERE object_id = %s AND actor_id = %s"
        " ORDER BY sequence",
        referral.person_id,
        nurse.caller.id,
    )
    assert [row["action"] for row in rows] == [
        "open_in_emergency",
        "open_identity",
        "read_safe_contact",
    ]
    assert rows[0]["detail_codes"] == [f"referral:{referral.id}", "life_at_risk"]
    assert all(f"emergency:{emergency.id}" in row["detail_codes"] for row in rows[1:])
    accesses = story.ngo.ListReadings(person_id=referral.person_id).readings
    assert [access.actor_id for access in accesses] == [nurse.caller.id] * 2


def test_an_emergency_access_is_announced_at_once_ends_in_time_and_is_due_for_review_in_72_hours(
    story: Story, service: Service, nurse: Client
) -> None:
    referral = referral_with_expired_consent(story, service, days=91)
    emergency = declare(nurse, referral)
    for pause, expected in (
        (timedelta(0), ["opened"]),
        (timedelta(minutes=59), ["opened"]),
        (timedelta(minutes=1), ["opened", "ended"]),
        (timedelta(hours=71), ["opened", "ended", "review_overdue"]),
        (timedelta(0), ["opened", "ended", "review_overdue"]),
    ):
        service.clock.advance(pause)
        fire_deadlines(service)
        assert published_verbs(service, emergency.id) == expected
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
    reviewed_emergency: pb.Emergency = client.ReviewEmergency(
        id=emergency.id, etag=client.GetEmergency(id=emergency.id).etag, review_code=code
    )
    return reviewed_emergency


def test_an_emergency_is_reviewed_by_the_files_organisation_or_an_auditor_not_by_its_declarer(
    story: Story, service: Service, nurse: Client, auditor: Client
) -> None:
    referral = referral_with_expired_consent(story, service)
    first_emergency, second_emergency = declare(nurse, referral), declare(nurse, referral)
    for client, expected in (
        (nurse, SECOND_PERSON),
        (story.shelter, SECOND_PERSON),
        (somebody(service, "clinic"), NOT_FOUND),
        (story.coordinator, ("PERMISSION_DENIED", "right_missing")),
    ):
        assert refusal(partial(review, client, first_emergency)) == expected
    reviewed_emergency = review(story.ngo, first_emergency, audit_pb2.REVIEW_OUTCOME_MISUSE)
    assert (reviewed_emergency.reviewed_by_worker_id, reviewed_emergency.review_code) == (
        story.ngo.caller.id,
        audit_pb2.REVIEW_OUTCOME_MISUSE,
    )
    second_review = partial(
        story.ngo.ReviewEmergency,
        id=first_emergency.id,
        review_code=audit_pb2.REVIEW_OUTCOME_MISUSE,
    )
    for etag in (first_emergency.etag, reviewed_emergency.etag):
        assert refusal(partial(second_review, etag=etag)) == (
            "FAILED_PRECONDITION",
            "nothing_to_review",
        )
    assert review(auditor, second_emergency).person_id == "", (
        "an auditor never learns who a person is"
    )


def test_only_caseworkers_of_the_files_organisation_read_the_note_of_an_emergency(
    story: Story, service: Service, nurse: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    referral = referral_with_expired_consent(story, service)
    emergency = declare(nurse, referral)

    def note(client: Client) -> str:
        return str(client.GetEmergency(id=emergency.id).note)

    other_clients = (
        nurse,
        story.coordinator,
        service.as_("coalition", "AUDITOR"),
        service.as_("ngo", "MANAGER"),
        service.as_("ngo", "AUDITOR", "WORKER"),
    )
    assert (note(story.ngo), [note(client) for client in other_clients]) == (NOTE, [""] * 5)
    accesses = story.ngo.ListReadings(person_id=referral.person_id).readings
    assert [(access.actor_id, list(access.field_groups)) for access in accesses] == [
        (story.ngo.caller.id, [G.FIELD_GROUP_NOTES])
    ]
    [row] = service.rows("SELECT note FROM emergencies WHERE id = %s", emergency.id)
    assert NOTE.encode() not in bytes(row["note"])
    monkeypatch.setattr(service.made.openings, "maximum", 1)
    busy_worker = somebody(service)
    busy_worker.GetPerson(id=story.person().id)
    assert refusal(lambda: note(busy_worker)) == ("RESOURCE_EXHAUSTED", "opening_quota")
    service.as_owner(
        "UPDATE person_keys SET wrapped = NULL WHERE person_id = %s", referral.person_id
    )
    monkeypatch.setattr(service.made.openings, "maximum", 100_000)
    assert note(story.ngo) == "", "nobody can open it any more"
    assert review(story.ngo, emergency).review_time, "and the access is reviewed all the same"


def test_an_emergency_does_not_widen_a_live_consent(story: Story, nurse: Client) -> None:
    referral = story.sent(field_groups=[G.FIELD_GROUP_IDENTITY])
    assert refusal(lambda: declare(nurse, referral)) == (
        "FAILED_PRECONDITION",
        "emergency_not_needed",
    )
    assert refusal(lambda: open_fields(nurse, referral, G.FIELD_GROUP_HEALTH)) == DIFFERS


def test_only_the_receiver_of_a_live_referral_can_declare_an_emergency(
    story: Story, service: Service, nurse: Client
) -> None:
    referral = referral_with_expired_consent(story, service)
    for client, refused_referral in (
        (somebody(service, "clinic"), referral),
        (story.ngo, referral),
        (nurse, story.draft()),
    ):
        assert refusal(partial(declare, client, refused_referral)) == NOT_FOUND
    emergency = declare(nurse, referral)
    story.ngo.WithdrawReferral(
        id=referral.id, etag=referral.etag, reason_code=r.WITHDRAW_REASON_MOVED
    )
    assert refusal(lambda: open_fields(nurse, referral)) == NOT_FOUND, (
        "the emergency ends with the referral"
    )
    assert refusal(lambda: declare(nurse, referral)) == NOT_FOUND
    emergencies = story.ngo.ListEmergencies(person_id=referral.person_id).emergencies
    assert [listed_emergency.id for listed_emergency in emergencies] == [emergency.id]


def test_neither_police_nor_keys_nor_members_on_probation_can_declare_an_emergency(
    story: Story, service: Service, nurse: Client
) -> None:
    referral = referral_with_expired_consent(story, service)
    with shelter_of_type(service, "LAW_ENFORCEMENT"):
        assert refusal(lambda: declare(nurse, referral)) == MISSING
    with service.member_with_status("shelter", "PROBATION"):
        assert refusal(lambda: declare(nurse, referral)) == (
            "PERMISSION_DENIED",
            "member_on_probation",
        )
    assert declare(nurse, referral).live
    with shelter_of_type(service, "LAW_ENFORCEMENT"):
        assert refusal(lambda: open_fields(nurse, referral)) == MISSING, (
            "the member's status and kind are checked again at every read"
        )
    for client in (
        service.as_("shelter", scopes=("people.open",)),
        service.as_("shelter", "MANAGER"),
        service.as_("shelter", "AUDITOR", "WORKER"),
    ):
        assert refusal(partial(declare, client, referral))[0] == "PERMISSION_DENIED"
    assert refusal(lambda: declare(nurse, referral, note="  "))[1] == "invalid_fields"


@contextmanager
def shelter_of_type(service: Service, type_: str) -> Iterator[None]:
    """Makes the shelter an organisation of this type, such as the police, until the block ends."""
    set_type = "UPDATE members SET type = %s WHERE id = %s"
    service.as_owner(set_type, type_, ORG["shelter"])
    try:
        yield
    finally:
        service.as_owner(set_type, "NGO", ORG["shelter"])


def test_a_withdrawal_ends_an_emergency_at_once_and_only_a_new_danger_starts_another(
    story: Story, service: Service, nurse: Client
) -> None:
    referral = referral_with_expired_consent(story, service)
    emergency = declare(nurse, referral)
    story.ngo.WithdrawReceipt(id=referral.receipt_id)
    assert refusal(lambda: open_fields(nurse, referral)) == NOT_FOUND
    assert not story.ngo.GetEmergency(id=emergency.id).live
    assert published_verbs(service, emergency.id) == ["opened", "ended"]
    second_referral = story.overridden(
        "danger_after_withdrawal", person=story.ngo.GetPerson(id=referral.person_id)
    )
    service.clock.advance(timedelta(hours=13))
    assert refusal(lambda: declare(nurse, second_referral)) == (
        "FAILED_PRECONDITION",
        "override_after_withdrawal",
    )
    assert declare(nurse, second_referral, "danger_after_withdrawal").live
    other_referral = referral_with_expired_consent(story, service)
    assert (
        refusal(lambda: declare(nurse, other_referral, "danger_after_withdrawal"))[1]
        == "invalid_fields"
    )


def test_no_emergency_can_be_declared_for_an_erased_person(
    story: Story, service: Service, nurse: Client
) -> None:
    referral = referral_with_expired_consent(story, service)
    service.as_owner("UPDATE people SET erased = true WHERE id = %s", referral.person_id)
    assert refusal(lambda: declare(nurse, referral)) == ("FAILED_PRECONDITION", "person_erased")


def test_a_refused_emergency_is_recorded_with_the_person(story: Story, service: Service) -> None:
    referral = story.sent()
    refusal(lambda: declare(story.shelter, referral))
    assert service.rows(
        "SELECT action, reason FROM audit WHERE object_id = %s AND NOT allowed", referral.person_id
    ) == [{"action": "open_in_emergency", "reason": "emergency_not_needed"}]


def test_a_caller_reads_that_an_emergency_access_opens_her_data(
    story: Story, service: Service, nurse: Client
) -> None:
    created, sent, _ = referred_caller(story)
    service.clock.advance(timedelta(days=90))

    def count() -> tuple[int, bool]:
        status = service.public().GetReferenceStatus(**credentials(created))
        return status.organizations_with_access, status.items[0].consent_live

    assert count() == (0, False)
    declare(nurse, sent)
    assert count() == (1, False)
    service.clock.advance(timedelta(hours=1))
    assert count() == (0, False)


@pytest.mark.parametrize(
    ("code", "stays_live"),
    [
        (audit_pb2.REVIEW_OUTCOME_EXPLAINED, True),
        (audit_pb2.REVIEW_OUTCOME_MISTAKE, False),
        (audit_pb2.REVIEW_OUTCOME_MISUSE, False),
    ],
)
def test_a_review_that_finds_no_explanation_ends_an_emergency_access_at_once(
    code: int, stays_live: bool, story: Story, service: Service, nurse: Client
) -> None:
    referral = referral_with_expired_consent(story, service)
    emergency = declare(nurse, referral)
    service.clock.advance(timedelta(minutes=5))
    assert review(story.ngo, emergency, code).live == stays_live
    if stays_live:
        assert open_fields(nurse, referral).given_name
    else:
        assert refusal_reasons(nurse, referral) == {"receipt_expired"}
    fire_deadlines(service)
    ended = [] if stays_live else ["ended"]
    assert published_verbs(service, emergency.id) == ["opened", "reviewed", *ended]
