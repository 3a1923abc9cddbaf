"""The stack as one table: PostgreSQL, a broker, the four services, and a demo network to look at.

It makes what is missing (folder, passwords, keys, databases), starts everything side by side,
starts again what dies, and stops all in reverse order. Its limit: one machine, for looking,
developing and small networks; a cluster has deploy/k8s.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import IO

# This process forks children while gRPC's threads run; the children only execute a program, so gRPC
# must not prepare for more.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

import click

from keys import key_folder
from local.broker import Broker
from local.postgres import Login, Postgres
from local.process import Failed, Process, claim_port, free_port
from local.supervisor import Part, Supervisor

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
IMPORTED = time.monotonic()
PROGRESS = 2.0  # seconds between two lines about what a work of the start is at
# seconds for the answer of a part that has taken a connection: on a machine at a load of 40 one
# takes many times its usual
ANSWER = 10.0


@dataclass(frozen=True)
class Service:
    """A row of the table: its name (also its folder, its start command and its log), and what it
    needs.
    """

    name: str
    database: bool
    knows: tuple[str, ...] = ()  # the services whose addresses it is told

    def serve(self) -> list[str]:
        return [sys.executable, "-m", f"services.{self.name}", "serve"]

    def migrate(self) -> list[str]:
        return [
            sys.executable,
            "-m",
            "local.migrate",
            "chassis/migrations",
            f"services/{self.name}/migrations",
        ]


SERVICES = (
    Service("partners", database=True),
    Service("referrals", database=True),
    Service("notifications", database=True),
    Service("gateway", database=False, knows=("partners", "referrals", "notifications")),
)
WITH_DATABASE = tuple(service for service in SERVICES if service.database)


class LocalStack:
    """One stack in one folder: everything it keeps and everything it runs."""

    def __init__(self, var: Path, port: int, calm: float) -> None:
        self.var = var.resolve()
        self.logs = self.var / "log"
        self.environments = self.var / "environment"
        self.demo_file = self.var / "demo.json"
        # and stays one: what was made up is never taken out again
        self.demo = self.demo_file.exists()
        self.ready_after: float | None = None
        self.without_demo = ""  # why there is no demo network that somebody asked for
        self._make_folders()
        self.postgres = Postgres(self.var / "postgres", self.logs / "postgres.log")
        given = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
        self.broker = (
            None if given else Broker(self.var / "kafka", self.logs / "broker.log", say=say)
        )
        self.kafka = self.broker.bootstrap if self.broker else str(given)
        self.passwords = self._passwords()
        self.listen = {service.name: f"{HOST}:{free_port(HOST)}" for service in SERVICES}
        self.listen["gateway"] = f"{HOST}:{_next_free(port)}"
        self.metrics = {service.name: f"{HOST}:{free_port(HOST)}" for service in SERVICES}
        self.url = f"http://{self.listen['gateway']}"
        self.supervisor = Supervisor(say, self.write_state, calm)
        self._write_state_at: float | None = None  # when to try again what could not be written

    def start(self, demo: bool) -> None:
        self.demo |= demo
        in_files = not os.environ.get("ENLACE_PKCS11_MODULE")
        key_folder.create(
            self.var / "keys", [service.name for service in WITH_DATABASE], sealing=in_files
        )
        if self.broker:
            self.supervisor.begin(
                [Part("broker", 0, self._begin_broker, self.broker.ready, self._broker_works)]
            )
        self.start_postgres()
        self.supervisor.begin([self._part(service) for service in SERVICES if not service.database])
        self._finish(
            [
                (
                    f"{service.name} migrate",
                    service.migrate(),
                    self.environment(service, owner=True),
                )
                for service in WITH_DATABASE
            ]
        )
        self.supervisor.begin([self._part(service) for service in WITH_DATABASE])
        self.supervisor.wait()
        if demo:
            try:
                self._finish([("demo", [sys.executable, "-m", "demo"], self.demo_environment())])
            except Failed as failure:
                self.without_demo = str(failure)
        if not self.without_demo:
            self.ready_after = _age()
        self.write_state()

    def start_postgres(self) -> None:
        """PostgreSQL with the databases of the services, and what an operator's shell needs to know
        of each service.
        """
        self.supervisor.begin(
            [Part("postgres", 0, self._begin_postgres, self.postgres.ready, self._postgres_works)]
        )
        self.supervisor.wait()
        for service in WITH_DATABASE:
            owner, app = self._logins(service.name)
            self.postgres.ensure(service.name, owner, app)
            self._write_environment(service)

    def tick(self) -> None:
        """Looks at the parts once, and after the state file where it is late: call it often."""
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

    def environment(self, service: Service, *, owner: bool = False) -> dict[str, str]:
        """Returns the environment of a service; of the others it has the addresses alone.

        `owner`: to migrate, or for an operator; who serves can't change tables.
        """
        told = self._common()
        if service.database:
            told |= self._databases(service.name, "ENLACE")
            if not owner:
                del told["ENLACE_MIGRATION_URL"]
            told["ENLACE_LISTEN"] = self.listen[service.name]
        else:
            told |= {
                "ENLACE_HTTP_LISTEN": self.listen[service.name],
                "ENLACE_DEMO": "1" if self.demo else "0",
            }
            told.setdefault("ENLACE_LINES_FILE", str(self.var / "lines.json"))
        told["ENLACE_METRICS_LISTEN"] = self.metrics[service.name]
        return told | {
            f"ENLACE_{name.upper()}_ADDRESS": self.listen[name] for name in service.knows
        }

    def demo_environment(self) -> dict[str, str]:
        """The demo network is built through every door of the stack, so it is told all of it."""
        told = self._common() | {
            f"ENLACE_{service.name.upper()}_ADDRESS": self.listen[service.name]
            for service in WITH_DATABASE
        }
        for service in WITH_DATABASE:
            told |= self._databases(service.name, f"ENLACE_{service.name.upper()}")
        return told | {
            "ENLACE_HTTP_LISTEN": self.listen["gateway"],
            "ENLACE_DEMO_FILE": str(self.demo_file),
        }

    def write_state(self) -> None:
        """Writes who runs where, for tests and measurements, and for whoever wants to kill a part
        to see it heal. Secret: it names passwords.

        A file that can't be written ends nothing: it is tried again every second.
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
        content = json.dumps(state | {"environment": _our_own(self.demo_environment())}, indent=1)
        late = self._write_state_at is not None
        try:
            _write_secret(self.var / "stack.json", content)
            self._write_state_at = None
        except OSError as error:
            self._write_state_at = time.monotonic() + 1
            if not late:
                say(f"stack.json can't be written: {error.strerror}")

    def _write_environment(self, service: Service) -> None:
        """For a shell of an operator: the settings of a service, and where Python and PostgreSQL's
        programs are.
        """
        lines = [
            f"export {name}={shlex.quote(value)}"
            for name, value in sorted(_our_own(self.environment(service, owner=True)).items())
        ]
        programs = f"{Path(sys.executable).parent}:{self.postgres.programs()}"
        _write_secret(
            self.environments / service.name,
            "\n".join([*lines, f"export PATH={shlex.quote(programs)}:$PATH", ""]),
        )

    def _common(self) -> dict[str, str]:
        inherited = {
            name: value for name, value in os.environ.items() if not name.endswith("_DATABASE_URL")
        }
        defaults = {
            "ENLACE_SMTP_URL": f"outbox:{self.var / 'mail'}",
            "ENLACE_PUBLIC_URL": self.url,
            "ENLACE_DEVELOPMENT": "1",
        }
        own = {
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka,
            "ENLACE_KEYS": str(self.var / "keys"),
            "PYTHONUNBUFFERED": "1",
        }
        return defaults | inherited | own

    def _databases(self, name: str, prefix: str) -> dict[str, str]:
        owner, app = self._logins(name)
        return {
            f"{prefix}_DATABASE_URL": self.postgres.url(name, app),
            f"{prefix}_MIGRATION_URL": self.postgres.url(name, owner, "?sslmode=disable"),
        }

    def _logins(self, name: str) -> tuple[Login, Login]:
        words = self.passwords[name]
        return Login(f"{name}_owner", words["owner"]), Login(name, words["app"])

    def _part(self, service: Service) -> Part:
        log, told = self.logs / f"{service.name}.log", self.environment(service)

        def begin() -> Process:
            process = Process(service.name, service.serve(), log, told, ROOT)
            process.start()
            return process

        host_port = self.listen[service.name]
        if service.database:
            return Part(service.name, 1, begin, lambda: _health(host_port) is True)
        return Part(service.name, 2, begin, lambda: _serves_http(host_port))

    def _begin_postgres(self) -> Process:
        self.postgres.begin()
        assert self.postgres.process
        return self.postgres.process

    def _postgres_works(self) -> bool:
        self.postgres.keep_room()
        return True

    def _begin_broker(self) -> Process:
        assert self.broker
        self.broker.begin()
        return self.broker.process

    def _broker_works(self) -> bool:
        """Unless a service that can be asked says that it can tell no facts: the broker may answer
        and yet be broken, or stand still.
        """
        return not any(
            _health(self.listen[service.name], "broker", 0.3) is False for service in WITH_DATABASE
        )

    def _finish(self, works: list[tuple[str, list[str], Mapping[str, str]]]) -> None:
        """Runs these to their end, side by side, and says what they are at.

        Raises Failed with the words of the one that failed.
        """
        running = [
            Process(name, command, self.logs / f"{name.replace(' ', '.')}.log", told, ROOT)
            for name, command, told in works
        ]
        try:
            for process in running:
                process.start()
            said = {process: process.last_words(1) for process in running}  # of an earlier start
            look_at = time.monotonic() + PROGRESS
            while any(process.alive for process in running):
                self.supervisor.tick()
                time.sleep(0.01)
                if time.monotonic() > look_at:
                    look_at = time.monotonic() + PROGRESS
                    for process in running:
                        if (line := process.last_words(1)) != said[process]:
                            said[process] = line
                            say(f"{process.name}: {line}")
        finally:
            for process in running:
                process.stop(timeout=5)
        for process in running:
            if process.returncode:
                raise Failed(
                    f"{process.name} ended with {process.returncode} (its log:"
                    f" {process.log})\n{process.last_words()}"
                )

    def _make_folders(self) -> None:
        # PostgreSQL started by root runs as `nobody` and must pass through; what is secret in here
        # is closed by itself.
        self.var.mkdir(parents=True, exist_ok=True)
        self.var.chmod(0o711 if os.geteuid() == 0 else 0o700)
        for closed in (self.logs, self.environments):
            closed.mkdir(mode=0o700, exist_ok=True)
            closed.chmod(0o700)

    def _passwords(self) -> dict[str, dict[str, str]]:
        file = self.var / "secrets.json"
        kept: dict[str, dict[str, str]] = json.loads(file.read_text()) if file.exists() else {}
        for service in WITH_DATABASE:
            kept.setdefault(
                service.name, {role: secrets.token_urlsafe(24) for role in ("owner", "app")}
            )
        _write_secret(file, json.dumps(kept, indent=1))
        return kept


