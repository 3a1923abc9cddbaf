"""The REST binding of an rpc: method and path (both from google.api.http), headers and query.

Conventions by field name: `etag` comes from If-Match, `request_id` from Idempotency-Key, and
`update_mask` from the fields of the body and of its objects; `page_token` and `page_size` are
called `cursor` and `limit`. A name in the query is looked up in the request and in its `filter`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, cast

from google.api import annotations_pb2
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis import contract
from chassis.errors import Invalid
from chassis.shape import MASK_FIELD, FieldType, shape
from services.gateway.api.answers import PREFIX
from services.gateway.api.convert import from_json
from services.gateway.api.reading import if_match, request_key
from services.gateway.edge.clients import send
from services.gateway.edge.problems import PARAMETERS, REASONS

JsonObject = dict[str, Any]
_FIELD_OF_PARAMETER = {parameter: name for name, parameter in PARAMETERS.items()}
_VARIABLE = re.compile(r"\{([a-z_.]+)\}")
# The singular of each collection whose singular is not just its name without the s.
_ITEM_NAMES = {
    "people": "person",
    "anomalies": "anomaly",
    "deliveries": "delivery",
    "notifications": "message",
}
# Operations that are not named after their rpc: the second binding of an rpc, and operations that
# keep a name that clients already use.
OPERATIONS = {
    ("SearchServices", "get"): "list_services",
    ("BatchGet", "post"): "look_up",
    ("EnterReferralInError", "post"): "enter_in_error_referral",
}


@dataclass(frozen=True)
class Binding:
    """One way to call an rpc.

    `body` is `*` (the whole request), the name of the field that the body fills, or empty.
    """

    rpc: MethodDescriptor
    verb: str
    path: str
    body: str

    @cached_property
    def rules(self) -> contract.Rules:
        """Returns the roles and scopes that may call the rpc, and its refusals."""
        return contract.rules(self.rpc)

    @cached_property
    def variables(self) -> dict[str, str]:
        """Returns the field path for each argument of the view, as in referral_id → referral.id."""
        parts = self.path.split("/")
        return {
            _argument(parts[number - 1], match[1]): match[1]
            for number, part in enumerate(parts)
            if (match := _VARIABLE.match(part))
        }

    @cached_property
    def flask_route(self) -> str:
        """Returns the path as a Flask route, without the prefix."""
        names = iter(self.variables)
        return _VARIABLE.sub(lambda _: f"<opaque:{next(names)}>", self.path.removeprefix(PREFIX))

    @cached_property
    def target(self) -> Any:
        """Returns the descriptor of the message that the body fills."""
        return (
            self.rpc.input_type
            if self.body in ("", "*")
            else self.rpc.input_type.fields_by_name[self.body].message_type
        )

    @property
    def creates(self) -> bool:
        """Returns whether the rpc creates a resource and answers with it."""
        return self.verb == "post" and self.rpc.name.startswith("Create")

    @property
    def takes_etag(self) -> bool:
        """Returns whether the rpc changes a resource that has an etag."""
        messages = (self.rpc.input_type, self.target)
        return (
            self.verb != "get"
            and not self.creates
            and any("etag" in message.fields_by_name for message in messages)
        )

    @property
    def needs_etag(self) -> bool:
        """Returns whether a request without an etag is refused.

        In the .proto, an etag that may be left out is marked as optional.
        """
        holder = self.target if "etag" in self.target.fields_by_name else self.rpc.input_type
        return "etag" in holder.fields_by_name and not shape(holder.fields_by_name["etag"]).optional

    @property
    def operation_id(self) -> str:
        """Returns the name of the operation in the OpenAPI document."""
        return OPERATIONS.get((self.rpc.name, self.verb)) or contract.words_of(self.rpc.name)

    @property
    def is_repeatable(self) -> bool:
        """Returns whether the operation accepts an Idempotency-Key."""
        return "request_id" in self.rpc.input_type.fields_by_name

    @property
    def statuses(self) -> set[int]:
        """Returns the HTTP statuses of the refusals that the .proto names."""
        return {REASONS[reason].status for reason in self.rules.refusals}

    @property
    def required_right(self) -> str:
        """Returns what a caller needs: the scope of an API key, roles, "any worker", or "public".

        Returns "reference and PIN" for a public operation that requires these two.
        """
        rules = self.rules
        if rules.public:
            return (
                "reference and PIN"
                if "pin" in self.rpc.input_type.fields_by_name
                and "reference" in self.rpc.input_type.fields_by_name
                else "public"
            )
        if rules.scope or "WORKER" in rules.roles:
            return rules.scope or "any worker"
        return " or ".join(
            role.lower() for role in ("MANAGER", "COORDINATOR", "AUDITOR") if role in rules.roles
        )

    def request(self, input_values: JsonObject, variables: Mapping[str, str]) -> Any:
        """Returns the request message, from a body or query that the schema has accepted."""
        request: Any = GetMessageClass(self.rpc.input_type)()
        target = request if self.body in ("", "*") else getattr(request, self.body)
        target.SetInParent()  # even if the body is {}
        if self.takes_etag:
            (target if "etag" in self.target.fields_by_name else request).etag = if_match(
                self.needs_etag
            )
        mask = self.rpc.input_type.fields_by_name.get(MASK_FIELD)
        for name, value in input_values.items():
            message, field = next(_destinations(request, target, name))
            if value is None and _is_flag(message.DESCRIPTOR.fields_by_name[field]):
                raise Invalid((name, "required"))  # a cleared flag would become false
            from_json({field: value}, message)
        # a mask names only fields of the resource
        input_values = {
            name: value
            for name, value in input_values.items()
            if name in self.target.fields_by_name
        }
        for argument, path in self.variables.items():
            *outer, field = path.split(".")
            setattr(getattr(request, outer[0]) if outer else request, field, variables[argument])
        if mask is not None:
            if shape(mask).optional:  # null clears a field, and an empty text changes nothing
                input_values = {name: value for name, value in input_values.items() if value != ""}
            request.update_mask.paths.extend(sorted(_mask_paths(input_values)))
        if self.is_repeatable:
            request.request_id = request_key()
        return request

    def ask(self, request: Message) -> Message:
        """Calls the rpc on the caller's behalf."""
        return cast(Message, send(request))

    def location_of(self, resource: Message) -> str:
        """Returns the path of a new resource, below the prefix; "" if no rpc reads it."""
        path = bindings(self.read_rpc)[0].path.removeprefix(PREFIX) if self.read_rpc else ""
        return _VARIABLE.sub(lambda _: str(getattr(resource, "id", "")), path)

    @property
    def read_rpc(self) -> MethodDescriptor | None:
        """Returns the rpc that reads the resource that this rpc creates; None if there is none."""
        return self.rpc.containing_service.methods_by_name.get(
            f"Get{self.rpc.name.removeprefix('Create')}"
        )


