"""Each test has a partners service of its own, with an empty database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chassis import keys
from tests.partners.scene import Scene
from tests.parts.postgres import Server


@pytest.fixture(scope="session")
def key_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    keys.create(folder, ["partners"])
    return folder


@pytest.fixture
def scene(postgres: Server, key_folder: Path) -> Iterator[Scene]:
    made = Scene(postgres, key_folder)
    yield made
    made.close()
