"""Page tokens: where the next page begins, as an opaque text. Not secret and not trusted: whatever is no token of ours is refused."""

import base64
import binascii
import json
from collections.abc import Sequence

from chassis.errors import Invalid


def token(*place: str | int) -> str:
    """The token of a place in an order."""
    return base64.urlsafe_b64encode(json.dumps(place, separators=(",", ":")).encode()).decode().rstrip("=")


def read_token(text: str, kinds: Sequence[type]) -> list[str | int] | None:
    """The place of a token with values of these kinds; None for the empty token, the beginning. Refuses with page_token malformed."""
    if not text:
        return None
    try:
        found = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)) if len(text) < 2000 else None
    except (binascii.Error, ValueError, RecursionError) as error:
        raise Invalid(("page_token", "malformed")) from error
    if not isinstance(found, list) or [type(value) for value in found] != list(kinds) or not all(_keepable(str(value)) for value in found):
        raise Invalid(("page_token", "malformed"))
    return found


def _keepable(text: str) -> bool:
    """Whether PostgreSQL can compare with it: neither NUL nor half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text


def size(asked: int, *, usual: int, most: int) -> int:
    """How many a page holds: as asked, within limits; 0 is the usual."""
    if asked < 0:
        raise Invalid(("page_size", "out_of_range"))
    return min(asked or usual, most)
