"""The members of the demo network, their services, workers and keys, from network.yaml.

Their ids are the same in every run.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).with_name("network.yaml")
_GENDERS = {
    "F": "FEMININE",
    "M": "MASCULINE",
    "TF": "TRANSGENDER_FEMININE",
    "TM": "TRANSGENDER_MASCULINE",
    "NC": "NON_CONFORMING",
}


def id_of(kind: str, *words: str) -> str:
    """Returns an id in the usual format that is the same in every run, so that a second run finds
    the data of the first.
    """
    return hashlib.sha256("/".join(("enlace demo", kind, *words)).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Member:
    """A member organisation."""

    slug: str
    name: str
    type: str
    country: str
    department: str
    phone: str
    description: str
    url: str
    languages: tuple[str, ...]
    hotline_number: str
    status: str

    @property
    def id(self) -> str:
        return id_of("organization", self.slug)

    @property
    def desk(self) -> str:
        """Returns the e-mail address of the desk."""
        return f"desk@{self.slug}.demo"


@dataclass(frozen=True)
class Room:
    """The free places that a service states, and the age of the statement in hours."""

    intake: str
    available: int | None
    maximum: int | None
    unit: str
    age_hours: int


@dataclass(frozen=True)
class Offer:
    """A service that an organisation offers; None means "not stated"."""

    organization: str
    slug: str
    name: str
    needs: tuple[str, ...]
    department: str
    languages: tuple[str, ...]
    minimum_age: int | None
    maximum_age: int | None
    genders: tuple[str, ...]
    maximum_dependants: int | None
    room: Room
    confidential: bool
    public: bool

    @property
    def id(self) -> str:
        return id_of("service", self.organization, self.slug)


@dataclass(frozen=True)
class Worker:
    """A worker, who can sign in."""

    email: str
    organization: str
    name: str
    roles: tuple[str, ...]
    language: str

    @property
    def id(self) -> str:
        return id_of("worker", self.email)


@dataclass(frozen=True)
class Key:
    """An API key of an organisation."""

    organization: str
    label: str
    scopes: tuple[str, ...]


@dataclass(frozen=True)
class Network:
    """The whole network; members by slug, services by slugs of organisation and service."""

    members: dict[str, Member]
    offers: dict[tuple[str, str], Offer]
    workers: tuple[Worker, ...]
    keys: tuple[Key, ...]

    def acting_worker_id(self, organization: str) -> str:
        """Returns the id of the worker who acted for an organisation.

        This is the first worker who handles referrals. If there is none, the id belongs to no
        account, like the id of a worker who has left.
        """
        for worker in self.workers:
            if worker.organization == organization and {"WORKER", "OPERATOR"} & set(worker.roles):
                return worker.id
        return id_of("worker", organization)


@cache
def network() -> Network:
    """Returns the network of network.yaml."""
    # CSafeLoader is the safe loader, in C
    data = yaml.load(
        FILE.read_text(encoding="utf-8"),
        Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader),  # noqa: S506
    )
    members = {row["id"]: _member(row) for row in data["organizations"]}
    offers = [_offer(row, members[row["organization"]]) for row in data["services"]]
    return Network(
        members,
        {(offer.organization, offer.slug): offer for offer in offers},
        tuple(
            Worker(
                row["email"],
                row["organization"],
                row["name"],
                tuple(row["roles"]),
                row.get("language", "es"),
            )
            for row in data["workers"]
        ),
        tuple(
            Key(row["organization"], row["label"], tuple(row["scopes"])) for row in data["api_keys"]
        ),
    )


def _member(row: dict[str, Any]) -> Member:
    return Member(
        row["id"],
        row["name"],
        row["type"],
        row["country"],
        row.get("department", ""),
        row["phone"],
        row["description"],
        row.get("url", ""),
        tuple(row.get("languages", ["es"])),
        row.get("hotline_number", ""),
        row.get("status", "approved"),
    )


def _offer(row: dict[str, Any], member: Member) -> Offer:
    ages = row.get("ages", [None, None])
    return Offer(
        row["organization"],
        row["id"],
        row["name"],
        tuple(row["needs"]),
        row.get("department", member.department),
        tuple(row.get("languages", member.languages)),
        ages[0],
        ages[1],
        tuple(_GENDERS[gender] for gender in row.get("genders", [])),
        row.get("dependants"),
        Room(*row["room"]),
        row.get("confidential", False),
        row.get("public", False),
    )
