"""The languages in which an advice card must be written before it is published.

Each of these languages has its own field in the message of an advice card.
"""

from protos.referrals.v1.advice_pb2 import AdviceCard, AdviceText

REQUIRED = tuple(
    field.name
    for field in AdviceCard.DESCRIPTOR.fields
    if field.message_type is AdviceText.DESCRIPTOR and not field.is_repeated
)
