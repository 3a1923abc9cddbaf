"""Facts received through a broker: once, in order, from the right signer.

The tests also cover the fact that this service publishes.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from chassis.config import ServiceSettings
from chassis.ids import new_id
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM
from facts import dead_letters
from facts.broker import Broker
from facts.envelope import pack, unpack
from facts.kafka import REPLAYS, Consumer, Producer
from facts.outbox import Fact
from facts.relay import Relay
from facts.subscriber import Subscriber
from keys import key_folder
from keys.sealing import SignatureCheck, Signer
from protos.notifications.v1 import facts_pb2
from protos.partners.v1 import facts_pb2 as partners_pb2
from protos.referrals.v1 import facts_pb2 as referrals_pb2
from services.notifications import subscriptions
from services.notifications.domain.delivery import Channel, Outcome
from services.notifications.domain.rules import HISTORY
from services.notifications.store import members
from services.notifications.subscriptions import PARTNERS, REFERRALS, TOPIC
from tests.notifications.conftest import OTHER, PUBLIC_URL, RECEIVER, SENDER, Service
from tests.notifications.test_invitations import fact as invitation
from tests.parts import brokers
from tests.parts.local_stack import until


def settings(bootstrap: str) -> ServiceSettings:
    return ServiceSettings(
        "", "", bootstrap, "PLAINTEXT", "", "", "", 1, "", "", Path(), False, True, 4
    )


@dataclass
class World:
    """The service with its subscribers running, and the other services' signing keys."""

    service: Service
    bootstrap: str
    signers: dict[str, Signer]
    own_signer: dict[str, SignatureCheck]

    def publish(
        self,
        *facts: Fact,
        topic: str = REFERRALS,
        signer: str = "referrals",
        source: str = "",
        body: bytes | None = None,
    ) -> None:
        producer = Producer(settings(self.bootstrap))
        records = [pack(fact, source or f"enlace/{signer}", self.signers[signer]) for fact in facts]
        producer.send_all(
            topic,
            [(key, value if body is None else body, headers) for key, value, headers in records],
        )
        producer.discard()

    def kinds(self, organization: str = RECEIVER) -> list[str]:
        return [
            message.kind
            for message in self.service.as_(organization, "WORKER").ListMessages().messages
        ]

    def applied_version(self, subject: str) -> int:
        rows = self.service.rows(
            "SELECT version FROM inbox WHERE consumer = 'notifications-referrals' AND subject = %s",
            subject,
        )
        return int(rows[0]["version"]) if rows else 0

    def waiting(self) -> list[dead_letters.DeadLetter]:
        with self.service.database.transaction(SYSTEM) as tx:
            return dead_letters.list_letters(tx)

    def discard_waiting(self) -> None:
        with self.service.database.transaction(SYSTEM) as tx:
            dead_letters.discard(
                tx, dead_letters.list_letters(tx), "for_the_test", self.service.clock.now()
            )
        # parked facts are retried once a second
        self.service.clock.advance(timedelta(seconds=2))
        until(lambda: not self.service.rows("SELECT FROM inbox_parked"))

    def records(self, topic: str, key: str, count: int = 1) -> list[Any]:
        consumer = Consumer(settings(self.bootstrap), new_id(), [topic])
        received: list[Any] = []
        end = time.monotonic() + 60
        while len(received) < count and time.monotonic() < end:
            received += [record for record in consumer.poll(0.5) if record.key == key.encode()]
        consumer.close()
        return received


@pytest.fixture(scope="module")
def own_broker() -> Iterator[brokers.Broker]:
    """Runs a broker for this module alone.

    The shared broker has facts of other tests' services under the same topics, signed with keys
    that this module does not trust.
    """
    broker = brokers.Broker()
    try:
        broker.start()
        yield broker
    finally:
        broker.close()


