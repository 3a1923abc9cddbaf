"""What the tests of the gateway share: played services with the API before them, and a running house with its demo network."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.gateway.api_house import Played, System, app_with

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def played() -> Played:
    """The services, as the test lays them out."""
    return Played()


@pytest.fixture
def api(played: Played) -> Flask:
    """The API before them."""
    return app_with(played)


@pytest.fixture
def system(api: Flask) -> System:
    """A partner system with a key."""
    return System(api.test_client())


@dataclass(frozen=True)
class House:
    """A running house: where its pages are, and who may sign in."""

    gateway: str
    demo: dict[str, Any]
    logs: Path


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The whole house with its demo network, once for all tests that ask for it; they may add to it, and leave what they found."""
    var = tmp_path_factory.mktemp("house")
    if os.geteuid() == 0:
        for folder in (var, *var.parents[:2]):  # PostgreSQL runs as another user, who must get in
            folder.chmod(0o711)
    command = [sys.executable, "-m", "services", "--var", str(var), "--port", "18280"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("Stop "):
            break
    try:
        assert (var / "demo.json").exists(), "the house did not come up:\n" + "".join(said)
        demo = json.loads((var / "demo.json").read_text())
        yield House(demo["gateway"], demo, var / "log")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        process.stdout.close()
