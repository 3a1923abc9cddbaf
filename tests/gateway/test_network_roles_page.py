"""The page of the network's roles, with fake services.

On this page, two coordinators of different members give roles and take them away.
"""

import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from chassis import errors
from protos.contract.v1 import contract_pb2 as c
from protos.partners.v1 import members_pb2 as m
from services.gateway.site.shell import frame
from tests.gateway.api_gateway import ID as OWN_ID
from tests.gateway.pages_gateway import (
    FakePageServices,
    missing,
    pages,
    signed_in,
    signed_in_as,
    submit,
)

ID, COORDINATOR, OTHER_ID = "a" * 32, "d" * 32, "e" * 32


@pytest.fixture
def fakes() -> FakePageServices:
    return FakePageServices(
        {
            "IssueToken": signed_in(c.ROLE_COORDINATOR),
            "ListNetworkRoles": accounts(),
        }
    )


def accounts(*others: m.Worker, proposed_by: str = "") -> m.ListNetworkRolesResponse:
    """Returns one coordinator, these others, and a waiting invitation."""
    roles = [c.ROLE_COORDINATOR, c.ROLE_MANAGER]
    worker = m.Worker(
        id=COORDINATOR,
        etag="v3",
        name="Coordinadora",
        organization_id=OTHER_ID,
        roles=roles,
        suspension_proposed_by_worker_id=proposed_by,
    )
    invitation = m.Invitation(
        id=ID, email="auditora@alianza.example", organization_id=OTHER_ID, roles=[c.ROLE_AUDITOR]
    )
    return m.ListNetworkRolesResponse(workers=[worker, *others], invitations=[invitation])


def send_form(client: FlaskClient, path: str, **fields: str) -> tuple[int, str]:
    """Sends a form of the page; returns the status, and the address or text of the next page."""
    answer = submit(client, path, client.get("/network/roles").text, **fields)
    return answer.status_code, answer.location or answer.text


