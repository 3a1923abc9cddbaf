"""The stack as one table: PostgreSQL, a broker, the four services, and a demo network.

A stack creates missing files (folder, passwords, keys, databases), starts all parts side by side,
restarts parts that die, and stops all parts in reverse order. Limitation: a stack is for one
machine, for demonstrations, development and small networks; deploy/k8s is for clusters.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TextIO

# This process forks while gRPC's threads run. The children exec another program at once, so gRPC
# needs no fork support.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
# glibc creates an arena for each thread that allocates memory, up to eight per processor; with two
# in all, the parts take 10 MB less.
os.environ.setdefault("MALLOC_ARENA_MAX", "2")
os.environ["PYTHONUNBUFFERED"] = "1"  # the parts write their logs at once

import click

from local.broker import Broker
from local.commands import Commands
from local.postgres import Login, Postgres
from local.process import Process, StackFailure, claim_port, free_port
from local.python_process import PythonProcess
from local.supervisor import Part, Supervisor

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
IMPORTED = time.monotonic()
# Seconds within which a part must respond to a check. Other parts are not restarted meanwhile.
RESPONSE_LIMIT = 3.0
# Seconds after which a service that is not ready yet must respond to checks; long enough for a
# machine with a load of 40.
START_LIMIT = 120.0
# Connections to PostgreSQL for each process of a service: at most 42 for calls and threads, and
# twelve more for listening and checks (ENLACE_RPC_THREADS in docs/operations.md); the rest is for
# operators.
_CONNECTIONS_PER_PROCESS = 70
# Whether there are accounts, but none of the demo network. An empty database has no tables yet.
_HAS_OTHER_ACCOUNTS = r"""\connect partners
SELECT to_regclass('workers') IS NOT NULL AS migrated \gset
\if :migrated
SELECT count(*) > 0 AND NOT bool_or(email LIKE '%.demo') FROM workers;
\endif
"""


@dataclass(frozen=True)
class Service:
    """A row of the table: a service's name (also the name of its folder, its module and its log),
    whether it has a database, and the services that it calls.
    """

    name: str
    database: bool
    calls: tuple[str, ...] = ()

    def serve_command(self, only: str = "") -> list[str]:
        words = ["--only", only] if only else []
        return [f"services.{self.name}", "serve", *words]

    def processes(self, workers: int) -> dict[str, str]:
        """Returns the work of each process of the service, by the name of the process: "calls",
        "loops", or "" for both. There is either one process that does both, or there are `workers`
        processes that answer calls and one that runs the loops.
        """
        if workers == 1 or not self.database:
            return {self.name: ""}
        worker_names = (f"{self.name}.{number}" for number in range(2, workers + 1))
        return dict.fromkeys([self.name, *worker_names], "calls") | {f"{self.name}.loops": "loops"}

    def migrate_command(self) -> list[str]:
        return ["local.migrate", "chassis/migrations", f"services/{self.name}/migrations"]


SERVICES = (
    Service("partners", database=True),
    Service("referrals", database=True),
    Service("notifications", database=True),
    Service("gateway", database=False, calls=("partners", "referrals", "notifications")),
)
WITH_DATABASE = tuple(service for service in SERVICES if service.database)


class LocalStack:
    """A stack in one folder, with all its files and processes."""

    def __init__(self, var: Path, port: int, calm: float, workers: int = 1) -> None:
        """`workers` is the number of processes that answer calls, for each service with a
        database.
        """
        self.var = var.resolve()
        self.processes = {service.name: service.processes(workers) for service in SERVICES}
        self.logs = self.var / "log"
        self.environments = self.var / "environment"
        self.demo_file = self.var / "demo.json"
        # A stack with demo data stays a demo stack, since the data is never deleted.
        self.demo = self.demo_file.exists()
        self.ready_after: float | None = None
        self.demo_failure = ""  # the reason why a requested demo network is missing
        self._make_folders()
        database_processes = sum(len(self.processes[service.name]) for service in WITH_DATABASE)
        self.postgres = Postgres(
            self.var / "postgres",
            self.logs / "postgres.log",
            connections=_CONNECTIONS_PER_PROCESS * database_processes,
            say=say,
        )
        external_kafka = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
        self.broker = (
            None
            if external_kafka
            else Broker(self.var / "kafka", self.logs / "broker.log", say=say)
        )
        self.kafka = self.broker.bootstrap if self.broker else str(external_kafka)
        self.passwords = self._passwords()
        names = [name for processes in self.processes.values() for name in processes]
        self.listen = {name: f"{HOST}:{free_port(HOST)}" for name in names}
        self.listen["gateway"] = f"{HOST}:{_next_free(port)}"
        self.metrics = {name: f"{HOST}:{free_port(HOST)}" for name in names}
        self.url = f"http://{self.listen['gateway']}"
        self.supervisor = Supervisor(say, self.write_state, calm)
        self._write_state_at: float | None = None  # when to retry a failed write
        # whether each process of a service can publish, as it last reported
        self._publishes: dict[str, bool | None] = {}

    def start(self, demo: bool) -> None:
        if self.broker:
            self.supervisor.begin(
                [Part("broker", 0, self._begin_broker, self.broker.ready, self._broker_works)]
            )
        names = [service.name for service in WITH_DATABASE]
        make_keys = ["local.make_keys", str(self.var / "keys"), *names]
        with Commands([self._command("keys", make_keys, os.environ)], say) as key_commands:
            self.start_postgres()
            key_commands.wait(self.supervisor.tick)
        if demo and not self.demo and self.postgres.run(_HAS_OTHER_ACCOUNTS) == "t\n":
            say("this network has accounts of its own: the demo network is not added")
            demo = False
        self.demo |= demo
        self.supervisor.begin(self._parts(service for service in SERVICES if not service.database))
        migrations = [
            self._command(
                f"{service.name} migrate",
                service.migrate_command(),
                self.environment(service, owner=True),
            )
            for service in WITH_DATABASE
        ]
        with Commands(migrations, say) as migration_commands:
            migration_commands.wait(self.supervisor.tick)
        self.supervisor.begin(self._parts(WITH_DATABASE))
        # The demo fills the databases while the services start.
        demo_command = ["demo"]
        demo_processes = (
            [self._command("demo", demo_command, self.demo_environment())] if demo else []
        )
        with Commands(demo_processes, say) as commands:
            self.supervisor.wait(meanwhile=commands.report)
            try:
                commands.wait(self.supervisor.tick)
            except StackFailure as failure:
                self.demo_failure = str(failure)
        if not self.demo_failure:
            self.ready_after = _age()
        self.write_state()

    def start_postgres(self) -> None:
        """Starts PostgreSQL with the databases of the services, and writes the environment of each
        service that has a database, for an operator's shell.
        """
        part = Part("postgres", 0, self._begin_postgres, self.postgres.ready, self._postgres_works)
        self.supervisor.begin([part])
        self.supervisor.wait([part])
        for service in WITH_DATABASE:
            owner, app = self._logins(service.name)
            self.postgres.ensure(service.name, owner, app)
            self._write_environment(service)

    def tick(self) -> None:
        """Checks the parts once, and writes the state file if that is due. Call it often."""
        self.supervisor.tick()
        if self._write_state_at is not None and time.monotonic() >= self._write_state_at:
            self.write_state()

    def stop(self) -> None:
        self.supervisor.stop()
        for file in (
            self.var / "stack.json",
            *(self.environments / service.name for service in WITH_DATABASE),
        ):
            file.unlink(missing_ok=True)

    def environment(
        self, service: Service, process: str = "", *, owner: bool = False
    ) -> dict[str, str]:
        """Returns the environment of a service, or of one of its processes. About other services,
        the environment contains only the addresses of those that the service calls.

        `owner` adds the URL of the database's owner, for migrations and operators. A running
        service does not have this URL, and so can't change tables.
        """
        variables, process = self._common(), process or service.name
        if service.database:
            variables |= self._database_urls(service.name, "ENLACE")
            if not owner:
                del variables["ENLACE_MIGRATION_URL"]
            variables["ENLACE_LISTEN"] = self.listen[process]
        else:
            variables |= {
                "ENLACE_HTTP_LISTEN": self.listen[service.name],
                "ENLACE_DEMO": "1" if self.demo else "0",
            }
            variables.setdefault("ENLACE_LINES_FILE", str(self.var / "lines.json"))
        variables["ENLACE_METRICS_LISTEN"] = self.metrics[process]
        return variables | {
            f"ENLACE_{name.upper()}_ADDRESS": self._address(name) for name in service.calls
        }

    def _address(self, service: str) -> str:
        """Returns the address for calls to a service: all of its processes that answer calls, in
        gRPC's notation for a list.
        """
        addresses = [
            self.listen[name] for name, only in self.processes[service].items() if only != "loops"
        ]
        return addresses[0] if len(addresses) == 1 else "ipv4:" + ",".join(addresses)

    def demo_environment(self) -> dict[str, str]:
        """Returns the environment of the demo, which uses all interfaces of the stack."""
        variables = self._common() | {
            f"ENLACE_{service.name.upper()}_ADDRESS": self.listen[service.name]
            for service in WITH_DATABASE
        }
        for service in WITH_DATABASE:
            variables |= self._database_urls(service.name, f"ENLACE_{service.name.upper()}")
        return variables | {
            "ENLACE_HTTP_LISTEN": self.listen["gateway"],
            "ENLACE_DEMO_FILE": str(self.demo_file),
        }

    def write_state(self) -> None:
        """Writes the processes and addresses of the parts, for tests, for measurements, and for
        experiments that kill a part. The file contains passwords.

        If the file can't be written, the stack continues, and tries again every second.
        """
        parts = {
            part.name: {
                "pid": part.process.pid if part.process else None,
                "up": part.up,
                "listen": self.listen.get(
                    part.name,
                    self.kafka if part.name == "broker" else f"{HOST}:{self.postgres.port}",
                ),
                "metrics": self.metrics.get(part.name),
                "log": str(self.logs / f"{part.name}.log"),
            }
            for part in self.supervisor.parts
        }
        state = {
            "pid": os.getpid(),
            "gateway": self.url,
            "kafka": self.kafka,
            "ready_s": self.ready_after,
            "parts": parts,
        }
        content = json.dumps(
            state | {"environment": _stack_variables(self.demo_environment())}, indent=1
        )
        was_failing = self._write_state_at is not None
        try:
            _write_secret(self.var / "stack.json", content)
            self._write_state_at = None
        except OSError as error:
            self._write_state_at = time.monotonic() + 1
            if not was_failing:
                say(f"stack.json can't be written: {error.strerror}")

    def _write_environment(self, service: Service) -> None:
        """Writes a file for an operator's shell: the settings of a service, and the path to Python
        and PostgreSQL's programs.
        """
        lines = [
            f"export {name}={shlex.quote(value)}"
            for name, value in sorted(
                _stack_variables(self.environment(service, owner=True)).items()
            )
        ]
        programs = f"{Path(sys.executable).parent}:{self.postgres.programs()}"
        _write_secret(
            self.environments / service.name,
            "\n".join([*lines, f"export PATH={shlex.quote(programs)}:$PATH", ""]),
        )

    def _common(self) -> dict[str, str]:
        # The variables of libpq (PGSSLMODE, for example) are meant for other databases.
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.endswith("_DATABASE_URL") and not name.startswith("PG")
        }
        defaults = {
            "ENLACE_SMTP_URL": f"outbox:{self.var / 'mail'}",
            "ENLACE_PUBLIC_URL": self.url,
            "ENLACE_DEVELOPMENT": "1",
        }
        overrides = {
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka,
            "ENLACE_KEYS": str(self.var / "keys"),
        }
        return defaults | inherited | overrides

    def _database_urls(self, name: str, prefix: str) -> dict[str, str]:
        owner, app = self._logins(name)
        return {
            f"{prefix}_DATABASE_URL": self.postgres.url(name, app),
            f"{prefix}_MIGRATION_URL": self.postgres.url(name, owner, "?sslmode=disable"),
        }

    def _logins(self, name: str) -> tuple[Login, Login]:
        passwords = self.passwords[name]
        return Login(f"{name}_owner", passwords["owner"]), Login(name, passwords["app"])

    def _parts(self, services: Iterable[Service]) -> list[Part]:
        return [
            self._part(service, name, only)
            for service in services
            for name, only in self.processes[service.name].items()
        ]

    def _part(self, service: Service, name: str, only: str) -> Part:
        log, variables = self.logs / f"{name}.log", self.environment(service, name)

        def begin() -> Process:
            self._publishes.pop(name, None)
            process = PythonProcess(name, service.serve_command(only), log, variables, ROOT)
            process.start()
            return process

        def works() -> bool:
            live, self._publishes[name] = _health(host_port, "live", "broker")
            return live is True

        host_port = self.listen[name]
        if service.database:
            return Part(
                name,
                1,
                begin,
                ready=lambda: _health(host_port, "") == [True],
                works=works,
                start_limit=START_LIMIT,
            )
        return Part(
            name,
            2,
            begin,
            ready=lambda: _serves_http(host_port, "/readyz"),
            works=lambda: _serves_http(host_port, "/healthz"),
            start_limit=START_LIMIT,
        )

    def _begin_postgres(self) -> Process:
        self.postgres.begin()
        assert self.postgres.process
        return self.postgres.process

    def _postgres_works(self) -> bool:
        self.postgres.update_read_only_mode()
        return self.postgres.answers(RESPONSE_LIMIT)

    def _begin_broker(self) -> Process:
        assert self.broker
        self.broker.begin()
        return self.broker.process

    def _broker_works(self) -> bool:
        """Returns False if a service reports that it can't publish: the broker may accept
        connections and still be broken.
        """
        return False not in self._publishes.values()

    def _command(self, name: str, command: list[str], variables: Mapping[str, str]) -> Process:
        log = self.logs / f"{name.replace(' ', '.')}.log"
        return PythonProcess(name, command, log, variables, ROOT)

    def _make_folders(self) -> None:
        # PostgreSQL started by root runs as `nobody` and needs access to the folder; secret files
        # in it have modes of their own.
        self.var.mkdir(parents=True, exist_ok=True)
        self.var.chmod(0o711 if os.geteuid() == 0 else 0o700)
        for folder in (self.logs, self.environments):
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)

    def _passwords(self) -> dict[str, dict[str, str]]:
        file = self.var / "secrets.json"
        text = file.read_text() if file.exists() else ""  # a power cut may leave an empty file
        passwords: dict[str, dict[str, str]] = json.loads(text or "{}")
        for service in WITH_DATABASE:
            passwords.setdefault(
                service.name, {role: secrets.token_urlsafe(24) for role in ("owner", "app")}
            )
        _write_secret(file, json.dumps(passwords, indent=1))
        return passwords


def _age() -> float:
    """Returns the seconds since the start of this process; without Linux, since the import."""
    try:
        started = int(
            Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
        ) / os.sysconf("SC_CLK_TCK")
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started
    except (OSError, AttributeError):  # not Linux
        return time.monotonic() - IMPORTED


def say(line: str, to: TextIO | None = None) -> None:
    """Prints a line on standard error, or on another stream, with ? for letters that the stream's
    encoding lacks. Ignores a closed stream and a full disk.
    """
    encoding = (to or sys.stderr).encoding or "utf-8"
    with contextlib.suppress(OSError):
        click.echo(line.encode(encoding, "replace").decode(encoding), to or sys.stderr)


def _stack_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Returns only the stack's own variables: the shell's environment may contain other secrets."""
    return {
        name: value for name, value in variables.items() if name.startswith(("ENLACE_", "KAFKA_"))
    }


