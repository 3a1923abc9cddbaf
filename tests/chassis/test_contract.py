"""Rights and refusals as the .proto files state them.

A service does not start if the .proto of an rpc names no callers.
"""

from datetime import date
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import MethodDescriptor

from chassis import contract
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import locations_pb2, members_pb2
from protos.referrals.v1 import referrals_pb2
from services.gateway.api import tables
from services.gateway.edge.problems import REASONS
from tests.refusals import METHODS, undeclared, unprovoked


def rpc(file: Any, name: str) -> MethodDescriptor:
    service, method = name.split("/")
    descriptor: MethodDescriptor = file.DESCRIPTOR.services_by_name[service].methods_by_name[method]
    return descriptor


def method_with(name: str, rules: contract_pb2.Rules | None) -> MethodDescriptor:
    """Returns an rpc with these rules, in a file made for the test."""
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
def test_an_rpc_that_names_no_callers_is_rejected(
    name: str, rules: contract_pb2.Rules | None
) -> None:
    with pytest.raises(TypeError, match="states who may call it"):
        contract.rules(method_with(name, rules))


def test_rights_are_read_from_the_proto() -> None:
    send = contract.rules(rpc(referrals_pb2, "Referrals/SendReferral"))
    assert (send.roles, send.scope, send.public, send.recorded) == (
        frozenset({"WORKER", "OPERATOR", "MANAGER"}),
        "referrals.write",
        False,
        True,
    )
    assert "incomplete_draft" in send.refusals
    sign_in = contract.rules(rpc(members_pb2, "Tokens/IssueToken"))
    assert (sign_in.roles, sign_in.scope, sign_in.public, sign_in.recorded) == (
        frozenset(),
        "",
        True,
        False,
    )


def test_declared_and_provoked_refusals_are_compared() -> None:
    name = "enlace.partners.v1.Tokens/SignIn"
    provoked = {
        (name, "sign_in_failed"),
        (name, "made_up"),
        ("enlace.other.v1.Other/Do", "made_up"),
    }
    methods = {name: METHODS[name]}
    assert undeclared(provoked, methods) == [f"{name}: made_up"]
    assert unprovoked(provoked, methods) == [f"{name}: too_many_attempts"]


def test_every_declared_refusal_is_explained() -> None:
    declared = {reason for method in METHODS.values() for reason in contract.refusals(method)}
    assert declared - REASONS.keys() == set()


def test_the_page_of_rights_has_each_rpc_with_its_refusals() -> None:
    rows = [line for line in tables.rights().splitlines() if line.startswith("| `")]
    refusing = [name for name, method in METHODS.items() if contract.rules(method).refusals]
    assert len(rows) == len(METHODS) + len(refusing)
    assert "| `SignIn` | `sign_in_failed`, `too_many_attempts` |" in rows


def test_all_rules_of_an_rpc_are_read_from_its_proto() -> None:
    declared = contract_pb2.Rules(
        roles=[contract_pb2.ROLE_MANAGER, contract_pb2.ROLE_COORDINATOR],
        scope=contract_pb2.SCOPE_REFERRALS_READ,
        unrecorded=True,
        unversioned=True,
        refusals=[contract_pb2.REASON_STALE_ETAG],
        deprecate_date="2026-01-01",
        sunset_date="2027-01-01",
        step_up=True,
    )
    assert contract.rules(method_with("full", declared)) == contract.Rules(
        roles=frozenset({"MANAGER", "COORDINATOR"}),
        scope="referrals.read",
        public=False,
        recorded=False,
        unversioned=True,
        refusals=frozenset({"stale_etag", "step_up_required"}),
        deprecate_date=date(2026, 1, 1),
        sunset_date=date(2027, 1, 1),
        step_up=True,
    )
    assert contract.rules(method_with("short", contract_pb2.Rules(public=True))) == contract.Rules(
        frozenset(), "", True, True, False, frozenset()
    )


@pytest.mark.parametrize(
    ("since", "until", "is_allowed"),
    [
        ("2026-01-01", "2027-01-01", True),
        ("2026-01-01", "2026-12-31", False),
        ("2026-01-01", "", False),
        ("", "2027-01-01", False),
    ],
)
def test_a_deprecated_rpc_stays_for_at_least_a_year(
    since: str, until: str, is_allowed: bool
) -> None:
    rules = contract_pb2.Rules(public=True, deprecate_date=since, sunset_date=until)
    name = f"deprecated{since}{until}".replace("-", "_")
    if is_allowed:
        assert contract.rules(method_with(name, rules)).sunset_date == date(2027, 1, 1)
    else:
        with pytest.raises(TypeError, match="at least a year apart"):
            contract.rules(method_with(name, rules))


def test_a_scope_alone_is_a_right_too() -> None:
    keys_only = contract_pb2.Rules(scope=contract_pb2.SCOPE_REFERRALS_READ)
    assert contract.rules(method_with("keys_only", keys_only)).roles == frozenset()


@pytest.mark.parametrize(
    ("file", "name", "refused"),
    [
        # requests with neither etag nor request id, with both, and with the etag in the resource
        (referrals_pb2, "Referrals/GetReferral", set()),
        (referrals_pb2, "Referrals/SendReferral", {"stale_etag", "request_id_reused"}),
        (locations_pb2, "Locations/UpdateLocation", {"stale_etag", "request_id_reused"}),
    ],
)
def test_a_stale_etag_and_a_reused_request_id_are_refused_where_requests_have_them(
    file: Any, name: str, refused: set[str]
) -> None:
    of_requests = {"stale_etag", "request_id_reused"}
    assert contract.refusals(rpc(file, name)) & of_requests == refused


def test_a_public_rpc_declares_no_refusals_about_tokens() -> None:
    public = contract.refusals(method_with("anybody", contract_pb2.Rules(public=True)))
    known = contract.refusals(
        method_with("somebody", contract_pb2.Rules(roles=[contract_pb2.ROLE_MANAGER], step_up=True))
    )
    assert known - public == {
        "token_missing",
        "token_invalid",
        "token_expired",
        "right_missing",
        "organization_not_active",
        "step_up_required",
    }
    assert {"invalid_fields", "not_found", "rate_limited"} <= public


def test_the_name_of_an_rpc_is_converted_to_words() -> None:
    assert contract.words_of("SendReferral") == "send_referral"
    assert contract.words_of("Watch") == "watch"
