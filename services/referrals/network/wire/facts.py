"""The Kafka topic on which the referrals service publishes its facts, and facts of the network."""

from datetime import datetime

from chassis.ids import new_id
from chassis.tokens import Caller
from facts.outbox import Fact
from protos.referrals.v1 import facts_pb2

TOPIC = "enlace.referrals.v1"


def publication_fact(kind_code: str, caller: Caller, time: datetime) -> Fact:
    """Returns the fact about a publication by a coordinator, which has only one fact, "made".

    `kind_code`: "pathway", "advice_card" or "deadline_policy".
    """
    message = facts_pb2.PublicationFact(
        publication_id=new_id(),
        kind_code=kind_code,
        organization_id=caller.organization_id,
        worker_id=caller.id,
    )
    return Fact(
        message.publication_id, 1, "enlace.publication.made.v1", message.SerializeToString(), time
    )
