"""The pages on which an enquiry is made: few questions, and a preview of the enquiry.

Nothing is asked twice.
"""

import re

import pytest
from flask.testing import FlaskClient

from chassis import errors
from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import referrals_pb2 as r
from tests.gateway.page_forms import sent_fields
from tests.gateway.pages_gateway import ID, FakePageServices, missing, referral, token_of
from tests.gateway.referral_questions import DISTANT_SHELTER

OTHER_ID = "b" * 32
ENQUIRY_FORM = {
    "need_code": "HOU.EMG",
    "urgency": "immediate",
    "age_band": "18-24",
    "department": "NI-CI",
    "languages": "es",
    "unsafe_code": "nothing",
}


@pytest.fixture
def fakes() -> FakePageServices:
    service = d.Service(
        id=OTHER_ID, name="Casa segura", organization_id=OTHER_ID, organization_name="Casa Amanecer"
    )
    own_service = d.Service(
        id="c" * 32, name="La nuestra", organization_id=ID, organization_name="Casa Puentes"
    )
    unsuitable_service = d.Service(id="d" * 32, name="Cerrada", organization_id=OTHER_ID)
    return FakePageServices(
        {
            "MatchServices": d.MatchServicesResponse(
                matches=[
                    d.Match(service=service, verdict=d.VERDICT_FITS),
                    d.Match(service=own_service, verdict=d.VERDICT_FITS),
                    d.Match(service=unsuitable_service, verdict=d.VERDICT_DOES_NOT_FIT),
                ]
            ),
            "PreviewEnquiry": e.EnquiryPreview(
                service_count=1, organization_count=1, similar_cases=5
            ),
        }
    )


def post(client: FlaskClient, path: str = "/enquiries/new", **fields: str) -> tuple[int, str, str]:
    """Sends a form; returns the status, the page, and the address that the answer leads to."""
    token = token_of(client.get("/enquiries/new").text)
    answer = client.post(path, data={"form_token": token, "request_id": "once", **fields})
    return answer.status_code, answer.text, answer.location or ""


def without_folded_parts(page: str) -> str:
    """Returns the page without its folded parts."""
    return re.sub(r"<details.*?</details>", "", page, flags=re.DOTALL)


