"""A service may require fresh proof of who is using a page.

A small page asks for the proof; the typed values are kept, and are in no URL.
"""

import html
import re

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from chassis import errors
from protos.partners.v1 import accounts_pb2 as pb
from protos.partners.v1 import members_pb2 as m
from services.gateway.site.shell import kept
from tests.gateway.pages_gateway import (
    ID,
    SECRET,
    FakePageServices,
    enter,
    missing,
    pages,
    token_of,
)

PROOF_REQUIRED = errors.NotAllowed("step_up_required")
INVITATION = {
    "email": "nueva@puentes.org",
    "roles": ["worker", "operator"],
    "invited_language": "fr",
    "request_id": "1" * 32,
}


@pytest.fixture
def fakes() -> FakePageServices:
    return FakePageServices(
        {
            "BeginProof": pb.BeginProofResponse(asks_password=True),
            "CreateInvitation": PROOF_REQUIRED,
        }
    )


def invite(client: FlaskClient) -> TestResponse:
    """Sends an invitation; returns the page that asks for a proof."""
    return client.post(
        "/members/workers", data={**INVITATION, "form_token": token_of(client.get("/members").text)}
    )


def prove(client: FlaskClient, page: TestResponse, **proof: str) -> TestResponse:
    """Sends the page that asks for a proof, with this proof."""
    return client.post("/members/workers", data={**proof_form_fields(page.text), **proof})


def accept_proof(fakes: FakePageServices) -> None:
    """Sets the service to accept the proof, and then the invitation."""
    fakes.answers |= {
        "ProveSession": pb.ProveSessionResponse(),
        "CreateInvitation": m.Invitation(id=ID),
    }


def proof_form_fields(page: str) -> dict[str, str]:
    """Returns the fields of the form that asks for a proof."""
    form = page[page.index('name="proof"') - 400 :]
    return {
        name: html.unescape(field[1])
        if (field := re.search(rf'name="{name}" value="([^"]*)"', form))
        else ""
        for name in ("form_token", "proof", "challenge", "kept", "to")
    }


