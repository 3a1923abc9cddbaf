"""A running process reveals nothing to other processes.

It writes no core file, its memory cannot be read, and its arguments and environment hold no key.
"""

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from keys import key_folder
from services.referrals.__main__ import MIGRATIONS
from tests.parts import postgres as parts

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def running_service(postgres: parts.Server, tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """Yields the pid of a process of the service, and its folder of keys."""
    key_folder.create(tmp_path, ["partners", "referrals", "notifications"])
    environment = os.environ | {
        "ENLACE_DATABASE_URL": postgres.database("referrals", MIGRATIONS).url,
        "ENLACE_KEYS": str(tmp_path),
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9", "ENLACE_LISTEN": "127.0.0.1:0",
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "services.referrals", "serve"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    for line in process.stdout:
        if '"ready"' in line:
            break
    yield process.pid, tmp_path
    process.kill()
    process.communicate(timeout=20)


def test_the_core_limit_of_the_process_is_0_and_an_abort_leaves_no_file_in_its_folder(
    running_service: tuple[int, Path],
) -> None:
    pid, _ = running_service
    limits, files = Path(f"/proc/{pid}/limits").read_text(), {*ROOT.iterdir()}
    assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE), limits
    os.kill(pid, signal.SIGABRT)
    os.waitpid(pid, 0)
    assert {*ROOT.iterdir()} == files


def test_no_other_process_can_read_the_memory_of_the_process() -> None:
    program = (
        "from chassis.memory import forbid_dumps; forbid_dumps(); import ctypes;"
        " print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    process = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert process.stdout == "0\n"


def test_neither_arguments_nor_environment_of_the_process_hold_a_key(
    running_service: tuple[int, Path],
) -> None:
    pid, folder = running_service
    visible = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
    assert b"services.referrals" in visible
    texts = [file.read_bytes() for file in folder.glob("*.key")]
    private_keys = set(folder.glob("*.jwk")) - set(folder.glob("*.pub.jwk"))
    texts += [json.loads(file.read_bytes())["d"].encode() for file in private_keys]
    assert len(texts) > 4
    for text in texts:
        assert text not in visible
        assert base64.urlsafe_b64decode(text + b"==") not in visible


@pytest.mark.parametrize("command", ["rotate-keys", "doctor", "replay"])
def test_a_crash_of_a_command_that_has_read_the_keys_leaves_no_core_file(
    tmp_path: Path, command: str
) -> None:
    key_folder.create(tmp_path, ["partners", "referrals", "notifications"])
    with socket.create_server(("127.0.0.1", 0)) as silent_database:
        url = f"postgresql://referrals:x@127.0.0.1:{silent_database.getsockname()[1]}/referrals"
        settings = {"ENLACE_DATABASE_URL": url, "ENLACE_KEYS": str(tmp_path)}
        process = subprocess.Popen(
            [sys.executable, "-m", "services.referrals", command],
            cwd=ROOT,
            env=os.environ | settings,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            silent_database.accept()
            limits = Path(f"/proc/{process.pid}/limits").read_text()
        finally:
            process.kill()
            process.wait()
    assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE), limits
