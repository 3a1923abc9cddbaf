"""Between what a service works with and what is said in messages, where it is the same for every
service: times, enums, etags, page tokens and sizes, masks.

What a caller said wrongly is refused as Invalid with the path of the field, so that each of these
is refused alike wherever it stands.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from enum import Enum
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.errors import Invalid, Stale
from chassis.ids import is_id
from keys.sealing import CannotOpen, Keyring

M = TypeVar("M", bound=Enum)
EnumClass = Any
"""The class that protoc makes of an enum, e.g. referrals_pb2.State. (Type checkers are told another
one for each enum, without a common type.)
"""
Position = list[str | int]
"""Where a page ended: the sort key of its last row, with which the query for the next page
begins.
"""

# an option of an enum's value, found by name: the chassis knows no message of its own
_WORD = "enlace.contract.v1.word"
_VERSION = re.compile(r"v([0-9]{1,16})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAC = 16  # bytes: 128 bits, as much as an id
# characters, as the REST interface says; the longest that is given out (two names of 200
# characters) stays below
_LONGEST_TOKEN = 2000


# --- times


def timestamp(time: datetime | None) -> Timestamp | None:
    """A time as it is said; None stays unset."""
    if time is None:
        return None
    # three times as quick as FromDatetime, and a page of services says 150 times
    since = time - _EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1000)


MEANT_YEARS = range(1900, 2200)
"""Years that somebody may mean.

