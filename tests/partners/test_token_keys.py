"""The rotation of token keys.

Two keys are valid at once, nothing is restarted, and no token is refused meanwhile.
"""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from joserfc.jwk import OKPKey

from chassis.clock import SystemClock
from chassis.errors import Unauthenticated
from chassis.tokens import Caller, Issuer, Verifier
from keys import key_folder
from services.partners.__main__ import main
from tests.partners.scene import ROOT
from tests.parts.operator import blocks

CALLER = Caller("w" * 32, "worker", "o" * 32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    key_folder.create(tmp_path, ["partners"])
    return tmp_path


def issuer_and_verifier(folder: Path) -> tuple[Issuer, Verifier]:
    """Returns an issuer and a verifier, like those that two services keep while they run."""
    clock = SystemClock()
    signing = key_folder.FileCache(
        folder, "tokens*.jwk", partial(key_folder.all_signing, folder, "tokens")
    )
    issuer = Issuer(lambda: key_folder.signing_at(signing(), time.time()), clock)
    return issuer, Verifier(
        key_folder.FileCache(
            folder, "tokens*.pub.jwk", partial(key_folder.all_verifying, folder, "tokens")
        ),
        "enlace.tests",
        clock,
    )


def kid(token: str) -> str:
    return str(json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))["kid"])


def make_older(folder: Path, name: str) -> None:
    """Makes a key file look as if it had been made a while ago."""
    activation = time.time() - key_folder.SETTLED
    os.utime(folder / f"{name}.pub.jwk", (activation, activation))


