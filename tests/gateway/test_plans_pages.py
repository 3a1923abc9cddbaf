"""The pages of pathways and plans, with fake services.

The tests check the requests that a form sends, and that a refusal is shown at its field.
"""

import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import Browser
from werkzeug.test import TestResponse

from chassis import errors
from protos.contract.v1 import contract_pb2
from protos.referrals.v1 import people_pb2
from protos.referrals.v1 import plans_pb2 as pb
from protos.referrals.v1 import referrals_pb2 as r
from tests.gateway.api_gateway import ID, FakeServices, System, app_with
from tests.gateway.pages_gateway import (
    FakePageServices,
    missing,
    pages,
    referral,
    served,
    signed_in_as,
    token_of,
)
from tests.gateway.test_pages_in_browser import faults_of

PLAN = f"/plans/{ID}"
NAMES = {"es": "Refugio", "en": "Shelter", "fr": "Refuge"}


def plan(*steps: pb.PlanStep, latest_version: int = 1) -> pb.Plan:
    """Returns a plan whose pathway has these steps."""
    pathway = pb.StandardPathway(
        id="test",
        version=1,
        names={"es": "Ruta", "en": "Path", "fr": "Parcours"},
        steps=[
            pb.PathwayStep(
                key=step.key,
                names={**NAMES, "es": f"Paso {step.key}"},
                need_code="HOU.EMG",
                role_code=pb.PLAN_ROLE_SHELTER,
            )
            for step in steps
        ],
    )
    return pb.Plan(
        id=ID, etag="v3", person_id=ID, pathway=pathway, steps=steps, latest_version=latest_version
    )


def step(key: str, state: Any = pb.PLAN_STEP_STATE_OPEN, **values: Any) -> pb.PlanStep:
    return pb.PlanStep(key=key, state=state, **values)


@pytest.fixture
def fakes() -> FakePageServices:
    return FakePageServices(
        {
            "GetPlan": plan(step("a"), step("b", waits_for_keys=["a"])),
            "ListReferrals": r.ListReferralsResponse(),
        }
    )


def send(client: FlaskClient, path: str, **form: str) -> TestResponse:
    """Sends a form of the plan in its version v3."""
    token = token_of(client.get(PLAN).text)
    return client.post(path, data={"form_token": token, "request_id": "one", "etag": "v3", **form})


def test_a_waiting_step_names_the_earlier_step_and_can_be_neither_referred_nor_met(
    client: FlaskClient,
) -> None:
    page = client.get(PLAN).text
    assert missing(page, "Antes: Paso a", f"{PLAN}/refer/a", f"{PLAN}/refer/b") == [
        f"{PLAN}/refer/b"
    ]
    assert page.count('name="state" value="met"') == 2, (
        "the button and the choice of the first step"
    )


