"""/taxonomy, /hotlines, /lookups: the words of the network, its public numbers, and names for ids."""

from marshmallow import Schema

from protos.partners.v1 import directory_pb2 as pb
from services.gateway.api import fields
from services.gateway.api.answers import list_of
from services.gateway.api.directory_services import ServiceSchema
from services.gateway.api.organizations import OrganizationSchema
from services.gateway.api.routes import Routes

taxonomy = Routes("taxonomy", "The codes of needs, the public numbers, and names for ids.", pb.DESCRIPTOR.services_by_name["Directory"])


class TaxonomyTermSchema(Schema):
    """A need, as the network calls it."""

    code = fields.code("The code.", example="HOU.EMG")
    parent_code = fields.code("Its group; absent for a group.", example="HOU")
    names = fields.table(fields.text("A name."), "Its name by language: es, en, fr.")
    htcds_spl_types = fields.many(fields.code("A value of HTCDS spl_Type.", example="SocialCare"), "What HTCDS calls it.")
    legal_basis = fields.text("Where the right to it stands.", example="Palermo 6(3)(a)")


class HotlineSchema(Schema):
    """A line one can call."""

    country = fields.code("Country, ISO 3166-1 alpha-2.", example="NI")
    number = fields.text("As dialled in the country.", 20, example="133")
    organization_name = fields.text("Who answers.")


class LookupQuestionSchema(Schema):
    """Ids whose names are wanted; 200 in all."""

    service_ids = fields.many(fields.ident("A service."), "Services.", 200)
    organization_ids = fields.many(fields.ident("An organisation."), "Organisations.", 200)
    worker_ids = fields.many(fields.ident("A worker."), "Workers; names come back for those of your own organisation only.", 200)


class LookupSchema(Schema):
    """What is known of the ids; unknown ones are left out."""

    services = fields.many(fields.part(ServiceSchema, "A service."), "The services.", 200)
    organizations = fields.many(fields.part(OrganizationSchema, "An organisation."), "The organisations.", 200)
    worker_names = fields.table(fields.text("A name."), "Names by worker id.")


taxonomy.rpc(
    "ListTaxonomyTerms",
    "List the codes of needs",
    "Groups and sub-codes with their names in three languages. ETag and If-None-Match spare the transfer.",
    answers=list_of(TaxonomyTermSchema, "TaxonomyTerms"),
)
taxonomy.rpc("ListHotlines", "List the numbers to call, one a country", answers=list_of(HotlineSchema, "Hotlines"))
taxonomy.rpc("BatchGet", "Names for many ids at once", answers=LookupSchema, takes=LookupQuestionSchema, operation_id="look_up")
