"""What codes are called: every code that a service may answer, in words that a person at a desk would use.

One table a kind, Spanish first; `word(kind, code)` gives the word in the reader's language. A code that is new to this file is shown as
it is: better a strange word than a broken page.
"""

import re
from collections.abc import Mapping
from math import ceil
from typing import Any

from babel import Locale, UnknownLocaleError

from chassis import wire
from protos.contract.v1 import contract_pb2
from protos.notifications.v1 import notifications_pb2
from protos.partners.v1 import directory_pb2, members_pb2
from protos.referrals.v1 import contacts_pb2, people_pb2, referrals_pb2
from services.gateway import i18n, vocabulary
from services.gateway.i18n import gettext as _

# Kinds whose codes are protobuf enums.
ENUMS: Mapping[str, Any] = {
    "state": referrals_pb2.State,
    "urgency": referrals_pb2.Urgency,
    "clock": referrals_pb2.ClockKind,
    "field_group": people_pb2.FieldGroup,
    "answer": contacts_pb2.Answer,
    "organization_type": directory_pb2.OrganizationType,
    "organization_status": directory_pb2.OrganizationStatus,
    "gender": directory_pb2.Gender,
    "intake": directory_pb2.Intake,
    "verdict": directory_pb2.Verdict,
    "role": contract_pb2.Role,
    "worker_status": members_pb2.WorkerStatus,
    "delivery": notifications_pb2.DeliveryStatus,
    "override_reason": referrals_pb2.OverrideReason,
    "question": referrals_pb2.Question,
    "decline_reason": referrals_pb2.DeclineReason,
    "withdraw_reason": referrals_pb2.WithdrawReason,
    "not_delivered_reason": referrals_pb2.NotDeliveredReason,
    "outcome": referrals_pb2.Outcome,
    "help_came": referrals_pb2.HelpCame,
    "age_band": referrals_pb2.AgeBand,
    "person_gender": referrals_pb2.PersonGender,
    "actor": referrals_pb2.ActorKind,
    "trafficking_status": people_pb2.TraffickingStatus,
    "safe_channel": people_pb2.SafeChannel,
    "giver": people_pb2.Giver,
    "assent": people_pb2.Assent,
    "manner": people_pb2.Manner,
    "explained": people_pb2.Explained,
    "campaign": contacts_pb2.Campaign,
    "contact_kind": contacts_pb2.ContactKind,
    "speaker": contacts_pb2.Speaker,
    "pathway": contacts_pb2.Pathway,
    "contact_outcome": contacts_pb2.ContactOutcome,
    "time_band": contacts_pb2.TimeBand,
    "reference_status": contacts_pb2.ReferenceState,
    "unit": directory_pb2.CapacityUnit,
    "notice_channel": notifications_pb2.NoticeChannel,
    "disabled_reason": notifications_pb2.DisabledReason,
    "delivery_error": notifications_pb2.DeliveryError,
}
OFFERED = frozenset(
    "override_reason question decline_reason withdraw_reason not_delivered_reason outcome help_came age_band person_gender trafficking_status safe_channel "
    "giver assent manner explained campaign contact_kind speaker contact_outcome unit".split()
)
"""Of these the code lists, which forms offer whole."""


def code(kind: str, value: str | int) -> str:
    """The word of an enum's value in the contract: STATE_SENT is `sent`, unspecified is empty; what came from a form is one already."""
    return wire.words(ENUMS[kind].DESCRIPTOR).get(value, "") if isinstance(value, int) else value


def number(kind: str, text: str) -> Any:
    """The enum's value of such a word; 0 for what is none. (Any: each enum's values have a type of their own to a type checker.)"""
    return wire.number(ENUMS[kind], text)


def word(kind: str, value: str | int) -> str:
    """The word for a code or an enum's value, in the reader's language."""
    text = code(kind, value) if isinstance(value, int) else value
    found = spanish(kind, text)
    return _(found) if found else text.replace("_", " ")


def spanish(kind: str, text: str) -> str | None:
    """The word of the table, as it is looked up in the catalogues; None for a code that the table does not know."""
    table = vocabulary.TABLES[kind]
    return table.get(text) or table.get(text.lower()) or table.get(text.replace("-", "_"))


def snake(text: str) -> str:
    """HTCDS writes TransgenderFeminine where our enums say transgender_feminine."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", text).lower()


def options(kind: str) -> list[tuple[str, str]]:
    """All codes of a kind with their words, for a form, in the order of the table."""
    return [(key, _(text)) for key, text in vocabulary.TABLES[kind].items() if key]


def country(alpha2: str) -> str:
    """A country's name."""
    return str(i18n.locale().territories.get(alpha2, alpha2)) if alpha2 else "–"


def language(tag: str) -> str:
    """A language's name in the reader's language."""
    try:
        return str(Locale.parse(tag, sep="-").get_display_name(i18n.language()) or tag)
    except (ValueError, UnknownLocaleError):
        return tag or "–"


def department(subdivision: str) -> str:
    """A department's name; they are the same in all languages."""
    return vocabulary.DEPARTMENTS.get(subdivision, subdivision) or "–"


def field(path: str) -> str:
    """What a field of a request is called on the page."""
    return word("field", path.rsplit(".", 1)[-1])


def violation(reason: str) -> str:
    """What is wrong with a field, and what to do."""
    return word("violation", reason) if reason in vocabulary.TABLES["violation"] else _("no es válido")


def conflict(reason: str) -> str:
    """Why something is not possible now, and what to do."""
    found = vocabulary.TABLES["conflict"].get(reason)
    return _(found) if found else _("No es posible en este estado. Vuelva a abrir la página para ver qué se puede hacer.")


def wait(seconds: float) -> str:
    """How long until another try."""
    if seconds > 5400:
        return i18n.ngettext("Espere %(num)d hora y pruebe otra vez.", "Espere %(num)d horas y pruebe otra vez.", ceil(seconds / 3600))
    minutes = max(1, ceil(seconds / 60))
    return i18n.ngettext("Espere %(num)d minuto y pruebe otra vez.", "Espere %(num)d minutos y pruebe otra vez.", minutes)
