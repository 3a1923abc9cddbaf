"""A notice: the fact that causes it, its recipients, and its text in Spanish."""

from dataclasses import dataclass
from enum import Enum


class Party(Enum):
    """The recipients of a notice, by their part in the referral or in what happened."""

    RECEIVER = "receiver"  # the receiver's desk
    # the receiver, unless the receiver itself acted
    RECEIVER_UNLESS_ACTOR = "receiver_unless_actor"
    SENDER = "sender"  # the sender's desk, and the worker who sent the referral
    # the sender, unless the sender itself acted
    SENDER_UNLESS_ACTOR = "sender_unless_actor"
    COORDINATION = "coordination"
    # The coordinators, and no desk: the organisation concerned has no desk yet, or no part in the
    # matter. One message of a kind a day, however many facts there are.
    COORDINATION_ALONE = "coordination_alone"
    COORDINATION_PER_FACT = "coordination_per_fact"  # the coordinators, and no desk, for each fact
    # the coordinators, for each fact about an organisation with fewer than two managers
    COORDINATION_FOR_LONE_MANAGER = "coordination_for_lone_manager"
    REMINDED = "reminded"  # the side that is expected to act; the fact names it
    # each auditor except the worker concerned; the coordinators if there is no such auditor
    AUDITORS = "auditors"
    MANAGERS = "managers"  # each manager of the organisation, and the worker who acted
    # the receiver's responsible worker, unless she acted herself; if no worker is responsible, the
    # recipients of RECEIVER_UNLESS_ACTOR
    RESPONSIBLE = "responsible"


RECEIVER = (Party.RECEIVER,)
SENDER = (Party.SENDER,)
BOTH = (Party.RECEIVER, Party.SENDER)
RECEIVER_AND_SENDER_UNLESS_ACTOR = (Party.RECEIVER, Party.SENDER_UNLESS_ACTOR)
OTHER_SIDE = (Party.RECEIVER_UNLESS_ACTOR, Party.SENDER_UNLESS_ACTOR)
OVERSEEING = (Party.SENDER, Party.COORDINATION)
ALL = (Party.RECEIVER, Party.SENDER, Party.COORDINATION)


@dataclass(frozen=True)
class Notice:
    """A row of the table of notices.

    `verb` is the verb of the fact about a referral that causes the notice. `fact` names a fact
    about another subject instead, e.g. `receipt.proposed`. Both are empty for a notice that has a
    rule of its own. `parties` is empty for a notice to the desk concerned, and for a notice whose
    recipients are chosen elsewhere.
    """

    kind: str
    verb: str
    parties: tuple[Party, ...]
    text: str
    fact: str = ""
