"""The checks of what is said: of a code its shape (which words there are the .proto files say), and the few lists that are rules."""

import re

from chassis.errors import Invalid

# The kinds of member that an override reaches: never who may hold a person, charge her or send her away (police, prosecution, migration, consulates),
# and no kind that this version does not know.
REACHED_BY_OVERRIDE = frozenset(
    "NGO HEALTH_SERVICE CENTRAL_GOVERNMENT LOCAL_GOVERNMENT LEGAL_SERVICE CORPORATE_BUSINESS SCHOOL_OR_COLLEGE RELIGIOUS SHELTER HOTLINE INTERNATIONAL "
    "COMMUNITY_GROUP".split()
)

NEED_GROUPS = frozenset("HOU MED PSS PRO LEG DOC RET FAM MAT EDU LIV LNG INF COM".split())

MAX_NOTE = 4_000  # characters
MAX_FIELD = 500

MAX_SAID = 20  # wrong fields in one refusal: it travels in a trailer of 8 KiB
MAX_LANGUAGE = 35  # RFC 5646, 4.4.1

# Always with fullmatch: `$` would let a line end pass.
_NEED = re.compile(r"[A-Z]{3}(\.[A-Z]{3,5})?")
_COUNTRY = re.compile(r"[A-Z]{2}")
_DEPARTMENT = re.compile(r"[A-Z]{2}-[A-Z0-9]{1,3}")
_LANGUAGE = re.compile(r"([a-z]{2,3}|x)(-[A-Za-z0-9]{1,8})*")  # RFC 5646, with what is private (x-…)


class Check:
    """Collects what is wrong with a request, so that all of it is said at once."""

    def __init__(self) -> None:
        self._wrong: list[tuple[str, str]] = []

    def need(self, path: str, value: str, *, required: bool = False) -> None:
        """A need code by its shape and group; which sub-codes exist is the directory's knowledge."""
        self._say(path, value, bool(_NEED.fullmatch(value)) and value[:3] in NEED_GROUPS, "unknown_code", required)

    def country(self, path: str, value: str, *, required: bool = False) -> None:
        """ISO 3166-1 alpha-2 by its shape."""
        self._say(path, value, bool(_COUNTRY.fullmatch(value)), "malformed", required)

    def department(self, path: str, value: str) -> None:
        """ISO 3166-2 by its shape."""
        self._say(path, value, bool(_DEPARTMENT.fullmatch(value)), "malformed", False)

    def language(self, path: str, value: str) -> None:
        """BCP 47 by its shape."""
        self._say(path, value, len(value) <= MAX_LANGUAGE and bool(_LANGUAGE.fullmatch(value)), "malformed", False)

    def text(self, path: str, value: str, most: int, *, required: bool = False) -> None:
        """A free text of at most so many characters, without control characters but line ends."""
        if any(ord(character) < 32 and character not in "\n\r\t" for character in value):
            self._wrong.append((path, "malformed"))
        self._say(path, value, len(value) <= most, "too_long", required)

    def that(self, holds: bool, path: str, reason: str) -> None:
        """Any other condition."""
        if not holds:
            self._wrong.append((path, reason))

    def done(self) -> None:
        """Refuses with what was wrong, as much of it as a refusal can carry."""
        if self._wrong:
            raise Invalid(*self._wrong[:MAX_SAID])

    def _say(self, path: str, value: str, holds: bool, reason: str, required: bool) -> None:
        if not value:
            if required:
                self._wrong.append((path, "required"))
        elif not holds:
            self._wrong.append((path, reason))


def short_code(identifier: str) -> str:
    """Six characters to say on the phone, from an id: enough to tell a page of rows apart, not to find anything by."""
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    number = int(identifier[:8], 16)
    return "".join(alphabet[(number >> shift) & 31] for shift in range(0, 30, 5))
