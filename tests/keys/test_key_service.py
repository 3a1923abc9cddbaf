"""The sealing keys of a service in a PKCS#11 token, which never reveals them.

The tests check the operations, and the behaviour while the token is away.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pkcs11
import pytest
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from structlog.testing import capture_logs

from chassis.config import KeyServiceSettings, Settings, WrongSettings, service_settings
from chassis.errors import Unavailable
from keys import key_folder
from keys.check import KeyCheck
from keys.sealing import CannotOpen, Keyring
from keys.sealing_keys import SealingKeys
from keys.service import _ONE_CALLER, KeyService
from services.partners.__main__ import MIGRATIONS
from tests.parts import postgres as parts
from tests.parts.softhsm import PIN, SoftHsm

NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftHsm]:
    created = SoftHsm(tmp_path_factory.mktemp("softhsm"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in created.environment.items():
            patch.setenv(name, value)
        yield created


@pytest.fixture
def token(softhsm: SoftHsm, request: pytest.FixtureRequest) -> KeyServiceSettings:
    """A token for this test alone."""
    return softhsm.token(f"{abs(hash(request.node.name)):x}"[:16])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "keys").mkdir()
    return tmp_path / "keys"


def new_keys(token: KeyServiceSettings, folder: Path) -> SealingKeys:
    """Returns the keys of a service that had no keys before it used the token."""
    created = SealingKeys(folder, "tests", KeyService(token))
    assert created.begin(os.urandom(32), NOW)
    return created


def cause_of(act: Callable[[], object]) -> str:
    """Returns why the token is unavailable to a call; fails if it is available."""
    with pytest.raises(Unavailable) as caught:
        act()
    return caught.value.cause


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Removes the pause before the token is tried again."""
    monkeypatch.setattr("keys.service._RETRY_PAUSE", 0.0)


def test_a_sealed_text_can_be_opened_only_in_its_own_context(
    token: KeyServiceSettings, folder: Path
) -> None:
    keyring = new_keys(token, folder).keyring()
    for text in ("Ximena", "", "ñ" * 20_000):
        sealed = keyring.seal(text, "people/1/name")
        assert keyring.open(sealed, "people/1/name") == text
        assert text.encode() not in sealed or not text
        last_byte_changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
        for damaged_text in (sealed[:-1], sealed[:8], sealed[:1], last_byte_changed):
            with pytest.raises(CannotOpen):
                keyring.open(damaged_text, "people/1/name")
        with pytest.raises(CannotOpen):
            keyring.open(sealed, "people/2/name")
    her_key, wrapped = keyring.new_key("keys/1")
    assert keyring.unwrap(wrapped, "keys/1").open(her_key.seal("hers", "c"), "c") == "hers"
    keys_of_another_service = SealingKeys(folder, "others", KeyService(token))
    keys_of_another_service.begin(os.urandom(32), NOW)
    with pytest.raises(CannotOpen):
        keys_of_another_service.keyring().open(keyring.seal("x", "c"), "c")


def test_nobody_can_read_a_key_not_even_a_holder_of_the_pin(
    token: KeyServiceSettings, folder: Path
) -> None:
    new_keys(token, folder).add(NOW)
    module = pkcs11.lib(token.module)
    module.reinitialize()
    with module.get_token(token_label=token.token).open(user_pin=PIN, rw=True) as session:
        secret_keys = list(session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY}))
        assert sorted(str(key[Attribute.LABEL]) for key in secret_keys) == [
            "marks.tests",
            "sealing.tests",
            "sealing.tests.1",
        ]
        wrapping = session.generate_key(KeyType.AES, 256, label="thief")
        for key in secret_keys:
            for read in (
                lambda key=key: key[Attribute.VALUE],
                lambda key=key: key.__setitem__(Attribute.SENSITIVE, False),
                lambda key=key: key.__setitem__(Attribute.EXTRACTABLE, True),
                lambda key=key: key.copy({Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True})[
                    Attribute.VALUE
                ],
                lambda key=key: wrapping.wrap_key(key, mechanism=Mechanism.AES_KEY_WRAP),  # type: ignore[attr-defined]
            ):
                with pytest.raises(pkcs11.PKCS11Error):
                    read()  # type: ignore[no-untyped-call]


