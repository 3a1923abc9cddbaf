"""Keys as files: the first process creates them, and they can be read during a rotation."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from keys import key_folder
from keys.sealing import Keyring


def test_two_threads_that_create_a_key_with_the_same_number_get_the_same_key(
    tmp_path: Path,
) -> None:
    key_folder.create(tmp_path, ["referrals"])
    for _ in range(30):
        barrier = Barrier(2)

        def make(_: int, barrier: Barrier = barrier) -> tuple[int, bytes]:
            barrier.wait()
            number = key_folder.add_to_ring(tmp_path, "sealing.referrals")
            return number, key_folder.ring(tmp_path, "sealing.referrals")[number]

        with ThreadPoolExecutor(2) as pool:
            (first_number, first_key), (second_number, second_key) = pool.map(make, range(2))
        assert first_number != second_number or first_key == second_key
    assert not [file for file in tmp_path.iterdir() if file.suffix not in (".key", ".jwk")], (
        "no incomplete file is left"
    )


def before_the_next_read(change: Callable[[], object], patch: pytest.MonkeyPatch) -> None:
    """Makes `change` run once: after the next file is listed and before it is read."""
    original = Path.read_text
    changes = [change]

    def read_text(file: Path, **options: Any) -> str:
        if changes:
            changes.pop()()
        return original(file, **options)

    patch.setattr(Path, "read_text", read_text)


@pytest.mark.parametrize("read", [key_folder.all_verifying, key_folder.all_signing])
def test_a_pair_that_a_rotation_deletes_while_a_process_reads_its_keys_is_left_out(
    read: Callable[[Path, str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_folder.create(tmp_path, ["partners"])
    key_folder.replace_pair(tmp_path, "tokens")
    before_the_next_read(lambda: key_folder.drop_older_pairs(tmp_path, "tokens"), monkeypatch)
    assert len(read(tmp_path, "tokens")) == 1
    (tmp_path / "tokens.1.jwk").unlink()
    (tmp_path / "tokens.1.pub.jwk").unlink()
    with pytest.raises(FileNotFoundError):
        read(tmp_path, "tokens")


def test_a_sealing_key_that_is_retired_while_a_process_reads_its_keys_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_folder.create(tmp_path, ["partners"])
    for _ in range(2):
        key_folder.add_to_ring(tmp_path, "sealing.partners")
    newest = key_folder.secret(tmp_path, "sealing.partners.2")
    before_the_next_read(lambda: key_folder.retire(tmp_path, "partners", 2), monkeypatch)
    assert key_folder.ring(tmp_path, "sealing.partners") == {2: newest}


def test_the_secret_for_fingerprints_is_found_while_the_first_key_is_retired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_folder.create(tmp_path, ["partners"])
    secret = key_folder.fingerprint_secret(tmp_path, "partners")
    key_folder.add_to_ring(tmp_path, "sealing.partners")
    before_the_next_read(lambda: key_folder.retire(tmp_path, "partners", 1), monkeypatch)
    assert key_folder.fingerprint_secret(tmp_path, "partners") == secret


def test_a_key_of_the_wrong_length_leaves_the_known_keys_in_use() -> None:
    keys = {0: b"k" * 32}
    keyring = Keyring(b"s" * 32, lambda: keys)
    sealed = keyring.seal_bytes(b"a value", "a context")
    keys[1] = b"short"
    assert keyring.numbers == [0]
    assert keyring.open_bytes(keyring.seal_bytes(b"a value", "x"), "x") == b"a value"
    assert keyring.open_bytes(sealed, "a context") == b"a value"


@pytest.mark.parametrize("content", ["", "{}", "half of a k", "\x00" * 44, "c2hvcnQ=", '"text"'])
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("mail.key", lambda folder: key_folder.secret(folder, "mail")),
        ("sealing.referrals.key", lambda folder: key_folder.ring(folder, "sealing.referrals")),
        ("tokens.jwk", lambda folder: key_folder.all_signing(folder, "tokens")),
        ("tokens.pub.jwk", lambda folder: key_folder.all_verifying(folder, "tokens")),
        ("facts.referrals.jwk", lambda folder: key_folder.signing(folder, "facts.referrals")),
        ("facts.referrals.pub.jwk", key_folder.trusted_signers),
    ],
)
def test_a_file_that_holds_no_key_is_named(
    tmp_path: Path, name: str, read: Callable[[Path], object], content: str
) -> None:
    key_folder.create(tmp_path, ["referrals"])
    assert read(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(OSError, match="no key") as error:
        read(tmp_path)
    assert error.value.filename == str(tmp_path / name)


@pytest.mark.parametrize("name", ["tokens", "facts.referrals", "calls.gateway"])
def test_halves_of_two_different_pairs_are_named(tmp_path: Path, name: str) -> None:
    for folder in ("keys", "copy"):
        key_folder.create(tmp_path / folder, ["referrals"])
    private, public = (tmp_path / "keys" / f"{name}{half}" for half in (".jwk", ".pub.jwk"))
    public.write_text((tmp_path / "copy" / public.name).read_text())
    for read in (key_folder.signing, key_folder.all_signing):
        with pytest.raises(OSError, match="two different pairs") as error:
            read(private.parent, name)
        assert (error.value.filename, error.value.filename2) == (str(private), str(public))
    assert not key_folder.is_readable(private.parent, private.name), "doctor names the file"
    public.unlink()
    assert key_folder.signing(private.parent, name), "the gateway's folder has no public halves"


def test_a_key_that_seals_all_rows_is_kept_although_another_rotation_adds_a_newer_one(
    tmp_path: Path,
) -> None:
    key_folder.create(tmp_path, ["partners"])
    newest = key_folder.add_to_ring(tmp_path, "sealing.partners")  # seals all rows by now
    key_folder.add_to_ring(tmp_path, "sealing.partners")
    assert key_folder.retire(tmp_path, "partners", newest) == [0]
    assert sorted(key_folder.ring(tmp_path, "sealing.partners")) == [1, 2]


def test_two_rotations_at_once_create_one_pair_whose_halves_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_folder.create(tmp_path, ["partners"])
    new_pair, results = key_folder._new_pair, list[str]()

    def new_pair_while_another_rotation_creates_one() -> tuple[str, str]:
        monkeypatch.setattr(key_folder, "_new_pair", new_pair)
        results.append(key_folder.replace_pair(tmp_path, "tokens"))
        return new_pair()

    monkeypatch.setattr(key_folder, "_new_pair", new_pair_while_another_rotation_creates_one)
    results.append(key_folder.replace_pair(tmp_path, "tokens"))
    assert results == ["tokens.1", "tokens.1"]
    assert not key_folder.is_mixed(tmp_path / "tokens.1.jwk")


def test_two_processes_that_write_one_key_file_do_not_disturb_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_folder.create(tmp_path, ["partners"])
    public, replace = tmp_path / "tokens.pub.jwk", Path.replace
    public.unlink()

    def replace_while_another_process_writes(new: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "replace", replace)
        key_folder.create(tmp_path, ["partners"])
        return new.replace(target)

    monkeypatch.setattr(Path, "replace", replace_while_another_process_writes)
    key_folder.create(tmp_path, ["partners"])
    assert (
        key_folder.verifying(tmp_path, "tokens").kid == key_folder.signing(tmp_path, "tokens").kid
    )


def test_two_rotations_that_end_at_once_delete_the_older_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_folder.create(tmp_path, ["partners"])
    key_folder.replace_pair(tmp_path, "tokens")
    unlink = Path.unlink

    def unlink_after_the_other_rotation(file: Path, missing_ok: bool = False) -> None:
        monkeypatch.setattr(Path, "unlink", unlink)
        key_folder.drop_older_pairs(tmp_path, "tokens")
        unlink(file, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink_after_the_other_rotation)
    key_folder.drop_older_pairs(tmp_path, "tokens")
    assert sorted(file.name for file in tmp_path.glob("tokens*")) == [
        "tokens.1.jwk",
        "tokens.1.pub.jwk",
    ]
