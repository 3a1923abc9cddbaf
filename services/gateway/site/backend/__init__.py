"""Calls to the services that several pages need, each written once.

Pages choose what they show of an answer.
"""

from typing import TypeVar, cast

from google.protobuf.message import Message

from services.gateway.edge.clients import send

Answer = TypeVar("Answer")


def answer_or(default: Answer, request: Message, *refusals: type[Exception]) -> Answer:
    """Returns the answer of the rpc that has this type of request, or `default` if it is refused.

    `refusals` lists the kinds of refusals after which the page is still useful.
    """
    try:
        return cast(Answer, send(request))
    except refusals:
        return default
