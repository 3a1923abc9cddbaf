"""The pathways: standard sequences of help, their publishing, and how well plans follow them."""

import re
from collections.abc import Mapping
from datetime import timedelta

from flask import redirect, render_template, request, url_for

from chassis.errors import Invalid
from protos.referrals.v1 import plans_pb2 as pb
from services.gateway.edge.clients import clients, send
from services.gateway.site.backend import names
from services.gateway.site.language import _, i18n, words
from services.gateway.site.parts import forms, pictures
from services.gateway.site.shell import access

pages = access.Pages("pathways")
MAX_SHOWN = 80  # characters of a wrong line that are shown


@pages.get("/pathways", access.EVERYONE)
def listing() -> str:
    """Shows all pathways, in their newest versions."""
    return render_template(
        "pathways.html", pathways=clients().plans.ListPathways(pb.ListPathwaysRequest()).pathways
    )


@pages.get("/pathways/<identifier>", access.EVERYONE)
def show(identifier: str) -> str:
    """Shows one version, step by step."""
    return render_template(
        "pathway.html",
        pathway=send(pb.GetPathwayRequest(id=identifier, version=forms.version_in_address())),
        step_names=step_names,
        deadline_text=deadline_text,
        versions=send(pb.ListPathwayVersionsRequest(id=identifier)).versions,
    )


def step_names(pathway: pb.StandardPathway) -> dict[str, str]:
    return {step.key: names.name_in_language(step.names) for step in pathway.steps}


def deadline_text(step: pb.PathwayStep, step_names: Mapping[str, str]) -> str:
    """Returns the deadline of a step in words, with the names of the pathway's steps."""
    span = i18n.span(timedelta(hours=step.deadline_hours))
    earlier_step = step_names.get(step.deadline_from_key, step.deadline_from_key)
    return (
        _("%(span)s después de «%(step)s»", span=span, step=earlier_step)
        if earlier_step
        else _("%(span)s desde el comienzo", span=span)
    )


def form(errors: forms.Problems = forms.NO_PROBLEMS) -> str:
    """Shows the form of the next version, which starts with the text of the current version."""
    text = ""
    if identifier := request.args.get("pathway", ""):
        current = clients().plans.GetPathway(pb.GetPathwayRequest(id=identifier))
        text = re.sub(r"(?m)^version:.*$", f"version: {current.version + 1}", current.text, count=1)
    return render_template("pathway_publish.html", text_=text, errors=errors)


@pages.form("/pathways/publish", access.NETWORK, again=form)
def publish() -> access.Answer:
    text = request.form.get("text", "").replace("\r\n", "\n")
    try:
        pathway = clients().plans.PublishPathway(
            pb.PublishPathwayRequest(text=text, request_id=forms.text("request_id"))
        )
    except Invalid as refusal:
        raise forms.Incomplete(problems(refusal, text.splitlines())) from refusal
    return redirect(url_for("pathways.show", identifier=pathway.id, done="published"), 303)


def problems(refusal: Invalid, lines: list[str]) -> dict[str, str]:
    """Returns the problems of a text, each with the line in which it occurs.

    A problem that belongs to no line is shown for the text as a whole.
    """
    problem_texts = {}
    for number, (field, reason) in enumerate(
        sorted(refusal.violations, key=lambda violation: _place(violation[0])[0])
    ):
        line, word = _place(field)
        if not line:
            problem_texts["text"] = words.violation(reason)
            continue
        shown_line = lines[line - 1].strip()[:MAX_SHOWN] if line <= len(lines) else ""
        problem_texts[f"_{number}"] = _(
            "Línea %(line)s: %(problem)s. «%(said)s»",
            line=line,
            problem=_("falta la palabra «%(word)s»", word=word)
            if word
            else words.word("line_problem", reason),
            said=shown_line,
        )
    return problem_texts


def _place(field: str) -> tuple[int, str]:
    """Returns the line and the missing word that text.LINE or text.LINE.WORD names.

    The line is 0 and the word is "" if the path names none.
    """
    _text, number, word = (*field.split("."), "", "")[:3]
    return (int(number), word) if number.isdecimal() else (0, "")


@pages.get("/pathways/compliance", access.CARE | access.NETWORK)
def compliance() -> str:
    """Shows how well plans follow their pathways.

    Coordinators see the whole network; other readers see their own organisation.
    """
    answer = clients().plans.GetCompliance(pb.GetComplianceRequest())
    return render_template(
        "compliance.html",
        groups=answer.groups,
        pathways={
            (identifier, version): clients().plans.GetPathway(
                pb.GetPathwayRequest(id=identifier, version=version)
            )
            for identifier, version in {
                (group.pathway_id, group.version) for group in answer.groups
            }
        },
        step_names=step_names,
        network=answer.network,
        number=pictures.count_text,
    )
