"""A referrals service on a real database and gRPC port, in this process, with a settable clock."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar, cast

import grpc
import psycopg
import pytest
from argon2 import PasswordHasher

from chassis.db import Database, Transaction
from chassis.second import NONE, Kin
from chassis.server import Server
from chassis.tokens import SYSTEM, AddressReader, AddressSigner, Caller, Issuer, Verifier
from chassis.wire import number
from keys import key_folder
from keys.sealing import Signer
from protos.referrals.v1 import campaigns_pb2, contacts_pb2, people_pb2, referrals_pb2
from protos.stubs import ReferralsStubs
from services.referrals.__main__ import MIGRATIONS, Components, make
from services.referrals.line.store import contacts
from services.referrals.line.usecases import contacts as usecases
from services.referrals.network.store import members
from services.referrals.network.store.members import view_of
from services.referrals.network.usecases.deadlines import DeadlineScheduler
from services.referrals.referrals.domain import enquiry as enquiry_rules
from services.referrals.referrals.store.deadlines import next_time
from tests.builders import NOON, NOTHING_UNSAFE
from tests.parts.callers import just_proved, rpc_with_fields
from tests.parts.clocks import SettableClock
from tests.parts.postgres import Server as PostgresServer

ORG = {
    name: f"{number:032x}"
    for number, name in enumerate(
        "hotline ngo shelter clinic police coalition mission border".split(), start=1
    )
}
SERVICE = {
    name: f"{number:032x}"
    for number, name in enumerate(
        "shelter_bed clinic_visit police_report journey welcome".split(), start=101
    )
}
ARRIVAL = referrals_pb2.Arrival(
    expected="today between 19:30 and 20:00",
    way="by bus, to the terminal",
    company="with her son",
    sign="she shows the tepezcuintle card",
)
"""An arrival, which is stored only if nobody may contact the person."""
SEVEN_POINTS = [point for point in people_pb2.Explained.values() if point]
SERVICE_OWNER = dict(zip(SERVICE, "shelter clinic police mission border".split(), strict=True))
ABROAD = ("ngo", "mission")
"""The organisations in Guatemala; the others are in Nicaragua."""

P = ParamSpec("P")
T = TypeVar("T")
LONG = 120.0
"""Seconds: enough for a call to reach the lock that a test holds, even on a busy machine."""


@dataclass
class Client:
    """A caller with its stubs; each rpc is a method that takes a request, or its fields.

    Calls come through a gateway that does not know the caller's address.
    """

    timeout: ClassVar[float] = 10.0  # seconds

    caller: Caller
    stubs: dict[str, Any]
    issuer: Issuer
    gateway: AddressSigner

    def __getattr__(self, rpc: str) -> Any:
        return rpc_with_fields(self.stubs.values(), rpc, self.metadata, self.timeout)

    def metadata(self) -> list[tuple[str, str]]:
        origin = [("client-address", self.gateway.sign("", "enlace.referrals"))]
        if self.caller.kind == "public":
            return origin
        token, _ = self.issuer.issue(just_proved(self.caller, self.issuer), "enlace.referrals")
        return [*origin, ("authorization", f"Bearer {token}")]


@dataclass
class Service:
    """The running service, with its clock, keys and database."""

    clock: SettableClock
    database: Database
    database_url: str
    migration_url: str
    keys: Path
    made: Components
    issuer: Issuer
    gateway: AddressSigner
    channel: grpc.Channel
    clients: dict[str, Client] = field(default_factory=dict)

    def as_(self, organization: str, *roles: str, scopes: tuple[str, ...] = ()) -> Client:
        """Returns a client for a worker of an organisation with roles, or a key with scopes."""
        name = f"{organization}/{roles}/{scopes}"
        if name not in self.clients:
            identifier = f"{abs(hash(name)):032x}"[-32:]
            kind, kin = ("key", Kin()) if scopes else ("worker", NONE)
            rights = frozenset(roles), frozenset(scopes)
            caller = Caller(identifier, kind, ORG[organization], *rights, kin=kin)
            self.clients[name] = Client(caller, self._stubs(), self.issuer, self.gateway)
        return self.clients[name]

    def public(self) -> Client:
        """Returns a client for the public, without a token."""
        return Client(Caller("public", "public", ""), self._stubs(), self.issuer, self.gateway)

    def rows(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """Returns the rows that a statement finds, in the scope of the system."""
        with self.database.transaction(SYSTEM) as tx:
            return tx.execute(statement, values or None).fetchall()

    def in_transaction(
        self, act: Callable[Concatenate[Transaction, P], T], *values: P.args, **named: P.kwargs
    ) -> T:
        """Calls a function of a store in a transaction of the system; returns its result."""
        with self.database.transaction(SYSTEM) as tx:
            return act(tx, *values, **named)

    def as_owner(self, statement: str, *values: object) -> int:
        """Runs a statement as the owner of the database. Returns the number of changed rows."""
        with psycopg.connect(self.migration_url) as owner:
            return owner.execute(statement, values or None).rowcount

    def fact_types(self, subject: str) -> list[str]:
        """Returns the types of the facts about a subject, the oldest first."""
        rows = self.rows("SELECT type FROM outbox WHERE subject = %s ORDER BY version", subject)
        return [row["type"] for row in rows]

    def scheduler(self) -> DeadlineScheduler:
        """Returns a new scheduler of the deadlines of referrals."""
        return DeadlineScheduler(
            self.made.referral_changes, self.database, self.clock, next_time, "clocks"
        )

    def fire_after(self, span: timedelta) -> int:
        """Lets this time pass, and fires the deadlines of referrals that are due then."""
        self.clock.advance(span)
        return self.scheduler().fire()

    def contact_scheduler(self) -> DeadlineScheduler:
        """Returns a new scheduler of the deadlines of contacts and callbacks."""
        return DeadlineScheduler(
            self.made.contacts, self.database, self.clock, contacts.next_time, "contacts"
        )

    def set_member(
        self, name: str, status: str = "APPROVED", *, active: bool = True, country: str = ""
    ) -> None:
        """Sets the status of a member organisation, and a country other than its usual one."""
        type_ = "LAW_ENFORCEMENT" if name == "police" else "NGO"
        country = country or ("GT" if name in ABROAD else "NI")
        self.in_transaction(
            members.note_member, "organization", ORG[name], active, status, type_, country=country
        )

    @contextmanager
    def member_with_status(self, name: str, status: str, *, active: bool = True) -> Iterator[None]:
        """Gives a member organisation a status until the block ends."""
        self.set_member(name, status, active=active)
        try:
            yield
        finally:
            self.set_member(name)

    def _stubs(self) -> dict[str, Any]:
        return vars(ReferralsStubs(self.channel))


@pytest.fixture(scope="module")
def service(
    postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """Runs one service for each module; each test makes its own people and referrals."""
    test_database = postgres.database("referrals", MIGRATIONS)
    folder = tmp_path_factory.mktemp("keys")
    # Hashing a PIN is deliberately slow; tests of other things need not wait for it.
    slow_hasher = usecases.HASHER
    usecases.HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    key_folder.create(folder, ["referrals"])
    clock = SettableClock(NOON)
    database = Database(test_database.url, view_of=view_of)
    database.open()
    components = make(
        database,
        key_folder.keyring(folder, "referrals"),
        Signer(key_folder.signing(folder, "facts.referrals")),
        Verifier(key_folder.verifying(folder, "tokens"), "enlace.referrals", clock),
        clock,
        openings_an_hour=100_000,
    )
    addresses = AddressReader(
        lambda: key_folder.all_verifying(folder, "calls.gateway"), "enlace.referrals", clock
    )
    server = Server(
        "127.0.0.1:0", components.servicers, addresses, threads=8, reflect=True, caller_rate=100_000
    )
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        running = Service(
            clock,
            database,
            test_database.url,
            test_database.migration_url,
            folder,
            components,
            Issuer(key_folder.signing(folder, "tokens"), clock),
            AddressSigner(key_folder.signing(folder, "calls.gateway"), clock),
            channel,
        )
        for name in ORG:
            running.set_member(name)
        with database.transaction(SYSTEM) as tx:
            for name, identifier in SERVICE.items():
                members.note_service(tx, identifier, ORG[SERVICE_OWNER[name]], True)
        yield running
    usecases.HASHER = slow_hasher
    server.stop(1)
    database.close()


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets long time limits, so that calls can wait for a lock that a test holds."""
    monkeypatch.setattr("chassis.rpc._DEADLINE", LONG)
    monkeypatch.setattr("chassis.db._LIMIT", LONG)
    monkeypatch.setattr(Client, "timeout", LONG)


