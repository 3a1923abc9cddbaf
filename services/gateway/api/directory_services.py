"""/services: what members offer, to whom, with how much room; searching and matching."""

from marshmallow import Schema

from protos.partners.v1 import directory_pb2 as pb
from services.gateway.api import fields
from services.gateway.api.answers import PageQuery, list_of, page_of
from services.gateway.api.organizations import TYPE
from services.gateway.api.patches import patch_of
from services.gateway.api.routes import Routes

directory_services = Routes(
    "services", "What members offer, to whom, and whether there is room.", pb.DESCRIPTOR.services_by_name["Directory"]
)
GENDER = pb.Gender.DESCRIPTOR


class EligibilitySchema(Schema):
    """Whom a service takes. What is not stated means "ask", never "yes"."""

    minimum_age = fields.number("From this age, in years.", 0, 120, example=18)
    maximum_age = fields.number("Up to this age, in years.", 0, 120)
    genders = fields.many(fields.word(GENDER, "HTCDS prs_Gender.", example="feminine"), "Genders served; empty: not stated.", 10)
    takes_dependants = fields.flag("Whether she may bring children or others.")
    maximum_dependants = fields.number("How many at most.", 0, 50, example=2)


class CapacitySchema(Schema):
    """Room of a service, with the time it was said: a figure without its time is a rumour."""

    intake = fields.word(pb.Intake.DESCRIPTOR, "Whether people are taken now.", required=True)
    available = fields.number("Free now.", 0, 100_000, example=3)
    maximum = fields.number("In all.", 0, 100_000, example=12)
    unit = fields.word(pb.CapacityUnit.DESCRIPTOR, "What is counted.")
    update_time = fields.time("When this was said.", dump_only=True)


class ServiceSchema(Schema):
    """Something a member offers (HSDS service). Where a confidential place is is not part of it."""

    id = fields.ident("The service.", dump_only=True)
    etag = fields.etag()
    organization_id = fields.ident("Whose it is; left out: your own organisation.")
    organization_name = fields.text("Its organisation's name.", dump_only=True)
    organization_type = fields.word(TYPE, "Its organisation's kind.", example="shelter", dump_only=True)
    name = fields.text("Its name.", example="Albergue de emergencia (demo)", required=True)
    description = fields.text("What it offers.", 2000)
    need_codes = fields.many(fields.code("A code of the taxonomy.", example="HOU.EMG"), "Which needs it meets.", required=True)
    country = fields.code("Country, ISO 3166-1 alpha-2.", example="NI", required=True)
    department = fields.code("Where it is, ISO 3166-2; absent: the whole country.", example="NI-CI")
    languages = fields.many(fields.code("A language, BCP 47.", example="es"), "Languages spoken, BCP 47.")
    eligibility = fields.part(EligibilitySchema, "Whom it takes.")
    capacity = fields.part(CapacitySchema, "Its room; absent: never said. It changes by PUT …/capacity.")
    confidential = fields.flag("A shelter or safe house: shown by department only.")
    phone = fields.text("E.164; absent for confidential services.", 20, example="+50500000000")
    assured_time = fields.time("When the member last confirmed the entry.", dump_only=True)
    active = fields.flag("Whether it is offered at all.")
    create_time = fields.created()
    update_time = fields.updated()


class NewServiceSchema(ServiceSchema):
    """A service to add: it is active from then on."""

    active = fields.flag("Always true at first.", dump_only=True)


ServicePatch = patch_of(
    ServiceSchema,
    "ServicePatch",
    only=("name", "description", "need_codes", "country", "department", "languages", "eligibility", "confidential", "phone", "active"),
)


class ServicePage(page_of(ServiceSchema, "ServiceList")):  # type: ignore[misc]
    """A page of services."""

    total_size = fields.number("How many there are in all.", dump_only=True)


