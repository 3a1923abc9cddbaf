"""If a session ends while a worker writes, her text is not lost, and nobody else is shown it."""

import html
import re
from base64 import b64encode
from collections.abc import Callable
from random import Random

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from chassis import errors
from protos.areas import MUNICIPALITIES
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import members_pb2 as m
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.site.shell import kept
from tests.gateway.page_forms import posted_forms, sent_fields
from tests.gateway.pages_gateway import (
    FILLED_TEXT,
    ID,
    SECRET,
    FakePageServices,
    missing,
    page_at,
    routes,
    signed_in,
    submit,
    token_of,
)

NOTE = "Llamó desde la terminal & dijo «vuelvo a las seis»"
ANOTHER_WORKER = "e" * 32


def send_late(client: FlaskClient, fakes: FakePageServices, note: str = NOTE) -> TestResponse:
    """Sends a contact after the session has ended; returns the answer."""
    page = client.get("/line/new").text
    fakes.answers["IssueToken"] = first_session_ended
    client.application.extensions["exchange"].forget(SECRET)
    fields = {"note": note, "danger_now": "yes", "kind_code": "crisis"}
    return submit(client, "/line/new", page, **fields)


def first_session_ended(request: m.IssueTokenRequest) -> m.IssueTokenResponse:
    """Answers that the first session has ended, and that any other session is valid."""
    if request.session_secret == SECRET:
        raise errors.Unauthenticated("session_ended")
    return signed_in(contract_pb2.ROLE_OPERATOR)


def sign_in(
    client: FlaskClient, fakes: FakePageServices, page: str, worker_id: str = ""
) -> TestResponse:
    """Signs in again on that page."""
    session = signed_in(contract_pb2.ROLE_OPERATOR)
    fakes.answers["SignIn"] = m.SignInResponse(
        session_secret="fresh", worker=m.Worker(id=worker_id or session.worker.id)
    )
    return send_credentials(client, page)


def send_credentials(client: FlaskClient, page: str) -> TestResponse:
    """Sends an e-mail and a password, with the sealed form of the page."""
    return submit(client, "/sign-in", page, email="a@b.demo", password="p", kept=sealed_form(page))


def sealed_form(page: str) -> str:
    """Returns the sealed form that the page contains; "" if there is none."""
    field = re.search(r'name="kept" value="([^"]*)"', page)
    return html.unescape(field[1]) if field else ""


