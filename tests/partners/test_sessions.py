"""Signing in, sessions and tokens.

The tests check what has to be proved, for how long that is valid, and how little a stranger learns.
"""

from functools import partial

import pytest

from chassis.errors import Unauthenticated
from chassis.tokens import SYSTEM
from protos.contract.v1 import contract_pb2
from protos.partners.v1 import members_pb2 as pb
from services.partners.members.domain.worker import Role
from services.partners.members.usecases import passwords
from services.partners.sign_in.usecases import sessions
from tests.builders import refusal, wrong_fields
from tests.partners.scene import (
    EMAIL,
    KEY_INVALID,
    PASSWORD,
    RIGHT_MISSING,
    SESSION_ENDED,
    SIGN_IN_FAILED,
    Scene,
)


def sign_in(scene: Scene, email: str = EMAIL, password: str = PASSWORD) -> pb.SignInResponse:
    return scene.nobody.SignIn(  # type: ignore[no-any-return]
        email=email, password=password
    )


def token_of(scene: Scene, secret: str) -> pb.IssueTokenResponse:
    return scene.nobody.IssueToken(session_secret=secret)  # type: ignore[no-any-return]


def test_an_email_and_a_password_open_a_session_with_a_token(network: Scene) -> None:
    signed_in = sign_in(network, email=" Xiomara@PUENTES.org ")
    assert (
        signed_in.worker.email,
        signed_in.organization_name,
        signed_in.organization.country,
    ) == (EMAIL, "Puentes", "NI")
    caller = network.verifier.verify(signed_in.tokens["enlace.partners"])
    assert (caller.id, caller.kind, caller.roles) == (
        signed_in.worker.id,
        "worker",
        frozenset({"WORKER", "OPERATOR"}),
    )
    assert network.with_token(signed_in.tokens["enlace.partners"]).ListOrganizations().organizations
    assert network.rows("SELECT action FROM audit WHERE object_id = %s", signed_in.worker.id) == [
        {"action": "sign_in"}
    ]


def test_a_session_secret_is_stored_only_as_a_hash(network: Scene) -> None:
    secret = sign_in(network).session_secret
    assert len(secret) >= 43  # 256 bits
    assert secret not in str(network.rows("SELECT * FROM sessions"))


@pytest.mark.parametrize(
    ("email", "password"),
    [
        (EMAIL, "otra clave larga"),
        ("nadie@puentes.org", PASSWORD),
        ("x\x00", PASSWORD),
        (EMAIL, "x" * 9999),
    ],
)
def test_every_failed_sign_in_gives_the_same_answer(
    network: Scene, email: str, password: str
) -> None:
    assert refusal(lambda: sign_in(network, email, password)) == SIGN_IN_FAILED


def test_a_suspended_worker_gets_the_same_answer_and_her_sessions_are_deleted(
    network: Scene,
) -> None:
    signed_in = sign_in(network)
    manager = network.by(network.stored(signed_in.organization.id), Role.MANAGER)
    manager.SuspendWorker(id=signed_in.worker.id)
    assert refusal(lambda: sign_in(network)) == SIGN_IN_FAILED
    assert refusal(lambda: token_of(network, signed_in.session_secret)) == SESSION_ENDED
    assert network.rows("SELECT 1 FROM sessions") == []


def test_a_suspended_members_key_and_its_workers_sessions_end_for_good(network: Scene) -> None:
    signed_in = sign_in(network)
    id, secret = signed_in.organization.id, signed_in.session_secret
    key = network.by(network.stored(id), Role.MANAGER).CreateApiKey(
        label="x", scopes=[contract_pb2.SCOPE_DIRECTORY_READ]
    )
    network.suspend(id)
    assert refusal(lambda: sign_in(network)) == SIGN_IN_FAILED
    assert refusal(lambda: token_of(network, secret)) == SESSION_ENDED
    assert refusal(lambda: network.nobody.IssueToken(api_key=key.secret)) == KEY_INVALID
    network.reinstate(id)
    assert refusal(lambda: token_of(network, secret)) == SESSION_ENDED
    sign_in(network)