def test_asking_again_begins_with_the_answers_of_the_enquiry_that_ended(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    content = e.EnquiryContent(
        need_code="HOU.EMG",
        urgency=r.URGENCY_IMMEDIATE,
        age_band=r.AGE_BAND_18_TO_24,
        dependants=5,
        languages=["miq"],
        accessibility_codes=[e.ACCESSIBILITY_STEP_FREE],
        country="NI",
        department="NI-CI",
    )
    fakes.answers["GetEnquiry"] = e.Enquiry(
        id=ID, side=r.SIDE_SENDER, state=e.ENQUIRY_STATE_EXHAUSTED, content=content
    )
    link = f"/enquiries/new?enquiry={ID}"
    assert f'href="{link}"' in client.get(f"/enquiries/{ID}").text
    fields = sent_fields(client.get(link).text)
    assert {name: fields.get(name) for name in ("need_code", "dependants", "languages")} == {
        "need_code": "HOU.EMG",
        "dependants": "5",
        "languages": "miq",
    }
    assert (fields["urgency"], fields["accessibility_codes"]) == ("immediate", "step_free")
    assert "unsafe_code" not in fields, "she is asked again with whom or where she is not safe"


@pytest.mark.parametrize(
    ("need_code", "criteria", "is_asked"),
    [
        ("HOU.EMG", [d.CRITERION_ROOM], True),
        ("HOU.EMG", [d.CRITERION_AGE, d.CRITERION_ROOM], False),
        ("MED.PRI", [d.CRITERION_ROOM], False),
    ],
)
def test_a_shelter_that_was_full_at_the_last_time_step_is_asked_and_suggested_nevertheless(
    fakes: FakePageServices,
    client: FlaskClient,
    need_code: str,
    criteria: list[d.Criterion.ValueType],
    is_asked: bool,
) -> None:
    reasons = [
        d.MatchReason(criterion=criterion, verdict=d.VERDICT_DOES_NOT_FIT) for criterion in criteria
    ]
    shelter = d.Service(id=OTHER_ID, organization_id=OTHER_ID, name="Casa Luna")
    match = d.Match(service=shelter, verdict=d.VERDICT_DOES_NOT_FIT, reasons=reasons)
    fakes.answers["MatchServices"] = d.MatchServicesResponse(matches=[match])
    page = post(client, **ENQUIRY_FORM | {"need_code": need_code})[1]
    assert ("Preguntar ahora" in page, "No hay a quién preguntar" in page) == (
        is_asked,
        not is_asked,
    )
    fakes.answers["GetReferral"] = referral(need_code=need_code, allowed_verbs=["decline"])
    assert ("Casa Luna" in client.get(f"/referrals/{ID}").text) == is_asked


@pytest.mark.parametrize(
    ("age_band", "limits", "compared_age", "is_asked"),
    [
        ("12-17", (16, 21), 15, True),
        ("12-17", (16, None), 15, True),
        ("25-59", (18, 35), 40, True),
        ("0-11", (None, 5), 7, True),
        ("25-59", (60, None), 40, False),
        ("12-17", (18, 99), 15, False),
        ("18-24", (None, 17), 21, False),
    ],
)
def test_a_service_that_takes_a_part_of_her_age_band_is_asked(
    fakes: FakePageServices,
    client: FlaskClient,
    age_band: str,
    limits: tuple[int | None, int | None],
    compared_age: int,
    is_asked: bool,
) -> None:
    limits_of_service = d.Eligibility(minimum_age=limits[0], maximum_age=limits[1])
    shelter = d.Service(id=OTHER_ID, organization_id=OTHER_ID, eligibility=limits_of_service)
    reason = d.MatchReason(criterion=d.CRITERION_AGE, verdict=d.VERDICT_DOES_NOT_FIT)
    match = d.Match(service=shelter, verdict=d.VERDICT_DOES_NOT_FIT, reasons=[reason])
    fakes.answers["MatchServices"] = d.MatchServicesResponse(matches=[match])
    page = post(client, **ENQUIRY_FORM | {"age_band": age_band})[1]
    assert fakes.last("MatchServices").age == compared_age
    assert ("Preguntar ahora" in page) == is_asked


def test_a_worker_who_names_every_service_as_unsafe_reads_that_there_is_nobody_to_ask(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    form_with_names = ENQUIRY_FORM | {"unsafe_code": "named", "sure": "1"}
    fakes.answers["CreateEnquiry"] = errors.Conflict("service_unknown")
    by_organization = post(client, **form_with_names, excluded_organization_ids=OTHER_ID)
    fakes.answers["MatchServices"] = d.MatchServicesResponse()
    by_department = post(client, **form_with_names, unsafe_departments="NI-LE")
    for (status, page, _), ticked in ((by_organization, OTHER_ID), (by_department, "NI-LE")):
        assert (status, "No hay a quién preguntar" in page) == (200, True)
        assert re.search(rf'type="checkbox"[^>]*value="{ticked}"\s*checked', page), "to untick it"
        assert ("Mirar otra vez" in page, "Preguntar ahora" in page) == (True, False)


def test_a_number_of_children_that_cannot_be_read_is_asked_for_again(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    status, page, _ = post(client, **ENQUIRY_FORM, dependants="3 hijos")
    assert (status, 'value="3 hijos"' in page) == (422, True)
    assert fakes.requests("PreviewEnquiry") == []


def test_an_enquiry_is_for_the_country_of_her_department_if_her_file_has_no_country(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    post(client, **ENQUIRY_FORM | {"country": "", "department": "HN-FM"})
    assert fakes.last("PreviewEnquiry").content.country == "HN"


def test_data_of_the_contact_are_not_asked_for_again(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetContact"] = c.Contact(
        id=ID, need_code="HOU.EMG", urgency=r.URGENCY_EMERGENCY, department="MX-BCN", language="miq"
    )
    fields = sent_fields(client.get(f"/enquiries/new?contact={ID}").text)
    expected = {
        "need_code": "HOU.EMG",
        "urgency": "emergency",
        "country": "MX",
        "department": "MX-BCN",
        "languages": "miq",
        "contact_id": ID,
    }
    assert {name: fields[name] for name in expected} == expected


def test_an_unrecognised_or_unstated_language_is_not_replaced_by_spanish(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetContact"] = c.Contact(id=ID, need_code="HOU.EMG")
    assert sent_fields(client.get(f"/enquiries/new?contact={ID}").text)["languages"] == ""
    assert sent_fields(client.get("/enquiries/new").text)["languages"] == "es"
    preview = post(client, **ENQUIRY_FORM, drop="languages")[1]
    assert list(fakes.last("PreviewEnquiry").content.languages) == []
    back = client.post("/enquiries/new", data=sent_fields(preview) | {"back": "1"})
    assert sent_fields(back.text)["languages"] == ""


def test_the_form_does_not_claim_to_hide_the_department_that_the_services_read(
    client: FlaskClient,
) -> None:
    page = client.get("/enquiries/new").text
    assert missing(page, "ni dónde está", "antes de preguntar usted ve qué se dice") == [
        "ni dónde está"
    ]
    assert "Chinandega" in post(client, **ENQUIRY_FORM)[1].partition("Se dice de ella")[2][:200]


def test_the_need_the_urgency_and_the_answer_about_safety_are_required_and_the_rest_stays(
    client: FlaskClient,
) -> None:
    status, page, _ = post(client, age_band="18-24")
    assert (status, page.count('class="error"'), sent_fields(page)["age_band"]) == (422, 3, "18-24")


def test_the_workers_own_services_and_services_that_do_not_fit_are_not_asked(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    status, page, _ = post(client, **ENQUIRY_FORM)
    assert (status, "Unas 5 organizaciones" in page) == (200, True)
    request = fakes.last("PreviewEnquiry")
    assert list(request.service_ids) == [OTHER_ID]
    assert request.content == e.EnquiryContent(
        need_code="HOU.EMG",
        urgency=r.URGENCY_IMMEDIATE,
        age_band=r.AGE_BAND_18_TO_24,
        languages=["es"],
        country="NI",
        department="NI-CI",
    )


def test_a_line_of_one_country_can_ask_services_in_another(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    _, page, _ = post(client, **ENQUIRY_FORM | {"country": "CR", "department": "CR-G"})
    assert (
        fakes.last("MatchServices").country,
        fakes.last("PreviewEnquiry").content.country,
        sent_fields(page)["country"],
        "Costa Rica" in page,
    ) == ("CR", "CR", "CR", True)
    content = e.EnquiryContent(need_code="HOU.EMG", country="CR", department="CR-G")
    fakes.answers["GetEnquiry"] = e.Enquiry(id=ID, side=r.SIDE_SENDER, content=content)
    assert sent_fields(client.get(f"/referrals/new?enquiry={ID}").text)["country"] == "CR", (
        "otherwise the place in her file would be in no country"
    )


def test_an_attribute_that_makes_her_recognisable_is_named_and_left_out_with_one_press(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["PreviewEnquiry"] = e.EnquiryPreview(
        service_count=1, few=True, coarser_attribute=e.ENQUIRY_ATTRIBUTE_DEPARTMENT
    )
    _, page, _ = post(client, **ENQUIRY_FORM)
    assert 0 < page.index("podría reconocerla") < page.index("Preguntar ahora"), (
        "the warning is read before the button is pressed"
    )
    assert 'name="drop" value="department"' in page
    assert page.index("<button hidden>") < page.index('name="drop"'), "Enter only looks again"
    _, page, _ = post(client, **ENQUIRY_FORM, drop="department")
    assert fakes.last("PreviewEnquiry").content.department == ""
    assert "department" not in sent_fields(page)
    post(client, **ENQUIRY_FORM, gender_code="Feminine", drop="gender")
    assert fakes.last("PreviewEnquiry").content.gender_code == 0


def test_an_enquiry_is_sent_with_all_answers_and_the_organisations_that_she_excludes(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    status, _, location = post(
        client,
        **ENQUIRY_FORM,
        contact_id=ID,
        excluded_organization_ids=OTHER_ID,
        keep_unused="1",
        sure="1",
    )
    assert (status, location) == (303, f"/enquiries/{ID}?done=asked")
    request = fakes.last("CreateEnquiry")
    assert (request.contact_id, list(request.excluded_organization_ids), request.keep_unused) == (
        ID,
        [OTHER_ID],
        True,
    )
    assert request.request_id == "once"


def test_no_service_is_asked_where_she_is_not_safe_and_going_back_keeps_her_answer(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["MatchServices"] = d.MatchServicesResponse(
        matches=[d.Match(service=DISTANT_SHELTER, verdict=d.VERDICT_FITS)]
    )
    _, page, _ = post(client, **ENQUIRY_FORM)
    assert 'name="unsafe_departments" value="NI-LE"' in page
    assert list(fakes.last("MatchServices").excluded_areas) == []
    _, page, _ = post(client, **ENQUIRY_FORM, unsafe_departments="NI-LE")
    assert list(fakes.last("MatchServices").excluded_areas) == ["NI-LE"]
    assert sent_fields(page)["unsafe_departments"] == "NI-LE"
    exclusions = {"unsafe_departments": "NI-LE", "excluded_organization_ids": OTHER_ID}
    for page in (
        post(client, **ENQUIRY_FORM, **exclusions, back="1")[1],
        post(client, need_code="", **exclusions)[1],
    ):
        assert {name: sent_fields(page)[name] for name in exclusions} == exclusions
    fakes.answers["PreviewEnquiry"] = e.EnquiryPreview()
    _, page, _ = post(client, **ENQUIRY_FORM, **exclusions)
    assert {name: sent_fields(page)[name] for name in exclusions} == exclusions, (
        "the answers are kept even if nobody is left to be asked"
    )


def test_the_question_about_unsafe_people_and_places_is_visible_and_needs_an_answer(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    form = client.get("/enquiries/new").text
    assert "<legend>¿Con quién o dónde no está a salvo?" in without_folded_parts(form)
    without_answer = {name: value for name, value in ENQUIRY_FORM.items() if name != "unsafe_code"}
    status, page, _ = post(client, **without_answer, sure="1")
    assert (status, 'id="unsafe_code-error"' in page) == (422, True)
    assert {name: sent_fields(page)[name] for name in without_answer} == without_answer
    without_names = ENQUIRY_FORM | {"unsafe_code": "named"}
    status, page, _ = post(client, **without_names)
    assert (status, "No preguntar a" in without_folded_parts(page)) == (200, True)
    status, page, _ = post(client, **without_names, sure="1")
    assert (
        status,
        'id="excluded_organization_ids-error"' in page,
        sent_fields(page)["department"],
    ) == (422, True, "NI-CI")
    assert fakes.requests("CreateEnquiry") == []
    status, _, _ = post(client, **ENQUIRY_FORM | {"unsafe_code": "not_alone"}, sure="1")
    assert (status, fakes.last("CreateEnquiry").unsafe_code) == (303, r.UNSAFE_ANSWER_NOT_ALONE)
    status, _, _ = post(
        client,
        **ENQUIRY_FORM,
        excluded_organization_ids=OTHER_ID,
        unsafe_departments="NI-LE",
        sure="1",
    )
    request = fakes.last("CreateEnquiry")
    assert (status, request.unsafe_code, list(request.unsafe_departments)) == (
        303,
        r.UNSAFE_ANSWER_NAMED,
        ["NI-LE"],
    )


def test_an_organisation_that_does_not_give_this_help_can_be_named_as_unsafe(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    clinic = d.Service(
        id=ID, organization_id="f" * 32, organization_name="Clínica San José", department="NI-LE"
    )
    fakes.answers["SearchServices"] = d.SearchServicesResponse(services=[clinic])
    # a typed name is searched for first
    for button in ({"unsafe_look": "1"}, {"sure": "1"}):
        status, page, _ = post(client, **ENQUIRY_FORM, **button, unsafe_search="san josé")
        assert (status, fakes.last("SearchServices").words) == (200, "san josé")
        assert f'name="excluded_organization_ids" value="{"f" * 32}"' in page
    assert fakes.requests("CreateEnquiry") == []
    fakes.add_organization("f" * 32, "Clínica San José")
    _, page, _ = post(client, **ENQUIRY_FORM, excluded_organization_ids="f" * 32)
    assert (sent_fields(page)["excluded_organization_ids"], "Clínica San José" in page) == (
        "f" * 32,
        True,
    )
    values = sent_fields(page) | {"sure": "1"}
    assert client.post("/enquiries/new", data=values).status_code == 303
    assert list(fakes.last("CreateEnquiry").excluded_organization_ids) == ["f" * 32]


@pytest.mark.parametrize(
    ("fitting_count", "asked_count", "has_more"), [(50, 50, False), (51, 50, True), (100, 50, True)]
)
def test_the_page_states_that_more_services_fit_than_one_enquiry_asks(
    fakes: FakePageServices,
    client: FlaskClient,
    fitting_count: int,
    asked_count: int,
    has_more: bool,
) -> None:
    services = [
        d.Service(id=f"{number:032x}", organization_id=OTHER_ID) for number in range(fitting_count)
    ]
    fakes.answers["MatchServices"] = d.MatchServicesResponse(
        matches=[d.Match(service=service, verdict=d.VERDICT_FITS) for service in services]
    )
    _, page, _ = post(client, **ENQUIRY_FORM)
    assert len(fakes.last("PreviewEnquiry").service_ids) == asked_count
    assert ("Encajan más servicios de los que caben en una consulta" in page) == has_more


def test_the_page_states_that_no_service_fits_and_has_no_button_to_ask(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["MatchServices"] = d.MatchServicesResponse()
    _, page, _ = post(client, **ENQUIRY_FORM)
    assert missing(page, "No hay a quién preguntar", "Preguntar ahora") == ["Preguntar ahora"]


def test_a_refusal_is_shown_on_the_form_and_nothing_is_lost(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["CreateEnquiry"] = errors.Conflict("too_many_enquiries")
    status, page, _ = post(client, **ENQUIRY_FORM, sure="1")
    assert (status, "demasiadas consultas" in page, sent_fields(page)["department"]) == (
        422,
        True,
        "NI-CI",
    )


def test_an_unavailable_service_is_reported_and_not_shown_as_a_broken_preview(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["PreviewEnquiry"] = errors.Unavailable("store_unavailable")
    assert post(client, **ENQUIRY_FORM)[0] == 503


def test_an_enquiry_that_is_less_urgent_than_its_contact_is_shown_again_with_the_question_why(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["CreateEnquiry"] = errors.Invalid(("urgency_reason_code", "required"))
    fields = {
        "need_code": "HOU.EMG",
        "urgency": "normal",
        "unsafe_code": "nothing",
        "contact_id": ID,
        "sure": "1",
    }
    status, page, _ = post(client, **fields)
    assert (status, missing(page, 'href="#urgency_reason_code"', 'value="normal" checked')) == (
        422,
        [],
    )
    fakes.answers["CreateEnquiry"] = e.Enquiry(id=ID)
    assert post(client, urgency_reason_code="safe_elsewhere", **fields)[0] == 303
    assert fakes.last("CreateEnquiry").urgency_reason_code == r.URGENCY_REASON_SAFE_ELSEWHERE
