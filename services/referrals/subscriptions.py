"""Applies the partners service's facts about members, services, workers and API keys."""

import re

from chassis.clock import Clock
from chassis.db import Transaction
from facts.envelope import NewerKind
from facts.outbox import Fact
from protos.partners.v1 import facts_pb2
from services.referrals.network.domain.service import Ages, Attribute
from services.referrals.referrals.usecases import members
from services.referrals.referrals.usecases.referral_changes import ReferralChanges

TOPIC = "enlace.partners.v1"
# The attribute of an enquiry that corresponds to each criterion in the directory.
_USES = {
    "age": Attribute.AGE_BAND,
    "gender": Attribute.GENDER,
    "dependants": Attribute.DEPENDANTS,
    "language": Attribute.LANGUAGES,
    "area": Attribute.DEPARTMENT,
}
_TYPE = re.compile(r"enlace\.([a-z_]+)\.[a-z_]+\.v1")


def consume(referral_changes: ReferralChanges, clock: Clock, tx: Transaction, fact: Fact) -> bool:
    """Applies one fact from the partners service; returns whether more work is left for this fact.

    Raises NewerKind for an unknown kind, so that the fact is held: this version can't judge it.
    """
    match = _TYPE.fullmatch(fact.type)
    kind = match[1] if match else ""
    if kind == "organization":
        organization = facts_pb2.OrganizationFact.FromString(fact.payload)
        has_more_work = members.record_organization(
            tx,
            clock.now(),
            organization.organization_id,
            organization.status_code,
            organization.organization_type_code,
            organization.country_code,
            organization.department_code,
        )
        return (
            referral_changes.note_standing(tx, clock.now(), organization.organization_id)
            or has_more_work
        )
    elif kind == "service":
        service = facts_pb2.ServiceFact.FromString(fact.payload)
        uses = (
            [_USES[code] for code in service.criterion_codes if code in _USES]
            if service.criteria_said
            else None
        )
        ages = Ages(
            service.minimum_age if service.HasField("minimum_age") else None,
            service.maximum_age if service.HasField("maximum_age") else None,
        )
        shelter = service.shelter if service.HasField("shelter") else None
        return members.record_service(
            tx,
            clock.now(),
            service.service_id,
            service.organization_id,
            service.active,
            uses,
            ages,
            service.department_code,
            shelter,
        )
    elif kind == "worker":
        worker = facts_pb2.WorkerFact.FromString(fact.payload)
        active = worker.status_code == "ACTIVE"
        members.record_worker(tx, worker.worker_id, worker.organization_id, active)
        if not active:
            return referral_changes.hand_to_desk(tx, clock.now(), worker.worker_id)
    elif kind == "api_key":
        key = facts_pb2.ApiKeyFact.FromString(fact.payload)
        members.record_key(tx, key.api_key_id, key.live)
    elif kind not in (
        "invitation",
        "application",
        "account",
    ):  # invitations, applications and account notifications have no effect here
        raise NewerKind
    return False
