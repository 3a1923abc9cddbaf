"""The question about who or what place is unsafe for a person, in a new referral and in a draft."""

import re
from typing import Any

import pytest
from flask.testing import FlaskClient

from chassis import errors
from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import referrals_pb2 as r
from tests.gateway.pages_gateway import ID, FakePageServices, missing, send
from tests.gateway.referral_questions import (
    DISTANT_SHELTER,
    DRAFT,
    NEW_REFERRAL,
    OTHER_ID,
    POLICE,
    SERVICE_CHOICE,
    answer,
    draft,
    fields_of,
    go_to_services,
    question,
    services_with_draft,
)


@pytest.fixture
def fakes() -> FakePageServices:
    return services_with_draft()


def police(name: str = "Policía de Chinandega", identifier: str = POLICE) -> d.Service:
    return d.Service(
        id=ID,
        name="Denuncias",
        organization_id=identifier,
        organization_name=name,
        department="NI-CI",
    )


def test_the_question_about_unsafe_people_and_places_needs_an_answer(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["MatchServices"] = d.MatchServicesResponse(
        matches=[d.Match(service=DISTANT_SHELTER, verdict=d.VERDICT_FITS)]
    )
    unsafe_page = answer(client, go_to_services(client), back="1")
    assert question(unsafe_page) == "unsafe 5/6"
    assert missing(unsafe_page.text, "Casa Amanecer", "León") == []
    values = fields_of(unsafe_page)
    del values["unsafe_code"]
    refused_page = client.post(NEW_REFERRAL, data=values)
    assert (
        refused_page.status_code,
        'id="unsafe_code-error"' in refused_page.text,
        fields_of(refused_page)["hours"],
    ) == (422, True, "de 9 a 11")
    refused_page = client.post(NEW_REFERRAL, data={**values, "unsafe_code": "named"})
    assert (
        refused_page.status_code,
        'id="unsafe_organization_ids-error"' in refused_page.text,
    ) == (422, True)
    services = answer(
        client,
        unsafe_page,
        unsafe_code="nothing",
        unsafe_organization_ids=OTHER_ID,
        unsafe_departments="NI-LE",
    )
    assert question(services) == "services 6/6"
    match_request = fakes.last("MatchServices")
    assert (list(match_request.excluded_organization_ids), list(match_request.excluded_areas)) == (
        [OTHER_ID],
        ["NI-LE"],
    )
    answer(client, services, service_id=ID)
    stored_draft = fakes.last("UpdateReferral").referral
    assert (
        stored_draft.unsafe_code,
        list(stored_draft.unsafe_organization_ids),
        list(stored_draft.unsafe_departments),
    ) == (r.UNSAFE_ANSWER_NAMED, [OTHER_ID], ["NI-LE"])


def test_an_organisation_that_does_not_give_this_help_can_be_named_as_unsafe(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers |= {
        "MatchServices": d.MatchServicesResponse(),
        "SearchServices": d.SearchServicesResponse(services=[police(), police()]),
    }
    fakes.add_organization(POLICE, "Policía de Chinandega")
    unsafe = answer(client, go_to_services(client), back="1")
    assert "Policía de Chinandega" not in unsafe.text
    # with the button, or by going on with a typed name that was not searched for
    for button in ({"unsafe_look": "1"}, {}):
        page = answer(client, unsafe, unsafe_search=" policía ", **button)
        assert (question(page), page.status_code) == ("unsafe 5/6", 200)
        assert fakes.last("SearchServices").words == "policía"
        assert page.text.count(f'name="unsafe_organization_ids" value="{POLICE}"') == 1
    services = answer(client, page, unsafe_organization_ids=POLICE)
    assert question(services) == "services 6/6"
    assert list(fakes.last("MatchServices").excluded_organization_ids) == [POLICE]
    unsafe_again = answer(client, services, back="1")
    assert (question(unsafe_again), fields_of(unsafe_again)["unsafe_organization_ids"]) == (
        "unsafe 5/6",
        POLICE,
    ), "the organisation is shown with its name, though nothing was searched for"
    assert "Policía de Chinandega" in unsafe_again.text
    fakes.answers["SearchServices"] = d.SearchServicesResponse()
    empty_page = answer(client, unsafe_again, unsafe_search="x", unsafe_look="1").text
    assert "Nadie del directorio aparece con ese nombre." in empty_page
    services_found = [police(f"Policía {number:02}", f"{number:032x}") for number in range(31)]
    fakes.answers["SearchServices"] = d.SearchServicesResponse(services=services_found)
    full_page = answer(client, unsafe_again, unsafe_search="policía", unsafe_look="1").text
    assert (full_page.count(">Policía "), "Hay más: escriba más del nombre." in full_page) == (
        31,
        True,
    ), "thirty results and the ticked organisation"


def test_a_department_without_any_listed_service_can_be_named_as_unsafe(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["MatchServices"] = d.MatchServicesResponse()
    unsafe = answer(client, go_to_services(client), back="1")
    assert unsafe.text.count('name="unsafe_departments" value="NI-LE"') == 1
    assert question(answer(client, unsafe, unsafe_departments="NI-LE")) == "services 6/6"
    assert list(fakes.last("MatchServices").excluded_areas) == ["NI-LE"]


def test_a_draft_is_not_saved_during_a_search_for_a_name_and_keeps_the_ticked_answers(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers |= {
        "SearchServices": d.SearchServicesResponse(services=[police()]),
        "GetReferral": draft(
            **SERVICE_CHOICE | {"unsafe_code": r.UNSAFE_ANSWER_NAMED},
            unsafe_organization_ids=[POLICE],
            unsafe_departments=["NI-LE"],
        ),
    }
    form = fields_of(client.get(f"{DRAFT}/unsafe"))
    assert (form["unsafe_organization_ids"], form.pop("unsafe_departments")) == (POLICE, "NI-LE"), (
        "a named organisation is kept, though none of the listed services belongs to it"
    )
    answer_page = client.post(f"{DRAFT}/unsafe", data=form | {"unsafe_search": "policía"})
    assert (answer_page.status_code, "unsafe_departments" in fields_of(answer_page)) == (200, False)
    assert fakes.requests("UpdateReferral") == []
    client.post(f"{DRAFT}/unsafe", data=fields_of(answer_page))
    assert list(fakes.last("UpdateReferral").referral.unsafe_organization_ids) == [POLICE]


def test_a_draft_without_the_safety_answer_asks_for_it_and_shows_it_before_sending(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers |= {
        "GetReferral": draft(**SERVICE_CHOICE | {"unsafe_code": 0}, receipt_id=ID),
        "UpdateReferral": draft(**SERVICE_CHOICE, receipt_id=ID),
    }
    assert client.get(f"{DRAFT}/draft").location == f"{DRAFT}/unsafe"
    assert send(client, f"{DRAFT}/unsafe").status_code == 422
    saved_page = send(client, f"{DRAFT}/unsafe", unsafe_code="nothing")
    assert (saved_page.status_code, saved_page.location) == (303, f"{DRAFT}/check")
    assert f'href="{DRAFT}/unsafe"' in client.get(f"{DRAFT}/check").text


@pytest.mark.parametrize(
    ("answers", "page"),
    [
        ({"unsafe_departments": ["NI-LE"]}, "services"),
        ({"unsafe_organization_ids": [OTHER_ID]}, "services"),
        ({"unsafe_departments": ["NI-CI"]}, "check"),
        ({"unsafe_organization_ids": [ID]}, "check"),
    ],
)
def test_naming_the_chosen_services_place_as_unsafe_leads_to_another_choice_at_once(
    fakes: FakePageServices, client: FlaskClient, answers: dict[str, Any], page: str
) -> None:
    fakes.answers["BatchGet"] = d.BatchGetResponse(
        services=[d.Service(id=ID, name="Albergue", organization_id=OTHER_ID, department="NI-LE")]
    )
    stored_fields = {**SERVICE_CHOICE, "receiver_organization_id": OTHER_ID, "receipt_id": ID}
    fakes.answers |= {
        "GetReferral": draft(**stored_fields),
        "UpdateReferral": draft(
            **stored_fields | {"unsafe_code": r.UNSAFE_ANSWER_NAMED}, **answers
        ),
    }
    assert send(client, f"{DRAFT}/unsafe", **answers).location == f"{DRAFT}/{page}"


def test_a_referral_to_an_unsafe_organisation_needs_an_acknowledgement_and_the_note_stays(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers |= {
        "GetReferral": draft(**SERVICE_CHOICE | {"unsafe_code": 2}, receipt_id=ID),
        "SendReferral": errors.Conflict("unsafe_for_her"),
    }
    refusal = send(client, f"{DRAFT}/check", note="Llega sola.")
    assert (refusal.status_code, "Llega sola." in refusal.text) == (422, True)
    assert 'name="acknowledged_codes" value="unsafe_for_her"' in refusal.text
    assert 'value="age_not_taken"' not in refusal.text
    send(client, f"{DRAFT}/check", acknowledged_codes="unsafe_for_her")
    assert list(fakes.last("SendReferral").acknowledged_codes) == [r.ACKNOWLEDGEMENT_UNSAFE_FOR_HER]


def test_an_unsafe_department_of_another_country_is_shown_with_its_country(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    unsafe = answer(client, go_to_services(client), back="1")
    values = {"unsafe_departments": ["SV-LI", "PE-LAL", "NI-LE"], "unsafe_search": "x"}
    page = answer(client, unsafe, unsafe_look="1", **values).text
    first_part = page[: page.index("Otros departamentos")]
    for name in ("La Libertad, El Salvador", "La Libertad, Perú", "León"):
        assert re.search(rf">\s*{name}\s*<", first_part), name