def _write_secret(file: Path, content: str) -> None:
    new = file.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(content)
    new.replace(file)


def _next_free(port: int) -> int:
    try:
        numbers = (n for n in range(port, min(port + 100, 65_536)) if claim_port(HOST, n))
        number = next(numbers, 0) or free_port(HOST)
    except PermissionError:
        raise StackFailure(
            f"this account may not listen on port {port} (choose another port with --port)"
        ) from None
    if port not in (0, number):
        say(f"port {port} is in use; serving the pages on port {number} instead")
    return number


def _serves_http(address: str, path: str) -> bool:
    connection = HTTPConnection(address, timeout=RESPONSE_LIMIT)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _health(address: str, *names: str) -> list[bool | None]:
    """Returns the health of each name ("" for all) that a service reports: True if it is serving,
    False if it is not, None if the call fails.
    """
    # Imported here, while PostgreSQL starts, since the import takes a moment.
    import grpc
    from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
    from grpc_health.v1.health_pb2_grpc import HealthStub

    statuses: list[bool | None] = []
    with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
        check = HealthStub(channel).Check  # type: ignore[attr-defined]  # the stubs lack the methods
        for name in names:
            try:
                answer = check(HealthCheckRequest(service=name), timeout=RESPONSE_LIMIT)
            except grpc.RpcError:
                return statuses + [None] * (len(names) - len(statuses))
            statuses.append(answer.status == HealthCheckResponse.SERVING)
    return statuses
