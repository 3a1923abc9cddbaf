"""The keys of all services as files in one folder. A new file has mode 0600, or 0644 for a public
half. Services read the keys at the start; token keys, the gateway's public keys, and sealing keys
are read again when they change.

Owners: `tokens.jwk` (signs caller tokens) belongs to partners alone; `facts.<service>.jwk` (signs
facts) and `sealing.<service>.key` (the key-encryption key) to that service alone; the `.pub.jwk`
files to everybody. `rotate-keys` creates `sealing.<service>.1.key` and so on, with the same owner.
`gateway.key` signs forms, and `calls.gateway.jwk` signs the client addresses that the gateway sends
to services; both belong to the gateway alone. `mail.key` seals e-mails that partners hands to
notifications, each for one mailbox, and belongs to these two services. The files are mounted, or
this module creates them. The sealing keys may be in a key service instead, under the same names
(keys/service.py).
"""

import base64
import errno
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
from keys.sealing import Keyring, SignatureVerifier

SETTLED = 10.0
"""Seconds after which each process has read a new key in its folder."""
_SECRET_BYTES = 32
_TICK = 1.0  # seconds; longer than one tick of the clock that dates file changes

T = TypeVar("T")
Name = TypeVar("Name", str, int)


def create(directory: Path, services: Sequence[str], *, sealing: bool = True) -> None:
    """Creates the missing keys of these services and of the gateway, the token keys and the mail
    key. Restores a lost public half from its private half. Leaves existing keys alone, and does not
    restore a first key that was replaced or retired.

    `sealing` is False if a key service holds the sealing keys. Raises FileNotFoundError if only the
    private half of a pair was lost: nobody who has the old public half would accept the signatures
    of a new pair.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("tokens", "calls.gateway", *(f"facts.{service}" for service in services)):
        _refuse_lost_private_half(directory, name)
    for file in directory.glob("*.jwk"):
        if not file.name.endswith(".pub.jwk"):
            _restore_public_half(file)
    # if there are other pairs, the first pair has been replaced
    if _pairs(directory, "tokens") == ["tokens"]:
        _create_pair(directory, "tokens")
    _create_pair(directory, "calls.gateway")
    for service in services:
        _create_pair(directory, f"facts.{service}")
        # if there is a marks file, the first key has been retired
        if sealing and not (directory / f"marks.{service}.key").exists():
            _create_secret(directory / f"sealing.{service}.key")
    for name in ("gateway", "mail"):
        _create_secret(directory / f"{name}.key")


def signing(directory: Path, name: str) -> OKPKey:
    """Returns the private Ed25519 key `name`. Raises OSError if the file holds no key, or if the
    public half beside it, if there is one, belongs to another pair.
    """
    private = directory / f"{name}.jwk"
    key = _read_pair_half(private)
    if is_mixed(private):
        public = private.with_suffix(".pub.jwk")
        raise OSError(
            errno.EINVAL, "halves of two different pairs", str(private), None, str(public)
        )
    return key


def is_mixed(private: Path) -> bool:
    """Returns True if the public half beside this private half belongs to another pair: nobody
    would then accept the signatures of the private half. A half that can't be read is reported
    when it is used.
    """
    try:
        halves = [_read_pair_half(file) for file in (private, private.with_suffix(".pub.jwk"))]
    except OSError:
        return False
    return len({(key.kid, key.thumbprint()) for key in halves}) > 1


def verifying(directory: Path, name: str) -> OKPKey:
    """Returns the public Ed25519 key `name`. Raises OSError if the file holds no key."""
    return _read_pair_half(directory / f"{name}.pub.jwk")


def all_verifying(directory: Path, name: str) -> dict[str, OKPKey]:
    """Returns the public keys `name` and `name`.N by `kid`."""
    keys = _read_all(_pairs(directory, name), partial(verifying, directory))
    return {str(key.kid): key for key in keys}


def all_signing(directory: Path, name: str) -> list[tuple[float, OKPKey]]:
    """Returns the private keys `name` and `name`.N, oldest first, each with the creation time of
    its public half.

    In a cluster, the gateway's folder has no public halves; the creation times of the private
    halves count instead. Raises FileNotFoundError if there is no private key.
    """
    half = ".pub.jwk" if any(directory.glob(f"{name}*.pub.jwk")) else ".jwk"
    # A pair without a private half is left out: its creation was interrupted.
    names = [
        pair for pair in _pairs(directory, name, half) if (directory / f"{pair}.jwk").exists()
    ] or [name]
    return _read_all(
        names,
        lambda pair: ((directory / f"{pair}{half}").stat().st_mtime, signing(directory, pair)),
    )


def signing_at(pairs: Sequence[tuple[float, OKPKey]], now: float) -> OKPKey:
    """Returns the newest private key of `pairs` (all_signing) whose public half every service has
    had time to read; the oldest key if there is no such key.
    """
    known_keys = [key for created, key in pairs if now - created >= SETTLED]
    return known_keys[-1] if known_keys else pairs[0][1]


class FileCache(Generic[T]):
    """Caches a value that `read` makes from the files of a folder that match `pattern`. Calls
    `read` again if the folder or one of these files has changed.

    Files whose last change is more than a second old are checked without opening them. If reading
    them again fails, the previous value stays, and the next call tries again.
    """

    def __init__(self, directory: Path, pattern: str, read: Callable[[], T]) -> None:
        self._directory = directory
        self._pattern = pattern
        self._read = read
        self._files: list[Path] = []
        # the state of the folder and its files when they were read; None if they must be read again
        self._state: list[tuple[int, int, int]] | None = None
        self._value = read()

    def __call__(self) -> T:
        """Returns the current value."""
        with suppress(OSError, ValueError, JoseError):
            if self._state is None or self._state != self._file_versions():
                self._state = None
                self._files = [self._directory, *self._directory.glob(self._pattern)]
                state = self._file_versions()
                self._value = self._read()
                # Two changes within one tick of the disk's clock look like one, so files are read
                # at each call until their last change is older than a tick.
                if (
                    SystemClock().now().timestamp() - max(changed for changed, _, _ in state) / 1e9
                    > _TICK
                ):
                    self._state = state
        return self._value

    def _file_versions(self) -> list[tuple[int, int, int]]:
        return [(stat.st_mtime_ns, stat.st_ino, stat.st_size) for stat in map(os.stat, self._files)]


def replace_pair(directory: Path, name: str) -> str:
    """Creates the next pair, unless there are two already, and returns the name of the newest pair.
    If there are two, creates the newest pair's private half if it is missing.
    """
    names = _pairs(directory, name)
    if len(names) > 1:
        # The creation of the newest pair may have been interrupted between its halves. If the older
        # pair were then dropped, nobody could sign.
        _create_pair(directory, names[-1])
        return names[-1]
    _, _, number = names[-1].rpartition(".")
    next_name = f"{name}.{int(number) + 1 if number.isdecimal() else 1}"
    _create_pair(directory, next_name)
    return next_name


def drop_older_pairs(directory: Path, name: str) -> int:
    """Deletes all pairs but the newest; returns how many it deleted.

    Deletes each private half before its public half, which is needed as long as somebody can sign.
    """
    older_pairs = _pairs(directory, name)[:-1]
    for pair in older_pairs:
        (directory / f"{pair}.jwk").unlink(missing_ok=True)
        (directory / f"{pair}.pub.jwk").unlink(missing_ok=True)
    return len(older_pairs)


def _pairs(directory: Path, name: str, half: str = ".pub.jwk") -> list[str]:
    """Returns the names of the pairs whose `half` file exists, oldest first; just `name` if there
    are none.
    """
    parts = [
        file.name.removeprefix(f"{name}.").removesuffix(half)
        for file in directory.glob(f"{name}.*{half}")
    ]
    numbers = sorted(int(part) for part in parts if part.isdecimal())
    first = [name] if (directory / f"{name}{half}").exists() or not numbers else []
    return [*first, *(f"{name}.{number}" for number in numbers)]


def _read_all(names: Sequence[Name], read: Callable[[Name], T]) -> list[T]:
    """Returns what `read` returns for each name. The names must be sorted, oldest first.

    Leaves out keys that a rotation has deleted since the names were listed. Raises
    FileNotFoundError if the newest key, which a rotation never deletes, is missing.
    """
    keys = []
    for name in names:
        try:
            keys.append(read(name))
        except FileNotFoundError:
            if name == names[-1]:
                raise
    return keys


def trusted_signers(directory: Path, *services: str) -> dict[str, SignatureVerifier]:
    """Returns the verifiers of facts' signatures, by source ("enlace/partners"): for these services
    or, if no service is named, for all services whose public key is in the folder.
    """
    names = services or [
        file.name.removeprefix("facts.").removesuffix(".pub.jwk")
        for file in directory.glob("facts.*.pub.jwk")
    ]
    return {
        f"enlace/{name}": SignatureVerifier(verifying(directory, f"facts.{name}")) for name in names
    }


def secret(directory: Path, name: str) -> bytes:
    """Returns the 32 secret bytes `name`. Raises OSError if the file holds anything else, e.g. if
    it is empty.
    """
    file = directory / f"{name}.key"
    try:
        key = base64.b64decode(file.read_text())
    except ValueError as error:
        raise _no_key(file) from error
    if len(key) != _SECRET_BYTES:
        raise _no_key(file)
    return key


def new_files(name: str) -> list[dict[str, str]]:
    """Returns the files of a new key, each as {file name: content}, for a folder that can't be
    written: first the public half, if the key has one, then the secret half. Raises ValueError if
    `name` is not the name of such a key.
    """
    if re.fullmatch(r"(tokens|calls\.gateway)(\.\d+)?|facts\.[a-z]+", name):
        private, public = _new_pair()
        return [{f"{name}.pub.jwk": public}, {f"{name}.jwk": private}]
    if re.fullmatch(r"sealing\.[a-z]+(\.\d+)?|gateway|mail", name):
        return [{f"{name}.key": _new_secret()}]
    raise ValueError(name)


def ring(directory: Path, name: str) -> dict[int, bytes]:
    """Returns the keys of a service by number: `name`.key is 0 and `name`.N.key is N. Raises
    FileNotFoundError if there is none.
    """
    numbers = {
        int(file.name.split(".")[-2])
        for file in directory.glob(f"{name}.*.key")
        if file.name.split(".")[-2].isdecimal()
    }
    if (directory / f"{name}.key").exists() or not numbers:
        numbers.add(0)
    return dict(
        _read_all(
            sorted(numbers),
            lambda number: (number, secret(directory, f"{name}.{number}" if number else name)),
        )
    )


def fingerprint_secret(directory: Path, service: str) -> bytes:
    """Returns a service's secret for keyed hashes: its first sealing key, or the copy of this key
    that `retire` stored as marks.SERVICE.key.
    """
    marks = directory / f"marks.{service}.key"
    if not marks.exists():
        try:
            return secret(directory, f"sealing.{service}")
        except FileNotFoundError:
            if not marks.exists():  # otherwise the key has been retired since the first check
                raise
    return secret(directory, f"marks.{service}")


def keyring(directory: Path, service: str) -> Keyring:
    """Returns the sealing keys of a service as a keyring, which notices new keys."""
    return Keyring(
        fingerprint_secret(directory, service), partial(ring, directory, f"sealing.{service}")
    )


def add_to_ring(directory: Path, name: str) -> int:
    """Creates the next key; returns its number."""
    number = max(ring(directory, name)) + 1
    _create_secret(directory / f"{name}.{number}.key")
    return number


def age_of_newest(directory: Path, name: str, now: float) -> float:
    """Returns the seconds since the newest key was created."""
    number = max(ring(directory, name))
    return now - (directory / (f"{name}.{number}.key" if number else f"{name}.key")).stat().st_mtime


def retire(directory: Path, service: str, newest: int) -> list[int]:
    """Destroys all sealing keys of a service that are older than `newest`; returns their numbers.
    The secret for fingerprints stays.
    """
    name = f"sealing.{service}"
    older = [number for number in sorted(ring(directory, name)) if number < newest]
    if 0 in older and not (directory / f"marks.{service}.key").exists():
        _write(
            directory / f"marks.{service}.key",
            base64.b64encode(fingerprint_secret(directory, service)).decode(),
            0o600,
        )
    for number in older:
        (directory / (f"{name}.{number}.key" if number else f"{name}.key")).unlink(missing_ok=True)
    return older


def sealing_files(directory: Path, service: str) -> list[Path]:
    """Returns the files of a service's sealing keys, and of its secret for fingerprints."""
    return [
        *directory.glob(f"sealing.{service}.key"),
        *directory.glob(f"sealing.{service}.*.key"),
        *directory.glob(f"marks.{service}.key"),
    ]


