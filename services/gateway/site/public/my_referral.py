"""The state of a request, for the person who made it and has its reference and PIN.

The pages use plain words and never show the name or place of a partner. Reference and PIN are sent
only in forms, never in a URL, and are not stored; each step on the page sends them again.
"""

from functools import partial

from flask import render_template

from protos.referrals.v1 import contacts_pb2 as c
from services.gateway.edge.clients import clients, send
from services.gateway.site.backend import references
from services.gateway.site.language import _, ngettext
from services.gateway.site.parts import forms
from services.gateway.site.shell import access

pages = access.Pages("my_referral")


@pages.get("/my-referral", access.ANYBODY)
def form(problem: str = "", reference: str = "") -> str:
    """Shows the form. If reference and PIN were rejected, shows it again with the problem."""
    return render_template("my_referral.html", problem=problem, reference=reference)


show_status = partial(references.show_status, again=form)
"""Reads the state, and shows `form` again if reference and PIN were rejected."""


@pages.post("/my-referral", access.ANYBODY)
def status() -> access.Answer:
    """Shows the state of the person's request, in plain words."""
    return show_status(references.ask_status)


@pages.post("/my-referral/confirm", access.ANYBODY)
def confirm() -> access.Answer:
    """Records whether help came."""
    rpc_request = forms.filled(c.ConfirmHelpRequest())
    rpc_request.help_came = forms.text("help_came") == "yes"
    thanks = (
        _("Gracias por decirlo.")
        if rpc_request.help_came
        else _("Gracias por decirlo. Avisamos que la ayuda no le llegó.")
    )
    return show_status(lambda: clients().references.ConfirmHelp(rpc_request), lambda status: thanks)


@pages.post("/my-referral/note", access.ANYBODY)
def note() -> access.Answer:
    return show_status(
        lambda: send(forms.filled(c.AddNoteByReferenceRequest())),
        lambda status: _("Anotado. Lo leen solo las líneas a las que usted llamó."),
    )


@pages.post("/my-referral/call", access.ANYBODY)
def call() -> access.Answer:
    """Records when the person can safely be called."""
    return show_status(
        lambda: send(forms.filled(c.AskForCallByReferenceRequest())),
        lambda status: _(
            "Anotado. La línea le llamará en ese tiempo, solo como usted pidió; si no le llaman,"
            " llame usted."
        ),
    )


@pages.post("/my-referral/withdraw", access.ANYBODY)
def withdraw() -> access.Answer:
    """Withdraws every consent, or only the consent to one request."""
    rpc_request = forms.filled(c.WithdrawConsentByReferenceRequest())
    key = rpc_request.item_key
    return show_status(
        lambda: clients().references.WithdrawConsentByReference(rpc_request),
        partial(result_for_one, key) if key else result_for_all,
    )


@pages.post("/my-referral/readings", access.ANYBODY)
def readings() -> access.Answer:
    """Shows which kinds of organisations read the person's data, and when."""
    return show_status(
        references.ask_status,
        readings_of=lambda: send(forms.filled(c.ListReadingsByReferenceRequest())).readings,
    )


def result_for_one(key: str, status: c.ReferenceStatus) -> str:
    """Returns the text that tells whether the consent to one request was withdrawn."""
    return (
        _("No se pudo detener. Llame a la línea.")
        if any(
            item.key == key and (item.consent_live or item.may_withdraw) for item in status.items
        )
        else _(
            "Listo: ese pedido se detuvo. A quien se lo pedimos ya no puede abrir sus datos por él."
        )
    )


def result_for_all(status: c.ReferenceStatus) -> str:
    """Returns the text that tells whether all her consents were withdrawn."""
    if status.organizations_with_access:
        return ngettext(
            "Se retiró su permiso, pero %(num)d organización todavía puede abrir sus datos."
            " Llame a la línea para que le ayuden a cerrarlo.",
            "Se retiró su permiso, pero %(num)d organizaciones todavía pueden abrir sus datos."
            " Llame a la línea para que le ayuden a cerrarlo.",
            status.organizations_with_access,
        )
    if status.file_count:
        return _(
            "Listo: ninguna otra organización puede abrir ya sus datos."
            " Quien abrió su expediente lo conserva y lo puede leer."
        )
    return _(
        "Listo: sus datos no están compartidos con ninguna organización."
        " La línea conserva la nota de su llamada."
    )
