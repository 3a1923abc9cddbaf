"""The page of a worker's own account, with fake services."""

import pytest
from flask.testing import FlaskClient
from google.protobuf.timestamp_pb2 import Timestamp
from werkzeug.test import TestResponse

from chassis import errors
from protos.partners.v1 import accounts_pb2 as pb
from protos.partners.v1 import members_pb2 as m
from tests.gateway.pages_gateway import SECRET, FakePageServices, missing, pages, submit

TIME = Timestamp(seconds=1_774_000_000)
NEW_PASSWORD = {
    "password": "la de antes",
    "new_password": "una frase de prueba",
    "again": "una frase de prueba",
}
OPTIONS = '{"challenge": "Zm9v", "rpId": "localhost"}'
SIGNED_IN = m.SignInResponse(session_secret=SECRET, worker=m.Worker(id="w"))


@pytest.fixture
def fakes() -> FakePageServices:
    return FakePageServices(
        {
            "ListSessions": pb.ListSessionsResponse(
                sessions=[
                    pb.Session(id="a" * 32, create_time=TIME, last_use_time=TIME, current=True),
                    pb.Session(id="b" * 32, create_time=TIME, last_use_time=TIME),
                ]
            )
        }
    )


def change(client: FlaskClient, action: str, **fields: str) -> TestResponse:
    """Submits a form of the account page."""
    return submit(client, f"/account/{action}", client.get("/account").text, **fields)


def sign_in(client: FlaskClient) -> TestResponse:
    """Submits the form of the sign-in page, on the way to the inbox."""
    page = client.get("/sign-in?to=/inbox").text
    return submit(client, "/sign-in", page, email="a@b.demo", password="p", to="/inbox")


def session_cookies(answer: TestResponse) -> list[str]:
    """Returns the session cookies that the answer sets."""
    return [cookie for cookie in answer.headers.getlist("Set-Cookie") if cookie.startswith("s=")]


