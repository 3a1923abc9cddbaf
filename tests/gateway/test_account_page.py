"""The page of one's own account before played services."""

import pytest
from flask.testing import FlaskClient
from google.protobuf.timestamp_pb2 import Timestamp

from chassis import errors
from protos.partners.v1 import accounts_pb2 as pb
from tests.gateway.pages_gateway import SECRET, PlayedServices, enter, pages, token_of

AT = Timestamp(seconds=1_774_000_000)
SESSIONS = [
    pb.Session(id="a" * 32, create_time=AT, last_use_time=AT, current=True),
    pb.Session(id="b" * 32, create_time=AT, last_use_time=AT),
]


@pytest.fixture
def played() -> PlayedServices:
    services = PlayedServices()
    services.answers["ListSessions"] = pb.ListSessionsResponse(sessions=SESSIONS)
    return services


@pytest.fixture
def client(played: PlayedServices) -> FlaskClient:
    return enter(pages(played).test_client())


def form(page: str, **said: str) -> dict[str, str]:
    typed = {"password": "la de antes", "new_password": "una frase de prueba", "again": "una frase de prueba"}
    return {"form_token": token_of(page), "request_id": "one"} | typed | said


def test_another_password_is_told_with_the_session_that_goes_on(client: FlaskClient, played: PlayedServices) -> None:
    answer = client.post("/account/password", data=form(client.get("/account").text))
    assert (answer.status_code, answer.location) == (303, "/account?done=password_changed")
    sent = played.last("ChangePassword")
    assert (sent.password, sent.new_password, sent.session_secret) == ("la de antes", "una frase de prueba", SECRET)


def test_what_is_wrong_stands_at_its_field_and_no_password_is_sent_back(client: FlaskClient, played: PlayedServices) -> None:
    page = client.get("/account").text
    typo = client.post("/account/password", data=form(page, again="una frase de pruebas"))
    assert (typo.status_code, "no es la misma" in typo.text) == (422, True)
    assert "ChangePassword" not in {name for name, *_ in played.asked}
    played.answers["ChangePassword"] = errors.Invalid(("password", "wrong"), ("new_password", "too_short"))
    wrong = client.post("/account/password", data=form(page))
    assert (wrong.status_code, 'id="password-error"' in wrong.text, 'id="new_password-error"' in wrong.text) == (422, True, True)
    played.answers["ChangePassword"] = errors.Exhausted("too_many_attempts", 300)
    often = client.post("/account/password", data=form(page))
    assert (often.status_code, "Espere" in often.text) == (429, True)
    assert not [answer for answer in (typo, wrong, often) if "la de antes" in answer.text or "una frase" in answer.text]


def test_one_session_is_ended_or_all_but_this_one(client: FlaskClient, played: PlayedServices) -> None:
    page = client.get("/account").text
    assert page.count('name="session"') == 1, "one does not end one's own by mistake"
    client.post("/account/sessions/end", data={"form_token": token_of(page), "request_id": "one", "session": "b" * 32})
    assert (played.last("EndSessions").id, played.last("EndSessions").session_secret) == ("b" * 32, SECRET)
    client.post("/account/sessions/end", data={"form_token": token_of(page), "request_id": "two"})
    assert played.last("EndSessions").id == ""
    assert SECRET not in page
