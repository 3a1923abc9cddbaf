"""The network's deadlines for answers and other acts, and the form that publishes new ones."""

from flask import redirect, render_template, url_for

from chassis.languages import N_
from chassis.shape import INT32
from protos.referrals.v1 import referrals_pb2 as pb
from services.gateway.edge.clients import clients, send
from services.gateway.site.language import _, words
from services.gateway.site.parts import due, forms
from services.gateway.site.shell import access

pages = access.Pages("deadlines")
UNITS = {
    "minutes": (N_("minutos"), 60),
    "hours": (N_("horas"), 3600),
    "days": (N_("días"), 86_400),
    "working_days": (N_("días hábiles"), 0),
}
"""The units of a deadline in the form, each with its word and its length in seconds."""
CLOCKS = ("acknowledge", "decide", "first_contact")
ANY_URGENCY = ("silence", "close")


NAMES = (*(f"{urgency}.{clock}" for urgency in due.URGENCIES for clock in CLOCKS), *ANY_URGENCY)
"""The names of the form's fields: the urgency of a deadline, if it has one, and its clock."""


@pages.get("/deadlines", access.EVERYONE)
def show() -> str:
    """Shows every deadline of one version."""
    policy = clients().referrals.GetDeadlinePolicy(
        pb.GetDeadlinePolicyRequest(version=forms.version_in_address())
    )
    return render_template(
        "deadlines.html",
        policy=policy,
        rows={name_of(deadline): due.length_of(deadline) for deadline in policy.deadlines},
        URGENCIES=due.URGENCIES,
        ANY_URGENCY=ANY_URGENCY,
    )


def form(errors: forms.Problems = forms.NO_PROBLEMS) -> str:
    """Shows the form of the next version, which starts with the current version."""
    policy = clients().referrals.GetDeadlinePolicy(pb.GetDeadlinePolicyRequest())
    labels = {
        f"{urgency}.{clock}": f"{words.word('urgency', urgency)}, {words.word('deadline', clock)}"
        for urgency in due.URGENCIES
        for clock in CLOCKS
    }
    return render_template(
        "deadlines_publish.html",
        values={name_of(deadline): number_and_unit(deadline) for deadline in policy.deadlines},
        version=forms.text("version") or policy.version + 1,
        units=[(code, _(word)) for code, (word, _seconds) in UNITS.items()],
        labels=labels | {clock: words.word("deadline", clock) for clock in ANY_URGENCY},
        URGENCIES=due.URGENCIES,
        CLOCKS=CLOCKS,
        ANY_URGENCY=ANY_URGENCY,
        errors=errors,
    )


@pages.form("/deadlines/publish", access.NETWORK, again=form)
def publish() -> access.Answer:
    with forms.publishing(
        lambda path: path.removeprefix("deadlines."),
        _(
            "Alguien publicó otra versión mientras tanto."
            " Vuelva a abrir los plazos y mire qué cambió."
        ),
    ):
        send(
            pb.PublishDeadlinePolicyRequest(
                version=forms.whole_number("version") or 0,
                deadlines=[deadline_in_form(name) for name in NAMES],
                request_id=forms.text("request_id"),
            )
        )
    return redirect(url_for("deadlines.show", done="deadlines_published"), 303)


def name_of(deadline: pb.PolicyDeadline) -> str:
    """Returns the name of the form field of a deadline."""
    urgency, clock = words.code("urgency", deadline.urgency), words.code("clock", deadline.clock)
    return f"{urgency}.{clock}" if urgency else clock


def number_and_unit(deadline: pb.PolicyDeadline) -> tuple[int, str]:
    """Returns the time of a deadline in the largest unit that gives a whole number.

    One and two days are given in hours. Seconds above whole minutes are left out, as on all pages.
    """
    if deadline.working_days:
        return deadline.working_days, "working_days"
    # 24 h is clearer than one day
    units = ["days"] * (deadline.seconds >= 3 * UNITS["days"][1]) + ["hours"]
    unit = next((unit for unit in units if not deadline.seconds % UNITS[unit][1]), "minutes")
    return deadline.seconds // UNITS[unit][1], unit


def deadline_in_form(name: str) -> pb.PolicyDeadline:
    """Returns a deadline from the form. An invalid number becomes 0, and an unknown unit hours."""
    urgency, _dot, clock = name.rpartition(".")
    number = forms.whole_number(name) or 0
    _word, seconds = UNITS.get(forms.text(f"{name}.unit"), UNITS["hours"])
    return pb.PolicyDeadline(
        urgency=pb.Urgency.ValueType(words.number("urgency", urgency)),
        clock=pb.ClockKind.ValueType(words.number("clock", clock)),
        **({"seconds": min(number * seconds, INT32)} if seconds else {"working_days": number}),
    )
