"""A forgotten password.

The request reveals nothing about the address, the link goes to one mailbox and works once, and it
does not replace a second factor or undo a suspension.
"""

import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chassis.tokens import SYSTEM
from keys.rotation import count_older, rewrap
from keys.sealing import Keyring
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import accounts_pb2 as pb
from protos.partners.v1 import accounts_pb2_grpc, facts_pb2, letters_pb2
from services.partners.__main__ import SEALED
from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import Role
from services.partners.members.usecases import passwords
from services.partners.sign_in.store import password_resets
from services.partners.sign_in.usecases import sessions
from services.partners.sign_in.usecases.password_resets import send_links, sending_links
from tests.builders import refusal, wrong_fields
from tests.partners.providers import OFFICIAL, sign_in_through
from tests.partners.scene import EMAIL, PASSWORD, SESSION_ENDED, SIGN_IN_FAILED, Scene
from tests.partners.test_accounts import change, session_of
from tests.partners.test_invitations import accept, answer, invite
from tests.partners.test_passkeys import add_passkey, stubs_of_worker
from tests.partners.test_second_factors import finish, turn_on_own_codes
from tests.partners.test_sessions import sign_in, token_of
from tests.parts.loops import NEVER, OFTEN, eventually, running
from tests.parts.provider import Provider

NEW_PASSWORD = "cuatro palabras que no van"
INVALID = ("UNAUTHENTICATED", "reset_not_valid")


def request_link(
    scene: Scene, email: str = EMAIL, address: str = "", **fields: str
) -> pb.RequestPasswordResetResponse:
    return accounts_pb2_grpc.AccountsStub(scene.channel).RequestPasswordReset(
        pb.RequestPasswordResetRequest(email=email, **fields),
        metadata=scene.origin(address),
        timeout=10,
    )


def run_loop(scene: Scene) -> int:
    """Runs the service's loop once; returns the number of handled requests."""
    with scene.database.transaction(SYSTEM) as tx:
        return send_links(tx, Keyring(scene.sealing_key), scene.mail, scene.clock.now())


def facts_with_letters(
    scene: Scene, fact: str = "reset_asked"
) -> list[tuple[facts_pb2.AccountFact, letters_pb2.AccountLetter]]:
    """Returns each fact of a kind with the letter in it, the oldest first."""
    rows = scene.rows(
        "SELECT payload FROM outbox WHERE type = %s ORDER BY time, published_at, ctid",
        f"enlace.account.{fact}.v1",
    )
    bodies = [facts_pb2.AccountFact.FromString(row["payload"]) for row in rows]
    sent_letters = [
        scene.mail.open_bytes(body.sealed_letter, f"accounts/{body.notice_id}/letter")
        for body in bodies
        if body.sealed_letter
    ]
    return list(zip(bodies, map(letters_pb2.AccountLetter.FromString, sent_letters), strict=True))


def link(scene: Scene, email: str = EMAIL) -> str:
    """Requests a link, and reads it in the mailbox."""
    request_link(scene, email)
    run_loop(scene)
    return facts_with_letters(scene)[-1][1].token


def reset(scene: Scene, token: str, password: str = NEW_PASSWORD, **fields: str) -> None:
    scene.nobody.ResetPassword(token=token, password=password, **fields)


def worker_of(scene: Scene, email: str = EMAIL) -> str:
    (row,) = scene.rows("SELECT id FROM workers WHERE email = %s", email)
    return str(row["id"])


@pytest.fixture
def token(network: Scene) -> str:
    """The token of a link that the worker of the network requested."""
    return link(network)


@pytest.mark.parametrize(("announced", "read_again"), [(True, NEVER), (False, OFTEN)])
def test_the_loop_sends_a_link_for_each_request_even_if_its_announcement_is_lost(
    network: Scene, monkeypatch: pytest.MonkeyPatch, announced: bool, read_again: float
) -> None:
    if not announced:
        monkeypatch.setattr(password_resets, "announce", lambda *_: None)
    request_link(network)  # before the loop starts
    keys = Keyring(network.sealing_key)
    with running(
        sending_links(network.database, keys, network.mail, network.clock, read_again=read_again)
    ):
        assert eventually(lambda: len(facts_with_letters(network)) == 1)
        request_link(network)
        assert eventually(lambda: len(facts_with_letters(network)) == 2)


