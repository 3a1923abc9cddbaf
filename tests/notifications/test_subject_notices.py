"""The recipients of notices about contacts, emergency accesses, exports, members and others."""

from __future__ import annotations

from typing import Any

import pytest

from chassis.ids import new_id
from chassis.tokens import SYSTEM
from facts.outbox import Fact
from protos.partners.v1 import facts_pb2 as partners_pb2
from protos.referrals.v1 import facts_pb2 as referrals_pb2
from services.notifications.domain.notices import BY_FACT
from services.notifications.store import members
from tests.notifications.conftest import OTHER, RECEIVER, SENDER, Service


def fact(service: Service, type: str, body: Any) -> Fact:
    return Fact(new_id(), 1, f"enlace.{type}.v1", body.SerializeToString(), service.clock.now())


def recipients(service: Service, kind: str) -> list[tuple[str, str, str, str]]:
    """Returns audience, organisation, sender and worker of each message, newest first."""
    rows = service.rows(
        "SELECT audience, organization_id, sender_organization_id, worker_id FROM messages"
        " WHERE kind = %s ORDER BY create_time DESC, audience, worker_id",
        kind,
    )
    return [tuple(row.values()) for row in rows]


def save_worker(service: Service, organization: str, id: str, role: str, status: str) -> None:
    with service.database.transaction(SYSTEM) as tx:
        members.save_worker(tx, id, organization, [role], status)


def test_an_anomaly_notifies_every_auditor_or_the_coordinators_if_there_is_none(
    service: Service,
) -> None:
    def notified() -> list[tuple[str, str, str, str]]:
        """Publishes an anomaly; returns the recipients of all anomalies, newest first."""
        service.advance(seconds=1)
        body = referrals_pb2.AnomalyFact(
            kind_code="at_night", worker_id=new_id(), organization_id=RECEIVER, count=1
        )
        service.apply(fact(service, "anomaly.noted", body))
        return recipients(service, "anomaly_noted")

    coordination = ("coordination", "", "", "")
    assert notified() == [coordination]
    former_organization = new_id()
    service.suspend(former_organization, "LEFT")
    save_worker(service, former_organization, new_id(), "AUDITOR", "ACTIVE")
    assert notified() == [coordination] * 2, "the only auditor has no access any more"
    auditors = sorted((new_id(), new_id()))
    for auditor in auditors:
        save_worker(service, OTHER, auditor, "AUDITOR", "ACTIVE")
    save_worker(service, OTHER, new_id(), "AUDITOR", "SUSPENDED")
    assert notified() == [
        *(("worker", OTHER, "", auditor) for auditor in auditors),
        coordination,
        coordination,
    ]
    assert service.as_(RECEIVER, "WORKER").kinds() == [], (
        "the desk of the reported worker is not notified"
    )


@pytest.mark.parametrize("name", ["anomaly.noted", "emergency.opened", "emergency.review_overdue"])
def test_no_message_asks_the_coordinators_for_a_review_that_only_others_may_make(name: str) -> None:
    assert "revíselo" not in BY_FACT[name].text


def test_an_auditor_is_not_notified_of_her_own_unusual_accesses(
    service: Service,
) -> None:
    auditor, colleague = sorted((new_id(), new_id()))
    body = referrals_pb2.AnomalyFact(
        kind_code="at_night", worker_id=auditor, organization_id=OTHER, count=1
    )
    save_worker(service, OTHER, auditor, "AUDITOR", "ACTIVE")
    service.apply(fact(service, "anomaly.noted", body))
    assert recipients(service, "anomaly_noted") == [("coordination", "", "", "")]
    save_worker(service, OTHER, colleague, "AUDITOR", "ACTIVE")
    service.advance(seconds=1)
    service.apply(fact(service, "anomaly.noted", body))
    assert recipients(service, "anomaly_noted")[0] == ("worker", OTHER, "", colleague)


@pytest.mark.parametrize(
    ("type", "kind", "body"),
    [
        (
            "emergency.opened",
            "emergency_opened",
            referrals_pb2.EmergencyFact(organization_id=RECEIVER, opened_by_organization_id=OTHER),
        ),
        (
            "emergency.review_overdue",
            "emergency_review_overdue",
            referrals_pb2.EmergencyFact(organization_id=RECEIVER, opened_by_organization_id=OTHER),
        ),
        # the coordinators learn which line they have to call
        (
            "contact.escalated",
            "contact_escalated",
            referrals_pb2.ContactFact(organization_id=RECEIVER),
        ),
        (
            "callback.escalated",
            "callback_escalated",
            referrals_pb2.CallbackFact(organization_id=RECEIVER),
        ),
        ("erasure.lapsed", "erasure_lapsed", referrals_pb2.ErasureFact(organization_id=RECEIVER)),
    ],
)
def test_the_desk_and_the_coordinators_are_notified_and_the_coordinators_learn_which_desk(
    service: Service, type: str, kind: str, body: Any
) -> None:
    service.apply(fact(service, type, body))
    assert recipients(service, kind) == [
        ("coordination", "", RECEIVER, ""),
        ("desk", RECEIVER, "", ""),
    ]


