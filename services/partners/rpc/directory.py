"""Directory: what may be asked about organisations and services."""

from collections.abc import Mapping, Sequence

from chassis.audit import Entry
from chassis.errors import Invalid
from chassis.guesses import Guesses
from chassis.rpc import Call
from chassis.wire import PageTokens, page_size
from keys.sealing import Keyring
from protos.partners.v1 import directory_pb2 as pb
from services.partners import usecases, wire
from services.partners.domain.organization import Organization
from services.partners.domain.service import Service
from services.partners.wire.schedules import day


class Directory:
    """One method an rpc of the contract, which says what each does and refuses."""

    def __init__(self, keyring: Keyring, mail: Keyring, pages: PageTokens, index: usecases.DirectoryIndex, applications: Guesses) -> None:
        """`mail` seals letters to those who apply; `applications` counts them."""
        self._keyring = keyring
        self._mail = mail
        self._pages = pages
        self._index = index
        self._applications = applications

    def ListTaxonomyTerms(self, request: pb.ListTaxonomyTermsRequest, call: Call) -> pb.ListTaxonomyTermsResponse:
        return pb.ListTaxonomyTermsResponse(terms=[wire.term(term) for term in usecases.list_terms()])

    def ListHotlines(self, request: pb.ListHotlinesRequest, call: Call) -> pb.ListHotlinesResponse:
        entries = [organization.entry for organization in usecases.list_hotlines(call.tx)]
        return pb.ListHotlinesResponse(
            hotlines=[pb.Hotline(country=e.country, number=e.hotline_number, organization_name=e.name) for e in entries]
        )

    def CreateOrganization(self, request: pb.CreateOrganizationRequest, call: Call) -> pb.Organization:
        entry = wire.organization_entry(request.organization)
        organization = usecases.create_organization(call.tx, call.caller, call.clock.now(), entry)
        call.trail.append(Entry("organization_create", organization.id))
        return self._said(organization, call)

    def GetOrganization(self, request: pb.GetOrganizationRequest, call: Call) -> pb.Organization:
        said = self._said(usecases.get_organization(call.tx, call.caller, request.id), call)
        if self._steers(call):
            managers = usecases.managers(call.tx, request.id)
            said.has_manager, said.only_manager_worker_id = bool(managers), managers[0] if len(managers) == 1 else ""
        if application := usecases.application_of(call.tx, self._keyring, call.caller, request.id):
            said.application.CopyFrom(wire.application(application))
        return said

    def ListOrganizations(self, request: pb.ListOrganizationsRequest, call: Call) -> pb.ListOrganizationsResponse:
        organizations, more = usecases.list_organizations(
            call.tx,
            call.caller,
            page_size(request.page_size, default=50, most=200),
            self._pages.position(request, str, str),
            country=request.country,
            type=wire.TYPES.member(request.type, "type"),
            status=wire.STATUSES.member(request.status, "status"),
            agreement_before=day("agreement_expire_before_date", request.agreement_expire_before_date),
            waits_for_second=request.waits_for_second,
        )
        return pb.ListOrganizationsResponse(
            organizations=[self._said(one, call) for one in organizations], next_page_token=self._pages.token(request, more)
        )

    def UpdateOrganization(self, request: pb.UpdateOrganizationRequest, call: Call) -> pb.Organization:
        given = request.organization
        changes = wire.changes(request.update_mask, wire.organization_entry(given))
        organization = usecases.update_organization(call.tx, call.caller, call.clock.now(), given.id, given.etag, changes)
        call.trail.append(Entry("organization_change", organization.id, detail_codes=tuple(changes)))
        return self._said(organization, call)

    def ProposeOrganizationChange(self, request: pb.ProposeOrganizationChangeRequest, call: Call) -> pb.Organization:
        given = request.organization
        changes = wire.changes(request.update_mask, wire.organization_entry(given))
        organization = usecases.propose_change(call.tx, self._mail, call.caller, call.clock.now(), given.id, given.etag, changes)
        call.trail.append(Entry("organization_propose", organization.id, detail_codes=tuple(changes)))
        return self._said(organization, call)

    def ConfirmOrganizationChange(self, request: pb.ConfirmOrganizationChangeRequest, call: Call) -> pb.Organization:
        organization = usecases.confirm_change(call.tx, call.caller, call.clock.now(), request.id, request.etag)
        call.trail.append(Entry("organization_confirm_change", organization.id))
        return self._said(organization, call)

    def DropOrganizationChange(self, request: pb.DropOrganizationChangeRequest, call: Call) -> pb.Organization:
        organization = usecases.drop_change(call.tx, call.caller, call.clock.now(), request.id, request.etag)
        call.trail.append(Entry("organization_drop_change", organization.id))
        return self._said(organization, call)

    def ApproveOrganization(self, request: pb.ApproveOrganizationRequest, call: Call) -> pb.Organization:
        organization = usecases.approve_organization(call.tx, call.caller, call.clock.now(), request.id, request.etag)
        call.trail.append(Entry("organization_approve", organization.id))
        return self._said(organization, call)

    def SuspendOrganization(self, request: pb.SuspendOrganizationRequest, call: Call) -> pb.Organization:
        now, reason = call.clock.now(), wire.SUSPENSIONS.member(request.reason, "reason")
        organization = usecases.suspend_organization(
            call.tx, self._mail, call.caller, now, request.id, request.etag, reason, hold=request.hold
        )
        kept = organization.suspension
        said = (kept.reason, *(() if organization.stop == "suspended" else (organization.stop or "proposed",))) if kept else ()
        call.trail.append(Entry("organization_suspend", organization.id, detail_codes=said))
        return self._said(organization, call)

    def ReinstateOrganization(self, request: pb.ReinstateOrganizationRequest, call: Call) -> pb.Organization:
        organization = usecases.reinstate_organization(call.tx, self._mail, call.caller, call.clock.now(), request.id, request.etag)
        call.trail.append(Entry("organization_reinstate", organization.id, detail_codes=("proposed",) if organization.stop else ()))
        return self._said(organization, call)

    def ApplyForMembership(self, request: pb.ApplyForMembershipRequest, call: Call) -> pb.ApplyForMembershipResponse:
        now = call.clock.now()
        reference = usecases.apply_for_membership(call.tx, self._keyring, self._mail, self._applications, now, request, call.origin)
        return pb.ApplyForMembershipResponse(reference=reference, answer_within_days=usecases.ANSWERED_WITHIN.days)

    def ConfirmApplication(self, request: pb.ConfirmApplicationRequest, call: Call) -> pb.ConfirmApplicationResponse:
        reference = usecases.confirm_application(call.tx, self._keyring, call.clock.now(), request.token)
        return pb.ConfirmApplicationResponse(reference=reference, answer_within_days=usecases.ANSWERED_WITHIN.days)

    def AdmitOrganization(self, request: pb.AdmitOrganizationRequest, call: Call) -> pb.Organization:
        organization = usecases.admit_organization(call.tx, call.caller, call.clock.now(), request.id, request.etag)
        call.trail.append(Entry("organization_admit", organization.id))
        return self._said(organization, call)

    def RejectApplication(self, request: pb.RejectApplicationRequest, call: Call) -> pb.Organization:
        reason = wire.REJECTIONS.member(request.reason, "reason")
        if reason is None:
            raise Invalid(("reason", "required"))
        organization = usecases.reject_application(call.tx, call.caller, call.clock.now(), request.id, request.etag, reason)
        call.trail.append(Entry("organization_reject", organization.id, detail_codes=(reason,)))
        return self._said(organization, call)

    def RecordEvidence(self, request: pb.RecordEvidenceRequest, call: Call) -> pb.Organization:
        now = call.clock.now()
        seen = wire.evidence(request.evidence, call.caller.id, now)
        organization = usecases.record_evidence(call.tx, call.caller, now, request.id, request.etag, seen)
        call.trail.append(Entry("organization_evidence", organization.id, detail_codes=(seen.kind,)))
        return self._said(organization, call)

    def LeaveOrganization(self, request: pb.LeaveOrganizationRequest, call: Call) -> pb.Organization:
        organization = usecases.leave_organization(call.tx, call.caller, call.clock.now(), request.id, request.etag)
        call.trail.append(Entry("organization_leave", organization.id, detail_codes=("proposed",) if organization.leaving else ()))
        return self._said(organization, call)

    def CountMemberAccess(self, request: pb.CountMemberAccessRequest, call: Call) -> pb.MemberAccess:
        counts, second = usecases.count_member_access(call.tx, call.caller, call.clock.now(), request.organization_id)
        return pb.MemberAccess(**counts, has_second_coordinator=second)

    @staticmethod
    def _said(organization: Organization, call: Call) -> pb.Organization:
        own = organization.id == call.caller.organization_id
        return wire.organization(organization, usecases.viewer(call.caller).tier, now=call.clock.now(), own=own)

    @staticmethod
    def _steers(call: Call) -> bool:
        return call.caller.has("COORDINATOR") or call.caller.has("AUDITOR")

    def CreateService(self, request: pb.CreateServiceRequest, call: Call) -> pb.Service:
        given = request.service
        # A caller can't say that a flag was left out; what is new is offered, and can be taken back.
        entry = wire.service_entry(given, active=True)
        room = wire.capacity(given.capacity, "service.capacity")
        service = usecases.create_service(call.tx, call.caller, call.clock.now(), given.organization_id, entry, room)
        call.trail.append(Entry("service_create", service.id))
        return self._service(service, call)

    def GetService(self, request: pb.GetServiceRequest, call: Call) -> pb.Service:
        return self._service(usecases.get_service(call.tx, call.caller, request.id), call)

    def BatchGet(self, request: pb.BatchGetRequest, call: Call) -> pb.BatchGetResponse:
        batch = usecases.batch_get(call.tx, call.caller, request.service_ids, request.organization_ids, request.worker_ids)
        return pb.BatchGetResponse(
            services=self._services(batch.services, call),
            organizations=[wire.organization(one) for one in batch.organizations],
            worker_names=batch.worker_names,
        )

    def UpdateService(self, request: pb.UpdateServiceRequest, call: Call) -> pb.Service:
        given = request.service
        changes = wire.changes(request.update_mask, wire.service_entry(given, active=given.active), "assured_time")
        service = usecases.update_service(call.tx, call.caller, call.clock.now(), given.id, given.etag, changes)
        call.trail.append(Entry("service_change", service.id, detail_codes=tuple(changes)))
        return self._service(service, call)

    def SetCapacity(self, request: pb.SetCapacityRequest, call: Call) -> pb.Service:
        room = wire.capacity(request.capacity, "capacity")
        return self._service(usecases.set_capacity(call.tx, call.caller, call.clock.now(), request.id, request.etag, room), call)

    def SearchServices(self, request: pb.SearchServicesRequest, call: Call) -> pb.SearchServicesResponse:
        size, after = page_size(request.page_size, default=25, most=100), self._pages.position(request, int, str, str)
        now = call.clock.now()
        page = usecases.search_services(call.tx, call.caller, now, wire.wanted(request, now), self._index, size, after)
        return pb.SearchServicesResponse(
            services=self._seen(page.services, page.open_now, call),
            next_page_token=self._pages.token(request, page.more),
            total_size=page.total,
            departments=[pb.DepartmentCount(department=department, count=count) for department, count in page.departments.items()],
        )

    def MatchServices(self, request: pb.MatchServicesRequest, call: Call) -> pb.MatchServicesResponse:
        asked, now = wire.question(request), call.clock.now()
        matches = usecases.match_services(call.tx, call.caller, now, asked, self._index, limit=request.limit)
        viewer, opened = usecases.viewer(call.caller), self._opened([service for _, service in matches], call)
        return pb.MatchServicesResponse(
            matches=[wire.match(match, service, viewer, now, open_now=opened.get(service.id)) for match, service in matches]
        )

    def _service(self, service: Service, call: Call) -> pb.Service:
        return self._services([service], call)[0]

    def _services(self, services: Sequence[Service], call: Call) -> list[pb.Service]:
        return self._seen(services, self._opened(services, call), call)

    @staticmethod
    def _seen(services: Sequence[Service], opened: Mapping[str, bool], call: Call) -> list[pb.Service]:
        viewer, now = usecases.viewer(call.caller), call.clock.now()
        return [wire.service(service, viewer, now, open_now=opened.get(service.id)) for service in services]

    @staticmethod
    def _opened(services: Sequence[Service], call: Call) -> dict[str, bool]:
        return usecases.open_now(call.tx, services, call.clock.now())
