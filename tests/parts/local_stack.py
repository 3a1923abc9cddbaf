"""A whole stack for tests: `python -m services` in a folder of its own, with clients for callers.

Use `LocalStack().start()` … `stop()`, or the session's fixture `stack`. A stack uses free ports,
and `stop` deletes its temporary folder. Unless it is `fresh`, a stack starts as a copy of the one
stack that the test run has filled with the demo network, because filling takes half of the
start-up time. `client(…)` and `worker(…)` return gRPC clients that act with an API key or as a
worker, and renew their own tokens; `database(…)` reads all data of a service, bypassing its
row-level security.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import grpc
import psycopg
from psycopg.rows import dict_row

from local.postgres import Postgres
from local.process import free_port
from protos.partners.v1 import members_pb2
from protos.stubs import NotificationsStubs, PartnersStubs, ReferralsStubs
from tests.parts.default_signals import WITH_DEFAULT_SIGNALS

ROOT = Path(__file__).resolve().parent.parent.parent
PARTS = ("postgres", "broker", "partners", "referrals", "notifications", "gateway")
SERVICES = ("partners", "referrals", "notifications")
RUN = "TESTS_OF_THIS_RUN"
"""The variable that names the folder that all processes of a test run share (tests/conftest.py)."""
# calls per second, and openings an hour: in tests, two keys do the work of a whole network
HIGH_LIMIT = "10000"
_RENEW = 1.5  # remaining life of a token, in seconds, below which a client renews it
# seconds between two sign-ins of a worker; her proof of identity is valid for ten minutes
_SIGN_IN_EVERY = 300.0

# short pauses, so that clients find a killed service again quickly
_OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
]


class LocalStack:
    """One stack.

    `start` returns once everything answers; the caller of `start` has to call `stop`.
    """

    def __init__(
        self,
        *,
        demo: bool = True,
        fresh: bool = False,
        settings: dict[str, str] | None = None,
        options: Sequence[str] = (),
        processes_per_service: int = 1,
        record: Path | None = None,
        root: Path = ROOT,
        template: Path | None = None,
    ) -> None:
        """Prepares a stack. `options` are additional options of `python -m services`.

        With `record`, the stack's transactions and signatures are recorded in that file
        (bench.exchanges). `root` is the checkout whose services run. The stack starts as a copy of
        the folder `template`, which is filled first if it does not exist.
        """
        self.var = Path(tempfile.mkdtemp(prefix="enlace-test-stack-"))
        if os.geteuid() == 0:
            # so that PostgreSQL, which runs as the user `nobody`, can reach this folder, and leaves
            # nothing in the system's folders
            self.var.chmod(0o711)
        run = os.environ.get(RUN, "")
        self._template = template or (Path(run) / "filled" if demo and not fresh and run else None)
        self._with_demo = demo
        self._settings = settings or {}
        self._options = list(options)
        self._processes_per_service = str(processes_per_service)
        self._module = ["bench.exchanges", str(record)] if record else ["services"]
        self._root = root
        self._process: subprocess.Popen[str] | None = None
        self._channels: dict[str, grpc.Channel] = {}
        self.later_output: list[
            str
        ] = []  # what the stack prints after its start, e.g. about restarts

    def start(self) -> LocalStack:
        """Starts the stack; if it does not come up, fails with all of its output."""
        if self._template and not any(self.var.iterdir()):
            _fill(self._template, self._root)
            subprocess.run(["cp", "-a", f"{self._template}/.", str(self.var)], check=True)
        command = [
            *WITH_DEFAULT_SIGNALS,
            sys.executable,
            "-m",
            *self._module,
            "--var",
            str(self.var),
            "--port",
            str(free_port()),
        ]
        command += [
            "--demo" if self._with_demo and not self._template else "--no-demo",
            *self._options,
        ]
        environment = {
            **os.environ,
            "ENLACE_WORKERS": self._processes_per_service,
            "ENLACE_CALLER_RATE": HIGH_LIMIT,
            "ENLACE_OPENINGS_AN_HOUR": HIGH_LIMIT,
            **self._settings,
        }
        self._process = subprocess.Popen(
            command,
            cwd=self._root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdout
        output: list[str] = []
        for line in self._process.stdout:
            output.append(line)
            if line.startswith("Stop "):
                break
        if not any(line.startswith("ready in") for line in output):
            self.stop()
            raise AssertionError("the stack did not come up:\n" + "".join(output))
        if self._template:
            addresses = {
                "gateway": self.gateway,
                "grpc": {name: self.address(name) for name in SERVICES},
            }
            (self.var / "demo.json").write_text(json.dumps(self.demo | addresses))
        # later output must not fill the pipe
        threading.Thread(
            target=self.later_output.extend, args=(self._process.stdout,), daemon=True
        ).start()
        for name in SERVICES:
            self._channels[name] = grpc.insecure_channel(self.address(name), options=_OPTIONS)
        return self

    def stop(self, number: signal.Signals = signal.SIGTERM, *, keep: bool = False) -> int:
        """Ends the stack and returns its exit code.

        Deletes the stack's folder, unless `keep` is set because the folder will be used again.
        """
        for channel in self._channels.values():
            channel.close()
        self._channels = {}
        code = 0
        if self._process:
            self._process.send_signal(number)
            code = self._process.wait(60)
            self._process = None
        if not keep:
            shutil.rmtree(self.var, ignore_errors=True)
        return code

    @property
    def state(self) -> dict[str, Any]:
        """Returns the state that the stack writes.

        The keys are gateway, kafka, ready_s and parts; each part has pid, up, listen, metrics and
        log.
        """
        state: dict[str, Any] = json.loads((self.var / "stack.json").read_text())
        return state

    @property
    def gateway(self) -> str:
        """Returns the address at which the gateway serves pages and REST."""
        return str(self.state["gateway"])

    @property
    def logs(self) -> Path:
        return self.var / "log"

    @property
    def programs(self) -> Path:
        """Returns the folder of PostgreSQL's own programs: psql, pg_dump, pg_restore."""
        return Postgres(self.var / "postgres").programs()

    @property
    def demo(self) -> dict[str, Any]:
        """Returns the means of access to the demo network: accounts, api_keys, references."""
        demo: dict[str, Any] = json.loads((self.var / "demo.json").read_text())
        return demo

    def address(self, name: str) -> str:
        """Returns the host:port of a part."""
        return str(self.state["parts"][name]["listen"])

    def channel(self, service: str) -> grpc.Channel:
        """Returns the channel to a service, for callers with stubs of their own.

        The channel stays usable when the service is killed and comes back.
        """
        return self._channels[service]

    def pid(self, name: str) -> int | None:
        pid: int | None = self.state["parts"][name]["pid"]
        return pid

    def kill(self, name: str) -> int:
        """Kills a part with SIGKILL; the stack starts it again. Returns the former pid."""
        pid = self.pid(name)
        assert pid is not None, f"{name} is not running"
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_healthy(self, *killed: int, timeout: float = 60) -> None:
        """Waits until every part is up and none has one of the killed pids."""
        until(
            lambda: all(
                part["up"] and part["pid"] not in killed for part in self.state["parts"].values()
            ),
            timeout,
            lambda: self.state["parts"],
        )

    @contextmanager
    def database(self, service: str) -> Iterator[psycopg.Connection[dict[str, Any]]]:
        """Yields a connection to a service's database, as superuser and in autocommit."""
        password = quote(
            (self.var / "postgres" / "superuser.password").read_text().strip(), safe=""
        )
        url = f"postgresql://postgres:{password}@{self.address('postgres')}/{service}"
        with psycopg.connect(
            url, autocommit=True, row_factory=dict_row, connect_timeout=3
        ) as connection:
            yield connection

    def database_url(self, service: str) -> str:
        """Returns the database URL with which the service itself logs in."""
        return str(self.state["environment"][f"ENLACE_{service.upper()}_DATABASE_URL"])

    def api_key(self, organization: str = "") -> str:
        """Returns the demo API key of the organisation whose name contains the text."""
        return next(
            str(key["key"])
            for key in self.demo["api_keys"]
            if organization.lower() in key["organization"].lower()
        )

    def account(self, text: str) -> dict[str, Any]:
        """Returns the first demo account whose e-mail, role or organisation contains the text."""
        for account in self.demo["accounts"]:
            if any(
                text.lower() in str(account[name]).lower()
                for name in ("email", "role", "organization")
            ):
                return dict(account)
        raise KeyError(text)

    def client(self, text: str = "") -> Client:
        """Returns a client with the API key of the organisation whose name contains the text."""
        return Client(self, members_pb2.IssueTokenRequest(api_key=self.api_key(text)))

    def client_of_key(self, api_key: str) -> Client:
        """Returns a client with the given API key."""
        return Client(self, members_pb2.IssueTokenRequest(api_key=api_key))

    def worker(self, text: str) -> Client:
        """Returns a client that is signed in with the demo account of `account(text)`."""
        account = self.account(text)

        def sign_in() -> members_pb2.IssueTokenRequest:
            tokens = PartnersStubs(self.channel("partners")).tokens
            answer = tokens.SignIn(
                members_pb2.SignInRequest(email=account["email"], password=account["password"]),
                timeout=10,
            )
            return members_pb2.IssueTokenRequest(session_secret=answer.session_secret)

        return Client(self, sign_in(), sign_in)

    def nobody(self) -> Client:
        """Returns a client without a token, for public calls (references, tokens)."""
        return Client(self, None)


