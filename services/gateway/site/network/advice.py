"""Advice cards: texts that operators see beside the form of a contact, and their publishing."""

from flask import redirect, render_template, request, url_for

from chassis.errors import Invalid, Stale
from chassis.languages import LANGUAGES
from protos.referrals.v1 import advice_pb2 as pb
from protos.referrals.v1 import contacts_pb2 as c
from services.gateway.edge.clients import clients
from services.gateway.site.language import _, words
from services.gateway.site.parts import advice, forms
from services.gateway.site.shell import access

pages = access.Pages("advice")
ANSWERS = {"yes": c.ANSWER_YES, "no": c.ANSWER_NO}


@pages.get("/advice", access.LINE | access.NETWORK)
def listing() -> str:
    """Shows all cards in use."""
    cards = clients().advice.ListAdviceCards(pb.ListAdviceCardsRequest()).cards
    return render_template("advice.html", cards=cards)


@pages.get("/advice/<identifier>", access.LINE | access.NETWORK)
def show(identifier: str) -> str:
    """Shows one version of a card, in each language."""
    card = clients().advice.GetAdviceCard(
        pb.GetAdviceCardRequest(id=identifier, version=forms.version_asked())
    )
    return render_template(
        "advice_card.html",
        card=card,
        texts=advice.texts(card),
        opened_by=advice.opened_by(card),
    )


@pages.form("/advice/publish", access.NETWORK)
def publish() -> access.Answer:
    """Publishes a card. The form starts with the current version; for a new card it is empty."""
    errors: dict[str, str] = {}
    if request.method == "POST":
        card = card_in_form()
        try:
            published = clients().advice.PublishAdviceCard(
                pb.PublishAdviceCardRequest(card=card, request_id=forms.request_id())
            )
            return redirect(
                url_for("advice.show", identifier=published.id, done="card_published"), 303
            )
        except Invalid as refusal:
            errors = {
                field_of(path): words.violation(reason) for path, reason in refusal.violations
            }
        except Stale:
            errors = {
                "_form": _(
                    "Alguien publicó otra versión mientras tanto. Vuelva a abrir la tarjeta y mire"
                    " qué cambió."
                )
            }
    elif identifier := request.args.get("card", ""):
        card = clients().advice.GetAdviceCard(pb.GetAdviceCardRequest(id=identifier))
        card.version += 1
    else:
        card = pb.AdviceCard(version=1)
    opened_by = [
        (field.name, words.as_asked(field.name, words.code("answer", value)))
        for field, value in card.opened_by.ListFields()
    ]
    opening_questions = {
        answer: [question for question, opening in opened_by if opening == answer]
        for answer in ANSWERS
    }
    return render_template(
        "advice_publish.html",
        card=card,
        texts={language: advice.text_in(card, language) for language in LANGUAGES},
        required=advice.REQUIRED,
        opening_questions=opening_questions,
        errors=errors,
    ), 422 if errors else 200


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
        if title or lines or language in advice.REQUIRED:
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
