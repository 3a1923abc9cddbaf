"""The whole life of a referral: its steps with their times, taken through the domain.

The domain refuses an illegal step. The whole life is made in memory and saved once. If it were
saved step by step, the running services would find an unfinished referral whose deadlines passed
long ago, and write to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from chassis.wire import numbers
from demo.network import Network, id_of
from protos.referrals.v1 import people_pb2
from services.referrals.files.domain.consent import Circumstances, Receipt
from services.referrals.files.domain.person import FieldGroup, Identity, Person, SafeContact
from services.referrals.files.domain.unsafe import Unsafe
from services.referrals.network.domain.deadline import Calendar, Urgency
from services.referrals.referrals.domain.record import Actor
from services.referrals.referrals.domain.referral import Referral

# The field groups that a receiver needs in order to help, by kind of need. All other kinds have
# IDENTITY and CONTACT; NOTES is added to each.
_GROUPS = {
    "MED": {FieldGroup.IDENTITY, FieldGroup.HEALTH, FieldGroup.CONTACT},
    "PSS": {FieldGroup.IDENTITY, FieldGroup.EXPLOITATION, FieldGroup.CONTACT},
    "LEG": {FieldGroup.IDENTITY, FieldGroup.EXPLOITATION, FieldGroup.DOCUMENTS},
    "DOC": {FieldGroup.IDENTITY, FieldGroup.DOCUMENTS},
    "RET": {FieldGroup.IDENTITY, FieldGroup.DOCUMENTS, FieldGroup.FAMILY},
    "FAM": {FieldGroup.IDENTITY, FieldGroup.FAMILY, FieldGroup.LOCATION},
}


@dataclass(frozen=True)
class File:
    """A person's file: the person with her coarse attributes, her identity, the safe-contact plan,
    the slug of the member that holds the file, and who gives consent (`giver`).
    """

    person: Person
    identity: Identity
    safe_contact: SafeContact
    holder: str
    giver: str = "person"


@dataclass
class Story:
    """A referral with its consent. A step that is earlier than the previous step raises
    ValueError.
    """

    network: Network
    file: File
    need: str
    offer: tuple[str, str]
    urgency: Urgency
    draft_time: datetime
    calendar: Calendar
    has_deadlines: bool = True
    """True if deadlines fire; False for the pilot of 2006, which had no deadlines."""
    based_on: str = ""
    contact_id: str = ""
    withdraw_time: datetime | None = field(default=None, init=False)
    """The time at which the consent was withdrawn; None if it was not."""
    referral: Referral = field(init=False)
    receipt: Receipt = field(init=False)
    following: Referral | None = None  # the draft for another service

    def __post_init__(self) -> None:
        name = (self.file.person.id, self.need, *self.offer)
        service = self.network.offers[self.offer]
        receiver = self.network.members[service.organization]
        self._now = self.draft_time
        self.referral = Referral.draft(
            id_of("referral", *name),
            self.sender,
            self.file.person.id,
            self.file.person.coarse,
            self.draft_time,
            self.calendar,
            based_on_id=self.based_on,
        )
        self.receipt = Receipt(
            id=id_of("receipt", *name),
            person_id=self.file.person.id,
            organization_id=self.file.person.organization_id,
            recipient_organization_id=receiver.id,
            field_groups=frozenset(
                {FieldGroup.NOTES}
                | _GROUPS.get(self.need[:3], {FieldGroup.IDENTITY, FieldGroup.CONTACT})
            ),
            purpose_codes=(self.need[:3],),
            until_time=self.draft_time + timedelta(days=365),
            giver_code=self.file.giver,
            manner_code="spoken" if self.has_deadlines else "written",
            create_time=self.draft_time,
            recorded_by_worker_id=self.sender.id,
            assent_code="given" if self.file.giver != "person" else "",
            in_private=True,
            explained_codes=tuple(sorted(numbers(people_pb2.Explained.DESCRIPTOR))),
            circumstances=Circumstances(self.file.person.coarse.age_band),
        )
        self.receipt.check()
        self.referral.change_draft(
            self.sender,
            self.draft_time,
            self.calendar,
            need_code=self.need,
            urgency=self.urgency,
            service=(service.id, receiver.id),
            receipt_id=self.receipt.id,
            contact_id=self.contact_id,
            unsafe=Unsafe("nothing"),
        )

    @property
    def sender(self) -> Actor:
        return self._actor_of(self.file.holder)

    @property
    def receiver(self) -> Actor:
        return self._actor_of(self.offer[0])

    def send(self, time: datetime) -> Story:
        """Sends the draft, as the sender."""
        self._advance_to(time)
        self.referral.send(self.sender, time, self.calendar, self.receipt, safe_contact_known=True)
        return self

    def take(self, time: datetime, verb: str, **fields: Any) -> Story:
        """Takes the step `verb`, for which Story has no method of its own, with these fields.

        The receiver takes the step, unless only the sender may.
        """
        self._advance_to(time)
        actor = self.sender if verb in ("answer", "close", "withdraw") else self.receiver
        self.referral.take(verb, actor, time, self.calendar, **fields)
        return self

    def reroute(self, time: datetime, offer: tuple[str, str]) -> Story:
        """Re-routes the referral to another service, as the sender.

        The draft for that service is stored in `following`.
        """
        self._advance_to(time)
        service = self.network.offers[offer]
        receiver = self.network.members[service.organization].id
        following = id_of("referral", self.file.person.id, self.need, *offer, "again")
        self.following = self.referral.reroute(
            self.sender,
            time,
            self.calendar,
            service=(service.id, receiver),
            following_id=following,
            note="",
        )
        return self

    def record_follow_up(self, other: Story) -> Story:
        """Records that another referral was sent after this one was declined."""
        time = other.referral.send_time or other.draft_time
        self._advance_to(time)
        self.referral.followed_up = True
        self.referral.update_need_deadlines(time)
        return self

    def withdraw_consent(self, time: datetime) -> Story:
        """Withdraws the consent for the referral, as the person."""
        self._advance_to(time)
        self.withdraw_time = time
        self.referral.withdraw_consent(
            Actor("person", self.file.person.id, ""), time, self.calendar
        )
        return self

    def fire_deadlines_until(self, until: datetime) -> Story:
        """Fires the deadlines up to a time, each at its own time, if deadlines fire at all."""
        while self.has_deadlines:
            moment = min(
                (deadline.next_time for deadline in self.referral.deadlines if deadline.next_time),
                default=None,
            )
            if moment is None or moment > until:
                break
            self.referral.fire_deadlines(moment, self.calendar)
        return self

    def _advance_to(self, time: datetime) -> None:
        if time < self._now:
            raise ValueError(f"{self.need} at {self.offer}: {time} is before {self._now}")
        self.fire_deadlines_until(time)
        self._now = time

    def _actor_of(self, slug: str) -> Actor:
        return Actor("worker", self.network.acting_worker_id(slug), self.network.members[slug].id)