def drop_sealing(directory: Path, service: str) -> None:
    """Deletes the files of a service's sealing keys and of its secret for fingerprints, once a key
    service holds newer keys and that secret.
    """
    for file in sealing_files(directory, service):
        file.unlink(missing_ok=True)


def is_readable(directory: Path, file_name: str) -> bool:
    """Returns True if the file holds a key of its kind. For token keys, reads the newest pair's
    half instead; for sealing keys, all keys of the service and its secret for fingerprints.
    """
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
    except Exception:  # missing or malformed
        return False
    return True


def _refuse_lost_private_half(directory: Path, name: str) -> None:
    pairs = _pairs(directory, name)
    private = directory / f"{pairs[-1]}.jwk"
    if private.with_suffix(".pub.jwk").exists() and not any(
        (directory / f"{pair}.jwk").exists() for pair in pairs
    ):
        raise FileNotFoundError(errno.ENOENT, "the private half is lost", str(private))


def _create_pair(directory: Path, name: str) -> None:
    private = directory / f"{name}.jwk"
    if not private.exists():
        private.with_suffix(".pub.jwk").unlink(missing_ok=True)
        # The private half is written first: after a crash between the halves, the public half is
        # created from it.
        _create_file(private, _new_pair()[0])
    _restore_public_half(private)


