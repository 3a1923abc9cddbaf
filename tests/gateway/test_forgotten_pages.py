"""The pages of a forgotten password and of a lost second factor, with fake services."""

import re

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from chassis import errors
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2 as d
from protos.partners.v1 import members_pb2 as m
from tests.gateway.pages_gateway import ID, FakePageServices, enter, missing, signed_in, submit

WORDS = "nube tambor escalera limon"
OTHER_ID = "b" * 32


def test_the_sign_in_links_to_the_reset_and_its_answer_is_the_same_for_every_email(
    visitor: FlaskClient, fakes: FakePageServices
) -> None:
    assert 'href="/forgot"' in visitor.get("/sign-in").text
    answers = []
    for email in ("una@ejemplo.org", "nadie@ejemplo.org"):
        answer = send(visitor, "/forgot", email=f" {email} ")
        assert fakes.last("RequestPasswordReset").email == email
        assert email not in answer.text
        text = re.sub(r'value="[\w.:-]{20,}"|nonce="[^"]+"', "", answer.text)
        cookie = answer.headers.get("Set-Cookie", "").partition("=")[0]
        answers.append((answer.status_code, text, cookie))
    assert answers[0] == answers[1]
    assert "Si esa dirección es de una cuenta" in answers[0][1]


def send(visitor: FlaskClient, path: str, **fields: str) -> TestResponse:
    """Sends the form of a page."""
    return submit(visitor, path, visitor.get(path).text, **fields)


def test_a_missing_email_is_reported_at_its_field(
    visitor: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers["RequestPasswordReset"] = errors.Invalid(("email", "required"))
    answer = send(visitor, "/forgot", email="")
    assert (answer.status_code, 'id="email-error"' in answer.text) == (422, True)


def reset(visitor: FlaskClient, **fields: str) -> TestResponse:
    """Sends the form of a new password, with these fields in place of the defaults."""
    defaults = {"token": "the-secret-of-a-link", "password": WORDS, "again": WORDS}
    return send(visitor, "/reset", **defaults | fields)


def test_a_new_password_leads_to_the_sign_in_without_the_secret_of_the_link(
    visitor: FlaskClient, fakes: FakePageServices, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = reset(visitor)
    assert (answer.status_code, answer.location) == (
        303,
        "/sign-in?to=/account/made&done=password_reset",
    )
    request = fakes.last("ResetPassword")
    assert (request.token, request.password) == ("the-secret-of-a-link", WORDS)
    text = str(answer.headers) + "".join(capsys.readouterr())
    assert missing(text, "the-secret-of-a-link", WORDS) == ["the-secret-of-a-link", WORDS]
    assert "Contraseña cambiada" in visitor.get(answer.location).text
    assert "Set-Cookie" not in answer.headers, "the reset opens no session"


def test_a_password_is_passed_on_exactly_as_it_was_typed(
    visitor: FlaskClient, fakes: FakePageServices
) -> None:
    password = f" {WORDS}  "
    reset(visitor, password=password, again=password, token=" secret ")
    request = fakes.last("ResetPassword")
    assert (request.password, request.token) == (password, "secret")


@pytest.mark.parametrize(
    ("refusal", "status", "sentence"),
    [
        (errors.Unauthenticated("reset_not_valid"), 401, "Este enlace no sirve"),
        (errors.Invalid(("password", "too_easy")), 422, "se adivinan pronto"),
        (errors.Invalid(("token", "required")), 422, "Código del correo"),
    ],
)
def test_errors_are_reported_and_no_password_is_sent_back(
    visitor: FlaskClient,
    fakes: FakePageServices,
    refusal: errors.Refusal,
    status: int,
    sentence: str,
) -> None:
    fakes.answers["ResetPassword"] = refusal
    answer = reset(visitor)
    # the token is typed only once, even without a script
    texts = (sentence, 'value="the-secret-of-a-link"', WORDS)
    assert (answer.status_code, missing(answer.text, *texts)) == (status, [WORDS])


def test_a_mistyped_password_is_not_sent(visitor: FlaskClient, fakes: FakePageServices) -> None:
    answer = reset(visitor, again="otra")
    assert (answer.status_code, "no es la misma" in answer.text) == (422, True)
    assert fakes.requests("ResetPassword") == []


def test_a_password_manager_finds_the_fields_that_it_needs(visitor: FlaskClient) -> None:
    page = visitor.get("/reset").text
    assert (page.count('autocomplete="new-password"'), page.count('autocomplete="username"')) == (
        2,
        1,
    )
    assert 'autocomplete="username"' in visitor.get("/forgot").text


@pytest.fixture
def manager(fakes: FakePageServices, visitor: FlaskClient) -> FlaskClient:
    fakes.answers["IssueToken"] = signed_in(contract_pb2.ROLE_MANAGER)
    workers = [
        m.Worker(id=ID, name="Ella misma", status=m.WORKER_STATUS_ACTIVE),
        m.Worker(id=OTHER_ID, name="Rosa", status=m.WORKER_STATUS_ACTIVE),
        m.Worker(id="c" * 32, name="Se fue", status=m.WORKER_STATUS_SUSPENDED),
    ]
    fakes.answers["ListWorkers"] = m.ListWorkersResponse(workers=workers)
    return enter(visitor)


def test_a_manager_confirms_that_she_spoke_with_the_worker_before_she_removes_the_second_factor(
    manager: FlaskClient, fakes: FakePageServices
) -> None:
    page = manager.get("/members").text
    assert re.findall(r'action="(/members/workers/\w+/second-factor)"', page) == [
        f"/members/workers/{OTHER_ID}/second-factor"
    ]
    path = f"/members/workers/{OTHER_ID}/second-factor"
    refusal = submit(manager, path, page)
    assert (refusal.status_code, "hable con ella antes" in refusal.text) == (422, True)
    assert fakes.requests("ResetSecondFactor") == []
    answer = submit(manager, path, page, spoke="1")
    assert (answer.status_code, answer.location, fakes.last("ResetSecondFactor").id) == (
        303,
        "/members?done=second_factor_reset",
        OTHER_ID,
    )
    assert "Le avisamos por correo" in manager.get(answer.location).text
    fakes.answers["ResetSecondFactor"] = errors.Conflict("own_account")
    own_account = submit(manager, f"/members/workers/{ID}/second-factor", page, spoke="1")
    assert (own_account.status_code, "Nadie quita lo suyo" in own_account.text) == (422, True)


def test_a_coordinator_can_remove_the_second_factor_of_a_members_only_manager(
    fakes: FakePageServices, visitor: FlaskClient
) -> None:
    fakes.answers["IssueToken"] = signed_in(contract_pb2.ROLE_COORDINATOR)
    enter(visitor)
    member = d.Organization(
        id=OTHER_ID, name="Puentes", status=d.ORGANIZATION_STATUS_APPROVED, has_manager=True
    )
    fakes.answers["GetOrganization"] = member
    path = f"/directory/organizations/{OTHER_ID}"
    assert f"{path}/second-factor" not in visitor.get(path).text, (
        "a worker with another manager is helped by that manager"
    )
    member.only_manager_worker_id = "c" * 32
    page = visitor.get(path).text
    assert f'action="{path}/second-factor"' in page
    action = f"{path}/second-factor"
    assert submit(visitor, action, page, worker="c" * 32).status_code == 422
    answer = submit(visitor, action, page, worker="c" * 32, spoke="1")
    assert (answer.status_code, fakes.last("ResetSecondFactor").id) == (303, "c" * 32)
