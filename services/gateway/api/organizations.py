"""/organizations: the members of the coalition, and what the coordinator decides about them."""

from typing import Any

from flask import Response
from marshmallow import Schema

from protos.partners.v1 import directory_pb2 as pb
from services.gateway.api import fields
from services.gateway.api.answers import PageQuery, items, one, page_fields, page_of
from services.gateway.api.convert import from_json
from services.gateway.api.patches import mask, patch_of
from services.gateway.api.reading import if_match, request_key
from services.gateway.api.routes import COORDINATOR, Routes
from services.gateway.clients import clients

organizations = Routes("organizations", "The members of the coalition: ministries, NGOs, shelters, hotlines, parishes.")
TYPE, STATUS = pb.OrganizationType.DESCRIPTOR, pb.OrganizationStatus.DESCRIPTOR


class NetworkFieldsSchema(Schema):
    """What the network says of a member, by two people."""

    type = fields.word(TYPE, "The kind of member.", example="shelter")
    country = fields.code("Country, ISO 3166-1 alpha-2.", example="NI")
    hotline_number = fields.text("The number that callers find on the public page, as dialled in the country.", 20, example="133")


class ProposalSchema(NetworkFieldsSchema):
    """What one person of the coordination wants to change, and another has not yet confirmed."""

    worker_id = fields.ident("Who proposed it.")
    time = fields.time("When.")


class OrganizationSchema(Schema):
    """A member of the coalition (HSDS organization)."""

    id = fields.ident("The organisation.", dump_only=True)
    etag = fields.etag()
    name = fields.text("Its name.", example="Casa Esperanza (demo)", required=True)
    type = fields.word(TYPE, "The kind of member; HTCDS org_Type where it has one.", example="shelter", required=True)
    status = fields.word(STATUS, "The life of the member.", example="approved", dump_only=True)
    country = fields.code("Country, ISO 3166-1 alpha-2.", example="NI", required=True)
    department = fields.code("Department, ISO 3166-2; absent: the whole country.", example="NI-CI")
    phone = fields.text("General number, E.164; never that of a confidential place.", 20, example="+50500000000")
    url = fields.text("Its page in the web.", 500, example="https://casa-esperanza.example")
    languages = fields.many(fields.code("A language, BCP 47.", example="es"), "Languages spoken, BCP 47.")
    description = fields.text("What it does, in its own words.", 2000)
    hotline_number = fields.text("As dialled in the country, for members of type hotline.", 20, example="133")
    registered_by_worker_id = fields.ident("Who registered it; for coordinator and auditor.", dump_only=True)
    has_manager = fields.flag("Whether it has an active manager; for coordinator and auditor, of one organisation.", dump_only=True)
    proposal = fields.part(ProposalSchema, "What is proposed; for coordinator and auditor.", dump_only=True)
    create_time = fields.created()
    update_time = fields.updated()


OrganizationPatch = patch_of(
    OrganizationSchema,
    "OrganizationPatch",
    only=("name", "type", "country", "department", "phone", "url", "languages", "description", "hotline_number"),
)
OrganizationPage = page_of(OrganizationSchema, "OrganizationPage")


class OrganizationQuery(PageQuery):
    """Which members."""

    country = fields.code("Only of this country.", example="NI")
    type = fields.word(TYPE, "Only of this kind.")
    status = fields.word(STATUS, "Only in this state.")


@organizations.operation(
    "post",
    "/organizations",
    right=COORDINATOR,
    answers=OrganizationSchema,
    status=201,
    takes=OrganizationSchema,
    once=True,
    wrapped="organization",
)
def create_organization(given: dict[str, Any]) -> Response:
    """Register a member

    It begins on probation."""
    request = pb.CreateOrganizationRequest(organization=from_json(given, pb.Organization()), request_id=request_key())
    created = clients().directory.CreateOrganization(request)
    return one(created, status=201, location=f"/organizations/{created.id}")


@organizations.operation("get", "/organizations", right="directory.read", answers=OrganizationPage, query=OrganizationQuery)
def list_organizations(given: dict[str, Any]) -> Response:
    """List members by name"""
    request = from_json({**page_fields(given), **given}, pb.ListOrganizationsRequest())
    page = clients().directory.ListOrganizations(request)
    return items(page.organizations, page.next_page_token)


