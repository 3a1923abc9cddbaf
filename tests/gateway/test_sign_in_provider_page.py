"""The way to an organisation's own provider and back, and the provider's settings.

The services are fake.
"""

import pytest
from flask.testing import FlaskClient
from google.protobuf.timestamp_pb2 import Timestamp

from chassis import errors
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import directory_pb2
from protos.partners.v1 import members_pb2 as m
from tests.gateway.pages_gateway import (
    ID,
    SECRET,
    FakePageServices,
    missing,
    signed_in_as,
    token_of,
)

PROVIDER_URL = "https://sso.ministerio.example/authorize?state=s"
PAGE = f"/directory/organizations/{ID}/sign-in"
PROPOSAL = m.ProposedSignInProvider(
    issuer="https://sso.example",
    client_id="enlace",
    worker_id="x" * 32,
    time=Timestamp(seconds=1_774_000_000),
)


@pytest.fixture
def fakes() -> FakePageServices:
    return FakePageServices(
        {
            "BeginProviderSignIn": m.BeginProviderSignInResponse(
                challenge="stays-here", authorization_url=PROVIDER_URL
            ),
            "FinishProviderSignIn": m.SignInResponse(
                session_secret=SECRET, worker=m.Worker(id="w")
            ),
        }
    )


@pytest.fixture
def coordinator(fakes: FakePageServices) -> FlaskClient:
    """A browser of a coordinator."""
    return signed_in_as(fakes, contract_pb2.ROLE_COORDINATOR)


def test_a_link_leads_to_the_provider_whose_answer_opens_a_session_in_this_browser(
    fakes: FakePageServices, visitor: FlaskClient
) -> None:
    redirect = visitor.get(f"/sign-in/with/{ID}", headers={"Host": "localhost"})
    assert (redirect.status_code, redirect.location) == (303, PROVIDER_URL)
    assert fakes.last("BeginProviderSignIn").provider_id == ID
    [cookie] = [
        cookie for cookie in redirect.headers.getlist("Set-Cookie") if cookie.startswith("p=")
    ]
    assert all(text in cookie for text in ("stays-here", "HttpOnly", "SameSite=Lax", "Max-Age=600"))
    answer = visitor.get("/sign-in/return?state=s&code=c&iss=i")
    request = fakes.last("FinishProviderSignIn")
    assert (request.challenge, request.state, request.code, request.issuer) == (
        "stays-here",
        "s",
        "c",
        "i",
    )
    assert (answer.status_code, answer.location) == (303, "/today")
    assert {cookie.split("=")[0] for cookie in answer.headers.getlist("Set-Cookie")} == {
        "p",
        "s",
        "d",
    }
    assert visitor.get_cookie("p") is None


def test_an_account_that_needs_a_code_is_asked_for_it_after_signing_in_at_the_provider(
    fakes: FakePageServices, visitor: FlaskClient
) -> None:
    fakes.answers["FinishProviderSignIn"] = m.SignInResponse(
        challenge="the-challenge", asks_code=True
    )
    answer = visitor.get("/sign-in/return?state=s&code=c")
    assert missing(answer.text, "Código para entrar", 'value="the-challenge"') == []
    assert "s=" not in {cookie[:2] for cookie in answer.headers.getlist("Set-Cookie")}