def test_a_worker_who_forgot_her_password_chooses_another_by_the_link_in_her_mailbox(
    network: Scene,
) -> None:
    old_secret = sign_in(network).session_secret
    token = link(network)
    assert re.fullmatch(r"[\w-]{43}", token), "the token has 256 random bits"
    assert sign_in(network).session_secret, "the request alone changes nothing"
    reset(network, token)
    assert refusal(lambda: token_of(network, old_secret)) == SESSION_ENDED
    assert refusal(lambda: sign_in(network)) == SIGN_IN_FAILED
    assert sign_in(network, password=NEW_PASSWORD).worker.email == EMAIL
    assert network.rows("SELECT FROM password_resets") == []
    [(fact, letter)] = facts_with_letters(network, "password_changed")
    assert (fact.worker_id, letter.email, letter.token) == (worker_of(network), EMAIL, "")
    assert network.facts(fact.notice_id) == [
        (1, "enlace.account.reset_asked.v1"),
        (2, "enlace.account.password_changed.v1"),
    ]


def test_the_email_may_be_typed_with_capitals_and_spaces(network: Scene) -> None:
    token = link(network, f"  {EMAIL.upper()} ")
    assert facts_with_letters(network)[-1][1].email == EMAIL, (
        "the e-mail goes to the address of the account, never to the one that was typed"
    )
    reset(network, token)
    assert sign_in(network, password=NEW_PASSWORD).session_secret


def test_a_reset_link_is_valid_once_and_for_an_hour(network: Scene, token: str) -> None:
    network.advance(minutes=59, seconds=59)
    reset(network, token)
    assert refusal(lambda: reset(network, token, "otra frase de prueba")) == INVALID
    token = link(network)
    network.advance(hours=1)
    assert refusal(lambda: reset(network, token)) == INVALID
    assert sign_in(network, password=NEW_PASSWORD).session_secret


def test_a_reset_link_made_by_a_clock_that_was_ahead_is_not_valid_for_longer(
    network: Scene,
) -> None:
    network.advance(days=1)
    token = link(network)
    network.advance(days=-1)
    assert refusal(lambda: reset(network, token)) == INVALID


def test_a_newer_reset_link_ends_the_older_one_and_its_email(network: Scene) -> None:
    first, second = link(network), link(network)
    assert refusal(lambda: reset(network, first)) == INVALID
    (older, _), _newer = facts_with_letters(network)
    assert network.facts(older.notice_id) == [
        (1, "enlace.account.reset_asked.v1"),
        (2, "enlace.account.reset_ended.v1"),
    ]
    reset(network, second)


def test_all_invalid_reset_tokens_get_the_same_answer(network: Scene, token: str) -> None:
    for wrong_token in (token + "x", token[:-1], token.swapcase(), "x", "\x00", worker_of(network)):
        assert refusal(partial(reset, network, wrong_token)) == INVALID
        # a malformed request is refused before the token is checked
        assert wrong_fields(partial(reset, network, wrong_token, "")) == [("password", "required")]
    assert wrong_fields(lambda: reset(network, "")) == [("token", "required")]
    reset(network, token)


@pytest.mark.parametrize("password", ["password1234", "xiomaraxiomara", "puentespuentes"])
def test_a_password_that_is_easily_guessed_is_refused_and_the_link_stays_valid(
    network: Scene, password: str, token: str
) -> None:
    assert wrong_fields(lambda: reset(network, token, password)) == [("password", "too_easy")]
    # only the holder of the link learns more
    assert refusal(lambda: reset(network, token + "x", password)) == INVALID
    reset(network, token)


def test_one_link_used_many_times_at_once_changes_one_password(network: Scene, token: str) -> None:
    words = [f"una frase de prueba numero {n}" for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(answer, [partial(reset, network, token, word) for word in words]))
    assert sorted(answers) == ["OK"] + ["reset_not_valid"] * 3
    assert sign_in(network, password=words[answers.index("OK")]).session_secret
    assert len(facts_with_letters(network, "password_changed")) == 1


