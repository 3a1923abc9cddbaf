"""The page of a worker's own account, with fake services."""

import pytest
from flask.testing import FlaskClient
from google.protobuf.timestamp_pb2 import Timestamp

from chassis import errors
from protos.partners.v1 import accounts_pb2 as pb
from protos.partners.v1 import members_pb2 as m
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


def form(page: str, **fields: str) -> dict[str, str]:
    typed = {
        "password": "la de antes",
        "new_password": "una frase de prueba",
        "again": "una frase de prueba",
    }
    return {"form_token": token_of(page), "request_id": "one"} | typed | fields


def test_a_new_password_is_sent_with_the_session_that_continues(
    client: FlaskClient, played: PlayedServices
) -> None:
    answer = client.post("/account/password", data=form(client.get("/account").text))
    assert (answer.status_code, answer.location) == (303, "/account/made?done=password_changed")
    sent = played.last("ChangePassword")
    assert (sent.password, sent.new_password, sent.session_secret) == (
        "la de antes",
        "una frase de prueba",
        SECRET,
    )


def test_errors_are_shown_at_their_fields_and_no_password_is_sent_back(
    client: FlaskClient, played: PlayedServices
) -> None:
    page = client.get("/account").text
    typo = client.post("/account/password", data=form(page, again="una frase de pruebas"))
    assert (typo.status_code, "no es la misma" in typo.text) == (422, True)
    assert "ChangePassword" not in {name for name, *_ in played.asked}
    played.answers["ChangePassword"] = errors.Invalid(
        ("password", "wrong"), ("new_password", "too_short")
    )
    wrong = client.post("/account/password", data=form(page))
    assert (
        wrong.status_code,
        'id="password-error"' in wrong.text,
        'id="new_password-error"' in wrong.text,
    ) == (422, True, True)
    played.answers["ChangePassword"] = errors.Exhausted("too_many_attempts", 300)
    often = client.post("/account/password", data=form(page))
    assert (often.status_code, "Espere" in often.text) == (429, True)
    assert not [
        answer
        for answer in (typo, wrong, often)
        if "la de antes" in answer.text or "una frase" in answer.text
    ]


def test_one_session_or_all_but_the_present_one_can_be_ended(
    client: FlaskClient, played: PlayedServices
) -> None:
    page = client.get("/account").text
    assert page.count('name="session"') == 1, "the present session is not offered"
    client.post(
        "/account/sessions/end",
        data={"form_token": token_of(page), "request_id": "one", "session": "b" * 32},
    )
    assert (played.last("EndSessions").id, played.last("EndSessions").session_secret) == (
        "b" * 32,
        SECRET,
    )
    client.post("/account/sessions/end", data={"form_token": token_of(page), "request_id": "two"})
    assert played.last("EndSessions").id == ""
    assert SECRET not in page


def test_the_secret_of_an_app_and_the_spare_codes_are_shown_in_one_answer_only(
    client: FlaskClient, played: PlayedServices
) -> None:
    played.answers["GetSecondFactor"] = pb.SecondFactor()
    played.answers["BeginSecondFactor"] = pb.BeginSecondFactorResponse(
        secret="JBSWY3DPEHPK3PXP", uri="otpauth://totp/x?secret=JBSWY3DPEHPK3PXP"
    )
    page = client.get("/account").text
    typed = {"form_token": token_of(page), "request_id": "one", "password": "p"}
    response = client.post("/account/second-factor", data=typed)
    assert played.last("BeginSecondFactor").password == "p"
    assert (
        "JBSW Y3DP EHPK 3PXP" in response.text,
        'class="qr"' in response.text,
        "otpauth" in response.text,
    ) == (True, True, False)
    assert response.headers["Cache-Control"] == "no-store"
    played.answers["ConfirmSecondFactor"] = errors.Invalid(("code", "wrong"))
    wrong = client.post(
        "/account/second-factor/confirm",
        data={"form_token": token_of(page), "request_id": "two", "code": "1"},
    )
    assert (wrong.status_code, 'id="code-error"' in wrong.text, "JBSW" in wrong.text) == (
        422,
        True,
        False,
    )
    assert wrong.text.count("no es el código de ahora") == 2, "in the list, and at the field"
    assert "no es la contraseña" not in wrong.text
    played.answers["ConfirmSecondFactor"] = pb.ConfirmSecondFactorResponse(
        recovery_codes=["7qk2a-9xwmb"]
    )
    done = client.post(
        "/account/second-factor/confirm",
        data={"form_token": token_of(page), "request_id": "three", "code": "123456"},
    )
    assert "7qk2a-9xwmb" in done.text
    assert "7qk2a-9xwmb" not in client.get("/account").text