def _fill(folder: Path, root: Path) -> None:
    """Fills the folder from which the stacks of this run are copied.

    Only the first process of the run that needs the folder fills it. The filled stack is stopped,
    so that its files are complete.
    """
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return
        created = LocalStack(fresh=True, root=root)
        try:
            created.start().stop(keep=True)
            created.var.rename(folder)
        finally:
            created.stop()


class Client(PartnersStubs, ReferralsStubs, NotificationsStubs):
    """Stubs of every proto service for one caller.

    Calls have a deadline of ten seconds if none is given. Threads may share a client.
    """

    def __init__(
        self,
        stack: LocalStack,
        credential: members_pb2.IssueTokenRequest | None,
        sign_in: Callable[[], members_pb2.IssueTokenRequest] | None = None,
    ) -> None:
        """Prepares a client of a stack.

        `sign_in` signs the worker in again some minutes after the last sign-in, so that her proof
        of identity is always recent.
        """
        self._credential = credential
        self._sign_in, self._signed_in_at = sign_in, time.monotonic()
        self._tokens = PartnersStubs(stack.channel("partners")).tokens
        self._lock = threading.Lock()
        self._tokens_by_audience, self._end = dict[str, str](), 0.0
        self.api_key = credential.api_key if credential else ""
        self.key_id = self.api_key.split("_")[1] if self.api_key else ""
        self.organization_id = ""
        self.organization_name = ""
        channels = {
            name: grpc.intercept_channel(stack.channel(name), _WithToken(self, name))
            for name in SERVICES
        }
        PartnersStubs.__init__(self, channels["partners"])
        ReferralsStubs.__init__(self, channels["referrals"])
        NotificationsStubs.__init__(self, channels["notifications"])
        self.tokens = self._tokens
        if credential:
            self.token()

    def token(self, service: str = "referrals") -> str:
        """Returns a token that a service accepts for a while.

        While the partners service is down, returns the old token, as long as it is valid.
        """
        if self._credential is None:
            return ""
        with self._lock:
            seconds_left = self._end - time.time()
            if seconds_left < _RENEW:
                try:
                    if self._sign_in and time.monotonic() - self._signed_in_at > _SIGN_IN_EVERY:
                        self._credential, self._signed_in_at = self._sign_in(), time.monotonic()
                    answer = self._tokens.IssueToken(
                        self._credential, timeout=5, wait_for_ready=not self._tokens_by_audience
                    )
                except grpc.RpcError:
                    if seconds_left < 0:
                        raise
                else:
                    self._tokens_by_audience = dict(answer.tokens)
                    self._end = float(answer.expire_time.seconds)
                    self.organization_id = answer.organization.id
                    self.organization_name = answer.organization.name
            return self._tokens_by_audience[f"enlace.{service}"]


class _Details(NamedTuple):
    method: str
    timeout: float | None
    metadata: list[tuple[str, str]]
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


class _WithToken(grpc.UnaryUnaryClientInterceptor):
    """Adds the caller's token and a deadline."""

    def __init__(self, client: Client, service: str) -> None:
        self._client = client
        self._service = service

    def intercept_unary_unary(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        call = client_call_details
        token = self._client.token(self._service)
        metadata = [
            *(call.metadata or ()),
            *([("authorization", f"Bearer {token}")] if token else []),
        ]
        return continuation(
            _Details(
                call.method,
                call.timeout or 10.0,
                metadata,
                call.credentials,
                call.wait_for_ready,
                None,
            ),
            request,
        )


def until(
    condition: Callable[[], bool],
    timeout: float = 60,
    otherwise: Callable[[], object] = lambda: "",
    every: float = 0.05,
) -> None:
    """Waits until a condition holds.

    If it does not hold within `timeout` seconds, fails with the text that `otherwise` returns.
    """
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"condition not met within {timeout:g} s: {otherwise()}")
        time.sleep(every)
