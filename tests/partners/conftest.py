"""One partners service for the tests of a process; each test finds it empty."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher

from keys import key_folder
from services.partners.members.usecases import passwords
from tests.partners.scene import Scene
from tests.parts.postgres import Server


@pytest.fixture(scope="session")
def running(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("keys")
    key_folder.create(folder, ["partners"])
    made = Scene(postgres, folder)
    yield made
    made.close()


@pytest.fixture
def scene(running: Scene, monkeypatch: pytest.MonkeyPatch) -> Scene:
    # Hashing a password is slow on purpose; tests of other things need not wait for it.
    monkeypatch.setattr(
        passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    )
    passwords.unknown_hash.cache_clear()
    running.begin()
    return running
