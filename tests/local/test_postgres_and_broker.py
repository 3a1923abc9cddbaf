"""The embedded PostgreSQL and broker.

Both start, recover and leave nothing behind; PostgreSQL requires passwords.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from local import jars
from local.broker import _LOCK, Broker
from local.postgres import Login, Postgres
from local.process import Process, StackFailure, accepts, free_port
from local.stack import WITH_DATABASE, LocalStack
from tests.parts.local_stack import until
from tests.parts.processes import runs

pytestmark = pytest.mark.long

OWNER, APP = Login("owner", "owner's password"), Login("app", "app-password")


@pytest.fixture
def engine() -> Iterator[Postgres]:
    """A PostgreSQL in a folder that mkdtemp has made inaccessible to other users.

    This is the hard case for a stack that root starts.
    """
    created = Postgres(Path(tempfile.mkdtemp()) / "postgres", durable=False)
    umask = os.umask(0)  # the second hard case: new files are writable by all users
    created.start()
    os.umask(umask)
    yield created
    created.remove()


def create_notes(engine: Postgres) -> None:
    """Makes a database that has a table with one row."""
    engine.ensure("kept", OWNER, APP)
    with psycopg.connect(dsn(engine, OWNER)) as owner:
        owner.execute("CREATE TABLE notes AS SELECT 1 AS id")


def test_the_plain_role_can_use_the_owners_tables_but_not_create_any(engine: Postgres) -> None:
    engine.ensure("kept", OWNER, APP)
    engine.ensure("kept", OWNER, APP)
    with psycopg.connect(dsn(engine, OWNER)) as owner:
        owner.execute("CREATE TABLE notes (id int GENERATED ALWAYS AS IDENTITY, words text)")
    with psycopg.connect(dsn(engine, APP)) as app:
        app.execute("INSERT INTO notes (words) VALUES ('a')")
        assert app.execute("SELECT similarity(words, 'a') FROM notes").fetchone() == (1.0,)
        assert app.execute(
            "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
        ).fetchone() == (False,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("CREATE TABLE mine (id int)")


def test_a_wrong_password_is_refused(engine: Postgres) -> None:
    engine.ensure("kept", OWNER, APP)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(dsn(engine, Login("app", "guessed")))


def test_stored_rows_survive_a_kill(engine: Postgres) -> None:
    create_notes(engine)
    with psycopg.connect(dsn(engine, APP)):
        engine.kill()
    engine.start()
    with psycopg.connect(dsn(engine, APP)) as app:
        assert app.execute("SELECT id FROM notes").fetchone() == (1,)


def test_a_server_that_hangs_answers_no_connection(engine: Postgres) -> None:
    assert engine.answers(60)
    assert engine.process
    assert engine.process.pid
    os.kill(engine.process.pid, signal.SIGSTOP)
    assert not engine.answers(0.2)
    os.kill(engine.process.pid, signal.SIGCONT)
    assert engine.answers(60)
    engine.stop()
    assert not engine.answers(60)
    engine.start()


def test_the_pid_file_of_a_dead_server_does_not_hinder_the_next(engine: Postgres) -> None:
    engine.kill()
    pid_file = engine._data() / "postmaster.pid"
    pid_file.write_text(
        pid_file.read_text().replace(pid_file.read_text().split("\n")[0], str(os.getpid()), 1)
    )
    engine.start()


def test_only_the_owner_may_read_or_replace_the_file_with_the_superusers_password(
    engine: Postgres,
) -> None:
    assert stat.S_IMODE(engine.home.stat().st_mode) == 0o711
    assert stat.S_IMODE((engine.home / "superuser.password").stat().st_mode) == 0o600


def test_data_whose_password_file_is_missing_is_neither_used_nor_deleted(engine: Postgres) -> None:
    engine.ensure("kept", OWNER, APP)
    engine.stop()
    file = engine.home / "superuser.password"
    password = file.read_text()
    file.unlink()
    with pytest.raises(StackFailure, match=r"superuser\.password is missing.*from a copy"):
        engine.start()
    file.touch(mode=0o600)
    file.write_text(password)
    engine.start()
    with psycopg.connect(dsn(engine, APP)) as app:
        assert app.execute("SELECT 1").fetchone() == (1,)


def test_a_folder_without_its_data_gets_no_empty_database_and_keeps_its_password(
    engine: Postgres,
) -> None:
    """Covers a stack that root moved: its data stay in a folder named after the old path."""
    engine.ensure("kept", OWNER, APP)
    engine.stop()
    data = engine._data()
    data.rename(data.with_name("elsewhere"))
    with pytest.raises(StackFailure, match=r"is missing: the stack's folder was moved"):
        engine.start()
    data.with_name("elsewhere").rename(data)
    engine.start()
    with psycopg.connect(dsn(engine, APP)) as app:
        assert app.execute("SELECT 1").fetchone() == (1,)


def test_a_stack_of_another_account_is_refused_before_any_of_its_files_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "postgres" / "data").mkdir(parents=True)
    (tmp_path / "secrets.json").write_text("{}")
    other_account = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other_account)
    with pytest.raises(StackFailure, match="another account"):
        LocalStack(tmp_path, 0, 0)
    assert (tmp_path / "secrets.json").read_text() == "{}"


def test_the_services_ignore_the_variables_of_libpq_in_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSSLMODE", "require")
    monkeypatch.setenv("PGOPTIONS", "-c default_transaction_read_only=on")
    stack = LocalStack(tmp_path, 0, 0)
    for service in WITH_DATABASE:
        assert not [name for name in stack.environment(service) if name.startswith("PG")]


def test_passwords_lost_in_a_power_cut_are_created_again(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").touch()
    LocalStack(tmp_path, 0, 0)
    content = (tmp_path / "secrets.json").read_text()
    assert LocalStack(tmp_path, 0, 0).passwords == json.loads(content) != {}


def test_the_failure_of_initdb_names_the_limit_of_this_account_that_ended_it(
    tmp_path: Path,
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 10, hard))
    try:
        with pytest.raises(StackFailure, match=r"initdb was killed .*File size limit"):
            Postgres(tmp_path / "postgres").start()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_copy_of_a_template_grants_the_same_rights(engine: Postgres) -> None:
    create_notes(engine)
    engine.clone("kept", "copy")
    with psycopg.connect(dsn(engine, APP, "copy")) as app:
        assert app.execute("SELECT id FROM notes").fetchone() == (1,)


def test_removing_a_server_leaves_nothing_behind() -> None:
    engine = Postgres(Path(tempfile.mkdtemp()) / "postgres", durable=False)
    engine.start()
    data = engine._data()
    engine.remove()
    assert not data.exists()
    assert not engine.home.exists()
    assert not accepts("127.0.0.1", engine.port)


def test_a_broker_in_a_folder_with_special_characters_restarts_on_the_same_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    broker = Broker(tmp_path / "año, uno" / "kafka", tmp_path / "broker.log")
    broker.start()
    port = broker.port
    broker.kill()
    assert not accepts("127.0.0.1", port)
    broker.start()
    assert accepts("127.0.0.1", port)
    broker.stop()


def test_a_broker_is_prepared_in_a_folder_with_special_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "Año de José"
    with jars.fetched_jars(_LOCK) as (folder, _):
        (home / folder.name).mkdir(parents=True)
        for part in ("libs", "classes.aot"):
            (home / folder.name / part).symlink_to(folder / part)
    monkeypatch.setattr(jars, "HOME", home)
    broker = Broker(home / "kafka", home / "broker.log")
    broker.start()
    assert accepts("127.0.0.1", broker.port)
    broker.stop()


def test_a_failure_contains_the_last_output_of_the_child(tmp_path: Path) -> None:
    child = Process(
        "bad", [sys.executable, "-c", "print('no luck'); raise SystemExit(3)"], tmp_path / "log"
    )
    child.start()
    with pytest.raises(StackFailure, match=r"bad ended with 3(.|\n)*no luck"):
        child.wait_until(lambda: False, 10)


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        " print('deaf', flush=True); time.sleep(60)"
    )
    child = Process("deaf", [sys.executable, "-c", code], tmp_path / "log")
    child.start()
    child.wait_until(lambda: "deaf" in child.last_words(), 10)
    assert child.stop(timeout=0.2) == -9


@pytest.mark.skipif("sys.platform != 'linux'", reason="only Linux ties a child to its parent")
def test_a_child_ends_with_its_parent_even_when_the_parent_is_killed(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys, time; from local.process import Process;"
        "c = Process('child', [sys.executable, '-c', 'import time;"
        f" time.sleep(60)'], pathlib.Path({str(tmp_path / 'log')!r}));"
        "c.start(); print(c.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    until(lambda: not runs(pid), 5)


def test_a_free_port_is_held_against_other_processes_and_still_lets_a_server_listen() -> None:
    port = free_port()
    program = f"from local import process; print(process._hold('127.0.0.1', {port}))"
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (other.stdout.strip(), other.stderr) == ("False", "")
    with socket.create_server(("127.0.0.1", port)):
        assert accepts("127.0.0.1", port)


def test_a_port_on_which_nobody_listens_yet_is_not_given_out_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = iter([7, 7, 8])
    monkeypatch.setattr("local.process.secrets.randbelow", lambda _: next(drawn))
    monkeypatch.setattr("local.process.is_free", lambda *_: True)
    monkeypatch.setattr("local.process._hold", lambda *_: True)
    # the ports that other tests of this process claimed are free here
    monkeypatch.setattr("local.process._claimed_ports", set())
    assert (free_port(), free_port()) == (20_007, 20_008)


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0,
    reason="only root on Linux can drop a single capability",
)
def test_a_port_that_the_account_may_not_use_is_reported_in_a_sentence(tmp_path: Path) -> None:
    command = ["setpriv", "--bounding-set=-net_bind_service", sys.executable, "-m", "services"]
    process = subprocess.run(
        [*command, "--port", "80", "--no-demo", "--var", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert (process.returncode, process.stdout, process.stderr) == (
        1,
        "",
        "Error: this account may not listen on port 80 (choose another port with --port)\n",
    )


def test_a_port_in_use_is_reported_with_the_port_that_is_used_instead(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        other_port = urlsplit(LocalStack(tmp_path, port, 0).url).port
    assert other_port != port
    assert capsys.readouterr().err == (
        f"port {port} is in use; serving the pages on port {other_port} instead\n"
    )


def dsn(engine: Postgres, login: Login, database: str = "kept") -> str:
    return engine.url(database, login)
