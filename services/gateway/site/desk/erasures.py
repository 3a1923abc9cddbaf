"""The erasure of a person's file: proposal, a second worker's confirmation, proof."""

from flask import render_template

from chassis.errors import NotFound
from protos.referrals.v1 import erasures_pb2 as p
from services.gateway.site.backend import answer_or, lists, names, referrals
from services.gateway.site.language import i18n
from services.gateway.site.parts import forms
from services.gateway.site.shell import access, session

pages = access.Pages("erasures")


@pages.get("/people/erasures", access.CARE)
def listing() -> str:
    """Shows the erasures that wait for a second worker."""
    return render_template("erasures.html", erasures=lists.all_of(p.ListErasuresRequest()))


@pages.get("/people/<person_id>/erasure", access.CARE)
def show(person_id: str, errors: forms.Problems = forms.NO_PROBLEMS) -> str:
    """Shows the state of an erasure, and its proof to read and print.

    The page asks for a confirmation only if the reader can be the second worker.
    """
    erasure = answer_or(p.Erasure(), p.GetErasureRequest(person_id=person_id), NotFound)
    return render_template(
        "erasure.html",
        file=referrals.file_of(person_id),
        erasure=erasure,
        errors=errors,
        waits=i18n.moment(erasure.confirm_until_time) is not None,
        mine=erasure.proposed_by_worker_id == session.me().worker_id,
        names=names.names((), (), {erasure.proposed_by_worker_id, erasure.confirmed_by_worker_id}),
    )


# Proposes the erasure; nothing changes yet.
pages.sends(
    "propose",
    "/people/<person_id>/erasure",
    access.CARE,
    p.ProposeErasureRequest,
    again=show,
    then="erasures.show",
    done="erasure_proposed",
)
# Records the second worker's confirmation; the file is then erased.
pages.sends(
    "confirm",
    "/people/<person_id>/erasure/confirm",
    access.CARE,
    p.ConfirmErasureRequest,
    again=show,
    then="erasures.show",
    done="erased",
)
