"""The id of a request stays with the facts that the request caused.

The id is in the outbox, in the topic, and with facts that wait at a consumer.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from chassis import log, trace
from chassis.db import Transaction
from chassis.ids import new_id
from facts import inbox, outbox
from facts.envelope import pack, unpack
from facts.outbox import Fact
from keys import key_folder
from keys.sealing import Signer
from tests.builders import NOON

ROOT = Path(__file__).resolve().parents[2]
REQUEST = "0d5f3c0a9b1e4c7d8e2f60718293a4b5"
INVALID_TRACEPARENTS = [
    b"",
    b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01",
    b"Ana L\xc3\xb3pez",
    b"00-" + b"a" * 32 + b"-00f067aa0ba902b7-01\nx",
]


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    key_folder.create(tmp_path, ["publisher"])
    return Signer(key_folder.signing(tmp_path, "facts.publisher"))


def test_a_fact_has_the_id_of_the_request_that_made_it_and_keeps_it_while_it_waits(
    tx: Transaction, signer: Signer
) -> None:
    subject = new_id()
    with trace.under(REQUEST):
        outbox.save(tx, [Fact(subject, 1, "enlace.test.told.v1", b"x", NOON)])
    [fact] = outbox.next_batch(tx, 10).facts
    _, body, headers = pack(fact, "enlace/publisher", signer)
    received_fact = unpack(headers, body, {"enlace/publisher": signer.verifier()})
    inbox.position(tx, "listener", received_fact)
    inbox.park(tx, "listener", "topic", received_fact, NOON)
    waiting = inbox.due_fact(tx, "listener", subject, NOON)
    assert waiting
    assert (received_fact.trace, waiting.fact.trace) == (REQUEST, REQUEST)


def test_a_fact_without_a_request_has_no_trace_id(tx: Transaction) -> None:
    with trace.under(""):
        outbox.save(tx, [Fact(new_id(), 1, "enlace.test.told.v1", b"x", NOON)])
    assert [fact.trace for fact in outbox.next_batch(tx, 10).facts] == [""]


@pytest.mark.parametrize("traceparent", INVALID_TRACEPARENTS)
def test_an_invalid_traceparent_leaves_the_fact_readable_and_is_not_kept(
    traceparent: bytes, signer: Signer
) -> None:
    _, body, headers = pack(
        Fact(new_id(), 1, "enlace.test.told.v1", b"x", NOON), "enlace/publisher", signer
    )
    received_fact = unpack(
        [*headers, (trace.HEADER, traceparent)], body, {"enlace/publisher": signer.verifier()}
    )
    assert received_fact.trace == ""


def test_each_log_line_within_a_request_has_its_trace_id(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log.setup("tests")
    with trace.under(REQUEST):
        log.get().info("within")
    with trace.under(""):
        log.get().info("without")
    within, without = map(json.loads, capsys.readouterr().out.splitlines())
    assert within["trace_id"] == REQUEST
    assert "trace_id" not in without


def test_no_log_line_of_the_code_has_a_field_that_is_dropped() -> None:
    files = [
        file
        for folder in ("chassis", "facts", "keys", "local", "runtime", "services", "trail")
        for file in (ROOT / folder).rglob("*.py")
    ]
    calls = [
        node
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
    ]
    fields = {
        keyword.arg
        for call in calls
        if ast.unparse(call.func).startswith("log.get().")
        for keyword in call.keywords
    }
    # `fire_each` logs the id of a row whose deadlines can't be fired; its argument names the field
    fields |= {
        str(argument.value)
        for call in calls
        if ast.unparse(call.func) == "fire_each"
        for argument in call.args
        if isinstance(argument, ast.Constant) and str(argument.value).endswith("_id")
    }
    assert {"receipt_id", "enquiry_id", "silent"} < fields
    assert fields - log.ALLOWED - {None} == set()