def test_many_threads_use_the_token_at_once_and_each_gets_its_own_results(
    token: KeyServiceSettings, folder: Path
) -> None:
    keyring = new_keys(token, folder).keyring()

    def wrong_texts(thread: int) -> list[str]:
        texts = [f"{thread}/{number}" for number in range(60)]
        return [text for text in texts if keyring.open(keyring.seal(text, text), text) != text]

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(wrong_texts, range(16))) == [[]] * 16


def test_while_the_token_is_away_no_text_counts_as_unreadable_and_all_work_after_its_return(
    token: KeyServiceSettings, folder: Path, softhsm: SoftHsm, quick: None
) -> None:
    keyring = new_keys(token, folder).keyring()
    sealed, with_unknown_key = keyring.seal("x", "c"), b"\x02\x00\x07" + bytes(40)
    with capture_logs() as logged, softhsm.away():
        for act in (
            lambda: keyring.open(sealed, "c"),
            lambda: keyring.seal("x", "c"),
            lambda: keyring.new_key("c"),
            lambda: keyring.numbers,
            lambda: keyring.open(with_unknown_key, "c"),
            lambda: keyring.fingerprint(b"x", "never asked before"),
        ):
            with pytest.raises(Unavailable) as caught:
                act()
            assert (caught.value.reason, str(caught.value)) == (
                "store_unavailable",
                "store_unavailable",
            )
    with capture_logs() as logged_after:
        assert keyring.open(sealed, "c") == "x"
        assert keyring.numbers == [0]
    with pytest.raises(CannotOpen):
        keyring.open(with_unknown_key, "c")
    assert [(line["event"], line["reason"]) for line in logged] == [
        ("key_service_away", "token_away")
    ], "the outage is logged once"
    assert [line["event"] for line in logged_after] == ["key_service_back"]


def test_a_token_that_is_away_at_the_start_is_used_once_it_returns(
    token: KeyServiceSettings, folder: Path, softhsm: SoftHsm, quick: None
) -> None:
    sealed = new_keys(token, folder).keyring().seal("x", "c")
    with softhsm.away():
        keyring = SealingKeys(folder, "tests", KeyService(token)).keyring()
        with pytest.raises(Unavailable):
            keyring.seal("x", "c")
    assert keyring.open(sealed, "c") == "x"


