"""A fault in code that handles a name: neither the log nor an answer contains the name.

The log names the kind of the fault, and the lines where it happened.
"""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from keys import key_folder
from protos.partners.v1 import members_pb2, members_pb2_grpc
from tests.chassis.failing import KINDS
from tests.parts.local_stack import ROOT
from tests.parts.postgres import Server as Postgres

NAME = "XimenaMarcada"


class FailedProcess:
    """The output of a process that failed in every way, one after the other, and then died."""

    def __init__(self, url: str, folder: Path) -> None:
        self.answers = dict[str, Any]()
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.chassis.failing", url, str(folder), NAME],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=(folder / "stderr").open("w"), text=True,
        )  # fmt: skip
        assert process.stdout
        first_line = process.stdout.readline()
        with grpc.insecure_channel(f"127.0.0.1:{json.loads(first_line)['port']}") as channel:
            stub = members_pb2_grpc.TokensStub(channel)
            for kind in (*KINDS, "answer"):
                with pytest.raises(grpc.RpcError) as caught:
                    stub.SignIn(
                        members_pb2.SignInRequest(email=kind, password=NAME),
                        timeout=20,
                        wait_for_ready=True,
                    )
                self.answers[kind] = caught.value
        out, _ = process.communicate(timeout=30)
        self.code, self.log = process.returncode, first_line + out
        self.errors = (folder / "stderr").read_text()


@pytest.fixture(scope="module")
def failed_process(
    postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FailedProcess]:
    pg_database = postgres.database()
    pg_database.run_as_owner("CREATE TABLE held (name text UNIQUE); GRANT ALL ON held TO PUBLIC")
    yield FailedProcess(pg_database.url, tmp_path_factory.mktemp("broken"))
    postgres.drop(pg_database)


@pytest.mark.parametrize("kind", [*KINDS, "answer"])
def test_an_answer_reveals_nothing_of_the_fault(failed_process: FailedProcess, kind: str) -> None:
    answer = failed_process.answers[kind]
    content = (
        f"{answer.details()} {answer.debug_error_string()} {answer.trailing_metadata()}"
        f" {answer.initial_metadata()}"
    )
    assert NAME not in content
    assert answer.code() is grpc.StatusCode.INTERNAL


def test_no_log_line_contains_a_name(failed_process: FailedProcess) -> None:
    assert NAME not in failed_process.log + failed_process.errors


def test_each_fault_is_logged_with_its_kind_and_the_lines_where_it_happened(
    failed_process: FailedProcess,
) -> None:
    faults = [
        line["fault"]
        for line in map(json.loads, failed_process.log.splitlines())
        if line.get("fault")
    ]
    for kind in (
        "builtins.ValueError",
        "builtins.KeyError",
        "builtins.RuntimeError",
        "UniqueViolation (held_name_key)",
        "InvalidDatetimeFormat",
    ):
        assert [fault for fault in faults if kind in fault and "__main__:" in fault], kind


def test_a_dying_thread_or_process_reports_where_it_failed(failed_process: FailedProcess) -> None:
    assert failed_process.code == 1
    death_lines = [line for line in failed_process.errors.splitlines() if line.startswith("DIED ")]
    assert [line for line in death_lines if "builtins.KeyError at " in line and "__main__:" in line]
    assert [line for line in death_lines if "builtins.ValueError at threading:" in line]
    assert "Traceback" not in failed_process.errors


def run_script(script: str, argument: str) -> subprocess.CompletedProcess[str]:
    """Runs a script in an interpreter of its own."""
    return subprocess.run(
        [sys.executable, "-c", script, argument], cwd=ROOT, capture_output=True, text=True
    )


def test_a_file_that_is_missing_at_the_start_is_named(tmp_path: Path) -> None:
    imports = (
        "import sys; from chassis import log; from keys import key_folder; from pathlib import Path"
    )
    script = f"{imports}; log.setup('x'); key_folder.verifying(Path(sys.argv[1]), 'tokens')"
    process = run_script(script, str(tmp_path))
    assert process.returncode == 1
    assert re.fullmatch(
        rf"DIED builtins.FileNotFoundError at .*: ENOENT {tmp_path}/tokens.pub.jwk\n",
        process.stderr,
    )


def test_a_port_that_is_taken_is_named_as_such() -> None:
    script = (
        "import sys; from chassis import log, metrics; log.setup('x'); metrics.serve(sys.argv[1])"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = run_script(script, f"127.0.0.1:{server.getsockname()[1]}")
    assert re.fullmatch(r"DIED builtins.OSError at .*: EADDRINUSE\n", process.stderr)


def test_both_files_of_an_error_are_named_at_the_end(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        key_folder.create(tmp_path / folder, ["referrals"])
    (tmp_path / "one" / "tokens.pub.jwk").write_bytes(
        (tmp_path / "other" / "tokens.pub.jwk").read_bytes()
    )
    imports = (
        "import sys; from chassis import log; from keys import key_folder; from pathlib import Path"
    )
    script = f"{imports}; log.setup('x'); key_folder.signing(Path(sys.argv[1]), 'tokens')"
    process = run_script(script, str(tmp_path / "one"))
    private = tmp_path / "one" / "tokens.jwk"
    assert process.stderr.endswith(f"EINVAL {private} {private.with_suffix('.pub.jwk')}\n")