def _age() -> float:
    """Seconds since this process was started (not since Python came to this line: imports are part
    of the wait).
    """
    try:
        started = int(
            Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
        ) / os.sysconf("SC_CLK_TCK")
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started
    except (OSError, AttributeError):  # not Linux
        return time.monotonic() - IMPORTED


def say(line: str, to: IO[str] | None = None) -> None:
    """Says a line on standard error, or on another stream; raises nothing when nobody hears or
    there is no room for it.
    """
    with contextlib.suppress(OSError):
        click.echo(line, to or sys.stderr)


def _our_own(told: Mapping[str, str]) -> dict[str, str]:
    """Of what we were started with only what is the stack's own: a shell's environment may hold
    other people's secrets.
    """
    return {name: value for name, value in told.items() if name.startswith(("ENLACE_", "KAFKA_"))}


def _write_secret(file: Path, content: str) -> None:
    new = file.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(content)
    new.replace(file)


def _next_free(port: int) -> int:
    return next(
        (number for number in range(port, port + 100) if claim_port(HOST, number)), None
    ) or free_port(HOST)


def _serves_http(address: str) -> bool:
    connection = HTTPConnection(address, timeout=ANSWER)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _health(address: str, name: str = "", timeout: float = ANSWER) -> bool | None:
    """Returns the answer of a service about a name of its health; None when it does not answer."""
    # Imported late: it takes a moment, which PostgreSQL uses to start.
    import grpc
    from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
    from grpc_health.v1.health_pb2_grpc import HealthStub

    with grpc.insecure_channel(address) as channel:
        try:
            # its stubs forget the methods
            answer = HealthStub(channel).Check(HealthCheckRequest(service=name), timeout=timeout)  # type: ignore[attr-defined]
        except grpc.RpcError:
            return None
        return bool(answer.status == HealthCheckResponse.SERVING)
