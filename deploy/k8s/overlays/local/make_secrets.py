"""Makes the Secrets of the local overlay inside the cluster, so that no secret has to be in a file
of the repository, or of the person who deploys.

The Secrets hold keys, database passwords, and the addresses with these passwords. All of it is made
at once in one Secret, `enlace-keys`, from which the Secrets of the pods are derived. So an
interrupted run is simply run again: the material is read back, and a Secret that exists is left
alone. Limit: whoever may read the namespace's Secrets has everything.
"""

import base64
import json
import re
import secrets
import ssl
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from keys import key_folder

SERVICES = ("partners", "referrals", "notifications")
# the key files that a service has in addition to those that every service has
MORE = {"partners": r"tokens(\.\d+)?\.jwk|mail\.key", "notifications": r"mail\.key"}
MAIL = {"url": b"smtp://mail:1025", "from": b"enlace@example.org"}  # the mail catcher (mail.yaml)
API = "https://kubernetes.default.svc"
Contents = dict[str, bytes]


def make_all() -> Contents:
    """Returns fresh keys and passwords."""
    with tempfile.TemporaryDirectory() as folder:
        key_folder.create(Path(folder), SERVICES)
        secrets_ = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    for role in ("superuser", *SERVICES, *(f"{service}_owner" for service in SERVICES)):
        secrets_[f"password.{role}"] = secrets.token_urlsafe(24).encode()
    return secrets_


def cut(secrets_: Contents) -> dict[str, Contents]:
    """Returns the contents of the pods' Secrets, by name.

    A service gets its own private keys, all public keys, and the addresses of its database with
    their passwords. The gateway gets its own private keys alone, and PostgreSQL all passwords.
    """
    public = {name: value for name, value in secrets_.items() if name.endswith(".pub.jwk")}
    passwords = {
        name.removeprefix("password."): value
        for name, value in secrets_.items()
        if name.startswith("password.")
    }
    gateway = {
        name: value
        for name, value in secrets_.items()
        if re.fullmatch(r"gateway\.key|calls\.gateway(\.\d+)?\.jwk", name)
    }
    files_by_secret = {"postgres": passwords, "keys-gateway": gateway, "smtp": MAIL}
    for service in SERVICES:
        own = re.compile(
            rf"facts\.{service}\.jwk|(sealing|marks)\.{service}(\.\d+)?\.key|{MORE.get(service, '$')}"  # noqa: E501
        )
        files_by_secret[f"keys-{service}"] = public | {
            name: value for name, value in secrets_.items() if own.fullmatch(name)
        }
        files_by_secret[f"database-{service}"] = {"url": _url(service, service, passwords)}
        files_by_secret[f"database-{service}-owner"] = {
            "url": _url(service, f"{service}_owner", passwords)
        }
    cut_off = (
        set(secrets_)
        - {name for contents in files_by_secret.values() for name in contents}
        - {f"password.{role}" for role in passwords}
    )
    if cut_off:
        raise SystemExit(f"no Secret has {sorted(cut_off)}: say here whose they are")
    return files_by_secret


def _url(database: str, role: str, passwords: Contents) -> bytes:
    # No TLS inside the cluster here: the local overlay has no certificates, and dbmate would insist
    # on them.
    return (
        f"postgresql://{role}:{passwords[role].decode()}@postgres:5432/{database}?sslmode=disable"
    ).encode()


class Cluster:
    """The two requests that this Job may make to the API server."""

    def __init__(self, api: str, access: Path) -> None:
        self._secrets = f"{api}/api/v1/namespaces/{(access / 'namespace').read_text()}/secrets"
        self._token = (access / "token").read_text()
        self._context = (
            ssl.create_default_context(cafile=access / "ca.crt")
            if api.startswith("https:")
            else None
        )

    def read(self, name: str) -> Contents:
        """Returns the contents of a Secret."""
        data = json.loads(self._ask(f"{self._secrets}/{name}"))["data"]
        return {key: base64.b64decode(value) for key, value in data.items()}

    def add(self, name: str, contents: Contents) -> bool:
        """Adds a Secret; returns False if there is one of that name already."""
        data = {key: base64.b64encode(value).decode() for key, value in contents.items()}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}
        try:
            self._ask(self._secrets, json.dumps(secret).encode())
        except urllib.error.HTTPError as error:
            if error.code != 409:
                raise
            return False
        return True

    def _ask(self, url: str, body: bytes | None = None) -> bytes:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        # the address is fixed
        request = urllib.request.Request(url, data=body, headers=headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=10, context=self._context) as answer:  # noqa: S310
            content: bytes = answer.read()
            return content


def main(api: str = API, access: Path = Path("/access")) -> None:
    """Makes the Secrets that are missing."""
    cluster = Cluster(api, access)
    secrets_ = make_all()
    if not cluster.add("enlace-keys", secrets_):
        secrets_ = cluster.read("enlace-keys")
    for name, contents in cut(secrets_).items():
        print(f"{name}: {'made' if cluster.add(name, contents) else 'was there'}")  # noqa: T201


if __name__ == "__main__":
    main()
