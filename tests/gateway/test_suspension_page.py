"""The page on which a coordinator ends a member's access.

It shows the effects and the reason, and that a second coordinator is needed.
"""

from typing import Any

import pytest
from flask.testing import FlaskClient
from google.protobuf.timestamp_pb2 import Timestamp

from chassis import errors
from protos.contract.v1 import contract_pb2
from protos.notifications.v1 import notifications_pb2 as n
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import members_pb2 as m
from protos.referrals.v1 import referrals_pb2 as r
from tests.gateway.pages_gateway import ID, FakePageServices, missing, send, signed_in, signed_in_as

OTHER_ID = "b" * 32
PAGE = f"/directory/organizations/{OTHER_ID}/suspension"
TIME = Timestamp(seconds=1_774_000_000)


@pytest.fixture
def fakes() -> FakePageServices:
    return FakePageServices(
        {
            "IssueToken": signed_in(contract_pb2.ROLE_COORDINATOR),
            "GetOrganization": member(),
            "CountMemberAccess": d.MemberAccess(
                worker_count=7,
                api_key_count=2,
                service_count=3,
                invitation_count=1,
                most_people_inside=10,
                has_second_coordinator=True,
            ),
            "CountMemberWork": r.MemberWork(
                received_count=4,
                sent_count=5,
                due_count=2,
                asking_count=1,
                asked_count=6,
                most_people=15,
                most_plans=5,
            ),
            "CountMemberWebhooks": n.MemberWebhooks(webhook_count=8),
        }
    )


def member(
    status: d.OrganizationStatus.ValueType = d.ORGANIZATION_STATUS_APPROVED, **fields: Any
) -> d.Organization:
    """Returns the member of the page."""
    return d.Organization(
        id=OTHER_ID,
        etag="v7",
        status=status,
        name="Casa Luna",
        country="NI",
        agreement_expire_date="2027-03-31",
        **fields,
    )


def suspension(by: str, *, waits: bool = True) -> d.Suspension:
    """Returns a suspension that this coordinator proposed; it may wait for a second one."""
    return d.Suspension(
        reason=d.SUSPENSION_REASON_FRONT,
        worker_id=by,
        time=TIME,
        expire_time=TIME if waits else None,
        second_worker_id="" if waits else ID,
    )


