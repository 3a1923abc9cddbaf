"""The usual life of a referral between two members with an API key each.

Fault runs and benchmarks use it as their load.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.ids import new_id
from protos.partners.v1 import directory_pb2
from protos.referrals.v1 import people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from tests.builders import NOTHING_UNSAFE
from tests.parts.local_stack import Client, LocalStack, until

NEED = "HOU.EMG"
MARKED = {"her name": "zqhbtrkwmdxv", "an answer": "zqlfnpkcvgxd"}
"""Words that occur only in texts about the person.

At the end of a test these words may exist only in sealed form (tests/faults/canary.py).
"""


@dataclass(frozen=True)
class Step:
    """A transition of a referral.

    `fact` is its verb in the history. The sender takes it if `by_sender` is true, otherwise the
    receiver. `request` makes the request from id, etag and request_id.
    """

    rpc: str
    fact: str
    by_sender: bool
    request: Callable[..., Any]


STEPS = (
    Step("AcknowledgeReferral", "acknowledged", False, pb.AcknowledgeReferralRequest),
    Step(
        "AskReferral",
        "info_requested",
        False,
        lambda **fields: pb.AskReferralRequest(question_code=pb.QUESTION_DATES, **fields),
    ),
    Step(
        "AnswerReferral",
        "answered",
        True,
        lambda **fields: pb.AnswerReferralRequest(
            note=f"Desde hoy. {MARKED['an answer']}", **fields
        ),
    ),
    Step(
        "AcceptReferral",
        "accepted",
        False,
        lambda **fields: pb.AcceptReferralRequest(
            planned_first_contact_time=seconds_from_now(5 * 3600), **fields
        ),
    ),
    Step(
        "StartReferral",
        "started",
        False,
        lambda **fields: pb.StartReferralRequest(
            first_contact_time=seconds_from_now(-60), **fields
        ),
    ),
    Step(
        "CompleteReferral",
        "completed",
        False,
        lambda **fields: pb.CompleteReferralRequest(
            outcome_code=pb.OUTCOME_FULLY_MET, delivered_need_codes=[NEED], **fields
        ),
    ),
    Step(
        "CloseReferral",
        "closed",
        True,
        lambda **fields: pb.CloseReferralRequest(help_came_code=pb.HELP_CAME_YES, **fields),
    ),
)


def seconds_from_now(seconds: float) -> Timestamp:
    """Returns the time in `seconds` seconds from now."""
    return Timestamp(seconds=int(time.time() + seconds))


class Cast:
    """The members and their API keys: Asociación Puentes sends, the shelter Luna Nueva receives."""

    def __init__(self, stack: LocalStack) -> None:
        self.sender, self.receiver = stack.client("Puentes"), stack.client("Luna Nueva")
        request = directory_pb2.SearchServicesRequest(
            organization_id=self.receiver.organization_id, need_code=NEED
        )
        self.service_id = self.sender.directory.SearchServices(request).services[0].id
        query = (
            "SELECT FROM directory_services s JOIN members m ON m.id = s.organization_id"
            " WHERE s.id = %s"
        )
        # a stack becomes ready before each service has applied all facts of the others
        with stack.database("referrals") as database:
            until(lambda: database.execute(query, (self.service_id,)).fetchone() is not None)

    def who(self, step: Step) -> Client:
        """Returns the client of the member that takes the step."""
        return self.sender if step.by_sender else self.receiver

    def person(
        self,
        identity: people_pb2.Identity | None = None,
        plan: people_pb2.SafeContact | None = None,
    ) -> tuple[str, str]:
        """Adds a person with a plan and a consent that names the receiver.

        Returns the ids of the person and of the receipt.
        """
        person = self.sender.people.CreatePerson(
            people_pb2.CreatePersonRequest(
                identity=identity
                or people_pb2.Identity(given_name=f"Ejemplo {MARKED['her name']}"),
                coarse=pb.CoarsePerson(
                    age_band=pb.AGE_BAND_18_TO_24,
                    gender_code=pb.PERSON_GENDER_FEMININE,
                    language="es",
                    country="NI",
                    department="NI-CI",
                ),
                safe_contact=plan
                or people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_THROUGH_WORKER),
                request_id=new_id(),
            )
        )
        receipt = people_pb2.Receipt(
            person_id=person.id,
            recipient_organization_id=self.receiver.organization_id,
            field_groups=[
                people_pb2.FIELD_GROUP_IDENTITY,
                people_pb2.FIELD_GROUP_CONTACT,
                people_pb2.FIELD_GROUP_HEALTH,
                people_pb2.FIELD_GROUP_NOTES,
            ],
            purpose_codes=[NEED],
            until_time=seconds_from_now(30 * 86_400),
            giver_code=people_pb2.GIVER_PERSON,
            manner_code=people_pb2.MANNER_SPOKEN,
            in_private=True,
            explained_codes=[point for point in people_pb2.Explained.values() if point],
        )
        new_receipt = self.sender.people.CreateReceipt(
            people_pb2.CreateReceiptRequest(receipt=receipt, request_id=new_id())
        )
        return person.id, new_receipt.id

    def draft(self, person_id: str, request_id: str = "") -> pb.CreateReferralRequest:
        """Returns the request for a draft that can be sent."""
        return pb.CreateReferralRequest(
            person_id=person_id,
            need_code=NEED,
            urgency=pb.URGENCY_URGENT,
            service_id=self.service_id,
            request_id=request_id or new_id(),
            **NOTHING_UNSAFE,
        )
