"""Facts from a broker, which are applied once, in order, and only from the right signer.

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
from google.protobuf.message import Message

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
from keys.sealing import SignatureVerifier, Signer
from protos.notifications.v1 import facts_pb2
from protos.partners.v1 import facts_pb2 as partners_pb2
from protos.referrals.v1 import facts_pb2 as referrals_pb2
from services.notifications import subscriptions
from services.notifications.domain.delivery import Channel, Outcome
from services.notifications.domain.rules import HISTORY
from services.notifications.subscriptions import PARTNERS, REFERRALS, TOPIC
from tests.notifications.conftest import OTHER, PUBLIC_URL, RECEIVER, SENDER, Service
from tests.notifications.letters import invitation
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
    own_signer: dict[str, SignatureVerifier]

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

    def publish_of_partners(self, *facts: Fact) -> None:
        self.publish(*facts, topic=PARTNERS, signer="partners")

    def fact(self, type: str, id: str, body: Message, version: int = 1) -> Fact:
        """Returns a fact about the subject `id`, dated now."""
        return Fact(
            id, version, f"enlace.{type}.v1", body.SerializeToString(), self.service.clock.now()
        )

    def kinds(self, organization: str = RECEIVER) -> list[str]:
        return self.service.as_(organization, "WORKER").kinds()

    def wait_for(self, subject: str, version: int = 1) -> None:
        """Waits until this version of the subject has been applied."""
        until(lambda: self.applied_version(subject) == version)

    def parked_count(self, subject: str) -> int:
        return len(self.service.rows("SELECT FROM inbox_parked WHERE subject = %s", subject))

    def applied_version(self, subject: str) -> int:
        rows = self.service.rows("SELECT version FROM inbox WHERE subject = %s", subject)
        return int(rows[0]["version"]) if rows else 0

    def wait_for_dead_letters(self, *reasons: str) -> None:
        """Waits until exactly these reasons are recorded."""

        def recorded() -> list[str]:
            with self.service.database.transaction(SYSTEM) as tx:
                return [letter.reason for letter in dead_letters.list_letters(tx)]

        until(lambda: recorded() == [*reasons], otherwise=recorded)

    def discard_dead_letters(self) -> None:
        with self.service.database.transaction(SYSTEM) as tx:
            dead_letters.discard(
                tx, dead_letters.list_letters(tx), "for_the_test", self.service.clock.now()
            )
        # parked facts are retried once a second
        self.service.clock.advance(timedelta(seconds=2))
        until(lambda: not self.service.rows("SELECT FROM inbox_parked"))

    def record(self, topic: str, key: str) -> Any:
        """Returns the only record with this key; waits for it."""
        consumer = Consumer(settings(self.bootstrap), new_id(), [topic])
        received: list[Any] = []
        end = time.monotonic() + 60
        while not received and time.monotonic() < end:
            received += [record for record in consumer.poll(0.5) if record.key == key.encode()]
        consumer.close()
        [record] = received
        return record


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
            f"enlace/{name}": SignatureVerifier(key_folder.verifying(folder, f"facts.{name}"))
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
        "enlace/notifications": SignatureVerifier(
            key_folder.verifying(folder, "facts.notifications")
        )
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
    assert len(system.requests) == len({request.id for request in system.requests}) == 2


def test_facts_out_of_order_are_parked_and_then_applied_in_order(world: World) -> None:
    referral = new_id()
    first, second, third = (
        world.service.fact(verb, referral) for verb in ("sent", "amended", "withdrawn")
    )
    world.publish(third, second)
    until(lambda: world.parked_count(referral) == 2)
    assert world.kinds() == []
    world.publish(first)
    world.wait_for(referral, 3)
    assert set(world.kinds()) == {"referral_sent", "referral_amended", "referral_withdrawn"}
    assert world.parked_count(referral) == 0


def test_facts_that_notify_nobody_are_applied_so_that_no_gap_remains(world: World) -> None:
    referral = new_id()
    world.publish(*(world.service.fact(verb, referral) for verb in ("drafted", "started", "sent")))
    world.wait_for(referral, 3)
    assert world.kinds() == ["referral_sent"]
    contact = world.fact("contact.recorded", new_id(), referrals_pb2.ContactFact())
    world.publish(contact)
    world.wait_for(contact.subject)


def receipt(world: World, id: str, version: int, verb: str, organization: str = RECEIVER) -> Fact:
    """Returns a fact of a receipt for a child whose file this organisation holds."""
    body = referrals_pb2.ReceiptFact(
        receipt_id=id, organization_id=organization, recipient_organization_id=OTHER
    )
    return world.fact(f"receipt.{verb}", id, body, version)


def test_a_decision_awaiting_a_second_person_notifies_the_files_desk_once(world: World) -> None:
    system, id = world.service.receiver(), new_id()
    world.service.webhook(RECEIVER, system.url)
    proposal = receipt(world, id, 1, "proposed")
    world.publish(receipt(world, id, 2, "confirmed"))  # before the fact that it follows
    until(lambda: world.parked_count(id) == 1)
    assert world.kinds() == []
    world.publish(proposal, proposal)
    world.publish(proposal)
    world.wait_for(id, 2)
    assert world.kinds(RECEIVER) == ["receipt_proposed"]
    assert world.kinds(OTHER) == world.kinds(SENDER) == []
    world.service.send_webhooks()
    [request] = system.requests
    assert id in request.body
    assert OTHER not in request.body


def test_other_facts_of_receipts_notify_nobody(world: World) -> None:
    proposal = receipt(world, new_id(), 1, "proposed")
    facts = [
        receipt(world, new_id(), 1, "given"),
        receipt(world, new_id(), 1, "a_verb_of_tomorrow"),
        # as if published by a version that does not name the organisation
        receipt(world, new_id(), 1, "proposed", organization=""),
        replace(proposal, time=proposal.time - HISTORY - timedelta(seconds=1)),
    ]
    world.publish(*facts)
    for fact in facts:
        world.wait_for(fact.subject)
    assert world.kinds() == []


def test_a_fact_of_an_unknown_kind_holds_its_subject_until_an_update(world: World) -> None:
    referral = new_id()
    world.publish(
        world.service.fact("sent", referral),
        world.service.fact("a_verb_of_tomorrow", referral),
        world.service.fact("withdrawn", referral),
    )
    for type in ("enlace.settlement.made.v1", "enlace.referral.sent.v2"):
        world.publish(Fact(new_id(), 1, type, b"", world.service.clock.now()))
    world.wait_for_dead_letters("type", "type", "type")
    assert world.applied_version(referral) == 1
    assert world.kinds() == ["referral_sent"]
    world.discard_dead_letters()


def test_an_unreadable_body_holds_its_own_subject_and_no_other(world: World) -> None:
    referral = new_id()
    broken = world.service.fact("sent", referral)
    world.publish(Fact(broken.subject, broken.version, broken.type, b"\xff\xff\xff", broken.time))
    world.publish(world.service.fact("amended", referral))
    other = world.service.fact("sent")
    world.publish(other)
    world.wait_for(other.subject)
    world.wait_for_dead_letters("body")
    assert world.applied_version(referral) == 0
    world.discard_dead_letters()


def test_a_fact_with_a_wrong_signature_is_not_applied(world: World) -> None:
    forged = world.service.fact("sent")
    world.publish(forged, signer="partners", source="enlace/referrals")  # signed by another service
    tampered = world.service.fact("sent")
    world.publish(tampered, body=tampered.payload + b"\x08\x01")
    honest = world.service.fact("sent")
    world.publish(honest)
    world.wait_for(honest.subject)
    world.wait_for_dead_letters("signature", "signature")
    assert [world.applied_version(fact.subject) for fact in (forged, tampered)] == [0, 0]
    assert len(world.kinds()) == 1
    rows = world.service.rows("SELECT sealed FROM dead_letters")
    assert not any(tampered.payload in bytes(row["sealed"]) for row in rows)
    world.discard_dead_letters()


def test_a_repeated_invitation_sends_one_email_and_a_forged_one_sends_none(world: World) -> None:
    first, last, forged = (invitation(world.service) for _ in range(3))
    accepted = invitation(world.service, "accepted", first.subject)
    world.publish(forged, topic=PARTNERS, signer="referrals", source="enlace/partners")
    world.publish_of_partners(first, first, accepted)
    until(lambda: world.kinds().count("account_opened") == 1)
    assert world.service.send_mails() == 0, "the invitation was accepted before the e-mail was sent"
    for _ in range(2):  # as if the broker had lost everything
        world.publish_of_partners(first, accepted, last)
    world.publish_of_partners(invitation(world.service))
    until(lambda: world.kinds().count("manager_invited") == 3)
    assert world.service.send_mails() == 2
    assert world.service.send_mails() == 0
    world.wait_for_dead_letters("signature")
    world.discard_dead_letters()


def test_a_member_that_is_suspended_is_refused_and_one_that_is_reinstated_is_not(
    world: World,
) -> None:
    organization = new_id()
    worker = world.service.as_(organization, "WORKER")

    def refused() -> bool:
        try:
            worker.CountUnread()
        except grpc.RpcError as error:
            return "organization_not_active" in str(error)
        return False

    def standing(version: int, verb: str, status: str) -> Fact:
        body = partners_pb2.OrganizationFact(organization_id=organization, status_code=status)
        return world.fact(f"organization.{verb}", organization, body, version)

    world.publish_of_partners(
        standing(1, "registered", "PROBATION"), standing(2, "suspended", "SUSPENDED")
    )
    until(refused)
    world.publish_of_partners(standing(3, "reinstated", "APPROVED"))
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
        Channel.EMAIL, claim, Outcome("smtp", 550, is_permanent=True), world.service.clock.now()
    )
    [row] = world.service.rows("SELECT id FROM messages WHERE unreached")
    record = world.record(TOPIC, row["id"])
    received = unpack(record.headers, record.value, world.own_signer)
    assert received.type == "enlace.message.undeliverable.v1"
    assert facts_pb2.MessageFact.FromString(received.payload).referral_id == fact.subject
