"""A notifications service on a real database and a real gRPC port, in this process.

The test sets its clock and drives its senders.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest

from chassis.announcements import READ_AGAIN
from chassis.db import Database, Row
from chassis.ids import new_id
from chassis.server import Server
from chassis.supervisor import Loop
from chassis.tokens import SYSTEM, Caller, Issuer, Verifier
from facts.outbox import Fact
from keys import key_folder
from keys.sealing import Keyring
from local.process import free_port
from protos.notifications.v1 import notifications_pb2 as pb
from protos.partners.v1 import facts_pb2 as partners_pb2
from protos.referrals.v1 import facts_pb2, referrals_pb2
from protos.stubs import NotificationsStubs
from services.notifications import subscriptions
from services.notifications.__main__ import MIGRATIONS, servicers
from services.notifications.channels.mail import Mailbox, MailSender, Smtp
from services.notifications.channels.webhooks import WebhookSender
from services.notifications.domain.delivery import WebhookClaim
from services.notifications.domain.mail_server import MailServer
from services.notifications.store.mail_folder import MailFolder
from services.notifications.store.members import view_of
from services.notifications.usecases.sending import DeliveryQueue, sweep
from tests.notifications.mail_server import Post, PostController
from tests.notifications.receiver import Receiver
from tests.parts.callers import just_proved, rpc_with_fields
from tests.parts.clocks import SettableClock
from tests.parts.postgres import Server as PostgresServer

FROM_ADDRESS = "enlace@coalicion.example"
PUBLIC_URL = "https://enlace.example"
SENDER, RECEIVER, OTHER, COALITION = (new_id() for _ in range(4))
LOCK_WAITS = (
    "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)
STATES = {"sent": "STATE_SENT", "accepted": "STATE_ACCEPTED"}


class Client:
    """A caller; each rpc is a method that takes the fields of the request."""

    def __init__(self, caller: Caller, channel: grpc.Channel, issuer: Issuer) -> None:
        self.caller = caller
        self._issuer = issuer
        self._stubs = vars(NotificationsStubs(channel)).values()

    def __getattr__(self, rpc: str) -> Any:
        return rpc_with_fields(self._stubs, rpc, self.metadata)

    def metadata(self) -> list[tuple[str, str]]:
        """Returns the metadata of this caller's calls."""
        if self.caller.kind == "public":
            return []
        caller = just_proved(self.caller, self._issuer)
        token, _ = self._issuer.issue(caller, "enlace.notifications")
        return [("authorization", f"Bearer {token}")]

    def kinds(self, **values: object) -> list[str]:
        """Returns the kinds of the messages that this caller reads, newest first."""
        return [message.kind for message in self.ListMessages(**values).messages]