def test_an_unknown_email_costs_as_much_work_as_a_known_email(
    network: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = []

    def matches_hash(password_hash: str | None, password: str) -> bool:
        checked.append(password_hash)
        return passwords.matches_hash(password_hash, password)

    monkeypatch.setattr(sessions, "matches_hash", matches_hash)
    for email in (EMAIL, "nadie@puentes.org"):
        assert refusal(partial(sign_in, network, email, "otra clave larga")) == SIGN_IN_FAILED
    assert len(checked) == 2


def test_checking_a_password_is_slow_whether_or_not_the_account_has_one() -> None:
    passwords.unknown_hash.cache_clear()
    stored = passwords.hash_of(PASSWORD)
    for slow_hash in (stored, passwords.unknown_hash()):
        assert slow_hash.startswith("$argon2id$v=19$m=32768,t=2,p=1$")
    hashes = (stored, None, "no hash")
    assert [passwords.matches_hash(hash, PASSWORD) for hash in hashes] == [True, False, False]


def test_an_empty_request_is_invalid_and_does_not_count_as_an_attempt(network: Scene) -> None:
    assert wrong_fields(network.nobody.SignIn) == [("email", "required"), ("password", "required")]
    assert network.rows("SELECT 1 FROM guesses") == []


def test_a_session_yields_tokens_that_last_a_few_seconds(network: Scene) -> None:
    secret = sign_in(network).session_secret
    issued = token_of(network, secret)
    assert (issued.worker.email, issued.organization.name, list(issued.scopes)) == (
        EMAIL,
        "Puentes",
        [],
    )
    # three seconds, and less than the allowed difference between clocks
    network.advance(seconds=3.9)
    network.verifier.verify(issued.tokens["enlace.partners"])
    network.advance(seconds=0.2)
    with pytest.raises(Unauthenticated, match="token_expired"):
        network.verifier.verify(issued.tokens["enlace.partners"])
    assert refusal(network.with_token(issued.tokens["enlace.partners"]).ListOrganizations) == (
        "UNAUTHENTICATED",
        "token_expired",
    )
    network.verifier.verify(token_of(network, secret).tokens["enlace.partners"])


@pytest.mark.parametrize(
    ("uses", "minutes_between", "last_minutes"),
    [
        pytest.param(3, 14, 15, id="idle for a quarter of an hour"),
        pytest.param(12 * 6 - 1, 10, 10, id="in use for twelve hours"),
        pytest.param(1, -5, 16, id="idle after its clock was set back by minutes"),
    ],
)
def test_a_session_continues_while_it_is_used_and_ends_when_it_is_idle_or_old(
    network: Scene, uses: int, minutes_between: int, last_minutes: int
) -> None:
    secret = sign_in(network).session_secret
    for _ in range(uses):
        network.advance(minutes=minutes_between)
        token_of(network, secret)
    network.advance(minutes=last_minutes)
    assert refusal(lambda: token_of(network, secret)) == SESSION_ENDED


def test_a_page_that_updates_by_itself_does_not_keep_a_session_from_being_idle(
    network: Scene,
) -> None:
    secret = sign_in(network).session_secret
    passive = pb.IssueTokenRequest(session_secret=secret, passive=True)
    for _ in range(2):
        network.advance(minutes=7)
        assert network.nobody.IssueToken(passive).tokens
    network.advance(minutes=1)
    for request in (passive, pb.IssueTokenRequest(session_secret=secret)):
        assert refusal(partial(network.nobody.IssueToken, request)) == SESSION_ENDED


def test_a_busy_session_is_written_at_most_twice_a_minute(network: Scene) -> None:
    secret = sign_in(network).session_secret
    write_times = set()
    for _ in range(6):
        network.advance(seconds=10)
        token_of(network, secret)
        write_times.add(network.rows("SELECT last_use_time FROM sessions")[0]["last_use_time"])
    assert len(write_times) == 3  # at the start, after 30 s, after 60 s


def test_an_ended_session_stays_ended_and_ending_it_again_changes_nothing(network: Scene) -> None:
    secret = sign_in(network).session_secret
    for _ in range(2):
        network.nobody.EndSession(session_secret=secret)
    assert refusal(lambda: token_of(network, secret)) == SESSION_ENDED
    network.nobody.EndSession()


@pytest.mark.parametrize("secret", ["", "x", "\x00", "x" * 10_000])
def test_an_invalid_session_secret_gets_the_answer_of_an_ended_session(
    scene: Scene, secret: str
) -> None:
    assert refusal(lambda: token_of(scene, secret)) == SESSION_ENDED


def test_a_credential_is_required(scene: Scene) -> None:
    assert wrong_fields(scene.nobody.IssueToken) == [("api_key", "required")]


def test_a_key_yields_tokens_with_its_scopes(network: Scene) -> None:
    organization = network.organization("Luna", languages=("en",))
    created = network.by(organization, Role.MANAGER).CreateApiKey(
        label="x", scopes=[contract_pb2.SCOPE_REFERRALS_READ, contract_pb2.SCOPE_DIRECTORY_READ]
    )
    issued = network.nobody.IssueToken(api_key=created.secret)
    assert (issued.HasField("worker"), issued.organization.name, list(issued.scopes)) == (
        False,
        "Luna",
        [contract_pb2.SCOPE_DIRECTORY_READ, contract_pb2.SCOPE_REFERRALS_READ],
    )
    caller = network.verifier.verify(issued.tokens["enlace.partners"])
    assert (caller.id, caller.kind, caller.organization_id, caller.language) == (
        created.api_key.id,
        "key",
        organization.id,
        "en",
    )
    reader = network.with_token(issued.tokens["enlace.partners"])
    reader.ListOrganizations()
    assert refusal(reader.CreateService) == RIGHT_MISSING
    (key,) = network.by(organization, Role.MANAGER).ListApiKeys().api_keys
    assert key.HasField("last_use_time")


def test_a_wrong_revoked_or_expired_key_is_invalid(network: Scene) -> None:
    manager = network.by(network.organization("Luna"), Role.MANAGER)
    revoked, valid = (
        manager.CreateApiKey(label="x", scopes=[contract_pb2.SCOPE_DIRECTORY_READ])
        for _ in range(2)
    )
    manager.RevokeApiKey(id=revoked.api_key.id)
    for wrong_key in (
        revoked.secret,
        f"enl_{valid.api_key.id}_{'0' * 64}",
        valid.secret[:-1],
        valid.secret + "\n",
        "",
        "enl__",
        f"enl_{'0' * 32}_{'0' * 64}",
    ):
        assert refusal(partial(network.nobody.IssueToken, api_key=wrong_key)) == KEY_INVALID
    assert network.nobody.IssueToken(api_key=valid.secret).tokens
    network.advance(days=365)
    assert refusal(lambda: network.nobody.IssueToken(api_key=valid.secret)) == KEY_INVALID


def test_ended_sessions_are_swept_and_live_ones_stay(network: Scene) -> None:
    sign_in(network)
    network.advance(hours=25)
    sign_in(network)
    assert network.sweep() == 1
    assert len(network.rows("SELECT 1 FROM sessions")) == 1


def test_a_session_and_a_key_stay_valid_when_their_use_cannot_be_recorded_on_a_full_disk(
    network: Scene,
) -> None:
    secret = sign_in(network).session_secret
    manager = network.by(network.organization("Casa"), Role.MANAGER)
    key = manager.CreateApiKey(label="x", scopes=[contract_pb2.SCOPE_REFERRALS_READ]).secret
    network.advance(minutes=10)
    with network.owner.transaction(SYSTEM) as tx:
        tx.execute(
            "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION"
            " 'no room' USING ERRCODE = 'disk_full'; END $$"
        )
        for table in ("sessions", "api_keys"):
            tx.execute(
                f"CREATE TRIGGER no_room BEFORE UPDATE ON {table} EXECUTE FUNCTION no_room()"
            )
    try:
        assert token_of(network, secret).worker.email == EMAIL
        assert network.nobody.IssueToken(api_key=key).tokens
        assert refusal(
            lambda: manager.RevokeApiKey(id=network.rows("SELECT id FROM api_keys")[0]["id"])
        ) == ("RESOURCE_EXHAUSTED", "store_full")
    finally:
        with network.owner.transaction(SYSTEM) as tx:
            tx.execute("DROP FUNCTION no_room CASCADE")


def test_a_session_opened_by_a_clock_that_was_ahead_does_not_outlive_its_idle_limit(
    network: Scene,
) -> None:
    network.advance(hours=10)
    secret = sign_in(network).session_secret
    network.advance(hours=-10)
    assert refusal(lambda: token_of(network, secret)) == SESSION_ENDED
