"""Where somebody comes from who proves herself by a password or a PIN: her address, and a cookie by
which her device is known again.

The cookie is set once she was right, never before. It holds random characters, opens nothing, and
has the same name for whoever signs in and whoever asks for her request; it only keeps strangers'
wrong guesses from keeping her out (chassis/guesses.py).
"""

import re
import secrets
from dataclasses import replace

from werkzeug.wrappers import Response

from chassis.guesses import DEVICE_LIFETIME
from services.gateway.edge import cookies, limits
from services.gateway.edge.clients import calling

COOKIE = "d"
_DEVICE = re.compile(r"[\w-]{43}", re.ASCII)


def tell(device: str = "") -> None:
    """Says with the calls of this request where it comes from; the address goes out signed
    (clients.py).
    """
    calling.set(
        replace(calling.get(), origin={"client-address": limits.network(), "client-device": device})
    )


def device() -> str:
    """The device's secret; a fresh one if it brought none."""
    secret = cookies.read(COOKIE)
    return secret if _DEVICE.fullmatch(secret) else secrets.token_urlsafe(32)


def remember(response: Response, device: str) -> None:
    """Has the device keep its secret: after a right password or PIN."""
    cookies.keep(response, COOKIE, device, DEVICE_LIFETIME)
