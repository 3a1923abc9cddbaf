"""The fixtures that the gateway's tests share: fake services behind the API.

The fixture of a running stack is in tests/conftest.py.
"""

from collections.abc import Iterator
from contextlib import closing

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from services.gateway.edge.clients import Clients
from tests.gateway.api_gateway import FakeServices, System, app_with
from tests.gateway.pages_gateway import FakePageServices, enter, pages
from tests.gateway.partner_system import Partner
from tests.gateway.partner_system import system as system_of
from tests.gateway.served_gateway import Service
from tests.gateway.whitespace import without_ignored
from tests.parts.local_stack import LocalStack


@pytest.fixture(autouse=True, scope="session")
def text_as_a_browser_reads_it() -> Iterator[None]:
    """Makes `answer.text` return the HTML without the whitespace that a browser ignores."""

    def text(answer: TestResponse) -> str:
        content = answer.get_data(as_text=True)
        return without_ignored(content) if answer.mimetype == "text/html" else content

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TestResponse, "text", property(text))
        yield


@pytest.fixture
def fakes() -> FakePageServices:
    """The fake services, which answer filled messages unless the test sets other answers.

    The test files of the API have their own fixture, whose services answer empty messages.
    """
    return FakePageServices()


@pytest.fixture
def clients(service: Service) -> Iterator[Clients]:
    """The gateway's clients of one fake service."""
    with closing(Clients(*[f"127.0.0.1:{service.port}"] * 3)) as clients:
        yield clients


@pytest.fixture
def api(fakes: FakeServices) -> Flask:
    """The API in front of the fake services."""
    return app_with(fakes)


@pytest.fixture
def system(api: Flask) -> System:
    """A partner system with a key."""
    return System(api.test_client())


@pytest.fixture
def visitor(fakes: FakePageServices) -> FlaskClient:
    """A browser without a session."""
    return pages(fakes).test_client()


@pytest.fixture
def client(fakes: FakePageServices) -> FlaskClient:
    """A browser of a worker with every role."""
    return enter(pages(fakes).test_client())


@pytest.fixture
def service() -> Iterator[Service]:
    """A fake service on a port."""
    with Service() as server:
        yield server


@pytest.fixture
def puentes(stack: LocalStack) -> Partner:
    """The system of Asociación Puentes, a member that sends referrals."""
    return system_of(stack, "Asociación Puentes")


@pytest.fixture
def luna(stack: LocalStack) -> Partner:
    """The system of Albergue Luna Nueva, a shelter."""
    return system_of(stack, "Albergue Luna Nueva")
