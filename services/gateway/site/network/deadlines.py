"""The network's deadlines for answers and for other acts, and publishing a new version of them."""

from dataclasses import dataclass, replace
from datetime import timedelta

from flask import redirect, render_template, request, url_for

from chassis.errors import Invalid, Stale
from chassis.languages import N_
from chassis.shape import INT32
from protos.referrals.v1 import referrals_pb2 as pb
from services.gateway.edge.clients import clients
from services.gateway.site.language import _, i18n, ngettext, words
from services.gateway.site.parts import due, forms
from services.gateway.site.shell import access

pages = access.Pages("deadlines")
UNITS = {
    "minutes": (N_("minutos"), 60),
    "hours": (N_("horas"), 3600),
    "days": (N_("días"), 86_400),
    "working_days": (N_("días hábiles"), 0),
}
CLOCKS = ("acknowledge", "decide", "first_contact")
ANY_URGENCY = ("silence", "close")


@dataclass(frozen=True)
class Row:
    """A deadline as form fields, and in words."""

    name: str
    urgency: str
    clock: str
    number: str
    unit: str
    text: str = ""


@pages.get("/deadlines", access.EVERYONE)
def show() -> str:
    """Shows one version as a table."""
    policy = clients().referrals.GetDeadlinePolicy(
        pb.GetDeadlinePolicyRequest(version=forms.version_asked())
    )
    return render_template(
        "deadlines.html",
        policy=policy,
        rows={row.name: row for row in map(row_of, policy.deadlines)},
        URGENCIES=due.URGENCIES,
        CLOCKS=CLOCKS,
        ANY_URGENCY=ANY_URGENCY,
    )


@pages.form("/deadlines/publish", access.NETWORK)
def publish() -> access.Answer:
    """Publishes the next version. The form starts with the current version."""
    errors: dict[str, str] = {}
    if request.method == "POST":
        rows, version = rows_in_form(), forms.text("version")
        try:
            clients().referrals.PublishDeadlinePolicy(
                pb.PublishDeadlinePolicyRequest(
                    version=int(version) if version.isdecimal() and len(version) < 9 else 0,
                    deadlines=[message(row) for row in rows],
                    request_id=forms.request_id(),
                )
            )
            return redirect(url_for("deadlines.show", done="deadlines_published"), 303)
        except Invalid as refusal:
            errors = {
                field.removeprefix("deadlines."): words.violation(reason)
                for field, reason in refusal.violations
            }
        except Stale:
            errors = {
                "_form": _(
                    "Alguien publicó otra versión mientras tanto. Vuelva a abrir los plazos y mire"
                    " qué cambió."
                )
            }
    else:
        policy = clients().referrals.GetDeadlinePolicy(pb.GetDeadlinePolicyRequest())
        known = {row.name: row for row in map(row_of, policy.deadlines)}
        rows, version = (
            [known.get(name) or empty(name) for name in names()],
            str(policy.version + 1),
        )
    units = [(code, _(word)) for code, (word, _seconds) in UNITS.items()]
    labels = {
        row.name: f"{words.word('urgency', row.urgency)}, " * bool(row.urgency)
        + words.word("deadline", row.clock)
        for row in rows
    }
    return render_template(
        "deadlines_publish.html",
        rows=rows,
        version=version,
        units=units,
        errors=errors,
        labels=labels,
        URGENCIES=due.URGENCIES,
    ), 422 if errors else 200


def names() -> list[str]:
    """Returns the names of a policy's deadlines, in the order of the form."""
    return [*(f"{urgency}.{clock}" for urgency in due.URGENCIES for clock in CLOCKS), *ANY_URGENCY]


def empty(name: str) -> Row:
    """Returns a deadline without a number."""
    urgency, _dot, clock = name.rpartition(".")
    return Row(name, urgency, clock, "", "hours")


def row_of(deadline: pb.PolicyDeadline) -> Row:
    """Returns a deadline in the largest unit that gives a whole number.

    One and two days are given in hours.
    """
    urgency, clock = words.code("urgency", deadline.urgency), words.code("clock", deadline.clock)
    name = f"{urgency}.{clock}" if urgency else clock
    if deadline.working_days:
        text = ngettext("%(num)d día hábil", "%(num)d días hábiles", deadline.working_days)
        return Row(name, urgency, clock, str(deadline.working_days), "working_days", text)
    unit, seconds = next(
        (unit, length)
        for unit, (_word, length) in reversed(UNITS.items())
        if length and not deadline.seconds % length
    )
    if unit == "days" and deadline.seconds < 3 * seconds:
        unit, seconds = "hours", 3600  # 24 h is clearer than one day
    return Row(
        name,
        urgency,
        clock,
        str(deadline.seconds // seconds),
        unit,
        i18n.span(timedelta(seconds=deadline.seconds)),
    )


def rows_in_form() -> list[Row]:
    rows = []
    for name in names():
        unit = forms.text(f"{name}.unit")
        rows.append(
            replace(empty(name), number=forms.text(name), unit=unit if unit in UNITS else "hours")
        )
    return rows


def message(row: Row) -> pb.PolicyDeadline:
    """Returns a deadline as a message for the service. An invalid number becomes 0."""
    number = int(row.number) if row.number.isdecimal() and len(row.number) < 6 else 0
    length = (
        {"working_days": number}
        if row.unit == "working_days"
        else {"seconds": min(number * UNITS[row.unit][1], INT32)}
    )
    return pb.PolicyDeadline(
        urgency=pb.Urgency.ValueType(words.number("urgency", row.urgency) if row.urgency else 0),
        clock=pb.ClockKind.ValueType(words.number("clock", row.clock)),
        **length,
    )
