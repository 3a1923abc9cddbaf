"""Facts about erasures and anomalies."""

from chassis.wire import moment, timestamp
from facts.outbox import Fact
from protos.referrals.v1 import facts_pb2
from services.referrals.people.domain.anomaly import Anomaly
from services.referrals.people.domain.erasure import Erasure

ERASED = "enlace.erasure.done.v1"


def erasure_fact(erasure: Erasure, verb: str) -> Fact:
    """Returns the fact about an erasure; `verb` is "proposed", "lapsed" or "done"."""
    message = facts_pb2.ErasureFact(
        erasure_id=erasure.id,
        person_id=erasure.person_id,
        organization_id=erasure.organization_id,
        proposed_by_worker_id=erasure.proposed_by_worker_id,
        propose_time=timestamp(erasure.propose_time),
        confirmed_by_worker_id=erasure.confirmed_by_worker_id,
        erase_time=timestamp(erasure.erase_time),
    )
    time = {"lapsed": erasure.confirm_until, "done": erasure.erase_time}.get(
        verb, erasure.propose_time
    )
    assert time is not None
    return Fact(
        erasure.id, erasure.version, f"enlace.erasure.{verb}.v1", message.SerializeToString(), time
    )


def erasure_of(fact: Fact) -> Erasure:
    """Returns the completed erasure that a fact reports."""
    message = facts_pb2.ErasureFact.FromString(fact.payload)
    propose_time = moment(message, "propose_time")
    assert propose_time is not None
    return Erasure(
        message.erasure_id,
        message.person_id,
        message.organization_id,
        message.proposed_by_worker_id,
        propose_time,
        confirmed_by_worker_id=message.confirmed_by_worker_id,
        erase_time=moment(message, "erase_time"),
    )


def anomaly_fact(anomaly: Anomaly) -> Fact:
    """Returns the fact about an anomaly; an anomaly has only one fact, "noted"."""
    message = facts_pb2.AnomalyFact(
        anomaly_id=anomaly.id,
        kind_code=anomaly.kind.value,
        worker_id=anomaly.worker_id,
        organization_id=anomaly.organization_id,
        count=anomaly.count,
    )
    return Fact(
        anomaly.id, 1, "enlace.anomaly.noted.v1", message.SerializeToString(), anomaly.create_time
    )
