"""The rpcs for the public part of the directory, for callers who are not signed in.

An open place is a place that is not confidential.
"""

from dataclasses import replace

from chassis.errors import NotFound
from chassis.ids import is_id
from chassis.rpc import Call
from chassis.wire import PageTokens
from protos.partners.v1 import open_data_pb2 as pb
from services.partners.directory.domain.search import PublicSearchTerms
from services.partners.directory.store import open_data
from services.partners.directory.store.open_data import PublicEntry
from services.partners.directory.wire.open_data import (
    page_and_size,
    public_search_terms,
    public_service,
)
from services.partners.members.wire.messages import organization as organization_message
from services.partners.network.domain.visibility import ANYONE


class OpenData:
    """Handles the rpcs for public services, their open places and their organisations."""

    def __init__(self, pages: PageTokens) -> None:
        self._pages = pages

    def ListPublicServices(
        self, request: pb.ListPublicServicesRequest, call: Call
    ) -> pb.ListPublicServicesResponse:
        """Returns a page of the public services, and their number.

        The services are ordered by id or, if the request asks for that, by name. In the order by
        name, the number is at most open_data.MANY.
        """
        terms, token = replace(public_search_terms(request), department=request.department), ""
        if request.by_name:
            after = self._pages.cursor(request, str, str)
            services, next_cursor, total = (
                open_data.page_by_name(call.tx, terms, after)
                if _has_valid_ids(terms)
                else ([], None, 0)
            )
            token = self._pages.token(request, next_cursor)
        else:
            services, total = open_data.page(call.tx, terms) if _has_valid_ids(terms) else ([], 0)
        return pb.ListPublicServicesResponse(
            services=map(_message, services), total_size=total, next_page_token=token
        )

    def GetPublicService(self, request: pb.GetPublicServiceRequest, call: Call) -> pb.PublicService:
        """Returns a public service."""
        service = open_data.public_service(call.tx, request.id) if is_id(request.id) else None
        if service is None:
            raise NotFound
        return _message(service)

    def ListPublicServiceAtLocations(
        self, request: pb.ListPublicServiceAtLocationsRequest, call: Call
    ) -> pb.ListPublicServiceAtLocationsResponse:
        """Returns a page of public services at open places, and the number of entries.

        There is one entry for each open place of a service.
        """
        terms = replace(public_search_terms(request), id=request.id)
        services, total = (
            open_data.page_of_places(call.tx, terms) if _has_valid_ids(terms) else ([], 0)
        )
        return pb.ListPublicServiceAtLocationsResponse(
            services=map(_message, services), total_size=total
        )

    def ListPublicOrganizations(
        self, request: pb.ListPublicOrganizationsRequest, call: Call
    ) -> pb.ListPublicOrganizationsResponse:
        """Returns a page of the organisations that offer a public service, and their number."""
        terms = PublicSearchTerms(
            *page_and_size(request), words=request.words, organization=request.organization_id
        )
        organizations, total = (
            open_data.members(call.tx, terms) if _has_valid_ids(terms) else ([], 0)
        )
        return pb.ListPublicOrganizationsResponse(
            organizations=[
                organization_message(organization, ANYONE.tier) for organization in organizations
            ],
            total_size=total,
        )


def _has_valid_ids(terms: PublicSearchTerms) -> bool:
    """Returns whether each id in the search terms is well-formed; no other id can exist."""
    return all(is_id(id) for id in (terms.organization, terms.id) if id)


def _message(entry: PublicEntry) -> pb.PublicService:
    return public_service(entry.service, entry.organization, entry.places, entry.time)