@pytest.mark.parametrize(
    ("path", "rpc", "refusal", "reason"),
    [
        (f"/sign-in/with/{ID}", "BeginProviderSignIn", errors.NotFound(), "Pida el enlace"),
        (
            f"/sign-in/with/{ID}",
            "BeginProviderSignIn",
            errors.Unavailable("provider_unavailable"),
            "no responde ahora",
        ),
        (
            "/sign-in/return?state=s&error=x",
            "FinishProviderSignIn",
            errors.Unauthenticated("sign_in_failed"),
            "no reconoció su cuenta",
        ),
        (
            "/sign-in/return",
            "FinishProviderSignIn",
            errors.Invalid(("state", "required")),
            "no reconoció su cuenta",
        ),
        (
            "/sign-in/return?state=s&code=c",
            "FinishProviderSignIn",
            errors.Unavailable("provider_unavailable"),
            "no responde ahora",
        ),
    ],
)
def test_a_failed_sign_in_through_a_provider_leads_to_the_sign_in_page(
    fakes: FakePageServices,
    visitor: FlaskClient,
    path: str,
    rpc: str,
    refusal: errors.Refusal,
    reason: str,
) -> None:
    fakes.answers[rpc] = refusal
    answer = visitor.get(path)
    assert (answer.status_code, answer.location.partition("?")[0]) == (303, "/sign-in")
    assert missing(visitor.get(answer.location).text, reason, 'id="password"') == []


def test_one_coordinator_proposes_a_provider_and_another_confirms_what_she_sees(
    fakes: FakePageServices, coordinator: FlaskClient
) -> None:
    fakes.answers["GetSignInProvider"] = m.SignInProvider(
        etag="v0", redirect_uri="https://enlace.example/sign-in/return"
    )
    empty_page = coordinator.get(PAGE).text
    assert missing(empty_page, "https://enlace.example/sign-in/return", "Dejar de usarlo") == [
        "Dejar de usarlo"
    ]
    form = {
        "form_token": token_of(empty_page),
        "request_id": "one",
        "etag": "v0",
        "step": "propose",
    }
    fields = {"issuer": "https://sso.example", "client_id": "enlace", "client_secret": "un secreto"}
    assert coordinator.post(PAGE, data=form | fields).status_code == 303
    request = fakes.last("ProposeSignInProvider")
    assert (
        request.organization_id,
        request.etag,
        request.provider.issuer,
        request.client_secret,
    ) == (ID, "v0", "https://sso.example", "un secreto")
    fakes.answers["GetSignInProvider"] = m.SignInProvider(
        provider_id=ID, etag="v1", issuer="https://old.example", proposal=PROPOSAL
    )
    page = coordinator.get(PAGE).text
    expected = (
        "https://old.example",
        "https://sso.example",
        "Confirmar el cambio",
        "Dejar de usarlo",
    )
    assert missing(page, *expected) == []
    assert coordinator.post(PAGE, data=form | {"step": "confirm", "etag": "v1"}).status_code == 303
    assert fakes.last("ConfirmSignInProvider").etag == "v1"
    assert coordinator.post(PAGE, data=form | {"step": "end", "etag": "v1"}).status_code == 303
    assert fakes.last("EndSignInProvider").organization_id == ID


def test_the_proposer_is_told_that_another_confirms_and_errors_are_shown_at_their_fields(
    fakes: FakePageServices, coordinator: FlaskClient
) -> None:
    own_proposal = m.ProposedSignInProvider(
        issuer="https://sso.example", client_id="enlace", worker_id=ID, time=PROPOSAL.time
    )
    fakes.answers["GetSignInProvider"] = m.SignInProvider(
        provider_id=ID, etag="v1", proposal=own_proposal
    )
    page = coordinator.get(PAGE).text
    assert missing(page, "Usted lo propuso", "Confirmar el cambio") == ["Confirmar el cambio"]
    form = {
        "form_token": token_of(page),
        "request_id": "one",
        "etag": "v1",
        "step": "propose",
        "issuer": "http://sso",
        "client_secret": "un secreto",
    }
    fakes.answers["ProposeSignInProvider"] = errors.Invalid(("provider.issuer", "out_of_range"))
    answer = coordinator.post(PAGE, data=form)
    assert (answer.status_code, missing(answer.text, 'id="issuer-error"', "un secreto")) == (
        422,
        ["un secreto"],
    )


