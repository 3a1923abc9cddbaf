"""Writes the network into the partners service.

The network consists of members, their services with free places, workers, and API keys.
"""

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from chassis.db import Database, Transaction
from chassis.tokens import SYSTEM
from demo import steps
from demo.network import Key, Member, Network, Offer, Worker, id_of
from demo.secret_words import DemoSecrets
from services.partners.directory.domain.service import (
    Capacity,
    Eligibility,
    Gender,
    Intake,
    Service,
    ServiceEntry,
)
from services.partners.directory.store import services
from services.partners.directory.store.areas import areas
from services.partners.directory.store.taxonomy import taxonomy
from services.partners.members.domain.api_key import USUAL_LIFE, ApiKey, ApiKeyEntry, full_key
from services.partners.members.domain.organization import (
    Organization,
    OrganizationEntry,
    OrganizationType,
)
from services.partners.members.domain.worker import Role, WorkerEntry, check_password
from services.partners.members.domain.worker import Worker as Account
from services.partners.members.store import api_keys, organizations, workers
from services.partners.members.usecases.passwords import hash_of

# A date before the pilot began, so that the receivers of the referrals were already members.
_FOUNDING = datetime(2005, 11, 7, 15, tzinfo=UTC)
_CONFIRMATION_AGE, _OLD_CONFIRMATION_AGE = timedelta(days=40), timedelta(days=240)
# A service whose statement of free places is at least this old has an old confirmation, too.
_OLD_HOURS = 500


def fill(database: Database, network: Network, demo_secrets: DemoSecrets, now: datetime) -> None:
    """Writes the missing members, each with its services and keys, then the missing accounts."""

    def save_member(member: Member) -> None:
        with database.transaction(SYSTEM, timeout=30) as tx:
            if not organizations.fetch(tx, member.id):
                _save_member(tx, member, network, demo_secrets, now)

    steps.fill_each("members", network.members.values(), save_member)
    _fill_accounts(database, network, demo_secrets, now)


def api_key(key: Key, demo_secrets: DemoSecrets) -> str:
    """Returns an API key as its holder has it, with its secret."""
    return full_key(_key_id(key), demo_secrets.api_secret(key.organization))


def _key_id(key: Key) -> str:
    return id_of("api_key", key.organization)


def _organization(member: Member, now: datetime) -> Organization:
    on_probation = member.status == "probation"
    entry = OrganizationEntry(
        member.name,
        OrganizationType(member.type),
        member.country,
        member.department,
        member.phone,
        member.url,
        member.languages,
        member.description,
        member.hotline_number,
    )
    organization = Organization.register(
        member.id, entry, now - timedelta(days=25) if on_probation else _FOUNDING
    )
    if not on_probation:
        organization.approve(_FOUNDING + timedelta(days=16), _FOUNDING.date())
    return organization


def _service(offer: Offer, member: Member, now: datetime) -> Service:
    entry = ServiceEntry(
        offer.name,
        offer.needs,
        country=member.country,
        department=offer.department,
        languages=offer.languages,
        eligibility=Eligibility(
            offer.minimum_age,
            offer.maximum_age,
            tuple(Gender(gender) for gender in offer.genders),
            None if offer.maximum_dependants is None else offer.maximum_dependants > 0,
            offer.maximum_dependants,
        ),
        confidential=offer.confidential,
        phone=member.phone,
        public=offer.public,
    )
    room = offer.room
    join_time = (
        now - timedelta(days=24) if member.status == "probation" else _FOUNDING + timedelta(days=17)
    )
    service = Service.register(
        offer.id, member.id, entry, Capacity(), taxonomy(), areas(), join_time
    )
    service.organization_name = member.name
    if member.status != "probation":
        service.change(
            {"assured_time": None},
            taxonomy(),
            areas(),
            now - (_OLD_CONFIRMATION_AGE if room.age_hours >= _OLD_HOURS else _CONFIRMATION_AGE),
        )
    capacity = Capacity(Intake(room.intake), room.available, room.maximum, room.unit)
    service.set_capacity(capacity, now - timedelta(hours=room.age_hours))
    return service


def _save_member(
    tx: Transaction, member: Member, network: Network, demo_secrets: DemoSecrets, now: datetime
) -> None:
    organizations.save(tx, _organization(member, now))
    for offer in network.offers.values():
        if offer.organization == member.slug:
            services.save(tx, _service(offer, member, now))
    for key in network.keys:
        if key.organization == member.slug:
            entry = ApiKeyEntry(key.label, key.scopes, now + USUAL_LIFE)
            api_key = ApiKey.create(_key_id(key), member.id, entry, 0, now, None)
            api_keys.add(
                tx,
                api_key,
                hashlib.sha256(demo_secrets.api_secret(key.organization).encode()).digest(),
            )


def _fill_accounts(
    database: Database, network: Network, demo_secrets: DemoSecrets, now: datetime
) -> None:
    """Adds the missing accounts.

    Hashes the passwords outside the transactions, because hashing is slow on purpose.
    """
    missing_workers = steps.retry("accounts", lambda: _workers_without_account(database, network))
    with ThreadPoolExecutor(2) as pool:  # argon2 releases Python's lock

        def save_account(part: tuple[Worker, Future[str]]) -> None:
            worker, password_hash = part[0], part[1].result()
            with database.transaction(SYSTEM, timeout=30) as tx:
                is_new = workers.add(
                    tx, _account(worker, network, now - timedelta(days=23)), password_hash
                )
                if not is_new and not workers.fetch(tx, worker.id):
                    raise ValueError(f"{worker.email} is taken")

        steps.fill_each(
            "accounts",
            [
                (worker, pool.submit(_hash, demo_secrets.password(worker.email)))
                for worker in missing_workers
            ],
            save_account,
        )


def _workers_without_account(database: Database, network: Network) -> list[Worker]:
    with database.transaction(SYSTEM) as tx:
        return [worker for worker in network.workers if not workers.fetch(tx, worker.id)]


def _hash(password: str) -> str:
    check_password(password)
    return hash_of(password)


def _account(worker: Worker, network: Network, join_time: datetime) -> Account:
    entry = WorkerEntry(
        worker.name, worker.email, tuple(Role(role) for role in worker.roles), worker.language
    )
    return Account.register(worker.id, network.members[worker.organization].id, entry, join_time)
