"""A partners service in this process.

It has a real database, a real gRPC server on a free port, and a clock that tests set.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc

from chassis.db import Database, Row, Transaction
from chassis.ids import new_id
from chassis.local_time import day_at
from chassis.second import NONE, Kin
from chassis.server import Server
from chassis.tokens import SYSTEM, AddressReader, AddressSigner, Caller, Issuer, Verifier
from chassis.wire import PageTokens
from keys import key_folder
from keys.sealing import Keyring
from protos.partners.v1 import directory_pb2 as pb
from protos.partners.v1 import members_pb2 as pb2
from protos.partners.v1 import open_data_pb2
from protos.stubs import PartnersStubs
from services.partners.__main__ import servicers
from services.partners.directory.domain.service import (
    Capacity,
    Eligibility,
    Intake,
    Service,
    ServiceEntry,
)
from services.partners.directory.store import open_hours, services
from services.partners.directory.store.areas import areas
from services.partners.directory.store.directory_index import DirectoryIndex
from services.partners.directory.store.taxonomy import taxonomy
from services.partners.directory.usecases import housekeeping
from services.partners.directory.usecases.import_jobs import run_import
from services.partners.members.domain.api_key import USUAL_LIFE, ApiKey, ApiKeyEntry
from services.partners.members.domain.evidence import Evidence, EvidenceKind
from services.partners.members.domain.organization import (
    Organization,
    OrganizationEntry,
    OrganizationType,
)
from services.partners.members.domain.worker import Role, Worker, WorkerEntry
from services.partners.members.store import api_keys, organizations
from services.partners.members.usecases.passwords import mark_of
from services.partners.members.usecases.workers import create_worker
from services.partners.network.wire.messages import etag_of
from services.partners.sign_in.protocols.passkeys import Site
from services.partners.sign_in.usecases.sign_in_providers import SignInProviders
from tests.parts.callers import just_proved, rpc_with_fields
from tests.parts.clocks import SettableClock
from tests.parts.postgres import Server as Postgres

ROOT = Path(__file__).resolve().parent.parent.parent
MIGRATIONS = [ROOT / "chassis" / "migrations", ROOT / "services" / "partners" / "migrations"]
NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
EMAIL = "xiomara@puentes.org"
PASSWORD = "una clave larga"
SITE = "https://enlace.example"
NEIGHBOUR = "Sede vecina"
EVERYBODY = Eligibility(minimum_age=0, maximum_age=99, takes_dependants=True, maximum_dependants=5)

# Refusals that several test files expect: each is a status and a reason.
ILLEGAL = ("FAILED_PRECONDITION", "illegal_transition")
KEY_INVALID = ("UNAUTHENTICATED", "key_invalid")
NOTHING_TO_CONFIRM = ("FAILED_PRECONDITION", "nothing_to_confirm")
NOT_ACTIVE = ("PERMISSION_DENIED", "organization_not_active")
NOT_INDEPENDENT = ("FAILED_PRECONDITION", "not_independent")
RIGHT_MISSING = ("PERMISSION_DENIED", "right_missing")
SECOND_PERSON = ("FAILED_PRECONDITION", "second_person_required")
SESSION_ENDED = ("UNAUTHENTICATED", "session_ended")
SIGN_IN_FAILED = ("UNAUTHENTICATED", "sign_in_failed")
STALE_ETAG = ("ABORTED", "stale_etag")
TOO_MANY_ATTEMPTS = ("RESOURCE_EXHAUSTED", "too_many_attempts")
UNAVAILABLE = ("UNAVAILABLE", "provider_unavailable")


class Stubs:
    """The stubs of all gRPC services that partners serves, called in the name of one caller.

    Each rpc is a method that takes a request, or the fields of a request.

    `token` returns a token that is valid at the time of the call, `origin` the gateway's statement
    about its client.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        token: Callable[[], str] | None = None,
        origin: Callable[[], tuple[tuple[str, str], ...]] = tuple,
    ) -> None:
        self._token = token
        self._origin = origin
        self._stubs = vars(PartnersStubs(channel)).values()

    @property
    def metadata(self) -> list[tuple[str, str]]:
        return [
            *self._origin(),
            *([("authorization", f"Bearer {self._token()}")] if self._token else []),
        ]

    def __getattr__(self, rpc: str) -> Any:
        return rpc_with_fields(self._stubs, rpc, lambda: self.metadata)


def register(
    tx: Transaction, entry: OrganizationEntry, now: datetime, *, approved: bool = True
) -> Organization:
    """Registers an organisation and approves it, as when a network is founded."""
    organization = Organization.register(new_id(), entry, now)
    organizations.save(tx, organization)
    if approved:
        organization.approve(now, day_at(now, entry.country))
        organizations.save(tx, organization)
    return organization


