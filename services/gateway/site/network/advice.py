"""Advice cards: texts that operators see beside the form of a contact, and their publishing."""

from flask import redirect, render_template, request, url_for

from chassis.languages import LANGUAGES
from protos.referrals.v1 import advice_pb2 as pb
from protos.referrals.v1 import contacts_pb2 as c
from services.gateway.edge.clients import clients, send
from services.gateway.site.language import _, words
from services.gateway.site.parts import advice, forms
from services.gateway.site.shell import access

pages = access.Pages("advice")
ANSWERS = {"yes": c.ANSWER_YES, "no": c.ANSWER_NO}


@pages.get("/advice", access.LINE | access.NETWORK)
def listing() -> str:
    """Shows all cards in use."""
    return render_template("advice.html", cards=send(pb.ListAdviceCardsRequest()).cards)


@pages.get("/advice/<identifier>", access.LINE | access.NETWORK)
def show(identifier: str) -> str:
    """Shows one version of a card, in each language."""
    card = clients().advice.GetAdviceCard(
        pb.GetAdviceCardRequest(id=identifier, version=forms.version_in_address())
    )
    return render_template(
        "advice_card.html",
        card=card,
        texts=advice.texts(card),
        opened_by=advice.opened_by(card),
    )


def form(errors: forms.Problems = forms.NO_PROBLEMS) -> str:
    """Shows the form of a card's next version, which starts with the current version.

    For a new card, the form is empty.
    """
    identifier = request.values.get("card", "")
    card = (
        clients().advice.GetAdviceCard(pb.GetAdviceCardRequest(id=identifier))
        if identifier
        else pb.AdviceCard()
    )
    card.version = forms.whole_number("version") or card.version + 1
    opened_by = [
        (field.name, words.as_asked(field.name, words.code("answer", value)))
        for field, value in card.opened_by.ListFields()
    ]
    return render_template(
        "advice_publish.html",
        card=card,
        texts={language: advice.text_in(card, language) for language in LANGUAGES},
        required=advice.REQUIRED_LANGUAGES,
        opening_questions={
            answer: [question for question, opening in opened_by if opening == answer]
            for answer in ANSWERS
        },
        errors=errors,
    )


@pages.form("/advice/publish", access.NETWORK, again=form)
def publish() -> access.Answer:
    with forms.publishing(
        field_of,
        _(
            "Alguien publicó otra versión mientras tanto."
            " Vuelva a abrir la tarjeta y mire qué cambió."
        ),
    ):
        card = clients().advice.PublishAdviceCard(
            pb.PublishAdviceCardRequest(card=card_in_form(), request_id=forms.text("request_id"))
        )
    return redirect(url_for("advice.show", identifier=card.id, done="card_published"), 303)


def card_in_form() -> pb.AdviceCard:
    """Returns the card from the form. Each line of a text becomes a sentence."""
    card = pb.AdviceCard(
        id=forms.text("card"),
        version=forms.whole_number("version") or 0,
        need_code=forms.text("need_code"),
        retired=forms.flag("retired"),
    )
    for language in LANGUAGES:
        lines = [
            line.strip() for line in forms.text(f"lines_{language}").splitlines() if line.strip()
        ]
        title = forms.text(f"title_{language}")
        if title or lines or language in advice.REQUIRED_LANGUAGES:
            advice.text_in(card, language).MergeFrom(pb.AdviceText(title=title, lines=lines))
    for answer in ANSWERS:
        for question in forms.texts(answer):
            if question in c.Triage.DESCRIPTOR.fields_by_name:
                setattr(card.opened_by, question, ANSWERS[words.as_asked(question, answer)])
    return card


def field_of(path: str) -> str:
    """Returns the form field for the path of a problem: lines_es for card.es.lines[2]."""
    _card, *rest = path.split("[")[0].split(".")
    return (
        f"{rest[1]}_{rest[0]}" if len(rest) == 2 and rest[0] in LANGUAGES else (rest or [path])[-1]
    )
