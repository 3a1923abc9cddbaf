"""The auditor's pages, with fake services."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from google.protobuf.timestamp_pb2 import Timestamp

from chassis import contract, errors
from protos.contract.v1 import contract_pb2
from protos.notifications.v1 import notifications_pb2 as n
from protos.partners.v1 import directory_pb2 as d
from protos.referrals.v1 import audit_pb2 as a
from protos.referrals.v1 import emergencies_pb2 as em
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.site.language import vocabulary
from tests.gateway.api_gateway import ID as OWN_ID
from tests.gateway.pages_gateway import (
    FakePageServices,
    enter,
    missing,
    pages,
    signed_in,
    signed_in_as,
    submit,
)
from tests.rights_table import services_of

ID = "a" * 32


@pytest.fixture
def fakes() -> FakePageServices:
    return FakePageServices({"IssueToken": signed_in(contract_pb2.ROLE_AUDITOR)})


def test_a_waiting_anomaly_can_be_reviewed_with_an_explanation(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    anomaly = a.Anomaly(
        id=ID,
        etag="v1",
        kind=a.ANOMALY_KIND_AT_NIGHT,
        worker_id=ID,
        day="2026-03-04",
        count=2,
        organization_id="b" * 32,
    )
    fakes.answers["ListAnomalies"] = a.ListAnomaliesResponse(anomalies=[anomaly])
    page = client.get("/audit").text
    assert (
        missing(
            page,
            "Abrió expedientes de noche sin estar de turno",
            f"/audit/trail?actor_id={ID}&amp;organization_id={'b' * 32}&amp;day=2026-03-04",
        )
        == []
    )
    path = f"/audit/anomalies/{ID}"
    answer = submit(client, path, page, etag="v1", review_code="mistake")
    assert (answer.status_code, answer.location) == (303, "/audit?done=reviewed")
    assert fakes.last("ReviewAnomaly") == a.ReviewAnomalyRequest(
        id=ID, etag="v1", review_code=a.REVIEW_OUTCOME_MISTAKE, request_id="one"
    )
    fakes.answers["ReviewAnomaly"] = errors.Invalid(("review_code", "required"))
    refusal = submit(client, path, page, etag="v1", review_code="")
    assert (refusal.status_code, "diga qué fue" in refusal.text) == (422, True)


def test_a_check_of_the_trail_reports_an_intact_a_broken_or_a_partly_checked_trail(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    form = client.get("/audit").text
    fakes.answers["VerifyTrail"] = a.VerifyTrailResponse(
        verified_sequence=12, last_sequence=12, witnessed=3
    )
    assert "Está entero hasta la fila 12, la última." in submit(client, "/audit/verify", form).text
    findings = [a.TrailFinding(sequence=7, fault=a.TRAIL_FAULT_MISSING)]
    fakes.answers["VerifyTrail"] = a.VerifyTrailResponse(
        verified_sequence=12, last_sequence=12, findings=findings
    )
    broken_page = submit(client, "/audit/verify", form).text
    assert missing(broken_page, "No es el que era", "Fila 7: falta") == []
    fakes.answers["VerifyTrail"] = a.VerifyTrailResponse(
        verified_sequence=12, last_sequence=20, next_page_token="further"
    )
    unfinished_page = submit(client, "/audit/verify", form).text
    assert "Entero hasta la fila 12 de 20" in unfinished_page
    submit(client, "/audit/verify", unfinished_page, page_token="further")
    assert fakes.last("VerifyTrail").page_token == "further"


def test_the_trail_is_searched_by_the_typed_fields_and_an_invalid_id_is_not_requested(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    row = a.TrailRow(
        sequence=9,
        actor_kind_code="worker",
        actor_id=ID,
        action_code="open_identity",
        object_id=ID,
        detail_codes=["identity"],
    )
    fakes.answers["ListTrail"] = a.ListTrailResponse(rows=[row], next_page_token="more")
    page = client.get(
        f"/audit/trail?object_id={ID}&action_code=open_identity&day=2026-03-04&refused=1"
    ).text
    request = fakes.last("ListTrail")
    assert (request.object_id, request.action_code, request.refused) == (ID, "open_identity", True)
    # a day in Managua, from five in the morning to five in the morning
    assert times(request) == ("2026-03-04T11:00:00Z", "2026-03-05T11:00:00Z")
    texts = ("Abrió datos sellados", "No se le permitió", "page=more", f"object_id={ID}")
    assert missing(page, *texts) == []
    row.action_code, row.reason_code = "get_person", "not_found"
    fakes.answers["ListTrail"] = a.ListTrailResponse(rows=[row])
    expected = ("Vio expedientes, sin los datos sellados", "no existe, o no es suyo")
    assert missing(client.get("/audit/trail").text, *expected) == []
    fakes.calls.clear()
    assert "No hay nada así" in client.get("/audit/trail?object_id=Ximena").text
    assert "ListTrail" not in [rpc for rpc, _, _ in fakes.calls]


def times(request: a.ListTrailRequest) -> tuple[str, str]:
    """Returns the start and the end of the requested part of the trail."""
    return request.start_time.ToJsonString(), request.end_time.ToJsonString()


@pytest.mark.parametrize(
    ("day", "start", "end"),
    [
        ("2026-03-28", "2026-03-28T04:00:00Z", "2026-03-29T03:00:00Z"),
        ("2026-03-29", "2026-03-29T03:00:00Z", "2026-03-30T03:00:00Z"),
        ("2026-10-24", "2026-10-24T03:00:00Z", "2026-10-25T04:00:00Z"),
        ("2026-10-25", "2026-10-25T04:00:00Z", "2026-10-26T04:00:00Z"),
    ],
)
def test_a_day_of_the_trail_lasts_from_five_to_five_in_the_morning_even_when_the_clocks_change(
    fakes: FakePageServices, day: str, start: str, end: str
) -> None:
    session = signed_in(contract_pb2.ROLE_AUDITOR)
    session.organization.country, session.organization.department = "ES", ""
    fakes.answers["IssueToken"] = session
    enter(pages(fakes).test_client()).get(f"/audit/trail?day={day}")
    assert times(fakes.last("ListTrail")) == (start, end)


def test_the_auditor_reads_what_the_trail_leaves_out(client: FlaskClient) -> None:
    page = client.get("/audit").text
    assert missing(page, "De las personas atendidas hay solo códigos", "lo comprueba quien") == []
    assert "Lo de cuentas, miembros y directorio está en otro registro" in (
        client.get("/audit/trail").text
    )


def open_message(client: FlaskClient, fakes: FakePageServices, kind: str) -> tuple[int, str | None]:
    """Reads a message of this kind in the inbox; returns the status and the address of its page."""
    fakes.answers["ListMessages"] = n.ListMessagesResponse(
        messages=[n.Message(id=ID, kind=kind, text="Algo")]
    )
    page = client.get("/inbox").text
    assert missing(page, f'name="kind" value="{kind}"', "Abrir") == []
    answer = submit(client, f"/inbox/{ID}/read", page, kind=kind)
    return answer.status_code, answer.location


@pytest.mark.parametrize(
    ("role", "page"),
    [
        (contract_pb2.ROLE_AUDITOR, "/audit"),
        (contract_pb2.ROLE_COORDINATOR, "/network/roles"),
    ],
)
def test_the_message_about_unusual_accesses_leads_to_a_page_that_its_reader_may_open(
    fakes: FakePageServices, role: contract_pb2.Role.ValueType, page: str
) -> None:
    reader = signed_in_as(fakes, role)
    assert open_message(reader, fakes, "anomaly_noted") == (303, page)


def emergency(**values: object) -> em.Emergency:
    """Returns an access of another organisation's worker to a file of the reader's organisation."""
    fields: dict[str, Any] = {
        "id": ID,
        "etag": "v1",
        "referral_id": ID,
        "organization_id": "b" * 32,
        "file_organization_id": OWN_ID,
        "worker_id": "c" * 32,
        "reason_code": r.OVERRIDE_REASON_LIFE_AT_RISK,
    }
    return em.Emergency(**fields | values)


def test_an_emergency_access_is_reviewed_by_the_files_organisation_or_an_auditor_alone(
    fakes: FakePageServices,
) -> None:
    path = f"/emergencies/{ID}"
    for role, holder, has_form in (
        (contract_pb2.ROLE_WORKER, OWN_ID, True),
        (contract_pb2.ROLE_WORKER, "d" * 32, False),
        (contract_pb2.ROLE_COORDINATOR, "d" * 32, False),
        (contract_pb2.ROLE_AUDITOR, "d" * 32, True),
    ):
        fakes.answers["GetEmergency"] = emergency(file_organization_id=holder)
        client = signed_in_as(fakes, role)
        page = client.get(path).text
        assert ('name="review_code"' in page) is has_form, role
    answer = submit(client, path, page, etag="v1", review_code="misuse")
    assert (answer.status_code, answer.location) == (303, f"/emergencies/{ID}?done=reviewed")
    assert fakes.last("ReviewEmergency").review_code == a.REVIEW_OUTCOME_MISUSE
    fakes.answers["ReviewEmergency"] = errors.Conflict("nothing_to_review")
    refused_page = submit(client, path, page, etag="v1", review_code="misuse").text
    assert "Alguien ya dijo qué fue." in refused_page


def test_readers_who_cannot_review_an_emergency_access_are_told_who_can(
    fakes: FakePageServices,
) -> None:
    worker, coordinator = contract_pb2.ROLE_WORKER, contract_pb2.ROLE_COORDINATOR
    other_file = {"file_organization_id": "d" * 32}
    for role, fields, has_form, is_told in (
        (coordinator, other_file, False, True),
        (coordinator, {}, False, True),
        (worker, other_file | {"organization_id": OWN_ID}, False, True),
        (worker, {}, True, False),
        (contract_pb2.ROLE_AUDITOR, other_file, True, False),
        (coordinator, other_file | {"review_time": Timestamp(seconds=1)}, False, False),
    ):
        fakes.answers["GetEmergency"] = emergency(**fields)
        page = signed_in_as(fakes, role).get(f"/emergencies/{ID}").text
        assert (
            'name="review_code"' in page,
            "que lleva el expediente, o la auditoría" in page,
        ) == (has_form, is_told), (role, fields)


@pytest.mark.parametrize(
    ("role", "place"),
    [(contract_pb2.ROLE_WORKER, "/people"), (contract_pb2.ROLE_AUDITOR, "/audit")],
)
def test_an_emergency_access_is_reached_from_the_notice_about_it(
    fakes: FakePageServices, role: contract_pb2.Role.ValueType, place: str
) -> None:
    fakes.answers["IssueToken"] = signed_in(role)
    other_access = emergency(id="f" * 32, file_organization_id="d" * 32)
    fakes.answers["ListEmergencies"] = em.ListEmergenciesResponse(
        emergencies=[emergency(), other_access]
    )
    client = enter(pages(fakes).test_client())
    assert open_message(client, fakes, "emergency_opened") == (303, place)
    page = client.get(place).text
    assert f"/emergencies/{ID}" in page
    assert (f"/emergencies/{other_access.id}" in page) is (place == "/audit"), (
        "other organisations review accesses to their files"
    )


def test_a_worker_without_access_may_declare_an_emergency_and_then_opens_the_needed_data(
    fakes: FakePageServices,
) -> None:
    fakes.answers |= {
        "IssueToken": signed_in(contract_pb2.ROLE_WORKER),
        "GetReferral": r.Referral(
            id=ID, person_id=ID, receipt_id=ID, live=True, side=r.SIDE_RECEIVER, need_code="HOU.EMG"
        ),
        "GetReceipt": p.Receipt(id=ID),
        "ListEmergencies": em.ListEmergenciesResponse(emergencies=[emergency(live=True)]),
    }
    client = enter(pages(fakes).test_client())
    page = client.get(f"/referrals/{ID}").text
    # a colleague's emergency access opens nothing for her
    assert missing(page, "Acceso de emergencia", "Elegir qué abrir") == ["Elegir qué abrir"]
    path = f"/referrals/{ID}/emergency"
    fields = {"reason_code": "life_at_risk", "note": "no respira bien"}
    answer = submit(client, path, page, **fields)
    assert (answer.status_code, answer.location) == (303, f"/referrals/{ID}?done=emergency#person")
    assert fakes.last("OpenInEmergency").note == "no respira bien"
    fakes.answers["OpenInEmergency"] = errors.Conflict("review_owed")
    refusal = submit(client, path, page, **fields)
    texts = ("Falta revisar un acceso de emergencia anterior", "no respira bien")
    assert (refusal.status_code, missing(refusal.text, *texts)) == (422, [])
    fakes.answers["ListEmergencies"] = em.ListEmergenciesResponse(
        emergencies=[emergency(live=True, worker_id=OWN_ID)]
    )
    open_form = (
        "Elegir qué abrir",
        "Acceso de emergencia: se abre solo lo que hace falta",
        'value="health"',
        'value="exploitation"',
    )
    page = client.get(f"/referrals/{ID}").text
    assert missing(page, *open_form) == ['value="exploitation"']


def test_every_refusal_that_an_rpc_declares_has_a_word_on_the_trail() -> None:
    reasons = {
        reason
        for service in services_of("referrals")
        for method in service.methods
        for reason in contract.rules(method).refusals
    }
    assert "reference_or_pin_wrong" in reasons
    assert sorted(reasons - vocabulary.TABLES["trail_reason"].keys()) == []


@pytest.mark.parametrize(
    ("organization_id", "start"), [("b" * 32, "2026-03-04T04:00:00Z"), ("", "2026-03-04T11:00:00Z")]
)
def test_a_day_of_an_organisations_trail_is_a_day_in_its_time_zone(
    organization_id: str, start: str, fakes: FakePageServices
) -> None:
    fakes.answers["BatchGet"] = d.BatchGetResponse(
        organizations=[d.Organization(id="b" * 32, country="ES")]
    )
    client = enter(pages(fakes).test_client())
    client.get(f"/audit/trail?organization_id={organization_id}&day=2026-03-04")
    assert fakes.last("ListTrail").start_time.ToJsonString() == start
