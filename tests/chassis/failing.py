"""A server, not a test. Its one rpc fails in the requested way while it handles a name.

The tests search the server's log and its answers for the name.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chassis import log
from chassis.errors import Unavailable
from chassis.rpc import Call
from chassis.supervisor import Loop
from tests.chassis.serving import FewRpcs, serving


def words(name: str, call: Call) -> None:
    raise ValueError(f"who is {name}?")


def key(name: str, call: Call) -> None:
    dict[str, str]()[name]


def cause(name: str, call: Call) -> None:
    try:
        int(name)
    except ValueError as error:
        raise RuntimeError("it was another", name) from error


def group(name: str, call: Call) -> None:
    raise ExceptionGroup(name, [ValueError(name)])


def note(name: str, call: Call) -> None:
    error = ValueError("no")
    error.add_note(name)
    raise error


def unique(name: str, call: Call) -> None:
    for _ in range(2):
        assert call.tx.execute("INSERT INTO held (name) VALUES (%s)", (name,)).rowcount == 1


def data(name: str, call: Call) -> None:
    call.tx.execute("SELECT %s::text::timestamptz", (name,)).fetchone()


def refusal(name: str, call: Call) -> None:
    raise type(name, (Unavailable,), {})(name)


def thread(name: str, call: Call) -> None:
    dying = threading.Thread(target=words, args=(name, call))
    dying.start()
    dying.join()
    words(name, call)


def loop(name: str, call: Call) -> None:
    turning = Loop("failing", lambda _: words(name, call))
    turning.start()
    time.sleep(0.1)
    turning.stop()
    words(name, call)


def library(name: str, call: Call) -> None:
    try:
        words(name, call)
    except ValueError:
        logging.getLogger("library").exception("it could not find %s", name)
        logging.getLogger("library").error("%d", name)
        raise


def forgotten(name: str, call: Call) -> None:
    class Left:
        def __del__(self) -> None:
            words(name, call)

    Left()
    words(name, call)


KINDS: dict[str, Callable[[str, Call], None]] = {
    fail.__name__: fail
    for fail in (
        words,
        key,
        cause,
        group,
        note,
        unique,
        data,
        refusal,
        thread,
        loop,
        library,
        forgotten,
    )
}


class FailingService(FewRpcs):
    """A service whose rpc fails. The e-mail is the kind of failure, the password is the name."""

    def SignIn(self, request: Any, call: Call) -> Any:
        name = request.password
        if request.email == "answer":
            return name
        return KINDS[request.email](name, call)


if __name__ == "__main__":
    log.setup("failing")
    url, keys, name_at_the_end = sys.argv[1:]
    with serving(url, Path(keys), FailingService(), threads=2) as served:
        log.get().info("started", port=served.server.port)
        sys.stdin.read()
    raise KeyError(name_at_the_end)