def test_a_form_continues_with_the_typed_values_after_the_proof(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    page = invite(client)
    assert (
        page.status_code,
        missing(page.text, "Confirme que es usted", 'action="/members/workers"'),
    ) == (403, [])
    assert not [word for word in ("nueva@puentes.org", "1" * 32) if word in page.text], (
        "the values are sealed, because a colleague may see the screen"
    )
    accept_proof(fakes)
    answer = prove(client, page, password="la mía")
    assert (answer.status_code, answer.location) == (303, "/members?done=invited")
    proof, request = fakes.last("ProveSession"), fakes.last("CreateInvitation")
    assert (proof.session_secret, proof.password, proof.code) == (SECRET, "la mía", "")
    assert (
        request.invitation.email,
        request.invitation.language,
        len(request.invitation.roles),
        request.request_id,
    ) == ("nueva@puentes.org", "fr", 2, "1" * 32)


def test_the_page_says_that_values_too_long_to_be_carried_are_lost(
    client: FlaskClient, fakes: FakePageServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored_text = "Lo que escribió no se perdió."
    lost_text = "Lo que escribió era demasiado largo para guardarlo aquí"
    page = invite(client).text
    assert missing(page, stored_text, lost_text) == [lost_text]
    monkeypatch.setattr(kept, "MAX_BYTES", 10)
    answer = invite(client)
    page = answer.text
    assert (stored_text in page, lost_text in page, proof_form_fields(page)["kept"]) == (
        False,
        True,
        "",
    )
    fakes.answers["ProveSession"] = errors.Invalid(("password", "wrong"))
    page = prove(client, answer, password="otra").text
    assert missing(page, "No es correcto", stored_text, lost_text) == [stored_text]
    fakes.answers["ExportPerson"] = PROOF_REQUIRED
    page = client.get(f"/people/{ID}/knows.pdf").text
    assert missing(page, "Todavía no se hizo nada.", stored_text, lost_text) == [
        stored_text,
        lost_text,
    ], "nothing was typed on this page"


def test_a_wrong_proof_is_reported_and_loses_nothing(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    page = invite(client)
    fakes.answers["ProveSession"] = errors.Invalid(("password", "wrong"))
    answer = prove(client, page, password="otra")
    assert (
        answer.status_code,
        "No es correcto" in answer.text,
        "otra" in proof_form_fields(answer.text).values(),
    ) == (422, True, False)
    fakes.answers["ProveSession"] = errors.Exhausted("too_many_attempts", 300)
    limited_page = prove(client, answer, password="otra")
    assert (limited_page.status_code, "Espere" in limited_page.text) == (429, True)
    accept_proof(fakes)
    assert prove(client, limited_page, password="la mía").status_code == 303
    assert fakes.last("CreateInvitation").invitation.email == "nueva@puentes.org"


def test_errors_of_the_form_itself_are_shown_in_it_after_the_proof(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    page = invite(client)
    accept_proof(fakes)
    fakes.answers["CreateInvitation"] = errors.Invalid(("invitation.email", "malformed"))
    answer = prove(client, page, password="la mía")
    assert (answer.status_code, "nueva@puentes.org" in answer.text) == (422, True)


def test_a_code_or_a_passkey_is_asked_for_if_the_account_has_one(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    options = '{"challenge": "x"}'
    fakes.answers["BeginProof"] = pb.BeginProofResponse(
        asks_code=True, challenge="the-challenge", passkey_options=options
    )
    page = invite(client)
    assert missing(
        page.text, 'name="code"', 'type="password"', 'data-passkey="get"', "passkey.js"
    ) == ['type="password"']
    accept_proof(fakes)
    prove(client, page, passkey="{}")
    proof = fakes.last("ProveSession")
    assert (proof.challenge, proof.passkey) == ("the-challenge", "{}")


def test_a_form_that_was_kept_in_another_session_is_refused(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    page = invite(client)
    fakes.answers["SignIn"] = m.SignInResponse(session_secret="another-session")
    answer = prove(enter(pages(fakes).test_client()), page, password="x")
    assert (answer.status_code, "ya no sirve" in answer.text) == (403, True)
    assert fakes.requests("ProveSession") == []


def test_a_page_without_a_form_is_opened_again_after_the_proof(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers["ExportPerson"] = PROOF_REQUIRED
    page = client.get(f"/people/{ID}/knows.pdf?lang=fr")
    assert (page.status_code, page.mimetype, proof_form_fields(page.text)["to"]) == (
        403,
        "text/html",
        f"/people/{ID}/knows.pdf?lang=fr",
    )
    fakes.answers["ProveSession"] = pb.ProveSessionResponse()
    fields = proof_form_fields(page.text)
    answer = client.post("/account/proof", data={**fields, "password": "la mía"})
    assert (answer.status_code, answer.location) == (303, f"/people/{ID}/knows.pdf?lang=fr")
    forged_answer = client.post("/account/proof", data={**fields, "to": "https://evil.example/"})
    assert forged_answer.location == "/today"


def test_a_worker_who_signs_in_through_her_organisation_gives_the_proof_there_in_another_window(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    provider_url = "https://sso.example/authorize?max_age=0"
    fakes.answers["BeginProof"] = pb.BeginProofResponse(
        challenge="stays-here", authorization_url=provider_url
    )
    page = invite(client)
    assert missing(page.text, 'href="/account/proof/provider"', provider_url) == [provider_url]
    redirect = client.get("/account/proof/provider")
    assert (redirect.status_code, redirect.location) == (303, provider_url)
    fakes.answers["ProveSession"] = pb.ProveSessionResponse()
    answer = client.get("/sign-in/return?state=s&code=c&iss=https://sso.example")
    assert (answer.status_code, answer.location) == (303, "/account?done=proved")
    proof = fakes.last("ProveSession")
    assert (proof.session_secret, proof.challenge, proof.provider.state, proof.provider.code) == (
        SECRET,
        "stays-here",
        "s",
        "c",
    )
    assert fakes.requests("FinishProviderSignIn") == [], "the open session continues"
    fakes.answers["CreateInvitation"] = m.Invitation(id=ID)
    fakes.calls.clear()
    assert prove(client, page).status_code == 303
    assert fakes.requests("ProveSession") == []
    fakes.answers["ProveSession"] = errors.Invalid(("challenge", "wrong"))
    client.get("/account/proof/provider")
    assert client.get("/sign-in/return?state=s&error=x").status_code == 422


def test_the_rest_api_refuses_with_the_reason_step_up_required(visitor: FlaskClient) -> None:
    answer = visitor.post(
        "/api/v1/invitations",
        json={"email": "nueva@puentes.org", "roles": ["worker"]},
        headers={"Authorization": f"Bearer {'s' * 43}", "Idempotency-Key": "one"},
    )
    assert (answer.status_code, answer.json and answer.json["reason"]) == (403, "step_up_required")


def test_everything_that_the_account_made_is_listed_and_ticked_if_it_can_be_ended(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    fakes.answers["ListMadeLately"] = pb.ListMadeLatelyResponse(
        made=[
            pb.MadeLately(id="a" * 32, kind=pb.MADE_KIND_API_KEY, label="sistema", can_end=True),
            pb.MadeLately(id="b" * 32, kind=pb.MADE_KIND_ACCOUNT, label="rosa@puentes.org"),
        ]
    )
    page = client.get("/account/made?since=2026-11-20").text
    assert fakes.last("ListMadeLately").since_time.ToJsonString()[:10] == "2026-11-20"
    ticks = re.findall(
        r'<input type="checkbox" name="ids" value="(\w+)"( checked| disabled)?>', page
    )
    assert ticks == [("a" * 32, " checked"), ("b" * 32, " disabled")]
    data = {"form_token": token_of(page), "request_id": "one", "since": "2026-11-20"}
    answer = client.post("/account/made", data={**data, "ids": "a" * 32})
    assert (answer.status_code, answer.location) == (
        303,
        "/account/made?since=2026-11-20&done=made_ended",
    )
    assert list(fakes.last("EndMadeLately").ids) == ["a" * 32]


@pytest.mark.parametrize("since", ["", "hoy", "9999-01-01", "2026-13-45"])
def test_the_list_of_things_made_opens_for_an_invalid_day(client: FlaskClient, since: str) -> None:
    assert client.get("/account/made", query_string={"since": since}).status_code == 200
