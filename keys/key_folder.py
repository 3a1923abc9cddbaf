"""The keys of all services as files in one folder: made once, readable by their owner alone, read
at start; token keys and sealing keys again when they changed.

Who gets which: `tokens.jwk` (signs caller tokens) belongs to partners alone; `facts.<service>.jwk`
(signs facts) and `sealing.<service>.key` (the key-encryption key) to that service alone; the
`.pub.jwk` files to everybody. `sealing.<service>.1.key` and so on are made by `rotate-keys`, and
belong where the first does. `gateway.key` signs forms, `calls.gateway.jwk` what the gateway says to
services of a client's address: both belong to the gateway alone. `mail.key` seals what partners
hands to notifications for one mailbox, and belongs to these two. Files, mounted or made here; the
sealing keys may be in a key service instead, under the same names (keys/service.py).
"""

import base64
import json
import os
import re
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from chassis.clock import SystemClock
from keys.sealing import Keyring, SignatureCheck

SETTLED = 10.0
"""Seconds after which every process has seen a key that lies beside it."""
_TICK = 1.0  # seconds; more than any file system's clock needs to tell two changes apart

T = TypeVar("T")


def create(directory: Path, services: Sequence[str], *, sealing: bool = True) -> None:
    """Makes the keys that are missing for these services and leaves the others alone.

    Not `sealing`: a key service has those.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if _pairs(directory, "tokens") == ["tokens"]:  # else the first was replaced
        _create_pair(directory, "tokens")
    _create_pair(directory, "calls.gateway")
    for service in services:
        _create_pair(directory, f"facts.{service}")
        # else its first key was retired
        if sealing and not (directory / f"marks.{service}.key").exists():
            _create_secret(directory / f"sealing.{service}.key")
    for name in ("gateway", "mail"):
        _create_secret(directory / f"{name}.key")


def signing(directory: Path, name: str) -> OKPKey:
    """The private Ed25519 key `name`."""
    return OKPKey.import_key(json.loads((directory / f"{name}.jwk").read_text()))


def verifying(directory: Path, name: str) -> OKPKey:
    """The public Ed25519 key `name`."""
    return OKPKey.import_key(json.loads((directory / f"{name}.pub.jwk").read_text()))


def all_verifying(directory: Path, name: str) -> dict[str, OKPKey]:
    """The public keys `name` and `name`.N that are there, by their `kid`."""
    keys = [verifying(directory, each) for each in _pairs(directory, name)]
    return {str(key.kid): key for key in keys}


def all_signing(directory: Path, name: str) -> list[tuple[float, OKPKey]]:
    """The private keys `name` and `name`.N that are there, oldest first, each with the time at
    which its public half was made.

    The gateway's folder in a cluster has no public half: there the private ones count alone.
    """
    half = ".pub.jwk" if any(directory.glob(f"{name}*.pub.jwk")) else ".jwk"
    # Who makes or drops a pair may be killed between its halves.
    names = [
        each for each in _pairs(directory, name, half) if (directory / f"{each}.jwk").exists()
    ] or [name]
    return [
        ((directory / f"{each}{half}").stat().st_mtime, signing(directory, each)) for each in names
    ]


def signing_at(pairs: Sequence[tuple[float, OKPKey]], now: float) -> OKPKey:
    """The newest private key that is old enough for every service to have seen its public half; the
    oldest if none is.
    """
    settled = [key for made, key in pairs if now - made >= SETTLED]
    return settled[-1] if settled else pairs[0][1]


class Held(Generic[T]):
    """Holds in memory what `read` makes of the files `pattern` of a folder; reads again only after
    the folder or one of these files changed.

    A look at unchanged files opens none. What can't be read leaves the value as it was, and is
    tried again at the next look.
    """

    def __init__(self, directory: Path, pattern: str, read: Callable[[], T]) -> None:
        self._directory = directory
        self._pattern = pattern
        self._read = read
        self._files: list[Path] = []
        # of the folder and its files when they were read
        self._state: list[tuple[int, int, int]] | None = None
        self._value = read()

    def __call__(self) -> T:
        """The value as of now."""
        with suppress(OSError, ValueError, JoseError):
            if self._state is None or self._state != self._look():
                self._state = None
                self._files = [self._directory, *self._directory.glob(self._pattern)]
                state = self._look()
                self._value = self._read()
                # Two changes within one tick of the disk's clock look like one: what has just
                # changed is read once more.
                if (
                    SystemClock().now().timestamp() - max(changed for changed, _, _ in state) / 1e9
                    > _TICK
                ):
                    self._state = state
        return self._value

    def _look(self) -> list[tuple[int, int, int]]:
        return [(now.st_mtime_ns, now.st_ino, now.st_size) for now in map(os.stat, self._files)]


def replace_pair(directory: Path, name: str) -> str:
    """Makes the next pair, unless there are two already; returns which is the newest."""
    names = _pairs(directory, name)
    if len(names) > 1:
        # if it was killed between the two halves: the older would be dropped, and nobody could sign
        _create_pair(directory, names[-1])
        return names[-1]
    _, _, number = names[-1].rpartition(".")
    following = f"{name}.{int(number) + 1 if number.isdecimal() else 1}"
    _create_pair(directory, following)
    return following


def drop_older_pairs(directory: Path, name: str) -> int:
    """Takes away all pairs but the newest; returns how many.

    The private half first: what nobody can sign with needs no check.
    """
    older = _pairs(directory, name)[:-1]
    for each in older:
        (directory / f"{each}.jwk").unlink(missing_ok=True)
        (directory / f"{each}.pub.jwk").unlink()
    return len(older)


def _pairs(directory: Path, name: str, half: str = ".pub.jwk") -> list[str]:
    """Oldest first; they are known by this half."""
    parts = [
        file.name.removeprefix(f"{name}.").removesuffix(half)
        for file in directory.glob(f"{name}.*{half}")
    ]
    numbers = sorted(int(part) for part in parts if part.isdecimal())
    first = [name] if (directory / f"{name}{half}").exists() or not numbers else []
    return [*first, *(f"{name}.{number}" for number in numbers)]


def trusted_signers(directory: Path, *services: str) -> dict[str, SignatureCheck]:
    """What checks the signatures of facts, by source: of these services, or of all whose public key
    is here.
    """
    names = services or [
        file.name.removeprefix("facts.").removesuffix(".pub.jwk")
        for file in directory.glob("facts.*.pub.jwk")
    ]
    return {
        f"enlace/{name}": SignatureCheck(verifying(directory, f"facts.{name}")) for name in names
    }


def secret(directory: Path, name: str) -> bytes:
    """The 32 secret bytes `name`."""
    return base64.b64decode((directory / f"{name}.key").read_text())


def new_files(name: str) -> list[dict[str, str]]:
    """Returns a new key as the contents of its files, for a folder that can't be written: the
    public half first, if it has one, then the secret half.
    """
    if re.fullmatch(r"(tokens|calls\.gateway)(\.\d+)?|facts\.[a-z]+", name):
        private, public = _new_pair()
        return [{f"{name}.pub.jwk": public}, {f"{name}.jwk": private}]
    if re.fullmatch(r"sealing\.[a-z]+(\.\d+)?|gateway", name):
        return [{f"{name}.key": _new_secret()}]
    raise ValueError(name)


def ring(directory: Path, name: str) -> dict[int, bytes]:
    """The keys of a service by number, `name`.key being 0 and `name`.N.key N; at least one."""
    numbers = {
        int(file.name.split(".")[-2])
        for file in directory.glob(f"{name}.*.key")
        if file.name.split(".")[-2].isdecimal()
    }
    keys = {number: secret(directory, f"{name}.{number}") for number in sorted(numbers)}
    if (directory / f"{name}.key").exists() or not keys:
        keys[0] = secret(directory, name)
    return keys


def root(directory: Path, service: str) -> bytes:
    """The secret of a service by which it finds things again: its first key, kept under another
    name when that is retired.
    """
    kept = directory / f"marks.{service}.key"
    return secret(directory, f"marks.{service}" if kept.exists() else f"sealing.{service}")


def keyring(directory: Path, service: str) -> Keyring:
    """The keys of a service, read anew when they change."""
    return Keyring(root(directory, service), partial(ring, directory, f"sealing.{service}"))


def add_to_ring(directory: Path, name: str) -> int:
    """Makes the next key; returns its number."""
    number = max(ring(directory, name)) + 1
    _create_secret(directory / f"{name}.{number}.key")
    return number


def age_of_newest(directory: Path, name: str, now: float) -> float:
    """Seconds since the newest was made."""
    number = max(ring(directory, name))
    return now - (directory / (f"{name}.{number}.key" if number else f"{name}.key")).stat().st_mtime


def retire(directory: Path, service: str) -> list[int]:
    """Destroys all keys of a service but the newest; returns their numbers.

    What fingerprints are made with stays.
    """
    name = f"sealing.{service}"
    *older, _ = sorted(ring(directory, name))
    if 0 in older and not (directory / f"marks.{service}.key").exists():
        _write(
            directory / f"marks.{service}.key",
            base64.b64encode(secret(directory, name)).decode(),
            0o600,
        )
    for number in older:
        (directory / (f"{name}.{number}.key" if number else f"{name}.key")).unlink()
    return older


def names(directory: Path, service: str) -> list[Path]:
    """The files of a service's sealing keys, and of what fingerprints are made with."""
    return [
        *directory.glob(f"sealing.{service}.key"),
        *directory.glob(f"sealing.{service}.*.key"),
        *directory.glob(f"marks.{service}.key"),
    ]


