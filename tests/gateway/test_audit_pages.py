"""The auditor's pages, with fake services."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from chassis import contract, errors
from protos.contract.v1 import contract_pb2
from protos.notifications.v1 import notifications_pb2 as n
from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import audit_pb2 as a
from protos.referrals.v1 import emergencies_pb2 as em
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.site.language import vocabulary
from tests.gateway.api_gateway import ID as OWN
from tests.gateway.pages_gateway import PlayedServices, enter, pages, signed_in, token_of
from tests.rights_table import services_of

ID = "a" * 32


@pytest.fixture
def played() -> PlayedServices:
    created = PlayedServices()
    created.answers["IssueToken"] = signed_in(contract_pb2.ROLE_AUDITOR)
    return created


@pytest.fixture
def client(played: PlayedServices) -> FlaskClient:
    return enter(pages(played).test_client())


def anomaly(**values: object) -> a.ListAnomaliesResponse:
    anomaly = a.Anomaly(
        id=ID,
        etag="v1",
        kind=a.ANOMALY_KIND_AT_NIGHT,
        worker_id=ID,
        day="2026-03-04",
        count=2,
        **values,  # type: ignore[arg-type]
    )
    return a.ListAnomaliesResponse(anomalies=[anomaly])


def test_a_waiting_anomaly_can_be_reviewed_with_an_explanation(
    client: FlaskClient, played: PlayedServices
) -> None:
    played.answers["ListAnomalies"] = anomaly(organization_id="b" * 32)
    page = client.get("/audit").text
    assert "Abrió expedientes de noche sin estar de turno" in page
    assert f"/audit/trail?actor_id={ID}&amp;organization_id={'b' * 32}&amp;day=2026-03-04" in page
    fields = {
        "form_token": token_of(page),
        "request_id": "b" * 32,
        "etag": "v1",
        "review_code": "mistake",
    }
    answer = client.post(f"/audit/anomalies/{ID}", data=fields)
    assert (answer.status_code, answer.location) == (303, "/audit?done=reviewed")
    assert played.last("ReviewAnomaly") == a.ReviewAnomalyRequest(
        id=ID, etag="v1", review_code=a.REVIEW_OUTCOME_MISTAKE, request_id="b" * 32
    )
    played.answers["ReviewAnomaly"] = errors.Invalid(("review_code", "required"))
    second_answer = client.post(
        f"/audit/anomalies/{ID}", data=fields | {"review_code": "", "request_id": "c" * 32}
    )
    assert second_answer.status_code == 422
    assert "diga qué fue" in second_answer.text


def test_a_trail_is_reported_as_whole_as_broken_or_as_not_yet_checked_to_its_end(
    client: FlaskClient, played: PlayedServices
) -> None:
    form = {"form_token": token_of(client.get("/audit").text), "request_id": "b" * 32}
    played.answers["VerifyTrail"] = a.VerifyTrailResponse(
        verified_sequence=12, last_sequence=12, witnessed=3
    )
    assert (
        "Está entero hasta la fila 12, la última." in client.post("/audit/verify", data=form).text
    )
    played.answers["VerifyTrail"] = a.VerifyTrailResponse(
        verified_sequence=12, last_sequence=20, next_page_token="further"
    )
    page = client.post("/audit/verify", data=form).text
    assert "Entero hasta la fila 12 de 20" in page
    client.post(
        "/audit/verify", data=form | {"page_token": "further", "form_token": token_of(page)}
    )
    assert played.last("VerifyTrail").page_token == "further"
    findings = [a.TrailFinding(sequence=7, fault=a.TRAIL_FAULT_MISSING)]
    played.answers["VerifyTrail"] = a.VerifyTrailResponse(
        verified_sequence=12, last_sequence=12, findings=findings
    )
    page = client.post("/audit/verify", data=form).text
    assert "No es el que era" in page
    assert "Fila 7: falta" in page


def test_the_trail_is_searched_by_the_typed_fields_and_an_invalid_id_is_not_requested(
    client: FlaskClient, played: PlayedServices
) -> None:
    row = a.TrailRow(
        sequence=9,
        actor_kind_code="worker",
        actor_id=ID,
        action_code="open_identity",
        object_id=ID,
        detail_codes=["identity"],
    )
    played.answers["ListTrail"] = a.ListTrailResponse(rows=[row], next_page_token="more")
    page = client.get(
        f"/audit/trail?object_id={ID}&action_code=open_identity&day=2026-03-04&refused=1"
    ).text
    request = played.last("ListTrail")
    assert (request.object_id, request.action_code, request.refused) == (ID, "open_identity", True)
    assert request.start_time.ToJsonString() == "2026-03-04T11:00:00Z", (
        "five in the morning in Managua"
    )
    assert request.end_time.ToJsonString() == "2026-03-05T11:00:00Z"
    assert all(
        text in page
        for text in ("Abrió datos sellados", "No se le permitió", "page=more", f"object_id={ID}")
    )
    row.action_code, row.reason_code = "get_person", "not_found"
    played.answers["ListTrail"] = a.ListTrailResponse(rows=[row])
    page = client.get("/audit/trail").text
    assert "Vio expedientes, sin los datos sellados" in page
    assert "no existe, o no es suyo" in page
    before = len(played.asked)
    assert "No hay nada así" in client.get("/audit/trail?object_id=Ximena").text
    assert "ListTrail" not in [rpc for rpc, _, _ in played.asked[before:]]


@pytest.mark.parametrize(
    ("day", "start", "end"),
    [
        ("2026-03-28", "2026-03-28T04:00:00Z", "2026-03-29T03:00:00Z"),
        ("2026-03-29", "2026-03-29T03:00:00Z", "2026-03-30T03:00:00Z"),
        ("2026-10-24", "2026-10-24T03:00:00Z", "2026-10-25T04:00:00Z"),
        ("2026-10-25", "2026-10-25T04:00:00Z", "2026-10-26T04:00:00Z"),
    ],
)
def test_a_day_of_the_trail_is_from_five_to_five_also_where_the_clocks_change(
    played: PlayedServices, day: str, start: str, end: str
) -> None:
    inside = signed_in(contract_pb2.ROLE_AUDITOR)
    inside.organization.country, inside.organization.department = "ES", ""
    played.answers["IssueToken"] = inside
    enter(pages(played).test_client()).get(f"/audit/trail?day={day}")
    request = played.last("ListTrail")
    assert (request.start_time.ToJsonString(), request.end_time.ToJsonString()) == (start, end)


def test_the_auditors_message_leads_to_the_page(
    client: FlaskClient, played: PlayedServices
) -> None:
    played.answers["ListMessages"] = n.ListMessagesResponse(
        messages=[n.Message(id=ID, kind="anomaly_noted", text="Algo")]
    )
    page = client.get("/inbox").text
    assert 'name="kind" value="anomaly_noted"' in page
    answer = client.post(
        f"/inbox/{ID}/read",
        data={"form_token": token_of(page), "request_id": "b" * 32, "kind": "anomaly_noted"},
    )
    assert (answer.status_code, answer.location) == (303, "/audit")


def emergency(**values: object) -> em.Emergency:
    fields: dict[str, Any] = {
        "id": ID, "etag": "v1", "referral_id": ID, "organization_id": "b" * 32,
        "file_organization_id": OWN, "worker_id": "c" * 32,
        "reason_code": r.OVERRIDE_REASON_LIFE_AT_RISK,
    }  # fmt: skip
    return em.Emergency(**fields | values)


def test_an_emergency_access_is_reviewed_by_the_files_holder_or_an_auditor_and_not_by_its_opener(
    played: PlayedServices,
) -> None:
    played.answers["GetEmergency"] = emergency(note="no respira bien", person_id=ID)
    for role, foreign, offered in (
        (contract_pb2.ROLE_WORKER, False, True),
        (contract_pb2.ROLE_WORKER, True, False),
        (contract_pb2.ROLE_COORDINATOR, True, False),
        (contract_pb2.ROLE_AUDITOR, True, True),
    ):
        played.answers["IssueToken"] = signed_in(role)
        played.answers["GetEmergency"] = emergency(
            **({"file_organization_id": "d" * 32} if foreign else {})
        )
        page = enter(pages(played).test_client()).get(f"/emergencies/{ID}").text
        assert ('name="review_code"' in page) is offered, role
    client = enter(pages(played).test_client())
    fields = {
        "form_token": token_of(client.get(f"/emergencies/{ID}").text),
        "request_id": "b" * 32,
        "etag": "v1",
        "review_code": "misuse",
    }
    answer = client.post(f"/emergencies/{ID}", data=fields)
    assert (answer.status_code, answer.location) == (303, f"/emergencies/{ID}?done=reviewed")
    assert played.last("ReviewEmergency").review_code == a.REVIEW_OUTCOME_MISUSE
    played.answers["ReviewEmergency"] = errors.Conflict("nothing_to_review")
    assert (
        "Alguien ya dijo qué fue."
        in client.post(f"/emergencies/{ID}", data=fields | {"request_id": "e" * 32}).text
    )


@pytest.mark.parametrize(
    ("role", "place"),
    [(contract_pb2.ROLE_WORKER, "/people"), (contract_pb2.ROLE_AUDITOR, "/audit")],
)
def test_an_emergency_access_is_reached_from_the_notice_about_it(
    played: PlayedServices, role: contract_pb2.Role.ValueType, place: str
) -> None:
    played.answers["IssueToken"] = signed_in(role)
    played.answers["ListMessages"] = n.ListMessagesResponse(
        messages=[n.Message(id=ID, kind="emergency_opened", text="Revíselo.")]
    )
    others = emergency(id="f" * 32, file_organization_id="d" * 32)
    played.answers["ListEmergencies"] = em.ListEmergenciesResponse(
        emergencies=[emergency(), others]
    )
    client = enter(pages(played).test_client())
    page = client.get("/inbox").text
    assert "Abrir" in page
    fields = {"form_token": token_of(page), "request_id": "b" * 32, "kind": "emergency_opened"}
    answer = client.post(f"/inbox/{ID}/read", data=fields)
    assert (answer.status_code, answer.location) == (303, place)
    page = client.get(place).text
    assert f"/emergencies/{ID}" in page
    assert (f"/emergencies/{others.id}" in page) is (place == "/audit"), (
        "accesses by her own colleagues to files elsewhere are reviewed by others"
    )


def test_a_worker_without_access_may_declare_an_emergency_and_then_opens_what_is_needed(
    played: PlayedServices,
) -> None:
    played.answers["IssueToken"] = signed_in(contract_pb2.ROLE_WORKER)
    played.answers["GetReferral"] = r.Referral(
        id=ID, person_id=ID, receipt_id=ID, live=True, side=r.SIDE_RECEIVER, need_code="HOU.EMG"
    )
    played.answers["GetReceipt"] = p.Receipt(id=ID)
    played.answers["ListEmergencies"] = em.ListEmergenciesResponse(
        emergencies=[emergency(live=True)]
    )
    client = enter(pages(played).test_client())
    page = client.get(f"/referrals/{ID}").text
    assert "Acceso de emergencia" in page, "a colleague's emergency access opens nothing for her"
    assert "Elegir qué abrir" not in page
    fields = {
        "form_token": token_of(page),
        "request_id": "b" * 32,
        "reason_code": "life_at_risk",
        "note": "no respira bien",
    }
    answer = client.post(f"/referrals/{ID}/emergency", data=fields)
    assert (answer.status_code, answer.location) == (303, f"/referrals/{ID}?done=emergency#person")
    assert played.last("OpenInEmergency").note == "no respira bien"
    played.answers["OpenInEmergency"] = errors.Conflict("review_owed")
    second_answer = client.post(
        f"/referrals/{ID}/emergency", data=fields | {"request_id": "e" * 32}
    )
    assert (
        second_answer.status_code,
        "Falta revisar un acceso de emergencia anterior" in second_answer.text,
        "no respira bien" in second_answer.text,
    ) == (
        422,
        True,
        True,
    )
    played.answers["ListEmergencies"] = em.ListEmergenciesResponse(
        emergencies=[emergency(live=True, worker_id=OWN)]
    )
    page = client.get(f"/referrals/{ID}").text
    assert "Elegir qué abrir" in page
    assert "Acceso de emergencia: se abre solo lo que hace falta" in page
    assert 'value="health"' in page
    assert 'value="exploitation"' not in page


def test_every_refusal_that_an_rpc_declares_has_a_word_on_the_trail() -> None:
    declared = {
        reason
        for service in services_of("referrals")
        for method in service.methods
        for reason in contract.rules(method).refusals
    }
    assert "reference_or_pin_wrong" in declared
    assert sorted(declared - vocabulary.TABLES["trail_reason"].keys()) == []


@pytest.mark.parametrize(
    ("organization_id", "start"), [("b" * 32, "2026-03-04T04:00:00Z"), ("", "2026-03-04T11:00:00Z")]
)
def test_a_day_of_the_trail_of_an_organisation_is_a_day_of_its_place(
    organization_id: str, start: str, played: PlayedServices
) -> None:
    played.answers["BatchGet"] = d.BatchGetResponse(
        organizations=[d.Organization(id="b" * 32, country="ES")]
    )
    client = enter(pages(played).test_client())
    client.get(f"/audit/trail?organization_id={organization_id}&day=2026-03-04")
    assert played.last("ListTrail").start_time.ToJsonString() == start
