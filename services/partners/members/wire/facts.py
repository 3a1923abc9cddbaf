"""The facts about members, their accounts, keys, invitations and notices, in published form.

The messages are defined in protos/partners/v1/facts.proto.
"""

from datetime import datetime

from chassis.wire import timestamp
from facts.outbox import Fact
from protos.partners.v1 import facts_pb2
from services.partners.members.domain.account_notice import AccountNotice
from services.partners.members.domain.api_key import ApiKey
from services.partners.members.domain.invitation import Invitation
from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Worker
from services.partners.members.wire.messages import today_at
from services.partners.network.wire.facts import facts_of


def organization_facts(organization: Organization) -> list[Fact]:
    """Returns the facts about an organisation that are still to be published."""
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
    return facts_of(organization, "organization", body.SerializeToString(deterministic=True))


def worker_facts(worker: Worker) -> list[Fact]:
    """Returns the facts about a worker that are still to be published."""
    body = facts_pb2.WorkerFact(
        worker_id=worker.id,
        organization_id=worker.organization_id,
        role_codes=worker.entry.roles,
        language_code=worker.entry.language,
        status_code=worker.status,
    )
    return facts_of(worker, "worker", body.SerializeToString(deterministic=True))


def api_key_facts(api_key: ApiKey) -> list[Fact]:
    """Returns the facts about a key that are still to be published."""
    body = facts_pb2.ApiKeyFact(
        api_key_id=api_key.id, organization_id=api_key.organization_id, live=api_key.in_force
    )
    return facts_of(api_key, "api_key", body.SerializeToString(deterministic=True))


def invitation_facts(invitation: Invitation, sealed_letter: bytes) -> list[Fact]:
    """Returns the facts about an invitation that are still to be published."""
    body = facts_pb2.InvitationFact(
        invitation_id=invitation.id,
        organization_id=invitation.organization_id,
        role_codes=invitation.entry.roles,
        first_manager=invitation.first_manager,
        status_code=invitation.status,
        expire_time=timestamp(invitation.expire_time),
        sealed_letter=sealed_letter,
    )
    return facts_of(invitation, "invitation", body.SerializeToString(deterministic=True))


def application_fact(id: str, sealed_letter: bytes, expire_time: datetime, now: datetime) -> Fact:
    """Returns the fact of a request for membership, with the sealed e-mail to the contact person.

    The request becomes an application when the contact person opens the link in the e-mail.
    """
    body = facts_pb2.ApplicationFact(
        application_id=id, expire_time=timestamp(expire_time), sealed_letter=sealed_letter
    )
    return Fact(
        id, 1, "enlace.application.asked.v1", body.SerializeToString(deterministic=True), now
    )


def account_facts(notice: AccountNotice, sealed_letter: bytes) -> list[Fact]:
    """Returns the facts about a notice that are still to be published."""
    body = facts_pb2.AccountFact(
        notice_id=notice.id,
        worker_id=notice.worker_id,
        organization_id=notice.organization_id,
        expire_time=timestamp(notice.expire_time),
        sealed_letter=sealed_letter,
        by_role_code=notice.by_role,
    )
    return facts_of(notice, "account", body.SerializeToString(deterministic=True))