def test_the_end_of_an_emergency_access_notifies_nobody(service: Service) -> None:
    body = referrals_pb2.EmergencyFact(organization_id=RECEIVER, opened_by_organization_id=OTHER)
    service.apply(fact(service, "emergency.ended", body))
    assert service.rows("SELECT FROM messages") == []


def test_the_managers_and_the_exporting_worker_are_notified_of_an_export(
    service: Service,
) -> None:
    manager, worker = new_id(), new_id()
    save_worker(service, RECEIVER, manager, "MANAGER", "ACTIVE")
    body = referrals_pb2.ExportFact(person_id=new_id(), organization_id=RECEIVER, worker_id=worker)
    export = fact(service, "export.made", body)
    service.apply(export)
    service.apply(export)
    assert recipients(service, "export_made") == [
        ("worker", RECEIVER, "", recipient) for recipient in sorted([manager, worker])
    ]


@pytest.mark.parametrize(
    ("managers", "notified"), [(1, [("coordination", "", RECEIVER, "")]), (2, [])]
)
def test_the_coordinators_learn_of_a_suspended_account_if_no_second_manager_does(
    service: Service, managers: int, notified: list[tuple[str, str, str, str]]
) -> None:
    for _ in range(managers):
        save_worker(service, RECEIVER, new_id(), "MANAGER", "ACTIVE")
    body = partners_pb2.WorkerFact(
        worker_id=new_id(),
        organization_id=RECEIVER,
        role_codes=["MANAGER"],
        status_code="SUSPENDED",
    )
    service.apply_partners_fact(fact(service, "worker.suspended", body))
    assert recipients(service, "worker_suspended") == notified


def test_the_coordinators_are_notified_of_each_publication(service: Service) -> None:
    for count in (1, 2):
        body = referrals_pb2.PublicationFact(organization_id=OTHER, worker_id=new_id())
        service.apply(fact(service, "publication.made", body))
        assert service.as_(SENDER, "COORDINATOR").kinds() == ["publication_made"] * count


def apply_member_fact(service: Service, verb: str, status: str) -> Fact:
    """Applies the same fact about a new organisation twice; a fact may be delivered again."""
    id = new_id()
    body = partners_pb2.OrganizationFact(organization_id=id, status_code=status, days=7)
    change = Fact(
        id, 1, f"enlace.organization.{verb}.v1", body.SerializeToString(), service.clock.now()
    )
    service.apply_partners_fact(change)
    return service.apply_partners_fact(change)


@pytest.mark.parametrize(
    ("verb", "status", "kind"),
    [
        ("agreement_ending", "APPROVED", "agreement_ending"),
        ("agreement_expired", "PROBATION", "agreement_expired"),
        ("renamed", "APPROVED", "organization_renamed"),
    ],
)
def test_the_organisation_and_the_coordinators_are_notified_of_an_agreements_end_and_a_new_name(
    service: Service, verb: str, status: str, kind: str
) -> None:
    member = apply_member_fact(service, verb, status).subject
    assert service.as_(member, "WORKER").kinds() == [kind]
    assert service.as_(OTHER, "COORDINATOR").kinds() == [kind]
    assert service.as_(SENDER, "WORKER").kinds() == []


@pytest.mark.parametrize(
    ("verb", "kind"),
    [
        ("applied", "organization_applied"),
        ("registered", "organization_registered"),
        ("approval_proposed", "approval_proposed"),
    ],
)
def test_the_coordinators_are_notified_of_applications_and_registrations_once_a_day(
    service: Service, verb: str, kind: str
) -> None:
    for day in (1, 2):
        for _ in range(2):
            member = apply_member_fact(service, verb, "APPLIED").subject
            assert service.as_(member, "WORKER").kinds() == [], "nobody is there to read it"
        assert service.as_(OTHER, "COORDINATOR").kinds() == [kind] * day
        service.advance(days=1)


def test_a_second_application_on_the_same_day_makes_the_read_message_unread_again(
    service: Service,
) -> None:
    service.coordinator_desk(OTHER, "coordinacion@coalicion.example")
    coordinator = service.as_(OTHER, "COORDINATOR")
    for _ in range(2):
        apply_member_fact(service, "applied", "APPLIED")
        [message] = coordinator.ListMessages(unread_only=True).messages
        coordinator.MarkMessageRead(id=message.id)
    assert len(service.emails("id")) == 1, "one e-mail a day is enough"


@pytest.mark.parametrize(
    ("verb", "kind"),
    [
        ("suspension_proposed", "suspension_proposed"),
        ("held", "hold_begun"),
        ("hold_ended", "hold_ended"),
        ("reinstatement_proposed", "reinstatement_proposed"),
        ("leaving_proposed", "leaving_proposed"),
        ("left", "organization_left"),
    ],
)
def test_the_coordinators_are_notified_of_each_proposal_hold_and_departure_of_a_member(
    service: Service, verb: str, kind: str
) -> None:
    for count in (1, 2):
        member = apply_member_fact(service, verb, "APPROVED").subject
        assert service.as_(OTHER, "COORDINATOR").kinds() == [kind] * count
        assert service.as_(member, "WORKER").kinds() == []
