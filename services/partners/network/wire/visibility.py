"""Removes the fields of a message that its reader may not see.

Fields above the reader's tier are removed only here, for rpc, REST, pages, search and export alike.
A field has the tier that its option (contract.v1.field) names, or else its message's tier. A
message without a tier can only be nested in another message, and is shown or removed as a field of
that message.
"""

from collections.abc import Mapping
from functools import cache
from typing import TypeVar

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from protos.contract.v1 import contract_pb2
from services.partners.network.domain.visibility import NO_CHOSEN_TIERS, Tier, sees

M = TypeVar("M", bound=Message)


def visible_part(message: M, tier: Tier, chosen_tiers: Mapping[str, Tier] = NO_CHOSEN_TIERS) -> M:
    """Clears, in place, the fields that a reader of this tier may not see; returns the message.

    `chosen_tiers`: the tiers that the member chose, by field. Fields of nested messages are not
    checked.
    """
    for name in _hidden(message.DESCRIPTOR, tier):
        message.ClearField(name)
    tier_by_field = tiers(message.DESCRIPTOR)
    for name in chosen_tiers.keys() & tier_by_field.keys():
        if not sees(tier, tier_by_field[name], chosen_tiers[name]):
            message.ClearField(name)
    return message


@cache
def _hidden(message: Descriptor, tier: Tier) -> list[str]:
    return [name for name, field_tier in tiers(message).items() if not sees(tier, field_tier, None)]


@cache
def tiers(message: Descriptor) -> Mapping[str, Tier]:
    """Returns the tier of each field, by name.

    Raises TypeError if the message has no tier: a message that is shown must state who may see it.
    """
    message_tier = message.GetOptions().Extensions[contract_pb2.tier]
    if not message_tier:
        raise TypeError(
            f"{message.full_name} has no option (contract.v1.tier) that states who may see it"
        )
    return {
        field.name: Tier(field.GetOptions().Extensions[contract_pb2.field].tier or message_tier)
        for field in message.fields
    }