def test_a_wrong_password_for_ending_the_code_is_reported_at_its_field(
    client: FlaskClient, played: PlayedServices
) -> None:
    played.answers["GetSecondFactor"] = pb.SecondFactor(confirm_time=AT, recovery_codes_left=7)
    page = client.get("/account").text
    assert "Le quedan 7 códigos de repuesto" in page
    played.answers["EndSecondFactor"] = errors.Invalid(("password", "wrong"))
    wrong = client.post(
        "/account/second-factor/end",
        data={"form_token": token_of(page), "request_id": "one", "password": "x"},
    )
    assert (wrong.status_code, wrong.text.count("no es la contraseña")) == (422, 2)
    played.answers["EndSecondFactor"] = pb.SecondFactor()
    ended = client.post(
        "/account/second-factor/end",
        data={"form_token": token_of(page), "request_id": "two", "password": "y"},
    )
    assert ended.status_code == 303


def test_after_the_password_a_code_is_asked_for_and_the_session_opens_only_then(
    played: PlayedServices,
) -> None:
    played.answers["SignIn"] = m.SignInResponse(challenge="the-challenge", asks_code=True)
    client = pages(played).test_client()
    form = client.get("/sign-in?to=/inbox").text
    typed = {"email": "a@b.demo", "password": "p", "to": "/inbox", "form_token": token_of(form)}
    response = client.post("/sign-in", data=typed)
    assert (
        "Código para entrar" in response.text,
        'value="the-challenge"' in response.text,
        'value="/inbox"' in response.text,
    ) == (True, True, True)
    assert not [
        value for name, value in response.headers if name == "Set-Cookie" and value.startswith("s=")
    ]
    code = {
        "challenge": "the-challenge",
        "code": "123456",
        "to": "/inbox",
        "form_token": token_of(response.text),
    }
    played.answers["FinishSignIn"] = errors.Unauthenticated("sign_in_failed")
    wrong = client.post("/sign-in/code", data=code)
    assert (wrong.status_code, 'value="the-challenge"' in wrong.text, "no sirve" in wrong.text) == (
        401,
        True,
        True,
    )
    played.answers["FinishSignIn"] = m.SignInResponse(
        session_secret=SECRET, worker=m.Worker(id="w")
    )
    entered = client.post("/sign-in/code", data=code)
    assert (entered.status_code, entered.location) == (303, "/inbox")
    assert played.last("FinishSignIn").code == "123456"


def test_a_passkey_is_offered_beside_a_code_and_its_signature_is_passed_on(
    played: PlayedServices,
) -> None:
    options = '{"challenge": "Zm9v", "rpId": "localhost"}'
    played.answers["SignIn"] = m.SignInResponse(challenge="the-challenge", passkey_options=options)
    played.answers["BeginPasskeySignIn"] = m.BeginPasskeySignInResponse(
        challenge="of-anybody", passkey_options=options
    )
    client = pages(played).test_client()
    token = token_of(client.get("/sign-in").text)
    page = client.post(
        "/sign-in", data={"email": "a@b.demo", "password": "p", "form_token": token}
    ).text
    assert (
        'data-passkey="get"' in page,
        'name="code"' in page,
        "Este navegador no puede" in page,
    ) == (True, False, True)
    anybody = client.post("/sign-in/passkey", data={"to": "/inbox", "form_token": token}).text
    assert ('value="of-anybody"' in anybody, 'value="/inbox"' in anybody) == (True, True)
    played.answers["BeginPasskeySignIn"] = errors.Conflict("passkeys_unavailable")
    none = client.post("/sign-in/passkey", data={"form_token": token})
    assert (none.status_code, "por un número" in none.text, 'id="password"' in none.text) == (
        422,
        True,
        True,
    )
    played.answers["FinishSignIn"] = errors.Unauthenticated("sign_in_failed")
    typed = {
        "challenge": "of-anybody",
        "passkey": "{}",
        "passkey_options": options,
        "to": "/inbox",
        "form_token": token,
    }
    wrong = client.post("/sign-in/code", data=typed)
    assert (
        wrong.status_code,
        "Esa llave no sirve" in wrong.text,
        'value="of-anybody"' in wrong.text,
    ) == (401, True, True)
    played.answers["FinishSignIn"] = m.SignInResponse(
        session_secret=SECRET, worker=m.Worker(id="w")
    )
    entered = client.post("/sign-in/code", data=typed)
    assert (
        entered.location,
        played.last("FinishSignIn").passkey,
        played.last("FinishSignIn").code,
    ) == ("/inbox", "{}", "")