def test_requests_for_one_account_at_once_leave_one_link(network: Scene) -> None:
    for _ in range(3):
        request_link(network)
    with ThreadPoolExecutor(3) as pool:
        sent_counts = list(pool.map(lambda _n: run_loop(network), range(3)))
    assert sum(sent_counts) == 3
    assert len(network.rows("SELECT FROM password_resets")) == 1
    tokens = [letter.token for _, letter in facts_with_letters(network)]
    answers = [answer(partial(reset, network, token)) for token in tokens]
    assert sorted(answers) == ["OK"] + ["reset_not_valid"] * (len(tokens) - 1)


def test_a_new_password_does_not_replace_the_code_or_passkey(network: Scene) -> None:
    app, spare = turn_on_own_codes(network)
    add_passkey(stubs_of_worker(network))
    reset(network, link(network))
    attempt = sign_in(network, password=NEW_PASSWORD)
    assert (attempt.session_secret, attempt.asks_code, bool(attempt.passkey_options)) == (
        "",
        True,
        True,
    )
    assert finish(network, attempt.challenge, app.code()).session_secret
    assert finish(
        network, sign_in(network, password=NEW_PASSWORD).challenge, spare[0]
    ).session_secret


def test_a_sign_in_that_began_with_the_old_password_cannot_be_finished_after_the_change(
    network: Scene,
) -> None:
    """A thief with the old password may have started to sign in and be waiting to enter the code.

    The change of the password ends that sign-in, too.
    """
    app, _spare = turn_on_own_codes(network)
    challenge = sign_in(network).challenge
    reset(network, link(network))
    assert refusal(lambda: finish(network, challenge, app.code())) == SIGN_IN_FAILED


