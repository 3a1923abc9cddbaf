"""The client's address when proxies stand in front of the gateway.

The tests use a real socket, because the server reads the headers.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests
from flask import Flask, request

from services.gateway.edge.server import Server


@contextmanager
def address_page(proxies: int) -> Iterator[str]:
    """Serves a page that is the client's address; yields the URL of the page."""
    app = Flask(__name__)
    app.add_url_rule("/", view_func=lambda: str(request.remote_addr))
    server = Server(app, "127.0.0.1:0", proxies)
    serving = threading.Thread(target=server.serve)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.effective_port}/"
    finally:
        server.stop()
        serving.join(10)


@pytest.mark.parametrize(
    ("proxies", "forwarded", "seen"),
    [
        (0, "", "127.0.0.1"),
        (0, "203.0.113.9", "127.0.0.1"),
        (1, "", "127.0.0.1"),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        (2, "198.51.100.1, 203.0.113.9, 192.0.2.1", "203.0.113.9"),
    ],
)
def test_the_clients_address_is_the_one_our_outermost_proxy_saw_and_never_one_the_caller_made_up(
    proxies: int, forwarded: str, seen: str
) -> None:
    made_up = {"X-Forwarded-Host": "evil.example", "Forwarded": "for=198.51.100.7"}
    headers = {"X-Forwarded-For": forwarded, **made_up} if forwarded else {}
    with address_page(proxies) as url:
        assert requests.get(url, headers=headers, timeout=5).text == seen