@organizations.operation("get", "/organizations/<opaque:organization_id>", right="directory.read", answers=OrganizationSchema)
def get_organization(organization_id: str) -> Response:
    """Show a member"""
    return one(clients().directory.GetOrganization(pb.GetOrganizationRequest(id=organization_id)))


@organizations.operation(
    "patch",
    "/organizations/<opaque:organization_id>",
    right="directory.write",
    answers=OrganizationSchema,
    takes=OrganizationPatch,
    etag=True,
    wrapped="organization",
    refuses=(409,),
)
def update_organization(given: dict[str, Any], organization_id: str) -> Response:
    """Change a member's entry

    The manager of the organisation, or the coordinator. Type, country and public number are the network's: see propose-change."""
    changed = from_json({**given, "id": organization_id, "etag": if_match()}, pb.Organization())
    request = pb.UpdateOrganizationRequest(organization=changed, update_mask=mask(given), request_id=request_key())
    return one(clients().directory.UpdateOrganization(request))


@organizations.operation(
    "post",
    "/organizations/<opaque:organization_id>/propose-change",
    right=COORDINATOR,
    answers=OrganizationSchema,
    takes=NetworkFieldsSchema,
    once=True,
    etag=True,
    wrapped="organization",
)
def propose_organization_change(given: dict[str, Any], organization_id: str) -> Response:
    """Propose to change a member's type, country or public number

    Nothing changes until another person of the coordination confirms."""
    changed = from_json({**given, "id": organization_id, "etag": if_match()}, pb.Organization())
    request = pb.ProposeOrganizationChangeRequest(organization=changed, update_mask=mask(given), request_id=request_key())
    return one(clients().directory.ProposeOrganizationChange(request))


@organizations.operation(
    "post",
    "/organizations/<opaque:organization_id>/confirm-change",
    right=COORDINATOR,
    answers=OrganizationSchema,
    once=True,
    etag=True,
    refuses=(409,),
)
def confirm_organization_change(organization_id: str) -> Response:
    """Confirm what somebody else has proposed"""
    request = pb.ConfirmOrganizationChangeRequest(id=organization_id, etag=if_match(), request_id=request_key())
    return one(clients().directory.ConfirmOrganizationChange(request))


@organizations.operation(
    "post",
    "/organizations/<opaque:organization_id>/drop-change",
    right=COORDINATOR,
    answers=OrganizationSchema,
    once=True,
    etag=True,
    refuses=(409,),
)
def drop_organization_change(organization_id: str) -> Response:
    """Drop what was proposed"""
    request = pb.DropOrganizationChangeRequest(id=organization_id, etag=if_match(), request_id=request_key())
    return one(clients().directory.DropOrganizationChange(request))


@organizations.operation(
    "post",
    "/organizations/<opaque:organization_id>/approve",
    right=COORDINATOR,
    answers=OrganizationSchema,
    once=True,
    etag=True,
    refuses=(409,),
)
def approve_organization(organization_id: str) -> Response:
    """Approve a member

    Its workers may now open identities and see shelters. By another person than who registered it."""
    request = pb.ApproveOrganizationRequest(id=organization_id, etag=if_match(), request_id=request_key())
    return one(clients().directory.ApproveOrganization(request))


@organizations.operation(
    "post",
    "/organizations/<opaque:organization_id>/suspend",
    right=COORDINATOR,
    answers=OrganizationSchema,
    once=True,
    etag=True,
    refuses=(409,),
)
def suspend_organization(organization_id: str) -> Response:
    """Suspend a member

    Its workers and keys are refused everywhere."""
    request = pb.SuspendOrganizationRequest(id=organization_id, etag=if_match(), request_id=request_key())
    return one(clients().directory.SuspendOrganization(request))


@organizations.operation(
    "post",
    "/organizations/<opaque:organization_id>/reinstate",
    right=COORDINATOR,
    answers=OrganizationSchema,
    once=True,
    etag=True,
    refuses=(409,),
)
def reinstate_organization(organization_id: str) -> Response:
    """End a suspension

    The member is approved again."""
    request = pb.ReinstateOrganizationRequest(id=organization_id, etag=if_match(), request_id=request_key())
    return one(clients().directory.ReinstateOrganization(request))
