"""The device from which a person or worker gives a password or a PIN.

A cookie identifies the device. The cookie is set only after a right password, passkey or PIN, a
sign-in through a provider or an accepted invitation. It holds random characters, opens nothing, and
has the same name for a worker who signs in and for a person who looks up her request. Its purposes:
wrong guesses by strangers must not lock the owner out (chassis/guesses.py), and two accounts of one
person are not two people (services/partners/members/domain/independence.py).
"""

import re
import secrets

from werkzeug.wrappers import Response

from chassis.limits import DEVICE_LIFETIME
from services.gateway.edge import origin
from services.gateway.site.parts import cookies

COOKIE = "d"
_SECRET = re.compile(r"[\w-]{43}", re.ASCII)


def attach() -> str:
    """Sets the device as the origin of the calls of this request, and returns its secret.

    The secret is a fresh one if the browser sent none.
    """
    cookie_value = cookies.read(COOKIE)
    secret = cookie_value if _SECRET.fullmatch(cookie_value) else secrets.token_urlsafe(32)
    origin.attach(secret)
    return secret


def remember(response: Response, secret: str) -> None:
    """Stores the secret on the device, after a right password, passkey or PIN."""
    cookies.write(response, COOKIE, secret, DEVICE_LIFETIME)
