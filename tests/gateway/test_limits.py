"""A caller's share of the gateway.

The headers count down, a 429 states the time to wait, and quick exit is never refused.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from services.gateway.edge.limits import CALLERS_PER_ADDRESS
from tests.gateway.api_gateway import KEY
from tests.gateway.pages_gateway import FakePageServices, enter, pages

OTHER_KEY = KEY.replace("enl_00", "enl_11")


@pytest.fixture
def app() -> Iterator[Flask]:
    """An app with two requests for each caller.

    The clock of its limits stands still, so that no test outlasts the period of a limit.
    """
    app = pages(FakePageServices(), caller_rate=1)
    for limiter in app.extensions["limits"]._limiters.values():
        limiter._now = lambda: 0.0
    with app.app_context():
        yield app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def get(
    client: FlaskClient,
    key: str = KEY,
    path: str = "/api/v1/referrals",
    address: str = "198.51.100.1",
) -> Any:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return client.get(path, headers=headers, environ_base={"REMOTE_ADDR": address})


def test_the_headers_count_down_and_then_a_429_states_when_to_try_again(
    client: FlaskClient,
) -> None:
    answers = [get(client) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["RateLimit"].split(";")[:2] for answer in answers] == [
        ['"caller"', "r=1"],
        ['"caller"', "r=0"],
        ['"caller"', "r=0"],
    ]
    assert {answer.headers["RateLimit-Policy"] for answer in answers} == {'"caller";q=2;w=2'}
    last_answer = answers[2]
    assert (
        last_answer.headers["Retry-After"],
        last_answer.content_type,
        last_answer.json["reason"],
    ) == ("1", "application/problem+json", "rate_limited")


def test_another_key_is_served_meanwhile(client: FlaskClient) -> None:
    while get(client).status_code == 200:
        pass
    assert get(client, OTHER_KEY).status_code == 200


def test_callers_without_a_key_are_counted_by_address_and_do_not_delay_others(
    client: FlaskClient,
) -> None:
    taxonomy, share = "/api/v1/taxonomy", 2 * CALLERS_PER_ADDRESS
    policies = {get(client, "", taxonomy).headers["RateLimit-Policy"] for _ in range(share)}
    assert policies == {f'"address";q={share};w=2'}
    assert [get(client, "", path).status_code for path in (taxonomy, "/sign-in")] == [429, 429]
    assert get(client, "", taxonomy, "198.51.100.2").status_code == 200


def test_made_up_keys_are_counted_together(client: FlaskClient) -> None:
    statuses = [
        get(client, KEY.replace("enl_00", f"enl_{n:02d}")).status_code
        for n in range(2 * CALLERS_PER_ADDRESS + 2)
    ]
    assert (statuses[0], statuses[-1]) == (200, 429)


def test_a_network_of_ipv6_addresses_counts_as_one_address(client: FlaskClient) -> None:
    statuses = [
        get(client, "", "/api/v1/taxonomy", f"2001:db8::{n:x}").status_code
        for n in range(1, 2 * CALLERS_PER_ADDRESS + 3)
    ]
    assert statuses[-1] == 429
    assert get(client, "", "/api/v1/taxonomy", "2001:db8:0:1::1").status_code == 200


def test_a_worker_is_counted_by_her_session_and_may_always_leave(client: FlaskClient) -> None:
    enter(client)
    while client.get("/people").status_code == 200:
        pass
    answer = client.get("/people")
    assert (answer.status_code, int(answer.headers["Retry-After"]) >= 1) == (429, True)
    paths = ["/healthz", "/quick-exit"] * 20
    assert [client.get(path).status_code for path in paths] == [200, 303] * 20
