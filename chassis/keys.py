"""The keys of all services as files in one folder: made once, readable by their owner alone, read at start.

Who gets which: `tokens.jwk` (signs caller tokens) belongs to partners alone; `facts.<service>.jwk` (signs facts) and `sealing.<service>.key` (the
key-encryption key) to that service alone; the `.pub.jwk` files to everybody. `gateway.key` signs forms. `mail.key` seals
what partners hands to notifications for one mailbox, and belongs to these two.
Limit: files, mounted or made here; a key store in hardware would be another reader of the same names.
"""

import base64
import json
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from joserfc.jwk import OKPKey

from chassis.sealing import SignatureCheck


def create(directory: Path, services: Sequence[str]) -> None:
    """Makes the keys that are missing for these services and leaves the others alone."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _create_pair(directory, "tokens")
    for service in services:
        _create_pair(directory, f"facts.{service}")
        _create_secret(directory / f"sealing.{service}.key")
    for name in ("gateway", "mail"):
        _create_secret(directory / f"{name}.key")


def signing(directory: Path, name: str) -> OKPKey:
    """The private Ed25519 key `name`."""
    return OKPKey.import_key(json.loads((directory / f"{name}.jwk").read_text()))


def verifying(directory: Path, name: str) -> OKPKey:
    """The public Ed25519 key `name`."""
    return OKPKey.import_key(json.loads((directory / f"{name}.pub.jwk").read_text()))


def trusted_signers(directory: Path, *services: str) -> dict[str, SignatureCheck]:
    """What checks the signatures of facts, by source: of these services, or of all whose public key is here."""
    names = services or [file.name.removeprefix("facts.").removesuffix(".pub.jwk") for file in directory.glob("facts.*.pub.jwk")]
    return {f"enlace/{name}": SignatureCheck(verifying(directory, f"facts.{name}")) for name in names}


def secret(directory: Path, name: str) -> bytes:
    """The 32 secret bytes `name`."""
    return base64.b64decode((directory / f"{name}.key").read_text())


def readable(directory: Path, file_name: str) -> bool:
    """Whether this file is there and holds a key of its kind."""
    name, _, kind = file_name.removesuffix(".pub.jwk").rpartition(".")
    try:
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
    key = OKPKey.generate_key("Ed25519", {"kid": secrets.token_hex(8), "use": "sig"})
    # The public half first: a crash between the two leaves a pair that is simply made anew.
    _write(directory / f"{name}.pub.jwk", json.dumps(key.as_dict(private=False)), 0o644)
    _write(directory / f"{name}.jwk", json.dumps(key.as_dict(private=True)), 0o600)


def _create_secret(path: Path) -> None:
    if not path.exists():
        _write(path, base64.b64encode(secrets.token_bytes(32)).decode(), 0o600)


def _write(path: Path, text: str, mode: int) -> None:
    new = path.with_suffix(path.suffix + ".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
