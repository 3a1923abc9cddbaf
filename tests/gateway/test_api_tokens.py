"""Caller tokens and sessions over REST.

No cookie is set, no credential is read from a URL, and guesses are counted.
"""

from typing import Any

import pytest
from flask import Flask

from chassis.errors import Exhausted, Unauthenticated
from protos.partners.v1 import members_pb2
from services.gateway.edge.clients import AUDIENCES
from tests.gateway.api_gateway import JWT, KEY, FakeServices, System

SESSION = "s" * 43
SIGN_IN = {"email": "trabajadora@casa-esperanza.example", "password": "una frase de prueba"}


@pytest.fixture
def fakes() -> FakeServices:
    """The fake services, which answer empty messages unless the test sets other answers."""
    return FakeServices()


@pytest.fixture
def stranger(api: Flask) -> System:
    """A caller with an invalid Authorization header, which these public routes ignore."""
    return System(api.test_client(), "nothing")


@pytest.mark.parametrize("credential", [{"api_key": KEY}, {"session_secret": SESSION}])
def test_a_key_or_a_session_is_exchanged_for_a_token_of_each_service(
    stranger: System, fakes: FakeServices, credential: dict[str, Any]
) -> None:
    answer = stranger.post("/tokens", credential)
    assert (answer.status_code, answer.json["tokens"]) == (200, dict.fromkeys(AUDIENCES, JWT))
    assert fakes.last("IssueToken") == members_pb2.IssueTokenRequest(**credential)
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (
            {"api_key": KEY, "session_secret": SESSION},
            {"pointer": "/api_key", "reason": "malformed"},
        ),
        ({"api_key": "x" * 201}, {"pointer": "/api_key", "reason": "too_long"}),
        ({"token": KEY}, {"pointer": "/token", "reason": "unknown_field"}),
    ],
)
def test_a_token_request_with_two_credentials_or_a_malformed_one_is_refused(
    stranger: System, fakes: FakeServices, body: Any, error: Any
) -> None:
    answer = stranger.post("/tokens", body)
    assert (answer.status_code, answer.json["errors"]) == (400, [error])
    assert KEY not in answer.text
    assert not fakes.calls


@pytest.mark.parametrize(
    ("path", "fields", "rpc", "reason"),
    [
        ("/tokens", {"api_key": KEY}, "IssueToken", "key_invalid"),
        ("/sessions", SIGN_IN, "SignIn", "sign_in_failed"),
    ],
    ids=["an invalid key", "a wrong password or e-mail"],
)
def test_a_refusal_does_not_repeat_the_credential(
    stranger: System, fakes: FakeServices, path: str, fields: dict[str, str], rpc: str, reason: str
) -> None:
    fakes.answers[rpc] = Unauthenticated(reason)
    answer = stranger.post(path, fields)
    assert (answer.status_code, answer.json["reason"]) == (401, reason)
    assert not [value for value in fields.values() if value in answer.text]


def test_a_session_is_opened_used_and_ended(
    stranger: System, api: Flask, fakes: FakeServices
) -> None:
    fakes.answers["SignIn"] = members_pb2.SignInResponse(
        session_secret=SESSION, tokens=dict.fromkeys(AUDIENCES, JWT)
    )
    answer = stranger.post("/sessions", SIGN_IN)
    assert (answer.status_code, answer.json["session_secret"]) == (200, SESSION)
    assert "Set-Cookie" not in answer.headers
    assert System(api.test_client(), SESSION).get("/referrals").status_code == 200
    assert stranger.post("/sessions/end", {"session_secret": SESSION}).status_code == 204
    assert fakes.last("EndSession").session_secret == SESSION


def test_a_sign_in_passes_on_the_clients_address_by_which_guesses_are_counted(
    stranger: System, fakes: FakeServices
) -> None:
    fakes.answers["SignIn"] = Exhausted("too_many_attempts", 300)
    answer = stranger.post("/sessions", SIGN_IN)
    assert (answer.status_code, answer.json["reason"], answer.headers["Retry-After"]) == (
        429,
        "too_many_attempts",
        "300",
    )
    assert fakes.calls[-1][2].origin["client-address"]


@pytest.mark.parametrize("path", ["/tokens", "/sessions", "/sessions/end"])
def test_no_credential_is_read_from_a_url_or_a_cookie(
    api: Flask, fakes: FakeServices, path: str
) -> None:
    client = api.test_client()
    answer = client.post(f"/api/v1{path}?api_key={KEY}&session_secret={SESSION}", json={})
    assert (answer.status_code, fakes.calls) == (400, [])
    client.set_cookie("s", SESSION)
    client.post(f"/api/v1{path}", json={})
    assert not [request for _, request, _ in fakes.calls if SESSION in str(request)]