@pytest.fixture
def advance(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Returns a function that advances the time by seconds."""
    now = time.monotonic()
    passed = [0.0]
    monkeypatch.setattr("chassis.tokens.time.monotonic", lambda: now + passed[0])

    def wait(seconds: float) -> None:
        passed[0] += seconds

    return wait


def test_a_new_key_signs_only_after_everybody_knows_it_and_both_are_valid_meanwhile(
    folder: Path, advance: Callable[[float], None]
) -> None:
    issuer, verifier = issuer_and_verifier(folder)
    before, _ = issuer.issue(CALLER, "enlace.tests")
    newest = key_folder.replace_pair(folder, "tokens")
    assert kid(issuer.issue(CALLER, "enlace.tests")[0]) == kid(before), (
        "the new key does not sign before every service has seen it"
    )
    make_older(folder, newest)
    advance(1.1)
    after, _ = issuer.issue(CALLER, "enlace.tests")
    assert kid(after) != kid(before)
    assert verifier.verify(after) == verifier.verify(before) == CALLER


def test_a_removed_key_is_invalid_after_a_few_seconds(
    folder: Path, advance: Callable[[float], None]
) -> None:
    issuer, verifier = issuer_and_verifier(folder)
    before, _ = issuer.issue(CALLER, "enlace.tests")
    make_older(folder, key_folder.replace_pair(folder, "tokens"))
    assert key_folder.drop_older_pairs(folder, "tokens") == 1
    advance(4.5)
    with pytest.raises(Unauthenticated, match="token_invalid"):
        verifier.verify(before)
    assert verifier.verify(issuer.issue(CALLER, "enlace.tests")[0]) == CALLER
    for name in ("tokens.jwk", "tokens.pub.jwk"):
        assert key_folder.is_readable(folder, name), "doctor finds the file that it needs"
    key_folder.create(folder, ["partners"])
    assert len(key_folder.all_verifying(folder, "tokens")) == 1, (
        "a start does not create the first key again"
    )


@pytest.mark.parametrize("missing", [".jwk", ".pub.jwk"])
def test_a_rotation_killed_between_the_halves_of_a_pair_can_be_resumed(
    folder: Path, advance: Callable[[float], None], missing: str
) -> None:
    issuer, verifier = issuer_and_verifier(folder)
    before, _ = issuer.issue(CALLER, "enlace.tests")
    newest = key_folder.replace_pair(folder, "tokens")
    make_older(folder, newest)
    (folder / f"{newest}{missing}").unlink()
    advance(1.1)
    assert kid(issuer.issue(CALLER, "enlace.tests")[0]) == kid(before), (
        "nobody has the new public key"
    )
    assert key_folder.replace_pair(folder, "tokens") == newest
    make_older(folder, newest)
    assert key_folder.drop_older_pairs(folder, "tokens") == 1
    advance(4.5)
    after, _ = issuer.issue(CALLER, "enlace.tests")
    assert kid(after) != kid(before)
    assert verifier.verify(after) == CALLER


def age_all_files(folder: Path) -> None:
    """Makes all files look as if they had been written an hour ago."""
    hour_ago = time.time() - 3600
    for file in (*folder.iterdir(), folder):
        os.utime(file, (hour_ago, hour_ago))


def test_keys_are_held_in_memory_and_read_again_when_a_file_changed(folder: Path) -> None:
    reads = 0

    def read() -> dict[str, OKPKey]:
        nonlocal reads
        reads += 1
        return key_folder.all_verifying(folder, "tokens")

    cache = key_folder.FileCache(folder, "tokens*.pub.jwk", read)
    age_all_files(folder)
    first, reads = cache(), 0
    assert all(cache() is first for _ in range(100))
    assert reads == 0
    key_folder.replace_pair(folder, "tokens")
    assert len(cache()) == 2
    age_all_files(folder)
    cache()
    public, reads = folder / "tokens.1.pub.jwk", 0
    # the file is overwritten in place, so the folder does not change
    public.write_text((folder / "tokens.pub.jwk").read_text())
    assert (len(cache()), reads) == (1, 1)
    public.unlink()
    assert len(cache()) == 1


def test_keys_that_cannot_be_read_stay_as_they_were(
    folder: Path, advance: Callable[[float], None]
) -> None:
    issuer, verifier = issuer_and_verifier(folder)
    before = kid(issuer.issue(CALLER, "enlace.tests")[0])
    moved_folder = folder.rename(folder.with_name("away"))
    advance(5)
    token, _ = issuer.issue(CALLER, "enlace.tests")
    assert kid(token) == before
    assert verifier.verify(token) == CALLER
    moved_folder.rename(folder)
    (folder / "tokens.jwk").write_text("")
    advance(5)
    assert kid(issuer.issue(CALLER, "enlace.tests")[0]) == before


def test_no_file_is_opened_for_keys_that_did_not_change(
    folder: Path, advance: Callable[[float], None]
) -> None:
    age_all_files(folder)
    issuer, verifier = issuer_and_verifier(folder)
    advance(5)
    verifier.verify(issuer.issue(CALLER, "enlace.tests")[0])
    files: list[object] = []
    watching = True

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if (
            watching
            and event in {"open", "os.listdir", "os.scandir"}
            and str(folder) in str(arguments[0])
        ):
            files.append(arguments[0])

    sys.addaudithook(note)
    advance(5)
    verifier.verify(issuer.issue(CALLER, "enlace.tests")[0])
    watching = False
    assert not files


def test_a_strangers_token_is_refused_and_does_not_keep_the_process_reading_keys(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    reads = 0

    def read() -> dict[str, OKPKey]:
        nonlocal reads
        reads += 1
        return key_folder.all_verifying(folder, "tokens")

    strangers_folder = tmp_path_factory.mktemp("stranger")
    key_folder.create(strangers_folder, [])
    stranger, verifier = (
        issuer_and_verifier(strangers_folder)[0],
        Verifier(read, "enlace.tests", SystemClock()),
    )
    forged = [
        stranger.issue(CALLER, "enlace.tests")[0],
        "x.y.z",
        "",
        "e30.e30.",
        "bnVsbA.a.b",
        "W10.a.b",
    ]
    for token in forged * 50:
        with pytest.raises(Unauthenticated, match="token_invalid"):
            verifier.verify(token)
    assert reads < 20


def test_a_rotation_by_command_can_be_resumed_after_it_was_killed(folder: Path) -> None:
    environment = os.environ | {
        "ENLACE_KEYS": str(folder),
        "ENLACE_DATABASE_URL": "postgres://nobody@127.0.0.1:1/x",
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
    }
    command = [sys.executable, "-m", "services.partners", "rotate-token-keys"]
    first = subprocess.Popen(command, cwd=ROOT, env=environment)
    end = time.monotonic() + 60
    while not (folder / "tokens.1.pub.jwk").exists() and time.monotonic() < end:
        time.sleep(0.05)
    first.kill()
    first.wait()
    assert len(key_folder.all_verifying(folder, "tokens")) == 2
    created = time.time() - key_folder.SETTLED - 10
    os.utime(folder / "tokens.1.pub.jwk", (created, created))
    process = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert (process.returncode, process.stdout) == (0, "tokens are now signed with tokens.1\n")
    assert sorted(file.name for file in folder.glob("tokens*")) == [
        "tokens.1.jwk",
        "tokens.1.pub.jwk",
    ]


def test_the_documented_restore_of_the_keys_brings_no_replaced_key_back(tmp_path: Path) -> None:
    """Checks that the keys that sign only short-lived data are created anew.

    The copy may be older than the theft and the rotation of such a key.
    """
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    services = ["partners", "referrals", "notifications"]
    key_folder.create(here / "var" / "keys", services)
    elsewhere.mkdir()
    copy, restore = (line for block in blocks("Copies") for line in block if "keys.tar" in line)
    subprocess.run(["bash", "-ec", copy], cwd=here, check=True)
    shutil.copy(here / "keys.tar", elsewhere)
    subprocess.run(["bash", "-ec", restore], cwd=elsewhere, check=True)
    key_folder.create(elsewhere / "var" / "keys", services)
    contents, restored_contents = (
        {file.name: file.read_bytes() for file in (folder / "var" / "keys").iterdir()}
        for folder in (here, elsewhere)
    )
    assert contents.keys() == restored_contents.keys()
    assert {name for name in contents if contents[name] != restored_contents[name]} == {
        "tokens.jwk",
        "tokens.pub.jwk",
        "calls.gateway.jwk",
        "calls.gateway.pub.jwk",
        "gateway.key",
    }


def test_a_change_of_keys_that_fails_is_reported_with_its_cause(tmp_path: Path) -> None:
    environment = {"ENLACE_KEYS": str(tmp_path / "nowhere")}
    process = CliRunner().invoke(main, ["rotate-token-keys"], env=environment)
    assert process.exit_code == 1
    assert re.match(rf"Error: {tmp_path}/nowhere.*: No such file or directory", process.output)