def offer(
    tx: Transaction, organization: Organization, entry: ServiceEntry, room: Capacity, now: datetime
) -> Service:
    """Adds a service of an organisation."""
    entry = replace(entry, country=entry.country or organization.entry.country)
    service = Service.register(new_id(), organization.id, entry, room, taxonomy(), areas(), now)
    service.organization_name = organization.entry.name
    service.organization_type = organization.entry.type
    services.save(tx, service)
    if entry.schedules:
        open_hours.refresh(tx, service.id, now)
    return service


class Scene:
    """The service that the tests use one after the other.

    Each test starts at noon, with a database that contains only the network's coordinator.
    """

    def __init__(self, postgres: Postgres, folder: Path) -> None:
        self._postgres = postgres
        self._test_database = postgres.database("partners", MIGRATIONS)
        self.clock = SettableClock(NOON)
        self.database = Database(self._test_database.url, max_size=12)
        self.database.open()
        self.sealing_key = key_folder.secret(folder, "sealing.partners")
        self.keyring = Keyring(self.sealing_key)
        self.pages = PageTokens(self.keyring)
        self.mail = Keyring(key_folder.secret(folder, "mail"))
        self.issuer = Issuer(key_folder.signing(folder, "tokens"), self.clock)
        self.verifier = Verifier(
            key_folder.verifying(folder, "tokens"), "enlace.partners", self.clock
        )
        self._index = DirectoryIndex()
        self._server = Server(
            "127.0.0.1:0",
            self._servicers(self._index),
            AddressReader(
                lambda: key_folder.all_verifying(folder, "calls.gateway"),
                "enlace.partners",
                self.clock,
            ),
            threads=6,
            reflect=False,
            caller_rate=100_000,
        )
        self._server.start()
        self._channel = grpc.insecure_channel(f"127.0.0.1:{self._server.port}")
        self.gateway = AddressSigner(key_folder.signing(folder, "calls.gateway"), self.clock)
        self.nobody = Stubs(self._channel, origin=self.origin)
        self.owner = Database(self._test_database.migration_url, max_size=2)
        self.owner.open()

    def _servicers(self, index: DirectoryIndex, **settings: Any) -> Any:
        return servicers(
            self.database,
            self.issuer,
            self.verifier,
            self.keyring,
            self.mail,
            self.clock,
            index,
            Site(SITE),
            SignInProviders(self.database, self.keyring, self.mail, SITE, development=True),
            **settings,
        )

    @property
    def url(self) -> str:
        """Returns the URL of the database, as the service uses it."""
        return self._test_database.url

    @property
    def channel(self) -> grpc.Channel:
        """Returns a channel to the service, for callers with stubs of their own."""
        return self._channel

    def origin(self, address: str = "", device: str = "") -> tuple[tuple[str, str], ...]:
        """Returns the gateway's statement about its client: address, if known, and device."""
        return ("client-address", self.gateway.sign(address, "enlace.partners")), (
            "client-device",
            device,
        )

    def begin(self) -> None:
        """Empties the database, as its owner: the service's own role can't delete its records.

        Truncates the tables that have rows and to which no other table refers, and deletes the rows
        of the others: truncating all forty tables before each of a thousand tests took longer than
        the tests. Resets the directory in memory to that of a new process.
        """
        with self.owner.transaction(SYSTEM) as tx:
            tables = tx.execute(
                "SELECT quote_ident(tablename) AS name, EXISTS (SELECT FROM pg_constraint"
                " WHERE contype = 'f' AND confrelid = quote_ident(tablename)::regclass) AS referred"
                " FROM pg_tables WHERE tableowner = current_user"
                " AND tablename NOT IN ('audit_head', 'schema_migrations')"
                " AND pg_relation_size(quote_ident(tablename)::regclass) > 0"
                # a table that refers to another was created after that one
                " ORDER BY quote_ident(tablename)::regclass::oid DESC"
            ).fetchall()
            if names := [row["name"] for row in tables if not row["referred"]]:
                tx.execute(f"TRUNCATE {', '.join(names)}".encode())
            for row in tables:
                if row["referred"]:
                    tx.execute(f"DELETE FROM {row['name']}".encode())
        vars(self._index).update(vars(DirectoryIndex()))
        self.clock.set(NOON)
        self._people = 0
        self._neighbour: Stubs | None = None
        self.coalition = self.organization("Coalición", type=OrganizationType.CENTRAL_GOVERNMENT)
        self.coordinator = self.by(self.coalition, Role.COORDINATOR)

    def close(self) -> None:
        self._channel.close()
        self._server.stop(0)
        self.database.close()
        self.owner.close()
        self._postgres.drop(self._test_database)

    def organization(
        self,
        name: str = "Asociación Puentes",
        *,
        type: OrganizationType = OrganizationType.NGO,
        approved: bool = True,
        **entry: Any,
    ) -> Organization:
        organization_entry = OrganizationEntry(
            **({"name": name, "type": type, "country": "NI", "department": "NI-CI"} | entry)
        )
        with self.database.transaction(SYSTEM) as tx:
            return register(tx, organization_entry, self.clock.now(), approved=approved)

    def vet(self, organization_id: str, *, until: date = date(2027, 3, 14)) -> Organization:
        """Records that an organisation was vetted; its agreement holds until the given day."""
        with self.database.transaction(SYSTEM) as tx:
            organization = organizations.fetch(tx, organization_id, lock="UPDATE")
            assert organization
            now = self.clock.now()
            today = day_at(now, "NI")
            for kind in EvidenceKind:
                expire_date = until if kind is EvidenceKind.AGREEMENT else None
                for number in range(kind.required_count):
                    reference = f"EXP-{number + 1}"
                    evidence = Evidence(kind, reference, today, expire_date, "", now)
                    organization.record(evidence, now, today)
                    organizations.save(tx, organization)
        return self.stored(organization_id)

    def stored(self, organization_id: str) -> Organization:
        """Returns the stored organisation, with its version."""
        with self.database.transaction(SYSTEM) as tx:
            organization = organizations.fetch(tx, organization_id)
        assert organization
        return organization

    def approve(self, organization_id: str, *, until: date = date(2027, 3, 14)) -> pb.Organization:
        """Vets an organisation, and has two people approve it."""
        etag = etag_of(self.vet(organization_id, until=until))
        for _ in range(2):
            approved = self.by(self.coalition, Role.COORDINATOR).ApproveOrganization(
                id=organization_id, etag=etag
            )
            etag = approved.etag
        return approved  # type: ignore[no-any-return]

    @property
    def neighbour(self) -> Stubs:
        """Returns the stubs of a coordinator of another member: the second of two."""
        if self._neighbour is None:
            self._neighbour = self.by(self.organization(NEIGHBOUR), Role.COORDINATOR)
        return self._neighbour

    def suspend(self, organization_id: str) -> pb.Organization:
        """Suspends a member, as two coordinators of different members."""
        for by in (self.coordinator, self.neighbour):
            request = pb.SuspendOrganizationRequest(
                id=organization_id,
                etag=self.etag(organization_id),
                reason=pb.SUSPENSION_REASON_FRONT,
            )
            suspended = by.SuspendOrganization(request)
        return suspended  # type: ignore[no-any-return]

    def reinstate(self, organization_id: str) -> pb.Organization:
        """Reinstates a member, as two coordinators of different members."""
        for by in (self.coordinator, self.neighbour):
            reinstated = by.ReinstateOrganization(
                id=organization_id, etag=self.etag(organization_id)
            )
        return reinstated  # type: ignore[no-any-return]

    def etag(self, organization_id: str) -> str:
        """Returns the current etag of an organisation."""
        return str(self.coordinator.GetOrganization(id=organization_id).etag)

    def service(
        self,
        organization: Organization,
        name: str = "Albergue",
        *needs: str,
        room: int | None = 3,
        intake: Intake = Intake.OPEN,
        **entry: Any,
    ) -> Service:
        defaults: dict[str, Any] = {
            "name": name,
            "need_codes": needs or ("HOU.EMG",),
            "department": "NI-CI",
            "eligibility": EVERYBODY,
        }
        service_entry = ServiceEntry(**(defaults | entry))
        with self.database.transaction(SYSTEM) as tx:
            return offer(
                tx, organization, service_entry, Capacity(intake, room, 9, "beds"), self.clock.now()
            )

    def worker(
        self,
        organization: Organization,
        *roles: Role,
        email: str = "",
        name: str = "Xiomara Talavera",
    ) -> Worker:
        self._people += 1
        entry = WorkerEntry(
            name, email or f"persona{self._people}@ejemplo.org", roles or (Role.WORKER,)
        )
        with self.database.transaction(SYSTEM) as tx:
            return create_worker(tx, self.clock.now(), organization.id, entry, PASSWORD)

    def by(self, organization: Organization, *roles: Role) -> Stubs:
        """Returns stubs that call in the name of a new worker."""
        return self.as_worker(self.worker(organization, *roles))

    def as_worker(self, worker: Worker) -> Stubs:
        return self.with_kin(worker, NONE)

    def with_kin(self, worker: Worker, kin: Kin) -> Stubs:
        """Returns stubs whose token states this kin of the worker."""
        return self.with_token(
            Caller(
                worker.id, "worker", worker.organization_id, frozenset(worker.entry.roles), kin=kin
            )
        )

    def by_key(self, organization: Organization, *scopes: str) -> Stubs:
        """Returns stubs that call in the name of a new key."""
        with self.database.transaction(SYSTEM) as tx:
            now = self.clock.now()
            key = ApiKey.create(
                new_id(),
                organization.id,
                ApiKeyEntry("sistema", scopes, now + USUAL_LIFE),
                0,
                now,
                None,
            )
            api_keys.add(tx, key, mark_of(key.id))
        return self.with_token(Caller(key.id, "key", organization.id, scopes=frozenset(scopes)))

    def with_token(self, caller: Caller | str) -> Stubs:
        """Returns stubs that call in the name of this caller.

        The caller has just proved who she is, unless the caller holds another time of proof.
        """
        if isinstance(caller, str):
            return Stubs(self._channel, lambda: caller, self.origin)
        return Stubs(
            self._channel,
            lambda: self.issuer.issue(just_proved(caller, self.issuer), "enlace.partners")[0],
            self.origin,
        )

    def with_token_of(self, token: Callable[[], str]) -> Stubs:
        """Returns stubs that call `token` for each rpc, and send the token that it returns."""
        return Stubs(self._channel, token, self.origin)

    def signed_in(self, email: str, password: str = PASSWORD, device: str = "") -> Stubs:
        """Signs in from this device; returns stubs with the tokens of that session."""
        session = PartnersStubs(self._channel).tokens.SignIn(
            pb2.SignInRequest(email=email, password=password), metadata=self.origin(device=device)
        )
        request = pb2.IssueTokenRequest(session_secret=session.session_secret)
        return Stubs(
            self._channel,
            lambda: str(self.nobody.IssueToken(request).tokens["enlace.partners"]),
            self.origin,
        )

    def import_report(
        self, by: Stubs, content: bytes = b"", **fields: Any
    ) -> open_data_pb2.ImportReport:
        """Imports a file; returns the report once the import is done."""
        report = self.run_import(by, content, **fields)
        assert report.state == open_data_pb2.IMPORT_STATE_DONE, report
        return report.report

    def run_import(self, by: Stubs, content: bytes = b"", **fields: Any) -> open_data_pb2.Import:
        """Imports a file; returns the import once it has ended."""
        created = by.CreateImport(content=content, **fields)
        while run_import(self.database, self.keyring, self.mail, self.clock):
            pass
        return by.GetImport(id=created.id)  # type: ignore[no-any-return]

    def rows(self, sql: str, *values: object) -> list[Row]:
        with self.database.transaction(SYSTEM) as tx:
            return tx.execute(sql.encode(), values).fetchall()

    def tables_with(self, text: str) -> set[str]:
        """Returns the tables that contain a text: as text, in hexadecimal or as bytes."""
        return {
            table["name"]
            for table in self.rows(
                "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'"
            )
            for row in self.rows(f"SELECT * FROM {table['name']}")
            if text in str(row)
            or text.encode().hex() in str(row)
            or any(
                text.encode() in bytes(value)
                for value in row.values()
                if isinstance(value, bytes | memoryview)
            )
        }

    def sweep(self, **step: float) -> int:
        """Deletes or updates the rows that are due after this step; returns their number."""
        self.advance(**step)
        with self.database.transaction(SYSTEM, timeout=30) as tx:
            return housekeeping.full_sweep(self.mail)(tx, self.clock.now())

    @contextmanager
    def other_server(self, **settings: Any) -> Iterator[grpc.Channel]:
        """Yields a channel to a second process of the service, which has other settings."""
        server = Server(
            "127.0.0.1:0",
            self._servicers(DirectoryIndex(), **settings),
            threads=2,
            reflect=False,
            caller_rate=100_000,
        )
        server.start()
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield channel
        server.stop(0)

    def facts(self, subject: str) -> list[tuple[int, str]]:
        """Returns the version and the type of each fact of a subject."""
        rows = self.rows(
            "SELECT version, type FROM outbox WHERE subject = %s ORDER BY version", subject
        )
        return [(row["version"], row["type"]) for row in rows]

    def advance(self, **step: float) -> None:
        self.clock.advance(timedelta(**step))