def test_a_new_password_is_sent_with_the_session_that_continues(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    answer = change(client, "password", **NEW_PASSWORD)
    assert (answer.status_code, answer.location) == (303, "/account/made?done=password_changed")
    request = fakes.last("ChangePassword")
    assert (request.password, request.new_password, request.session_secret) == (
        "la de antes",
        "una frase de prueba",
        SECRET,
    )


def test_errors_are_shown_at_their_fields_and_no_password_is_sent_back(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    typo = change(client, "password", **NEW_PASSWORD | {"again": "una frase de pruebas"})
    assert fakes.requests("ChangePassword") == []
    fakes.answers["ChangePassword"] = errors.Invalid(
        ("password", "wrong"), ("new_password", "too_short")
    )
    refusal = change(client, "password", **NEW_PASSWORD)
    fakes.answers["ChangePassword"] = errors.Exhausted("too_many_attempts", 300)
    too_often = change(client, "password", **NEW_PASSWORD)
    for answer, status, texts in (
        (typo, 422, ["no es la misma"]),
        (refusal, 422, ['id="password-error"', 'id="new_password-error"']),
        (too_often, 429, ["Espere"]),
    ):
        assert (answer.status_code, missing(answer.text, *texts)) == (status, [])
        assert missing(answer.text, "la de antes", "una frase") == ["la de antes", "una frase"]


def test_one_session_or_all_but_the_present_one_can_be_ended(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    page = client.get("/account").text
    assert page.count('name="session"') == 1, "the present session is not offered"
    assert SECRET not in page
    change(client, "sessions/end", session="b" * 32)
    request = fakes.last("EndSessions")
    assert (request.id, request.session_secret) == ("b" * 32, SECRET)
    change(client, "sessions/end")
    assert fakes.last("EndSessions").id == ""


def test_the_secret_of_an_app_and_the_spare_codes_are_shown_in_one_answer_only(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers |= {
        "GetSecondFactor": pb.SecondFactor(),
        "BeginSecondFactor": pb.BeginSecondFactorResponse(
            secret="JBSWY3DPEHPK3PXP", uri="otpauth://totp/x?secret=JBSWY3DPEHPK3PXP"
        ),
    }
    first_answer = change(client, "second-factor", password="p")
    assert fakes.last("BeginSecondFactor").password == "p"
    assert missing(first_answer.text, "JBSW Y3DP EHPK 3PXP", 'class="qr"', "otpauth") == ["otpauth"]
    assert first_answer.headers["Cache-Control"] == "no-store"
    fakes.answers["ConfirmSecondFactor"] = errors.Invalid(("code", "wrong"))
    answer = change(client, "second-factor/confirm", code="1")
    assert (
        answer.status_code,
        missing(answer.text, 'id="code-error"', "JBSW", "no es la contraseña"),
    ) == (422, ["JBSW", "no es la contraseña"])
    assert answer.text.count("no es el código de ahora") == 2, "in the list, and at the field"
    fakes.answers["ConfirmSecondFactor"] = pb.ConfirmSecondFactorResponse(
        recovery_codes=["7qk2a-9xwmb"]
    )
    assert "7qk2a-9xwmb" in change(client, "second-factor/confirm", code="123456").text
    assert "7qk2a-9xwmb" not in client.get("/account").text


def test_a_wrong_password_for_removing_the_second_factor_is_reported_at_its_field(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers["GetSecondFactor"] = pb.SecondFactor(confirm_time=TIME, recovery_codes_left=7)
    assert "Le quedan 7 códigos de repuesto" in client.get("/account").text
    fakes.answers["EndSecondFactor"] = errors.Invalid(("password", "wrong"))
    answer = change(client, "second-factor/end", password="x")
    assert (answer.status_code, answer.text.count("no es la contraseña")) == (422, 2)
    fakes.answers["EndSecondFactor"] = pb.SecondFactor()
    assert change(client, "second-factor/end", password="y").status_code == 303


def test_after_the_password_a_code_is_required_before_the_session_opens(
    fakes: FakePageServices,
) -> None:
    fakes.answers["SignIn"] = m.SignInResponse(challenge="the-challenge", asks_code=True)
    client = pages(fakes).test_client()
    page = sign_in(client)
    assert missing(page.text, "Código para entrar", 'value="the-challenge"', 'value="/inbox"') == []
    assert session_cookies(page) == []
    code = {"challenge": "the-challenge", "code": "123456", "to": "/inbox"}
    fakes.answers["FinishSignIn"] = errors.Unauthenticated("sign_in_failed")
    answer = submit(client, "/sign-in/code", page.text, **code)
    assert (answer.status_code, missing(answer.text, 'value="the-challenge"', "no sirve")) == (
        401,
        [],
    )
    fakes.answers["FinishSignIn"] = SIGNED_IN
    sign_in_answer = submit(client, "/sign-in/code", page.text, **code)
    assert (sign_in_answer.status_code, sign_in_answer.location) == (303, "/inbox")
    assert fakes.last("FinishSignIn").code == "123456"


def test_a_passkey_is_offered_beside_a_code_and_its_signature_is_passed_on(
    fakes: FakePageServices,
) -> None:
    fakes.answers |= {
        "SignIn": m.SignInResponse(challenge="the-challenge", passkey_options=OPTIONS),
        "BeginPasskeySignIn": m.BeginPasskeySignInResponse(
            challenge="of-anybody", passkey_options=OPTIONS
        ),
    }
    client = pages(fakes).test_client()
    page = sign_in(client).text
    assert missing(page, 'data-passkey="get"', 'name="code"', "Este navegador no puede") == [
        'name="code"'
    ]
    page_without_email = submit(client, "/sign-in/passkey", page, to="/inbox").text
    assert missing(page_without_email, 'value="of-anybody"', 'value="/inbox"') == []
    fakes.answers["BeginPasskeySignIn"] = errors.Conflict("passkeys_unavailable")
    refusal = submit(client, "/sign-in/passkey", page)
    assert (refusal.status_code, missing(refusal.text, "por un número", 'id="password"')) == (
        422,
        [],
    )
    fakes.answers["FinishSignIn"] = errors.Unauthenticated("sign_in_failed")
    signature = {
        "challenge": "of-anybody",
        "passkey": "{}",
        "passkey_options": OPTIONS,
        "to": "/inbox",
    }
    answer = submit(client, "/sign-in/code", page, **signature)
    assert (
        answer.status_code,
        missing(answer.text, "Esa llave no sirve", 'value="of-anybody"'),
    ) == (401, [])
    fakes.answers["FinishSignIn"] = SIGNED_IN
    sign_in_answer = submit(client, "/sign-in/code", page, **signature)
    request = fakes.last("FinishSignIn")
    assert (sign_in_answer.location, request.passkey, request.code) == ("/inbox", "{}", "")


def test_passkeys_are_added_and_removed_with_the_password(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    phone = pb.Passkey(id="k" * 32, label="Mi <teléfono>", create_time=TIME)
    fakes.answers |= {
        "GetSecondFactor": pb.SecondFactor(passkeys_available=True, passkeys=[phone]),
        "BeginPasskey": pb.BeginPasskeyResponse(challenge="c", options='{"challenge": "Zm9v"}'),
    }
    page = client.get("/account").text
    assert missing(page, "Mi &lt;teléfono&gt;", "Todavía no se usó", "passkey.js") == ["passkey.js"]
    form_page = change(client, "passkeys/begin", password="p", label="Otro").text
    assert missing(form_page, 'data-passkey="create"', 'value="Otro"', "passkey.js") == []
    credential = {"challenge": "c", "passkey": "{}", "label": "Otro"}
    assert change(client, "passkeys", **credential).status_code == 303
    request = fakes.last("CreatePasskey")
    assert (request.credential, request.label) == ("{}", "Otro")
    for rpc, action in (("BeginPasskey", "passkeys/begin"), ("EndPasskey", "passkeys/end")):
        fakes.answers[rpc] = errors.Invalid(("password", "wrong"))
        answer = change(client, action, password="p", label="Otro", passkey=phone.id)
        assert (answer.status_code, answer.text.count("no es la contraseña")) == (422, 2)
    for refusal, text in (
        (errors.Invalid(("credential", "wrong")), "La llave no se guardó"),
        (errors.Conflict("too_many_passkeys"), "Quite una que no use"),
    ):
        fakes.answers["CreatePasskey"] = refusal
        assert text in change(client, "passkeys", **credential).text
    fakes.answers["EndPasskey"] = pb.SecondFactor()
    last_answer = change(client, "passkeys/end", password="p", passkey=phone.id)
    assert (last_answer.status_code, fakes.last("EndPasskey").id) == (303, phone.id)


def test_a_worker_who_needs_a_code_sets_it_up_at_sign_in_and_sees_the_spare_codes_once(
    fakes: FakePageServices,
) -> None:
    fakes.answers["SignIn"] = m.SignInResponse(
        challenge="c",
        asks_code=True,
        set_up_secret="JBSWY3DPEHPK3PXP",
        set_up_uri="otpauth://totp/x?secret=JBSWY3DPEHPK3PXP",
    )
    client = pages(fakes).test_client()
    page = sign_in(client).text
    assert missing(page, "JBSW Y3DP EHPK 3PXP", 'class="qr"', "otpauth") == ["otpauth"]
    fakes.answers["FinishSignIn"] = m.SignInResponse(
        session_secret=SECRET, worker=m.Worker(id="w"), recovery_codes=["7qk2a-9xwmb"]
    )
    code = {"challenge": "c", "asks_code": "1", "code": "123456", "to": "/inbox"}
    sign_in_answer = submit(client, "/sign-in/code", page, **code)
    assert (
        sign_in_answer.status_code,
        missing(sign_in_answer.text, "7qk2a-9xwmb", 'href="/inbox"'),
    ) == (200, [])
    assert session_cookies(sign_in_answer)