class ServiceQuery(PageQuery):
    """Which services. Words, age and dependants go into the body of /services/search, never into an address."""

    organization_id = fields.ident("Only of this organisation.")
    need = fields.code("Only for this need, with its sub-codes.", example="HOU")
    country = fields.code("Only in this country.", example="NI")
    department = fields.code("Only in this department; services of the whole country are included.", example="NI-CI")
    language = fields.code("Only where this is spoken.", example="es")
    has_room = fields.flag("Only with room now.")


class ServiceSearchSchema(Schema):
    """What is looked for. Nothing of it is stored or logged."""

    words = fields.text("Words, without regard to accents.", 200, example="albergue")
    need_code = fields.code("A need, with its sub-codes.", example="HOU.EMG")
    country = fields.code("Country, ISO 3166-1 alpha-2.", example="NI")
    department = fields.code("Department, ISO 3166-2; services of the whole country are included.", example="NI-CI")
    language = fields.code("A language, BCP 47.", example="es")
    age = fields.number("Her age in years.", 0, 120, example=24)
    dependants = fields.number("How many come with her.", 0, 50, example=1)
    has_room = fields.flag("Only with room now.")
    organization_id = fields.ident("Only of this organisation.")
    cursor = fields.text("Where to go on: `next_cursor` of the page before.", 2000)
    limit = fields.number("How many at most.", 1, 100)


class ServiceSearchPage(ServicePage):
    """A page of what was found."""


class MatchQuestionSchema(Schema):
    """Coarse attributes: never a name, phone, exact place or free text."""

    need_code = fields.code("The need.", example="HOU.EMG", required=True)
    country = fields.code("Country, ISO 3166-1 alpha-2.", example="NI")
    department = fields.code("Department, ISO 3166-2.", example="NI-CI")
    age = fields.number("Her age in years.", 0, 120, example=24)
    gender = fields.word(GENDER, "HTCDS prs_Gender.", example="feminine")
    dependants = fields.number("How many come with her.", 0, 50, example=1)
    language = fields.code("A language, BCP 47.", example="es")
    excluded_organization_ids = fields.many(fields.ident("An organisation."), "Left out without a word: whom she named as unsafe.", 100)
    limit = fields.number("How many at most.", 1, 100)


class MatchReasonSchema(Schema):
    """One criterion, and how it came out."""

    criterion = fields.word(pb.Criterion.DESCRIPTOR, "By what it is judged.", example="age")
    verdict = fields.word(pb.Verdict.DESCRIPTOR, "How it came out.")
    reason_code = fields.code("Why.", example="age_in_range")


class MatchSchema(Schema):
    """A service with its verdict."""

    service = fields.part(ServiceSchema, "The service.")
    verdict = fields.word(pb.Verdict.DESCRIPTOR, "The worst of its reasons.")
    reasons = fields.many(fields.part(MatchReasonSchema, "A reason."), "Why, by criterion.")


directory_services.rpc(
    "CreateService",
    "Add a service",
    "A manager to the own organisation, a coordinator to any.",
    answers=ServiceSchema,
    takes=NewServiceSchema,
)
directory_services.rpc("SearchServices", "List services", answers=ServicePage, query=ServiceQuery, operation_id="list_services", verb="get")
directory_services.rpc(
    "SearchServices",
    "Find services",
    "A POST, so that no word stands in an address. To go on, send the same body with `cursor`.",
    answers=ServiceSearchPage,
    takes=ServiceSearchSchema,
    verb="post",
)
directory_services.rpc(
    "MatchServices",
    "Match services to a need",
    "Every service of the need with a verdict and the reason per criterion, best first. Nothing is stored.",
    answers=list_of(MatchSchema, "Matches"),
    takes=MatchQuestionSchema,
)
directory_services.rpc("GetService", "Show a service", answers=ServiceSchema)
directory_services.rpc(
    "UpdateService", "Change a service", "The manager of its organisation, or the coordinator.", answers=ServiceSchema, takes=ServicePatch
)
directory_services.rpc(
    "SetCapacity",
    "Say how much room there is now",
    "Any worker of the organisation. If-Match is optional here: the last word counts.",
    answers=ServiceSchema,
    takes=CapacitySchema,
    etag_needed=False,
)
