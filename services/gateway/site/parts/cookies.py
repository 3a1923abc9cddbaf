"""The gateway's cookies, with short neutral names; no script and no other host can read them."""

from datetime import timedelta
from typing import Any

from flask import current_app, request
from werkzeug.wrappers import Response


def read(name: str) -> str:
    """Returns the value of a cookie; "" if the browser sent none."""
    return request.cookies.get(full_name(name), "")


def write(response: Response, name: str, value: str, max_age: timedelta | None = None) -> None:
    """Sets a cookie. Without `max_age`, the cookie ends when the browser is closed."""
    response.set_cookie(full_name(name), value, max_age=max_age, **_attributes())


def drop(response: Response, name: str) -> None:
    """Deletes a cookie, if the browser sent it."""
    if full_name(name) in request.cookies:
        response.delete_cookie(full_name(name), **_attributes())


def full_name(name: str) -> str:
    """Returns the name of a cookie as it is sent."""
    # The prefix binds the cookie to this host. It requires https, which a development machine does
    # not have.
    return name if current_app.config["DEVELOPMENT"] else f"__Host-{name}"


def _attributes() -> dict[str, Any]:
    # Lax rather than Strict, because the session must be found when a link in an e-mail is
    # followed.
    return {
        "httponly": True,
        "samesite": "Lax",
        "secure": not current_app.config["DEVELOPMENT"],
        "path": "/",
    }
