"""schemathesis against a running stack.

Every caller gets an answer that the document describes for each allowed request, and a refusal for
each forbidden request. The checks are configured and explained in fuzz.toml. The examples are the
same each time. A caller without credentials and the auditor try every operation, with one example
of each kind, because the right is checked first. The others try the operations that their rights
open, because the auditor already gets the 403 of the rest. All the edges of each schema
("coverage") are tried once, by the first caller with the right: public operations without
credentials, all others by one of the EDGE_CALLERS, who together may do everything.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chassis import contract
from protos.stubs import SERVICES
from services.gateway.api.binding import bindings
from tests.gateway.fuzz_checks import is_unpredictable
from tests.gateway.partner_system import session_of, worker
from tests.parts.local_stack import ROOT, LocalStack

pytestmark = pytest.mark.long

ROLES = {
    "WORKER": "trabajadora@puentes",
    "OPERATOR": "operadora@llamayvive",
    "MANAGER": "jefa@llamayvive",
    "COORDINATOR": "coordinacion@coalicion",
}
AUDITOR = "auditoria@coalicion"
EDGE_CALLERS = ("operator", "manager", "coordinator", "auditor")
HOTLINE = ["contacts.write", "directory.write", "directory.read"]
# A caller who ends her own sessions has no credential afterwards; test_api_tokens.py and
# tests/partners test this.
SKIPPED_OPERATIONS = {"end_session", "end_sessions", "change_password"}
EXAMPLES = 3


@pytest.fixture
def own_stack() -> Iterator[LocalStack]:
    """A stack that may be left in any state."""
    stack = LocalStack()
    try:
        yield stack.start()
    finally:
        stack.stop()


def key_with(stack: LocalStack, manager: str, scopes: list[str]) -> str:
    """Returns an API key with these scopes, made by a manager."""
    key = worker(stack, manager).create("/api-keys", {"label": "fuzz", "scopes": scopes})
    return str(key["secret"])


def operations(condition: Callable[[contract.Rules], bool] = lambda rules: True) -> set[str]:
    """Returns the ids of the tried operations whose rules meet the condition."""
    rpcs = [
        rpc for service in SERVICES for rpc in service.methods if condition(contract.rules(rpc))
    ]
    return {binding.operation_id for rpc in rpcs for binding in bindings(rpc)} - SKIPPED_OPERATIONS


def allowed_to(*, role: str = "", scopes: Sequence[str] = ()) -> set[str]:
    """Returns the operations that a role, or a key with these scopes, may call."""
    return operations(
        lambda rules: role in rules.roles or (bool(rules.scope) and rules.scope in scopes)
    )


@pytest.mark.timeout(900)
def test_schemathesis_finds_no_fault_with_any_credential(
    own_stack: LocalStack, tmp_path: Path
) -> None:
    keys = {
        f"key of {key['organization']}": (str(key["key"]), allowed_to(scopes=key["scopes"]))
        for key in own_stack.demo["api_keys"]
    }
    sessions = {
        role.lower(): (session_of(own_stack, email_part), allowed_to(role=role))
        for role, email_part in ROLES.items()
    }
    hotline = (key_with(own_stack, ROLES["MANAGER"], HOTLINE), allowed_to(scopes=HOTLINE))
    callers = {
        "nobody": ("", set()),
        "auditor": (session_of(own_stack, AUDITOR), set()),
        **sessions,
        **keys,
        "key of the hotline": hotline,
    }
    edges = {"nobody": operations(lambda rules: rules.public)}
    for name in EDGE_CALLERS:
        edges[name] = allowed_to(role=name.upper()) - set().union(*edges.values())
    assert set().union(*edges.values()) == operations()
    # the edges come first, because one of these runs takes long
    runs = {
        f"edges by {name}": (callers[name][0], operation_ids, "coverage")
        for name, operation_ids in edges.items()
    } | {name: (*caller, "examples,fuzzing,stateful") for name, caller in callers.items()}
    with ThreadPoolExecutor(2) as pool:
        outcomes = pool.map(lambda run: fuzz(own_stack, tmp_path, *run), runs.values())
        outcome_of = dict(zip(runs, outcomes, strict=True))
    assert {name: text for name, (code, text) in outcome_of.items() if code} == {}
    cases = {
        name: int(count[1]) if (count := re.search(r"(\d+) generated", text)) else 0
        for name, (_, text) in outcome_of.items()
    }
    assert min(cases.values()) > 20, cases  # schemathesis did run
    assert sum(count for name, count in cases.items() if name.startswith("edges")) > 5000, cases


def fuzz(
    stack: LocalStack, folder: Path, credential: str, operation_ids: set[str], phases: str
) -> tuple[int, str]:
    """Runs schemathesis on these operations, or on all; returns its exit code and output."""
    selection = [
        f"--include-operation-id={name}" for name in sorted(operation_ids - SKIPPED_OPERATIONS)
    ] or [f"--exclude-operation-id={name}" for name in sorted(SKIPPED_OPERATIONS)]
    header = [f"--header=Authorization: Bearer {credential}"] if credential else []
    run = subprocess.run(
        [
            Path(sys.executable).parent / "st",
            "--no-color",
            f"--config-file={Path(__file__).with_name('fuzz.toml')}",
            "run",
            ROOT / "docs" / "openapi.json",
            f"--url={stack.gateway}",
            f"--max-examples={EXAMPLES if operation_ids else 1}",
            *selection,
            *header,
            f"--phases={phases}",
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    return run.returncode, run.stdout + run.stderr


@pytest.mark.parametrize(
    ("status", "problem", "excepted"),
    [
        (412, {"reason": "stale_etag"}, True),
        (400, {"reason": "malformed_json"}, False),
        (500, {"reason": "fault"}, False),
    ],
)
def test_only_a_refusal_that_no_document_can_foresee_is_excepted(
    status: int, problem: dict[str, str], excepted: bool
) -> None:
    assert is_unpredictable(status, problem) is excepted


@pytest.mark.parametrize(
    ("error", "excepted"),
    [
        ({"reason": "unknown_code", "pointer": "/need_codes/0"}, True),
        ({"reason": "malformed", "pointer": "/excluded_organization_ids/3"}, True),
        ({"reason": "malformed", "parameter": "cursor"}, True),
        ({"reason": "required", "pointer": "/explained_codes"}, True),
        ({"reason": "unknown_key", "pointer": "/text/12"}, True),
        ({"reason": "required", "pointer": "/text/1/version"}, True),
        ({"reason": "malformed", "pointer": "/name"}, False),
        ({"reason": "too_long", "pointer": "/note"}, False),
        ({"reason": "required", "pointer": ""}, True),
        ({"reason": "malformed", "pointer": ""}, False),
    ],
)
def test_only_an_error_of_a_field_that_no_document_can_foresee_is_excepted(
    error: dict[str, str], excepted: bool
) -> None:
    assert is_unpredictable(400, {"reason": "invalid_fields", "errors": [error]}) is excepted
