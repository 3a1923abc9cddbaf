"""A shelter to which other members refer people, as the facts of referrals describe it."""

from datetime import datetime
from typing import Any

from google.protobuf.message import Message

from chassis.ids import new_id
from chassis.tokens import SYSTEM
from facts.outbox import Fact
from protos.partners.v1 import directory_pb2 as pb
from protos.referrals.v1 import enquiries_pb2, facts_pb2
from services.partners import subscriptions
from services.partners.members.domain.organization import OrganizationType
from services.partners.members.domain.worker import Role
from tests.partners.scene import Scene, Stubs

WOMAN = {
    "need_code": "HOU.EMG",
    "country": "NI",
    "department": "NI-CI",
    "age": 24,
    "gender": pb.GENDER_FEMININE,
    "dependants": 0,
}
"""A question of MatchServices that a `Shelter` fits."""


def consume(scene: Scene, type_: str, body: Message | bytes, at: datetime | None = None) -> None:
    """Consumes a fact that another service published, at this time or now."""
    content = body if isinstance(body, bytes) else body.SerializeToString()
    with scene.database.transaction(SYSTEM) as tx:
        subscriptions.consume(
            scene.clock, tx, Fact(new_id(), 1, type_, content, at or scene.clock.now())
        )


class Shelter:
    """An organisation with one service that stated at noon how many places are free."""

    def __init__(
        self,
        scene: Scene,
        need: str = "HOU.EMG",
        room: int = 3,
        type: OrganizationType = OrganizationType.NGO,
    ) -> None:
        self.scene = scene
        self.organization = scene.organization("Casa Puentes", type=type)
        self.service = scene.service(self.organization, "Albergue", need, room=room)
        self.staff = scene.by(self.organization, Role.WORKER, Role.MANAGER)
        self.sender = scene.organization("Remitente")

    def refer(
        self,
        verb: str,
        referral_id: str = "",
        *,
        people: int = 1,
        at: datetime | None = None,
        **fields: str,
    ) -> None:
        """Consumes the fact of a step of a referral; by default a decline is for lack of room."""
        defaults: dict[str, Any] = {
            "referral_id": referral_id or new_id(),
            "service_id": self.service.id,
            "receiver_organization_id": self.organization.id,
            "actor_organization_id": self.organization.id,
            "sender_organization_id": self.sender.id,
            "reason_code": "no_capacity" if verb == "declined" else "",
        }
        body = facts_pb2.ReferralFact(
            **(defaults | fields), people=people if verb == "accepted" else 0
        )
        consume(self.scene, f"enlace.referral.{verb}.v1", body, at)

    def answer_enquiry(self, reason: str = "", at: datetime | None = None, **fields: str) -> None:
        """Consumes the fact of an answer to an enquiry: a no if there is a reason."""
        answer = enquiries_pb2.OFFER_ANSWER_NO if reason else enquiries_pb2.OFFER_ANSWER_YES
        defaults: dict[str, Any] = {
            "enquiry_id": new_id(),
            "service_id": self.service.id,
            "actor_organization_id": self.organization.id,
            "organization_id": self.sender.id,
        }
        body = facts_pb2.EnquiryFact(**(defaults | fields), answer=answer, reason_code=reason)
        consume(self.scene, "enlace.enquiry.answered.v1", body, at)

    def state_room(
        self,
        available: int,
        intake: pb.Intake.ValueType = pb.INTAKE_OPEN,
        unit: pb.CapacityUnit.ValueType = pb.CAPACITY_UNIT_BEDS,
        maximum: int | None = None,
    ) -> None:
        room = pb.Capacity(intake=intake, available=available, unit=unit, maximum=maximum)
        self.staff.SetCapacity(id=self.service.id, capacity=room)

    def shown(self, by: Stubs | None = None) -> pb.Service:
        """Returns the service as a caller sees it; by default, as its own people see it."""
        return (by or self.staff).GetService(id=self.service.id)  # type: ignore[no-any-return]