def test_a_wrong_pin_is_tried_only_once_and_a_new_pin_at_once(
    token: KeyServiceSettings,
    folder: Path,
    tmp_path: Path,
    quick: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sealed, load = new_keys(token, folder).keyring().seal("x", "c"), Mock(wraps=pkcs11.lib)
    monkeypatch.setattr(pkcs11, "lib", load)
    pin = tmp_path / "pin"
    keyring = SealingKeys(
        folder, "tests", KeyService(KeyServiceSettings(token.module, token.token, pin))
    ).keyring()

    assert cause_of(lambda: keyring.open(sealed, "c")) == "pin_missing"
    pin.write_text("0000")
    assert [cause_of(lambda: keyring.open(sealed, "c")) for _ in range(5)] == ["pin_wrong"] * 5
    assert load.call_count == 1, "after three wrong PINs a card may lock itself"
    pin.write_text(PIN)
    assert keyring.open(sealed, "c") == "x"


def test_a_missing_module_and_a_missing_token_are_told_apart(
    token: KeyServiceSettings, folder: Path, quick: None
) -> None:
    for module, label, reason in (
        ("/nowhere.so", token.token, "module_missing"),
        (token.module, "nobody", "token_away"),
    ):
        service = KeyService(KeyServiceSettings(module, label, token.pin_file))
        assert cause_of(lambda service=service: service.ring("tests")) == reason  # type: ignore[misc]


def test_two_keys_of_one_name_are_an_error(token: KeyServiceSettings, folder: Path) -> None:
    new_keys(token, folder)
    KeyService(token).make("tests", 0, NOW)
    with capture_logs() as logged, pytest.raises(ValueError, match="one name"):
        SealingKeys(folder, "tests", KeyService(token)).keyring()
    assert [line["reason"] for line in logged] == ["key_twice"]


def test_keys_move_from_files_into_the_token_and_fingerprints_stay_the_same(
    token: KeyServiceSettings, folder: Path
) -> None:
    key_folder.create(folder, ["tests"])
    before = key_folder.keyring(folder, "tests")
    sealed, mark = before.seal("x", "c"), before.fingerprint(b"her reference", "references")
    moving = SealingKeys(folder, "tests", KeyService(token))
    both = moving.keyring()
    assert (
        both.open(sealed, "c"),
        both.seal("y", "c")[:1],
        both.fingerprint(b"her reference", "references"),
    ) == ("x", b"\x01", mark)
    assert moving.add(NOW) == 1
    assert not moving.begin(b"", NOW), "the token already has a key"
    assert both.numbers == [0, 1]
    moved = both.rewrap(sealed, "c")
    assert moved[:3] == b"\x02\x00\x01"
    assert moving.age_of_newest(NOW + 90) == 90
    assert moving.retire(1) == [0]
    assert key_folder.sealing_files(folder, "tests") == []
    for keyring in (both, SealingKeys(folder, "tests", KeyService(token)).keyring()):
        assert (
            keyring.numbers,
            keyring.open(moved, "c"),
            keyring.fingerprint(b"her reference", "references"),
        ) == ([1], "x", mark)
    key_folder.create(folder, ["tests"], sealing=False)
    assert key_folder.sealing_files(folder, "tests") == [], "a start creates no new first key"
    assert (moving.add(NOW), moving.retire(2), moving.newest()) == (2, [1], 2)


def test_a_token_without_keys_and_keys_that_do_not_fit_the_database_are_reported(
    token: KeyServiceSettings,
    folder: Path,
    softhsm: SoftHsm,
    postgres: parts.Server,
    tmp_path: Path,
    quick: None,
) -> None:
    def problem(keyring: Keyring) -> str:
        return KeyCheck(database, keyring).turn()

    def keyring_of(service: KeyService) -> Keyring:
        return SealingKeys(folder, "tests", service).keyring()

    with postgres.database("partners", MIGRATIONS).open_as_service(max_size=2) as database:
        keyring = new_keys(token, folder).keyring()
        assert (problem(keyring), problem(keyring_of(KeyService(token)))) == ("", "")
        empty = KeyService(softhsm.token("empty"))
        assert problem(keyring_of(empty)) == "sealing_key_missing"
        another = new_keys(softhsm.token("another"), folder).keyring()
        assert problem(another) == "sealing_key_wrong"
        half = KeyService(softhsm.token("half"))
        half.make("tests", 1, NOW)
        assert problem(keyring_of(half)) == "sealing_key_missing", "the token has no key for marks"
        # fingerprints made with other marks would find no stored row
        ring: Any = KeyService(token).ring("tests")
        assert problem(Keyring(os.urandom(32), ring.copy)) == "sealing_key_wrong"
        check = KeyCheck(database, keyring)
        with softhsm.away(), pytest.raises(Unavailable):
            check.turn()
        assert (check.confirmed, check.turn(), check.confirmed) == (False, "", True)


def test_no_call_waits_long_for_a_module_that_hangs(
    token: KeyServiceSettings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = new_keys(token, folder).keyring()
    sealed = keyring.seal("x", "c")
    monkeypatch.setattr("keys.service._PATIENCE", 0.05)
    has_begun, may_end = threading.Event(), threading.Event()

    def hang() -> None:
        with _ONE_CALLER:
            has_begun.set()
            may_end.wait(30)

    thread = threading.Thread(target=hang)
    thread.start()
    assert has_begun.wait(10)
    cause = cause_of(lambda: keyring.open(sealed, "c"))
    may_end.set()
    thread.join()
    assert cause == "busy"
    assert keyring.open(sealed, "c") == "x"


def test_either_all_or_none_of_the_tokens_settings_must_be_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert service_settings(Settings()).key_service is None
    monkeypatch.setenv("ENLACE_PKCS11_TOKEN", "enlace")
    settings = Settings()
    service_settings(settings)
    with pytest.raises(WrongSettings, match=r"ENLACE_PKCS11_MODULE.*ENLACE_PKCS11_PIN_FILE"):
        settings.done()


def test_the_token_is_fast_enough_for_every_call(token: KeyServiceSettings, folder: Path) -> None:
    keyring, start = new_keys(token, folder).keyring(), time.perf_counter()
    for _ in range(500):
        keyring.open(keyring.seal("x", "c"), "c")
    assert time.perf_counter() - start < 2, "a call seals and opens only a few texts"
