"""Names for ids: organisations, services and workers, fetched together for a page.

The names of needs come from the taxonomy, which is fetched at most once every ten minutes.
"""

import time
from collections.abc import Iterable, Mapping
from functools import lru_cache

from chassis.languages import in_language
from protos.partners.v1.directory_pb2 import BatchGetRequest, ListTaxonomyTermsRequest, TaxonomyTerm
from protos.referrals.v1.referrals_pb2 import Referral
from services.gateway.edge.clients import clients
from services.gateway.site.language import i18n
from services.gateway.site.parts.names import Names as Names

TAXONOMY_SECONDS = 600.0
BATCH = 200  # the contract's limit


def names(
    organizations: Iterable[str] = (), services: Iterable[str] = (), workers: Iterable[str] = ()
) -> Names:
    """Fetches all names of a page, in batches as large as the contract allows."""
    fields = {"organization_ids": organizations, "service_ids": services, "worker_ids": workers}
    all_ids = [
        (field, identifier)
        for field, ids in fields.items()
        for identifier in sorted({id_ for id_ in ids if id_})
    ]
    page_names = Names()
    for start in range(0, len(all_ids), BATCH):
        batch = all_ids[start : start + BATCH]
        ids_of_batch = {
            field: [identifier for kind, identifier in batch if kind == field] for field in fields
        }
        answer = clients().directory.BatchGet(BatchGetRequest(**ids_of_batch))
        page_names.organizations |= {
            organization.id: organization for organization in answer.organizations
        }
        page_names.services |= {service.id: service for service in answer.services}
        page_names.workers |= dict(answer.worker_names)
    return page_names


def names_of(referrals: Iterable[Referral], organizations: Iterable[str] = ()) -> Names:
    """Fetches the names that a list of referrals needs, and the names of further organisations."""
    all_referrals = list(referrals)
    organization_ids = {r.sender_organization_id for r in all_referrals} | {
        r.receiver_organization_id for r in all_referrals
    }
    return names(
        {*organization_ids, *organizations},
        (r.service_id for r in all_referrals),
        (r.responsible_worker_id for r in all_referrals),
    )


@lru_cache(maxsize=1)
def _terms(period: int) -> dict[str, TaxonomyTerm]:
    """Returns all terms of the taxonomy by code, in the taxonomy's order, fetched once a period."""
    return {
        term.code: term
        for term in clients().directory.ListTaxonomyTerms(ListTaxonomyTermsRequest()).terms
    }


def terms() -> dict[str, TaxonomyTerm]:
    """Returns all terms of the taxonomy of needs by code, in all languages."""
    return _terms(int(time.monotonic() // TAXONOMY_SECONDS))


def name_in_language(names: Mapping[str, str]) -> str:
    """Returns the name in the reader's language; the Spanish name if there is none.

    `names` holds the names of one object by language.
    """
    return in_language(names, i18n.language()) or "–"


def need(code: str) -> str:
    """Returns a need's name in the reader's language; its code if the taxonomy lacks the need."""
    term = terms().get(code)
    return name_in_language(term.names) if term else (code or "–")


def need_group(code: str) -> str:
    """Returns the name of a need's group."""
    return need(code.partition(".")[0])


def needs() -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Returns the groups with their needs, for a form: code, name, [(code, name)]."""
    all_terms = terms().values()
    return [
        (
            group.code,
            need(group.code),
            [(term.code, need(term.code)) for term in all_terms if term.parent_code == group.code],
        )
        for group in all_terms
        if not group.parent_code
    ]
