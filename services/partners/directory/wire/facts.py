"""Facts about services in their published form (protos/partners/v1/facts.proto)."""

from facts.outbox import Fact
from protos.partners.v1 import facts_pb2
from services.partners.directory.domain.service import Service
from services.partners.network.wire.facts import facts_of


def service_facts(service: Service) -> list[Fact]:
    """Returns the facts about a service that are still to be published."""
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
        criterion_codes=entry.limiting_criteria,
        criteria_said=True,
        minimum_age=entry.eligibility.minimum_age,
        maximum_age=entry.eligibility.maximum_age,
    )
    return facts_of(service, "service", body.SerializeToString(deterministic=True))