@pytest.fixture(scope="module")
def module_world(
    running: Service, own_broker: brokers.Broker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """Returns one world for the module: each service has a topic and a consumer group on it."""
    folder = tmp_path_factory.mktemp("trusted_signers")
    key_folder.create(folder, ["referrals", "partners", "notifications"])
    signers = {
        name: Signer(key_folder.signing(folder, f"facts.{name}"))
        for name in ("referrals", "partners", "notifications")
    }
    topics = [TOPIC, REFERRALS, PARTNERS]
    broker = Broker(settings(own_broker.bootstrap), [*topics, REPLAYS])
    handlers = {
        "referrals": (
            REFERRALS,
            subscriptions.referrals(running.clock, public_url=PUBLIC_URL, by_email=True),
        ),
        "partners": (PARTNERS, subscriptions.partners(running.clock, by_email=True)),
    }
    relay = Relay(
        "notifications", TOPIC, running.database, broker, signers["notifications"], running.clock
    )
    threads: list[Broker | Loop] = [broker, relay.loop()]
    for name, (topic, handle) in handlers.items():
        trusted_signers = {
            f"enlace/{name}": SignatureCheck(key_folder.verifying(folder, f"facts.{name}"))
        }
        threads.append(
            Subscriber(
                f"notifications-{name}", [topic], handle,
                database=running.database, broker=broker, trusted_signers=trusted_signers,
                keyring=running.keyring, clock=running.clock,
            ).loop()
        )  # fmt: skip
    for thread in threads:
        thread.start()
    own_signer = {
        "enlace/notifications": SignatureCheck(key_folder.verifying(folder, "facts.notifications"))
    }
    yield World(running, own_broker.bootstrap, signers, own_signer)
    for thread in reversed(threads):
        thread.stop()
    for thread in reversed(threads):
        thread.join(10)


@pytest.fixture
def world(module_world: World, service: Service) -> World:
    assert module_world.service is service
    return module_world


def test_a_fact_published_twice_makes_one_message_and_one_webhook(world: World) -> None:
    system = world.service.receiver()
    world.service.webhook(RECEIVER, system.url)
    fact, last = world.service.fact("sent"), world.service.fact("sent")
    world.publish(fact, fact)
    world.publish(fact)
    world.publish(last)
    until(lambda: len(world.kinds()) == 2)
    world.service.send_webhooks()
    assert sorted(request.headers["webhook-id"] for request in system.got) == sorted(
        {request.id for request in system.got}
    )
    assert len(system.got) == 2


def test_facts_out_of_order_are_parked_and_then_applied_in_order(world: World) -> None:
    referral = new_id()
    first, second, third = (
        world.service.fact(verb, referral) for verb in ("sent", "amended", "withdrawn")
    )
    world.publish(third, second)
    until(
        lambda: (
            len(world.service.rows("SELECT FROM inbox_parked WHERE subject = %s", referral)) == 2
        )
    )
    assert world.kinds() == []
    world.publish(first)
    until(lambda: world.applied_version(referral) == 3)
    assert set(world.kinds()) == {"referral_sent", "referral_amended", "referral_withdrawn"}
    assert world.service.rows("SELECT FROM inbox_parked WHERE subject = %s", referral) == []


def test_facts_that_notify_nobody_are_applied_so_that_no_gap_remains(world: World) -> None:
    referral = new_id()
    world.publish(*(world.service.fact(verb, referral) for verb in ("drafted", "started", "sent")))
    until(lambda: world.applied_version(referral) == 3)
    assert world.kinds() == ["referral_sent"]
    contact = Fact(new_id(), 1, "enlace.contact.recorded.v1", b"", world.service.clock.now())
    world.publish(contact)
    until(lambda: world.applied_version(contact.subject) == 1)


def receipt(service: Service, id: str, version: int, verb: str, **values: Any) -> Fact:
    """Returns a fact of a receipt for a child whose file the receiver's organisation holds."""
    body = referrals_pb2.ReceiptFact(
        **{"receipt_id": id, "organization_id": RECEIVER, "recipient_organization_id": OTHER}
        | values
    )
    return Fact(
        id, version, f"enlace.receipt.{verb}.v1", body.SerializeToString(), service.clock.now()
    )


def test_a_decision_awaiting_a_second_person_notifies_the_files_desk_once(
    world: World,
) -> None:
    system, id = world.service.receiver(), new_id()
    world.service.webhook(RECEIVER, system.url)
    proposed, confirmed = (
        receipt(world.service, id, 1, "proposed"),
        receipt(world.service, id, 2, "confirmed"),
    )
    world.publish(confirmed)  # before the fact that it follows
    until(lambda: len(world.service.rows("SELECT FROM inbox_parked WHERE subject = %s", id)) == 1)
    assert world.kinds() == []
    world.publish(proposed, proposed)
    world.publish(proposed)
    until(lambda: world.applied_version(id) == 2)
    assert (world.kinds(RECEIVER), world.kinds(OTHER), world.kinds(SENDER)) == (
        ["receipt_proposed"],
        [],
        [],
    )
    world.service.send_webhooks()
    [request] = system.got
    assert id in request.body
    assert OTHER not in request.body


def test_each_auditor_is_notified_of_an_anomaly_or_the_coordinators_if_there_is_no_auditor(
    world: World,
) -> None:
    def publish_anomaly(id: str) -> None:
        body = referrals_pb2.AnomalyFact(
            anomaly_id=id,
            kind_code="at_night",
            worker_id=new_id(),
            organization_id=RECEIVER,
            count=1,
        )
        world.publish(
            Fact(
                id,
                1,
                "enlace.anomaly.noted.v1",
                body.SerializeToString(),
                world.service.clock.now(),
            )
        )
        until(lambda: world.applied_version(id) == 1)

    def recipients(id: str) -> list[tuple[str, str]]:
        rows = world.service.rows(
            "SELECT audience, worker_id FROM messages WHERE kind = 'anomaly_noted'"
            " ORDER BY create_time DESC, worker_id"
        )
        return [(row["audience"], row["worker_id"]) for row in rows]

    publish_anomaly(first := new_id())
    assert recipients(first) == [("coordination", "")]
    deleted_id, former_id = new_id(), new_id()
    with world.service.database.transaction(SYSTEM) as tx:
        members.save_organization(tx, deleted_id, "LEFT")
        members.save_worker(tx, former_id, deleted_id, ["AUDITOR"], "ACTIVE")
    world.service.clock.advance(timedelta(seconds=1))
    publish_anomaly(alone := new_id())
    assert recipients(alone)[0] == ("coordination", ""), "nobody else would read it"
    auditors = sorted((new_id(), new_id()))
    for worker, roles, status in (
        (auditors[0], ["AUDITOR"], "ACTIVE"),
        (auditors[1], ["AUDITOR"], "ACTIVE"),
        (new_id(), ["AUDITOR"], "SUSPENDED"),
    ):
        with world.service.database.transaction(SYSTEM) as tx:
            members.save_worker(tx, worker, OTHER, roles, status)
    try:
        world.service.clock.advance(timedelta(seconds=1))
        publish_anomaly(second := new_id())
        assert recipients(second) == [
            *(("worker", auditor) for auditor in auditors),
            ("coordination", ""),
            ("coordination", ""),
        ]
        assert world.kinds(RECEIVER) == [], "the desk of the reported worker is not notified"
    finally:
        with world.service.database.transaction(SYSTEM) as tx:
            for worker in (*auditors, former_id):
                members.save_worker(tx, worker, OTHER, ["AUDITOR"], "LEFT")


@pytest.mark.parametrize(
    ("verb", "kind"),
    [("opened", "emergency_opened"), ("review_overdue", "emergency_review_overdue")],
)
def test_the_files_desk_and_the_coordinators_are_notified_of_an_emergency_access(
    world: World, verb: str, kind: str
) -> None:
    id = new_id()
    body = referrals_pb2.EmergencyFact(
        emergency_id=id,
        organization_id=RECEIVER,
        opened_by_organization_id=OTHER,
        opened_by_worker_id=new_id(),
    )
    world.publish(
        Fact(
            id,
            1,
            f"enlace.emergency.{verb}.v1",
            body.SerializeToString(),
            world.service.clock.now(),
        )
    )
    world.publish(
        Fact(
            id, 2, "enlace.emergency.ended.v1", body.SerializeToString(), world.service.clock.now()
        )
    )
    until(lambda: world.applied_version(id) == 2)
    rows = world.service.rows(
        "SELECT audience, organization_id FROM messages WHERE kind = %s ORDER BY audience", kind
    )
    assert [(row["audience"], row["organization_id"]) for row in rows] == [
        ("coordination", ""),
        ("desk", RECEIVER),
    ]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("contact", referrals_pb2.ContactFact(organization_id=RECEIVER)),
        ("callback", referrals_pb2.CallbackFact(organization_id=RECEIVER)),
    ],
)
def test_the_coordinators_learn_which_line_they_have_to_call(
    world: World, name: str, body: referrals_pb2.ContactFact | referrals_pb2.CallbackFact
) -> None:
    id = new_id()
    now = world.service.clock.now()
    world.publish(Fact(id, 1, f"enlace.{name}.escalated.v1", body.SerializeToString(), now))
    until(lambda: world.applied_version(id) == 1)
    rows = world.service.rows(
        "SELECT audience, organization_id, sender_organization_id FROM messages WHERE kind = %s"
        " ORDER BY audience",
        f"{name}_escalated",
    )
    assert [tuple(row.values()) for row in rows] == [
        ("coordination", "", RECEIVER),
        ("desk", RECEIVER, ""),
    ]


