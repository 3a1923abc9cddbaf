"""Wrong passwords: the budgets of accounts, addresses and devices, and the waits after them."""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc
import pytest

from chassis import deadline
from chassis.guesses import Guesses, Origin
from chassis.tokens import SYSTEM
from keys.sealing import Keyring
from protos.partners.v1 import members_pb2 as pb
from protos.partners.v1 import members_pb2_grpc
from services.partners.sign_in.usecases.sessions import ACCOUNT_BUDGET, ADDRESS_BUDGET
from tests.builders import refusal, refusal_with_delay
from tests.partners.scene import EMAIL, PASSWORD, SIGN_IN_FAILED, TOO_MANY_ATTEMPTS, Scene
from tests.partners.test_invitations import answer
from tests.parts.local_stack import until

WRONG = "otra clave larga"
PHONE = "p" * 43


def sign_in(
    scene: Scene,
    password: str = WRONG,
    email: str = EMAIL,
    address: str = "",
    device: str = "",
    timeout: float = 10,
) -> None:
    members_pb2_grpc.TokensStub(scene.channel).SignIn(
        pb.SignInRequest(email=email, password=password),
        metadata=scene.origin(address, device),
        timeout=timeout,
    )


def guess(scene: Scene, times: int, **options: Any) -> None:
    """Enters a wrong password several times; each attempt is checked."""
    for _ in range(times):
        assert refusal(lambda: sign_in(scene, **options)) == SIGN_IN_FAILED


def guess_a_hundred_times(scene: Scene) -> None:
    """Enters a wrong password a hundred times, each time as soon as an attempt is allowed."""
    guess(scene, 10)
    for _ in range(90):
        scene.advance(minutes=5)
        guess(scene, 1)


def wait_seconds(scene: Scene, **options: Any) -> float:
    """Returns the number of seconds for which an attempt to sign in is refused."""
    code, reason, delay = refusal_with_delay(lambda: sign_in(scene, **options))
    assert (code, reason) == TOO_MANY_ATTEMPTS
    return delay.total_seconds()


def test_after_ten_wrong_passwords_there_is_a_wait_before_each_further_attempt(
    network: Scene,
) -> None:
    guess(network, 10)
    assert wait_seconds(network, password=PASSWORD) == 300
    network.advance(seconds=299)
    assert wait_seconds(network, email=EMAIL.upper()) == 1  # the same e-mail address
    network.advance(seconds=1)
    guess(network, 1)
    assert wait_seconds(network) == 300


def test_after_a_hundred_wrong_passwords_there_is_one_attempt_an_hour(network: Scene) -> None:
    guess_a_hundred_times(network)
    network.advance(minutes=5)
    assert wait_seconds(network) == 45 * 60
    network.advance(hours=20)
    guess(network, 1)
    assert wait_seconds(network) == 3600, "unused attempts do not add up"


def test_strangers_guesses_do_not_keep_out_a_worker_who_signs_in_from_a_known_device(
    network: Scene,
) -> None:
    sign_in(network, PASSWORD, address="192.0.2.7", device=PHONE)
    guess(network, 10, address="192.0.2.66")
    assert wait_seconds(network, address="192.0.2.67")
    sign_in(network, PASSWORD, address="192.0.2.68", device=PHONE)
    assert wait_seconds(network, password=PASSWORD, device="q" * 43), "another device"


def test_a_known_device_has_its_own_count_and_is_known_for_its_own_account_only(
    network: Scene,
) -> None:
    network.worker(network.coalition, email="otra@ejemplo.org")
    sign_in(network, PASSWORD, device=PHONE)
    guess(network, 10, device=PHONE)
    assert wait_seconds(network, device=PHONE)
    sign_in(network, PASSWORD)  # on any other device
    guess(network, 10, email="otra@ejemplo.org", device=PHONE)
    assert wait_seconds(network, email="otra@ejemplo.org")


def test_a_device_is_forgotten_after_half_a_year(network: Scene) -> None:
    sign_in(network, PASSWORD, device=PHONE)
    network.advance(days=179)
    guess(network, 10)
    sign_in(network, PASSWORD, device=PHONE)
    network.advance(days=181)
    guess(network, 10)
    assert wait_seconds(network, password=PASSWORD, device=PHONE)


def test_one_address_may_not_try_a_password_on_everybody(network: Scene) -> None:
    for number in range(50):
        guess(network, 1, email=f"x{number}@ejemplo.org", address="192.0.2.66")
    assert wait_seconds(network, email="y@ejemplo.org", address="192.0.2.66") == 60
    assert wait_seconds(network, password=PASSWORD, address="192.0.2.66") == 60, (
        "even a right password reveals nothing"
    )
    sign_in(network, PASSWORD, address="192.0.2.7")


def test_an_office_that_signs_in_correctly_all_day_is_never_delayed(network: Scene) -> None:
    for _ in range(60):
        sign_in(network, PASSWORD, address="192.0.2.7")


