"""OpenData: what anybody may read of the directory."""

from dataclasses import replace
from datetime import UTC

from chassis.rpc import Call
from chassis.wire import PageTokens, page_size
from protos.partners.v1 import open_data_pb2 as pb
from services.partners import usecases, wire
from services.partners.domain.search import PublicWanted
from services.partners.domain.visibility import ANYONE
from services.partners.usecases.open_data import Open
from services.partners.wire.open_data import public_service


class OpenData:
    """One method an rpc of the contract, which says what each does and refuses."""

    def __init__(self, pages: PageTokens) -> None:
        self._pages = pages

    def ListPublicServices(self, request: pb.ListPublicServicesRequest, call: Call) -> pb.ListPublicServicesResponse:
        wanted = replace(_wanted(request), department=request.department)
        if request.by_name:
            services, more, total = usecases.search_public_services(call.tx, wanted, self._pages.position(request, str, str))
            token = self._pages.token(request, more)
            return pb.ListPublicServicesResponse(services=[_said(one) for one in services], total_size=total, next_page_token=token)
        services, total = usecases.list_public_services(call.tx, wanted)
        return pb.ListPublicServicesResponse(services=[_said(one) for one in services], total_size=total)

    def GetPublicService(self, request: pb.GetPublicServiceRequest, call: Call) -> pb.PublicService:
        return _said(usecases.get_public_service(call.tx, request.id))

    def ListPublicServiceAtLocations(
        self, request: pb.ListPublicServiceAtLocationsRequest, call: Call
    ) -> pb.ListPublicServiceAtLocationsResponse:
        services, total = usecases.list_public_service_at_locations(call.tx, replace(_wanted(request), id=request.id))
        return pb.ListPublicServiceAtLocationsResponse(services=[_said(one) for one in services], total_size=total)

    def ListPublicOrganizations(self, request: pb.ListPublicOrganizationsRequest, call: Call) -> pb.ListPublicOrganizationsResponse:
        asked = PublicWanted(*_page(request), words=request.words, organization=request.organization_id)
        organizations, total = usecases.list_public_organizations(call.tx, asked)
        return pb.ListPublicOrganizationsResponse(
            organizations=[wire.organization(one, ANYONE.tier) for one in organizations], total_size=total
        )


def _wanted(request: pb.ListPublicServicesRequest | pb.ListPublicServiceAtLocationsRequest) -> PublicWanted:
    after = request.modified_after.ToDatetime(tzinfo=UTC) if request.HasField("modified_after") else None
    return PublicWanted(*_page(request), request.words, request.need_code, request.organization_id, after)


def _page(
    request: pb.ListPublicServicesRequest | pb.ListPublicServiceAtLocationsRequest | pb.ListPublicOrganizationsRequest,
) -> tuple[int, int]:
    return max(1, request.page), page_size(request.page_size, default=50, most=200)


def _said(one: Open) -> pb.PublicService:
    return public_service(one.service, one.organization, one.places, one.time)
