"""Saving a form in which nothing was changed loses no value, not even one that no page offers."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import locations_pb2 as pb
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.site.shell.frame import COUNTRIES, LANGUAGE_TAGS
from tests.gateway.page_forms import OTHER_ID, posted_forms
from tests.gateway.pages_gateway import ID, FakePageServices

LANGUAGE, COUNTRY, DEPARTMENT = "mam", "CU", "CU-03"
assert LANGUAGE not in LANGUAGE_TAGS
assert COUNTRY not in COUNTRIES

PERSON = p.Person(
    id=ID,
    organization_id=ID,
    etag="1",
    code="MFSA9D",
    coarse=r.CoarsePerson(
        age_band=r.AGE_BAND_18_TO_24,
        gender_code=r.PERSON_GENDER_FEMININE,
        language=LANGUAGE,
        dependants=0,
        country=COUNTRY,
        department=DEPARTMENT,
    ),
    trafficking_status_code=p.TRAFFICKING_STATUS_POSSIBLE_VICTIM_OF_TRAFFICKING,
    exploitation_country="HT",
)
UNKNOWN_PERSON = p.Person(id=ID, organization_id=ID, etag="1", code="MFSA9D")
ORGANIZATION = d.Organization(
    id=ID, etag="1", name="Red", country=COUNTRY, department=DEPARTMENT, languages=["es", LANGUAGE]
)
SERVICE = d.Service(
    id=ID,
    etag="1",
    organization_id=ID,
    name="Consulta",
    need_codes=["HOU.EMG"],
    country=COUNTRY,
    department=DEPARTMENT,
    area_codes=[DEPARTMENT, "NI-MN"],
    languages=["es", LANGUAGE],
    eligibility=d.Eligibility(
        minimum_age=12,
        maximum_age=17,
        genders=[d.GENDER_FEMININE],
        takes_dependants=True,
        takes_pregnant=False,
        maximum_dependants=0,
        maximum_age_of_boys=0,
    ),
    accessibility=[d.ACCESSIBILITY_STEP_FREE],
    schedules=[d.Schedule(freq=d.FREQUENCY_MONTHLY, byday=["1MO"], opens_at="08:00")],
    tiers=[d.FieldTier(field="phone", tier=contract_pb2.TIER_COORDINATOR)],
    active=True,
)
PLACE = pb.Location(
    id=ID,
    etag="1",
    organization_id=ID,
    name="Oficina",
    country=COUNTRY,
    department=DEPARTMENT,
    area_code="CU-03.01",
    latitude=0,
    longitude=-86.25,
    accessibility=[d.ACCESSIBILITY_STEP_FREE],
)
CONTACT = c.Contact(
    id=ID,
    etag="1",
    organization_id=ID,
    line_country=COUNTRY,
    kind_code=c.CONTACT_KIND_CRISIS,
    language=LANGUAGE,
    department=DEPARTMENT,
    triage=c.Triage(danger_now=c.ANSWER_NO),
    campaign_code=c.CAMPAIGN_RADIO,
    placement_code="K7",
    need_code="HOU.EMG",
    person_id=OTHER_ID,
    assault_time=Timestamp(seconds=1_796_031_000),
    outcome_code=c.CONTACT_OUTCOME_OPEN,
)

FORMS: dict[str, tuple[str, str, str, Message, str]] = {
    # the page, the target of its form, the rpc that reads the resource, the resource, the rpc that
    # saves it
    "person": (f"/people/{ID}", f"/people/{ID}/coarse", "GetPerson", PERSON, "UpdatePerson"),
    "unknown person": (
        f"/people/{ID}",
        f"/people/{ID}/coarse",
        "GetPerson",
        UNKNOWN_PERSON,
        "UpdatePerson",
    ),
    "organization": ("/entry", "/entry", "GetOrganization", ORGANIZATION, "UpdateOrganization"),
    "service": (
        f"/entry/services/{ID}",
        f"/entry/services/{ID}",
        "GetService",
        SERVICE,
        "UpdateService",
    ),
    "place": (f"/entry/places/{ID}", f"/entry/places/{ID}", "GetLocation", PLACE, "UpdateLocation"),
    "contact": (f"/line/{ID}", f"/line/{ID}", "GetContact", CONTACT, "UpdateContact"),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_that_is_saved_unchanged_sends_the_values_that_the_page_got(
    client: FlaskClient, fakes: FakePageServices, name: str
) -> None:
    path, target, read_rpc, resource, save_rpc = FORMS[name]
    fakes.answers[read_rpc] = resource
    page = client.get(path).text
    [form] = [form for form in posted_forms(page, path) if form.path == target]
    answer = client.post(target, data=form.sent)
    assert answer.status_code == 303, answer.text
    request: Any = fakes.last(save_rpc)
    saved = next(
        value for field, value in request.ListFields() if field.message_type == resource.DESCRIPTOR
    )
    for field in request.update_mask.paths:
        assert getattr(saved, field) == getattr(resource, field), field