def test_a_password_that_is_checked_while_it_changes_opens_no_session(
    network: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thief may keep signing in with the old password.

    No session is opened during the change.
    """
    token, original = link(network), passwords.matches_hash

    def reset_while_checking(password_hash: str | None, password: str) -> bool:
        is_right = original(password_hash, password)
        reset(network, token)
        return is_right

    monkeypatch.setattr(sessions, "matches_hash", reset_while_checking)
    assert refusal(lambda: sign_in(network)) == SIGN_IN_FAILED
    assert network.rows("SELECT FROM sessions") == []


def test_a_sign_in_that_is_finished_at_the_moment_of_the_change_is_ended_too(
    network: Scene,
) -> None:
    app, _spare = turn_on_own_codes(network)
    password = PASSWORD
    for n in range(4):
        network.advance(hours=1)
        token, new_password = link(network), f"una frase de prueba numero {n}"
        challenge, code = sign_in(network, password=password).challenge, app.code()
        with ThreadPoolExecutor(2) as pool:
            finished = pool.submit(answer, partial(finish, network, challenge, code))
            pool.submit(reset, network, token, new_password).result()
        assert finished.result() in ("OK", "sign_in_failed")
        assert network.rows("SELECT FROM sessions") == []
        password = new_password


def test_a_sign_in_cannot_be_finished_after_the_worker_changed_her_password_herself(
    network: Scene,
) -> None:
    app, _spare = turn_on_own_codes(network)
    challenge = sign_in(network).challenge
    change(stubs_of_worker(network))
    assert refusal(lambda: finish(network, challenge, app.code())) == SIGN_IN_FAILED
    [(fact, letter)] = facts_with_letters(network, "password_changed")
    assert (fact.worker_id, letter.email) == (worker_of(network), EMAIL), (
        "she is notified of that change, too"
    )


def test_a_changed_password_ends_a_reset_link_that_is_on_its_way(
    network: Scene, token: str
) -> None:
    me, secret = session_of(network)
    change(me, secret)
    assert refusal(lambda: reset(network, token)) == INVALID


@pytest.mark.parametrize("table", ["workers", "organizations"])
@pytest.mark.parametrize("when", ["before", "between"])
def test_a_suspended_worker_or_member_gets_no_reset_link_and_cannot_use_one(
    network: Scene, when: str, table: str
) -> None:
    token = link(network) if when == "between" else ""
    worker = sign_in(network).worker
    id = worker.id if table == "workers" else worker.organization_id
    # the links stay stored: the status alone makes them invalid
    network.rows(f"UPDATE {table} SET status = 'SUSPENDED' WHERE id = %s RETURNING id", id)
    request_link(network)
    assert run_loop(network) == 1
    assert len(facts_with_letters(network)) == (when == "between")
    if token:
        assert refusal(lambda: reset(network, token)) == INVALID


def test_a_reset_link_is_invalid_once_the_worker_has_accepted_another_invitation(
    scene: Scene, member: Organization
) -> None:
    scene.worker(member, Role.WORKER, email=EMAIL)
    token = link(scene)
    accept(
        scene,
        invite(scene.by(member, Role.MANAGER), None, contract_pb2.ROLE_WORKER, email=EMAIL),
    )
    assert refusal(lambda: reset(scene, token)) == INVALID


def test_a_worker_who_signs_in_through_her_ministry_cannot_reset_a_password_by_email(
    scene: Scene, ministry: Organization, provider: Provider
) -> None:
    token = link(scene, OFFICIAL)
    assert sign_in_through(scene, ministry, provider).session_secret
    assert refusal(lambda: reset(scene, token)) == INVALID
    request_link(scene, OFFICIAL)
    run_loop(scene)
    assert len(facts_with_letters(scene)) == 1


def test_an_invited_person_without_an_account_gets_no_reset_link(scene: Scene) -> None:
    invite(
        scene.by(scene.organization(), Role.MANAGER), None, contract_pb2.ROLE_WORKER, email=EMAIL
    )
    request_link(scene)
    assert (run_loop(scene), facts_with_letters(scene)) == (1, [])


def test_a_request_does_the_same_whatever_the_email_is(scene: Scene, member: Organization) -> None:
    """Checks that each request takes the same time.

    The answer is the same, the rows have the same size, and no account is read.
    """
    scene.worker(member, Role.WORKER, email="activa@ejemplo.org")
    suspended = scene.worker(member, Role.WORKER, email="se-fue@ejemplo.org")
    scene.by(member, Role.MANAGER).SuspendWorker(id=suspended.id)
    published_before = len(scene.rows("SELECT FROM outbox"))
    addresses = ("activa@ejemplo.org", "se-fue@ejemplo.org", "nunca@ejemplo.org")
    assert {request_link(scene, email).SerializeToString() for email in addresses} == {b""}
    rows = scene.rows("SELECT * FROM password_reset_requests")
    assert sorted(len(row["email"]) for row in rows) == sorted(
        len(email) + len(rows[0]["email"]) - len(addresses[0]) for email in addresses
    )
    assert len(scene.rows("SELECT FROM outbox")) == published_before, (
        "nothing is published before the loop has run"
    )
    assert (run_loop(scene), run_loop(scene)) == (3, 0)
    assert [letter.email for _, letter in facts_with_letters(scene)] == ["activa@ejemplo.org"]


@pytest.mark.parametrize(
    "email", ["x\x00y@ejemplo.org", "ñandú", "'; DROP TABLE workers; --", "a" * 254]
)
def test_an_invalid_email_delays_nobody(network: Scene, email: str) -> None:
    request_link(network, email)
    assert link(network)
    assert refusal(lambda: request_link(network, "")) == ("INVALID_ARGUMENT", "invalid_fields")
    assert refusal(lambda: request_link(network, "a" * 255)) == (
        "INVALID_ARGUMENT",
        "invalid_fields",
    )


def test_a_damaged_request_delays_nobody(network: Scene) -> None:
    request_link(network, "otra@ejemplo.org")
    network.rows("UPDATE password_reset_requests SET email = decode('00ff', 'hex') RETURNING id")
    request_link(network)
    run_loop(network)
    assert [letter.email for _, letter in facts_with_letters(network)] == [EMAIL]


def test_a_mailbox_gets_three_emails_at_once_then_one_an_hour_and_the_answer_is_the_same(
    network: Scene,
) -> None:
    answers = {
        request_link(network, email).SerializeToString()
        for email in (EMAIL, EMAIL.upper(), f" {EMAIL}", EMAIL, EMAIL)
    }
    assert answers == {b""}
    run_loop(network)
    assert len(facts_with_letters(network)) == 3
    for minutes, letters in ((59, 3), (1, 4)):
        network.advance(minutes=minutes)
        token = link(network)
        assert len(facts_with_letters(network)) == letters
    reset(network, token)  # the latest link is valid, whoever asked for it


def test_one_address_may_request_thirty_links_and_then_one_every_two_minutes(scene: Scene) -> None:
    for number in range(35):
        request_link(scene, f"persona{number}@ejemplo.org", "192.0.2.7")
    assert len(scene.rows("SELECT FROM password_reset_requests")) == 30
    request_link(scene, "otra@ejemplo.org", "192.0.2.8")
    scene.advance(minutes=2)
    request_link(scene, "una-mas@ejemplo.org", "192.0.2.7")
    assert len(scene.rows("SELECT FROM password_reset_requests")) == 32


def test_requesting_a_link_uses_up_no_guesses_of_the_sign_in(network: Scene) -> None:
    for _ in range(20):
        request_link(network)
    assert sign_in(network).session_secret


def test_a_repeated_request_and_a_repeated_reset_take_effect_once(network: Scene) -> None:
    request_link(network, request_id="one")
    request_link(network, request_id="one")
    assert run_loop(network) == 1
    token = facts_with_letters(network)[0][1].token
    reset(network, token, request_id="two")
    reset(network, token, request_id="two")
    assert len(facts_with_letters(network, "password_changed")) == 1


def test_the_link_and_the_address_are_nowhere_but_in_the_sealed_letter(
    network: Scene, capfd: pytest.CaptureFixture[str]
) -> None:
    email = "nadie-lo-sabe@ejemplo.org"
    network.worker(network.coalition, Role.WORKER, email=email)
    request_link(network, email, "192.0.2.7", request_id="one")
    request_link(network, "tampoco-esta@ejemplo.org", request_id="two")
    assert network.tables_with(email) == {"workers"}
    assert network.tables_with("tampoco-esta") == set()
    run_loop(network)
    token = facts_with_letters(network)[-1][1].token
    reset(network, token, request_id="three")
    for secret in (token, NEW_PASSWORD, "tampoco-esta"):
        assert network.tables_with(secret) == set()
    assert network.tables_with(email) == {"workers"}
    captured = capfd.readouterr()
    for secret in (token, NEW_PASSWORD, email, "tampoco-esta"):
        assert secret not in captured.out + captured.err


def test_the_request_and_the_change_are_on_the_trail_by_ids_alone(
    network: Scene, token: str
) -> None:
    request_link(network, "nadie@ejemplo.org")
    run_loop(network)
    reset(network, token)
    assert refusal(lambda: reset(network, token)) == INVALID
    id = worker_of(network)
    trail = network.rows(
        "SELECT actor_kind, action, object_id, reason FROM audit WHERE action LIKE '%%password%%'"
        " ORDER BY sequence"
    )
    assert [tuple(row.values()) for row in trail] == [
        ("system", "password_reset_ask", id, ""),
        ("public", "password_reset", id, ""),
        ("public", "reset_password", "", "reset_not_valid"),
    ]


def test_expired_reset_links_and_requests_are_deleted(network: Scene) -> None:
    link(network)
    request_link(network)
    network.sweep(hours=1)
    for table in ("password_resets", "password_reset_requests"):
        assert network.rows(f"SELECT FROM {table}") == []


def test_nobody_gets_an_email_for_a_request_made_long_ago(network: Scene) -> None:
    request_link(network)
    network.advance(hours=1)
    assert (run_loop(network), facts_with_letters(network)) == (1, [])


def test_the_email_in_a_request_is_rewrapped_with_a_new_key(network: Scene) -> None:
    request_link(network)
    both_keys = Keyring(
        network.sealing_key, lambda: {0: AESGCM(network.sealing_key), 1: AESGCM(b"1" * 32)}
    )
    assert rewrap(network.database, both_keys, SEALED) == (1, 0)
    with network.database.transaction(SYSTEM) as tx:
        assert count_older(tx, both_keys, SEALED) == 0
        assert send_links(tx, both_keys, network.mail, network.clock.now()) == 1
    assert len(facts_with_letters(network)) == 1
