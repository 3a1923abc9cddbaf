"""The keys of a stack: a folder that can't be used ends the start with one sentence."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from keys import key_folder
from tests.parts.local_stack import ROOT

PAIRS = ["tokens", "tokens.1", "calls.gateway", "facts.referrals"]


def make_keys(folder: Path, prefix: str = "") -> tuple[int, str]:
    """Runs the command for a stack with one service; returns its exit code and its errors.

    `prefix` is a shell command that runs before that command.
    """
    command = f"{prefix}exec {sys.executable} -m local.make_keys {folder} referrals"
    process = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    return process.returncode, process.stderr


def contents(folder: Path) -> dict[str, bytes]:
    """Returns the content of each file in a folder, by name."""
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_existing_keys_and_files_of_others_stay_as_they_are(tmp_path: Path) -> None:
    key_folder.create(tmp_path, ["referrals"])
    key_folder.add_to_ring(tmp_path, "sealing.referrals")
    key_folder.replace_pair(tmp_path, "tokens")
    (tmp_path / "operators-own.key").write_text("PEM")
    before = contents(tmp_path)
    assert (make_keys(tmp_path), contents(tmp_path)) == ((0, ""), before)


@pytest.mark.parametrize("name", PAIRS)
def test_a_lost_public_half_is_made_again_from_the_private_half(tmp_path: Path, name: str) -> None:
    key_folder.create(tmp_path, ["referrals"])
    key_folder.replace_pair(tmp_path, "tokens")
    if name == "tokens.1":
        key_folder.drop_older_pairs(tmp_path, "tokens")
    files, key = set(tmp_path.iterdir()), key_folder.verifying(tmp_path, name).as_dict()
    (tmp_path / f"{name}.pub.jwk").unlink()
    assert make_keys(tmp_path) == (0, "")
    assert (set(tmp_path.iterdir()), key_folder.verifying(tmp_path, name).as_dict()) == (files, key)


@pytest.mark.parametrize("name", PAIRS)
def test_a_lost_private_half_is_named_and_makes_no_new_pair(tmp_path: Path, name: str) -> None:
    key_folder.create(tmp_path, ["referrals"])
    if name == "tokens.1":
        key_folder.replace_pair(tmp_path, "tokens")
        key_folder.drop_older_pairs(tmp_path, "tokens")
    (tmp_path / f"{name}.jwk").unlink()
    before = contents(tmp_path)
    assert make_keys(tmp_path) == (
        1,
        f"{tmp_path / name}.jwk is missing, and its public half is not: restore it from a copy of"
        ' the keys; without a copy, see docs/operations.md, "the private half of a key is lost"\n',
    )
    assert contents(tmp_path) == before
    (tmp_path / f"{name}.pub.jwk").unlink()
    assert make_keys(tmp_path)[0] == 0, "an operator who has no copy deletes both halves"


def test_a_rotation_that_was_killed_while_it_deleted_the_older_pair_stops_no_start(
    tmp_path: Path,
) -> None:
    key_folder.create(tmp_path, ["referrals"])
    key_folder.replace_pair(tmp_path, "tokens")
    (tmp_path / "tokens.jwk").unlink()
    assert make_keys(tmp_path) == (0, "")
    assert not (tmp_path / "tokens.jwk").exists()


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("calls.gateway.jwk", lambda file: file.write_text("")),
        (
            "facts.referrals.jwk",
            lambda file: file.write_text("{}") and file.with_suffix(".pub.jwk").unlink(),
        ),
        ("facts.referrals.pub.jwk", lambda file: file.write_text('{"kty": "OKP"')),
        ("sealing.referrals.1.key", lambda file: file.write_text("half of a k")),
        ("marks.referrals.key", Path.touch),
        ("mail.key", lambda file: file.unlink() or file.mkdir()),
    ],
)
def test_a_damaged_key_is_named_in_one_sentence(
    tmp_path: Path, name: str, damage: Callable[[Path], object]
) -> None:
    key_folder.create(tmp_path, ["referrals"])
    damage(tmp_path / name)
    assert make_keys(tmp_path) == (
        1,
        f"{tmp_path / name} can't be read, or holds no key: let this account read it, or restore it"
        " from a copy of the keys\n",
    )


@pytest.mark.parametrize(
    ("folder", "prefix", "reason"),
    [("file", "", "File exists"), ("keys", "ulimit -f 0; ", "File too large")],
)
def test_a_folder_that_cannot_be_used_is_named_in_one_sentence(
    tmp_path: Path, folder: str, prefix: str, reason: str
) -> None:
    (tmp_path / "file").touch()
    assert make_keys(tmp_path / folder, prefix) == (
        1,
        f"{tmp_path / folder} can't be read or written: {reason} (let this account use the folder"
        f" {tmp_path / folder}, and free space on its disk)\n",
    )


@pytest.mark.parametrize("name", ["tokens", "facts.referrals", "calls.gateway"])
def test_halves_of_two_different_pairs_are_named_in_one_sentence(tmp_path: Path, name: str) -> None:
    for folder in ("keys", "copy"):
        key_folder.create(tmp_path / folder, ["referrals"])
    private, public = (tmp_path / "keys" / f"{name}{half}" for half in (".jwk", ".pub.jwk"))
    public.write_text((tmp_path / "copy" / public.name).read_text())
    assert make_keys(private.parent) == (
        1,
        f"{private} and {public.name} are halves of two different pairs: restore both from the same"
        " copy of the keys\n",
    )