@cache
def bindings(rpc: MethodDescriptor) -> tuple[Binding, ...]:
    """Returns the REST bindings of an rpc, in the order of the .proto; empty if it has none."""
    options = rpc.GetOptions()
    if not options.HasExtension(annotations_pb2.http):
        return ()
    rule = options.Extensions[annotations_pb2.http]
    return tuple(
        Binding(rpc, verb, getattr(http_rule, verb), http_rule.body)
        for http_rule in (rule, *rule.additional_bindings)
        if (verb := http_rule.WhichOneof("pattern"))
    )


def _argument(collection: str, variable: str) -> str:
    """Returns the name of a view's argument: referral_id for {id} or {referral.id} below
    /referrals.
    """
    field = variable.rpartition(".")[2]
    return (
        field
        if field != "id"
        else f"{_ITEM_NAMES.get(collection, collection.removesuffix('s')).replace('-', '_')}_id"
    )


def _is_flag(field: FieldType) -> bool:
    """Returns whether the field is a boolean that is never absent."""
    return field.type == FieldDescriptor.TYPE_BOOL and not field.has_presence


def _mask_paths(patch: JsonObject, prefix: str = "") -> Iterator[str]:
    """Yields the mask of a merge patch (RFC 7396), which changes only the named parts of objects.

    A mask names no part of a list, so a list is replaced as a whole.
    """
    for name, value in patch.items():
        if isinstance(value, dict):
            yield from _mask_paths(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _destinations(request: Message, target: Message, name: str) -> Iterator[tuple[Message, str]]:
    """Yields each message that can hold the value called `name`, with the name of its field.

    Looks in the body's message, in the request, and in the request's filter, in this order.
    """
    field_names = [name, _FIELD_OF_PARAMETER.get(name, name)]
    # mypy does not know the fields of a message
    inner = [getattr(request, "filter")] if "filter" in request.DESCRIPTOR.fields_by_name else []  # noqa: B009
    for message in (target, request, *inner):
        for field_name in field_names:
            if field_name in message.DESCRIPTOR.fields_by_name:
                yield message, field_name
