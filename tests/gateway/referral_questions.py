"""The questions of a new referral, as a browser answers them, and services with a draft."""

import re

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.site.language import i18n
from tests.gateway.page_forms import sent_fields
from tests.gateway.pages_gateway import ID, FakePageServices

NEW_REFERRAL = "/referrals/new"
DRAFT = f"/referrals/{ID}"
OTHER_ID, POLICE = "b" * 32, "c" * 32
SERVICE_CHOICE = {"need_code": "HOU.EMG", "urgency": r.URGENCY_URGENT, "service_id": ID}
"""The fields of a draft whose service is chosen."""

DISTANT_SHELTER = d.Service(
    id=OTHER_ID,
    name="Casa segura",
    organization_id=OTHER_ID,
    organization_name="Casa Amanecer",
    department="NI-LE",
)


def draft(**fields: object) -> r.Referral:
    """Returns a draft; by default, the person said that nothing is unsafe for her."""
    values = {
        "id": ID,
        "etag": "d1",
        "side": r.SIDE_SENDER,
        "person_id": ID,
        "state": r.STATE_DRAFT,
        "unsafe_code": r.UNSAFE_ANSWER_NOTHING,
        **fields,
    }
    return r.Referral(**values)  # type: ignore[arg-type]


def services_with_draft() -> FakePageServices:
    """Returns fake services that answer with a new file and a draft."""
    return FakePageServices(
        {
            "GetContact": c.Contact(id=ID, etag="1"),
            "CreatePerson": p.Person(id=ID),
            "CreateReferral": r.Referral(id=ID),
            "GetReferral": draft(),
            "GetPerson": p.Person(
                id=ID, code="K7M2QX", safe_contact=p.SafeContact(channel_code=p.SAFE_CHANNEL_NONE)
            ),
            "UpdateReferral": draft(**SERVICE_CHOICE),
        }
    )


def fields_of(page: TestResponse) -> dict[str, str]:
    """Returns the fields that a browser would send with the form on the page."""
    return sent_fields(page.text)


def answer(client: FlaskClient, page: TestResponse, /, **fields: object) -> TestResponse:
    """Answers the question on the page, and submits the form."""
    return client.post(NEW_REFERRAL, data={**fields_of(page), **fields})


def question(page: TestResponse) -> str:
    """Returns the question on a page, and its number."""
    number = re.search(r"Pregunta (\d) de (\d)", page.text)
    return f"{fields_of(page)['page']} {number[1]}/{number[2]}" if number else ""


def birth_date(client: FlaskClient, years: int) -> str:
    """Returns the birth date of a person who is this old; the 28th exists in each month."""
    with client.application.test_request_context("/"):
        today = i18n.today()
    return today.replace(year=today.year - years, day=min(28, today.day)).isoformat()


def go_to_urgency(client: FlaskClient) -> TestResponse:
    """Answers the question about the kind of help; returns the page that asks for the urgency."""
    return answer(client, client.get(NEW_REFERRAL), need_code="HOU.EMG")


def go_to_services(client: FlaskClient) -> TestResponse:
    """Answers all questions but the last one; returns the page with the services."""
    page = answer(client, go_to_urgency(client), urgency="urgent")
    page = answer(client, page, age="19", gender_code="Feminine", department="NI-CI")
    page = answer(
        client,
        page,
        channel_code="phone",
        hours="de 9 a 11",
        given_name="Yolanda",
        message_may_be_left="1",
    )
    return answer(client, page, unsafe_code="nothing")
