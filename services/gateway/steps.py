"""What comes next for a referral: who must act, and the one button that does it. The services say what is allowed, this picks the first."""

from dataclasses import dataclass

from flask import url_for

from protos.referrals.v1 import referrals_pb2 as r
from services.gateway import words
from services.gateway.i18n import gettext as _
from services.gateway.names import Names

# The step that moves things on, in the order in which it is offered; what only ends or delays is never the first button.
FORWARD = ("send", "acknowledge", "accept", "answer", "start", "complete", "close")
AT_ONCE = ("acknowledge",)  # needs no form: one tap does it
SENDER_ACTS = {r.STATE_DRAFT, r.STATE_INFO_REQUESTED, r.STATE_COMPLETED, r.STATE_DECLINED, r.STATE_EXPIRED, r.STATE_NOT_DELIVERED}
RECEIVER_ACTS = {r.STATE_SENT, r.STATE_ACKNOWLEDGED, r.STATE_WAITLISTED, r.STATE_ACCEPTED, r.STATE_IN_PROGRESS}
REROUTE = {r.STATE_DECLINED, r.STATE_EXPIRED, r.STATE_NOT_DELIVERED}


@dataclass(frozen=True)
class Step:
    """A button: a link to where it is done, or a form that does it at once (`post`)."""

    label: str
    href: str
    post: bool = False


def verbs(referral: r.Referral) -> list[str]:
    """What this caller may do, named as in our tables, the step forward first."""
    allowed = [verb.replace("-", "_") for verb in referral.allowed_verbs]
    return [v for v in FORWARD if v in allowed] + [v for v in allowed if v not in FORWARD]


def next_step(referral: r.Referral) -> Step | None:
    """The one primary button of a row, or None when it is another's turn."""
    allowed = verbs(referral)
    if referral.state == r.STATE_DRAFT and referral.side == r.SIDE_SENDER:
        return Step(_("Seguir y enviar"), url_for("referral_new.resume", identifier=referral.id))
    if referral.state in REROUTE and referral.side == r.SIDE_SENDER:
        return Step(_("Buscar otro servicio"), url_for("referral_new.reroute", identifier=referral.id))
    for verb in FORWARD:
        if verb in allowed and verb != "send":
            if verb in AT_ONCE:
                return Step(words.word("verb", verb), url_for("referral.act", identifier=referral.id, verb=verb), post=True)
            return Step(words.word("verb", verb), url_for("referral.show", identifier=referral.id, _anchor=verb))
    return None


def who_acts(referral: r.Referral, names: Names) -> str:
    """Whose turn it is, in words; empty when it is nobody's."""
    mine = {r.SIDE_SENDER: SENDER_ACTS, r.SIDE_RECEIVER: RECEIVER_ACTS}.get(referral.side, set())
    if referral.state in mine:
        return _("Le toca a su organización")
    if referral.state in SENDER_ACTS:
        return _("Se espera a %(organization)s", organization=names.organization(referral.sender_organization_id))
    if referral.state in RECEIVER_ACTS:
        return _("Se espera a %(organization)s", organization=names.organization(referral.receiver_organization_id))
    return ""


def tone(referral: r.Referral) -> str:
    """The colour of the state's pill: done, stopped, waiting or plain; the word says it too."""
    if referral.state in (r.STATE_CLOSED, r.STATE_ACCEPTED, r.STATE_IN_PROGRESS, r.STATE_COMPLETED):
        return "done"
    if referral.state in REROUTE | {r.STATE_CONSENT_WITHDRAWN}:
        return "late"
    if referral.state in (r.STATE_SENT, r.STATE_INFO_REQUESTED, r.STATE_WAITLISTED):
        return "soon"
    return "plain"
