"""What is told of members, what they offer, their people and keys: the facts of
protos/partners/v1/facts.proto that are still to be told.
"""

from datetime import datetime

from chassis.wire import timestamp
from facts.outbox import Fact
from protos.partners.v1 import facts_pb2
from services.partners.domain.account_notice import AccountNotice
from services.partners.domain.api_key import ApiKey
from services.partners.domain.invitation import Invitation
from services.partners.domain.organization import Organization
from services.partners.domain.service import Service
from services.partners.domain.subject import Subject
from services.partners.domain.worker import Worker
from services.partners.wire import today_at


def organization_facts(organization: Organization) -> list[Fact]:
    """The facts that are still to be told."""
    entry = organization.entry
    body = facts_pb2.OrganizationFact(
        organization_id=organization.id,
        organization_type_code=entry.type or "",
        status_code=organization.status,
        country_code=entry.country,
        department_code=entry.department,
        days=(organization.agreement_days(today_at(organization, organization.update_time)) or 0)
        if "agreement_ending" in organization.facts
        else 0,
    )
    return _facts(organization, "organization", body.SerializeToString(deterministic=True))


def service_facts(service: Service) -> list[Fact]:
    """The facts that are still to be told."""
    entry = service.entry
    body = facts_pb2.ServiceFact(
        service_id=service.id,
        organization_id=service.organization_id,
        need_codes=entry.need_codes,
        country_code=entry.country,
        department_code=entry.department,
        active=entry.active,
        intake_code="" if service.is_shelter else service.capacity.intake or "",
        shelter=service.is_shelter,
        criterion_codes=entry.decides_by,
        criteria_said=True,
        minimum_age=entry.eligibility.minimum_age,
        maximum_age=entry.eligibility.maximum_age,
    )
    return _facts(service, "service", body.SerializeToString(deterministic=True))


def worker_facts(worker: Worker) -> list[Fact]:
    """The facts that are still to be told."""
    body = facts_pb2.WorkerFact(
        worker_id=worker.id,
        organization_id=worker.organization_id,
        role_codes=worker.entry.roles,
        language_code=worker.entry.language,
        status_code=worker.status,
    )
    return _facts(worker, "worker", body.SerializeToString(deterministic=True))


def api_key_facts(api_key: ApiKey) -> list[Fact]:
    """The facts that are still to be told."""
    body = facts_pb2.ApiKeyFact(
        api_key_id=api_key.id, organization_id=api_key.organization_id, live=api_key.in_force
    )
    return _facts(api_key, "api_key", body.SerializeToString(deterministic=True))


def invitation_facts(invitation: Invitation, sealed_letter: bytes) -> list[Fact]:
    """The facts that are still to be told."""
    body = facts_pb2.InvitationFact(
        invitation_id=invitation.id,
        organization_id=invitation.organization_id,
        role_codes=invitation.entry.roles,
        first_manager=invitation.first_manager,
        status_code=invitation.status,
        expire_time=timestamp(invitation.expire_time),
        sealed_letter=sealed_letter,
    )
    return _facts(invitation, "invitation", body.SerializeToString(deterministic=True))


def application_fact(id: str, sealed_letter: bytes, expire_time: datetime, now: datetime) -> Fact:
    """That somebody applied, and is to be sent a letter."""
    body = facts_pb2.ApplicationFact(
        application_id=id, expire_time=timestamp(expire_time), sealed_letter=sealed_letter
    )
    return Fact(
        id, 1, "enlace.application.asked.v1", body.SerializeToString(deterministic=True), now
    )


def account_facts(notice: AccountNotice, sealed_letter: bytes) -> list[Fact]:
    """The facts that are still to be told."""
    body = facts_pb2.AccountFact(
        notice_id=notice.id,
        worker_id=notice.worker_id,
        organization_id=notice.organization_id,
        expire_time=timestamp(notice.expire_time),
        sealed_letter=sealed_letter,
        by_role_code=notice.by_role,
    )
    return _facts(notice, "account", body.SerializeToString(deterministic=True))


def _facts(subject: Subject, kind: str, body: bytes) -> list[Fact]:
    """All facts that one change notes say how things are after it."""
    first = subject.version - len(subject.facts) + 1
    return [
        Fact(subject.id, first + number, f"enlace.{kind}.{word}.v1", body, subject.update_time)
        for number, word in enumerate(subject.facts)
    ]