def test_a4_the_managers_and_the_exporting_worker_are_notified_of_an_export(world: World) -> None:
    id, manager, worker = new_id(), new_id(), new_id()
    with world.service.database.transaction(SYSTEM) as tx:
        members.save_worker(tx, manager, RECEIVER, ["MANAGER"], "ACTIVE")
    body = referrals_pb2.ExportFact(
        export_id=id, person_id=new_id(), organization_id=RECEIVER, worker_id=worker
    )
    fact = Fact(id, 1, "enlace.export.made.v1", body.SerializeToString(), world.service.clock.now())
    world.publish(fact, fact)
    until(lambda: world.applied_version(id) == 1)
    rows = world.service.rows(
        "SELECT audience, organization_id, worker_id FROM messages WHERE kind = 'export_made'"
    )
    assert {(row["audience"], row["organization_id"], row["worker_id"]) for row in rows} == {
        ("worker", RECEIVER, manager),
        ("worker", RECEIVER, worker),
    }
    assert len(rows) == 2, "a repeated fact is notified once"
    with world.service.database.transaction(SYSTEM) as tx:
        members.save_worker(tx, manager, RECEIVER, ["MANAGER"], "LEFT")


@pytest.mark.parametrize(
    ("verb", "status"), [("agreement_ending", "APPROVED"), ("agreement_expired", "PROBATION")]
)
def test_the_organisation_and_the_coordinators_are_notified_of_the_end_of_an_agreement(
    world: World, verb: str, status: str
) -> None:
    own = new_id()
    body = partners_pb2.OrganizationFact(
        organization_id=own, status_code=status, days=7
    ).SerializeToString()
    ends = Fact(own, 1, f"enlace.organization.{verb}.v1", body, world.service.clock.now())
    world.publish(ends, ends, topic=PARTNERS, signer="partners")
    until(lambda: world.kinds(own) == [verb])
    assert [
        message.kind for message in world.service.as_(OTHER, "COORDINATOR").ListMessages().messages
    ] == [verb]
    assert world.kinds(SENDER) == []