@dataclass
class Service:
    """The running service, with the actions that tests need."""

    clock: SettableClock
    database: Database
    keyring: Keyring
    letter_key: Keyring
    issuer: Issuer
    channel: grpc.Channel
    sending: DeliveryQueue
    migration_url: str
    mails: Path
    versions: dict[str, int] = field(default_factory=dict)
    receivers: list[Receiver] = field(default_factory=list)

    def as_(
        self,
        organization: str,
        *roles: str,
        scopes: tuple[str, ...] = (),
        id: str = "",
        language: str = "es",
    ) -> Client:
        """Returns a client for a worker with roles, or a key with scopes."""
        kind = "key" if scopes else "worker"
        return Client(
            Caller(
                id or new_id(), kind, organization, frozenset(roles), frozenset(scopes), language
            ),
            self.channel,
            self.issuer,
        )

    def public(self) -> Client:
        """Returns a client for the public, without a token."""
        return Client(Caller("public", "public", ""), self.channel, self.issuer)

    def fact(
        self, verb: str, referral: str = "", *, time: datetime | None = None, **values: Any
    ) -> Fact:
        """Returns a fact from the referrals service, with the next version of its referral."""
        referral = referral or new_id()
        self.versions[referral] = version = self.versions.get(referral, 0) + 1
        defaults: dict[str, Any] = {
            "referral_id": referral,
            "state": referrals_pb2.State.Value(STATES.get(verb, "STATE_SENT")),
            "urgency": referrals_pb2.URGENCY_NORMAL,
            "need_code": "HOU.EMG",
            "sender_organization_id": SENDER,
            "receiver_organization_id": RECEIVER,
            "actor_organization_id": SENDER,
        }
        body = facts_pb2.ReferralFact(**defaults | values)
        return Fact(
            referral,
            version,
            f"enlace.referral.{verb}.v1",
            body.SerializeToString(),
            time or self.clock.now(),
        )

    def hear(self, verb: str, referral: str = "", **values: Any) -> Fact:
        """Makes a fact from the referrals service and applies it."""
        fact = self.fact(verb, referral, **values)
        self.apply(fact)
        return fact

    def apply(self, fact: Fact) -> None:
        """Applies a fact as the subscriber does, but without the inbox's checks."""
        with self.database.transaction(SYSTEM) as tx:
            subscriptions.referrals(self.clock, public_url=PUBLIC_URL, by_email=True)(tx, fact)

    def apply_partners_fact(self, fact: Fact, *, by_email: bool = True) -> Fact:
        """Applies a fact from the partners service as its subscriber does, and returns it."""
        with self.database.transaction(SYSTEM) as tx:
            subscriptions.partners(self.clock, by_email=by_email)(tx, fact)
        return fact

    def hear_of_member(self, kind: str, body: Any) -> None:
        """Applies the fact that a member was changed."""
        self.apply_partners_fact(
            Fact(
                new_id(), 1, f"enlace.{kind}.changed.v1", body.SerializeToString(), self.clock.now()
            )
        )

    def suspend(self, organization: str, status: str = "SUSPENDED") -> None:
        self.hear_of_member(
            "organization",
            partners_pb2.OrganizationFact(organization_id=organization, status_code=status),
        )

    def coordinator_desk(self, organization: str, email: str) -> None:
        """Adds an organisation with an active coordinator and an e-mail address."""
        worker = partners_pb2.WorkerFact(
            worker_id=new_id(),
            organization_id=organization,
            role_codes=["COORDINATOR"],
            status_code="ACTIVE",
        )
        self.hear_of_member("worker", worker)
        self.desk(organization, email)

    def desk(self, organization: str, email: str, language: str = "es") -> None:
        """Sets the desk of an organisation, as its manager."""
        manager = self.as_(organization, "MANAGER")
        manager.SetDesk(desk=pb.Desk(language=language, email=email, etag=manager.GetDesk().etag))

    def queue_emails(self, count: int = 1) -> Fact:
        """Makes e-mails to the desk of RECEIVER, a second apart; returns the last fact."""
        self.desk(RECEIVER, "mesa@ong.example")
        for _ in range(count):
            self.advance(seconds=1)
            fact = self.hear("sent")
        return fact

    def receiver(self, **values: Any) -> Receiver:
        """Returns a new partner's system, which is closed after the test."""
        self.receivers.append(Receiver(**values))
        return self.receivers[-1]

    def webhook(self, organization: str, url: str, *kinds: str) -> pb.CreateWebhookResponse:
        """Adds a webhook of an organisation, as its manager."""
        created: pb.CreateWebhookResponse = self.as_(organization, "MANAGER").CreateWebhook(
            webhook=pb.Webhook(url=url, kinds=kinds)
        )
        return created

    def send_to_new_webhook(self, **values: Any) -> tuple[Receiver, pb.CreateWebhookResponse]:
        """Sends a fact once to a new system of RECEIVER; returns the system and its webhook."""
        receiver = self.receiver(**values)
        created = self.webhook(RECEIVER, receiver.url)
        self.hear("sent")
        assert self.send_webhooks() == 1
        return receiver, created

    def deliveries(self, webhook_id: str, organization: str = RECEIVER) -> list[pb.Delivery]:
        return list(
            self.as_(organization, "MANAGER").ListDeliveries(webhook_id=webhook_id).deliveries
        )

    def web_sender(
        self,
        *,
        slow: bool = False,
        threads: int = 8,
        timeout: float = 1.0,
        read_again: float = READ_AGAIN,
    ) -> WebhookSender:
        return WebhookSender(
            self.database,
            self.sending,
            self.clock,
            slow=slow,
            threads=threads,
            development=True,
            timeout=timeout,
            read_again=read_again,
        )

    def claim_webhook(self) -> WebhookClaim:
        """Claims the only webhook that is due, as a sender does before it sends the webhook."""
        with self.database.dedicated() as connection:
            [claim] = self.sending.next_webhooks(connection, self.clock.now(), slow=False, limit=20)
        return claim

    def send_webhooks(self, rounds: int = 20) -> int:
        """Sends the webhooks that are due now, in this thread; returns the number of attempts."""
        sender, sent = self.web_sender(), 0
        with self.database.dedicated() as connection:
            for _ in range(rounds):
                claims = [
                    claim
                    for slow in (False, True)
                    for claim in self.sending.next_webhooks(
                        connection, self.clock.now(), slow=slow, limit=20
                    )
                ]
                for claim in claims:
                    sender.send(claim)
                sent += len(claims)
                if not claims:
                    break
        return sent

    def send_mails(self, mailbox: Mailbox | None = None, loop: Loop | None = None) -> int:
        """Sends the e-mails that are due now, until the loop is stopped; returns their number."""
        sender = MailSender(
            self.database,
            self.sending,
            mailbox or MailFolder(self.mails, self.clock),
            self.clock,
        )
        with self.database.dedicated() as connection:
            return sender.send_batch(connection, loop)

    def emails(self, *columns: str) -> list[tuple[Any, ...]]:
        """Returns these columns of each e-mail's delivery, oldest first."""
        rows = self.rows("SELECT * FROM deliveries WHERE channel = 'email' ORDER BY create_time")
        return [tuple(row[column] for column in columns) for row in rows]

    def sweep(self) -> None:
        """Deletes the data that are no longer needed, as the service does from time to time."""
        with self.database.transaction(SYSTEM) as tx:
            sweep(tx, self.clock.now())

    def advance(self, **step: float) -> None:
        self.clock.advance(timedelta(**step))

    def rows(self, statement: str, *values: object) -> list[Row]:
        """Runs a statement and returns its rows."""
        with self.database.transaction(SYSTEM) as tx:
            return tx.execute(statement, values).fetchall()

    def clear(self) -> None:
        """Deletes all data, as if no fact had arrived yet."""
        # the service's own role can't delete published facts
        with psycopg.connect(self.migration_url) as owner:
            for table in (
                "letters",
                "deliveries",
                "messages",
                "webhooks",
                "desks",
                "organizations",
                "workers",
                "api_keys",
                "outbox",
            ):
                owner.execute(f"DELETE FROM {table}".encode())
        shutil.rmtree(self.mails, ignore_errors=True)


