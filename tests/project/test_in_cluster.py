"""The programs that run once inside the cluster.

They are the Job that creates the Secrets, the script that creates the databases, and the migration
with which a pod starts.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import psycopg
import pytest

from keys import key_folder
from local.postgres import Login, Postgres
from services.notifications import config
from tests.parts.postgres import Server
from tests.project.test_deploy import DEPLOY, ROOT, SECRETS, SERVICES, containers, of_kind

LOCAL = DEPLOY / "overlays" / "local"


def load(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_secrets = load(LOCAL / "make_secrets.py")


class Api:
    """An API server that knows the Secrets of one namespace.

    With `dies_after` it fails once it has that number of Secrets.
    """

    def __init__(self) -> None:
        self.secrets: dict[str, dict[str, bytes]] = {}
        self.dies_after: int | None = None
        self.refused_names: list[str] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.removeprefix("/api/v1/namespaces/enlace/secrets/")
                if name != "enlace-keys":  # the Role allows no other
                    api.refused_names.append(name)
                    self._answer(403, {})
                else:
                    self._answer(
                        200,
                        {
                            "data": {
                                key: base64.b64encode(value).decode()
                                for key, value in api.secrets[name].items()
                            }
                        },
                    )

            def do_POST(self) -> None:
                assert self.path == "/api/v1/namespaces/enlace/secrets"
                assert self.headers["Authorization"] == "Bearer ticket"
                secret = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                name = secret["metadata"]["name"]
                if api.dies_after is not None and len(api.secrets) >= api.dies_after:
                    self._answer(500, {})
                elif name in api.secrets:
                    self._answer(409, {})
                else:
                    api.secrets[name] = {
                        key: base64.b64decode(value) for key, value in secret["data"].items()
                    }
                    self._answer(201, secret)

            def log_message(self, format: str, *args: object) -> None:
                pass

            def _answer(self, status: int, body: object) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def api() -> Iterator[Api]:
    created = Api()
    yield created
    created.server.shutdown()
    created.server.server_close()


@pytest.fixture
def service_account(tmp_path: Path) -> Path:
    for name, text in (("token", "ticket"), ("namespace", "enlace")):
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_job_creates_every_secret_that_the_pods_wait_for(
    api: Api, service_account: Path
) -> None:
    make_secrets.main(api.url, service_account)
    assert set(api.secrets) == SECRETS | {"enlace-keys"}
    assert not api.refused_names


def test_a_second_run_of_the_job_changes_nothing(api: Api, service_account: Path) -> None:
    make_secrets.main(api.url, service_account)
    before = dict(api.secrets)
    make_secrets.main(api.url, service_account)
    assert api.secrets == before


@pytest.mark.parametrize("after", [0, 1, 5])
def test_the_secrets_fit_together_after_an_interrupted_and_a_second_run(
    api: Api, service_account: Path, after: int
) -> None:
    api.dies_after = after
    with pytest.raises(OSError, match="500"):
        make_secrets.main(api.url, service_account)
    api.dies_after = None
    make_secrets.main(api.url, service_account)
    assert {
        name: api.secrets[name] for name in api.secrets if name != "enlace-keys"
    } == make_secrets.cut(api.secrets["enlace-keys"])


def test_each_service_has_the_keys_that_it_needs_and_no_others(tmp_path: Path) -> None:
    values = make_secrets.cut(make_secrets.make_all())
    private = [
        name
        for contents in values.values()
        for name in contents
        if name.endswith((".jwk", ".key")) and not name.endswith(".pub.jwk")
    ]
    # One key is shared: notifications opens the e-mails that partners seals for a mailbox.
    assert {name for name in private if private.count(name) > 1} == {"mail.key"}
    assert [name for name, contents in sorted(values.items()) if "mail.key" in contents] == [
        "keys-notifications",
        "keys-partners",
    ]
    for service in SERVICES:
        folder = tmp_path / service
        folder.mkdir()
        for name, value in values[f"keys-{service}"].items():
            (folder / name).write_bytes(value)
        key_folder.signing(folder, f"facts.{service}")
        key_folder.secret(folder, f"sealing.{service}")
        for other in SERVICES:
            key_folder.verifying(folder, f"facts.{other}")
        key_folder.verifying(folder, "tokens")
        assert (folder / "tokens.jwk").exists() == (service == "partners")


def test_the_mail_catcher_is_the_mail_server_of_the_local_overlay(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Checks that the settings of notifications name the port of the Service `mail`."""
    for name, value in make_secrets.cut(make_secrets.make_all())["smtp"].items():
        (tmp_path / name).write_bytes(value)
    monkeypatch.setenv("ENLACE_SMTP_URL_FILE", str(tmp_path / "url"))
    monkeypatch.setenv("ENLACE_MAIL_FROM_FILE", str(tmp_path / "from"))
    server = config.load().mail_server
    [port] = [
        port["port"]
        for port in of_kind("Service")["mail"]["spec"]["ports"]
        if port["name"] == "smtp"
    ]
    assert server
    assert (server.host, server.port) == ("mail", port)