Beyond them there is no room to add a deadline to a time, or another zone.
"""

ANY_YEAR = range(1, 10_000)
"""Of a time that is only compared with others: a filter without an end may name the last day of the
calendar.
"""


def moment(
    message: Message, field: str, path: str = "", *, years: range = MEANT_YEARS
) -> datetime | None:
    """The time in a field, in UTC; None when it is not set.

    Invalid (path, or else the field's name) out_of_range for one that nobody means.
    """
    if not message.HasField(field):
        return None
    try:
        said: Timestamp = getattr(message, field)
        at = said.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise Invalid((path or field, "out_of_range")) from error
    if at.year not in years:
        raise Invalid((path or field, "out_of_range"))
    return at


# --- enums: STATE_SENT is State.SENT. The zero value is called <PREFIX>_UNSPECIFIED, as protobuf's
# style guide wants it.


class EnumCodec(Generic[M]):
    """Between the values of an enum in a .proto and the members of a Python Enum with the same
    names, without the prefix.

    TypeError when a member has no value in the .proto. A value without a member is one that the
    service does not know: refused like a stranger's.
    """

    def __init__(self, said: EnumClass, members: type[M]) -> None:
        self._numbers = {
            members[name]: number
            for number, name in names(said).items()
            if name in members.__members__
        }
        self._members = {number: member for member, number in self._numbers.items()}
        if missing := set(members) - self._numbers.keys():
            raise TypeError(
                f"{said.DESCRIPTOR.full_name} lacks {sorted(member.name for member in missing)}"
            )

    def number(self, member: M | None) -> Any:
        """The value of a member; unspecified for None. (Any: each enum's values have a type of
        their own to a type checker.)
        """
        return 0 if member is None else self._numbers[member]

    def member(self, number: int, path: str) -> M | None:
        """The member of a value; None for unspecified.

        Invalid (path, unknown_code) for a value that is newer than we are.
        """
        if number == 0:
            return None
        if number not in self._members:
            raise Invalid((path, "unknown_code"))
        return self._members[number]

    def members(self, numbers: Iterable[int], path: str) -> list[M]:
        """The members of a list.

        Invalid (path.INDEX, unknown_code) for the first that is unspecified or unknown.
        """
        members = []
        for index, number in enumerate(numbers):
            # One is enough: a refusal that named hundreds would be too long for gRPC.
            if (member := self.member(number, f"{path}.{index}")) is None:
                raise Invalid((f"{path}.{index}", "unknown_code"))
            members.append(member)
        return members


def names(said: EnumClass) -> dict[int, str]:
    """The names of an enum's values without their prefix, by number, without the unspecified one:
    {2: "SENT"} for STATE_SENT = 2.
    """
    prefix = said.Name(0).removesuffix("UNSPECIFIED")
    return {number: name.removeprefix(prefix) for name, number in said.items() if number}


@cache
def words(enum: EnumDescriptor) -> Mapping[int, str]:
    """The words of a code list by number, in its order: {1: "no_capacity"} for
    DECLINE_REASON_NO_CAPACITY = 1, or what (contract.v1.word) says.
    """
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    said = {
        value.number: {
            field.full_name: text for field, text in value.GetOptions().ListFields()
        }.get(_WORD)
        for value in enum.values
    }
    return MappingProxyType(
        {
            value.number: said[value.number] or value.name.removeprefix(prefix).lower()
            for value in enum.values
            if value.number
        }
    )


@cache
def numbers(enum: EnumDescriptor) -> Mapping[str, int]:
    """The numbers of a code list by word."""
    return MappingProxyType({word: number for number, word in words(enum).items()})


def word(said: EnumClass, number: int, path: str) -> str:
    """The word of a value, empty for unspecified.

    Invalid (path, unknown_code) for one newer than we are.
    """
    if number == 0:
        return ""
    if number not in words(said.DESCRIPTOR):
        raise Invalid((path, "unknown_code"))
    return words(said.DESCRIPTOR)[number]


def word_list(said: EnumClass, numbers: Iterable[int], path: str) -> tuple[str, ...]:
    """The words of values.

    Invalid (path.INDEX, unknown_code) for the first that is unspecified or unknown.
    """
    words = []
    for index, number in enumerate(numbers):
        if not (text := word(said, number, f"{path}.{index}")):
            raise Invalid((f"{path}.{index}", "unknown_code"))
        words.append(text)
    return tuple(words)


def number(said: EnumClass, word: str) -> Any:
    """The value of a word; unspecified for none, and for one that is no word of the list. (Any: as
    for EnumCodec.number.)
    """
    return numbers(said.DESCRIPTOR).get(word, 0)


# --- etags: v and the version; and what else a reader sees with it, as a hash


def etag(version: int, *seen_besides: str) -> str:
    """The strong tag of a version.

    `seen_besides` is what a reader sees with it though it belongs to another object.
    """
    if not seen_besides:
        return f"v{version}"
    return f"v{version}-{_digest(seen_besides)}"


@lru_cache(4096)  # a page shows the same few names again and again
def _digest(said: tuple[str, ...]) -> str:
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]


def version(tag: str, path: str = "etag") -> int:
    """The version of a tag that says nothing else.

    Invalid (path, required) for none; Stale for what was never given out.
    """
    if not tag:
        raise Invalid((path, "required"))
    match = _VERSION.fullmatch(tag)
    if match is None:
        raise Stale
    return int(match[1])


def check_etag(tag: str, current: str, path: str = "etag", *, required: bool = True) -> None:
    """Refuses a change that is based on another tag than the current one: Stale; Invalid (path,
    required) for none, unless it need not be said.
    """
    if not tag and required:
        raise Invalid((path, "required"))
    if tag and tag != current:
        raise Stale


# --- pages


class PageTokens:
    """Makes and reads page tokens: where the next page begins, signed with a key of the service, so
    that only what was given out comes back.

    A token is good for the rpc and the filters of the page before. Signed and not sealed, so that
    the same page has the same token each time, on which the ETag of a list depends: it says the
    sort key of the page's last row, so nothing may be sorted by what its reader must not know.
    """

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def token(self, request: Message, position: Position | None) -> str:
        """The token for the page after this position; empty when there is none."""
        if position is None:
            return ""
        said = json.dumps(position, separators=(",", ":"), ensure_ascii=False).encode()
        return _signed_text(self._mac(request, said), said)

    def position(self, request: Any, *kinds: type[str] | type[int]) -> Position | None:
        """The position in a request's `page_token`, a value of each of these kinds; None without a
        token.

        Invalid (page_token, malformed) for what this service did not give out, or gave out for
        another rpc or other filters.
        """
        text: str = request.page_token
        if not text:
            return None
        try:
            mac, said = _read_signed_text(text)
            if not hmac.compare_digest(mac, self._mac(request, said)):
                raise ValueError
            position: Position = json.loads(said)
            # Signed by us, and yet another release may have sorted by something else.
            if [type(value) for value in position] != list(kinds):
                raise ValueError
        except (binascii.Error, ValueError) as error:
            raise Invalid(("page_token", "malformed")) from error
        return position

    def _mac(self, request: Message, said: bytes) -> bytes:
        filters = _filters(request)
        return self._keyring.fingerprint(
            len(filters).to_bytes(4, "big") + filters + said, "page_token"
        )[:_MAC]


class ResumeTokens:
    """Makes and reads the place from which a stream goes on.

    Sealed: whoever could read it could count what happens to others.
    """

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def token(self, request: Message, whose: str, position: Position) -> str:
        """The token for what comes after this position; good for `whose` stream, with the filters
        of the request.
        """
        sealed = self._keyring.seal(json.dumps(position), self._context(request, whose))
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def position(self, request: Any, whose: str, *kinds: type[str] | type[int]) -> Position | None:
        """The position in a request's `resume_token`, a value of each of these kinds; None without
        a token.

        Invalid (resume_token, malformed) for what this service did not give out, or gave to another
        or for other filters.
        """
        text: str = request.resume_token
        if not text:
            return None
        try:
            sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            position: Position = json.loads(
                self._keyring.open(sealed, self._context(request, whose))
            )
            if [type(value) for value in position] != list(kinds):
                raise ValueError
        except (binascii.Error, ValueError, CannotOpen) as error:
            raise Invalid(("resume_token", "malformed")) from error
        return position

    @staticmethod
    def _context(request: Message, whose: str) -> str:
        return f"resume_token/{whose}/{hashlib.sha256(_filters(request)).hexdigest()}"


class WatchTokens:
    """Proves for a while that its holder was shown how a scope stands, so that he may hear whether
    that changed without being asked again who he is.

    Signed by the service and readable: the scope is its holder's own, and no name.
    """

    SECONDS = 60

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def token(self, scope: str, now: datetime) -> str:
        """Good for `SECONDS` from now."""
        said = f"{int(now.timestamp()) + self.SECONDS}:{scope}".encode()
        return _signed_text(self._mac(said), said)

    def versions(
        self,
        tokens: Iterable[str],
        now: datetime,
        ask: Callable[[Collection[str]], Mapping[str, str]],
    ) -> list[str]:
        """The version of each token's scope; empty for one that this service did not give, or whose
        time is over. All scopes are asked for at once.
        """
        scopes = [self._scope(token, now) for token in tokens]
        known = ask(sorted({scope for scope in scopes if scope is not None}))
        return ["" if scope is None else known[scope] for scope in scopes]

    def _scope(self, token: str, now: datetime) -> str | None:
        try:
            mac, said = _read_signed_text(token)
        except (binascii.Error, ValueError):
            return None
        if not hmac.compare_digest(mac, self._mac(said)):
            return None
        end, _, scope = said.decode().partition(":")
        return scope if now.timestamp() < int(end) else None

    def _mac(self, said: bytes) -> bytes:
        return self._keyring.fingerprint(said, "watch_token")[:_MAC]


def _signed_text(mac: bytes, said: bytes) -> str:
    return base64.urlsafe_b64encode(mac + said).decode().rstrip("=")


def _read_signed_text(text: str) -> tuple[bytes, bytes]:
    """The signature and what is signed. Raises binascii.Error or ValueError."""
    if len(text) > _LONGEST_TOKEN:
        raise ValueError
    decoded = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    return decoded[:_MAC], decoded[_MAC:]


def _filters(request: Message) -> bytes:
    """What a token is bound to: the rpc, by its request's name, and what was asked; not where and
    how large the page is.
    """
    asked = type(request)()
    asked.CopyFrom(request)
    for field in {"page_token", "page_size", "resume_token"} & set(
        request.DESCRIPTOR.fields_by_name
    ):
        asked.ClearField(field)
    _leave_out_times(asked)
    return (
        request.DESCRIPTOR.full_name.encode() + b"\0" + asked.SerializeToString(deterministic=True)
    )


def _leave_out_times(message: Message) -> None:
    """Unsets all times: a filter like "due before now" moves while somebody reads the pages, and
    goes on in the same order.
    """
    for field, value in message.ListFields():
        if field.message_type is None or field.is_repeated:
            continue
        if field.message_type.full_name == Timestamp.DESCRIPTOR.full_name:
            message.ClearField(field.name)
        else:
            _leave_out_times(value)


def page_size(asked: int, *, default: int, most: int, path: str = "page_size") -> int:
    """How many rows a page has: as asked, up to the most; 0 is the default.

    Invalid (path, out_of_range) below 0.
    """
    if asked < 0:
        raise Invalid((path, "out_of_range"))
    return min(asked or default, most)


# --- masks and ids


def masked(update_mask: FieldMask, allowed: Collection[str]) -> frozenset[str]:
    """The fields to change.

    Invalid (update_mask, required) for none, (update_mask, unknown_code) for one that can't be
    changed so.
    """
    paths = frozenset(update_mask.paths)
    if not paths:
        raise Invalid(("update_mask", "required"))
    if not paths.issubset(allowed):
        raise Invalid(("update_mask", "unknown_code"))
    return paths


def optional_id(text: str, path: str) -> str:
    """An id, or empty. Invalid (path, malformed) for what has not the shape of one."""
    if text and not is_id(text):
        raise Invalid((path, "malformed"))
    return text
