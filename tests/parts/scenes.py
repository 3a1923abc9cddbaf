"""A referral step by step, and the stack's data about the referral.

Tests that break something between two steps use this module.
"""

from __future__ import annotations

from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chassis.ids import new_id
from protos.referrals.v1 import referrals_pb2 as pb
from tests.parts.local_stack import LocalStack
from tests.parts.stories import STEPS, Cast

ACKNOWLEDGE, ASK, ANSWER, ACCEPT = STEPS[:4]


class Scenes:
    """Takes the steps of members, and reads the stack's data about those steps."""

    def __init__(self, stack: LocalStack, cast: Cast) -> None:
        self.stack, self.cast = stack, cast
        self.person_id, self.receipt_id = cast.person()

    def send(self) -> Any:
        """Creates and sends a referral; only the fact that it was sent notifies somebody."""
        drafted = self.cast.sender.referrals.CreateReferral(self.cast.draft(self.person_id))
        request = pb.SendReferralRequest(
            id=drafted.id, etag=drafted.etag, request_id=new_id(), receipt_id=self.receipt_id
        )
        return self.cast.sender.referrals.SendReferral(request)

    def step(self, referral: Any, step: Any) -> Any:
        """Takes a step of a referral."""
        rpc = getattr(self.cast.who(step).referrals, step.rpc)
        return rpc(step.request(id=referral.id, etag=referral.etag, request_id=new_id()))

    def kinds(self, id: str) -> list[str]:
        """Returns the kinds of the messages about a referral."""
        return [
            row["kind"]
            for row in self.rows(
                "notifications", "SELECT kind FROM messages WHERE referral_id = %s ORDER BY 1", id
            )
        ]

    def held_facts(self, id: str) -> list[dict[str, Any]]:
        """Returns the fact about a referral that notifications holds, if there is one."""
        return self.rows(
            "notifications",
            "SELECT version, attempts FROM inbox_parked WHERE subject = %s AND reason <> ''",
            id,
        )

    def rows(self, service: str, statement: str, *values: object) -> list[dict[str, Any]]:
        with self.stack.database(service) as database:
            return database.execute(statement, values).fetchall()

    def health(self, service: str, name: str) -> str:
        with grpc.insecure_channel(self.stack.address(service)) as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(  # type: ignore[attr-defined]
                health_pb2.HealthCheckRequest(service=name), timeout=5
            )
        return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
