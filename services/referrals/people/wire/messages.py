"""Translates erasures and anomalies into messages."""

from datetime import datetime

from chassis.ids import short_code
from chassis.wire import EnumCodec, etag, number, timestamp
from protos.referrals.v1 import audit_pb2, erasures_pb2
from services.referrals.people.domain.anomaly import Anomaly, AnomalyKind
from services.referrals.people.domain.erasure import Erasure

ANOMALIES = EnumCodec(audit_pb2.AnomalyKind, AnomalyKind)


def erasure_message(erasure: Erasure, now: datetime) -> erasures_pb2.Erasure:
    """Returns an erasure, proposed or done, as a message."""
    return erasures_pb2.Erasure(
        id=erasure.id,
        person_id=erasure.person_id,
        person_code=short_code(erasure.person_id),
        organization_id=erasure.organization_id,
        proposed_by_worker_id=erasure.proposed_by_worker_id,
        propose_time=timestamp(erasure.propose_time),
        confirm_until_time=timestamp(
            erasure.confirm_until if erasure.may_be_confirmed(now) else None
        ),
        confirmed_by_worker_id=erasure.confirmed_by_worker_id,
        erase_time=timestamp(erasure.erase_time),
        witness_time=timestamp(erasure.witness_time),
        destroyed=erasures_pb2.Destroyed(**vars(erasure.destroyed_counts))
        if erasure.erase_time
        else None,
    )


def anomaly_message(anomaly: Anomaly) -> audit_pb2.Anomaly:
    """Returns an anomaly as a message."""
    return audit_pb2.Anomaly(
        id=anomaly.id,
        etag=etag(anomaly.version),
        kind=ANOMALIES.number(anomaly.kind),
        worker_id=anomaly.worker_id,
        organization_id=anomaly.organization_id,
        day=anomaly.day.isoformat(),
        count=anomaly.count,
        create_time=timestamp(anomaly.create_time),
        review_time=timestamp(anomaly.review_time),
        reviewed_by_worker_id=anomaly.reviewed_by_worker_id,
        review_code=number(audit_pb2.ReviewOutcome, anomaly.review_code),
    )