def test_a_coordinator_confirms_an_invitation_that_another_proposed(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    assert "auditora@alianza.example" in client.get("/network/roles").text
    fakes.answers["ConfirmInvitation"] = m.Invitation(id=ID)
    assert send_form(client, f"/network/roles/invitations/{ID}/confirm") == (
        303,
        "/network/roles?done=invited",
    )
    assert fakes.last("ConfirmInvitation") == m.ConfirmInvitationRequest(id=ID, request_id="one")


def test_an_invitation_of_the_readers_own_organisation_is_confirmed_only_by_another_organisation(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    answer = accounts()
    answer.invitations[0].organization_id = OWN_ID
    fakes.answers["ListNetworkRoles"] = answer
    text = client.get("/network/roles").text
    assert missing(text, "auditora@alianza.example", "La confirma la coordinación de otra") == []
    assert f"/network/roles/invitations/{ID}/confirm" not in text


def test_the_notice_of_a_given_role_leads_a_coordinator_to_the_roles(client: FlaskClient) -> None:
    answer = submit(
        client, f"/inbox/{ID}/read", client.get("/network/roles").text, kind="role_given"
    )
    assert answer.location == "/network/roles"


@pytest.mark.parametrize(
    ("answer", "path", "status", "texts"),
    [
        pytest.param(
            m.Invitation(
                id=ID, organization_id=OTHER_ID, link="https://enlace.example/invitation#x"
            ),
            f"invitations/{ID}/confirm",
            200,
            ["https://enlace.example/invitation#x"],
            id="whoever confirms an invitation on paper is shown its link",
        ),
        pytest.param(
            errors.Conflict("not_independent", "organization"),
            f"invitations/{ID}/confirm",
            422,
            ["auditora@alianza.example", "alguien de la coordinación de otra organización"],
            id="a coordinator of the same organisation cannot confirm, and nothing is lost",
        ),
        pytest.param(
            m.Invitation(),
            f"workers/{COORDINATOR}/suspend",
            422,
            ['id="reason-error"', f'id="reason-{COORDINATOR}"'],
            id="an account is not suspended without a reason",
        ),
    ],
)
def test_the_answer_to_a_form_of_the_page_has_these_texts(
    client: FlaskClient,
    fakes: FakePageServices,
    answer: m.Invitation | errors.Refusal,
    path: str,
    status: int,
    texts: list[str],
) -> None:
    fakes.answers["ConfirmInvitation"] = answer
    next_page = send_form(client, f"/network/roles/{path}", etag="v3")
    assert (next_page[0], missing(next_page[1], *texts)) == (status, [])
    assert fakes.requests("SuspendWorker") == []


def test_an_invitation_to_a_network_role_is_proposed_and_a_refused_form_comes_back_filled_in(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers["CreateInvitation"] = m.Invitation(id=ID, unconfirmed=True)
    fields = {"email": "nueva@alianza.example", "roles": "auditor", "invited_language": "en"}
    assert send_form(client, "/network/roles", **fields) == (
        303,
        "/network/roles?done=role_proposed",
    )
    invitation = m.Invitation(email="nueva@alianza.example", roles=[c.ROLE_AUDITOR], language="en")
    assert fakes.last("CreateInvitation").invitation == invitation
    fakes.answers["CreateInvitation"] = errors.Invalid(("email", "malformed"))
    status, text = send_form(client, "/network/roles", **fields)
    assert (status, "nueva@alianza.example" in text) == (422, True)


def test_the_page_invites_only_to_network_roles_in_the_coordinators_own_organisation(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    """Any other organisation would be refused."""
    assert 'name="organization_id"' not in client.get("/network/roles").text
    fakes.answers["CreateInvitation"] = m.Invitation(id=ID, unconfirmed=True)
    fields = {"email": "nueva@alianza.example", "organization_id": OTHER_ID, "roles": "manager"}
    send_form(client, "/network/roles", **fields)
    invitation = fakes.last("CreateInvitation").invitation
    assert (invitation.organization_id, list(invitation.roles)) == ("", [])


def test_a_suspension_takes_two_people_and_the_page_says_which_step_is_next(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    assert "Proponer que se suspenda" in client.get("/network/roles").text
    fakes.answers["SuspendWorker"] = m.Worker(id=COORDINATOR)
    path = f"/network/roles/workers/{COORDINATOR}/suspend"
    assert send_form(client, path, etag="v3", reason="misuse") == (303, "/network/roles?done=saved")
    assert fakes.last("SuspendWorker") == m.SuspendWorkerRequest(
        id=COORDINATOR, etag="v3", request_id="one", reason=m.WORKER_SUSPENSION_REASON_MISUSE
    )
    fakes.answers["ListNetworkRoles"] = accounts(proposed_by=OTHER_ID)
    assert "Con usted son dos" in client.get("/network/roles").text


def test_the_page_says_what_to_do_if_all_coordinators_belong_to_one_member(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    warning = "inscriba a alguien que coordine desde otra organización"
    assert warning in client.get("/network/roles").text
    other_coordinator = m.Worker(
        id=ID, name="Otra", organization_id="f" * 32, roles=[c.ROLE_COORDINATOR]
    )
    fakes.answers["ListNetworkRoles"] = accounts(other_coordinator)
    assert warning not in client.get("/network/roles").text


def test_only_coordinators_see_the_page_of_network_roles(fakes: FakePageServices) -> None:
    assert signed_in_as(fakes, c.ROLE_MANAGER).get("/network/roles").status_code == 404


def test_every_entry_of_the_navigation_has_its_symbol(fakes: FakePageServices) -> None:
    app = pages(fakes)
    icons = (Path(str(app.static_folder)) / "icons.svg").read_text()
    endpoints = {endpoint for labels in frame.NAVIGATION.values() for endpoint in labels}
    assert endpoints <= app.view_functions.keys()
    modules = {endpoint.partition(".")[0] for endpoint in endpoints}
    assert modules <= {*re.findall(r'<symbol id="(\w+)"', icons)}
