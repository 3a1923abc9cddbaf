"""The pages of a draft: each answer can be changed until the referral is sent."""

import re
from datetime import datetime

import pytest
from flask.testing import FlaskClient

from chassis import errors
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from tests.gateway.pages_gateway import ID, FakePageServices, missing, send, signed_in_as, token_of
from tests.gateway.referral_questions import (
    DRAFT,
    OTHER_ID,
    SERVICE_CHOICE,
    answer,
    draft,
    fields_of,
    go_to_services,
    services_with_draft,
)

QUESTIONS = ("need", "urgency", "unsafe", "services", "contact", "check")


@pytest.fixture
def fakes() -> FakePageServices:
    return services_with_draft()


def test_matching_is_requested_with_coarse_attributes_only(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    coarse = r.CoarsePerson(
        age_band=r.AGE_BAND_12_TO_17,
        gender_code=r.PERSON_GENDER_TRANSGENDER_FEMININE,
        language="es",
        dependants=1,
        country="NI",
        department="NI-CI",
    )
    fakes.answers["GetReferral"] = draft(need_code="HOU.EMG", person=coarse)
    client.get(f"{DRAFT}/services")
    assert fakes.last("MatchServices") == d.MatchServicesRequest(
        need_code="HOU.EMG",
        country="NI",
        department="NI-CI",
        age=15,
        gender=d.GENDER_TRANSGENDER_FEMININE,
        dependants=1,
        language="es",
        limit=30,
    )


def test_services_are_sought_in_the_country_of_her_department_if_her_file_has_no_country(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    person = r.CoarsePerson(department="HN-FM")
    fakes.answers["GetReferral"] = draft(need_code="HOU.EMG", person=person)
    client.get(f"{DRAFT}/services")
    assert fakes.last("MatchServices").country == "HN"


@pytest.mark.parametrize(("referral_id", "warned"), [(ID, True), (OTHER_ID, False)])
def test_the_list_of_services_warns_that_the_service_that_offered_help_is_notified_at_once(
    referral_id: str, warned: bool, fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetReferral"] = draft(need_code="HOU.EMG")
    enquiry = e.Enquiry(state=e.ENQUIRY_STATE_MATCHED, referral_id=referral_id)
    fakes.answers["ListEnquiries"] = e.ListEnquiriesResponse(enquiries=[enquiry])
    page = client.get(f"{DRAFT}/services").text
    assert ("se le avisa en ese momento que ya no llegará" in page) == warned
    assert fakes.last("ListEnquiries").person_id == ID


@pytest.mark.parametrize(
    ("fields", "page"),
    [
        ({}, "need"),
        ({"need_code": "HOU.EMG"}, "urgency"),
        ({"need_code": "HOU.EMG", "urgency": r.URGENCY_URGENT, "unsafe_code": 0}, "unsafe"),
        ({"need_code": "HOU.EMG", "urgency": r.URGENCY_URGENT}, "services"),
        (SERVICE_CHOICE, "consent"),
        (SERVICE_CHOICE | {"receipt_id": ID}, "check"),
    ],
)
def test_a_draft_continues_where_something_is_missing(
    fakes: FakePageServices, client: FlaskClient, fields: dict[str, object], page: str
) -> None:
    fakes.answers["GetReferral"] = draft(**fields)
    assert client.get(f"{DRAFT}/draft").location == f"{DRAFT}/{page}"


def test_the_url_of_a_draft_leads_to_the_referral_once_it_is_sent(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetReferral"] = r.Referral(id=ID, state=r.STATE_SENT)
    assert client.get(f"{DRAFT}/draft").location == DRAFT


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"live": True}, "Hasta el"),
        ({"withdraw_time": datetime(2026, 9, 21)}, "Retirado"),
        ({"confirm_until_time": datetime(2026, 9, 21)}, "Falta confirmar"),
        ({}, "Ya no abre nada"),
    ],
)
def test_the_check_states_whether_the_consent_is_valid(
    fakes: FakePageServices, client: FlaskClient, fields: dict[str, object], expected: str
) -> None:
    fakes.answers |= {
        "GetReceipt": p.Receipt(
            id=ID,
            until_time=datetime(2027, 1, 15),  # type: ignore[arg-type]
            **fields,  # type: ignore[arg-type]
        ),
        "GetReferral": draft(need_code="HOU.EMG", service_id=ID, receipt_id=ID),
    }
    page = client.get(f"{DRAFT}/check").text
    assert re.findall("Hasta el|Retirado|Falta confirmar|Ya no abre nada", page) == [expected]
    links_to_receipt = f'href="/people/receipts/{ID}"' in page
    assert links_to_receipt == (expected == "Falta confirmar")