@pytest.fixture(autouse=True)
def at_noon(request: pytest.FixtureRequest) -> None:
    """Sets the clock to the same time before every test."""
    if "service" in request.fixturenames:
        request.getfixturevalue("service").clock.set(NOON)


@dataclass
class Story:
    """The usual beginning of a test.

    Makes people of the NGO, and their referrals to the shelter in the state that a test needs.
    """

    service: Service
    ngo: Client
    shelter: Client
    coordinator: Client
    numbers: Iterator[int]

    def request_id(self) -> str:
        return f"request-{next(self.numbers)}"

    def person(self, **identity: Any) -> people_pb2.Person:
        """Adds a person with a name and a telephone number.

        She is contacted through a worker, unless `plan` states another way.
        """
        plan = identity.pop(
            "plan", people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_THROUGH_WORKER)
        )
        person: people_pb2.Person = self.ngo.CreatePerson(
            identity=people_pb2.Identity(
                **({"given_name": "Ximena", "phone": "+50581234567"} | identity)
            ),
            coarse=referrals_pb2.CoarsePerson(
                age_band=referrals_pb2.AGE_BAND_18_TO_24,
                gender_code=referrals_pb2.PERSON_GENDER_FEMININE,
                language="es",
                country="NI",
                department="NI-CI",
            ),
            safe_contact=plan,
            request_id=self.request_id(),
        )
        return person

    def draft(
        self, person: people_pb2.Person | None = None, **values: Any
    ) -> referrals_pb2.Referral:
        draft: referrals_pb2.Referral = self.ngo.CreateReferral(
            person_id=(person or self.person()).id,
            need_code=values.pop("need_code", "HOU.EMG"),
            urgency=values.pop("urgency", referrals_pb2.URGENCY_EMERGENCY),
            service_id=values.pop("service_id", SERVICE["shelter_bed"]),
            unsafe_code=values.pop("unsafe_code", NOTHING_UNSAFE["unsafe_code"]),
            request_id=self.request_id(),
            **values,
        )
        return draft

    def child(self, **identity: Any) -> people_pb2.Person:
        """Adds a person who is fifteen years old."""
        return self.person(birth_date="2011-01-01", **identity)

    @property
    def rescuer(self) -> Client:
        """Returns a worker of the NGO who may send a referral on an override."""
        return self.service.as_("ngo", "WORKER", "EMERGENCY")

    @property
    def operator(self) -> Client:
        """Returns an operator of the hotline."""
        return self.service.as_("hotline", "OPERATOR")

    def overridden(
        self, reason: str = "life_at_risk", by: Client | None = None, **values: Any
    ) -> referrals_pb2.Referral:
        draft = self.draft(**values)
        referral: referrals_pb2.Referral = (by or self.rescuer).SendReferral(
            id=draft.id,
            etag=draft.etag,
            override_reason_code=referrals_pb2.OverrideReason.Value(
                f"OVERRIDE_REASON_{reason.upper()}"
            ),
            note="at the bus station until six",
            arrival=ARRIVAL,
            request_id=self.request_id(),
        )
        return referral

    def receipt(self, person_id: str, **values: Any) -> people_pb2.Receipt:
        receipt = people_pb2.Receipt(
            person_id=person_id,
            recipient_organization_id=values.pop("recipient", ORG["shelter"]),
            field_groups=values.pop(
                "field_groups", [people_pb2.FIELD_GROUP_IDENTITY, people_pb2.FIELD_GROUP_CONTACT]
            ),
            purpose_codes=values.pop("purposes", ["HOU"]),
            giver_code=number(people_pb2.Giver, values.pop("giver", "person")),
            assent_code=number(people_pb2.Assent, values.pop("assent_code", "")),
            manner_code=people_pb2.MANNER_SPOKEN,
            in_private=True,
            explained_codes=values.pop("explained_codes", SEVEN_POINTS),
            **values,
        )
        new_receipt: people_pb2.Receipt = self.ngo.CreateReceipt(
            receipt=receipt, request_id=self.request_id()
        )
        return new_receipt

    def sent(self, note: str = "", **values: Any) -> referrals_pb2.Referral:
        """Sends a referral on a consent to identity and contact, or to `field_groups` if given."""
        groups = {"field_groups": values.pop("field_groups")} if "field_groups" in values else {}
        return self.send(self.draft(**values), note, **groups)

    def send(
        self, draft: referrals_pb2.Referral, note: str = "", **consent: Any
    ) -> referrals_pb2.Referral:
        """Sends a draft on a new consent of the person, with these values of the receipt."""
        sent: referrals_pb2.Referral = self.ngo.SendReferral(
            id=draft.id,
            etag=draft.etag,
            receipt_id=self.receipt(draft.person_id, **consent).id,
            arrival=ARRIVAL,
            note=note,
            request_id=self.request_id(),
        )
        return sent

    def accepted(self, **values: Any) -> referrals_pb2.Referral:
        return self.accept(self.sent(**values))

    def accept(self, sent: referrals_pb2.Referral) -> referrals_pb2.Referral:
        """Accepts a referral at the shelter; the first contact is planned for now."""
        referral: referrals_pb2.Referral = self.shelter.AcceptReferral(
            id=sent.id,
            etag=sent.etag,
            planned_first_contact_time=self.service.clock.now(),
            request_id=self.request_id(),
        )
        return referral

    def decline(self, sent: referrals_pb2.Referral) -> referrals_pb2.Referral:
        """Declines a referral at the shelter, which has no room."""
        referral: referrals_pb2.Referral = self.shelter.DeclineReferral(
            id=sent.id, etag=sent.etag, reason_code=referrals_pb2.DECLINE_REASON_NO_CAPACITY
        )
        return referral

    def campaign(self, *media: contacts_pb2.Campaign.ValueType) -> campaigns_pb2.LineCampaign:
        campaign: campaigns_pb2.LineCampaign = self.coordinator.CreateCampaign(
            campaign=campaigns_pb2.LineCampaign(
                name="Llama y Vive",
                country="NI",
                media_codes=media or [contacts_pb2.CAMPAIGN_POSTER],
            ),
            request_id=self.request_id(),
        )
        return campaign

    def contact(
        self,
        speaker: contacts_pb2.Speaker.ValueType = contacts_pb2.SPEAKER_PERSON,
        note: str = "",
        **triage: Any,
    ) -> contacts_pb2.CreateContactResponse:
        answer: contacts_pb2.CreateContactResponse = self.operator.CreateContact(
            contact=contacts_pb2.Contact(
                line_country="NI",
                kind_code=contacts_pb2.CONTACT_KIND_CRISIS,
                speaker_code=speaker,
                triage=contacts_pb2.Triage(**triage),
                note=note,
            ),
            pin="4821",
            request_id=self.request_id(),
        )
        return answer


