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
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.effective_port}/"
    finally:
        server.stop()
        thread.join(10)


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, "", "127.0.0.1"),
        (0, "203.0.113.9", "127.0.0.1"),
        (1, "", "127.0.0.1"),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        (2, "198.51.100.1, 203.0.113.9, 192.0.2.1", "203.0.113.9"),
    ],
)
def test_the_clients_address_is_reported_by_the_outermost_proxy_and_cannot_be_forged(
    proxies: int, forwarded: str, expected: str
) -> None:
    forged_headers = {"X-Forwarded-Host": "evil.example", "Forwarded": "for=198.51.100.7"}
    headers = {"X-Forwarded-For": forwarded, **forged_headers} if forwarded else {}
    with address_page(proxies) as url:
        assert requests.get(url, headers=headers, timeout=5).text == expected