def test_passkeys_are_added_and_removed_with_the_password(
    client: FlaskClient, played: PlayedServices
) -> None:
    phone = pb.Passkey(id="k" * 32, label="Mi <teléfono>", create_time=AT)
    played.answers["GetSecondFactor"] = pb.SecondFactor(passkeys_available=True, passkeys=[phone])
    played.answers["BeginPasskey"] = pb.BeginPasskeyResponse(
        challenge="c", options='{"challenge": "Zm9v"}'
    )
    page = client.get("/account").text
    assert ("Mi &lt;teléfono&gt;" in page, "Todavía no se usó" in page, "passkey.js" in page) == (
        True,
        True,
        False,
    )
    typed = {"form_token": token_of(page), "request_id": "one", "password": "p", "label": "Otro"}
    begun = client.post("/account/passkeys/begin", data=typed).text
    assert ('data-passkey="create"' in begun, 'value="Otro"' in begun, "passkey.js" in begun) == (
        True,
        True,
        True,
    )
    created = {
        "form_token": token_of(page),
        "request_id": "two",
        "challenge": "c",
        "passkey": "{}",
        "label": "Otro",
    }
    assert client.post("/account/passkeys", data=created).status_code == 303
    assert (played.last("CreatePasskey").credential, played.last("CreatePasskey").label) == (
        "{}",
        "Otro",
    )
    for rpc, path in (
        ("BeginPasskey", "/account/passkeys/begin"),
        ("EndPasskey", "/account/passkeys/end"),
    ):
        played.answers[rpc] = errors.Invalid(("password", "wrong"))
        wrong = client.post(path, data=typed | {"passkey": phone.id})
        assert (wrong.status_code, wrong.text.count("no es la contraseña")) == (422, 2)
    played.answers["CreatePasskey"] = errors.Invalid(("credential", "wrong"))
    assert "La llave no se guardó" in client.post("/account/passkeys", data=created).text
    played.answers["CreatePasskey"] = errors.Conflict("too_many_passkeys")
    assert "Quite una que no use" in client.post("/account/passkeys", data=created).text
    played.answers["EndPasskey"] = pb.SecondFactor()
    assert (
        client.post("/account/passkeys/end", data=typed | {"passkey": phone.id}).status_code == 303
    )
    assert played.last("EndPasskey").id == phone.id


def test_a_worker_who_needs_a_code_sets_it_up_at_sign_in_and_sees_the_spare_codes_once(
    played: PlayedServices,
) -> None:
    uri = "otpauth://totp/x?secret=JBSWY3DPEHPK3PXP"
    played.answers["SignIn"] = m.SignInResponse(
        challenge="c", asks_code=True, set_up_secret="JBSWY3DPEHPK3PXP", set_up_uri=uri
    )
    client = pages(played).test_client()
    token = token_of(client.get("/sign-in").text)
    page = client.post(
        "/sign-in", data={"email": "a@b.demo", "password": "p", "to": "/inbox", "form_token": token}
    ).text
    assert ("JBSW Y3DP EHPK 3PXP" in page, 'class="qr"' in page, "otpauth" in page) == (
        True,
        True,
        False,
    )
    played.answers["FinishSignIn"] = m.SignInResponse(
        session_secret=SECRET, worker=m.Worker(id="w"), recovery_codes=["7qk2a-9xwmb"]
    )
    typed = {
        "challenge": "c",
        "asks_code": "1",
        "code": "123456",
        "to": "/inbox",
        "form_token": token,
    }
    entered = client.post("/sign-in/code", data=typed)
    assert (
        entered.status_code,
        "7qk2a-9xwmb" in entered.text,
        'href="/inbox"' in entered.text,
    ) == (200, True, True)
    assert [
        value for name, value in entered.headers if name == "Set-Cookie" and value.startswith("s=")
    ]