_numbers = iter(range(1_000_000))


@pytest.fixture
def story(service: Service) -> Story:
    return Story(
        service,
        service.as_("ngo", "WORKER"),
        service.as_("shelter", "WORKER"),
        service.as_("coalition", "COORDINATOR"),
        _numbers,
    )


@pytest.fixture
def line(story: Story) -> Story:
    """The usual beginning of a test, with the hotline as the sender."""
    return replace(story, ngo=story.operator)


@pytest.fixture
def manager(service: Service) -> Client:
    """Returns a second person of the NGO."""
    return service.as_("ngo", "MANAGER")


@pytest.fixture
def clinic(service: Service) -> Client:
    return service.as_("clinic", "WORKER")


@pytest.fixture
def auditor(service: Service) -> Client:
    return service.as_("coalition", "AUDITOR")


@pytest.fixture
def clinic_in_costa_rica(service: Service) -> None:
    """Moves the clinic to Costa Rica, so that it runs the line of that country."""
    service.set_member("clinic", country="CR")


def read(client: Client, identifier: str) -> referrals_pb2.Referral:
    """Returns the referral as this client may see it now."""
    return cast(referrals_pb2.Referral, client.GetReferral(id=identifier))


def send_request(
    draft: referrals_pb2.Referral, receipt_id: str = "", **fields: Any
) -> referrals_pb2.SendReferralRequest:
    """Returns the request to send a draft, on a consent if `receipt_id` is given."""
    return referrals_pb2.SendReferralRequest(
        id=draft.id, etag=draft.etag, receipt_id=receipt_id, **fields
    )


def history(client: Client, referral_id: str) -> list[referrals_pb2.ReferralEvent]:
    """Returns the events of a referral as this client may see them, the oldest first."""
    return list(client.ListReferralEvents(referral_id=referral_id).events)


def open_identity(client: Client, person_id: str, referral_id: str = "") -> people_pb2.Identity:
    """Opens a person's identity for the purpose of housing."""
    identity: people_pb2.Identity = client.OpenPerson(
        id=person_id,
        purpose_code="HOU.EMG",
        field_groups=[people_pb2.FIELD_GROUP_IDENTITY],
        referral_id=referral_id,
    )
    return identity


@pytest.fixture
def without_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets the noise of counts, which depends on the random key of a test, to 0."""
    monkeypatch.setattr(enquiry_rules, "_leading_zeros", lambda data: 0)