def test_the_page_states_the_effects_of_a_suspension_beforehand(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetOrganization"] = member(hotline_number="133")
    page = client.get(PAGE).text
    expected = (
        "<b>133</b>: deja de salir en la página pública.",
        "7 personas dejan de entrar",
        "1 invitación no se puede aceptar",
        "2 claves dejan de servir",
        "a 8 direcciones no se les avisa nada",
        "3 servicios no se encuentran",
        "Hasta 10 personas que llevó la red ocupaban un lugar",
        "puede haber otras",
        "4 que recibió",
        "5 que envió",
        "2 vencen hoy o ya vencieron",
        "1 suya abierta",
        "6 que esperan su respuesta",
        "Hasta 15 que solo tiene ella",
        "Hasta 5 planes",
    )
    assert missing(page, *expected) == []
    assert page.index("Qué le pasa a quién") < page.index("Proponer la suspensión")
    organization = client.get(f"/directory/organizations/{OTHER_ID}").text
    assert f'href="{PAGE}"' in organization
    assert "Suspender</button>" not in organization, "no click suspends"


def test_a_suspension_without_a_reason_is_refused_and_the_form_is_shown_again(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["SuspendOrganization"] = errors.Invalid(("reason", "required"))
    answer = send(client, PAGE)
    assert (answer.status_code, 'id="reason-error"' in answer.text) == (422, True)
    fakes.answers["SuspendOrganization"] = member(suspension=suspension(ID))
    assert send(client, PAGE, etag="v7", reason="harm").status_code == 303
    request = fakes.last("SuspendOrganization")
    assert (request.id, request.etag, request.reason, request.hold) == (
        OTHER_ID,
        "v7",
        d.SUSPENSION_REASON_HARM,
        False,
    )
    assert send(client, PAGE, reason="front", hold="1").status_code == 303
    assert fakes.last("SuspendOrganization").hold


@pytest.mark.parametrize(
    ("rpc", "answer", "shown", "not_shown"),
    [
        pytest.param(
            "GetOrganization",
            member(suspension=suspension(ID)),
            ["falta otra persona", "Detener ahora"],
            ["Confirmar la suspensión"],
            id="whoever proposed a suspension waits for another coordinator",
        ),
        pytest.param(
            "GetOrganization",
            member(suspension=suspension(OTHER_ID)),
            ["Confirmar la suspensión", "No es lo que dice ser"],
            [],
            id="another coordinator confirms a proposal",
        ),
        pytest.param(
            "GetOrganization",
            member(d.ORGANIZATION_STATUS_SUSPENDED, suspension=suspension(OTHER_ID)),
            [
                "Detenida: Casa Luna",
                "entra otra vez",
                "Confirmar la suspensión",
                "Proponer levantarla",
            ],
            [],
            id="another coordinator sees until when a member is held",
        ),
        pytest.param(
            "GetOrganization",
            member(d.ORGANIZATION_STATUS_SUSPENDED, suspension=suspension("")),
            [
                "La cuenta de quien la detuvo está suspendida",
                "Proponer la suspensión</button>",
            ],
            ["Confirmar la suspensión"],
            id="the account of whoever held a member was suspended",
        ),
        pytest.param(
            "GetOrganization",
            member(
                d.ORGANIZATION_STATUS_SUSPENDED,
                suspension=suspension(OTHER_ID, waits=False),
                reinstatement_proposed_by_worker_id=OTHER_ID,
            ),
            ["Levantar la suspensión</button>", "con usted son dos, y entra otra vez"],
            [],
            id="another coordinator agrees to a reinstatement",
        ),
        pytest.param(
            "CountMemberAccess",
            d.MemberAccess(worker_count=1),
            ["found-elsewhere", "Detener ahora"],
            ["Proponer la suspensión"],
            id="a network without a second coordinator is told what to do",
        ),
    ],
)
def test_the_page_offers_the_next_step_of_a_suspension(
    rpc: str,
    answer: d.Organization | d.MemberAccess,
    shown: list[str],
    not_shown: list[str],
    fakes: FakePageServices,
    client: FlaskClient,
) -> None:
    fakes.answers[rpc] = answer
    assert missing(client.get(PAGE).text, *shown, *not_shown) == not_shown


def test_a_proposed_suspension_is_on_the_page_of_the_member(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetOrganization"] = member(suspension=suspension(OTHER_ID))
    assert "Proponen suspenderla" in client.get(f"/directory/organizations/{OTHER_ID}").text


def test_a_reinstatement_sends_the_version_that_the_coordinator_saw(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetOrganization"] = member(
        d.ORGANIZATION_STATUS_SUSPENDED, suspension=suspension(OTHER_ID, waits=False)
    )
    assert send(client, PAGE, f"{PAGE}/end", etag="v7").status_code == 303
    assert fakes.last("ReinstateOrganization").etag == "v7"


def test_a_member_on_probation_cannot_be_suspended_and_the_page_leads_to_its_removal(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["GetOrganization"] = member(d.ORGANIZATION_STATUS_PROBATION)
    page = client.get(PAGE).text
    assert f'href="/directory/organizations/{OTHER_ID}#leave"' in page
    assert '<form method="post"' not in page.partition("<main")[2]


def test_the_person_who_ends_a_membership_reads_that_its_files_are_lost(
    fakes: FakePageServices,
) -> None:
    for role, id in ((contract_pb2.ROLE_COORDINATOR, OTHER_ID), (contract_pb2.ROLE_MANAGER, ID)):
        fakes.answers["GetOrganization"] = d.Organization(
            id=id, status=d.ORGANIZATION_STATUS_APPROVED
        )
        text = signed_in_as(fakes, role).get(f"/directory/organizations/{id}").text
        assert "nadie puede seguir ni borrar los expedientes que lleva" in text


@pytest.mark.parametrize(
    "failing_rpc", ["CountMemberWork", "CountMemberWebhooks", "CountMemberAccess"]
)
def test_a_member_can_be_held_though_a_service_is_down(
    failing_rpc: str, fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers[failing_rpc] = errors.Unavailable("service_away")
    page = client.get(PAGE)
    assert (
        page.status_code,
        missing(page.text, "esta cuenta no está completa", "Detener ahora"),
    ) == (200, [])


def test_proposals_that_wait_for_a_second_coordinator_come_first_on_the_page_of_members(
    fakes: FakePageServices, client: FlaskClient
) -> None:
    fakes.answers["ListOrganizations"] = d.ListOrganizationsResponse(
        organizations=[member(suspension=suspension(OTHER_ID))]
    )
    page = client.get("/directory/members").text
    assert missing(page, "Esperan a otra persona de la coordinación", "proponen suspenderla") == []
    assert any(request.waits_for_second for request in fakes.requests("ListOrganizations"))


def test_a_worker_is_suspended_for_a_reason_and_the_effects_are_shown_beforehand(
    fakes: FakePageServices,
) -> None:
    fakes.answers["ListWorkers"] = m.ListWorkersResponse(
        workers=[m.Worker(id=OTHER_ID, name="Ana", status=m.WORKER_STATUS_ACTIVE, etag="v2")]
    )
    client = signed_in_as(fakes, contract_pb2.ROLE_MANAGER)
    assert "las claves que están a su nombre dejan de servir" in client.get("/members").text
    suspend_path = f"/members/workers/{OTHER_ID}/suspend"
    answer = send(client, "/members", suspend_path)
    assert (answer.status_code, 'id="reason-error"' in answer.text) == (422, True)
    assert send(client, "/members", suspend_path, reason="left").status_code == 303
    assert fakes.last("SuspendWorker").reason == m.WORKER_SUSPENSION_REASON_LEFT


@pytest.mark.parametrize(
    ("language", "advice", "too_late"),
    [
        ("es", "envíelo otra vez si lo suyo debe quedar", "o ya no es posible"),
        ("fr", "renvoyez-le si le vôtre doit rester", "ou ce n’est plus possible"),
    ],
)
def test_the_page_advises_sending_a_confirmation_again_only_if_it_is_still_possible(
    language: str, advice: str, too_late: str, fakes: FakePageServices, client: FlaskClient
) -> None:
    client.get(f"/people?lang={language}")
    fakes.answers["SuspendOrganization"] = errors.Stale()
    for status, is_possible in (
        (d.ORGANIZATION_STATUS_APPROVED, True),
        (d.ORGANIZATION_STATUS_SUSPENDED, False),
    ):
        fakes.answers["GetOrganization"] = member(status)
        answer = send(client, PAGE, reason="front")
        assert answer.status_code == 409
        assert (advice in answer.text, too_late in answer.text) == (is_possible, not is_possible)
