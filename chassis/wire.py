"""Converts between the values of the services and the messages of the contract: times, enums,
etags, page tokens, page sizes, masks.

A wrong value raises Invalid with the path of its field, in the same way in every service.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
P = TypeVar("P", bound=Message)
EnumClass = Any
"""The class that protoc generates for an enum, e.g. referrals_pb2.State. (To a type checker, each
enum has its own class, and these classes have no common base.)
"""
Cursor = list[str | int]
"""The position reached in a list or a stream: the sort key of the last row, after which the next
query begins.
"""

# The name of the option that gives the word of an enum's value. It is looked up by name, since the
# chassis imports no message.
_WORD = "enlace.contract.v1.word"
_VERSION = re.compile(r"v([0-9]{1,16})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAC = 16  # bytes of a signature: 128 bits, as many as an id has
# Maximum length of a token in characters, as the REST API documents; the longest token that is
# issued (for two names of 200 characters) is shorter.
_LONGEST_TOKEN = 2000


# --- times


def timestamp(time: datetime | None) -> Timestamp | None:
    """Returns a time as a Timestamp; None for None."""
    if time is None:
        return None
    # Three times as fast as FromDatetime, which matters for a page of services with 150 timestamps.
    age = time - _EPOCH
    return Timestamp(seconds=age.days * 86_400 + age.seconds, nanos=age.microseconds * 1000)


PLAUSIBLE_YEARS = range(1900, 2200)
"""The years that a request may contain.

