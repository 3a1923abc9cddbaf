"""The envelope of a fact: CloudEvents 1.0 in Kafka's binary mode, signed by the service that
publishes it.

Attributes travel as `ce_…` headers, and the body is the bare protobuf message. The signature
(Ed25519, header `enlace-signature`) covers id, type, source, time, body and, if present, the epoch
and its base. So write access to the topic is not enough to publish in a service's name.

The header `traceparent` names the request that caused the fact. It is not signed, since no decision
depends on it.

The extension attributes `epoch` and `epochbase` are present only after the service's store was
restored from a copy (facts.outbox explains them).
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from cloudevents.core.base import BaseCloudEvent, EventFactory
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary, to_binary
from cloudevents.core.v1.event import CloudEvent

from chassis import trace
from facts.outbox import Fact
from keys.sealing import SignatureVerifier, Signer

CONTENT_TYPE = "application/protobuf"
SIGNATURE = "enlace-signature"
_EPOCH, _BASE = "epoch", "epochbase"
_SUBJECT = r"[0-9a-zA-Z_-]{1,64}"
_ID = re.compile(rf"({_SUBJECT})/([1-9][0-9]{{0,17}})")
# Limits of the values that a consumer's database can store and read back.
_TYPE = re.compile(r"[!-~]{1,200}")
_LARGEST_EPOCH = 2**40  # seconds; leaves room for the next epoch
_LARGEST_BASE = 10**18
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


class Unreadable(Exception):
    """Raised if a record is not a valid fact (`reason`: headers, source, signature), or if no
    consumer could store its values (`reason`: limits).
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NewerKind(Exception):
    """Raised by a handler that does not know this kind of fact. A later version of the publisher
    published the fact, so this consumer can't judge what it would miss if it ignored the fact.
    """


class _Protobuf:
    """A CloudEvents format for a body that already consists of bytes."""

    def read(self, event_factory: EventFactory | None, data: str | bytes) -> BaseCloudEvent:
        raise ValueError("binary mode only")

    def write(self, event: BaseCloudEvent) -> bytes:
        raise ValueError("binary mode only")

    def write_data(
        self, data: dict[str, Any] | str | bytes | None, datacontenttype: str | None
    ) -> bytes:
        if not isinstance(data, bytes):
            raise ValueError("bytes only")
        return data

    def read_data(self, body: bytes, datacontenttype: str | None) -> bytes:
        return body

    def get_content_type(self) -> str:
        return CONTENT_TYPE


def pack(fact: Fact, source: str, signer: Signer) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
    """Returns key, body and headers of the Kafka record for a fact of `source`
    (enlace/<service>).
    """
    extensions = {_EPOCH: fact.epoch, _BASE: fact.base} if fact.epoch else {}
    event = CloudEvent(
        {
            **extensions,
            "id": f"{fact.subject}/{fact.version}",
            "type": fact.type,
            "source": source,
            "subject": fact.subject,
            "time": fact.time,
            "datacontenttype": CONTENT_TYPE,
            "specversion": "1.0",
        },
        fact.payload,
    )
    message = to_binary(event, _Protobuf(), key_mapper=lambda e: e.get_subject())
    signature = signer.sign(_signed_bytes(message.headers, message.value))
    headers = [*message.headers.items(), (SIGNATURE, signature)]
    if fact.trace:
        headers.append((trace.HEADER, trace.parent(fact.trace).encode()))
    return fact.subject.encode(), message.value, headers


def unpack(
    headers: Iterable[tuple[str, bytes]],
    body: bytes | None,
    trusted_signers: Mapping[str, SignatureVerifier],
) -> Fact:
    """Returns the fact in a record.

    Raises Unreadable unless the record is valid and was signed by its source, which must be one of
    `trusted_signers`.
    """
    header_list = list(headers)
    headers_by_name = dict(header_list)
    # The library ignores the case of names, and the signature covers the values under their names
    # in lower case. So a record is refused if the names of two headers differ at most in case.
    if (
        len({name.lower() for name, _ in header_list}) < len(header_list)
        or None in headers_by_name.values()
    ):
        raise Unreadable("headers")
    signature = headers_by_name.pop(SIGNATURE, b"")
    trace_id = trace.id_of(
        (headers_by_name.pop(trace.HEADER, b"") or b"").decode("ascii", "replace")
    )
    try:
        event = from_binary(KafkaMessage(headers_by_name, None, body or b""), _Protobuf())
        match = _ID.fullmatch(event.get_id())
        time = event.get_time()
        epoch, base = (int(headers_by_name.get(f"ce_{name}", b"0")) for name in (_EPOCH, _BASE))
    except Exception as error:
        # CloudEvents and the decoders raise errors of many classes, all for malformed headers
        raise Unreadable("headers") from error
    if (
        match is None
        or time is None
        or time.tzinfo is None
        or event.get_subject() != match[1]
        or body is None
    ):
        raise Unreadable("headers")
    verifier = trusted_signers.get(event.get_source())
    if verifier is None:
        raise Unreadable("source")
    if not verifier.is_valid(signature, _signed_bytes(headers_by_name, body)):
        raise Unreadable("signature")
    kind = event.get_type()
    if not (
        _TYPE.fullmatch(kind)
        and 0 <= epoch < _LARGEST_EPOCH
        and 0 <= base < _LARGEST_BASE
        and _EARLIEST <= time < _LATEST
    ):
        raise Unreadable("limits")
    return Fact(match[1], int(match[2]), kind, body, time, epoch, base, trace_id)


def is_subject(value: bytes) -> bool:
    """Returns True if a fact can have this subject."""
    return re.fullmatch(_SUBJECT.encode(), value) is not None


def _signed_bytes(headers: Mapping[str, bytes], body: bytes) -> bytes:
    names = ["ce_id", "ce_type", "ce_source", "ce_time"]
    # If a fact has no epoch, the signed bytes are the same as in releases that predate epochs, so
    # that old and new releases can run side by side.
    names += [f"ce_{name}" for name in (_EPOCH, _BASE) if f"ce_{name}" in headers]
    return b"\n".join(headers.get(name, b"") for name in names) + b"\n" + body