@pytest.mark.parametrize(
    ("verb", "kind"),
    [("applied", "organization_applied"), ("approval_proposed", "approval_proposed")],
)
def test_the_coordinators_are_notified_of_applications_once_a_day(
    world: World, verb: str, kind: str
) -> None:
    def publish_application() -> None:
        own = new_id()
        body = partners_pb2.OrganizationFact(
            organization_id=own, status_code="APPLIED"
        ).SerializeToString()
        world.publish(
            Fact(own, 1, f"enlace.organization.{verb}.v1", body, world.service.clock.now()),
            topic=PARTNERS,
            signer="partners",
        )
        until(lambda: bool(world.service.rows("SELECT FROM inbox WHERE subject = %s", own)))
        assert world.kinds(own) == [], "nobody is there to read it"

    def notice_count() -> int:
        return [
            message.kind
            for message in world.service.as_(OTHER, "COORDINATOR").ListMessages().messages
        ].count(kind)

    publish_application()
    publish_application()
    assert notice_count() == 1
    world.service.clock.advance(timedelta(days=1))
    publish_application()
    assert notice_count() == 2


@pytest.mark.parametrize(
    ("verb", "kind"),
    [
        ("suspension_proposed", "suspension_proposed"),
        ("held", "hold_begun"),
        ("hold_ended", "hold_ended"),
    ]
    + [(verb, verb) for verb in ("reinstatement_proposed", "leaving_proposed")],
)
def test_d24_the_coordinators_are_notified_of_each_member_awaiting_a_second_coordinator(
    world: World, verb: str, kind: str
) -> None:
    for expected in (1, 2):
        own = new_id()
        body = partners_pb2.OrganizationFact(
            organization_id=own, status_code="APPROVED"
        ).SerializeToString()
        world.publish(
            Fact(own, 1, f"enlace.organization.{verb}.v1", body, world.service.clock.now()),
            topic=PARTNERS,
            signer="partners",
        )
        until(
            lambda subject=own: bool(  # type: ignore[misc]
                world.service.rows("SELECT FROM inbox WHERE subject = %s", subject)
            )
        )
        assert [
            message.kind
            for message in world.service.as_(OTHER, "COORDINATOR").ListMessages().messages
        ].count(kind) == expected
        assert world.kinds(own) == []