@pytest.mark.parametrize(
    ("active", "status", "on_consent", "on_check"),
    [
        (True, d.ORGANIZATION_STATUS_APPROVED, [], []),
        (
            False,
            d.ORGANIZATION_STATUS_APPROVED,
            ["Ese servicio ya no está disponible"],
            ["No se ofrece ahora"],
        ),
        (
            True,
            d.ORGANIZATION_STATUS_SUSPENDED,
            ["Esa organización está suspendida"],
            ["Suspendida"],
        ),
    ],
)
def test_the_pages_of_consent_and_check_say_if_the_draft_can_no_longer_be_sent_to_its_service(
    fakes: FakePageServices,
    client: FlaskClient,
    active: bool,
    status: d.OrganizationStatus.ValueType,
    on_consent: list[str],
    on_check: list[str],
) -> None:
    service = d.Service(id=ID, organization_id=ID, name="Albergue", active=active)
    fakes.answers |= {
        "GetService": service,
        "BatchGet": d.BatchGetResponse(
            services=[service], organizations=[d.Organization(id=ID, status=status)]
        ),
        "GetReferral": draft(need_code="HOU.EMG", service_id=ID, receiver_organization_id=ID),
    }
    consent = client.get(f"{DRAFT}/consent").text
    sentences = "Ese servicio ya no está disponible|Esa organización está suspendida"
    assert re.findall(sentences, consent) == on_consent
    assert f'href="{DRAFT}/services"' in consent
    check = client.get(f"{DRAFT}/check").text
    assert re.findall("No se ofrece ahora|Suspendida", check) == on_check


@pytest.mark.parametrize("state", [r.STATE_SENT, r.STATE_CONSENT_WITHDRAWN])
def test_going_back_in_the_browser_after_sending_leads_from_every_question_to_the_referral(
    state: r.State.ValueType, fakes: FakePageServices, client: FlaskClient
) -> None:
    data = {
        "form_token": token_of(client.get(f"{DRAFT}/need").text),
        "channel_code": "phone",
        "note": "con su hijo",
    }
    fakes.answers |= {
        "GetReferral": draft(need_code="HOU.EMG", service_id=ID, state=state),
        "SendReferral": errors.Stale(),
    }
    fakes.calls.clear()
    for page in (*QUESTIONS, "consent"):
        assert client.get(f"{DRAFT}/{page}").location == DRAFT, page
    for page in QUESTIONS:
        refusal = client.post(f"{DRAFT}/{page}", data=data)
        assert (refusal.status_code, "Ya no es un borrador" in refusal.text) == (409, True), page
    for rpc in ("UpdateReferral", "SetSafeContact", "OpenPerson"):
        assert fakes.requests(rpc) == []
    assert "con su hijo" in refusal.text, "nothing that she typed is lost"


def test_the_consent_page_of_a_referral_says_that_it_was_sent(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetReferral"] = draft(
        code="K7M2QX", service_id=ID, state=r.STATE_SENT, allowed_verbs=["attach_consent"]
    )
    page = client.get(f"{DRAFT}/consent").text
    assert re.search(rf'<p class="crumb">.*href="{DRAFT}">K7M2QX</a>.*Enviada', page)
    assert "Borrador" not in page