def test_the_guesses_of_others_stay_counted_when_the_worker_signs_in(network: Scene) -> None:
    guess(network, 9)
    sign_in(network, PASSWORD)
    guess(network, 1)
    assert wait_seconds(network)


@pytest.mark.parametrize("email", [EMAIL, "nadie@puentes.org", "x\x00"])
def test_guesses_for_an_email_without_an_account_are_counted_like_any_others(
    network: Scene, email: str
) -> None:
    guess(network, 10, email=email)
    assert wait_seconds(network, email=email) == 300


def test_neither_email_nor_address_nor_device_is_stored_in_clear(network: Scene) -> None:
    guess(network, 1, email="nadie@puentes.org", address="192.0.2.66", device=PHONE)
    sign_in(network, PASSWORD, address="192.0.2.66", device=PHONE)
    stored = str([bytes(row["mark"]) for row in network.rows("SELECT mark FROM guesses")])
    assert len(stored) > 100
    for readable in ("nadie", "192.0.2", PHONE, "xiomara"):
        assert readable not in stored


def test_many_guesses_at_once_do_not_evade_the_limit(network: Scene) -> None:
    calls = [
        partial(sign_in, network, f"otra clave {number:03}", address=f"192.0.2.{number % 3}")
        for number in range(30)
    ]
    with ThreadPoolExecutor(6) as pool:
        answers = sorted(pool.map(answer, calls))
    assert answers == ["sign_in_failed"] * 10 + ["too_many_attempts"] * 20


def test_expired_guesses_addresses_and_devices_are_deleted(network: Scene) -> None:
    guess(network, 3, address="192.0.2.66")
    sign_in(network, PASSWORD, device=PHONE)
    for days, rows in ((1, 2), (30, 1), (150, 0)):  # the address is deleted soon
        network.sweep(days=days)
        assert len(network.rows("SELECT 1 FROM guesses")) == rows


def test_expired_guesses_no_longer_count_even_before_they_are_swept(network: Scene) -> None:
    guess_a_hundred_times(network)
    network.advance(days=40)
    guess(network, 10)
    assert wait_seconds(network) == 300


def test_a_right_password_whose_call_ran_out_of_time_does_not_count_as_a_guess(
    network: Scene,
) -> None:
    for _ in range(2):
        with network.owner.transaction(SYSTEM) as tx:
            assert tx.execute("LOCK TABLE workers").rowcount == -1  # now no password can be checked
            for _ in range(8):
                with pytest.raises(grpc.RpcError, match="DEADLINE_EXCEEDED"):
                    sign_in(network, PASSWORD, timeout=0.2)
        network.advance(seconds=20)  # every earlier call must have ended by now
    sign_in(network, PASSWORD)
    guess(network, 10)
    assert wait_seconds(network) == 300


def test_a_call_under_way_counts_as_a_guess_for_as_long_as_it_can_last(network: Scene) -> None:
    with network.owner.transaction(SYSTEM) as tx:
        tx.execute("LOCK TABLE workers")
        reserved = "SELECT coalesce(max(cardinality(under_way)), 0) AS n FROM guesses"
        # on a slow machine a call may end before it has reserved a guess
        while tx.execute(reserved).fetchall()[0]["n"] < 10:
            with pytest.raises(grpc.RpcError, match="DEADLINE_EXCEEDED"):
                sign_in(network, timeout=0.2)
        assert wait_seconds(network) == 15
        # on a slow machine a call may still wait here, and would check its password after all
        waiting_calls = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'workers'::regclass"
        until(lambda: not tx.execute(waiting_calls).fetchall())
    network.advance(seconds=15)
    guess(network, 10)


def test_a_wrong_password_counts_even_if_its_call_ran_out_of_time(network: Scene) -> None:
    counter = Guesses(
        network.database, Keyring(network.sealing_key), "password", ACCOUNT_BUDGET, ADDRESS_BUDGET
    )
    for _ in range(10):
        attempt = counter.begin(EMAIL, Origin(), network.clock.now())
        with deadline.until(time.monotonic() - 1):
            counter.settle(attempt, False, network.clock.now())
    assert wait_seconds(network, password=PASSWORD) == 300


def test_a_clock_that_was_ahead_keeps_nobody_out_once_it_is_right(network: Scene) -> None:
    network.advance(days=1)
    guess(network, 5, address="192.0.2.7")
    sign_in(network, PASSWORD, address="192.0.2.7")
    network.advance(days=-1)
    guess(network, 5, address="192.0.2.7")
    assert wait_seconds(network, address="192.0.2.7") == 300, (
        "guesses that were counted stay counted"
    )
    colleague = network.worker(network.coalition)
    sign_in(network, PASSWORD, email=colleague.entry.email, address="192.0.2.7")