def drop_sealing(directory: Path, service: str) -> None:
    """Takes them away: a key service has others in their place, and what fingerprints are made
    with.
    """
    for file in names(directory, service):
        file.unlink()


def readable(directory: Path, file_name: str) -> bool:
    """Whether this file is there and holds a key of its kind."""
    name, _, kind = file_name.removesuffix(".pub.jwk").rpartition(".")
    try:
        if file_name.startswith("tokens."):
            newest = _pairs(directory, "tokens")[-1]
            return bool(
                verifying(directory, newest)
                if file_name.endswith(".pub.jwk")
                else signing(directory, newest)
            )
        if file_name.startswith("sealing."):
            return bool(keyring(directory, name.removeprefix("sealing.")))
        if file_name.endswith(".pub.jwk"):
            verifying(directory, file_name.removesuffix(".pub.jwk"))
        elif kind == "jwk":
            signing(directory, name)
        else:
            secret(directory, name)
    except Exception:  # whatever is wrong with it
        return False
    return True


def _create_pair(directory: Path, name: str) -> None:
    if (directory / f"{name}.jwk").exists():
        return
    private, public = _new_pair()
    # The public half first: a crash between the two leaves a pair that is simply made anew.
    _write(directory / f"{name}.pub.jwk", public, 0o644)
    _write(directory / f"{name}.jwk", private, 0o600)


def _new_pair() -> tuple[str, str]:
    key = OKPKey.generate_key("Ed25519", {"kid": secrets.token_hex(8), "use": "sig"})
    return json.dumps(key.as_dict(private=True)), json.dumps(key.as_dict(private=False))


def _new_secret() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _create_secret(path: Path) -> None:
    """Of two who make it at once the second takes what the first made: by the other something may
    be sealed already.
    """
    if path.exists():
        return
    made = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    _write(made, _new_secret(), 0o600)
    with suppress(FileExistsError):
        os.link(made, path)
    made.unlink()


def _write(path: Path, text: str, mode: int) -> None:
    new = path.with_suffix(path.suffix + ".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
