"""A worker's own account: changing its password, and the list of its sessions."""

from functools import partial
from typing import Any

import pytest

from protos.partners.v1 import accounts_pb2 as pb
from services.partners.members.domain.worker import Role
from tests.builders import refusal, wrong_fields
from tests.partners.scene import (
    EMAIL,
    PASSWORD,
    SESSION_ENDED,
    SIGN_IN_FAILED,
    TOO_MANY_ATTEMPTS,
    Scene,
    Stubs,
)
from tests.partners.test_sessions import sign_in, token_of

NEW_PASSWORD = "otra frase de prueba"


def session_of(scene: Scene) -> tuple[Stubs, str]:
    """Returns a worker's stubs, and the secret of the session behind them."""
    signed_in = sign_in(scene)
    return scene.with_token(signed_in.tokens["enlace.partners"]), signed_in.session_secret


def change(me: Stubs, secret: str = "", **fields: Any) -> None:
    me.ChangePassword(
        **{"password": PASSWORD, "new_password": NEW_PASSWORD, "session_secret": secret, **fields}
    )


def sessions(me: Stubs, secret: str = "") -> list[pb.Session]:
    return list(me.ListSessions(session_secret=secret).sessions)


def test_a_changed_password_ends_all_sessions_but_the_one_that_changed_it(network: Scene) -> None:
    other_secret = sign_in(network).session_secret
    me, secret = session_of(network)
    change(me, secret)
    assert token_of(network, secret).worker.email == EMAIL
    assert refusal(lambda: token_of(network, other_secret)) == SESSION_ENDED
    assert refusal(lambda: sign_in(network)) == SIGN_IN_FAILED
    assert sign_in(network, password=NEW_PASSWORD).worker.email == EMAIL


def test_a_password_change_that_names_no_session_to_continue_ends_all_sessions(
    network: Scene,
) -> None:
    me, secret = session_of(network)
    change(me)
    assert refusal(lambda: token_of(network, secret)) == SESSION_ENDED


def test_the_password_may_be_guessed_ten_times_at_an_unlocked_screen(network: Scene) -> None:
    me, secret = session_of(network)
    for _ in range(10):
        assert wrong_fields(lambda: change(me, secret, password="una que no es")) == [
            ("password", "wrong")
        ]
    assert refusal(lambda: change(me, secret)) == TOO_MANY_ATTEMPTS
    assert sign_in(network).worker.email == EMAIL, (
        "guesses at an unlocked screen keep nobody from signing in"
    )


@pytest.mark.parametrize(
    ("new_password", "reason"),
    [
        ("", "required"),
        ("once letras", "too_short"),
        ("x" * 201, "too_long"),
        ("password1234", "too_easy"),
        ("xiomaraxiomara", "too_easy"),
    ],
)
def test_an_unacceptable_password_is_refused_and_the_old_one_stays(
    network: Scene, new_password: str, reason: str
) -> None:
    me, secret = session_of(network)
    assert wrong_fields(lambda: change(me, secret, new_password=new_password)) == [
        ("new_password", reason)
    ]
    assert sign_in(network).worker.email == EMAIL


def test_no_password_and_no_secret_is_stored_or_published(network: Scene) -> None:
    me, secret = session_of(network)
    change(me, secret, request_id="one")
    # a repeated request takes effect once, although the password has changed by now
    change(me, secret, request_id="one")
    stored = str(
        [
            network.rows(f"SELECT * FROM {table}")
            for table in ("workers", "sessions", "audit", "outbox", "requests", "guesses")
        ]
    )
    assert not [word for word in (PASSWORD, NEW_PASSWORD, secret) if word in stored]
    assert network.rows("SELECT count(*) AS n FROM audit WHERE action = 'password_change'") == [
        {"n": 1}
    ]


def test_a_worker_sees_where_she_is_signed_in_and_ends_one_session_or_all_others(
    network: Scene,
) -> None:
    first, second = sign_in(network).session_secret, sign_in(network).session_secret
    network.advance(minutes=2)
    me, secret = session_of(network)
    listed_sessions = sessions(me, secret)
    assert [session.current for session in listed_sessions] == [True, False, False]
    assert listed_sessions[0].create_time.seconds - listed_sessions[1].create_time.seconds == 120
    assert me.EndSessions(id=listed_sessions[1].id, session_secret=secret).ended == 1
    assert me.EndSessions(id=listed_sessions[1].id, session_secret=secret).ended == 0
    assert {session.id for session in sessions(me, secret)} == {
        listed_sessions[0].id,
        listed_sessions[2].id,
    }
    assert me.EndSessions(session_secret=secret).ended == 1
    assert [session.current for session in sessions(me, secret)] == [True]
    for ended_secret in (first, second):
        assert refusal(partial(token_of, network, ended_secret)) == SESSION_ENDED


def test_nobody_ends_or_sees_the_session_of_another(network: Scene) -> None:
    own_secret = sign_in(network).session_secret
    me, secret = session_of(network)
    colleague = network.as_worker(
        network.worker(network.coalition, Role.MANAGER, email="m@ejemplo.org")
    )
    (current_session,) = (session for session in sessions(me, secret) if session.current)
    assert sessions(colleague, secret) == []
    assert colleague.EndSessions(id=current_session.id).ended == 0
    assert colleague.EndSessions().ended == 0
    assert {
        token_of(network, each_secret).worker.email for each_secret in (own_secret, secret)
    } == {EMAIL}


def test_a_session_that_was_idle_for_too_long_is_not_listed(network: Scene) -> None:
    sign_in(network)
    network.advance(minutes=16)
    me, secret = session_of(network)
    assert [session.current for session in sessions(me, secret)] == [True]


def test_the_id_of_a_session_does_not_serve_as_its_secret(network: Scene) -> None:
    me, secret = session_of(network)
    (current_session,) = sessions(me, secret)
    for guess in (current_session.id, current_session.id * 2):
        assert refusal(partial(token_of, network, guess)) == SESSION_ENDED
