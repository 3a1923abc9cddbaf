"""Where somebody comes from who proves herself by a password or a PIN: her address, and a cookie by which her device is known again.

The cookie is set once she was right, never before. It holds random characters, opens nothing, and has the same name for whoever signs in and whoever
asks for her request; it only keeps strangers' wrong guesses from keeping her out (chassis/guesses.py).
"""

import re
import secrets
from dataclasses import replace

from flask import current_app, request
from werkzeug.wrappers import Response

from chassis.guesses import DEVICE_KEPT
from services.gateway import limits
from services.gateway.clients import calling

_DEVICE = re.compile(r"[\w-]{43}", re.ASCII)


def tell(device: str = "") -> None:
    """Says with the calls of this request where it comes from."""
    calling.set(replace(calling.get(), origin={"client-address": limits.network(), "client-device": device}))


def device() -> str:
    """The device's secret; a fresh one if it brought none."""
    found = request.cookies.get(_name(), "")
    return found if _DEVICE.fullmatch(found) else secrets.token_urlsafe(32)


def remember(response: Response, device: str) -> None:
    """Has the device keep its secret: after a right password or PIN."""
    response.set_cookie(
        _name(),
        device,
        max_age=DEVICE_KEPT,
        httponly=True,
        samesite="Lax",
        secure=not current_app.config["DEVELOPMENT"],
        path="/",
    )


def forget(response: Response) -> None:
    """Leaves no trace of it on the device."""
    if _name() in request.cookies:
        response.delete_cookie(_name(), path="/", httponly=True, samesite="Lax", secure=not current_app.config["DEVELOPMENT"])


def _name() -> str:
    return "d" if current_app.config["DEVELOPMENT"] else "__Host-d"
