"""Rights and refusals as the .proto files state them.

A service does not start with an rpc whose .proto does not say who may call it.
"""

from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import MethodDescriptor

from chassis import contract
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import members_pb2
from protos.referrals.v1 import referrals_pb2
from services.gateway.api import printed
from services.gateway.edge.problems import REASONS
from tests.refusals import METHODS, undeclared, unprovoked


def rpc(file: Any, name: str) -> MethodDescriptor:
    service, method = name.split("/")
    descriptor: MethodDescriptor = file.DESCRIPTOR.services_by_name[service].methods_by_name[method]
    return descriptor


def made(name: str, rules: contract_pb2.Rules | None) -> MethodDescriptor:
    """Returns an rpc of a file made for the test."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{name}.proto", package=name, dependency=["protos/contract/v1/contract.proto"]
    )
    file.message_type.add(name="Empty")
    method = file.service.add(name="Service").method.add(
        name="Do", input_type=f".{name}.Empty", output_type=f".{name}.Empty"
    )
    if rules is not None:
        method.options.Extensions[contract_pb2.rules].CopyFrom(rules)
    pool: Any = descriptor_pool.Default()
    return rpc(
        type("File", (), {"DESCRIPTOR": pool.AddSerializedFile(file.SerializeToString())}),
        "Service/Do",
    )


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("unsaid", None),
        ("empty", contract_pb2.Rules()),
        ("odd", contract_pb2.Rules(unrecorded=True)),
    ],
)
def test_an_rpc_without_a_right_does_not_start(name: str, rules: contract_pb2.Rules | None) -> None:
    with pytest.raises(TypeError, match="says who may call it"):
        contract.rules(made(name, rules))


def test_rights_are_those_of_the_proto() -> None:
    send = contract.rules(rpc(referrals_pb2, "Referrals/SendReferral"))
    assert send.roles == {"WORKER", "OPERATOR", "MANAGER"}
    assert (send.scope, send.public, send.recorded) == ("referrals.write", False, True)
    assert "incomplete_draft" in send.refusals
    sign_in = contract.rules(rpc(members_pb2, "Tokens/IssueToken"))
    assert (sign_in.roles, sign_in.scope, sign_in.public, sign_in.recorded) == (
        frozenset(),
        "",
        True,
        False,
    )


def test_the_usual_refusals_follow_from_the_request() -> None:
    sending = contract.refusals(rpc(referrals_pb2, "Referrals/SendReferral"))
    assert {"stale_etag", "request_id_reused", "right_missing", "receipt_missing"} <= sending
    reading = contract.refusals(rpc(referrals_pb2, "Referrals/GetReferral"))
    assert not {"stale_etag", "request_id_reused"} & reading
    assert "token_missing" not in contract.refusals(rpc(members_pb2, "Tokens/EndSession"))


def test_what_is_declared_and_what_is_provoked_are_compared() -> None:
    name = "enlace.partners.v1.Tokens/SignIn"
    provoked = {
        (name, "sign_in_failed"),
        (name, "made_up"),
        ("enlace.other.v1.Other/Do", "made_up"),
    }
    only = {name: METHODS[name]}
    assert undeclared(provoked, only) == [f"{name}: made_up"]
    assert unprovoked(provoked, only) == [f"{name}: too_many_attempts"]


def test_every_declared_refusal_is_explained() -> None:
    declared = {reason for method in METHODS.values() for reason in contract.refusals(method)}
    assert declared - REASONS.keys() == set()


def test_the_page_of_rights_has_each_rpc_with_its_refusals() -> None:
    rows = [line for line in printed.rights().splitlines() if line.startswith("| `")]
    refusing = [name for name, method in METHODS.items() if contract.rules(method).refusals]
    assert len(rows) == len(METHODS) + len(refusing)
    assert "| `SignIn` | `sign_in_failed`, `too_many_attempts` |" in rows