def test_other_facts_of_receipts_notify_nobody(world: World) -> None:
    facts = [receipt(world.service, new_id(), 1, verb) for verb in ("given", "a_verb_of_tomorrow")]
    # as if published by a version that does not name the organisation
    facts.append(receipt(world.service, new_id(), 1, "proposed", organization_id=""))
    old = receipt(world.service, new_id(), 1, "proposed")
    facts.append(replace(old, time=old.time - HISTORY - timedelta(seconds=1)))
    world.publish(*facts)
    for fact in facts:
        until(lambda subject=fact.subject: world.applied_version(subject) == 1)  # type: ignore[misc]
    assert world.kinds() == []


def test_a_fact_of_an_unknown_kind_holds_its_subject_until_an_update(world: World) -> None:
    referral, settlement = new_id(), new_id()
    world.publish(
        world.service.fact("sent", referral),
        world.service.fact("a_verb_of_tomorrow", referral),
        world.service.fact("withdrawn", referral),
    )
    world.publish(Fact(settlement, 1, "enlace.settlement.made.v1", b"", world.service.clock.now()))
    world.publish(Fact(new_id(), 1, "enlace.referral.sent.v2", b"", world.service.clock.now()))
    until(lambda: len(world.waiting()) == 3)
    assert {letter.reason for letter in world.waiting()} == {"type"}
    assert world.applied_version(referral) == 1
    assert world.kinds() == ["referral_sent"]
    world.discard_waiting()


def test_an_unreadable_body_holds_its_own_subject_and_no_other(world: World) -> None:
    referral = new_id()
    broken = world.service.fact("sent", referral)
    world.publish(Fact(broken.subject, broken.version, broken.type, b"\xff\xff\xff", broken.time))
    world.publish(world.service.fact("amended", referral))
    other = world.service.fact("sent")
    world.publish(other)
    until(lambda: world.applied_version(other.subject) == 1)
    until(lambda: [letter.reason for letter in world.waiting()] == ["body"])
    assert world.applied_version(referral) == 0
    world.discard_waiting()


