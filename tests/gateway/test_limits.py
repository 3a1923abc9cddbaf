"""A caller's share of the gateway.

The headers count down, a 429 states the time to wait, and quick exit is never refused.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from services.gateway.edge.limits import CALLERS_PER_ADDRESS
from tests.gateway.api_gateway import KEY
from tests.gateway.pages_gateway import PlayedServices, enter, pages

OTHER = KEY.replace("enl_00", "enl_11")


@pytest.fixture
def app() -> Iterator[Flask]:
    """An app with two requests for each caller.

    The clock of its limits stands still, so that no test outlasts the counted second.
    """
    created = pages(PlayedServices(), caller_rate=1)
    for limiter in created.extensions["limits"]._limiters.values():
        limiter._now = lambda: 0.0
    with created.app_context():
        yield created


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def ask(  # type: ignore[no-untyped-def]
    client: FlaskClient,
    key: str = KEY,
    path: str = "/api/v1/referrals",
    address: str = "198.51.100.1",
):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return client.get(path, headers=headers, environ_base={"REMOTE_ADDR": address})


def test_the_headers_count_down_and_then_a_429_states_when_to_try_again(
    client: FlaskClient,
) -> None:
    answers = [ask(client) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["RateLimit"].split(";")[:2] for answer in answers] == [
        ['"caller"', "r=1"],
        ['"caller"', "r=0"],
        ['"caller"', "r=0"],
    ]
    assert {answer.headers["RateLimit-Policy"] for answer in answers} == {'"caller";q=2;w=2'}
    assert answers[2].headers["Retry-After"] == "1"
    assert (answers[2].content_type, answers[2].json["reason"]) == (
        "application/problem+json",
        "rate_limited",
    )


def test_another_key_is_served_meanwhile(client: FlaskClient) -> None:
    while ask(client).status_code == 200:
        pass
    assert ask(client, OTHER).status_code == 200


def test_callers_without_a_key_are_counted_by_address_and_do_not_delay_others(
    client: FlaskClient,
) -> None:
    for _ in range(2 * CALLERS_PER_ADDRESS):
        assert (
            ask(client, "", "/api/v1/taxonomy").headers["RateLimit-Policy"]
            == f'"address";q={2 * CALLERS_PER_ADDRESS};w=2'
        )
    assert ask(client, "", "/api/v1/taxonomy").status_code == 429
    assert ask(client, "", "/sign-in").status_code == 429
    assert ask(client, "", "/api/v1/taxonomy", "198.51.100.2").status_code == 200


def test_made_up_keys_are_counted_together(client: FlaskClient) -> None:
    statuses = [
        ask(client, KEY.replace("enl_00", f"enl_{n:02d}")).status_code
        for n in range(2 * CALLERS_PER_ADDRESS + 2)
    ]
    assert statuses[0] == 200
    assert statuses[-1] == 429


def test_a_network_of_ipv6_addresses_counts_as_one(client: FlaskClient) -> None:
    statuses = [
        ask(client, "", "/api/v1/taxonomy", f"2001:db8::{n:x}").status_code
        for n in range(1, 2 * CALLERS_PER_ADDRESS + 3)
    ]
    assert statuses[-1] == 429
    assert ask(client, "", "/api/v1/taxonomy", "2001:db8:0:1::1").status_code == 200


def test_a_worker_is_counted_by_her_session_and_may_always_leave(client: FlaskClient) -> None:
    enter(client)
    while client.get("/people").status_code == 200:
        pass
    answer = client.get("/people")
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1
    for _ in range(20):
        assert client.get("/healthz").status_code == 200
        assert client.get("/quick-exit").status_code == 303
