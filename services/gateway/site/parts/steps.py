"""The steps of a referral: each as a form, and the next step with its button.

The service decides what is allowed and whose turn it is; the referral itself lists the steps that
are allowed. Each rpc at /referrals/{id}/STEP, except for steps with pages of their own, becomes a
form with a question for each field of its request. This module adds only the kinds of some
questions, and which steps are grave: the form of a grave step looks like a warning.
"""

from dataclasses import dataclass
from typing import Any

from flask import url_for
from google.api import annotations_pb2
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis.shape import shape
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.site.language import _, vocabulary, words
from services.gateway.site.parts import forms
from services.gateway.site.parts.names import Names

_STEP = "/api/v1/referrals/{id}/"
_CARRIED = ("id", "etag", "request_id")  # every form carries these fields without asking for them
_WITHOUT_FORM = ("send", "attach_consent")  # rpcs without a form: each has a page of its own
_GRAVE = frozenset(
    {"decline", "not_deliver", "withdraw", "close_need", "reroute", "enter_in_error"}
)
# Kinds of questions that do not follow from the type of the field.
_KINDS = {
    "planned_first_contact_time": "next",
    "first_contact_time": "now",  # usually the current time, so the form starts with that
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
    questions: tuple[Question, ...]
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
            question.name: words.violation("required", question.name)
            for question in self.questions
            if question.required and question.name not in filled_names
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
            key=lambda question: (question.kind == "note", not question.required),
        )
    )


STEPS: dict[str, StepForm] = {
    step: StepForm(rpc, _questions(rpc), step in _GRAVE)
    for rpc in r.DESCRIPTOR.services_by_name["Referrals"].methods
    if (path := rpc.GetOptions().Extensions[annotations_pb2.http].post).startswith(_STEP)
    and (step := path.removeprefix(_STEP).replace("-", "_")) not in _WITHOUT_FORM
}

# Values of `main_step` that lead to another page instead of a form on the referral's page.
MAIN_STEPS_WITH_OWN_PAGE = ("send", "refer_again")
ICONS = {
    "draft": "draft", "sent": "referral", "acknowledged": "seen", "info_requested": "question",
    "waitlisted": "wait", "accepted": "done",
    "in_progress": "help", "completed": "done", "closed": "done",
}  # fmt: skip


# `_WAY` has the states of a successful referral, in their order. `_REACHED` has the index of the
# point at which each other state is shown; -1 if no point has been reached.
_WAY = ("sent", "acknowledged", "accepted", "in_progress", "closed")
_REACHED = {"draft": -1, "info_requested": 1, "waitlisted": 2, "completed": 3}


def progress(referral: r.Referral) -> list[tuple[str, str, bool]]:
    """Returns the points of a referral's progress line: five, or two for a referral that stopped.

    A point is its text, its look (past, stopped or empty), and True if it is the current state. A
    referral that stopped has two points: `sent`, or `draft` if it was never sent, and the state in
    which it stopped.
    """
    state = words.code("state", referral.state)
    if state not in _WAY and state not in _REACHED:
        return [
            (
                words.word("state", "sent" if referral.HasField("send_time") else "draft"),
                "past",
                False,
            ),
            (words.word("state", state), "stopped", True),
        ]
    reached_index = _REACHED.get(state, _WAY.index(state) if state in _WAY else 0)
    return [
        (
            words.word("state", state if index == reached_index else point),
            "past" if index < reached_index else "",
            index == reached_index,
        )
        for index, point in enumerate(_WAY)
    ]


def next_step(referral: r.Referral) -> dict[str, Any] | None:
    """Returns the one primary button in a referral's row; None if there is no main step.

    The button is a link to the page of the step, or a form that takes the step at once (`post`).
    """
    step = referral.main_step
    if step == "send":
        return {
            "label": _("Seguir y enviar"),
            "href": url_for("referral_new.resume", identifier=referral.id),
        }
    if step == "refer_again":
        # If there is a following referral, it is still a draft: if it had been sent, the need would
        # no longer be open. The page for re-routing redirects to the draft.
        return {
            "label": _("Seguir con el borrador")
            if referral.following_id
            else _("Buscar otro servicio"),
            "href": url_for("referral_new.reroute", identifier=referral.id),
        }
    if step not in STEPS:  # there is no main step, or it is newer than this gateway
        return None
    is_post = not STEPS[step].questions  # a step without questions is taken with one tap
    return {
        "label": words.word("verb", step),
        "href": url_for("referral.act", identifier=referral.id, verb=step)
        if is_post
        else url_for("referral.show", identifier=referral.id, _anchor=step),
        "post": is_post,
    }


def who_acts(referral: r.Referral, names: Names) -> str:
    """Returns a text that says whose turn it is; "" if it is nobody's turn."""
    if not referral.turn:
        return ""
    if referral.state == r.STATE_ACCEPTED and any(
        leg.referral_id == referral.id and not leg.acting_organization_id for leg in referral.legs
    ):
        return _("Espera a las otras etapas del viaje")
    sender = referral.turn == r.TURN_SENDER
    if referral.side == (r.SIDE_SENDER if sender else r.SIDE_RECEIVER):
        return _("Le toca a su organización")
    identifier = referral.sender_organization_id if sender else referral.receiver_organization_id
    name = names.organization(identifier)
    if names.is_out(identifier):
        return _("%(organization)s está suspendida o se retiró: no contesta", organization=name)
    return (
        _("Le toca a %(organization)s", organization=name)
        if sender
        else _("Esperamos respuesta de %(organization)s", organization=name)
    )


def reason_text(event: r.ReferralEvent) -> str:
    """Returns the reason that was given with a step, in words; "" if there was none."""
    for step, form in STEPS.items():
        question = next((each for each in form.questions if each.kind == "choice"), None)
        if question and event.reason_code and vocabulary.STEPS[step].event_verb == event.verb:
            return words.word(question.table, event.reason_code)
    return ""


def state_icon(referral: r.Referral) -> str:
    """Returns the symbol of a referral's state; a cross if the referral ended without help."""
    return ICONS.get(words.code("state", referral.state), "close")