def _restore_public_half(private: Path) -> None:
    public = private.with_suffix(".pub.jwk")
    if public.exists():
        return
    try:
        key = _read_pair_half(private)
    except OSError:
        return  # reported when the private half is used
    _write(public, json.dumps(key.as_dict(private=False)), 0o644)


def _new_pair() -> tuple[str, str]:
    key = OKPKey.generate_key("Ed25519", {"kid": secrets.token_hex(8), "use": "sig"})
    return json.dumps(key.as_dict(private=True)), json.dumps(key.as_dict(private=False))


def _read_pair_half(file: Path) -> OKPKey:
    try:
        return OKPKey.import_key(json.loads(file.read_text()))
    except (ValueError, TypeError, JoseError) as error:
        raise _no_key(file) from error


def _no_key(file: Path) -> OSError:
    """Returns an error with the file's name, which is printed if the error ends the process."""
    return OSError(errno.EINVAL, "the file holds no key", str(file))


def _new_secret() -> str:
    return base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def _create_secret(path: Path) -> None:
    if not path.exists():
        _create_file(path, _new_secret())


def _create_file(path: Path, key: str) -> None:
    """Creates the file of a key, unless it exists. If two processes do this at once, the key of
    the first stays, since the first process may have used it already.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    _write(temporary, key, 0o600)
    with suppress(FileExistsError):
        os.link(temporary, path)
    temporary.unlink()


def _write(path: Path, text: str, mode: int) -> None:
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