def test_choosing_a_service_again_after_sending_leads_to_the_referral(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    page = go_to_services(client)
    answer(client, page, service_id=ID)
    fakes.answers["GetReferral"] = draft(state=r.STATE_SENT, service_id=ID)
    fakes.calls.clear()
    for service_id in (ID, OTHER_ID):
        assert answer(client, page, service_id=service_id).location == DRAFT
    assert fakes.requests("UpdateReferral") == []


@pytest.mark.parametrize(
    ("page", "changes", "target"),
    [
        ("urgency", {"urgency": "normal"}, "check"),
        ("need", {"need_code": "HOU.EMG"}, "services"),
        ("services", {"service_id": ID}, "consent"),
    ],
)
def test_a_change_in_a_draft_leads_back_to_the_check_unless_other_answers_depend_on_it(
    page: str, changes: dict[str, str], target: str, fakes: FakePageServices, client: FlaskClient
) -> None:
    complete_draft = draft(**SERVICE_CHOICE, receipt_id=ID)
    fakes.answers["GetReferral"] = fakes.answers["UpdateReferral"] = complete_draft
    assert f'href="{DRAFT}/{page}"' in client.get(f"{DRAFT}/check").text
    form_token = token_of(client.get(f"{DRAFT}/{page}").text)
    empty_answer = client.post(f"{DRAFT}/{page}", data={"form_token": form_token})
    assert (empty_answer.status_code, f'href="#{next(iter(changes))}"' in empty_answer.text) == (
        422,
        True,
    )
    assert send(client, f"{DRAFT}/{page}", **changes).location == f"{DRAFT}/{target}"
    assert fakes.last("UpdateReferral").update_mask.paths == [*changes]


def test_a_changed_contact_plan_of_a_draft_is_written_without_reading_the_file(
    fakes: FakePageServices,
) -> None:
    client = signed_in_as(fakes, contract_pb2.ROLE_WORKER)
    contact = f"{DRAFT}/contact"
    fakes.answers["GetReferral"] = draft(**SERVICE_CHOICE, receipt_id=ID)
    assert f'href="{contact}"' in client.get(f"{DRAFT}/check").text
    page = client.get(contact).text
    assert 'value="none" checked' in page
    usual_answer = fakes.answers["SetSafeContact"]
    fakes.answers["SetSafeContact"] = errors.Invalid(("safe_contact.channel_code", "required"))
    assert 'href="#channel_code"' in send(client, contact).text
    fakes.answers["SetSafeContact"] = usual_answer
    fakes.calls.clear()
    data = {"channel_code": "phone", "hours": "de 9 a 11", "form_token": token_of(page)}
    assert client.post(contact, data=data).location == f"{DRAFT}/check"
    assert all(request.outline_only for request in fakes.requests("GetPerson"))
    request = fakes.last("SetSafeContact")
    assert (request.id, request.safe_contact.channel_code, request.safe_contact.hours) == (
        ID,
        p.SAFE_CHANNEL_PHONE,
        "de 9 a 11",
    )


def test_making_a_draft_less_urgent_than_the_contacts_answers_require_asks_for_a_reason(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    complete_draft = draft(
        **SERVICE_CHOICE | {"urgency": r.URGENCY_IMMEDIATE}, receipt_id=ID, contact_id=ID
    )
    fakes.answers |= {
        "GetReferral": complete_draft,
        "UpdateReferral": errors.Invalid(("urgency_reason_code", "required")),
    }
    refusal = send(client, f"{DRAFT}/urgency", urgency="urgent")
    assert (refusal.status_code, 'href="#urgency_reason_code"' in refusal.text) == (422, True)
    assert 'value="urgent" checked' in refusal.text
    fakes.answers["UpdateReferral"] = complete_draft
    reason = {"urgency": "urgent", "urgency_reason_code": "danger_passed"}
    assert send(client, f"{DRAFT}/urgency", **reason).status_code == 303
    request = fakes.last("UpdateReferral")
    assert request.referral.urgency_reason_code == r.URGENCY_REASON_DANGER_PASSED
    assert request.update_mask.paths == ["urgency", "urgency_reason_code"]


def test_clearing_the_assault_time_on_a_drafts_page_removes_it(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    complete_draft = draft(**SERVICE_CHOICE | {"urgency": r.URGENCY_EMERGENCY}, receipt_id=ID)
    complete_draft.assault_time.FromDatetime(datetime(2026, 3, 4, 10))
    fakes.answers["GetReferral"] = fakes.answers["UpdateReferral"] = complete_draft
    send(client, f"{DRAFT}/urgency", urgency="normal", assault_time="")
    refusal = send(client, f"{DRAFT}/urgency", urgency="normal", assault_time="yesterday")
    assert (refusal.status_code, 'href="#assault_time"' in refusal.text) == (422, True)
    assert 'value="yesterday"' in refusal.text
    [request] = fakes.requests("UpdateReferral")
    assert request.update_mask.paths == ["urgency", "assault_time"]
    assert not request.referral.HasField("assault_time")


def test_sending_her_to_a_service_that_does_not_accept_her_age_has_to_be_acknowledged(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    check = f"{DRAFT}/check"
    assert "acknowledged_codes" not in client.get(check).text, (
        "the acknowledgement is offered only after the refusal"
    )
    fakes.answers["SendReferral"] = errors.Conflict("age_not_taken")
    refusal = send(client, check, note="Llega a las seis")
    expected = (
        "No es para su edad.",
        'name="acknowledged_codes" value="age_not_taken"',
        "Llega a las seis",
    )
    assert (refusal.status_code, missing(refusal.text, *expected)) == (422, [])
    fakes.answers["SendReferral"] = draft()
    assert send(client, check, acknowledged_codes="age_not_taken").status_code == 303
    assert list(fakes.last("SendReferral").acknowledged_codes) == [r.ACKNOWLEDGEMENT_AGE_NOT_TAKEN]


def test_a_second_draft_in_place_of_a_referral_is_not_refused_because_the_first_still_stands(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["SendReferral"] = errors.Conflict("already_replaced")  # even if it was closed
    page = send(client, f"{DRAFT}/check").text
    assert missing(page, "Ya se envió otra remisión", "en pie") == ["en pie"]


@pytest.mark.parametrize(
    ("channel", "answers"),
    [
        (p.SAFE_CHANNEL_NONE, {"expected": "hoy a las siete", "way": "en bus", "company": "sola"}),
        (p.SAFE_CHANNEL_PHONE, {}),
    ],
)
def test_the_check_page_asks_about_her_arrival_if_nobody_may_contact_her(
    fakes: FakePageServices,
    client: FlaskClient,
    channel: p.SafeChannel.ValueType,
    answers: dict[str, str],
) -> None:
    check = f"{DRAFT}/check"
    fakes.answers |= {
        "GetPerson": p.Person(
            id=ID, code="K7M2QX", safe_contact=p.SafeContact(channel_code=channel)
        ),
        "GetReferral": draft(**SERVICE_CHOICE, code="H7JX7J"),
    }
    form = fields_of(client.get(check))
    assert ("expected" in form, "H7JX7J" in form.get("sign", "")) == (bool(answers), bool(answers))
    assert client.post(check, data={**form, **answers}).status_code == 303
    arrival = fakes.last("SendReferral").arrival
    assert {name: getattr(arrival, name) for name in answers} == answers
    assert bool(arrival.sign) == bool(answers)


def test_missing_answers_about_her_arrival_are_reported_at_their_fields_and_nothing_is_lost(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["SendReferral"] = errors.Invalid(
        ("arrival.expected", "required"), ("arrival.company", "required")
    )
    fields = {"way": "en bus desde Somotillo", "note": "lleva una mochila"}
    refusal = client.post(
        f"{DRAFT}/check", data={**fields_of(client.get(f"{DRAFT}/check")), **fields}
    )
    expected = (
        "diga cuándo llega",
        "diga con quién viene",
        "en bus desde Somotillo",
        "lleva una mochila",
        'id="expected-error"',
    )
    assert (refusal.status_code, missing(refusal.text, *expected)) == (422, [])


def test_the_list_of_services_marks_the_service_that_declined_before(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    earlier_referral = r.Referral(id=OTHER_ID, service_id=OTHER_ID, state=r.STATE_DECLINED)
    following_draft = draft(need_code="HOU.EMG", based_on_id=OTHER_ID)
    fakes.answers["GetReferral"] = lambda request: (
        earlier_referral if request.id == OTHER_ID else following_draft
    )
    services = [d.Service(id=ID, name="Casa Sol"), d.Service(id=OTHER_ID, name="Casa Luna")]
    fakes.answers["MatchServices"] = d.MatchServicesResponse(
        matches=[d.Match(service=service, verdict=d.VERDICT_FITS) for service in services]
    )
    page = client.get(f"{DRAFT}/services").text
    marked_names = [
        name for name in ("Casa Sol", "Casa Luna") if "Antes: no la pudieron" in row(page, name)
    ]
    assert marked_names == ["Casa Luna"]


def row(page: str, name: str) -> str:
    """Returns the row of a service in the list."""
    return page[page.index(name) :].partition("</li>")[0]


@pytest.mark.parametrize("question", [*QUESTIONS, "consent"])
def test_an_answer_after_a_colleague_sent_the_draft_is_refused_without_a_button_to_send_it_again(
    question: str, fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetReferral"] = draft(need_code="HOU.EMG", service_id=ID)
    token = token_of(client.get(f"{DRAFT}/{question}").text)
    fakes.answers |= {
        "GetReferral": draft(state=r.STATE_SENT),
        "SendReferral": errors.Stale(),
    }
    data = {"form_token": token, "request_id": "one", "etag": "v1", "note": "lo que escribí"}
    refused = client.post(f"{DRAFT}/{question}", data=data)
    assert (
        refused.status_code,
        "Ya no es un borrador" in refused.text,
        "lo que escribí" in refused.text,
        "Enviarlo otra vez" in refused.text,
    ) == (409, True, True, False)
    assert re.search(r'<form[^>]* class="card"', refused.text)
    del data["note"]
    refused = client.post(f"{DRAFT}/{question}", data=data)
    assert not re.search(r'<form[^>]* class="card"', refused.text), "nothing to show or to press"
