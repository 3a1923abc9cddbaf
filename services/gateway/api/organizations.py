"""/organizations: the members of the coalition, and what the coordinator decides about them."""

from marshmallow import Schema

from protos.partners.v1 import directory_pb2 as pb
from services.gateway.api import fields
from services.gateway.api.answers import PageQuery, page_of
from services.gateway.api.patches import patch_of
from services.gateway.api.routes import Routes

organizations = Routes(
    "organizations",
    "The members of the coalition: ministries, NGOs, shelters, hotlines, parishes.",
    pb.DESCRIPTOR.services_by_name["Directory"],
)
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


organizations.rpc(
    "CreateOrganization", "Register a member", "It begins on probation.", answers=OrganizationSchema, takes=OrganizationSchema
)
organizations.rpc("ListOrganizations", "List members by name", answers=OrganizationPage, query=OrganizationQuery)
organizations.rpc(
    "GetOrganization", "Show a member", answers=OrganizationSchema, moves=True
)  # its first manager is not a change of the entry
organizations.rpc(
    "UpdateOrganization",
    "Change a member's entry",
    "The manager of the organisation, or the coordinator. Type, country and public number are the network's: see propose-change.",
    answers=OrganizationSchema,
    takes=OrganizationPatch,
)
organizations.rpc(
    "ProposeOrganizationChange",
    "Propose to change a member's type, country or public number",
    "Nothing changes until another person of the coordination confirms.",
    answers=OrganizationSchema,
    takes=NetworkFieldsSchema,
)
organizations.rpc("ConfirmOrganizationChange", "Confirm what somebody else has proposed", answers=OrganizationSchema)
organizations.rpc("DropOrganizationChange", "Drop what was proposed", answers=OrganizationSchema)
organizations.rpc(
    "ApproveOrganization",
    "Approve a member",
    "Its workers may now open identities and see shelters. By another person than who registered it.",
    answers=OrganizationSchema,
)
organizations.rpc("SuspendOrganization", "Suspend a member", "Its workers and keys are refused everywhere.", answers=OrganizationSchema)
organizations.rpc("ReinstateOrganization", "End a suspension", "The member is approved again.", answers=OrganizationSchema)
