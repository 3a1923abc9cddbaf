"""One partners service for all tests of a process; its database is emptied before each test."""

from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher

from keys import key_folder
from services.partners.members.domain.organization import Organization, OrganizationType
from services.partners.members.domain.worker import Role
from services.partners.members.usecases import passwords
from tests.partners.providers import OFFICIAL, running_provider, set_up
from tests.partners.scene import EMAIL, Scene, Stubs
from tests.parts.postgres import Server
from tests.parts.provider import Provider


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


@pytest.fixture
def network(scene: Scene) -> Scene:
    """The scene with a worker whose e-mail address is EMAIL."""
    scene.worker(scene.organization("Puentes"), Role.WORKER, Role.OPERATOR, email=EMAIL)
    return scene


@pytest.fixture
def member(scene: Scene) -> Organization:
    """A member of the network."""
    return scene.organization()


@pytest.fixture
def manager(scene: Scene, member: Organization) -> Stubs:
    """The stubs of a manager of the member."""
    return scene.by(member, Role.MANAGER)


@pytest.fixture
def partner(scene: Scene) -> Stubs:
    """The stubs of a worker of another member."""
    return scene.by(scene.organization("Otra"), Role.WORKER)


@pytest.fixture
def stranger(scene: Scene) -> Stubs:
    """The stubs of a manager of another member."""
    return scene.by(scene.organization("Ajena"), Role.MANAGER)


@pytest.fixture
def second_of_coalition(scene: Scene) -> Stubs:
    """The stubs of a second coordinator of the coalition."""
    return scene.by(scene.coalition, Role.COORDINATOR)


@pytest.fixture
def new_member(scene: Scene) -> Organization:
    """A member on probation."""
    return scene.organization("Nueva", approved=False)


@pytest.fixture
def newcomer(scene: Scene, new_member: Organization) -> Stubs:
    """The stubs of a worker of the member on probation."""
    return scene.by(new_member)


@pytest.fixture
def strict(scene: Scene) -> Iterator[Stubs]:
    """Stubs that call without a token in a network that requires a second factor."""
    with scene.other_server(strict=True) as channel:
        yield Stubs(channel)


@pytest.fixture
def provider(scene: Scene) -> Iterator[Provider]:
    with running_provider(scene) as provider:
        yield provider


@pytest.fixture
def ministry(scene: Scene, provider: Provider) -> Organization:
    """A ministry with one official and with a provider to which two coordinators agreed."""
    ministry = scene.organization(
        "Ministerio de la Mujer", type=OrganizationType.CENTRAL_GOVERNMENT
    )
    scene.worker(ministry, Role.WORKER, Role.MANAGER, email=OFFICIAL)
    set_up(scene, ministry, provider)
    return ministry