def test_a_key_that_no_service_receives_is_an_error() -> None:
    with pytest.raises(SystemExit, match=r"new\.key"):
        make_secrets.cut(make_secrets.make_all() | {"new.key": b"?"})


def test_the_databases_are_created_as_on_one_machine(tmp_path: Path) -> None:
    passwords = {
        name.removeprefix("password."): value.decode()
        for name, value in make_secrets.make_all().items()
    }
    (tmp_path / "passwords").mkdir()
    for name, password in passwords.items():
        (tmp_path / "passwords" / name).write_text(password)
    tmp_path.chmod(0o711)
    server = Postgres(tmp_path / "postgres", durable=False)
    server.start()
    try:
        superuser = server.superuser
        process = subprocess.run(
            ["bash", str(LOCAL / "databases.sh")],
            env={
                "PATH": f"{server.programs()}:{os.environ['PATH']}",
                "PASSWORDS": str(tmp_path / "passwords"),
                "PGHOST": "127.0.0.1",
                "PGPORT": str(server.port),
                "PGPASSWORD": superuser.password,
                "LC_ALL": "C.UTF-8",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stderr
        server.ensure("beside", Login("beside_owner", "x"), Login("beside", "x"))
        expected = _describe(server.url("beside", superuser), "beside")
        for service in SERVICES:
            assert _describe(server.url(service, superuser), service) == expected
            with psycopg.connect(
                server.url(service, Login(f"{service}_owner", passwords[f"{service}_owner"]))
            ) as owner:
                owner.execute("CREATE TABLE things (name text)")
            with psycopg.connect(server.url(service, Login(service, passwords[service]))) as app:
                app.execute("INSERT INTO things VALUES ('x')")
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    app.execute("CREATE TABLE more (name text)")
            other = SERVICES[SERVICES.index(service) - 1]
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(server.url(other, Login(service, passwords[service])))
    finally:
        server.remove()


def test_pods_that_start_together_migrate_one_at_a_time_and_the_next_has_nothing_to_do(
    postgres: Server, tmp_path: Path
) -> None:
    [migration] = [
        container
        for name, container in containers()
        if name == "referrals" and container["name"] == "migrate"
    ]
    assert [variable["name"] for variable in migration["env"]] == ["ENLACE_MIGRATION_URL_FILE"]
    url = tmp_path / "url"
    url.write_text(postgres.database("referrals").migration_url)

    def begin() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *migration["command"][1:]],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "ENLACE_MIGRATION_URL_FILE": str(url)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    outputs = [pod.communicate(timeout=60)[0] for pod in [begin(), begin(), begin()]]
    assert sorted(bool(output.strip()) for output in outputs) == [False, False, True], outputs
    next_pod = begin()
    assert (next_pod.communicate(timeout=60)[0].strip(), next_pod.returncode) == ("", 0)


def _describe(url: str, name: str) -> object:
    """Returns a database's roles, rights and extensions, without the database's own name."""
    with psycopg.connect(url) as connection:
        facts = [
            connection.execute(query).fetchall()
            for query in (
                "SELECT extname FROM pg_extension ORDER BY 1",
                "SELECT defaclobjtype, defaclacl::text FROM pg_default_acl ORDER BY 1",
                "SELECT datacl::text FROM pg_database WHERE datname = current_database()",
                "SELECT nspacl::text FROM pg_namespace WHERE nspname = 'public'",
                (
                    "SELECT rolname, rolsuper, rolcreatedb, rolcreaterole, rolbypassrls"
                    f" FROM pg_roles WHERE rolname LIKE '{name}%' ORDER BY 1"
                ),
            )
        ]
    return repr(facts).replace(name, "X")
