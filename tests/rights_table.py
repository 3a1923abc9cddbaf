"""The guide's page about rights, as tests read it.

The page lists the callers of each rpc, and for whom a thing exists.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from chassis import audit
from chassis.db import Database
from chassis.tokens import SYSTEM
from chassis.wire import words
from protos.contract.v1 import contract_pb2
from protos.stubs import SERVICES
from services.gateway.api.guide import PAGES

SCOPES = tuple(words(contract_pb2.Scope.DESCRIPTOR).values())
ROLES = ("WORKER", "OPERATOR", "MANAGER", "COORDINATOR", "AUDITOR", "EMERGENCY")
SIDES = ("sender", "receiver", "coordinator", "auditor", "another member")
STAGES = ("draft", "live", "ended")
PUBLIC = "anybody, without a token"
_YES = {"yes": True, "–": False}


def services_of(name: str) -> list[ServiceDescriptor]:
    """Returns the gRPC services of the contract that one of our services serves."""
    return [service for service in SERVICES if service.full_name.startswith(f"enlace.{name}.")]


@dataclass(frozen=True)
class Row:
    """The row of one rpc."""

    rpc: str
    roles: frozenset[str]
    scope: str
    public: bool
    recorded: bool

    def lets_in(self, role: str = "", scope: str = "") -> bool:
        """Returns whether this role, or a key with this scope alone, may call the rpc."""
        return self.public or role in self.roles or bool(scope and scope == self.scope)


def rows(service: str) -> list[Row]:
    """Returns the table of a service."""
    table = []
    for rpc, *cells in _table(rf"## {re.escape(service)}\n"):
        public = cells[0] == PUBLIC
        roles = (
            frozenset()
            if public
            else frozenset(
                role for role, cell in zip(ROLES[:5], cells[:5], strict=True) if _YES[cell]
            )
        )
        scope = "" if public or cells[5] == "–" else cells[5].strip("`")
        table.append(Row(rpc.strip("`"), roles, scope, public, _YES[cells[6]]))
    return table


def exists(heading: str) -> dict[tuple[str, str], bool]:
    """Returns whether a thing exists, by (stage, side).

    `thing` is `referral` or `file of a person`.
    """
    return {
        (stage, side): _YES[cell]
        for stage, *cells in _table(rf"(?=\| {heading} \|)")
        for side, cell in zip(SIDES, cells, strict=True)
    }


def _table(before: str) -> Iterator[list[str]]:
    text = PAGES["rights"].text()
    begin = re.search(before, text)
    assert begin, before
    lines = text[begin.end() :].lstrip("\n").splitlines()
    assert lines[1].startswith("|---")
    for line in lines[2:]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split("|")]


def check(
    descriptor: ServiceDescriptor,
    channel: grpc.Channel,
    metadata: Callable[[str, str], Any],
    scopes: Any,
    database: Database,
) -> int:
    """Calls every rpc as every role, with every scope alone and without a token.

    Fails if an answer differs from the table, or the trail from the answer; returns the number of
    calls. `metadata(role, scope)` returns the metadata of a caller's calls; `database` is the
    service's database.
    """
    table = {row.rpc: row for row in rows(descriptor.full_name)}
    assert table.keys() == {method.name for method in descriptor.methods}, descriptor.full_name
    cells, wrong = 0, []
    for method in descriptor.methods:
        row = table[method.name]
        kind: Any = channel.unary_stream if method.server_streaming else channel.unary_unary
        call: Any = kind(
            f"/{descriptor.full_name}/{method.name}",
            request_serializer=GetMessageClass(method.input_type).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        callers = [("", "")] + [(role, "") for role in ROLES] + [("", scope) for scope in scopes]
        for role, scope in callers:
            named = metadata(role, scope) if role or scope else ()
            with database.transaction(SYSTEM) as tx:
                before = audit.head(tx).sequence
            answer = _answer(call, GetMessageClass(method.input_type)(), named)
            with database.transaction(SYSTEM) as tx:
                refusals = [
                    row["reason"]
                    for row in tx.execute("SELECT reason FROM audit WHERE sequence > %s", (before,))
                ]
            expected = row.lets_in(role, scope)
            refused = {"PERMISSION_DENIED right_missing", "UNAUTHENTICATED token_missing"}
            if (answer not in refused) != expected:
                wrong.append(f"{method.name} as {role or scope or 'nobody'}: {answer}")
            reason = "" if answer == "OK" else answer.split()[1]
            on_record = reason != "token_missing" and (
                row.recorded or answer.startswith("PERMISSION_DENIED")
            )
            if refusals != [reason] * on_record:
                wrong.append(
                    f"{method.name} as {role or scope or 'nobody'}: {answer}, and on record is"
                    f" {refusals}"
                )
            cells += 1
    assert not wrong, "\n".join(wrong)
    return cells


def _answer(call: Any, request: Any, metadata: Any) -> str:
    try:
        answer: Any = call(request, metadata=metadata, timeout=10)
        if isinstance(answer, grpc.Call):  # a stream, whose first message shows that it is allowed
            next(answer)  # type: ignore[call-overload]
            answer.cancel()
    except grpc.RpcError as caught:
        error: Any = caught
        return f"{error.code().name} {error.details()}"
    return "OK"
