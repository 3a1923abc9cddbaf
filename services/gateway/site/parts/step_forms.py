"""The steps of a referral as forms, derived from the contract.

Each rpc at /referrals/{id}/STEP, except for steps with pages of their own, becomes a form with a
question for each field of its request. The referral itself lists the steps that are allowed. This
module adds only the kinds of some questions, and which steps are grave: the form of a grave step
looks like a warning.
"""

from dataclasses import dataclass
from typing import Any

from google.api import annotations_pb2
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis.shape import shape
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.site.language import _, words
from services.gateway.site.parts import forms

_STEP = "/api/v1/referrals/{id}/"
_CARRIED = ("id", "etag", "request_id")  # every form carries these fields without asking for them
_WITH_OWN_PAGE = ("send", "attach_consent")  # steps with pages of their own
_GRAVE = frozenset(
    {"decline", "not_deliver", "withdraw", "close_need", "reroute", "enter_in_error"}
)
# Kinds of questions that do not follow from the type of the field.
_KINDS = {
    "planned_first_contact_time": "next",
    "first_contact_time": "now",  # mostly the current time, so the form starts with that
    "review_time": "date",
    "note": "note",
    "responsible_worker_id": "worker",
    "alternative_service_id": "service",
    "service_id": "service",
}


@dataclass(frozen=True)
class Question:
    """A question in a form.

    `kind` is choice, note, moment, now, next, date, days, worker, needs or service; `table` names
    the table of words for a choice.
    """

    name: str
    kind: str
    table: str
    required: bool

    @property
    def choices(self) -> list[tuple[str, str]]:
        """Returns the codes of a choice with their words; a reason `other` asks for a note."""
        code_with_note = "other" if self.table.endswith("_reason") else ""
        return [
            (code, _("%(reason)s (explíquelo)", reason=word) if code == code_with_note else word)
            for code, word in words.options(self.table)
        ]


@dataclass(frozen=True)
class StepForm:
    """A step: its rpc and its questions.

    A `grave` step ends something, and its form looks like a warning.
    """

    rpc: MethodDescriptor
    asks: tuple[Question, ...]
    grave: bool

    def request(self, **known_fields: str) -> Message:
        """Returns the request of the rpc, filled from the sent form."""
        return forms.filled(GetMessageClass(self.rpc.input_type)(**known_fields))

    def missing(self) -> dict[str, str]:
        """Returns the required questions that were left empty, each with its problem.

        The page can then show them before a service refuses.
        """
        filled_names = {field.name for field, _value in self.request().ListFields()}
        return {
            ask.name: words.violation("required", ask.name)
            for ask in self.asks
            if ask.required and ask.name not in filled_names
        }


def _question(field: FieldDescriptor) -> Question:
    enum: Any = field.enum_type
    usual_kinds = {
        FieldDescriptor.TYPE_ENUM: "choice",
        FieldDescriptor.TYPE_MESSAGE: "moment",
        FieldDescriptor.TYPE_INT32: "days",
    }
    return Question(
        field.name,
        _KINDS.get(field.name) or usual_kinds.get(field.type, "needs"),
        words.kind_of(enum) if enum else "",
        shape(field).required,
    )


def _questions(rpc: MethodDescriptor) -> tuple[Question, ...]:
    """Returns the questions of a step: required questions first, the note last."""
    return tuple(
        sorted(
            (_question(field) for field in rpc.input_type.fields if field.name not in _CARRIED),
            key=lambda ask: (ask.kind == "note", not ask.required),
        )
    )


STEPS: dict[str, StepForm] = {
    step: StepForm(rpc, _questions(rpc), step in _GRAVE)
    for rpc in r.DESCRIPTOR.services_by_name["Referrals"].methods
    if (path := rpc.GetOptions().Extensions[annotations_pb2.http].post).startswith(_STEP)
    and (step := path.removeprefix(_STEP).replace("-", "_")) not in _WITH_OWN_PAGE
}
