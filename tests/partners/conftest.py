"""One partners service for all tests of a process; it is emptied before each test."""

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
    created = Scene(postgres, folder)
    yield created
    created.close()


@pytest.fixture
def scene(running: Scene, monkeypatch: pytest.MonkeyPatch) -> Scene:
    # Hashing a password is deliberately slow; tests of other things need not wait for it.
    monkeypatch.setattr(
        passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    )
    passwords.unknown_hash.cache_clear()
    running.begin()
    return running