@contextmanager
def served(postgres: PostgresServer, folder: Path, *, development: bool) -> Iterator[Service]:
    """Runs the service on a port until the block ends."""
    place = postgres.database("notifications", MIGRATIONS)
    key_folder.create(folder, ["notifications"])
    clock = SettableClock(datetime.now(UTC))
    database = Database(place.url, view_of=view_of)
    database.open()
    keyring = Keyring(key_folder.secret(folder, "sealing.notifications"))
    letter_key = Keyring(key_folder.secret(folder, "mail"))
    verifier = Verifier(key_folder.verifying(folder, "tokens"), "enlace.notifications", clock)
    server = Server(
        "127.0.0.1:0",
        servicers(
            database,
            keyring,
            verifier,
            clock,
            MailFolder(folder / "mail", clock) if development else None,
            development=development,
        ),
        threads=8,
        reflect=False,
        caller_rate=100_000,
    )
    server.start()
    sending = DeliveryQueue(database, keyring, letter_key, public_url=PUBLIC_URL, by_email=True)
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield Service(
            clock,
            database,
            keyring,
            letter_key,
            Issuer(key_folder.signing(folder, "tokens"), clock),
            channel,
            sending,
            place.migration_url,
            folder / "mail",
        )
    server.stop(1)
    database.close()


@pytest.fixture(scope="module")
def running(
    postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """Runs the service for a module; the fixture `service` hands it to a test."""
    with served(postgres, tmp_path_factory.mktemp("keys"), development=True) as created:
        yield created


@pytest.fixture
def production(postgres: PostgresServer, tmp_path: Path) -> Iterator[Service]:
    """Runs the service as in a cluster instead of in development."""
    with served(postgres, tmp_path, development=False) as created:
        yield created


@pytest.fixture
def service(running: Service) -> Iterator[Service]:
    """Returns the module's service, emptied before every test and set to the present time.

    Verifying a signature needs the present time.
    """
    running.clear()
    running.clock.set(datetime.now(UTC))
    yield running
    for receiver in running.receivers:
        receiver.close()
    running.receivers.clear()


@pytest.fixture
def post() -> Iterator[Post]:
    created = Post(port=free_port("127.0.0.1"))
    controller = PostController(created, hostname="127.0.0.1", port=created.port)
    controller.start()
    yield created
    controller.stop()


def smtp(service: Service, post: Post) -> Smtp:
    """Returns the mailbox that hands e-mails to the mail server `post`."""
    return Smtp(MailServer("127.0.0.1", post.port), FROM_ADDRESS, service.clock, timeout=3)