def test_the_next_step_is_on_top_and_resolved_steps_are_folded_below_with_their_numbers(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers["GetPlan"] = plan(
        step("a", pb.PLAN_STEP_STATE_MET), step("b"), step("c", pb.PLAN_STEP_STATE_NOT_NEEDED)
    )
    page = client.get(PLAN).text
    titles = [f"{number}. Paso {key}" for number, key in ((2, "b"), (1, "a"), (3, "c"))]
    assert re.findall(r"\d\. Paso \w", page) == titles
    assert page.index(titles[0]) < page.index("2 pasos resueltos</summary>") < page.index(titles[1])
    fakes.answers["UpdatePlanStep"] = errors.Invalid(("reason_code", "required"))
    answer = send(client, f"{PLAN}/steps/a", state="not_needed").text
    assert '<details class="group" open><summary>2 pasos' in answer, (
        "the group with the refused form is open"
    )


def test_a_steps_form_sends_the_service_only_the_fields_that_belong_to_its_state(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    answer = send(client, f"{PLAN}/steps/a", state="met", reason_code="has_it", referral_id=ID)
    assert (answer.status_code, answer.location) == (303, f"{PLAN}?done=saved#a")
    request = fakes.last("UpdatePlanStep")
    assert (request.step_key, request.etag, request.state) == ("a", "v3", pb.PLAN_STEP_STATE_MET)
    assert (request.reason_code, request.referral_id, request.request_id) == (0, "", "one")
    send(client, f"{PLAN}/steps/a", state="not_needed", reason_code="has_it")
    assert fakes.last("UpdatePlanStep").reason_code == pb.SKIP_REASON_HAS_IT


def test_a_refusal_is_shown_at_its_step_and_the_choice_stays(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers["UpdatePlanStep"] = errors.Invalid(("reason_code", "required"))
    answer = send(client, f"{PLAN}/steps/a", state="not_needed")
    assert (
        answer.status_code,
        missing(answer.text, 'href="#a-reason_code"', 'value="not_needed" checked'),
    ) == (422, [])
    fakes.answers["UpdatePlanStep"] = errors.Conflict("step_waits", "a")
    assert "Antes falta otro paso" in send(client, f"{PLAN}/steps/b", state="met").text


def test_the_problem_of_the_rest_api_names_the_steps() -> None:
    refusal = errors.Conflict("step_waits", "reception", "first_aid")
    system = System(app_with(FakeServices({"UpdatePlanStep": refusal})).test_client())
    answer = system.post(f"{PLAN}/steps/family", {"state": "met"}, If_Match='"v3"')
    assert (answer.status_code, answer.json["reason"], answer.json["about"]) == (
        409,
        "step_waits",
        ["reception", "first_aid"],
    )


def test_referring_a_step_makes_a_draft_for_the_person_with_the_need_of_the_step(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers["CreateReferral"] = r.Referral(id=ID)
    answer = send(client, f"{PLAN}/refer/a")
    assert (answer.status_code, answer.location) == (303, f"/referrals/{ID}/draft")
    draft = fakes.last("CreateReferral")
    assert (draft.person_id, draft.need_code) == (ID, "HOU.EMG")
    request = fakes.last("UpdatePlanStep")
    assert (request.referral_id, request.state, request.etag) == (
        ID,
        pb.PLAN_STEP_STATE_REFERRED,
        "v3",
    )
    assert request.request_id not in ("", "one")


def test_a_step_that_a_colleague_changed_in_the_meantime_gets_no_second_draft(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    answer = send(client, f"{PLAN}/refer/a", etag="v2")
    assert (answer.status_code, "Alguien lo cambió mientras tanto" in answer.text) == (409, True)
    fakes.answers["GetPlan"] = plan(step("a", pb.PLAN_STEP_STATE_REFERRED, referral_id="f" * 32))
    answer = send(client, f"{PLAN}/refer/a", etag="v2")
    assert (answer.status_code, answer.location) == (303, f"/referrals/{'f' * 32}/draft")
    assert fakes.requests("CreateReferral") == []


def test_referring_a_step_again_makes_a_draft_that_follows_the_referral_that_ended(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers |= {
        "GetPlan": plan(step("a", referral_id="f" * 32)),
        "GetReferral": r.Referral(id="f" * 32),
    }
    send(client, f"{PLAN}/refer/a")
    assert fakes.last("CreateReferral").based_on_id == "f" * 32


def test_a_step_offers_the_referrals_with_its_own_need_first(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    referrals = [
        referral(id=digit * 32, state=r.STATE_SENT, live=True, need_code=need_code)
        for digit, need_code in (("1", "MED.PRI"), ("2", "HOU.EMG"))
    ]
    fakes.answers["ListReferrals"] = r.ListReferralsResponse(referrals=referrals)
    page = client.get(PLAN).text
    assert 0 < page.index('value="' + "2" * 32) < page.index('value="' + "1" * 32)


def test_a_plan_says_that_there_is_a_newer_version_and_moves_to_it_on_request(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    assert "Pasar a la versión" not in client.get(PLAN).text
    fakes.answers["GetPlan"] = plan(step("a"), latest_version=2)
    assert "Pasar a la versión 2" in client.get(PLAN).text
    assert send(client, f"{PLAN}/move", version="2").status_code == 303
    request = fakes.last("MovePlan")
    assert (request.version, request.etag) == (2, "v3")


def test_a_plan_moves_to_a_version_for_another_age_only_when_that_is_acknowledged(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers["GetPlan"] = plan(step("a"), latest_version=2)
    assert "acknowledged_codes" not in client.get(PLAN).text
    fakes.answers["MovePlan"] = errors.Conflict("age_not_taken")
    refused_answer = send(client, f"{PLAN}/move", version="2")
    assert (refused_answer.status_code, 'value="age_not_taken"' in refused_answer.text) == (
        422,
        True,
    )
    send(client, f"{PLAN}/move", version="2", acknowledged_codes="age_not_taken")
    assert list(fakes.last("MovePlan").acknowledged_codes) == [r.ACKNOWLEDGEMENT_AGE_NOT_TAKEN]


def test_a_plan_is_begun_from_the_file_and_a_refusal_is_shown_there(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    answer = send(client, f"/people/{ID}/plans", pathway_id="child")
    assert answer.location == f"{PLAN}?done=plan_begun"
    request = fakes.last("CreatePlan")
    assert (request.pathway_id, request.HasField("start_time")) == ("child", False)
    fakes.answers["CreatePlan"] = errors.Conflict("plan_exists")
    answer = send(client, f"/people/{ID}/plans", pathway_id="child", start_time="2026-03-04T08:00")
    assert (answer.status_code, "Ya tiene un plan con esta ruta" in answer.text) == (422, True)
    assert fakes.last("CreatePlan").start_time.ToDatetime().hour == 14, "in the zone of the reader"


def test_a_plan_for_another_age_is_begun_only_when_that_is_acknowledged(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers |= {
        "GetPerson": people_pb2.Person(id=ID, organization_id=ID),
        "CreatePlan": errors.Conflict("age_not_taken"),
    }
    answer = send(client, f"/people/{ID}/plans", pathway_id="child", start_time="2026-03-04T08:00")
    assert (answer.status_code, 'value="2026-03-04T08:00"' in answer.text) == (422, True)
    assert 'name="acknowledged_codes" value="age_not_taken"' in answer.text
    assert "marque en «Lo que ya se sabe» por qué sí" in answer.text
    assert "alguien de ahí" not in answer.text, "a pathway has no staff who could be asked"
    fakes.answers["CreatePlan"] = plan(step("a"))
    fields = {"pathway_id": "child", "acknowledged_codes": "age_not_taken"}
    assert send(client, f"/people/{ID}/plans", **fields).status_code == 303
    assert list(fakes.last("CreatePlan").acknowledged_codes) == [r.ACKNOWLEDGEMENT_AGE_NOT_TAKEN]


def test_a_coordinator_edits_the_text_as_the_next_version_and_errors_name_their_lines(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers["GetPathway"] = pb.StandardPathway(
        id="child", version=3, text="id: child\nversion: 3\nsteps: []\n"
    )
    page = client.get("/pathways/publish?pathway=child").text
    assert "id: child\nversion: 4\nsteps: []" in page
    fakes.answers["PublishPathway"] = errors.Invalid(
        ("text.10", "cycle"),
        ("text.2", "unknown_code"),
        ("text.99", "required"),
        ("text.3.role", "required"),
        ("text.7", "too_short"),
        ("text.8", "required"),
    )
    text = "\r\n".join(["a", "need: <b>"] + ["x"] * 7 + ["key: c"])
    data = {"form_token": token_of(page), "request_id": "1"}
    answer = client.post("/pathways/publish", data={**data, "text": text})
    assert answer.status_code == 422
    expected = (
        "Línea 2: ese código no existe. «need: &lt;b&gt;»",
        "Línea 3: falta la palabra «role». «x»",
        "Línea 7: hace falta al menos un paso.",
        "Línea 8: una llegada espera a la salida",
        "Línea 10: este paso termina",
        "key: c</textarea>",
    )
    assert missing(answer.text, *expected) == []
    assert answer.text.index(expected[0]) < answer.text.index(expected[4])
    assert "falta algo" not in answer.text
    assert fakes.last("PublishPathway").text == text.replace("\r\n", "\n"), (
        "page and service count lines in the same way"
    )
    fakes.answers["PublishPathway"] = pb.StandardPathway(id="child")
    answer = client.post("/pathways/publish", data={**data, "text": "id: child"})
    assert (answer.status_code, answer.location) == (303, "/pathways/child?done=published")


def test_the_empty_form_of_a_pathway_says_where_an_example_is(fakes: FakePageServices) -> None:
    client = signed_in_as(fakes, contract_pb2.ROLE_COORDINATOR)
    fakes.answers["GetPathway"] = pb.StandardPathway(id="child", version=3, text="id: child")
    hint = "abra una ruta que ya existe y pulse «Publicar otra versión»"
    assert hint in client.get("/pathways/publish").text
    assert hint not in client.get("/pathways/publish?pathway=child").text


def test_only_coordinators_publish_pathways(fakes: FakePageServices) -> None:
    client = signed_in_as(fakes, contract_pb2.ROLE_WORKER)
    assert client.get("/pathways/publish").status_code == 404
    page = client.get("/pathways").text
    assert missing(page, "/pathways/publish", "/pathways/compliance") == ["/pathways/publish"]


def test_counts_that_are_not_published_are_shown_as_less_than_ten(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    hidden_counts = pb.ComplianceStep(
        key="a", met=10, on_time=-1, late=-1, skipped=[r.Figure(code="refused_by_person", count=-1)]
    )
    group = pb.ComplianceGroup(
        pathway_id="test", version=1, department="NI-CI", plans=15, steps=[hidden_counts]
    )
    fakes.answers |= {
        "GetCompliance": pb.Compliance(network=True, groups=[group]),
        "GetPathway": plan(step("a")).pathway,
    }
    page = client.get("/pathways/compliance").text
    assert missing(page, "&lt;10 ella no lo quiso", "15 planes") == []
    fakes.answers["GetCompliance"] = pb.Compliance(network=True)
    assert "diez planes o más" in client.get("/pathways/compliance").text


def test_late_steps_are_shown_on_today_to_workers_and_not_to_coordinators(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    late_step = pb.LateStep(
        plan_id=ID,
        person_id=ID,
        person_code="7QK4M2",
        key="a",
        names=NAMES,
        state=pb.PLAN_STEP_STATE_OPEN,
    )
    fakes.answers["ListLateSteps"] = pb.ListLateStepsResponse(steps=[late_step])
    page = client.get("/today").text
    assert missing(page, "Pasos atrasados", f"{PLAN}#a") == []
    assert (
        "Pasos atrasados"
        not in signed_in_as(fakes, contract_pb2.ROLE_COORDINATOR).get("/today").text
    )


def test_axe_finds_nothing_on_a_plan_with_steps_in_every_state_and_nothing_overflows(
    browser: Browser, fakes: FakePageServices
) -> None:
    steps = [
        step(f"s{state}", state, waits_for_keys=["open"] if state == 2 else [])
        for state in range(1, 6)
    ]
    steps[3].reason_code = pb.SKIP_REASON_HAS_IT
    steps[0].late = True
    fakes.answers["GetPlan"] = plan(*steps, latest_version=2)
    page_paths = [
        PLAN,
        f"/people/{ID}",
        "/pathways",
        f"/pathways/{ID}",
        "/pathways/publish",
        "/pathways/compliance",
        "/today",
    ]
    with served(pages(fakes)) as site:
        assert faults_of(browser, site, page_paths, as_user=True) == []


@pytest.mark.parametrize("refusal", [errors.Stale(), errors.Conflict("illegal_transition")])
def test_a_draft_that_the_step_does_not_take_is_discarded(
    refusal: errors.Refusal, client: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers |= {
        "CreateReferral": r.Referral(id="e" * 32, etag="v1"),
        "UpdatePlanStep": refusal,
    }
    assert send(client, f"/plans/{ID}/refer/a").status_code in (409, 422)
    discarded = fakes.last("EnterReferralInError")
    assert (discarded.id, discarded.etag) == ("e" * 32, "v1")
    assert discarded.request_id not in ("", fakes.last("CreateReferral").request_id)


@pytest.mark.parametrize("refusal", [None, errors.Stale()])
def test_a_step_takes_the_draft_that_was_begun_in_place_of_its_referral(
    refusal: errors.Refusal | None, client: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers |= {
        "GetPlan": plan(step("a", referral_id="f" * 32)),
        "GetReferral": r.Referral(
            id="e" * 32, following_id="e" * 32, state=r.STATE_DRAFT, need_code="HOU.EMG"
        ),
    }
    if refusal:
        fakes.answers["UpdatePlanStep"] = refusal
    answer = send(client, f"{PLAN}/refer/a")
    assert (answer.status_code, answer.location) == (
        (409, None) if refusal else (303, f"/referrals/{'e' * 32}/draft")
    )
    assert fakes.last("UpdatePlanStep").referral_id == "e" * 32
    assert fakes.requests("CreateReferral") + fakes.requests("EnterReferralInError") == []


def test_the_stages_of_a_journey_lead_to_their_referrals_and_to_the_plan_of_the_next_one(
    fakes: FakePageServices,
) -> None:
    other_id = "b" * 32
    legs = [
        r.Leg(key="travel", names=NAMES, referral_id=ID, state=r.STATE_ACCEPTED),
        r.Leg(key="reception", names=NAMES, referral_id=other_id, state=r.STATE_SENT),
        r.Leg(key="housing", names=NAMES, acting_organization_id=ID),  # nobody is asked yet
    ]
    fakes.answers["GetReferral"] = referral(side=r.SIDE_SENDER, person_id=ID, legs=legs)
    page = signed_in_as(fakes, contract_pb2.ROLE_WORKER).get(f"/referrals/{ID}").text
    journey = page[page.index("El viaje por etapas") :]
    links = re.findall(r'<a href="([^"]+)"', journey[: journey.index("</section>")])
    assert links == [f"/referrals/{other_id}", f"/people/{ID}#plans"]
