"""Jars of Java programs, fetched once per environment by a Maven client and checked against the
hashes in a lock file.

A lock file (requirements/kafka.txt) has one line per jar: `group:artifact:version sha256`. A jar
that is in the local Maven repository is taken from there. A mirror is set in the client's own
settings (jgo.conf). Limitation: this module resolves no versions; `make requirements` does, with
Maven itself.
"""

from __future__ import annotations

import fcntl
import hashlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from local.process import StackFailure

if TYPE_CHECKING:
    from jgo.maven import MavenContext

HOME = Path(sys.prefix) / "jars"
"""Holds the jars of this environment and the files built from them: one folder for each version of
a lock file.
"""


@dataclass(frozen=True)
class Jar:
    """A line of a lock file."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


@contextmanager
def fetched_jars(
    lock: Path, say: Callable[[str], None] = lambda line: None, home: Path | None = None
) -> Iterator[tuple[Path, list[Path]]]:
    """Yields the folder for this lock file's jars, and their paths in the order of the lock file;
    fetches the jars if the folder has none. Other processes wait until the block ends.

    `say` receives progress messages. If there is no connection to a repository, a hash is wrong, or
    the disk is full, raises StackFailure with a sentence that tells the user how to proceed.
    """
    jars, home = _read_lock_file(lock), home or HOME
    folder = home / hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock_file = (home / "lock").open("w")
    except OSError as error:
        raise StackFailure(
            f"the folder of the jars, {home}, can't be written: {error.strerror}."
            " Free some space, or fix its permissions"
        ) from error
    with lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        libraries = folder / "libs"
        if not libraries.exists():
            say(f"fetching the {len(jars)} jars of {lock.name} (once)…")
            _fetch(jars, folder, libraries)
        yield folder, [libraries / jar.file for jar in jars]


def _read_lock_file(lock: Path) -> list[Jar]:
    lines = [line for line in lock.read_text().splitlines() if line and not line.startswith("#")]
    return [Jar(*line.replace(":", " ").split(" ")) for line in lines]


def _fetch(jars: list[Jar], folder: Path, libraries: Path) -> None:
    """Fetches all jars, then moves them to their place, so that a partial download is never
    used.
    """
    try:
        with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as name:
            new = Path(name)
            (new / "libs").mkdir()
            with ThreadPoolExecutor(8) as threads:
                list(
                    threads.map(
                        lambda jar: (new / "libs" / jar.file).write_bytes(_content(jar, new)), jars
                    )
                )
            (new / "libs").rename(libraries)
    except OSError as error:
        raise StackFailure(
            f"the jars could not be stored in {folder}: {error.strerror}. They need 100 MB"
        ) from error


def _content(jar: Jar, folder: Path) -> bytes:
    """Returns the content of a jar.

    Ignores a copy in the local Maven repository whose hash differs from the hash in the lock file.
    """
    # this import takes a quarter of a second, and is needed once per environment
    from jgo.config import GlobalSettings
    from jgo.maven import MavenContext

    settings = GlobalSettings.load()
    local_context = MavenContext(
        repo_cache=folder / "none", local_repos=[settings.repo_cache], offline=True
    )
    try:
        content = _resolve(local_context, jar)
        if hashlib.sha256(content).hexdigest() == jar.sha256:
            return content
    except RuntimeError:  # the local repository lacks the jar
        pass
    try:
        content = _resolve(
            MavenContext(
                repo_cache=folder / "repository",
                remote_repos=settings.repositories or None,
                timeout=30,
            ),
            jar,
        )
    except (OSError, RuntimeError) as error:
        # only errors of the disk have an errno, not those of requests
        if getattr(error, "errno", None):
            raise
        raise StackFailure(
            f"{jar.file} could not be fetched ({type(error).__name__})."
            " Connect this machine to a Maven repository (a mirror: [repositories] in jgo.conf), "
            "or copy the jar into the local Maven repository"
        ) from error
    if hashlib.sha256(content).hexdigest() != jar.sha256:
        raise StackFailure(
            f"{jar.file} is not the locked jar: its SHA-256 differs. It was not stored."
            " Try again; if this happens again, don't trust the repository"
        )
    return content


def _resolve(context: MavenContext, jar: Jar) -> bytes:
    return bytes(
        context.project(jar.group, jar.artifact)
        .at_version(jar.version)
        .artifact()
        .resolve()
        .read_bytes()
    )
