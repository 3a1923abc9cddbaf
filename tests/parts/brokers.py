"""The two brokers that keep the same promises: the embedded one (Tansu) and Apache Kafka, one node, as a child process with a small heap.

Both have `bootstrap`, `start`, `stop`, `kill`, `restart`, on one port for life. What differs: Apache Kafka keeps its records over a
kill, the embedded one forgets them and comes back under another cluster id.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import shutil
import signal
import subprocess
import tempfile
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Protocol

import pytest

from chassis.embedded import broker as embedded
from chassis.embedded.process import Process, free_port

ROOT = Path(__file__).resolve().parent.parent.parent
POM = ROOT / "tests" / "kafka" / "pom.xml"
LOGGING = ROOT / "tests" / "kafka" / "log4j2.properties"
KEPT = ROOT / "build" / "kafka"  # jars and a formatted storage, kept between runs

HOST = "127.0.0.1"

# One node: every internal topic has one copy and few partitions, groups need not wait for stragglers, and a broker that was killed is
# forgotten quickly (else its restart takes 13–15 s).
_SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
auto.create.topics.enable=false
"""


class Broker(Protocol):
    """What both can do."""

    @property
    def bootstrap(self) -> str: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def restart(self) -> None: ...
    def close(self) -> None: ...


class EmbeddedBroker(embedded.Broker):
    """The stack's own, with a folder of its own for its log."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="enlace-test-broker-"))
        super().__init__(self._folder / "broker.log")

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


class ApacheKafka:
    """The first one on a machine fetches its jars from Maven Central (some seconds); then it is up in two to four."""

    def __init__(self) -> None:
        self.port = free_port(HOST)
        libraries, formatted = prepare()
        self._folder = Path(tempfile.mkdtemp(prefix="enlace-test-kafka-"))
        self._log = self._folder / "kafka.log"
        self._settings = self._folder / "server.properties"
        data = self._folder / "data"
        self._settings.write_text(_SETTINGS.format(host=HOST, port=self.port, controller=free_port(HOST), data=data))
        shutil.copytree(formatted, data)
        _give_cluster_id(data / "meta.properties")
        self._command = [*java(libraries), "kafka.Kafka", str(self._settings)]
        self.process = Process("kafka", self._command, self._log, directory=self._folder, farewell=signal.SIGTERM)
        self._from = 0

    @property
    def bootstrap(self) -> str:
        return f"{HOST}:{self.port}"

    def start(self, timeout: float = 60) -> None:
        self._from = self._log.stat().st_size if self._log.exists() else 0
        self.process.start()
        self.process.wait_until(self._said_started, timeout)

    def stop(self) -> None:
        self.process.stop(timeout=20)

    def kill(self) -> None:
        self.process.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _said_started(self) -> bool:
        with self._log.open("rb") as log:
            log.seek(self._from)
            return b"Kafka Server started" in log.read()


BROKERS: dict[str, type[EmbeddedBroker] | type[ApacheKafka]] = {"embedded": EmbeddedBroker, "apache": ApacheKafka}


def make(kind: str) -> Broker:
    """A new broker of this kind, not yet started; its taker closes it. Skips the test where no Java is (in CI a skip is a failure)."""
    if kind == "apache" and not shutil.which("java"):
        pytest.skip("Apache Kafka needs a Java runtime, version 17 or later")
    return BROKERS[kind]()


def java(libraries: Path) -> list[str]:
    """A small heap and a quick start; it never works hard here."""
    options = ["-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
    return ["java", *options, f"-Dlog4j2.configurationFile={LOGGING.as_uri()}", "-cp", f"{libraries}/*"]


def prepare() -> tuple[Path, Path]:
    """The jars, and a storage folder as `kafka-storage format` makes it (a JVM of its own, so it is done once and copied)."""
    stamp = hashlib.sha256(POM.read_bytes()).hexdigest()[:16]
    libraries, formatted = KEPT / f"libs-{stamp}", KEPT / f"formatted-{stamp}"
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test process may be at it
        if not libraries.exists():
            new = Path(tempfile.mkdtemp(dir=KEPT))
            where = ["-f", str(POM), f"-DoutputDirectory={new}", "-DincludeScope=runtime"]
            _run(["mvn", "-q", "-B", *where, "dependency:copy-dependencies"])
            new.rename(libraries)
        if not formatted.exists():
            new = Path(tempfile.mkdtemp(dir=KEPT))
            settings = new / "server.properties"
            settings.write_text(_SETTINGS.format(host=HOST, port=9092, controller=9093, data=new / "data"))
            format_it = ["format", "--ignore-formatted", "-t", _cluster_id(), "-c", str(settings)]
            _run([*java(libraries), "kafka.tools.StorageTool", *format_it])
            (new / "data").rename(formatted)
            shutil.rmtree(new)
    return libraries, formatted


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


def _cluster_id() -> str:
    """As Kafka's own are made: never with a dash in front, which its tools would take for the name of an option (one in 64)."""
    made = (urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=") for _ in itertools.count())
    return next(identifier for identifier in made if not identifier.startswith("-"))


def _give_cluster_id(meta: Path) -> None:
    """Each node made from the copied storage is a cluster of its own."""
    lines = [f"cluster.id={_cluster_id()}" if line.startswith("cluster.id=") else line for line in meta.read_text().splitlines()]
    meta.write_text("\n".join(lines) + "\n")