def test_coordinators_read_that_a_provider_is_confirmed_only_after_three_days(
    fakes: FakePageServices, coordinator: FlaskClient
) -> None:
    fakes.answers["GetSignInProvider"] = m.SignInProvider(etag="v0")
    assert "pasados tres días otra la confirma" in coordinator.get(PAGE).text
    for proposer in (ID, PROPOSAL.worker_id):
        proposal = m.ProposedSignInProvider(worker_id=proposer, time=PROPOSAL.time)
        fakes.answers["GetSignInProvider"] = m.SignInProvider(etag="v1", proposal=proposal)
        assert "tiene tres días para objetar" in coordinator.get(PAGE).text


def test_nothing_is_proposed_or_confirmed_while_the_organisation_is_suspended(
    fakes: FakePageServices, coordinator: FlaskClient
) -> None:
    fakes.answers |= {
        "GetOrganization": directory_pb2.Organization(
            id=ID, name="Ministerio", status=directory_pb2.ORGANIZATION_STATUS_SUSPENDED
        ),
        "GetSignInProvider": m.SignInProvider(
            provider_id=ID, etag="v1", issuer="https://old.example", proposal=PROPOSAL
        ),
    }
    page = coordinator.get(PAGE).text
    assert missing(page, "nadie suyo podría objetarlo", "Dejar de usarlo") == []
    assert missing(page, "Confirmar el cambio", "Proponer el cambio") == [
        "Confirmar el cambio",
        "Proponer el cambio",
    ]


def test_a_manager_objects_on_the_page_that_her_email_links_to(fakes: FakePageServices) -> None:
    fakes.answers["ObjectToSignInProvider"] = m.ObjectToSignInProviderResponse()
    client = signed_in_as(fakes, contract_pb2.ROLE_MANAGER)
    page = client.get("/sign-in-provider").text
    assert "No lo pedimos: objetar" in page
    form = {"form_token": token_of(page), "request_id": "one"}
    assert "Pasados los tres días" in page, "the page says what follows if she does nothing"
    answer = client.post("/sign-in-provider", data=form)
    assert answer.status_code == 303
    next_page = client.get(answer.location).text
    assert missing(next_page, "La coordinación no recibe un aviso", "objetar</button>") == [
        "objetar</button>"
    ]
    assert fakes.last("ObjectToSignInProvider").request_id
    fakes.answers["ObjectToSignInProvider"] = errors.Conflict("nothing_to_confirm")
    second_answer = client.post("/sign-in-provider", data=form | {"request_id": "two"})
    assert (second_answer.status_code, "Ya no hay nada pendiente" in second_answer.text) == (
        422,
        True,
    )


@pytest.mark.parametrize(
    ("language", "again", "too_late"),
    [
        ("es", "envíelo otra vez", "o ya no es posible"),
        ("en", "send it again", "or it is no longer possible"),
        ("fr", "renvoyez-le", "ou ce n’est plus possible"),
    ],
)
def test_nobody_is_told_to_confirm_again_a_proposal_that_was_objected_to(
    language: str, again: str, too_late: str, fakes: FakePageServices, coordinator: FlaskClient
) -> None:
    fakes.answers["GetSignInProvider"] = m.SignInProvider(etag="v1", proposal=PROPOSAL)
    data = {
        "form_token": token_of(coordinator.get(f"{PAGE}?lang={language}").text),
        "request_id": "one",
        "etag": "v1",
        "step": "confirm",
    }
    fakes.answers["ConfirmSignInProvider"] = errors.Stale()
    answer_if_changed = coordinator.post(PAGE, data=data)
    assert (
        answer_if_changed.status_code,
        again in answer_if_changed.text,
        too_late in answer_if_changed.text,
    ) == (
        409,
        True,
        False,
    ), "another proposal waits, and can be confirmed"
    fakes.answers["GetSignInProvider"] = m.SignInProvider(etag="v2")
    answer_if_gone = coordinator.post(PAGE, data=data)
    assert (
        answer_if_gone.status_code,
        again in answer_if_gone.text,
        too_late in answer_if_gone.text,
    ) == (409, False, True)
