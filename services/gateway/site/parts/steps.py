"""The next step of a referral as a page shows it: who must act, and the button for it.

The service decides what is allowed and whose turn it is.
"""

from typing import Any

from flask import url_for

from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.site.language import _, vocabulary, words
from services.gateway.site.parts import step_forms
from services.gateway.site.parts.names import Names

# main steps with pages of their own instead of a form on the referral's page
WITH_OWN_PAGE = ("send", "refer_again")
ICONS = {
    "draft": "draft", "sent": "referral", "acknowledged": "seen", "info_requested": "question",
    "waitlisted": "wait", "accepted": "done",
    "in_progress": "help", "completed": "done", "closed": "done",
}  # fmt: skip


# `_WAY` has the states of a referral that goes well, in their order. `_REACHED` has, for other
# states, the index in `_WAY` of the last state that was reached.
_WAY = ("sent", "acknowledged", "accepted", "in_progress", "closed")
_REACHED = {"draft": -1, "info_requested": 1, "waitlisted": 2, "completed": 3}


def progress(referral: r.Referral) -> list[tuple[str, str, bool]]:
    """Returns the points of a referral's progress line: five, or two for a referral that stopped.

    A point has its text, its look (past, stopped or empty), and whether it is the current state.
    The two points are the sending, or the draft if it was never sent, and the state in which the
    referral stopped.
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
    if step not in step_forms.STEPS:  # there is no main step, or it is newer than this gateway
        return None
    is_post = not step_forms.STEPS[step].asks  # a step without questions is taken with one tap
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
    name = names.organization(
        referral.sender_organization_id if sender else referral.receiver_organization_id
    )
    return (
        _("Le toca a %(organization)s", organization=name)
        if sender
        else _("Esperamos respuesta de %(organization)s", organization=name)
    )


def reason_text(event: r.ReferralEvent) -> str:
    """Returns the reason that was given with a step, in words; "" if there was none."""
    for step, form in step_forms.STEPS.items():
        question = next((ask for ask in form.asks if ask.kind == "choice"), None)
        if question and event.reason_code and vocabulary.STEPS[step].event_verb == event.verb:
            return words.word(question.table, event.reason_code)
    return ""


def state_icon(referral: r.Referral) -> str:
    """Returns the symbol of a referral's state; a cross if the referral ended without help."""
    return ICONS.get(words.code("state", referral.state), "close")