def test_a_fact_with_a_wrong_signature_is_not_applied(world: World) -> None:
    forged = world.service.fact("sent")
    world.publish(forged, signer="partners", source="enlace/referrals")  # signed by another service
    tampered = world.service.fact("sent")
    world.publish(tampered, body=tampered.payload + b"\x08\x01")
    honest = world.service.fact("sent")
    world.publish(honest)
    until(lambda: world.applied_version(honest.subject) == 1)
    until(lambda: [letter.reason for letter in world.waiting()] == ["signature", "signature"])
    assert [world.applied_version(fact.subject) for fact in (forged, tampered)] == [0, 0]
    assert len(world.kinds()) == 1
    rows = world.service.rows("SELECT sealed FROM dead_letters")
    assert not any(tampered.payload in bytes(row["sealed"]) for row in rows)
    world.discard_waiting()


def test_a_repeated_invitation_sends_one_email_and_a_forged_one_sends_none(
    world: World,
) -> None:
    readable, last, forged = (invitation(world.service) for _ in range(3))
    accepted = invitation(world.service, "accepted", readable.subject)
    world.publish(forged, topic=PARTNERS, signer="referrals", source="enlace/partners")
    world.publish(readable, readable, accepted, topic=PARTNERS, signer="partners")
    until(lambda: world.kinds().count("account_opened") == 1)
    assert world.service.send_mails() == 0, "the invitation was accepted before the e-mail was sent"
    for _ in range(2):  # as if the broker had lost everything
        world.publish(readable, accepted, last, topic=PARTNERS, signer="partners")
    world.publish(invitation(world.service), topic=PARTNERS, signer="partners")
    until(lambda: world.kinds().count("manager_invited") == 3)
    assert world.service.send_mails() == 2
    assert world.service.send_mails() == 0
    until(lambda: [letter.reason for letter in world.waiting()] == ["signature"])
    world.discard_waiting()


def test_a_member_that_is_suspended_is_refused_and_one_that_is_reinstated_is_not(
    world: World,
) -> None:
    organization = new_id()
    worker = world.service.as_(organization, "WORKER")

    def member(version: int, verb: str, status: str) -> Fact:
        body = partners_pb2.OrganizationFact(organization_id=organization, status_code=status)
        return Fact(
            organization,
            version,
            f"enlace.organization.{verb}.v1",
            body.SerializeToString(),
            world.service.clock.now(),
        )

    def refused() -> bool:
        try:
            worker.CountUnread()
        except grpc.RpcError as error:
            return "organization_not_active" in str(error)
        return False

    world.publish(
        member(1, "registered", "PROBATION"),
        member(2, "suspended", "SUSPENDED"),
        topic=PARTNERS,
        signer="partners",
    )
    until(refused)
    world.publish(member(3, "reinstated", "APPROVED"), topic=PARTNERS, signer="partners")
    until(lambda: not refused())


def test_a_message_that_reached_nobody_is_published_as_a_fact(world: World) -> None:
    world.service.desk(RECEIVER, "nadie@ong.example")
    fact = world.service.fact("sent")
    world.publish(fact)
    until(lambda: world.kinds() == ["referral_sent"])
    with world.service.database.dedicated() as connection:
        claim = world.service.sending.next_email(connection, world.service.clock.now())
    assert claim is not None
    world.service.sending.finish(
        Channel.EMAIL, claim, Outcome("smtp", 550, hopeless=True), world.service.clock.now()
    )
    [row] = world.service.rows("SELECT id FROM messages WHERE unreached")
    [record] = world.records(TOPIC, row["id"])
    published = unpack(record.headers, record.value, world.own_signer)
    assert published.type == "enlace.message.undeliverable.v1"
    assert facts_pb2.MessageFact.FromString(published.payload).referral_id == fact.subject
