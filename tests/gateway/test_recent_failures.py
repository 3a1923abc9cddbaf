"""Recent failures: how long the gateway remembers them, and how its pages report them."""

from contextlib import suppress

import grpc
import pytest

from chassis import errors
from protos.partners.v1 import members_pb2 as m
from services.gateway.edge.clients import Clients, ServiceFault
from services.gateway.edge.gates import RECENT_SECONDS, Gate
from tests.gateway.pages_gateway import ID, SECRET, enter, missing, pages, token_of
from tests.gateway.served_gateway import Service, refusing_answer


def call(gate: Gate, method: str, failure: Exception | None = None) -> None:
    """Passes a call through the gate; the call succeeds, or ends in a failure."""
    with suppress(errors.Refusal, ServiceFault), gate.passage("", method):
        if failure:
            raise failure


@pytest.mark.parametrize(
    "failure",
    [
        errors.Unavailable("store_full"),
        errors.Unavailable("deadline_exceeded"),
        ServiceFault("INTERNAL"),
    ],
    ids=repr,
)
def test_a_failed_call_is_remembered_for_five_minutes_or_until_the_same_call_succeeds(
    failure: Exception,
) -> None:
    now = 0.0
    gate = Gate("partners", lambda: True, capacity=4, clock=lambda: now)
    call(gate, "SignIn", failure)
    call(gate, "GetService")
    assert gate.failed_recently()
    call(gate, "SignIn", errors.Unauthenticated("sign_in_failed"))
    assert not gate.failed_recently(), "a wrong password was checked, so the call succeeded"
    call(gate, "SignIn", failure)
    now += RECENT_SECONDS
    assert not gate.failed_recently()
    gate.close()


def test_a_callers_error_is_no_failure_of_the_service() -> None:
    gate = Gate("partners", lambda: True, capacity=4, clock=lambda: 0.0)
    for refusal in (
        errors.Stale(),
        errors.NotFound(),
        errors.Conflict("person_erased"),
        errors.Exhausted("too_many_attempts", 9),
    ):
        call(gate, "SignIn", refusal)
    assert not gate.failed_recently()
    gate.close()


def test_the_status_page_reports_that_every_sign_in_fails_though_health_reports_no_fault(
    service: Service, clients: Clients
) -> None:
    def fail_sign_in(rpc: str, context: grpc.ServicerContext) -> None:
        if rpc == "SignIn":
            context.abort(grpc.StatusCode.INTERNAL, "")

    client = pages(clients).test_client()
    assert "No responde" not in client.get("/status").text
    service.answer = fail_sign_in
    with pytest.raises(ServiceFault):
        clients.tokens.SignIn(m.SignInRequest(email="a@b.demo", password="p"))
    text = client.get("/status").text
    assert (
        missing(text, "Algo falló hace poco", "Hace poco, algo que se pidió no se pudo hacer") == []
    )
    service.answer = lambda _rpc, _context: None
    clients.tokens.SignIn(m.SignInRequest(email="a@b.demo", password="p"))
    assert "hace poco" not in client.get("/status").text


@pytest.mark.parametrize(
    ("failing_rpc", "may_be_saved"), [("CreateReferral", False), ("UpdatePlanStep", True)]
)
def test_the_page_says_that_nothing_was_saved_only_if_no_part_of_the_form_was_saved(
    service: Service, clients: Clients, failing_rpc: str, may_be_saved: bool
) -> None:
    service.answer = lambda rpc, _context: (
        m.SignInResponse(session_secret=SECRET) if rpc == "SignIn" else None
    )
    client = enter(pages(clients).test_client())
    token = token_of(client.get("/line/new").text)
    service.answer = refusing_answer("store_unavailable", "UNAVAILABLE", only=failing_rpc)
    text = client.post(
        f"/plans/{ID}/refer/housing", data={"form_token": token, "etag": "", "request_id": "1" * 32}
    ).text
    assert ("Puede que se haya guardado." in text, "No se guardó nada." in text) == (
        may_be_saved,
        not may_be_saved,
    )