Closer to the ends of the calendar, adding a deadline or converting to another zone could overflow.
"""

ANY_YEAR = range(1, 10_000)
"""The years of a time that is only compared: an open-ended filter may contain the last day of the
calendar.
"""


def moment(
    message: Message, field: str, path: str = "", *, years: range = PLAUSIBLE_YEARS
) -> datetime | None:
    """Returns the time in a field, in UTC; None if it is not set.

    Raises Invalid (`path` or the field's name, out_of_range) for a year outside of `years`.
    """
    if not message.HasField(field):
        return None
    try:
        value: Timestamp = getattr(message, field)
        time = value.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise Invalid((path or field, "out_of_range")) from error
    if time.year not in years:
        raise Invalid((path or field, "out_of_range"))
    return time


# --- enums: STATE_SENT is State.SENT. The zero value is called <PREFIX>_UNSPECIFIED, as protobuf's
# style guide requires.


class EnumCodec(Generic[M]):
    """Converts between the values of an enum in a .proto and the members of a Python Enum with the
    same names, without the prefix.

    Raises TypeError for a member without a value in the .proto. A value without a member is unknown
    to the service, and refused.
    """

    def __init__(self, enum: EnumClass, members: type[M]) -> None:
        self._numbers = {
            members[name]: number
            for number, name in names(enum).items()
            if name in members.__members__
        }
        self._members = {number: member for member, number in self._numbers.items()}
        if missing := set(members) - self._numbers.keys():
            raise TypeError(
                f"{enum.DESCRIPTOR.full_name} lacks {sorted(member.name for member in missing)}"
            )

    def number(self, member: M | None) -> Any:
        """Returns the value for a member; unspecified for None. (Any: each enum's values have a
        type of their own to a type checker.)
        """
        return 0 if member is None else self._numbers[member]

    def member(self, number: int, path: str) -> M | None:
        """Returns the member for a value; None for unspecified.

        Raises Invalid (path, unknown_code) for an unknown value.
        """
        if number == 0:
            return None
        if number not in self._members:
            raise Invalid((path, "unknown_code"))
        return self._members[number]

    def members(self, numbers: Iterable[int], path: str) -> list[M]:
        """Returns the members for a list of values.

        Raises Invalid (path.INDEX, unknown_code) for the first value that is unspecified or
        unknown.
        """
        members = []
        for index, number in enumerate(numbers):
            # Reports only the first: a refusal that listed hundreds would be too long for gRPC.
            if (member := self.member(number, f"{path}.{index}")) is None:
                raise Invalid((f"{path}.{index}", "unknown_code"))
            members.append(member)
        return members


def names(enum: EnumClass) -> dict[int, str]:
    """Returns the names of an enum's values by number, without their prefix and without the
    unspecified value: {2: "SENT"} for STATE_SENT = 2.
    """
    prefix = enum.Name(0).removesuffix("UNSPECIFIED")
    return {number: name.removeprefix(prefix) for name, number in enum.items() if number}


@cache
def words(enum: EnumDescriptor) -> Mapping[int, str]:
    """Returns the words of a code list by number, in the order of the list: {1: "no_capacity"} for
    DECLINE_REASON_NO_CAPACITY = 1, or the word of the option (contract.v1.word).
    """
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    options = {
        value.number: {
            field.full_name: text for field, text in value.GetOptions().ListFields()
        }.get(_WORD)
        for value in enum.values
    }
    return MappingProxyType(
        {
            value.number: options[value.number] or value.name.removeprefix(prefix).lower()
            for value in enum.values
            if value.number
        }
    )


@cache
def numbers(enum: EnumDescriptor) -> Mapping[str, int]:
    """Returns the numbers of a code list by word."""
    return MappingProxyType({word: number for number, word in words(enum).items()})


def word(enum: EnumClass, number: int, path: str) -> str:
    """Returns the word for a value; "" for unspecified.

    Raises Invalid (path, unknown_code) for an unknown value.
    """
    if number == 0:
        return ""
    if number not in words(enum.DESCRIPTOR):
        raise Invalid((path, "unknown_code"))
    return words(enum.DESCRIPTOR)[number]


def word_list(enum: EnumClass, numbers: Iterable[int], path: str) -> tuple[str, ...]:
    """Returns the words for these values.

    Raises Invalid (path.INDEX, unknown_code) for the first value that is unspecified or unknown.
    """
    words = []
    for index, number in enumerate(numbers):
        if not (text := word(enum, number, f"{path}.{index}")):
            raise Invalid((f"{path}.{index}", "unknown_code"))
        words.append(text)
    return tuple(words)


def number(enum: EnumClass, word: str) -> Any:
    """Returns the value for a word; unspecified for "" and for an unknown word. (Any: as for
    EnumCodec.number.)
    """
    return numbers(enum.DESCRIPTOR).get(word, 0)


# --- etags: "v" and the version, with a hash of the other objects that the response shows, if any


def etag(version: int, *other_contents: str) -> str:
    """Returns the strong etag of a version.

    `other_contents` lists the contents of other objects that the response also shows.
    """
    if not other_contents:
        return f"v{version}"
    return f"v{version}-{_digest(other_contents)}"


@lru_cache(4096)  # a page repeats the same few names
def _digest(texts: tuple[str, ...]) -> str:
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:12]


def version(tag: str, path: str = "etag") -> int:
    """Returns the version in an etag that contains nothing else.

    Raises Invalid (path, required) for an empty etag, and Stale for any other text.
    """
    if not tag:
        raise Invalid((path, "required"))
    match = _VERSION.fullmatch(tag)
    if match is None:
        raise Stale
    return int(match[1])


def check_etag(tag: str, current: str, path: str = "etag", *, required: bool = True) -> None:
    """Raises Stale if a change is based on an etag other than the current one.

    Raises Invalid (path, required) for an empty etag, unless it is optional.
    """
    if not tag and required:
        raise Invalid((path, "required"))
    if tag and tag != current:
        raise Stale


# --- pages


class PageTokens:
    """Makes and reads page tokens: cursors after which the next page begins.

    A token is valid for the rpc and the filters of the previous page. It is sealed, because it
    appears in URLs (browser histories, proxy logs), and the sort key of the page's last row may be
    a name. Equal pages have equal tokens; the ETag of a list depends on that.
    """

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def token(self, request: Message, cursor: Cursor | None) -> str:
        """Returns the token of the page after this cursor; "" for None."""
        if cursor is None:
            return ""
        content = json.dumps(cursor, separators=(",", ":"), ensure_ascii=False).encode()
        return _text(self._keyring.seal_deterministic(content, "page_token", _filters(request)))

    def cursor(self, request: Any, *kinds: type[str] | type[int]) -> Cursor | None:
        """Returns the cursor in a request's `page_token`, whose values have these types; None
        without a token.

        Raises Invalid (page_token, malformed) for a token that this service did not issue, or
        issued for another rpc or other filters.
        """
        if not request.page_token:
            return None
        try:
            sealed = _bytes(request.page_token)
            cursor: Cursor = json.loads(
                self._keyring.open_deterministic(sealed, "page_token", _filters(request))
            )
            # A token of another release may have another sort key.
            if [type(value) for value in cursor] != list(kinds):
                raise ValueError
        except (ValueError, CannotOpen) as error:
            raise Invalid(("page_token", "malformed")) from error
        return cursor


class ResumeTokens:
    """Makes and reads resume tokens: cursors after which a stream continues.

    The tokens are sealed, since the numbers in them would let a reader count other people's events.
    """

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def token(self, request: Message, holder_id: str, cursor: Cursor) -> str:
        """Returns the token of the stream's cursor. The token is valid only for the caller that
        `holder_id` identifies, and for the filters of the request.
        """
        return _text(self._keyring.seal(json.dumps(cursor), self._context(request, holder_id)))

    def cursor(self, request: Any, holder_id: str, *kinds: type[str] | type[int]) -> Cursor | None:
        """Returns the cursor in a request's `resume_token`, whose values have these types; None
        without a token.

        Raises Invalid (resume_token, malformed) for a token that this service did not issue, or
        issued to another caller or for other filters.
        """
        if not request.resume_token:
            return None
        try:
            sealed = _bytes(request.resume_token)
            cursor: Cursor = json.loads(
                self._keyring.open(sealed, self._context(request, holder_id))
            )
            if [type(value) for value in cursor] != list(kinds):
                raise ValueError
        except (ValueError, CannotOpen) as error:
            raise Invalid(("resume_token", "malformed")) from error
        return cursor

    @staticmethod
    def _context(request: Message, holder_id: str) -> str:
        return f"resume_token/{holder_id}/{hashlib.sha256(_filters(request)).hexdigest()}"


class WatchTokens:
    """Makes and reads watch tokens. A token proves for a while that its holder was shown a scope,
    so that, without signing in again, the holder can ask whether the scope has changed.

    Tokens are signed but readable: a scope holds the id of the holder's own organisation, perhaps
    with a mark for the view of the network, and no name.
    """

    SECONDS = 60

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def token(self, scope: str, now: datetime) -> str:
        """Returns a token for a scope, valid for `SECONDS`."""
        content = f"{int(now.timestamp()) + self.SECONDS}:{scope}".encode()
        return _text(self._mac(content) + content)

    def versions(
        self,
        tokens: Iterable[str],
        now: datetime,
        read_versions: Callable[[Collection[str]], Mapping[str, str]],
    ) -> list[str]:
        """Returns the version of each token's scope, in the order of the tokens; "" for a token
        that is invalid or expired. `read_versions` returns the versions by scope; it is called
        once.
        """
        scopes = [self._scope(token, now) for token in tokens]
        version_by_scope = read_versions(sorted({scope for scope in scopes if scope is not None}))
        return ["" if scope is None else version_by_scope[scope] for scope in scopes]

    def _scope(self, token: str, now: datetime) -> str | None:
        try:
            signed = _bytes(token)
        except ValueError:
            return None
        mac, content = signed[:_MAC], signed[_MAC:]
        if not hmac.compare_digest(mac, self._mac(content)):
            return None
        end, _, scope = content.decode().partition(":")
        return scope if now.timestamp() < int(end) else None

    def _mac(self, content: bytes) -> bytes:
        return self._keyring.fingerprint(content, "watch_token")[:_MAC]


def _text(token: bytes) -> str:
    return base64.urlsafe_b64encode(token).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    """Returns the bytes of a token. Raises ValueError if it is malformed or too long."""
    if len(text) > _LONGEST_TOKEN:
        raise ValueError
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _filters(request: Message) -> bytes:
    """Returns the parts of a request that a token is bound to: the rpc (by the name of its request
    message) and the filters, without the token, the page size, and times.
    """
    filters = type(request)()
    filters.CopyFrom(request)
    for field in {"page_token", "page_size", "resume_token"} & set(
        request.DESCRIPTOR.fields_by_name
    ):
        filters.ClearField(field)
    _leave_out_times(filters)
    return (
        request.DESCRIPTOR.full_name.encode()
        + b"\0"
        + filters.SerializeToString(deterministic=True)
    )


def _leave_out_times(message: Message) -> None:
    """Clears all times of a message: a filter such as "due before now" changes between two pages
    without changing their order.
    """
    for field, value in message.ListFields():
        if field.message_type is None or field.is_repeated:
            continue
        if field.message_type.full_name == Timestamp.DESCRIPTOR.full_name:
            message.ClearField(field.name)
        else:
            _leave_out_times(value)


def page_size(requested: int, *, default: int, maximum: int, path: str = "page_size") -> int:
    """Returns the number of rows of a page: the requested number up to `maximum`; for 0, `default`.

    Raises Invalid (path, out_of_range) for a number below 0.
    """
    if requested < 0:
        raise Invalid((path, "out_of_range"))
    return min(requested or default, maximum)


# --- masks and ids


def mask_names(update_mask: FieldMask, allowed: Collection[str]) -> frozenset[str]:
    """Returns the fields of an update mask.

    Raises Invalid (update_mask, required) for an empty mask, and (update_mask, unknown_code) for a
    field that can't be changed.
    """
    paths = frozenset(update_mask.paths)
    if not paths:
        raise Invalid(("update_mask", "required"))
    if not paths.issubset(allowed):
        raise Invalid(("update_mask", "unknown_code"))
    return paths


def with_stored_parts(requested: P, stored: P, update_mask: FieldMask) -> tuple[P, FieldMask]:
    """Returns `requested`, completed from `stored`, and a mask that names only whole fields.

    A mask may name a part of an object, such as `coarse.language`; the parts of that object that it
    does not name are then taken from `stored`. Raises Invalid (update_mask,
    unknown_code) for an unknown field.
    """
    descriptor: Any = requested.DESCRIPTOR  # its two implementations have no common type
    if not update_mask.IsValidForDescriptor(descriptor):
        raise Invalid(("update_mask", "unknown_code"))
    completed = type(requested)()
    completed.CopyFrom(requested)
    for name in {path.partition(".")[0] for path in update_mask.paths if "." in path}:
        getattr(requested, name).SetInParent()  # even if each of its parts is cleared
        getattr(completed, name).CopyFrom(getattr(stored, name))
    update_mask.MergeMessage(requested, completed, True, True)
    names = {path.partition(".")[0] for path in update_mask.paths}
    return completed, FieldMask(paths=sorted(names))


def optional_id(text: str, path: str) -> str:
    """Returns an id or "". Raises Invalid (path, malformed) for a text without the format of an
    id.
    """
    if text and not is_id(text):
        raise Invalid((path, "malformed"))
    return text


def without_repeats(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Returns a JSON object (`object_pairs_hook` of json). Raises ValueError if a name occurs
    twice, since one of its values would be lost.
    """
    if len(values := dict(pairs)) < len(pairs):
        raise ValueError("a name occurs twice in one object")
    return values
