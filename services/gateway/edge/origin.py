"""The origin of a request with a password or a PIN: address and device.

A cookie identifies the device. It is set after a right password or PIN, never before. It holds
random characters, opens nothing, and has the same name for a worker who signs in and for a person
who looks up her request. It serves only one purpose: wrong guesses by strangers must not lock the
owner out (chassis/guesses.py).
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
    """Sets the origin for the calls of this request. The address goes out signed (clients.py)."""
    calling.set(
        replace(calling.get(), origin={"client-address": limits.network(), "client-device": device})
    )


def device() -> str:
    """Returns the device's secret; a fresh one if the browser sent none."""
    secret = cookies.read(COOKIE)
    return secret if _DEVICE.fullmatch(secret) else secrets.token_urlsafe(32)


def remember(response: Response, device: str) -> None:
    """Stores the secret on the device, after a right password or PIN."""
    cookies.keep(response, COOKIE, device, DEVICE_LIFETIME)
