"""schemathesis against a running stack.

Every caller gets, for each allowed request, an answer that the document describes, and for each
forbidden one a refusal. The checks are configured and explained in fuzz.toml. The examples are the
same each time. A caller without credentials and the auditor try every operation, with one example
of each kind, because the right is checked first; the others try the operations that their rights
open, because the rest is a 403 that the auditor has seen. All the edges of each schema ("coverage")
are tried once, by the first caller with the right: without credentials for public operations, else
by one of the callers that together may do everything.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from chassis import contract
from protos.stubs import SERVICES
from services.gateway.api.binding import bindings
from tests.gateway.fuzz_checks import is_unpredictable
from tests.parts.local_stack import ROOT, LocalStack

pytestmark = pytest.mark.long

ROLES = {
    "WORKER": "trabajadora@puentes",
    "OPERATOR": "operadora@llamayvive",
    "MANAGER": "jefa@llamayvive",
    "COORDINATOR": "coordinacion@coalicion",
}
AUDITOR = "auditoria@coalicion"
EDGES = ("operator", "manager", "coordinator", "auditor")
HOTLINE = ["contacts.write", "directory.write", "directory.read"]
# A caller who ends her own sessions has no credential afterwards; test_api_tokens.py and
# tests/partners test this.
LEFT_OUT = {"end_session", "end_sessions", "change_password"}
EXAMPLES = 3


@pytest.fixture(scope="module")
def own_stack() -> Iterator[LocalStack]:
    """A stack that may be left in any state."""
    created = LocalStack()
    try:
        yield created.start()
    finally:
        created.stop()


def session_of(stack: LocalStack, words: str) -> str:
    """Returns the secret of a session."""
    account = stack.account(words)
    fields = {"email": account["email"], "password": account["password"]}
    return str(
        requests.post(f"{stack.gateway}/api/v1/sessions", json=fields, timeout=20).json()[
            "session_secret"
        ]
    )


def key_with(stack: LocalStack, manager: str, scopes: list[str]) -> str:
    """Returns an API key with these scopes, made by a manager."""
    headers = {"Authorization": f"Bearer {session_of(stack, manager)}"}
    answer = requests.post(
        f"{stack.gateway}/api/v1/api-keys",
        json={"label": "fuzz", "scopes": scopes},
        headers=headers,
        timeout=20,
    )
    return str(answer.json()["secret"])


def operations(may: Callable[[contract.Rules], bool] = lambda rules: True) -> set[str]:
    """Returns the tried operations whose rpcs have rules that `may` accepts."""
    rpcs = [rpc for service in SERVICES for rpc in service.methods if may(contract.rules(rpc))]
    return {binding.operation_id for rpc in rpcs for binding in bindings(rpc)} - LEFT_OUT


def opened_by(*, role: str = "", scopes: Sequence[str] = ()) -> set[str]:
    """Returns the operations that a role, or a key with these scopes, may call."""
    return operations(
        lambda rules: role in rules.roles or (bool(rules.scope) and rules.scope in scopes)
    )


@pytest.mark.timeout(900)
def test_schemathesis_finds_no_fault_with_any_credential(
    own_stack: LocalStack, tmp_path: Path
) -> None:
    keys = {
        f"key of {key['organization']}": (str(key["key"]), opened_by(scopes=key["scopes"]))
        for key in own_stack.demo["api_keys"]
    }
    callers = {
        "nobody": ("", set()),
        "auditor": (session_of(own_stack, AUDITOR), set()),
        **{
            role.lower(): (session_of(own_stack, words), opened_by(role=role))
            for role, words in ROLES.items()
        },
        **keys,
        "key of the hotline": (
            key_with(own_stack, ROLES["MANAGER"], HOTLINE),
            opened_by(scopes=HOTLINE),
        ),
    }
    edges = {"nobody": operations(lambda rules: rules.public)}
    for name in EDGES:
        edges[name] = opened_by(role=name.upper()) - set().union(*edges.values())
    assert set().union(*edges.values()) == operations()
    # first, because one of them takes long
    works = {
        f"edges by {name}": (callers[name][0], tried, "coverage") for name, tried in edges.items()
    }
    works |= {name: (*caller, "examples,fuzzing,stateful") for name, caller in callers.items()}
    with ThreadPoolExecutor(2) as two:
        documented = dict(
            zip(
                works,
                two.map(lambda work: fuzz(own_stack, tmp_path, *works[work]), works),
                strict=True,
            )
        )
    assert {work: text for work, (code, text) in documented.items() if code} == {}
    cases = {
        work: int(count[1]) if (count := re.search(r"(\d+) generated", text)) else 0
        for work, (_, text) in documented.items()
    }
    assert min(cases.values()) > 20, cases  # it did run
    assert sum(count for work, count in cases.items() if work.startswith("edges")) > 5000, cases


def fuzz(
    stack: LocalStack, folder: Path, credential: str, tried: set[str], phases: str
) -> tuple[int, str]:
    """Runs schemathesis on the named operations, or on all; returns its exit code and output."""
    command = [
        str(Path(sys.executable).parent / "st"),
        "--no-color",
        "--config-file",
        str(Path(__file__).with_name("fuzz.toml")),
        "run",
    ]
    command += [
        str(ROOT / "docs" / "openapi.json"),
        "--url",
        stack.gateway,
        "--max-examples",
        str(EXAMPLES if tried else 1),
    ]
    command += [
        word for name in sorted(tried - LEFT_OUT) for word in ("--include-operation-id", name)
    ]
    command += [
        word for name in sorted(LEFT_OUT) for word in ("--exclude-operation-id", name) if not tried
    ]
    command += ["--header", f"Authorization: Bearer {credential}"] if credential else []
    command += ["--phases", phases]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    return run.returncode, run.stdout + run.stderr


def test_only_refusals_that_no_document_can_foresee_are_excepted() -> None:
    def wrong(reason: str, **place: str) -> bool:
        return is_unpredictable(
            400, {"reason": "invalid_fields", "errors": [{**place, "reason": reason}]}
        )

    assert is_unpredictable(412, {"reason": "stale_etag"})
    assert wrong("unknown_code", pointer="/need_codes/0")
    assert wrong("malformed", pointer="/excluded_organization_ids/3")
    assert wrong("malformed", parameter="cursor")
    assert wrong("required", pointer="/explained_codes")
    assert wrong("unknown_key", pointer="/text/12")
    assert wrong("required", pointer="/text/1/version")
    assert not wrong("malformed", pointer="/name")
    assert not wrong("too_long", pointer="/note")
    assert not wrong("required", pointer="")
    assert not is_unpredictable(400, {"reason": "malformed_json"})
    assert not is_unpredictable(500, {"reason": "fault"})