def test_the_written_text_is_offered_again_and_sent_only_by_its_writer(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    page = send_late(client, fakes)
    assert (page.status_code, "no se perdió" in page.text) == (401, True)
    offer = sign_in(client, fakes, page.text)
    assert (offer.status_code, 'action="/line/new"' in offer.text) == (200, True)
    assert fakes.requests("CreateContact") == [], "nothing is sent without her knowledge"
    fields = sent_fields(offer.text)
    assert (fields["note"], fields["danger_now"], fields["request_id"]) == (NOTE, "yes", "one")
    client.post("/line/new", data=fields)
    request = fakes.last("CreateContact")
    assert (request.contact.note, request.request_id) == (NOTE, "one")


def test_no_code_that_she_chose_is_shown_as_text_when_a_form_is_offered_again(
    client: FlaskClient,
) -> None:
    choices = {
        (name, value)
        for _endpoint, path in routes(client.application)
        for form in posted_forms(page_at(client, path), path)
        for name, values in form.choices.items()
        for value in values
        if value != FILLED_TEXT
    }
    choices |= {("area_code", code) for towns in MUNICIPALITIES.values() for code in towns}
    assert {("language", "qu"), ("languages", "es")} <= choices
    assert {choice for choice in choices if kept.is_typed(*choice)} == set()


def test_the_next_person_at_the_screen_reads_nothing_of_the_text(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    page = send_late(client, fakes).text
    assert sealed_form(page)
    parts = ["terminal", "seis", "danger_now", "crisis"]
    assert missing(page, *parts) == parts


def test_another_worker_who_signs_in_there_does_not_get_the_text(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    answer = sign_in(client, fakes, send_late(client, fakes).text, worker_id=ANOTHER_WORKER)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/today")
    assert "terminal" not in answer.text


def test_a_wrong_password_does_not_lose_the_text(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    page = send_late(client, fakes).text
    fakes.answers["SignIn"] = errors.Unauthenticated("sign_in_failed")
    answer = send_credentials(client, page)
    assert answer.status_code == 401
    assert "terminal" in sign_in(client, fakes, answer.text).text


@pytest.mark.parametrize(
    "alter",
    [
        lambda text: text[:-2],
        lambda text: "x" + text,
        lambda _text: "made up",
        lambda text: text * 2,
    ],
)
def test_a_sealed_form_that_was_tampered_with_is_not_offered(
    alter: Callable[[str], str], client: FlaskClient, fakes: FakePageServices
) -> None:
    page = send_late(client, fakes).text
    form = sealed_form(page)
    altered_page = page.replace(html.escape(form), html.escape(alter(form)))
    assert sign_in(client, fakes, altered_page).location == "/today"


def test_the_page_does_not_promise_to_keep_a_text_that_is_too_long(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    page = send_late(client, fakes, note=b64encode(Random(1).randbytes(45_000)).decode())
    assert ("no se perdió" in page.text, "/sign-in" in page.headers["Location"]) == (False, True)


def test_a_form_of_another_session_is_not_kept(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    send_late(client, fakes)
    answer = submit(client, "/line/new", client.get("/sign-in").text, note=NOTE)
    assert ("terminal" in answer.text, sealed_form(answer.text)) == (False, "")


def test_a_form_sent_after_signing_out_in_another_tab_is_kept_for_its_writer_alone(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    form = client.get("/line/new").text
    client.delete_cookie("s")
    page = submit(client, "/line/new", form, note=NOTE, kind_code="crisis")
    assert (page.status_code, missing(page.text, "no se perdió", "terminal")) == (401, ["terminal"])
    assert "terminal" not in sign_in(client, fakes, page.text, worker_id=ANOTHER_WORKER).text
    client.delete_cookie("s")
    assert sent_fields(sign_in(client, fakes, page.text).text)["note"] == NOTE


def test_a_failed_step_is_offered_again_and_claims_to_keep_a_text_only_if_there_is_one(
    client: FlaskClient, fakes: FakePageServices
) -> None:
    path = f"/referrals/{ID}"
    token = token_of(client.get(path).text)
    for rpc, verb, note in (
        ("AcknowledgeReferral", "acknowledge", ""),
        ("AddNote", "add_note", NOTE),
    ):
        fakes.answers[rpc] = errors.Unavailable("store_unavailable")
        data = {"form_token": token, "request_id": "one", "etag": "e1", "note": note}
        page = client.post(f"{path}/do/{verb}", data=data).text
        assert ("Enviarlo otra vez" in page, "Lo que escribió sigue aquí" in page) == (
            True,
            bool(note),
        )


@pytest.mark.parametrize("refusal", [errors.Stale(), errors.Conflict("illegal_transition")])
def test_a_text_whose_form_is_gone_is_shown_without_a_button_to_send_it_again(
    refusal: errors.Refusal, fakes: FakePageServices, client: FlaskClient
) -> None:
    path = f"/referrals/{ID}"
    token = token_of(client.get(path).text)
    fakes.answers |= {"GetReferral": r.Referral(id=ID), "DeclineReferral": refusal}
    data = {"form_token": token, "request_id": "one", "etag": "e1", "reason_code": "other"}
    page = client.post(f"{path}/do/decline", data=data | {"note": NOTE}).text
    expected = {html.escape(NOTE): True, "Cópielo antes": True, "Enviarlo otra vez": False}
    assert {text: text in page for text in expected} == expected
