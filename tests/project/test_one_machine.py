"""The local stack, as a person runs it.

The stack comes up, each killed part recovers, and the stack stops cleanly and retains its data.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest
import requests

from demo.network import network
from local.process import accepts
from protos.partners.v1 import members_pb2
from protos.stubs import PartnersStubs
from tests.parts.default_signals import WITH_DEFAULT_SIGNALS
from tests.parts.local_stack import until

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parent.parent.parent
PARTS = ("postgres", "broker", "partners", "referrals", "notifications", "gateway")


class LocalStack:
    """`python -m services` in a folder of its own."""

    def __init__(self, var: Path) -> None:
        self.var = var
        self._process: subprocess.Popen[str] | None = None

    def start(self, *, demo: bool = False, line_start: str = "Stop ") -> str:
        """Starts the stack.

        Returns its output up to the first line that begins with `line_start`, or to the end of the
        start.
        """
        command = [
            *WITH_DEFAULT_SIGNALS,
            sys.executable,
            "-m",
            "services",
            "--var",
            str(self.var),
            "--port",
            "18080",
            "--demo" if demo else "--no-demo",
        ]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self._process.stdout
        lines: list[str] = []
        for line in self._process.stdout:
            lines.append(line)
            if line.startswith((line_start, "Stop ")):
                return "".join(lines)
        raise AssertionError("the stack did not come up:\n" + "".join(lines))

    def mute(self) -> None:
        """Makes all further output fail."""
        assert self._process
        assert self._process.stdout
        self._process.stdout.close()

    def end(self, number: signal.Signals) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(number)
        code = self._process.wait(60)
        assert self._process.stdout
        self._process.stdout.close()
        self._process = None
        return code

    @property
    def state(self) -> dict[str, Any]:
        stack_state: dict[str, Any] = json.loads((self.var / "stack.json").read_text())
        return stack_state

    def pids(self) -> dict[str, int]:
        return {name: part["pid"] for name, part in self.state["parts"].items()}


@pytest.fixture
def stack() -> Iterator[LocalStack]:
    # tmp_path can't be used: pytest makes the folder of all its tests inaccessible to other users,
    # and under root the database runs as the user nobody.
    folder = Path(tempfile.mkdtemp(prefix="enlace-test-machine-"))
    folder.chmod(0o711)
    created = LocalStack(folder / "var")
    yield created
    created.end(signal.SIGTERM)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.timeout(240)
def test_every_killed_part_recovers_and_all_parts_end_with_the_stack(stack: LocalStack) -> None:
    output = stack.start()
    assert "ready in" in output
    assert stack.state["gateway"] in output
    assert stack.state["parts"].keys() == set(PARTS)

    for name in PARTS:
        killed_pid = stack.pids()[name]
        os.kill(killed_pid, signal.SIGKILL)
        try:
            until(partial(_is_replaced, stack, name, killed_pid))
        except AssertionError:
            log = (stack.var / "log" / f"{name}.log").read_text().splitlines()[-20:]
            raise AssertionError(
                f"{name} did not recover: {stack.state['parts']}\n" + "\n".join(log)
            ) from None

    pids = stack.pids()
    assert stack.end(signal.SIGINT) == 0
    assert [name for name, pid in pids.items() if _runs(pid)] == []

    stack.start()
    pids = stack.pids()
    stack.end(signal.SIGKILL)
    until(lambda: not any(_runs(pid) for pid in pids.values()))


@pytest.mark.timeout(240)
def test_a_part_recovers_although_the_stack_can_neither_print_nor_write_its_state(
    stack: LocalStack,
) -> None:
    stack.start()
    stack.mute()
    obstacle = stack.var / "stack.new"
    obstacle.mkdir()  # the state file can't be written
    killed_pid, address = stack.pids()["gateway"], urlsplit(stack.state["gateway"])
    os.kill(killed_pid, signal.SIGKILL)
    until(lambda: not _runs(killed_pid))
    until(lambda: accepts(address.hostname or "", address.port or 0))
    assert stack.pids()["gateway"] == killed_pid
    obstacle.rmdir()
    until(lambda: _is_replaced(stack, "gateway", killed_pid), timeout=10)
    assert stack.end(signal.SIGTERM) == 0


@pytest.mark.timeout(120)
def test_secret_files_are_private_and_a_second_stack_in_the_folder_is_refused(
    stack: LocalStack,
) -> None:
    stack.start()
    for secret in ("secrets.json", "stack.json"):
        assert stat.S_IMODE((stack.var / secret).stat().st_mode) == 0o600
    for closed in ("keys", "log"):
        assert stat.S_IMODE((stack.var / closed).stat().st_mode) == 0o700
    second = subprocess.run(
        [sys.executable, "-m", "services", "--var", str(stack.var)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert second.returncode == 1
    assert "already running" in second.stderr


@pytest.mark.timeout(120)
def test_a_serving_process_holds_no_password_but_its_own(stack: LocalStack) -> None:
    stack.start()
    passwords = {
        (service, role): password.encode()
        for service, words in json.loads((stack.var / "secrets.json").read_text()).items()
        for role, password in words.items()
    }
    services = ("partners", "referrals", "notifications", "gateway")
    held_passwords = {
        name: {
            owner
            for content in _memory(stack.pids()[name])
            for owner, password in passwords.items()
            if password in content
        }
        for name in services
    }
    assert held_passwords == {name: {(name, "app")} for name in services[:3]} | {"gateway": set()}


def _memory(pid: int) -> Iterator[bytes]:
    """Yields each region that the process can write to; one of them has its environment.

    A region that the process has released since its maps were read can't be read any more.
    """
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            bounds, rights, *_ = line.split()
            if rights.startswith("rw"):
                start, end = (int(bound, 16) for bound in bounds.split("-"))
                memory.seek(start)
                try:
                    yield memory.read(end - start)
                except OSError as error:
                    if error.errno != errno.EIO:
                        raise


@pytest.mark.alone
@pytest.mark.timeout(900)
def test_on_a_busy_machine_a_killed_stack_continues_and_is_ready_once_people_can_sign_in(
    stack: LocalStack,
) -> None:
    with busy_processors(8):
        for _ in range(2):  # the second start continues where the first was killed
            assert "ready in" not in stack.start(demo=True, line_start="demo: ")
            stack.end(signal.SIGKILL)
        output = stack.start(demo=True)
    assert re.search(r"^ready in ", output, re.MULTILINE)
    created = json.loads((stack.var / "demo.json").read_text())
    assert [account["email"] for account in created["accounts"]] == [
        worker.email for worker in network().workers
    ]
    accounts = re.findall(r"^ {8}(\S+@\S+) +(\S+)", output, re.MULTILINE)
    assert len(accounts) == len({account["role"] for account in created["accounts"]})
    with grpc.insecure_channel(stack.state["parts"]["partners"]["listen"]) as channel:
        for email, password in accounts:
            assert (
                PartnersStubs(channel)
                .tokens.SignIn(
                    members_pb2.SignInRequest(email=email, password=password), timeout=60
                )
                .session_secret
            )


@pytest.mark.timeout(600)
def test_a_stack_that_cannot_fill_the_demo_network_is_not_ready_and_continues_at_its_next_start(
    stack: LocalStack,
) -> None:
    (stack.var / "demo.json" / "in the way").mkdir(parents=True)
    output = stack.start(demo=True)
    assert "not ready: demo ended with 1" in output
    assert "the next start continues where this one ended" in output
    assert "ready in" not in output
    assert "Sign in" not in output
    assert stack.state["ready_s"] is None
    stack.end(signal.SIGTERM)
    shutil.rmtree(stack.var / "demo.json")
    assert "ready in" in stack.start(demo=True)


@pytest.mark.timeout(240)
def test_a_stack_starts_under_a_umask_that_closes_new_files_to_others(stack: LocalStack) -> None:
    umask = os.umask(0o077)
    try:
        output = stack.start()
    finally:
        os.umask(umask)
    assert re.search(r"^ready in ", output, re.MULTILINE)


@pytest.mark.timeout(240)
def test_the_demo_network_is_not_added_to_a_network_that_has_accounts_of_its_own(
    stack: LocalStack,
) -> None:
    stack.start()
    found = [sys.executable, "-m", "services.partners", "found", "--organization", "Coalición"]
    found += ["--country", "NI", "--email", "ana@example.org", "--name", "Ana"]
    found += ["--email", "eva@example.org", "--name", "Eva"]
    environment = stack.var / "environment" / "partners"
    subprocess.run(
        ["bash", "-c", '. "$0" && "$@"', environment, *found], cwd=ROOT, check=True, timeout=60
    )
    stack.end(signal.SIGTERM)
    output = stack.start(demo=True)
    assert "the demo network is not added" in output
    assert re.search(r"^ready in ", output, re.MULTILINE)
    assert "Sign in" not in output
    assert not (stack.var / "demo.json").exists()
    assert "inventado" not in requests.get(stack.state["gateway"], timeout=30).text


@pytest.mark.parametrize("var", ["file", "file/var", "/sys/enlace"])
def test_an_impossible_folder_is_reported_in_a_sentence(tmp_path: Path, var: str) -> None:
    (tmp_path / "file").touch()
    assert "--var" in refusal(tmp_path / var)


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_an_impossible_port_is_reported_in_a_sentence(tmp_path: Path, port: str) -> None:
    assert "--port" in refusal(tmp_path / "var", options=f" --port {port}")


def test_a_shell_with_the_settings_of_a_service_is_reported_in_a_sentence(tmp_path: Path) -> None:
    shell = "export ENLACE_MIGRATION_URL=postgresql:// KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9092; "
    assert "in another shell" in refusal(tmp_path / "var", shell)


def test_a_full_disk_is_reported_in_a_sentence(tmp_path: Path) -> None:
    """Simulates the full disk by a limit on the size of files: every write is refused, too."""
    assert "can't be written" in refusal(tmp_path / "var", "ulimit -f 0; ")


def test_a_limit_of_open_files_is_reported_as_the_cause(tmp_path: Path) -> None:
    sentence = refusal(tmp_path / "var", "ulimit -n 8; ")
    assert "Too many open files" in sentence
    assert "--var" not in sentence


def refusal(var: Path, first: str = "", options: str = "") -> str:
    """Returns the one-line message of a stack that can't start in a folder."""
    command = f"{first}exec {sys.executable} -m services --no-demo --var {var}{options}"
    process = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    *usage, sentence = process.stderr.splitlines()
    assert process.returncode in (1, 2)
    assert all(line.startswith(("Usage", "Try")) or not line for line in usage)
    return sentence


@contextmanager
def busy_processors(loops: int) -> Iterator[None]:
    """Runs processes that only use processor time."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def test_child_processes_receive_ctrl_c_although_the_tests_themselves_ignore_it() -> None:
    """Covers a script that runs the suite in the background, and so makes it ignore SIGINT.

    Children inherit this.
    """
    former_handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        child = subprocess.Popen([*WITH_DEFAULT_SIGNALS, "sleep", "60"])
    finally:
        signal.signal(signal.SIGINT, former_handler)
    time.sleep(0.5)  # a signal that came before the exec would prove nothing
    child.send_signal(signal.SIGINT)
    assert child.wait(10) == -signal.SIGINT


def _is_replaced(stack: LocalStack, name: str, killed_pid: int) -> bool:
    """Returns whether the part runs again, in a process other than the killed one."""
    part = stack.state["parts"][name]
    return part["up"] and part["pid"] not in (None, killed_pid)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
